//! What a rule matches.

use super::*;

/// Checks which of these packets one rule matches; the rest of the policy never allows.
fn matches(conditions: &str, yes: &[&str], no: &[&str]) {
    let direction = if yes.first().or(no.first()).unwrap().starts_with("in") {
        "ingress"
    } else {
        "egress"
    };
    let resources = [policy(
        "p",
        &format!("{direction}: [{{action: Allow, {conditions}}}]"),
    )];
    let expect = |packets: &[&str], said: &str| {
        let table: Vec<(&str, &str)> = packets.iter().map(|packet| (*packet, said)).collect();
        enforced(&resources, &table);
    };
    expect(yes, "allow: Allow p/0");
    expect(no, "deny: Deny end of default (p)");
}

#[test]
fn source_and_destination_selectors_stand_for_addresses() {
    matches(
        "source: {selector: role == 'db'}",
        &["in tcp 10.0.0.2 80", "in udp fd00::2 1"],
        &["in tcp 10.0.0.3 80", "in tcp fd00::3 80", "in tcp 10.9.0.1 80"],
    );
    matches(
        "source: {selector: net == 'lan'}",
        &["in tcp 10.9.255.1 80", "in tcp fd09:0:1::1 80"],
        &["in tcp 10.10.0.1 80", "in tcp fd0a::1 80", "in tcp 10.0.0.2 80"],
    );
    matches(
        r#"destination: {selector: "role in {'db', 'cache'}"}"#,
        &["out tcp 10.0.0.2 80", "out tcp fd00::3 80"],
        &["out tcp 10.0.0.9 80", "out tcp 192.0.2.1 80"],
    );
    // The endpoint itself has an address too.
    matches(
        "destination: {selector: role == 'web'}",
        &["in tcp 192.0.2.1 80"],
        &[],
    );
    matches("source: {selector: role == 'web'}", &[], &["in tcp 10.0.0.2 80"]);
    // Every known address, and no other.
    matches(
        "source: {selector: all()}",
        &["in tcp 10.0.0.2 80", "in tcp 10.9.0.1 80", "in tcp fd00::9 80"],
        &["in tcp 192.0.2.1 80", "in tcp 2001:db8::1 80"],
    );
}

#[test]
fn a_selector_that_selects_nothing_matches_nothing() {
    matches(
        "source: {selector: role == 'nobody'}",
        &[],
        &["in tcp 10.0.0.2 80", "in tcp 192.0.2.1 80"],
    );
    matches(
        "source: {notSelector: role == 'nobody'}",
        &["in tcp 10.0.0.2 80", "in tcp 192.0.2.1 80"],
        &[],
    );
}

#[test]
fn not_selector_alone_is_about_addresses() {
    matches(
        "source: {notSelector: env == 'prod'}",
        &[
            "in tcp 10.0.0.3 80",
            "in tcp 192.0.2.1 80",
            "in tcp 2001:db8::1 80",
        ],
        &["in tcp 10.0.0.2 80", "in tcp fd00::2 80"],
    );
}

#[test]
fn not_selector_with_a_selector_is_about_objects() {
    matches(
        "source: {selector: has(role), notSelector: env == 'prod'}",
        &["in tcp 10.0.0.3 80", "in tcp fd00::3 80"],
        &["in tcp 10.0.0.2 80", "in tcp 192.0.2.1 80", "in tcp 10.9.0.1 80"],
    );
}

#[test]
fn an_address_of_two_objects_is_selected_by_either() {
    let twin = "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\n\
                metadata: {name: twin, labels: {kind: twin}}\nspec: {nets: [10.0.0.2]}\n";
    let rule = |rule: &str| policy("p", &format!("ingress: [{{action: Allow, source: {{{rule}}}}}]"));
    for (conditions, verdict) in [
        ("selector: kind == 'twin'", "allow: Allow p/0"),
        ("selector: role == 'db'", "allow: Allow p/0"),
        // Another object has the address and is selected.
        (
            "selector: has(kind) || has(role), notSelector: kind == 'twin'",
            "allow: Allow p/0",
        ),
        // The address is excluded, whoever else has it.
        ("notSelector: kind == 'twin'", "deny: Deny end of default (p)"),
    ] {
        enforced(
            &[twin.to_owned(), rule(conditions)],
            &[("in tcp 10.0.0.2 80", verdict)],
        );
    }
}

#[test]
fn nets_are_of_one_family_and_the_rule_is_absent_for_the_other() {
    matches(
        "source: {nets: [10.0.0.0/30, 10.9.0.0/16]}",
        &["in tcp 10.0.0.2 80", "in tcp 10.9.3.4 80"],
        &["in tcp 10.0.0.9 80", "in tcp fd00::2 80"],
    );
    matches(
        "source: {notNets: [10.0.0.0/30]}",
        &["in tcp 10.0.0.9 80", "in tcp 192.0.2.1 80"],
        &["in tcp 10.0.0.2 80", "in tcp fd00::2 80", "in tcp 2001:db8::1 80"],
    );
    matches(
        "source: {nets: ['fd00::/64'], notNets: ['fd00::2/128']}",
        &["in tcp fd00::3 80"],
        &["in tcp fd00::2 80", "in tcp 10.0.0.2 80"],
    );
    matches(
        "source: {nets: [0.0.0.0/0]}",
        &["in tcp 192.0.2.1 80"],
        &["in tcp 2001:db8::1 80"],
    );
    // The nets of one side make the rule absent, whatever the other side says.
    matches(
        "destination: {notNets: [10.7.0.0/16]}",
        &["in tcp 10.0.0.2 80"],
        &["in tcp fd00::2 80"],
    );
}

