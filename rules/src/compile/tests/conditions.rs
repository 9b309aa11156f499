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
fn a_short_list_of_ports_is_a_rule_for_each_range_and_a_long_one_a_set() {
    assert_eq!(
        conditions("action: Allow, protocol: TCP, destination: {ports: [443, 80, 81, '8000:8010']}"),
        ["tcp dport 80-81", "tcp dport 443", "tcp dport 8000-8010"]
    );
    assert_eq!(
        conditions("action: Deny, protocol: UDP, source: {ports: [1, 3]}, destination: {ports: [5, 7]}"),
        [
            "udp sport 1 udp dport 5",
            "udp sport 1 udp dport 7",
            "udp sport 3 udp dport 5",
            "udp sport 3 udp dport 7",
        ]
    );
    assert_eq!(
        conditions("action: Deny, protocol: UDP, source: {ports: [1, 3, 5]}, destination: {ports: [5, 7]}"),
        ["udp dport 5 udp sport @ports", "udp dport 7 udp sport @ports"]
    );
    assert_eq!(
        conditions("action: Allow, protocol: TCP, destination: {ports: [1, 3, 5, 7, 9]}"),
        ["tcp dport @ports"]
    );
}

#[test]
fn what_a_log_rule_logs_is_not_limited_for_each_range_of_ports() {
    assert_eq!(
        conditions("action: Log, protocol: TCP, destination: {ports: [80, 443]}"),
        ["tcp dport @ports"]
    );
}

#[test]
fn a_short_list_of_excluded_ports_is_no_set() {
    assert_eq!(
        conditions("action: Allow, protocol: TCP, destination: {notPorts: [80, 443, '8000:8010']}"),
        ["tcp dport != 80 tcp dport != 443 tcp dport != 8000-8010"]
    );
    assert_eq!(
        conditions("action: Allow, protocol: TCP, destination: {notPorts: [1, 3, 5, 7, 9]}"),
        ["tcp dport != @ports"]
    );
    assert_eq!(
        conditions("action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [80, 443, web]}"),
        [
            "meta nfproto ipv4 tcp dport 80",
            "meta nfproto ipv4 tcp dport 443",
            "tcp dport != 80 tcp dport != 443 ip daddr . meta l4proto . tcp dport @named4",
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
