//! What a rule matches: each packet once, and nothing that the kernel could not load.

use super::*;

/// The conditions of a rule, one line for each way in which it can hold, sets by their kind.
fn conditions(rule: &str) -> Vec<String> {
    let named = object(
        "HostEndpoint",
        "named",
        "node: nine, interfaceName: e, expectedIPs: [10.0.9.1], ports: [{name: web, protocol: TCP, port: 80}]",
    );
    let compiled = compiled(&[named, ingress("p", "", &[rule])]);
    let rules = rules(&compiled, "enforced/in/02-default/none-p/");
    let lines = rules.iter().map(|rule| {
        let condition = rule.split("counter name").next().unwrap().trim();
        let words = condition.split(' ').map(|word| match word.split_once('/') {
            Some((kind, _)) if word.starts_with('@') => kind,
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect()
}

#[test]
fn a_port_by_number_and_by_name_is_counted_once() {
    assert_eq!(
        conditions("action: Log, protocol: TCP, destination: {ports: [443, web]}"),
        [
            "meta nfproto ipv4 tcp dport 443",
            "tcp dport != 443 ip daddr . meta l4proto . tcp dport @named4",
            "meta nfproto ipv6 tcp dport 443",
            "tcp dport != 443 ip6 daddr . meta l4proto . tcp dport @named6",
        ]
    );
}

#[test]
fn excluded_ports_are_excluded_by_number_and_by_name() {
    assert_eq!(
        conditions("action: Allow, ipVersion: 4, protocol: TCP, source: {notPorts: [443, web]}"),
        ["tcp sport != 443 ip saddr . meta l4proto . tcp sport != @named4"]
    );
}

#[test]
fn a_name_without_a_protocol_is_looked_for_in_tcp_alone() {
    assert_eq!(
        conditions("action: Allow, ipVersion: 4, destination: {ports: [web]}"),
        ["ip daddr . meta l4proto . tcp dport @named4"]
    );
    assert_eq!(
        conditions("action: Allow, ipVersion: 4, destination: {notPorts: [web]}"),
        [
            "meta nfproto ipv4 meta l4proto != tcp",
            "ip daddr . meta l4proto . tcp dport != @named4"
        ]
    );
}

#[test]
fn what_is_icmp_has_no_ports_to_look_at() {
    assert_eq!(
        conditions("action: Allow, ipVersion: 4, notICMP: {type: 8}, destination: {notPorts: [web]}"),
        ["icmp type != echo-request"]
    );
    assert_eq!(
        conditions(
            "action: Allow, ipVersion: 4, notICMP: {type: 8, code: 0}, destination: {notPorts: [web]}"
        ),
        [
            "icmp type != echo-request",
            "icmp type echo-request icmp code != net-unreachable"
        ]
    );
    assert_eq!(
        conditions("action: Allow, notICMP: {type: 8}, destination: {ports: [web]}"),
        Vec::<String>::new()
    );
}
