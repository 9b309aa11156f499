//! What stays open whatever the policies say.

use super::*;

/// Policies that deny everything, both ways, without a profile to fall back to.
fn deny_all() -> Vec<String> {
    vec![policy(
        "deny",
        "order: -1, types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]",
    )]
}

#[test]
fn the_defaults_come_before_every_tier() {
    let mut table: Vec<(String, String)> = Vec::new();
    let mut passes = |packet: &str, failsafe: &str| {
        table.push((packet.into(), format!("allow: Allow failsafe {failsafe}")));
    };
    for peer in ["10.0.0.2", "fd00::2"] {
        passes(&format!("in tcp {peer} 22"), "tcp:22");
        passes(&format!("in udp {peer} 68"), "udp:68");
        passes(&format!("in udp {peer} 546"), "udp:546");
        passes(&format!("out udp {peer} 53"), "udp:53");
        passes(&format!("out tcp {peer} 53"), "tcp:53");
        passes(&format!("out udp {peer} 67"), "udp:67");
        passes(&format!("out udp {peer} 547"), "udp:547");
    }
    for icmp_type in [130, 131, 132, 134, 135, 136, 143] {
        passes(&format!("in icmpv6 fd00::2 type {icmp_type}"), "icmpv6");
    }
    for icmp_type in [131, 132, 133, 135, 136, 143] {
        passes(&format!("out icmpv6 fd00::2 type {icmp_type}"), "icmpv6");
    }
    let mut denied = |packet: &str| table.push((packet.into(), "deny: Deny deny/0".into()));
    for packet in [
        "out tcp 10.0.0.2 22",
        "in udp 10.0.0.2 22",
        "in udp 10.0.0.2 53",
        "out udp 10.0.0.2 68",
        "in icmpv6 fd00::2 type 128",
        "in icmpv6 fd00::2 type 133",
        "in icmpv6 fd00::2 type 129",
        "in icmpv6 fd00::2 type 137",
        "out icmpv6 fd00::2 type 130",
        "out icmpv6 fd00::2 type 134",
        // Not ICMPv6, whatever its number says.
        "in icmpv6 10.0.0.2 type 135",
        "in icmp 10.0.0.2 type 135",
    ] {
        denied(packet);
    }
    let table: Vec<(&str, &str)> = table
        .iter()
        .map(|(packet, said)| (packet.as_str(), said.as_str()))
        .collect();
    enforced(&deny_all(), &table);
    // Both worlds have them.
    pending(&deny_all(), &table);
}

#[test]
fn a_net_is_the_far_end() {
    let failsafes = Failsafes {
        inbound: vec!["tcp:10.9.0.0/16:80-90".parse().unwrap()],
        outbound: vec!["udp:[fd09::/32]:53".parse().unwrap()],
        icmpv6: false,
    };
    let host = Host {
        failsafes,
        ..host("one")
    };
    let worlds = resolve(&snapshot(&[NETWORK, &deny_all().concat()]), host);
    for (packet, failsafe) in [
        ("in tcp 10.9.1.1 80", Some("tcp:10.9.0.0/16:80-90")),
        ("in tcp 10.9.1.1 90", Some("tcp:10.9.0.0/16:80-90")),
        ("in tcp 10.9.1.1 91", None),
        ("in tcp 10.8.1.1 80", None),
        ("in tcp fd09::1 80", None),
        ("out tcp 10.9.1.1 80", None),
        ("out udp fd09::1 53", Some("udp:[fd09::/32]:53")),
        ("out udp fd08::1 53", None),
        ("out udp 10.9.1.1 53", None),
        ("in icmpv6 fd00::2 type 135", None),
    ] {
        let expected = failsafe.map_or("deny: Deny deny/0".to_owned(), |failsafe| {
            format!("allow: Allow failsafe {failsafe}")
        });
        assert_eq!(ask(&worlds, WorldKind::Enforced, packet), expected, "{packet}");
    }
}

#[test]
fn with_none_at_all_policies_decide() {
    let host = Host {
        failsafes: Failsafes::none(),
        ..host("one")
    };
    let worlds = resolve(&snapshot(&[NETWORK, &deny_all().concat()]), host);
    for packet in ["in tcp 10.0.0.2 22", "in icmpv6 fd00::2 type 135"] {
        assert_eq!(
            ask(&worlds, WorldKind::Enforced, packet),
            "deny: Deny deny/0",
            "{packet}"
        );
    }
}