#[test]
fn nets_and_selector_both_hold() {
    matches(
        "source: {nets: [10.0.0.0/30], selector: has(role)}",
        &["in tcp 10.0.0.2 80", "in tcp 10.0.0.3 80"],
        &["in tcp 10.0.0.0 80", "in tcp 10.0.0.9 80", "in tcp fd00::2 80"],
    );
}

#[test]
fn ip_version() {
    matches("ipVersion: 4", &["in tcp 10.0.0.2 80"], &["in tcp fd00::2 80"]);
    matches("ipVersion: 6", &["in tcp fd00::2 80"], &["in tcp 10.0.0.2 80"]);
}

#[test]
fn icmp_by_name_is_of_one_family_and_by_number_of_either() {
    let (icmp4, icmp6) = ("in icmp 10.0.0.2 type 8", "in icmpv6 fd00::2 type 128");
    let (odd4, odd6) = ("in icmpv6 10.0.0.2 type 128", "in icmp fd00::2 type 8");
    matches("protocol: ICMP", &[icmp4], &[icmp6, odd4, odd6]);
    matches("protocol: ICMPv6", &[icmp6], &[icmp4, odd4, odd6]);
    matches("protocol: 1", &[icmp4, odd6], &[icmp6, odd4]);
    matches("protocol: 58", &[icmp6, odd4], &[icmp4, odd6]);
}

#[test]
fn protocols() {
    matches(
        "protocol: 47",
        &["in 47 10.0.0.2", "in 47 fd00::2"],
        &["in tcp 10.0.0.2 80"],
    );
    matches(
        "protocol: UDPLite",
        &["in udplite 10.0.0.2"],
        &["in udp 10.0.0.2 80"],
    );
    matches(
        "notProtocol: TCP",
        &["in udp 10.0.0.2 80", "in 47 fd00::2"],
        &["in tcp 10.0.0.2 80", "in tcp fd00::2 80"],
    );
    matches(
        "protocol: TCP, notProtocol: TCP",
        &[],
        &["in tcp 10.0.0.2 80", "in udp 10.0.0.2 80"],
    );
}

#[test]
fn ports_and_not_ports_of_both_sides() {
    matches(
        "protocol: TCP, destination: {ports: [80, 443, '8000:8010']}",
        &[
            "in tcp 10.0.0.2 80",
            "in tcp fd00::2 443",
            "in tcp 10.0.0.2 8000",
            "in tcp 10.0.0.2 8010",
        ],
        &[
            "in tcp 10.0.0.2 81",
            "in tcp 10.0.0.2 8011",
            "in udp 10.0.0.2 80",
            "in sctp 10.0.0.2 80",
        ],
    );
    matches(
        "protocol: UDP, source: {ports: [123]}",
        &["in udp 10.0.0.2 80 from 123"],
        &["in udp 10.0.0.2 123 from 80"],
    );
    matches(
        "protocol: SCTP, destination: {ports: ['1000:2000'], notPorts: [1500]}",
        &["in sctp 10.0.0.2 1499"],
        &["in sctp 10.0.0.2 1500", "in sctp 10.0.0.2 2001"],
    );
    matches(
        "protocol: TCP, source: {notPorts: ['1:1023']}",
        &["in tcp 10.0.0.2 80 from 1024"],
        &["in tcp 10.0.0.2 80 from 1023"],
    );
    // Port 0 is none of the ports that can be written.
    matches(
        "protocol: TCP, destination: {notPorts: ['1:65535']}",
        &["in tcp 10.0.0.2 0"],
        &["in tcp 10.0.0.2 1", "in tcp 10.0.0.2 65535"],
    );
}

#[test]
fn icmp_is_that_of_the_packets_family() {
    matches(
        "protocol: ICMP, icmp: {type: 8}",
        &["in icmp 10.0.0.2 type 8", "in icmp 10.0.0.2 type 8 code 3"],
        &["in icmp 10.0.0.2 type 13", "in icmpv6 fd00::2 type 8"],
    );
    matches(
        "protocol: 58, icmp: {type: 128, code: 1}",
        &["in icmpv6 fd00::2 type 128 code 1"],
        &["in icmpv6 fd00::2 type 128", "in icmpv6 10.0.0.2 type 128 code 1"],
    );
    matches(
        "notICMP: {type: 8, code: 0}",
        &[
            "in icmp 10.0.0.2 type 8 code 1",
            "in icmp 10.0.0.2 type 13",
            "in icmpv6 fd00::2 type 128",
        ],
        &[
            "in icmp 10.0.0.2 type 8",
            "in tcp 10.0.0.2 80",
            "in icmp fd00::2 type 13",
        ],
    );
    matches(
        "notProtocol: ICMP, notICMP: {type: 8}",
        &["in icmpv6 fd00::2 type 128"],
        &["in icmp 10.0.0.2 type 13", "in udp 10.0.0.2 80"],
    );
    matches(
        "protocol: TCP, notICMP: {type: 8}",
        &[],
        &["in tcp 10.0.0.2 80", "in icmp 10.0.0.2 type 13"],
    );
}
