//! Who is who: from names and addresses to endpoints and networks, without looking at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Endpoint, EndpointId, EndpointKind, Network, Worlds};

/// The endpoints and networks of [`Worlds`], by what people and packets call them. A copy costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Directory {
    names: Arc<Names>,
    /// Sorted; the endpoints of one address in their own order.
    addresses: Arc<[(IpAddr, EndpointId)]>,
    prefixes: Arc<Prefixes>,
}

/// Endpoints by what they are called.
#[derive(Debug, Default, PartialEq)]
struct Names {
    /// By `name`, and by `namespace/name` where there is a namespace.
    endpoints: BTreeMap<String, Vec<EndpointId>>,
    /// The host endpoints of each node.
    hosts: BTreeMap<String, Vec<EndpointId>>,
}

/// Networks by their addresses.
#[derive(Debug, PartialEq)]
struct Prefixes {
    /// Sorted, each prefix once, with the first network that has it.
    nets: Vec<(IpNet, usize)>,
    /// The lengths of those prefixes, the longest first.
    lengths: Vec<u8>,
}

impl Directory {
    pub(super) fn new(endpoints: &[Arc<Endpoint>], networks: &[Arc<Network>]) -> Self {
        Directory {
            names: Arc::new(Names::new(endpoints)),
            addresses: addresses(endpoints),
            prefixes: Arc::new(Prefixes::new(networks)),
        }
    }

    /// As [`Directory::new`], where this is the directory of `worlds`.
    pub(super) fn followed(
        &self,
        worlds: &Worlds,
        endpoints: &Arc<[Arc<Endpoint>]>,
        networks: &Arc<[Arc<Network>]>,
    ) -> Self {
        let called_alike = |(a, b): (&Arc<Endpoint>, &Arc<Endpoint>)| {
            let is_named_alike = || a.name == b.name && a.namespace == b.namespace;
            Arc::ptr_eq(a, b) || (is_named_alike() && a.kind == b.kind && a.node == b.node)
        };
        let endpoints_stay = Arc::ptr_eq(endpoints, &worlds.endpoints);
        let names_stay = endpoints_stay
            || (endpoints.len() == worlds.endpoints.len()
                && worlds.endpoints.iter().zip(endpoints.iter()).all(called_alike));
        Directory {
            names: if names_stay {
                Arc::clone(&self.names)
            } else {
                Arc::new(Names::new(endpoints))
            },
            addresses: if endpoints_stay {
                Arc::clone(&self.addresses)
            } else {
                addresses(endpoints)
            },
            prefixes: if Arc::ptr_eq(networks, &worlds.networks) {
                Arc::clone(&self.prefixes)
            } else {
                Arc::new(Prefixes::new(networks))
            },
        }
    }

    /// The endpoints of a `name` or a `namespace/name`, in their own order.
    pub fn named(&self, name: &str) -> &[EndpointId] {
        self.names.endpoints.get(name).map_or(&[], Vec::as_slice)
    }

    /// The endpoints that have an address, in their own order.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = EndpointId> {
        let first = self.addresses.partition_point(|(other, _)| *other < address);
        self.addresses[first..]
            .iter()
            .take_while(move |(other, _)| *other == address)
            .map(|(_, id)| *id)
    }

    /// The host endpoints of a node, in their own order.
    pub fn hosts(&self, node: &str) -> &[EndpointId] {
        self.names.hosts.get(node).map_or(&[], Vec::as_slice)
    }

    /// The network with the longest prefix that holds an address, as an index into
    /// [`Worlds::networks`]; of two equally long ones the first.
    pub fn network_of(&self, address: IpAddr) -> Option<usize> {
        self.prefixes.lengths.iter().find_map(|&length| {
            // A length that the family does not have has no prefix.
            let net = IpNet::new(address, length).ok()?.trunc();
            let nets = &self.prefixes.nets;
            let index = nets.binary_search_by_key(&net, |(net, _)| *net).ok()?;
            Some(nets[index].1)
        })
    }
}

