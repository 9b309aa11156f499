//! How often each name is there in all files, kept up to date file by file.

use std::collections::BTreeMap;

use super::decoder::Decoded;
use super::found::{BUILT_IN_TIERS, Target};
use crate::net::Protocol;
use crate::resource::{DEFAULT_ALLOW_PROFILE, ObjectName};

/// What all files hold together, as far as one file can be wrong because of another.
#[derive(Debug, Default)]
pub(super) struct Totals {
    objects: Tally<(&'static str, ObjectName)>,
    /// Objects that are there more than once.
    repeated: usize,
    tiers: Tally<Box<str>>,
    profiles: Tally<Box<str>>,
    ports: BTreeMap<Box<str>, Tally<Protocol>>,
    service_accounts: usize,
    /// Files with errors, or that could not be read to their end.
    wrong: usize,
    /// Files with diagnostics of any kind.
    remarked: usize,
}

/// How often each is there; what is not there has no entry.
#[derive(Debug)]
struct Tally<K>(BTreeMap<K, usize>);

impl Totals {
    /// A file comes.
    pub(super) fn add(&mut self, file: &Decoded) {
        let found = &file.found;
        for object in &found.objects {
            let count = self.objects.add((object.kind.word, object.id.clone()));
            self.repeated += usize::from(count == 2);
            match object.kind.word {
                "Tier" => drop(self.tiers.add(object.id.name.as_str().into())),
                "Profile" => drop(self.profiles.add(object.id.name.as_str().into())),
                _ => {}
            }
        }
        for port in found.ports() {
            let protocols = self.ports.entry(port.name.as_str().into()).or_default();
            protocols.add(port.protocol);
        }
        self.service_accounts += found.service_accounts();
        self.wrong += usize::from(file.is_wrong());
        self.remarked += usize::from(!file.diagnostics.is_empty());
    }

    /// A file goes. Says whether a name has gone with it that objects in other files may use.
    pub(super) fn remove(&mut self, file: &Decoded) -> bool {
        let found = &file.found;
        let mut is_name_gone = false;
        for object in &found.objects {
            let count = self.objects.remove(&(object.kind.word, object.id.clone()));
            self.repeated -= usize::from(count == 1);
            let name = object.id.name.as_str();
            is_name_gone |= match object.kind.word {
                "Tier" => self.tiers.remove(name) == 0,
                "Profile" => self.profiles.remove(name) == 0,
                _ => false,
            };
        }
        for port in found.ports() {
            if let Some(protocols) = self.ports.get_mut(port.name.as_str()) {
                is_name_gone |= protocols.remove(&port.protocol) == 0;
            }
        }
        self.service_accounts -= found.service_accounts();
        is_name_gone |= found.service_accounts() > 0 && self.service_accounts == 0;
        self.wrong -= usize::from(file.is_wrong());
        self.remarked -= usize::from(!file.diagnostics.is_empty());
        is_name_gone
    }

    /// Whether any file is wrong, or two of them hold the same object.
    pub(super) fn is_wrong(&self) -> bool {
        self.wrong > 0 || self.repeated > 0
    }

    /// Whether there is anything to say of any file.
    pub(super) fn is_remarked(&self) -> bool {
        self.remarked > 0
    }

    /// Whether there is what is named.
    pub(super) fn has(&self, target: &Target) -> bool {
        match target {
            Target::Tier(name) => BUILT_IN_TIERS.contains(&&**name) || self.tiers.has(name),
            Target::Profile(name) => **name == *DEFAULT_ALLOW_PROFILE || self.profiles.has(name),
            Target::Port(name, protocol) => {
                let protocols = self.ports.get(name);
                protocols.is_some_and(|protocols| protocols.has(protocol))
            }
            Target::ServiceAccounts => self.service_accounts > 0,
        }
    }
}

impl<K: Ord> Tally<K> {
    /// One more; gives how many there are.
    fn add(&mut self, key: K) -> usize {
        let count = self.0.entry(key).or_default();
        *count += 1;
        *count
    }

    /// One less; gives how many are left.
    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> usize
    where
        K: std::borrow::Borrow<Q>,
    {
        match self.0.get_mut(key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                *count
            }
            _ => {
                self.0.remove(key);
                0
            }
        }
    }

    fn has<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.contains_key(key)
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Tally(BTreeMap::new())
    }
}
