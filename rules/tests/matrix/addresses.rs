//! Endpoints with several addresses, blocks, protocols, and what a reader is told.

use serde_json::{Value, json};

use super::*;

/// Three hosts, the first two with both families.
fn hosts() -> String {
    [
        host("a", "10.0.0.1, 'fd00::1'"),
        host("b", "10.0.0.2, 'fd00::2'"),
        host("c", "10.0.0.3"),
    ]
    .concat()
}

fn to_b(rules: &str) -> String {
    policy("p", &format!("selector: role == 'b', ingress: [{rules}]"))
}

/// The entry of a pair in the enforced world.
fn entry(worlds: &Worlds, from: &str, to: &str) -> Value {
    let matrix = json(worlds);
    let connections = matrix["connections"].as_array().unwrap().iter();
    let mut meant = connections
        .filter(|entry| entry["from"] == from && entry["to"] == to && entry["world"] == "enforced");
    meant.next().cloned().unwrap_or_default()
}

#[test]
fn what_only_some_addresses_are_allowed_is_kept_apart() {
    let worlds = worlds(&[
        &hosts(),
        &to_b(
            "{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/24]}, destination: {ports: [80]}}, \
               {action: Allow, protocol: UDP, destination: {ports: [53]}}",
        ),
    ]);
    let open = json!([
        {"protocol": "tcp", "ports": [[22, 22]]},
        {"protocol": "udp", "ports": [[53, 53], [68, 68], [546, 546]]},
    ]);
    let with_web = json!([
        {"protocol": "tcp", "ports": [[22, 22], [80, 80]]},
        {"protocol": "udp", "ports": [[53, 53], [68, 68], [546, 546]]},
    ]);
    let from_a = entry(&worlds, "a", "b");
    assert_eq!(
        [&from_a["allowed"], &from_a["allowed_for_some"]],
        [&open, &with_web]
    );
    // c has one address only.
    let from_c = entry(&worlds, "c", "b");
    assert_eq!(
        [&from_c["allowed"], &from_c["allowed_for_some"]],
        [&with_web, &Value::Null]
    );
}

#[test]
fn icmp_is_of_its_own_family() {
    let worlds = worlds(&[
        &hosts(),
        &to_b("{action: Allow, protocol: ICMP}, {action: Allow, protocol: ICMPv6}"),
    ]);
    let icmp = json!([
        {"protocol": "tcp", "ports": [[22, 22]]},
        {"protocol": "udp", "ports": [[68, 68], [546, 546]]},
        {"protocol": "icmp"},
        {"protocol": "icmpv6"},
    ]);
    let from_a = entry(&worlds, "a", "b");
    assert_eq!(
        [&from_a["allowed"], &from_a["allowed_for_some"]],
        [&icmp, &Value::Null]
    );
}

#[test]
fn protocols_that_nobody_names_are_other_and_those_somebody_names_are_not() {
    let worlds = worlds(&[
        &hosts(),
        &to_b("{action: Deny, protocol: 47}, {action: Deny, protocol: TCP}, {action: Allow}"),
    ]);
    assert_eq!(
        entry(&worlds, "a", "b")["allowed"],
        json!([
            {"protocol": "tcp", "ports": [[22, 22]]},
            {"protocol": "udp", "ports": [[0, 65535]]},
            {"protocol": "sctp", "ports": [[0, 65535]]},
            {"protocol": "icmp"},
            {"protocol": "icmpv6"},
            {"protocol": "other"},
        ])
    );
    assert_eq!(
        json(&worlds)["protocols"],
        json!(["tcp", "udp", "sctp", "icmp", "icmpv6", "47"])
    );
}

