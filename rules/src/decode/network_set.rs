//! `GlobalNetworkSet` and `NetworkSet`.

use std::collections::BTreeSet;

use super::fields::{Context, Field, Fields, Unique};
use super::metadata::Metadata;
use super::net;
use crate::resource::NetworkSet;
use crate::schema::Kind;

pub(super) fn network_set(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    kind: &'static Kind,
) -> NetworkSet {
    let mut set = NetworkSet {
        id: metadata.id(),
        labels: metadata.labels.clone(),
        nets: Vec::new(),
        position: metadata.position.clone(),
    };
    let fields = spec.and_then(|spec| Fields::of(context, spec.value, kind.spec, spec.key.span));
    let Some(mut fields) = fields else {
        return set;
    };
    if let Some(nets) = fields.optional("nets") {
        let mut unique = Unique::new();
        // What is written in two ways is in the set once.
        let mut known = BTreeSet::new();
        for node in context.list(nets.value, "a list of addresses and prefixes") {
            if let Some(net) = net::prefix_or_address(context, node)
                && unique.insert(context, node.text(), node)
                && known.insert(net)
            {
                set.nets.push(net);
            }
        }
    }
    fields.finish(context);
    set
}
