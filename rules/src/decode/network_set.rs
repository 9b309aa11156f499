//! `GlobalNetworkSet`.

use super::fields::{Context, Field, Fields, Unique};
use super::metadata::Metadata;
use super::net;
use crate::resource::GlobalNetworkSet;

pub(super) fn network_set(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
) -> GlobalNetworkSet {
    let mut set = GlobalNetworkSet {
        name: metadata.name.clone().unwrap_or_default(),
        labels: metadata.labels.clone(),
        nets: Vec::new(),
        position: metadata.position.clone(),
    };
    let fields = spec.and_then(|spec| {
        Fields::of(
            context,
            spec.value,
            "the spec of a GlobalNetworkSet",
            spec.key.span,
        )
    });
    let Some(mut fields) = fields else {
        return set;
    };
    if let Some(nets) = fields.optional("nets") {
        let mut unique = Unique::new();
        for node in context.list(nets.value, "a list of addresses and prefixes") {
            if let Some(net) = net::prefix_or_address(context, node)
                && unique.insert(context, node.text(), node)
            {
                set.nets.push(net);
            }
        }
    }
    fields.finish(context);
    set
}