#[test]
fn blocks_are_cut_where_policies_cut_and_named_by_their_nets() {
    let lan = object(
        "GlobalNetworkSet",
        "name: lan, labels: {net: lan}",
        "nets: [192.168.0.0/16, 10.0.0.0/24, 172.16.0.0/12]",
    );
    let worlds = worlds(&[
        &hosts(),
        &lan,
        &to_b(
            "{action: Deny, source: {nets: [192.168.7.0/24]}}, {action: Allow, source: {selector: net == 'lan'}}",
        ),
        // Nobody has this policy, and so it cuts nothing.
        &policy(
            "unused",
            "selector: role == 'nobody', ingress: [{action: Allow, source: {nets: [1.0.0.0/8]}}]",
        ),
    ]);
    assert_eq!(
        json(&worlds)["blocks"],
        json!([
            {"name": "0.0.0.0/0", "nets": ["0.0.0.0/0"]},
            {"name": "10.0.0.0/24,172.16.0.0/12,192.168.0.0/16",
             "nets": ["10.0.0.0/24", "172.16.0.0/12", "192.168.0.0/16"]},
            {"name": "192.168.7.0/24", "nets": ["192.168.7.0/24"]},
            {"name": "::/0", "nets": ["::/0"]},
        ])
    );
    let open_from = |name: &str| entry(&worlds, name, "b")["allowed"] == json!([{"protocol": "any"}]);
    assert!(open_from("10.0.0.0/24,172.16.0.0/12,192.168.0.0/16"));
    assert!(!open_from("192.168.7.0/24") && !open_from("0.0.0.0/0") && !open_from("::/0"));
}

#[test]
fn a_block_of_many_nets_has_a_short_name() {
    let nets: Vec<String> = (0..9).map(|net| format!("192.0.{}.0/24", 2 * net)).collect();
    let rule = format!("{{action: Allow, source: {{nets: [{}]}}}}", nets.join(", "));
    let blocks = json(&worlds(&[&hosts(), &to_b(&rule)]))["blocks"].clone();
    assert_eq!(blocks[1]["name"], "192.0.0.0/24,192.0.2.0/24,192.0.4.0/24,6 more");
    assert_eq!(blocks[1]["nets"].as_array().unwrap().len(), 9);
}

#[test]
fn names_are_those_that_explain_takes() {
    let worlds = worlds(&[
        &host("a", "10.0.0.1"),
        &object("ServiceEndpoint", "name: a", "node: a, unit: a.service"),
        &object(
            "WorkloadEndpoint",
            "name: b-cni-w-eth0, namespace: red",
            "node: b, orchestrator: cni, containerID: w, endpoint: eth0, interfaceName: cali1, \
             ipNetworks: [10.0.0.9/32]",
        ),
    ]);
    assert_eq!(
        json(&worlds)["endpoints"],
        json!(["HostEndpoint:a", "ServiceEndpoint:a", "red/b-cni-w-eth0"])
    );
}

#[test]
fn what_the_matrix_rests_on_is_noted() {
    let mute = object("HostEndpoint", "name: mute", "node: m, interfaceName: eth0");
    let worlds = worlds(&[
        &hosts(),
        &mute,
        &to_b(
            "{action: Allow, protocol: UDP, source: {ports: [123]}}, {action: Allow, protocol: ICMP, icmp: {type: 3}}",
        ),
    ]);
    assert_eq!(
        json(&worlds)["notes"],
        json!([
            "some rules look at the source port: the matrix is that of source port 49152",
            "some rules look at the ICMP type: icmp and icmpv6 stand for echo requests",
            "mute without an address: nothing is known of what reaches it; add expectedIPs",
        ])
    );
}

#[test]
fn ways_through_a_host_that_differ_are_some() {
    let workload = object(
        "WorkloadEndpoint",
        "name: a-cni-w-eth0, namespace: red",
        "node: a, orchestrator: cni, containerID: w, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.1.0.1/32], \
         profiles: [projectcalico-default-allow]",
    );
    let second = object(
        "HostEndpoint",
        "name: second, labels: {role: second}",
        "node: a, interfaceName: eth1, expectedIPs: [10.0.1.1]",
    );
    let forward = policy(
        "through",
        "selector: role == 'second', applyOnForward: true, types: [Ingress], \
         ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
    );
    let worlds = worlds(&[&hosts(), &second, &workload, &forward]);
    let through = entry(&worlds, "c", "red/a-cni-w-eth0");
    assert_eq!(
        [&through["allowed"], &through["allowed_for_some"]],
        [
            &json!([{"protocol": "tcp", "ports": [[80, 80]]}]),
            &json!([{"protocol": "any"}])
        ]
    );
}
