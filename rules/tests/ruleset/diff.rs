//! A difference names exactly the connections that `explain` answers differently on the two sides.

use std::env;
use std::net::IpAddr;

use palisade_cases::case;
use palisade_rules::analysis::{Allowed, Answer, Difference, Query, Side, WorldAnswer, diff, explain};
use palisade_rules::net::Protocol;
use palisade_rules::world::{WorldKind, Worlds, resolve};
use proptest::prelude::*;

use crate::differential::JOURNEYS;

/// How many pairs of random directories, unless `PROPTEST_CASES` says.
const CASES: u32 = 150;

const PORTS: [u16; 8] = [0, 22, 53, 80, 81, 443, 8080, 65535];

const PROTOCOLS: [Protocol; 6] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::ICMP,
    Protocol::ICMPV6,
    Protocol(47),
    Protocol(99),
];

/// Addresses that may be in a block.
const PROBES: [&str; 6] = [
    "10.0.0.9",
    "10.0.1.200",
    "10.9.9.9",
    "192.0.2.1",
    "fd00::9",
    "2001:db8::1",
];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_difference_is_what_explain_answers_differently(cases in [case(JOURNEYS), case(JOURNEYS)], seed in 0_usize..5) {
        let [old, new] = cases.map(|case| resolve(&case.snapshot, case.host.clone()));
        let enforced = |worlds| Side { worlds, world: WorldKind::Enforced };
        let pending = |worlds| Side { worlds, world: WorldKind::Pending };
        Checked::new(enforced(&old), enforced(&new)).check(seed);
        Checked::new(enforced(&new), pending(&new)).check(seed);
        prop_assert!(diff(pending(&old), pending(&old)).is_empty());
    }
}

struct Checked<'w> {
    sides: [Side<'w>; 2],
    difference: Difference,
}

impl<'w> Checked<'w> {
    fn new(old: Side<'w>, new: Side<'w>) -> Self {
        Checked {
            sides: [old, new],
            difference: diff(old, new),
        }
    }

    fn check(&self, seed: usize) {
        self.check_witnesses();
        let mut ends = self.endpoints();
        let blocks_from = ends.len();
        ends.extend(self.probes());
        for (from_index, from) in ends.iter().enumerate() {
            for (to_index, to) in ends.iter().enumerate() {
                let are_blocks = from_index >= blocks_from && to_index >= blocks_from;
                if (from_index * ends.len() + to_index) % 5 == seed && !are_blocks {
                    self.check_pair(from, to);
                }
            }
        }
    }

    /// Each witness is answered by both sides, and differently.
    fn check_witnesses(&self) {
        for change in &self.difference.changes {
            for witness in &change.witnesses {
                let [old, new] = self
                    .sides
                    .map(|side| allows(&side, &explain(side.worlds, &witness.query).unwrap()));
                let view = usize::from(change.without_safety_net);
                assert_eq!(
                    (old[view], new[view]),
                    (!witness.is_added, witness.is_added),
                    "{witness:?}"
                );
                let sets = if witness.is_added {
                    &change.added
                } else {
                    &change.removed
                };
                assert!(
                    contains(&self.difference, sets, &witness.query),
                    "{witness:?} of {change:?}"
                );
            }
            assert!(!change.added.is_empty() || !change.removed.is_empty());
        }
    }

    /// The names that mean one endpoint on both sides.
    fn endpoints(&self) -> Vec<(String, String)> {
        let [old, new] = self.sides.map(|side| names(side.worlds));
        old.iter()
            .filter(|name| new.contains(name))
            .map(|name| (name.clone(), name.clone()))
            .collect()
    }

