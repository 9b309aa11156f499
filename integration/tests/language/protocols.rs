//! `protocol`, `notProtocol`, `icmp` and `notICMP` with packets of any protocol, SCTP and UDP-Lite among them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use palisade_integration::{Daemon, Packet, Setup, ThreeHosts, Witness, eventually, examples};

use crate::resources::policy;

/// The packets may take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent in every case: the name, and what nft calls it.
const SENT: [(&str, &str); 14] = [
    ("sctp4_5000", "meta nfproto ipv4 sctp dport 5000"),
    ("sctp4_5001", "meta nfproto ipv4 sctp dport 5001"),
    ("sctp6_5000", "meta nfproto ipv6 sctp dport 5000"),
    ("sctp6_5001", "meta nfproto ipv6 sctp dport 5001"),
    ("lite4", "meta nfproto ipv4 udplite dport 5000"),
    ("lite6", "meta nfproto ipv6 udplite dport 5000"),
    ("other4", "meta nfproto ipv4 meta l4proto 253"),
    ("other6", "meta nfproto ipv6 meta l4proto 253"),
    ("echo4_0", "icmp type 8 icmp code 0"),
    ("echo4_1", "icmp type 8 icmp code 1"),
    ("time4", "icmp type 13"),
    ("echo6_0", "icmpv6 type 128 icmpv6 code 0"),
    ("echo6_1", "icmpv6 type 128 icmpv6 code 1"),
    ("query6", "icmpv6 type 139"),
];

/// A rule on the backend's ingress, and which of these it lets in.
const CASES: [(&str, &str); 19] = [
    ("protocol: SCTP", "sctp4_5000 sctp4_5001 sctp6_5000 sctp6_5001"),
    (
        "protocol: 132, destination: {ports: [5001]}",
        "sctp4_5001 sctp6_5001",
    ),
    (
        "protocol: SCTP, destination: {ports: [signals]}",
        "sctp4_5000 sctp6_5000",
    ),
    (
        "protocol: SCTP, destination: {notPorts: ['4000:5000']}",
        "sctp4_5001 sctp6_5001",
    ),
    ("protocol: UDPLite", "lite4 lite6"),
    ("protocol: 136, ipVersion: 6", "lite6"),
    ("protocol: 253", "other4 other6"),
    (
        "notProtocol: SCTP",
        "lite4 lite6 other4 other6 echo4_0 echo4_1 time4 echo6_0 echo6_1 query6",
    ),
    (
        "notProtocol: 1, ipVersion: 4",
        "sctp4_5000 sctp4_5001 lite4 other4",
    ),
    (
        "notProtocol: ICMPv6, ipVersion: 6",
        "sctp6_5000 sctp6_5001 lite6 other6",
    ),
    ("protocol: ICMP", "echo4_0 echo4_1 time4"),
    ("protocol: ICMP, icmp: {type: 8}", "echo4_0 echo4_1"),
    ("protocol: ICMP, icmp: {type: 8, code: 1}", "echo4_1"),
    ("protocol: ICMPv6, icmp: {type: 128, code: 0}", "echo6_0"),
    ("protocol: 58, icmp: {type: 139}", "query6"),
    ("protocol: ICMP, notICMP: {type: 8}", "time4"),
    ("protocol: ICMP, notICMP: {type: 8, code: 1}", "echo4_0 time4"),
    (
        "protocol: ICMPv6, notICMP: {type: 128, code: 0}",
        "echo6_1 query6",
    ),
    // Without a protocol it is about ICMP of either family, and about nothing else.
    ("notICMP: {type: 128}", "echo4_0 echo4_1 time4 query6"),
];

#[test]
fn a_rule_lets_in_its_protocol_and_nothing_else() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let endpoints = examples::HOSTS.replacen(
        "  interfaceName: eth0",
        "  interfaceName: eth0\n  ports: [{name: signals, protocol: SCTP, port: 5000}]",
        1,
    );
    let setup = Setup::new("backend").resource("hosts.yaml", endpoints);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    // Of UDP-Lite, conntrack takes every checksum for wrong, and with it every packet for invalid.
    let checksum = "/proc/sys/net/netfilter/nf_conntrack_checksum";
    backend.namespace().run(|| std::fs::write(checksum, "0"))??;
    let witness = Witness::new(backend.namespace(), "input", &SENT)?;
    let mut denied_before = 0;
    for (rule, expected) in CASES {
        let spec =
            format!("selector: app == 'backend', types: [Ingress], ingress: [{{action: Allow, {rule}}}]");
        backend.apply("10-case.yaml", &policy("case", &spec))?;
        send_all(&hosts)?;
        // The kernel may take its time; then each has been counted once, by the rule or by the end of the tier.
        let (allowed, denied) = eventually(PATIENCE, || {
            let counters = backend.counters()?;
            let allowed = counters.rule("enforced", "ingress", "case", 0)?.packets_total;
            let denied = counters
                .end_of_tier("enforced", "ingress", "default")?
                .packets_total;
            let counted = allowed + denied - denied_before;
            ensure!(
                counted == SENT.len() as u64,
                "{rule}: {counted} of {} counted",
                SENT.len()
            );
            Ok((allowed, denied))
        })?;
        denied_before = denied;
        let mut arrived = BTreeSet::new();
        for (name, _) in SENT {
            let seen = witness.seen(name)?;
            assert!(seen <= 1, "{rule}: {name} was seen {seen} times");
            arrived.extend((seen == 1).then_some(name));
        }
        assert_eq!(arrived, expected.split_whitespace().collect(), "{rule}");
        assert_eq!(allowed, arrived.len() as u64, "{rule}");
    }
    Ok(())
}

fn send_all(hosts: &ThreeHosts) -> anyhow::Result<()> {
    let (from, to) = (hosts.host("frontend"), hosts.host("backend"));
    let (v4, v6) = ((from.ipv4(), to.ipv4()), (from.ipv6(), to.ipv6()));
    let mut packets = Vec::new();
    for (from, to) in [v4, v6] {
        packets.extend([5000, 5001].map(|port| Packet::sctp(from, to, port)));
        packets.push(Packet::udp_lite(from, to, 5000));
        packets.push(Packet::new(from, to, 253, b"palisade"));
    }
    let icmp =
        |(from, to): (IpAddr, IpAddr)| move |(icmp_type, code)| Packet::icmp(from, to, icmp_type, code);
    packets.extend([(8, 0), (8, 1), (13, 0)].map(icmp(v4)));
    packets.extend([(128, 0), (128, 1), (139, 0)].map(icmp(v6)));
    assert_eq!(packets.len(), SENT.len());
    packets
        .iter()
        .try_for_each(|packet| packet.send(from.namespace()))
}
