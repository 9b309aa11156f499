//! What selectors select from: every endpoint and every network set, found by label.

use std::cell::OnceCell;
use std::sync::Arc;

use super::{Endpoint, Network};
use crate::selector::{LabelIndex, Selector};

/// Endpoints and networks; their labels are indexed when they are first asked for.
pub(super) struct Objects<'a> {
    /// Every endpoint.
    pub(super) endpoints: &'a [Arc<Endpoint>],
    /// Every network set.
    pub(super) networks: &'a [Arc<Network>],
    endpoints_by_label: OnceCell<LabelIndex<'a>>,
    networks_by_label: OnceCell<LabelIndex<'a>>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(endpoints: &'a [Arc<Endpoint>], networks: &'a [Arc<Network>]) -> Self {
        Objects {
            endpoints,
            networks,
            endpoints_by_label: OnceCell::new(),
            networks_by_label: OnceCell::new(),
        }
    }

    /// The endpoints that a selector selects, in order.
    pub(super) fn endpoints_of(&self, selector: &Selector) -> Arc<[u32]> {
        let labels = || LabelIndex::new(self.endpoints.iter().map(|endpoint| &endpoint.labels));
        ids(&self.endpoints_by_label.get_or_init(labels).matching(selector))
    }

    /// The network sets that a selector selects, in order.
    pub(super) fn networks_of(&self, selector: &Selector) -> Arc<[u32]> {
        let labels = || LabelIndex::new(self.networks.iter().map(|network| &network.labels));
        ids(&self.networks_by_label.get_or_init(labels).matching(selector))
    }
}

/// Indices in half the room: there are never 4 billion objects.
fn ids(indices: &[usize]) -> Arc<[u32]> {
    let ids = indices.iter();
    ids.map(|&index| u32::try_from(index).unwrap_or(u32::MAX))
        .collect()
}
