//! Names for addresses: an endpoint, else the network set with the longest prefix, else private or public.

use std::net::IpAddr;

use crate::resource::Labels;
use crate::world::{EndpointId, EndpointKind, Worlds};

/// Who an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// What kind of thing it is.
    pub kind: NameKind,
    /// Its namespace; `None` for what is global.
    pub namespace: Option<&'a str>,
    /// Its name: of the endpoint or the set, or `private` or `public`.
    pub name: &'a str,
    /// Its labels, if it is known.
    pub labels: Option<&'a Labels>,
}

/// What an address belongs to, in the words of Calico's flow records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// An endpoint.
    Endpoint(EndpointKind, EndpointId),
    /// A network set.
    NetworkSet,
    /// Nothing that has a name.
    Network,
}

impl NameKind {
    /// Calico's word.
    pub fn as_str(self) -> &'static str {
        match self {
            NameKind::Endpoint(kind, _) => kind.as_str(),
            NameKind::NetworkSet => "NetworkSet",
            NameKind::Network => "Network",
        }
    }
}

/// Who has an address. Where two endpoints or two equally long prefixes claim it, the first by name.
pub fn name_of(worlds: &Worlds, address: IpAddr) -> Named<'_> {
    if let Some(id) = worlds.directory.at(address).next() {
        let endpoint = worlds.endpoint(id);
        return Named {
            kind: NameKind::Endpoint(endpoint.kind, id),
            namespace: endpoint.namespace.as_deref(),
            name: &endpoint.name,
            labels: Some(&endpoint.labels),
        };
    }
    if let Some(index) = worlds.directory.network_of(address) {
        let network = &worlds.networks[index];
        return Named {
            kind: NameKind::NetworkSet,
            namespace: network.namespace.as_deref(),
            name: &network.name,
            labels: Some(&network.labels),
        };
    }
    let name = if is_private(address) { "private" } else { "public" };
    Named {
        kind: NameKind::Network,
        namespace: None,
        name,
        labels: None,
    }
}

/// Whether an address is of a network that the Internet does not route (RFC 1918, RFC 4193, link-local, loopback).
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
        }
    }
}
