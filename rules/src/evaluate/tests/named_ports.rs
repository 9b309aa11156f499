//! Ports by name: the port of that name of the endpoint that the packet is from or to.

use super::*;

/// `web` listens for `http` on TCP 80 and UDP 443; `db` has `http` on TCP 8080 and SCTP 99.
fn worlds(rule: &str) -> Worlds {
    let ports = |name: &str, more: &str, ports: &str| {
        let text = NETWORK.replace(more, &format!("{more}, ports: [{ports}]"));
        assert_ne!(text, NETWORK, "{name}");
        text
    };
    let db = ports(
        "db",
        "expectedIPs: [10.0.0.2, \"fd00::2\"]",
        "{name: http, protocol: TCP, port: 8080}, {name: http, protocol: SCTP, port: 99}",
    );
    let web = "expectedIPs: [10.0.0.1, \"fd00::1\"]\n";
    let with_ports = db.replace(
        web,
        &format!("{web}    ports: [{{name: http, protocol: TCP, port: 80}}, {{name: http, protocol: UDP, port: 443}}]\n"),
    );
    assert_ne!(db, with_ports);
    let both = format!(
        "selector: role == 'web', types: [Ingress, Egress], ingress: [{{{rule}}}], egress: [{{{rule}}}]"
    );
    resolve(&snapshot(&[&with_ports, &policy("p", &both)]), host("one"))
}

/// Which of these packets the rule matches.
fn check(rule: &str, table: &[(&str, bool)]) {
    let worlds = worlds(&format!("action: Allow, {rule}"));
    for (packet, matches) in table {
        let said = ask(&worlds, WorldKind::Enforced, packet);
        assert_eq!(
            said == "allow: Allow p/0",
            *matches,
            "{packet}: {said} by\n{rule}"
        );
    }
}

#[test]
fn the_port_is_that_of_the_endpoint() {
    check(
        "protocol: TCP, destination: {ports: [http]}",
        &[
            ("in tcp 10.0.0.2 80", true),
            ("in tcp fd00::2 80", true),
            ("in tcp 10.0.0.2 8080", false),
            ("out tcp 10.0.0.2 8080", true),
            ("out tcp 10.0.0.2 80", false),
            // An address of nobody has no named ports.
            ("out tcp 192.0.2.1 80", false),
            ("in udp 10.0.0.2 443", false),
        ],
    );
    check(
        "protocol: UDP, destination: {ports: [http]}",
        &[("in udp 10.0.0.2 443", true), ("in udp 10.0.0.2 80", false)],
    );
    check(
        "protocol: SCTP, destination: {ports: [http]}",
        &[("out sctp 10.0.0.2 99", true), ("in sctp 10.0.0.2 99", false)],
    );
}

#[test]
fn numbers_and_names_stand_side_by_side() {
    check(
        "protocol: TCP, destination: {ports: [443, '9000:9009', http]}",
        &[
            ("in tcp 10.0.0.2 443", true),
            ("in tcp 10.0.0.2 9005", true),
            ("in tcp 10.0.0.2 80", true),
            ("in tcp 10.0.0.2 81", false),
            ("out tcp 192.0.2.1 443", true),
        ],
    );
}

#[test]
fn the_selector_says_whose() {
    check(
        "protocol: TCP, destination: {selector: role == 'db', ports: [http]}",
        &[("out tcp 10.0.0.2 8080", true), ("in tcp 10.0.0.2 80", false)],
    );
    check(
        "protocol: TCP, destination: {notSelector: role == 'db', ports: [http]}",
        &[("out tcp 10.0.0.2 8080", false), ("in tcp 10.0.0.2 80", true)],
    );
}

#[test]
fn the_source_has_them_too() {
    check(
        "protocol: TCP, source: {ports: [http]}",
        &[
            ("in tcp 10.0.0.2 1 from 8080", true),
            ("in tcp 10.0.0.2 1 from 80", false),
            ("out tcp 10.0.0.2 1 from 80", true),
        ],
    );
}

#[test]
fn excluded_they_exclude_the_port_of_that_endpoint_alone() {
    check(
        "protocol: TCP, destination: {notPorts: [http]}",
        &[
            ("in tcp 10.0.0.2 80", false),
            ("in tcp 10.0.0.2 8080", true),
            ("out tcp 10.0.0.2 8080", false),
            ("out tcp 192.0.2.1 8080", true),
            ("in udp 10.0.0.2 80", false),
        ],
    );
    check(
        "protocol: TCP, destination: {notPorts: [http, 443]}",
        &[
            ("in tcp 10.0.0.2 80", false),
            ("in tcp 10.0.0.2 443", false),
            ("in tcp 10.0.0.2 8080", true),
        ],
    );
    // With a selector it is only that of what is selected.
    check(
        "protocol: TCP, destination: {selector: has(role), notPorts: [http]}",
        &[
            ("in tcp 10.0.0.2 80", false),
            ("in tcp 10.0.0.2 8080", true),
            ("out tcp 192.0.2.1 1", false),
        ],
    );
}

#[test]
fn without_a_protocol_a_name_is_tcps() {
    check(
        "destination: {ports: [http]}",
        &[
            ("in tcp 10.0.0.2 80", true),
            ("in udp 10.0.0.2 443", false),
            ("in icmp 10.0.0.2 type 8", false),
        ],
    );
    check(
        "destination: {notPorts: [http]}",
        &[
            ("in tcp 10.0.0.2 80", false),
            ("in tcp 10.0.0.2 81", true),
            // Another protocol has no port that could be excluded.
            ("in udp 10.0.0.2 443", true),
            ("in udp 10.0.0.2 80", true),
            ("in icmp 10.0.0.2 type 8", true),
            ("in 47 10.0.0.2", true),
        ],
    );
}
