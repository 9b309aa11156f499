//! What the files hold, and whether what objects name of each other is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fields::{Context, nearest};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::Protocol;
use crate::resource::{
    DEFAULT_ALLOW_PROFILE, HostEndpoint, NamedPort, NetworkSet, ObjectName, Policy, Profile, ServiceEndpoint,
    Tier, WorkloadEndpoint,
};
use crate::schema::Kind;
use crate::snapshot::Snapshot;
use crate::source::Span;
use crate::yaml::Node;

/// What the files hold.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tiers: Vec<Tier>,
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) network_sets: Vec<Arc<NetworkSet>>,
    pub(super) profiles: Vec<Profile>,
    pub(super) host_endpoints: Vec<Arc<HostEndpoint>>,
    pub(super) workload_endpoints: Vec<Arc<WorkloadEndpoint>>,
    pub(super) service_endpoints: Vec<ServiceEndpoint>,
    /// Every object by the word of its kind and its name, and where its name is.
    objects: BTreeMap<(&'static str, ObjectName), Span>,
    uses: Vec<Use>,
    /// Whether something is wrong with an endpoint or a profile, so that what it would have offered is not known.
    pub(super) is_partial: bool,
}

/// One object names another, which may be in a file that is read later.
struct Use {
    target: Target,
    span: Span,
    /// The object that names it, and where in it.
    kind: Option<&'static str>,
    name: Option<String>,
    path: Option<String>,
}

/// What is named.
enum Target {
    /// A tier.
    Tier(String),
    /// A profile.
    Profile(String),
    /// A port by name, of this protocol.
    Port(String, Protocol),
    /// Service accounts, whichever: workloads come and go, but without any there is nothing that could match.
    ServiceAccounts,
}

impl Found {
    /// Remembers an object; the same one twice is an error.
    pub(super) fn register(
        &mut self,
        context: &mut Context<'_>,
        kind: &'static Kind,
        name: &ObjectName,
        span: Span,
    ) {
        let key = (kind.word, name.clone());
        if let Some(&first) = self.objects.get(&key) {
            context.report(
                Diagnostic::error(
                    "duplicate-object",
                    format!("{} {} is there twice", kind.word, quoted(&name.to_string())),
                )
                .at(span, "again here")
                .related(first, "first written here")
                .help("remove one of the two, or give it another name"),
            );
            return;
        }
        self.objects.insert(key, span);
    }

    /// A policy names its tier.
    pub(super) fn uses_tier(&mut self, tier: &str, span: Span) {
        self.uses(Target::Tier(tier.to_owned()), span);
    }

    /// An endpoint names a profile.
    pub(super) fn uses_profile(&mut self, profile: &str, span: Span) {
        self.uses(Target::Profile(profile.to_owned()), span);
    }

    /// A rule names a port; the protocol is that of the rule, TCP where it has none.
    pub(super) fn uses_port(&mut self, port: &str, protocol: Protocol, span: Span) {
        self.uses(Target::Port(port.to_owned(), protocol), span);
    }

    /// A rule is about service accounts.
    pub(super) fn uses_service_accounts(&mut self, span: Span) {
        self.uses(Target::ServiceAccounts, span);
    }

    fn uses(&mut self, target: Target, span: Span) {
        self.uses.push(Use {
            target,
            span,
            kind: None,
            name: None,
            path: None,
        });
    }

    /// How many uses are known, for [`Found::complete_uses`].
    pub(super) fn uses_so_far(&self) -> usize {
        self.uses.len()
    }

    /// Says of all uses but the first `before` in which object they are, and where in it.
    pub(super) fn complete_uses(
        &mut self,
        before: usize,
        object: &Node,
        kind: &'static Kind,
        name: Option<&str>,
    ) {
        for used in &mut self.uses[before..] {
            used.kind = Some(kind.name);
            used.name = name.map(str::to_owned);
            used.path = Some(object.path_to(used.span));
        }
    }

    /// Reports everything that is named and not there.
    pub(super) fn check_uses(&self, context: &mut Context<'_>) {
        let known = Known::of(self);
        let mut problems = 0;
        for used in &self.uses {
            if self.is_partial && !matches!(used.target, Target::Tier(_) | Target::Profile(_)) {
                continue;
            }
            let suggest = problems < MOST_SUGGESTIONS;
            if let Some(problem) = known.problem(&used.target, used.span, suggest) {
                problems += 1;
                context.report(Diagnostic {
                    kind: used.kind.map(str::to_owned),
                    name: used.name.clone(),
                    path: used.path.clone(),
                    ..problem
                });
            }
        }
    }

    /// All of it as a snapshot; only where nothing is wrong.
    pub(super) fn snapshot(self) -> Snapshot {
        let mut snapshot = Snapshot::empty();
        snapshot.tiers.extend(by(self.tiers, |tier| tier.name.clone()));
        snapshot.policies = self.policies;
        snapshot.network_sets = by(self.network_sets, |set| set.id.clone()).collect();
        snapshot
            .profiles
            .extend(by(self.profiles, |profile| profile.name.clone()));
        snapshot.host_endpoints = by(self.host_endpoints, |endpoint| endpoint.name.clone()).collect();
        snapshot.workload_endpoints = by(self.workload_endpoints, |endpoint| endpoint.id.clone()).collect();
        snapshot.service_endpoints = by(self.service_endpoints, |endpoint| endpoint.name.clone()).collect();
        snapshot
    }
}

/// Objects with what they are found by.
fn by<T, K>(objects: Vec<T>, key: impl Fn(&T) -> K) -> impl Iterator<Item = (K, T)> {
    objects.into_iter().map(move |object| (key(&object), object))
}

/// Everything that can be named.
struct Known<'f> {
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
const MOST_SUGGESTIONS: usize = 100;
const MOST_CANDIDATES: usize = 10_000;

impl<'f> Known<'f> {
    fn of(found: &'f Found) -> Self {
        // By the registered names, not by what could be decoded: an object that is wrong in another way is there.
        let written = |kind: &'static str| {
            let objects = found.objects.keys().filter(move |(word, _)| *word == kind);
            objects.map(|(_, id)| id.name.as_str())
        };
        let mut known = Known {
            tiers: ["default", "kube-admin", "kube-baseline"]
                .into_iter()
                .chain(written("Tier"))
                .collect(),
            profiles: std::iter::once(DEFAULT_ALLOW_PROFILE)
                .chain(written("Profile"))
                .collect(),
            ports: BTreeMap::new(),
            has_service_accounts: found
                .workload_endpoints
                .iter()
                .any(|workload| workload.service_account.is_some()),
        };
        for host in &found.host_endpoints {
            known.add_ports(&host.ports, || format!("HostEndpoint {}", quoted(&host.name)));
        }
        for workload in &found.workload_endpoints {
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
    fn problem(&self, target: &Target, span: Span, suggest: bool) -> Option<Diagnostic> {
        match target {
            Target::Tier(name) => (!self.tiers.contains(name.as_str())).then(|| {
                Diagnostic::error("unknown-tier", format!("there is no tier {}", quoted(name)))
                    .at(span, "no such tier")
                    .help(which("tiers", name, &self.tiers, suggest))
            }),
            Target::Profile(name) => (!self.profiles.contains(name.as_str())).then(|| {
                Diagnostic::error("unknown-profile", format!("there is no profile {}", quoted(name)))
                    .at(span, "no such profile")
                    .help(which("profiles", name, &self.profiles, suggest))
            }),
            Target::Port(name, protocol) => (!self.ports.contains_key(&(name.as_str(), *protocol)))
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
