//! What stands around palisade on the lab's host: a table of nftables, and rules and routes.

use std::fmt::Write as _;

use palisade_rules::ruleset::CtState;

use super::lab::{GROUP, INTERFACES};
use super::wire;

/// What conntrack may call a packet, and the prefix of its report.
pub(super) const STATES: [(CtState, &str); 5] = [
    (CtState::New, "new"),
    (CtState::Established, "established"),
    (CtState::Related, "related"),
    (CtState::Untracked, "untracked"),
    (CtState::Invalid, "invalid"),
];

/// What stands before and behind palisade.
pub(super) fn table() -> String {
    let mut text = String::from("table inet lab {\n");
    let mut marks = String::new();
    let mut untracked = Vec::new();
    for (index, mark) in wire::MARKS.into_iter().enumerate() {
        for is_untracked in [false, true] {
            let hops = wire::hops(index, is_untracked);
            let _ = write!(marks, "{hops} : {mark:#x}, ");
            if is_untracked {
                untracked.push(hops.to_string());
            }
        }
    }
    let untracked = untracked.join(", ");
    let last = wire::OPENING;
    for (family, hops) in [("ipv4", "ip ttl"), ("ipv6", "ip6 hoplimit")] {
        let _ = writeln!(
            text,
            "chain {family} {{\n{hops} != {}-{last} drop\n{hops} {{ {untracked} }} notrack\nmeta mark set {hops} map {{ {marks} }}\n}}",
            wire::HOPS
        );
    }
    for (_, name) in STATES {
        let _ = writeln!(
            text,
            "chain {name} {{ log prefix \"{name}\" group {GROUP} snaplen 64 queue-threshold 1\ndrop\n}}"
        );
    }
    for hook in ["prerouting", "output"] {
        let _ = writeln!(
            text,
            "chain first-{hook} {{ type filter hook {hook} priority -400\nmeta nfproto vmap {{ ipv4 : goto ipv4, ipv6 : goto ipv6 }}\n}}"
        );
    }
    let states = STATES.map(|(_, name)| format!("{name} : goto {name}")).join(", ");
    for hook in ["input", "forward", "output"] {
        let _ = writeln!(
            text,
            "chain last-{hook} {{ type filter hook {hook} priority 300\nip ttl {0} accept\nip6 hoplimit {0} accept\nct state vmap {{ {states} }}\n}}",
            wire::OPENING
        );
    }
    text.push('}');
    text
}

/// Rules and routes, the same for both IP versions.
pub(super) fn routes() -> String {
    let mut text = String::new();
    let mut local = |interface: &str, index: usize, service: u8| {
        let (out, own) = (100 + index, 200 + index);
        let _ = writeln!(text, "route add default dev {interface} table {out}");
        let _ = writeln!(text, "route add local default dev {interface} table {own}");
        let _ = writeln!(text, "rule add pref 100 oif {interface} lookup {out}");
        let _ = writeln!(
            text,
            "rule add pref 100 iif {interface} tos {service:#x} lookup {own}"
        );
    };
    for (index, interface) in INTERFACES.into_iter().enumerate() {
        local(interface, index, wire::TO_HOST);
    }
    local("lo", INTERFACES.len(), wire::TO_HOST_BY_LOOPBACK);
    for from in INTERFACES {
        for index in 0..INTERFACES.len() {
            let (service, out) = (wire::forwarded(index), 100 + index);
            let _ = writeln!(text, "rule add pref 100 iif {from} tos {service:#x} lookup {out}");
        }
    }
    text
}
