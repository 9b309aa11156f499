//! What selectors select from: every endpoint and every network set, found by label.

use std::sync::Arc;

use super::{Endpoint, Network};
use crate::selector::LabelIndex;

/// Endpoints and networks with their labels indexed.
pub(super) struct Objects<'a> {
    /// Every endpoint.
    pub(super) endpoints: &'a [Arc<Endpoint>],
    /// Every network set.
    pub(super) networks: &'a [Arc<Network>],
    /// The endpoints by label.
    pub(super) endpoints_by_label: LabelIndex<'a>,
    /// The network sets by label.
    pub(super) networks_by_label: LabelIndex<'a>,
}

impl<'a> Objects<'a> {
    /// Indexes these.
    pub(super) fn new(endpoints: &'a [Arc<Endpoint>], networks: &'a [Arc<Network>]) -> Self {
        Objects {
            endpoints,
            networks,
            endpoints_by_label: LabelIndex::new(endpoints.iter().map(|endpoint| &endpoint.labels)),
            networks_by_label: LabelIndex::new(networks.iter().map(|network| &network.labels)),
        }
    }
}