    /// Addresses that no endpoint has on either side, each with the name of its block.
    fn probes(&self) -> Vec<(String, String)> {
        let is_free = |probe: &IpAddr| {
            let mut endpoints = self.sides.iter().flat_map(|side| side.worlds.endpoints.iter());
            !endpoints.any(|endpoint| endpoint.addresses.contains(probe))
        };
        let probes = PROBES.map(|probe| probe.parse::<IpAddr>().unwrap());
        let free = probes.into_iter().filter(is_free);
        free.map(|probe| {
            let nets = self.difference.blocks.iter().flat_map(|block| {
                let parse = |net: &String| net.parse::<ipnet::IpNet>().unwrap();
                block.nets.iter().map(move |net| (parse(net), &block.name))
            });
            let around = nets.filter(|(net, _)| net.contains(&probe));
            let (_, name) = around.max_by_key(|(net, _)| net.prefix_len()).unwrap();
            (probe.to_string(), name.clone())
        })
        .collect()
    }

    fn check_pair(&self, from: &(String, String), to: &(String, String)) {
        for protocol in PROTOCOLS {
            let ports = if protocol.has_ports() {
                PORTS.map(Some).to_vec()
            } else {
                vec![None]
            };
            for port in ports {
                let query = Query {
                    from: from.0.clone(),
                    to: to.0.clone(),
                    protocol,
                    port,
                    source_port: None,
                    icmp_type: None,
                    icmp_code: None,
                };
                // Without a single answer there is nothing to compare with.
                let [Ok(old), Ok(new)] = self.sides.map(|side| explain(side.worlds, &query)) else {
                    continue;
                };
                let [old, new] = [allows(&self.sides[0], &old), allows(&self.sides[1], &new)];
                for view in [0, 1] {
                    let listed = self.listed(&from.1, &to.1, &query, view == 1);
                    // Without a net on either side the views are one, and it is listed once.
                    let is_listed_once = view == 1 && !self.difference.has_safety_net;
                    if !is_listed_once {
                        let expected = (!old[view] && new[view], old[view] && !new[view]);
                        assert_eq!(listed, expected, "{query:?}: {:#?}", self.difference);
                    }
                }
            }
        }
    }

    /// Whether a connection is listed as added, and as removed.
    fn listed(&self, from: &String, to: &String, query: &Query, without_safety_net: bool) -> (bool, bool) {
        let is_alone = |names: &[String]| names.len() == 1;
        let changes = self.difference.changes.iter().filter(|change| {
            let is_itself = from == to;
            change.without_safety_net == without_safety_net
                && change.from.contains(from)
                && change.to.contains(to)
                && (!is_itself || (is_alone(&change.from) && is_alone(&change.to)))
        });
        let mut listed = (false, false);
        for change in changes {
            listed.0 |= contains(&self.difference, &change.added, query);
            listed.1 |= contains(&self.difference, &change.removed, query);
        }
        listed
    }
}

/// The names by which `explain` finds one endpoint of the directory, with its kind where it must be.
fn names(worlds: &Worlds) -> Vec<String> {
    palisade_rules::analysis::Matrix::new(worlds)
        .nodes()
        .iter()
        .filter(|node| matches!(node.kind, palisade_rules::analysis::NodeKind::Endpoint(_)))
        .map(|node| node.name.clone())
        .collect()
}

/// Whether a side allows: with the safety net, and without.
fn allows(side: &Side<'_>, answer: &Answer) -> [bool; 2] {
    let answer: &WorldAnswer = match side.world {
        WorldKind::Enforced => &answer.enforced,
        WorldKind::Pending => &answer.pending,
    };
    let bare = answer.without_safety_net.as_ref();
    [
        &answer.verdict,
        bare.map_or(&answer.verdict, |bare| &bare.verdict),
    ]
    .map(|verdict| verdict == "allow")
}

/// Whether a list of connections has one.
fn contains(difference: &Difference, list: &[Allowed], query: &Query) -> bool {
    let protocol = query.protocol.to_string();
    let name = if difference.protocols.contains(&protocol) {
        protocol.as_str()
    } else {
        "other"
    };
    list.iter().any(|allowed| {
        let has_port = |port| {
            let ports = allowed.ports.as_ref();
            ports.is_none_or(|ports| ports.iter().any(|&[first, last]| (first..=last).contains(&port)))
        };
        allowed.protocol == "any" || (allowed.protocol == name && query.port.is_none_or(has_port))
    })
}
