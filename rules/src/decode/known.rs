//! What is wrong with naming what is not there, and what was probably meant.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::nearest;
use super::found::{BUILT_IN_TIERS, Found, Target};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::Protocol;
use crate::resource::{DEFAULT_ALLOW_PROFILE, NamedPort};
use crate::source::Span;

/// Everything that can be named.
pub(super) struct Known<'f> {
    tiers: BTreeSet<&'f str>,
    profiles: BTreeSet<&'f str>,
    /// Each with an endpoint that has it.
    ports: BTreeMap<(&'f str, Protocol), String>,
    has_service_accounts: bool,
}

/// The most names that a message lists.
const MOST_LISTED: usize = 12;

/// How many problems get a suggestion, and among how many names it is looked for: a hostile file of nothing but unknown
/// names must not cost more.
pub(super) const MOST_SUGGESTIONS: usize = 100;
const MOST_CANDIDATES: usize = 10_000;

impl<'f> Known<'f> {
    /// What is named in these files.
    pub(super) fn of(files: impl Iterator<Item = &'f Found> + Clone) -> Self {
        // By the registered names, not by what could be decoded: an object that is wrong in another way is there.
        let written = |kind: &'static str| {
            let objects = files.clone().flat_map(|found| &found.objects);
            let objects = objects.filter(move |object| object.kind.word == kind);
            objects.map(|object| object.id.name.as_str())
        };
        let mut known = Known {
            tiers: BUILT_IN_TIERS.into_iter().chain(written("Tier")).collect(),
            profiles: std::iter::once(DEFAULT_ALLOW_PROFILE)
                .chain(written("Profile"))
                .collect(),
            ports: BTreeMap::new(),
            has_service_accounts: files.clone().any(|found| found.service_accounts() > 0),
        };
        for host in files.clone().flat_map(|found| &found.host_endpoints) {
            known.add_ports(&host.ports, || format!("HostEndpoint {}", quoted(&host.name)));
        }
        for workload in files.flat_map(|found| &found.workload_endpoints) {
            known.add_ports(&workload.ports, || {
                format!("WorkloadEndpoint {}", quoted(&workload.id.to_string()))
            });
        }
        known
    }

    fn add_ports(&mut self, ports: &'f [NamedPort], endpoint: impl Fn() -> String) {
        for port in ports {
            self.ports
                .entry((port.name.as_str(), port.protocol))
                .or_insert_with(&endpoint);
        }
    }

    /// What is wrong with naming this, if it is not there; `suggest` what was probably meant.
    pub(super) fn problem(&self, target: &Target, span: Span, suggest: bool) -> Option<Diagnostic> {
        match target {
            Target::Tier(name) => (!self.tiers.contains(&**name)).then(|| {
                Diagnostic::error("unknown-tier", format!("there is no tier {}", quoted(name)))
                    .at(span, "no such tier")
                    .help(which("tiers", name, &self.tiers, suggest))
            }),
            Target::Profile(name) => (!self.profiles.contains(&**name)).then(|| {
                Diagnostic::error("unknown-profile", format!("there is no profile {}", quoted(name)))
                    .at(span, "no such profile")
                    .help(which("profiles", name, &self.profiles, suggest))
            }),
            Target::Port(name, protocol) => (!self.ports.contains_key(&(&**name, *protocol)))
                .then(|| self.unknown_port(name, *protocol, span, suggest)),
            Target::ServiceAccounts => (!self.has_service_accounts).then(|| {
                Diagnostic::error(
                    "no-identities",
                    "no WorkloadEndpoint has a `serviceAccountName`, so this could never match",
                )
                .at(span, "no service accounts")
                .help(
                    "select endpoints by their labels, or write WorkloadEndpoints with `serviceAccountName`",
                )
            }),
        }
    }

    fn unknown_port(&self, name: &str, protocol: Protocol, span: Span, suggest: bool) -> Diagnostic {
        let of_this_name = (name, Protocol(u8::MIN))..=(name, Protocol(u8::MAX));
        let other = self.ports.range(of_this_name).next();
        let candidates = if suggest { MOST_CANDIDATES } else { 0 };
        let names: BTreeSet<&str> = self
            .ports
            .keys()
            .take(candidates)
            .filter(|(_, of)| *of == protocol)
            .map(|(port, _)| *port)
            .collect();
        let help = if let Some(((_, of), endpoint)) = other {
            let of = written(*of);
            format!("{endpoint} has it as {of}: write `protocol: {of}`, or give the endpoint this one too")
        } else if names.is_empty() {
            "name the port in `ports` of its endpoints, or write its number".to_owned()
        } else {
            which("named ports", name, &names, suggest)
        };
        Diagnostic::error(
            "unknown-port",
            format!(
                "no endpoint has a {} port named {}",
                written(protocol),
                quoted(name)
            ),
        )
        .at(span, "no such port")
        .help(help)
    }
}

/// A protocol as rules write it.
fn written(protocol: Protocol) -> String {
    let name = Protocol::NAMES.iter().find(|(_, known)| *known == protocol);
    name.map_or_else(|| protocol.to_string(), |(name, _)| (*name).to_owned())
}

/// Which names there are, and which one was probably meant.
fn which(what: &str, name: &str, known: &BTreeSet<&str>, suggest: bool) -> String {
    let mut listed: Vec<&str> = known.iter().copied().take(MOST_LISTED).collect();
    if known.len() > MOST_LISTED {
        listed.push("...");
    }
    let listed = listed.join(", ");
    let candidates = if suggest { MOST_CANDIDATES } else { 0 };
    match nearest(name, known.iter().copied().take(candidates)) {
        Some(near) => format!("did you mean `{near}`? These {what} exist: {listed}"),
        None => format!("these {what} exist: {listed}"),
    }
}
