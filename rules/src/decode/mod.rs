//! From text to a [`Snapshot`], or to all that is wrong with it.
//!
//! A file holds documents, lists (`kind: List`, `GlobalNetworkPolicyList` and the like, or a plain list) or single
//! resources. Each is read through [`fields`], which reports what is wrong and goes on; where a value is wrong,
//! some other stands in for it, and since any error means that no snapshot is made, it never leaves this module.

pub mod fields;

mod decoder;
mod endpoint;
mod entity;
mod found;
mod host_endpoint;
mod known;
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
mod totals;
mod workload_endpoint;

pub use self::decoder::Decoder;
pub use self::endpoint::node;
pub use self::metadata::endpoint_labels;

use self::found::Found;
use crate::diagnostic::Diagnostics;
use crate::snapshot::Snapshot;
use crate::source::{FileId, Files};

/// Reads the resources in these files.
///
/// There is a snapshot exactly when no diagnostic is an error. The diagnostics are sorted by file and place. Whoever reads
/// the same files again and again keeps a [`Decoder`].
pub fn decode(files: &Files, ids: &[FileId]) -> (Option<Snapshot>, Diagnostics) {
    let chosen = ids.iter().map(|&id| files.get(id));
    Decoder::default().decode_as(chosen, |index| ids[index])
}

#[cfg(test)]
mod tests;
