//! Random packets and the ways they take.

use palisade_rules::evaluate::Packet;
use palisade_rules::net::Protocol;
use palisade_rules::ruleset::CtState;
use proptest::prelude::*;
use proptest::sample::select;

use super::{CGROUPS, ip};
use crate::journey::{Journey, Way};

/// Those of endpoints, and some at the edges of nets.
const ADDRESSES_V4: [&str; 10] = [
    "10.0.0.1",
    "10.0.1.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.5",
    "10.9.9.9",
    "192.0.2.1",
    "10.0.0.255",
    "126.255.255.255",
];

const ADDRESSES_V6: [&str; 8] = [
    "fd00::1",
    "fd00:1::1",
    "fd00::2",
    "fd00::4",
    "2001:db8::1",
    "fe80::1",
    "fd00::8000:0:0:1",
    "fd00:0:0:1::",
];

/// The ports of packets: those that have names first, then those of failsafes and the edges of ranges.
pub const PORTS: [u16; 15] = [
    80, 443, 53, 8080, 0, 1, 22, 68, 442, 1023, 1024, 8000, 8100, 8101, 65535,
];

/// How many of them have names.
const NAMED: usize = 4;

pub(super) fn journey() -> impl Strategy<Value = Journey> {
    let state = prop_oneof![
        12 => Just(CtState::New),
        1 => Just(CtState::Untracked),
        1 => Just(CtState::Invalid),
        1 => Just(CtState::Established),
        1 => Just(CtState::Related),
    ];
    (
        packet(),
        way(),
        state,
        select(vec![0, 7, 0x0800_0000, 0x1000_0000, 0x4000_0000, u32::MAX]),
        cgroups(),
    )
        .prop_map(|(packet, way, state, mark, cgroups)| Journey {
            packet,
            way,
            state,
            mark,
            cgroups: match way {
                Way::In { .. } | Way::Out { .. } => cgroups,
                Way::Through { .. } => Vec::new(),
            },
        })
}

fn way() -> impl Strategy<Value = Way> {
    let interface = || select(vec!["eth0", "eth0", "eth1", "eth2", "cali1", "cali2"]);
    let or_lo = || prop_oneof![9 => interface(), 1 => Just("lo")];
    prop_oneof![
        3 => or_lo().prop_map(|from| Way::In { from }),
        3 => or_lo().prop_map(|to| Way::Out { to }),
        3 => [interface(), interface()].prop_map(|[from, to]| Way::Through { from, to }),
    ]
}

/// The cgroups of a process, from the first level down; none for a packet without a socket.
fn cgroups() -> impl Strategy<Value = Vec<u64>> {
    let paths: Vec<&str> = [""].into_iter().chain(CGROUPS.map(|(path, _)| path)).collect();
    select(paths).prop_map(|path| {
        let is_above = |ancestor: &str| path == ancestor || path.starts_with(&format!("{ancestor}/"));
        let mut above: Vec<(&str, u64)> = CGROUPS
            .into_iter()
            .filter(|(cgroup, _)| is_above(cgroup))
            .collect();
        above.sort_unstable();
        let mut ids: Vec<u64> = above.into_iter().map(|(_, id)| id).collect();
        // The slice of all users is no cgroup that anybody asks for.
        if path.starts_with("user.slice") {
            ids.insert(0, 300);
        }
        ids
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![select(&PORTS[..NAMED]), select(&PORTS[NAMED..])]
}

fn packet() -> impl Strategy<Value = Packet> {
    let pair = prop_oneof![
        [select(&ADDRESSES_V4[..]), select(&ADDRESSES_V4[..])],
        [select(&ADDRESSES_V6[..]), select(&ADDRESSES_V6[..])],
    ];
    let protocol = select(vec![
        Protocol::TCP,
        Protocol::TCP,
        Protocol::TCP,
        Protocol::UDP,
        Protocol::SCTP,
        Protocol::ICMP,
        Protocol::ICMPV6,
        Protocol(47),
    ]);
    (
        pair,
        protocol,
        [port(), port()],
        (select(vec![8, 128, 133, 134, 135]), select(vec![0, 0, 1])),
    )
        .prop_map(
            |([source, destination], protocol, ports, (icmp_type, icmp_code))| {
                let [source_port, destination_port] = if protocol.has_ports() { ports } else { [0, 0] };
                Packet {
                    source: ip(source),
                    destination: ip(destination),
                    protocol,
                    source_port,
                    destination_port,
                    icmp_type,
                    icmp_code,
                }
            },
        )
}