impl Names {
    fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let mut names = Names::default();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let id = EndpointId(index);
            names.enter(endpoint.name.clone(), id);
            if endpoint.namespace.is_some() {
                names.enter(endpoint.to_string(), id);
            }
            if endpoint.kind == EndpointKind::Host {
                match names.hosts.get_mut(&endpoint.node) {
                    Some(hosts) => hosts.push(id),
                    None => drop(names.hosts.insert(endpoint.node.clone(), vec![id])),
                }
            }
        }
        names
    }

    fn enter(&mut self, name: String, id: EndpointId) {
        self.endpoints.entry(name).or_default().push(id);
    }
}

fn addresses(endpoints: &[Arc<Endpoint>]) -> Arc<[(IpAddr, EndpointId)]> {
    let mut addresses: Vec<(IpAddr, EndpointId)> = endpoints
        .iter()
        .enumerate()
        .flat_map(|(index, endpoint)| {
            let addresses = endpoint.addresses.iter();
            addresses.map(move |&address| (address, EndpointId(index)))
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into()
}

impl Prefixes {
    fn new(networks: &[Arc<Network>]) -> Self {
        let mut nets: Vec<(IpNet, usize)> = networks
            .iter()
            .enumerate()
            .flat_map(|(index, network)| network.nets.iter().map(move |net| (net.trunc(), index)))
            .collect();
        nets.sort_unstable();
        nets.dedup_by_key(|(net, _)| *net);
        let lengths: BTreeSet<u8> = nets.iter().map(|(net, _)| net.prefix_len()).collect();
        Prefixes {
            nets,
            lengths: lengths.into_iter().rev().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{network, object, workload};

    #[test]
    fn names_with_and_without_namespace() {
        let worlds = network(&[
            workload("a", "app: a", "interfaceName: cali1, ipNetworks: [10.65.0.1/32]"),
            object("HostEndpoint", "one-cni-a-e", "node: two, interfaceName: eth9"),
        ]);
        let found = |name: &str| {
            let ids = worlds.directory.named(name).iter();
            ids.map(|&id| worlds.endpoint(id).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found("one-cni-a-e"), ["one-cni-a-e", "red/one-cni-a-e"]);
        assert_eq!(found("red/one-cni-a-e"), ["red/one-cni-a-e"]);
        assert!(found("blue/one-cni-a-e").is_empty());
        let hosts = worlds.directory.hosts("two").iter();
        let hosts: Vec<String> = hosts.map(|&id| worlds.endpoint(id).to_string()).collect();
        assert_eq!(hosts, ["db", "one-cni-a-e"]);
    }

    #[test]
    fn addresses_are_found_as_if_every_endpoint_and_network_were_looked_at() {
        let set = |name: &str, nets: &str| object("GlobalNetworkSet", name, &format!("nets: [{nets}]"));
        let worlds = network(&[
            object(
                "HostEndpoint",
                "twin",
                "node: four, interfaceName: e, expectedIPs: [10.0.0.2]",
            ),
            set("a", "10.9.0.0/16, 10.9.8.0/24, 0.0.0.0/1"),
            set("b", "10.9.8.0/24, 10.9.8.7/32, 'fd09::/64'"),
        ]);
        let addresses = [
            "10.0.0.2",
            "10.0.0.3",
            "10.9.1.1",
            "10.9.8.1",
            "10.9.8.7",
            "192.0.2.1",
            "fd00::2",
            "fd09::1",
            "fd09:0:0:1::1",
            "2001:db8::1",
            "::",
        ];
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            let linear: Vec<EndpointId> = (0..worlds.endpoints.len())
                .map(EndpointId)
                .filter(|&id| worlds.endpoint(id).addresses.contains(&address))
                .collect();
            assert_eq!(
                worlds.directory.at(address).collect::<Vec<_>>(),
                linear,
                "{address}"
            );
            let length = |index: &usize| {
                let nets = worlds.networks[*index].nets.iter();
                nets.filter(|net| net.contains(&address))
                    .map(IpNet::prefix_len)
                    .max()
            };
            let holding = (0..worlds.networks.len()).filter(|index| length(index).is_some());
            let longest =
                holding.reduce(|best, next| if length(&next) > length(&best) { next } else { best });
            assert_eq!(worlds.directory.network_of(address), longest, "{address}");
        }
    }
}
