//! From text to a [`Snapshot`], or to all that is wrong with it.
//!
//! A file holds documents, lists (`kind: List`, `GlobalNetworkPolicyList` and the like, or a plain list) or single
//! resources. Each is read through [`fields`], which reports what is wrong and goes on; where a value is wrong,
//! some other stands in for it, and since any error means that no snapshot is made, it never leaves this module.

pub mod fields;

mod entity;
mod host_endpoint;
mod metadata;
mod names;
mod net;
mod network_set;
mod policy;
mod resource;
mod rule;
mod selector;
mod tier;

use std::collections::BTreeMap;

pub use self::host_endpoint::node;
pub use self::metadata::endpoint_labels;

use self::fields::{Context, nearest};
use crate::diagnostic::{Diagnostic, Diagnostics, quoted};
use crate::resource::{GlobalNetworkSet, HostEndpoint, Policy, Tier};
use crate::snapshot::Snapshot;
use crate::source::{FileId, Files, Span};
use crate::yaml::Documents;

/// Reads the resources in these files.
///
/// There is a snapshot exactly when no diagnostic is an error. The diagnostics are sorted by file and place.
pub fn decode(files: &Files, ids: &[FileId]) -> (Option<Snapshot>, Diagnostics) {
    let mut context = Context::new(files);
    let mut found = Found::default();
    let mut whole = true;
    for &id in ids {
        let mut documents = Documents::new(files, id);
        loop {
            let before = context.diagnostics.len();
            let Some(document) = documents.next(&mut context.diagnostics) else {
                break;
            };
            resource::document(&mut context, &document, before, &mut found);
        }
        whole &= !documents.is_broken();
    }
    // What a broken file would have held is not known, and must not be called missing.
    if whole {
        found.check_tiers(&mut context);
    }
    let diagnostics = context.diagnostics.sorted();
    let snapshot = (!diagnostics.has_errors()).then(|| found.snapshot());
    (snapshot, diagnostics)
}

/// What the files hold.
#[derive(Default)]
struct Found {
    tiers: Vec<Tier>,
    policies: Vec<Policy>,
    network_sets: Vec<GlobalNetworkSet>,
    host_endpoints: Vec<HostEndpoint>,
    /// Every object by kind and name, and where its name is.
    objects: BTreeMap<(&'static str, String), Span>,
    /// Every tier that a policy names.
    tier_uses: Vec<TierUse>,
}

/// A policy names its tier.
struct TierUse {
    tier: String,
    span: Span,
    kind: &'static str,
    policy: Option<String>,
}

impl Found {
    /// Remembers an object; the same one twice is an error.
    fn register(&mut self, context: &mut Context<'_>, kind: &'static str, name: &str, span: Span) {
        let key = (kind, name.to_owned());
        if let Some(&first) = self.objects.get(&key) {
            context.report(
                Diagnostic::error(
                    "duplicate-object",
                    format!("{kind} {} is there twice", quoted(name)),
                )
                .at(span, "again here")
                .related(first, "first written here")
                .help("remove one of the two, or give it another name"),
            );
            return;
        }
        self.objects.insert(key, span);
    }

    fn check_tiers(&self, context: &mut Context<'_>) {
        let built_in = Tier::built_in();
        let mut known: Vec<&str> = built_in.iter().map(|tier| tier.name.as_str()).collect();
        let written = self.objects.keys().filter(|(kind, _)| *kind == "Tier");
        known.extend(written.map(|(_, name)| name.as_str()));
        known.sort_unstable();
        known.dedup();
        for used in &self.tier_uses {
            if known.binary_search(&used.tier.as_str()).is_ok() {
                continue;
            }
            let exist = known.join(", ");
            let help = match nearest(&used.tier, known.iter().copied()) {
                Some(tier) => format!("did you mean `{tier}`? These tiers exist: {exist}"),
                None => format!("these tiers exist: {exist}"),
            };
            let problem =
                Diagnostic::error("unknown-tier", format!("there is no tier {}", quoted(&used.tier)))
                    .at(used.span, "no such tier")
                    .help(help);
            context.report(Diagnostic {
                kind: Some(used.kind.to_owned()),
                name: used.policy.clone(),
                path: Some("spec.tier".to_owned()),
                ..problem
            });
        }
    }

    fn snapshot(self) -> Snapshot {
        let mut snapshot = Snapshot::empty();
        let tiers = self.tiers.into_iter().map(|tier| (tier.name.clone(), tier));
        snapshot.tiers.extend(tiers);
        snapshot.policies = self.policies;
        snapshot.network_sets = self
            .network_sets
            .into_iter()
            .map(|set| (set.name.clone(), set))
            .collect();
        snapshot.host_endpoints = self
            .host_endpoints
            .into_iter()
            .map(|endpoint| (endpoint.name.clone(), endpoint))
            .collect();
        snapshot
    }
}

#[cfg(test)]
mod tests;
