//! The matrix says of every connection what `explain` says of it.

use std::env;
use std::net::IpAddr;

use palisade_cases::case;
use palisade_rules::analysis::{Answer, Cell, Matrix, Node, NodeKind, Query, QueryError, View, explain};
use palisade_rules::net::{Family, Protocol};
use palisade_rules::world::{EndpointKind, WorldKind, Worlds, resolve};
use proptest::prelude::*;

use crate::differential::JOURNEYS;

/// How many random hosts, unless `PROPTEST_CASES` says; of each about a hundred connections of every seventh pair are
/// asked.
const CASES: u32 = 200;

/// Ports at which something begins or ends, and their neighbours.
const PORTS: [u16; 14] = [0, 1, 22, 53, 68, 79, 80, 81, 443, 1023, 1024, 8000, 8080, 65535];

const PROTOCOLS: [Protocol; 8] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::SCTP,
    Protocol::ICMP,
    Protocol::ICMPV6,
    Protocol(47),
    Protocol(99),
    Protocol::UDPLITE,
];

/// Addresses that may be in a block.
const PROBES: [&str; 10] = [
    "10.0.0.9",
    "10.0.0.255",
    "10.0.1.200",
    "10.9.9.9",
    "127.0.0.1",
    "192.0.2.1",
    "fd00::9",
    "fd00:1::9",
    "2001:db8::1",
    "fe80::1",
];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_matrix_says_what_explain_says(case in case(JOURNEYS), seed in 0_usize..7) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let mut matrix = Matrix::new(&worlds);
        let nodes = matrix.nodes().to_vec();
        for from in 0..nodes.len() {
            let row = matrix.row(from);
            for (to, &cell) in row.iter().enumerate() {
                prop_assert_eq!(cell, matrix.cell(from, to));
                if (from * nodes.len() + to) % 7 == seed {
                    let pair = Pair { worlds: &worlds, matrix: &matrix, nodes: &nodes, from, to };
                    pair.check(cell);
                }
            }
        }
    }
}

/// Two nodes.
struct Pair<'a> {
    worlds: &'a Worlds,
    matrix: &'a Matrix<'a>,
    nodes: &'a [Node],
    from: usize,
    to: usize,
}

/// A verdict in each world, with the safety net and without.
type Verdicts = [[bool; 2]; 2];

