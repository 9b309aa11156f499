//! From text to a [`Snapshot`], or to all that is wrong with it.
//!
//! A file holds documents, lists (`kind: List`, `GlobalNetworkPolicyList` and the like, or a plain list) or single
//! resources. Each is read through [`fields`], which reports what is wrong and goes on; where a value is wrong,
//! some other stands in for it, and since any error means that no snapshot is made, it never leaves this module.

pub mod fields;

mod endpoint;
mod entity;
mod found;
mod host_endpoint;
mod kubernetes;
mod metadata;
mod names;
mod net;
mod network_set;
mod policy;
mod profile;
mod resource;
mod rule;
mod selector;
mod service_endpoint;
mod tier;
mod workload_endpoint;

pub use self::endpoint::node;
pub use self::metadata::endpoint_labels;

use self::fields::Context;
use self::found::Found;
use crate::diagnostic::Diagnostics;
use crate::snapshot::Snapshot;
use crate::source::{FileId, Files};
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
        found.check_uses(&mut context);
    }
    let diagnostics = context.diagnostics.sorted();
    let snapshot = (!diagnostics.has_errors()).then(|| found.snapshot());
    (snapshot, diagnostics)
}

#[cfg(test)]
mod tests;
