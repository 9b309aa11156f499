//! What a file holds, and what its objects name of others.

use std::sync::Arc;

use crate::net::Protocol;
use crate::resource::{
    HostEndpoint, NamedPort, NetworkSet, ObjectName, Policy, Profile, ServiceEndpoint, Tier, WorkloadEndpoint,
};
use crate::schema::Kind;
use crate::source::Span;
use crate::yaml::Node;

/// Tiers that are there whether they are written or not.
pub(super) const BUILT_IN_TIERS: [&str; 3] = ["default", "kube-admin", "kube-baseline"];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) tiers: Vec<Tier>,
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) network_sets: Vec<Arc<NetworkSet>>,
    pub(super) profiles: Vec<Profile>,
    pub(super) host_endpoints: Vec<Arc<HostEndpoint>>,
    pub(super) workload_endpoints: Vec<Arc<WorkloadEndpoint>>,
    pub(super) service_endpoints: Vec<ServiceEndpoint>,
    /// Every object that has a name, also where something else is wrong with it.
    pub(super) objects: Vec<Object>,
    pub(super) uses: Vec<Use>,
    /// Whether something is wrong with an endpoint or a profile, so that what it would have offered is not known.
    pub(super) is_partial: bool,
}

/// An object by the word of its kind and its name.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: &'static Kind,
    pub(super) id: ObjectName,
    /// Where its name is, in the file and in the object.
    pub(super) span: Span,
    pub(super) path: Box<str>,
}

/// One object names another, which may be in another file.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) target: Target,
    pub(super) span: Span,
    /// The object that names it, and where in it.
    pub(super) kind: Option<&'static str>,
    pub(super) name: Option<Box<str>>,
    pub(super) path: Option<Box<str>>,
}

/// What is named.
#[derive(Debug)]
pub(super) enum Target {
    /// A tier.
    Tier(Box<str>),
    /// A profile.
    Profile(Box<str>),
    /// A port by name, of this protocol.
    Port(Box<str>, Protocol),
    /// Service accounts, whichever: workloads come and go, but without any there is nothing that could match.
    ServiceAccounts,
}

impl Target {
    /// Whether the name of an object is all that is asked for, and not what is written in it.
    pub(super) fn is_named_only(&self) -> bool {
        matches!(self, Target::Tier(_) | Target::Profile(_))
    }
}

/// How much was found before an object is read.
#[derive(Clone, Copy)]
pub(super) struct Before {
    objects: usize,
    uses: usize,
}

impl Found {
    /// Remembers an object.
    pub(super) fn register(&mut self, kind: &'static Kind, id: &ObjectName, span: Span) {
        self.objects.push(Object {
            kind,
            id: id.clone(),
            span,
            path: Box::default(),
        });
    }

    /// A policy names its tier.
    pub(super) fn uses_tier(&mut self, tier: &str, span: Span) {
        self.uses(Target::Tier(tier.into()), span);
    }

    /// An endpoint names a profile.
    pub(super) fn uses_profile(&mut self, profile: &str, span: Span) {
        self.uses(Target::Profile(profile.into()), span);
    }

    /// A rule names a port; the protocol is that of the rule, TCP where it has none.
    pub(super) fn uses_port(&mut self, port: &str, protocol: Protocol, span: Span) {
        self.uses(Target::Port(port.into(), protocol), span);
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

    /// How much is known so far, for [`Found::complete`].
    pub(super) fn so_far(&self) -> Before {
        Before {
            objects: self.objects.len(),
            uses: self.uses.len(),
        }
    }

    /// Says of what was found since in which object it is, and where in it.
    pub(super) fn complete(
        &mut self,
        before: Before,
        object: &Node,
        kind: &'static Kind,
        name: Option<&str>,
    ) {
        for used in &mut self.uses[before.uses..] {
            used.kind = Some(kind.name);
            used.name = name.map(Box::from);
            used.path = Some(object.path_to(used.span).into());
        }
        for named in &mut self.objects[before.objects..] {
            named.path = object.path_to(named.span).into();
        }
    }

    /// The ports that are named in it.
    pub(super) fn ports(&self) -> impl Iterator<Item = &NamedPort> {
        let hosts = self.host_endpoints.iter().flat_map(|host| &host.ports);
        hosts.chain(
            self.workload_endpoints
                .iter()
                .flat_map(|workload| &workload.ports),
        )
    }

    /// How many workloads have a service account.
    pub(super) fn service_accounts(&self) -> usize {
        let workloads = self.workload_endpoints.iter();
        workloads
            .filter(|workload| workload.service_account.is_some())
            .count()
    }
}

/// Whether other objects may name what is written in one of this kind.
pub(super) fn gives_names(kind: &Kind) -> bool {
    matches!(kind.word, "HostEndpoint" | "WorkloadEndpoint" | "Profile")
}