impl Pair<'_> {
    fn check(&self, cell: Cell) {
        let is_block = |node: usize| matches!(self.nodes[node].kind, NodeKind::Block { .. });
        if is_block(self.from) && is_block(self.to) {
            assert_eq!(cell, Cell::NOTHING);
            return;
        }
        for protocol in PROTOCOLS {
            let ports = if protocol.has_ports() {
                PORTS.map(Some).to_vec()
            } else {
                vec![None]
            };
            for port in ports {
                self.check_connection(cell, protocol, port);
            }
        }
    }

    fn check_connection(&self, cell: Cell, protocol: Protocol, port: Option<u16>) {
        let [all, some] = self.said(cell, protocol, port);
        for from in self.texts(self.from) {
            for to in self.texts(self.to) {
                let context = format!("{from} to {to}, {protocol} {port:?}");
                match explain(self.worlds, &query(&from, &to, protocol, port)) {
                    Ok(answer) => {
                        let verdicts = verdicts(&answer);
                        assert_eq!([all, some], [verdicts, verdicts], "{context}: {answer:?}");
                    }
                    Err(QueryError::NoAddress(_) | QueryError::NoCommonFamily { .. }) => {
                        assert_eq!(cell, Cell::NOTHING, "{context}");
                    }
                    // The ways through a host differ, if only in who decides.
                    Err(QueryError::Interface) => assert!(implies(all, some), "{context}"),
                    Err(QueryError::Depends { .. }) => match self.by_address(protocol, port) {
                        Some(expected) => assert_eq!([all, some], expected, "{context}"),
                        None => assert!(implies(all, some), "{context}"),
                    },
                    Err(error) => panic!("{context}: {error}"),
                }
            }
        }
    }

    /// What the matrix says: of all addresses, and of some.
    fn said(&self, cell: Cell, protocol: Protocol, port: Option<u16>) -> [Verdicts; 2] {
        let reach = |world, without| self.matrix.reach(cell, View::of(world, without));
        let allows = |traffic| self.matrix.protocols().contains(traffic, protocol, port);
        let verdicts = WorldKind::BOTH.map(|world| {
            [false, true].map(|without| {
                let reach = reach(world, without);
                [allows(reach.all), allows(reach.some)]
            })
        });
        [0, 1].map(|which| verdicts.map(|world| world.map(|verdict| verdict[which])))
    }

    /// How to ask for a node: an endpoint by its name, a block by addresses that belong to it.
    fn texts(&self, node: usize) -> Vec<String> {
        let NodeKind::Block { sample, .. } = &self.nodes[node].kind else {
            return vec![self.nodes[node].name.clone()];
        };
        let probes = PROBES.map(|probe| probe.parse::<IpAddr>().unwrap());
        let is_free = |probe: &IpAddr| {
            let mut endpoints = self.worlds.endpoints.iter();
            !endpoints.any(|endpoint| endpoint.addresses.contains(probe))
        };
        let inside = probes
            .into_iter()
            .filter(|probe| is_free(probe) && self.block_of(*probe) == Some(node));
        let addresses = [*sample].into_iter().chain(inside);
        addresses.map(|address| address.to_string()).collect()
    }

    /// The block with the longest prefix around an address.
    fn block_of(&self, address: IpAddr) -> Option<usize> {
        let blocks = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| match &node.kind {
                NodeKind::Block { nets, .. } => Some((index, nets)),
                NodeKind::Endpoint(_) => None,
            });
        blocks
            .flat_map(|(index, nets)| nets.iter().map(move |net| (index, net)))
            .filter(|(_, net)| net.contains(&address))
            .max_by_key(|(_, net)| net.prefix_len())
            .map(|(index, _)| index)
    }

    /// The verdicts of all pairs of addresses, and of any; `None` for what cannot be asked by address: a service, or an
    /// address of two endpoints.
    fn by_address(&self, protocol: Protocol, port: Option<u16>) -> Option<[Verdicts; 2]> {
        let mut pairs = Vec::new();
        for from in self.addresses(self.from)? {
            for to in self.addresses(self.to)? {
                if Family::of(from) == Family::of(to) {
                    pairs.push((from, to));
                }
            }
        }
        let own = Family::BOTH
            .into_iter()
            .find(|&family| protocol == Protocol::icmp_of(family));
        if pairs.iter().any(|(from, _)| Some(Family::of(*from)) == own) {
            pairs.retain(|(from, _)| Some(Family::of(*from)) == own);
        }
        let mut expected = [[[true; 2]; 2], [[false; 2]; 2]];
        for (from, to) in pairs {
            let query = query(&from.to_string(), &to.to_string(), protocol, port);
            let verdicts = verdicts(&explain(self.worlds, &query).ok()?);
            expected = [
                zip(expected[0], verdicts, |all, one| all && one),
                zip(expected[1], verdicts, |some, one| some || one),
            ];
        }
        Some(expected)
    }

    fn addresses(&self, node: usize) -> Option<Vec<IpAddr>> {
        match &self.nodes[node].kind {
            NodeKind::Block { sample, .. } => Some(vec![*sample]),
            NodeKind::Endpoint(endpoint) => {
                let endpoint = self.worlds.endpoint(*endpoint);
                (endpoint.kind != EndpointKind::Service).then(|| endpoint.addresses.clone())
            }
        }
    }
}

fn query(from: &str, to: &str, protocol: Protocol, port: Option<u16>) -> Query {
    Query {
        from: from.to_owned(),
        to: to.to_owned(),
        protocol,
        port,
        source_port: None,
        icmp_type: None,
        icmp_code: None,
    }
}

fn verdicts(answer: &Answer) -> Verdicts {
    [&answer.enforced, &answer.pending].map(|world| {
        let bare = world.without_safety_net.as_ref();
        let bare = bare.map_or(&world.verdict, |bare| &bare.verdict);
        [world.verdict == "allow", bare == "allow"]
    })
}

fn zip(a: Verdicts, b: Verdicts, join: fn(bool, bool) -> bool) -> Verdicts {
    [0, 1].map(|world| [0, 1].map(|net| join(a[world][net], b[world][net])))
}

fn implies(all: Verdicts, some: Verdicts) -> bool {
    zip(all, some, |all, some| !all || some) == [[true; 2]; 2]
}
