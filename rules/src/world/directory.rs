//! Who is who: from names and addresses to endpoints and networks, without looking at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Endpoint, EndpointId, EndpointKind, Network};

/// The endpoints and networks of [`Worlds`](super::Worlds), by what people and packets call them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    /// By `name`, and by `namespace/name` where there is a namespace.
    names: BTreeMap<String, Vec<EndpointId>>,
    /// Sorted; the endpoints of one address in their own order.
    addresses: Vec<(IpAddr, EndpointId)>,
    /// The host endpoints of each node.
    hosts: BTreeMap<String, Vec<EndpointId>>,
    /// Sorted, each prefix once, with the first network that has it.
    prefixes: Vec<(IpNet, usize)>,
    /// The lengths of those prefixes, the longest first.
    lengths: Vec<u8>,
}

impl Directory {
    pub(super) fn new(endpoints: &[Arc<Endpoint>], networks: &[Arc<Network>]) -> Self {
        let mut directory = Directory::default();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let id = EndpointId(index);
            directory.enter(endpoint.name.clone(), id);
            if endpoint.namespace.is_some() {
                directory.enter(endpoint.to_string(), id);
            }
            if endpoint.kind == EndpointKind::Host {
                match directory.hosts.get_mut(&endpoint.node) {
                    Some(hosts) => hosts.push(id),
                    None => drop(directory.hosts.insert(endpoint.node.clone(), vec![id])),
                }
            }
            let addresses = endpoint.addresses.iter();
            directory
                .addresses
                .extend(addresses.map(|&address| (address, id)));
        }
        directory.addresses.sort_unstable();
        directory.addresses.dedup();
        for (index, network) in networks.iter().enumerate() {
            let nets = network.nets.iter();
            directory.prefixes.extend(nets.map(|net| (net.trunc(), index)));
        }
        directory.prefixes.sort_unstable();
        directory.prefixes.dedup_by_key(|(net, _)| *net);
        let lengths: BTreeSet<u8> = directory
            .prefixes
            .iter()
            .map(|(net, _)| net.prefix_len())
            .collect();
        directory.lengths = lengths.into_iter().rev().collect();
        directory
    }

    /// The endpoints of a `name` or a `namespace/name`, in their own order.
    pub fn named(&self, name: &str) -> &[EndpointId] {
        self.names.get(name).map_or(&[], Vec::as_slice)
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
        self.hosts.get(node).map_or(&[], Vec::as_slice)
    }

    /// The network with the longest prefix that holds an address, as an index into
    /// [`Worlds::networks`](super::Worlds::networks); of two equally long ones the first.
    pub fn network_of(&self, address: IpAddr) -> Option<usize> {
        self.lengths.iter().find_map(|&length| {
            // A length that the family does not have has no prefix.
            let net = IpNet::new(address, length).ok()?.trunc();
            let index = self.prefixes.binary_search_by_key(&net, |(net, _)| *net).ok()?;
            Some(self.prefixes[index].1)
        })
    }

    fn enter(&mut self, name: String, id: EndpointId) {
        self.names.entry(name).or_default().push(id);
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
