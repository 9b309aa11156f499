//! Whom a packet meets between two endpoints: workloads, services and their hosts.

use super::*;
use crate::failsafe::Failsafes;
use crate::testing::{labelled, service, workload};

const ALLOW: &str = "profiles: [projectcalico-default-allow]";

fn host_endpoint(name: &str, interface: &str, address: &str) -> String {
    let spec = format!("node: one, interfaceName: {interface}, expectedIPs: [{address}], {ALLOW}");
    labelled("HostEndpoint", name, &format!("host: {name}"), &spec)
}

/// Two workloads on node `one`, which has two named interfaces, and a host elsewhere.
fn gateway() -> Vec<String> {
    let pod = |container: &str, interface: &str, address: &str| {
        let spec = format!("interfaceName: {interface}, ipNetworks: [{address}/32], {ALLOW}");
        workload(container, "role: pod", &spec)
    };
    vec![
        host_endpoint("lan", "eth1", "10.0.0.1"),
        host_endpoint("wan", "eth0", "192.0.2.1"),
        pod("a", "cali1", "10.1.0.1"),
        pod("b", "cali2", "10.1.0.2"),
        labelled(
            "HostEndpoint",
            "far",
            "",
            &format!("node: two, interfaceName: eth0, expectedIPs: [198.51.100.1], {ALLOW}"),
        ),
    ]
}

fn rest() -> String {
    host_endpoint("rest", "'*'", "10.1.0.254")
}

fn worlds(more: &[String]) -> Worlds {
    resolve(
        &snapshot(&[&[gateway(), more.to_vec()].concat().concat()]),
        host("one"),
    )
}

const A: &str = "one-cni-a-e";
const B: &str = "one-cni-b-e";

fn a_profile(direction: &str, endpoint: &str) -> String {
    format!("{direction} {endpoint} profile projectcalico-default-allow")
}

/// As [`say`], with endpoints by their containers' names.
fn between(worlds: &Worlds, text: &str) -> String {
    let text = text.replace("POD-A", A).replace("POD-B", B);
    say(worlds, &text)
}

#[test]
fn between_workloads_of_one_host_no_host_endpoint_stands() {
    let forward = policy(
        "p",
        "applyOnForward: true, selector: has(host), types: [Ingress, Egress]",
    );
    let expected = format!(
        "allow: {}, {}",
        a_profile("egress", &format!("red/{A}")),
        a_profile("ingress", &format!("red/{B}"))
    );
    for more in [vec![], vec![forward.clone()], vec![rest(), forward]] {
        assert_eq!(between(&worlds(&more), "POD-A POD-B tcp 80"), expected);
    }
}

#[test]
fn a_workload_and_itself_are_loopback() {
    assert_eq!(
        between(&worlds(&[]), "POD-A POD-A tcp 80"),
        format!("allow: egress red/{A} loopback")
    );
}

#[test]
fn between_a_workload_and_its_host_stands_the_endpoint_of_all_other_interfaces() {
    let workload_out = a_profile("egress", &format!("red/{A}"));
    let workload_in = a_profile("ingress", &format!("red/{A}"));
    // The named one has another interface.
    let without = worlds(&[policy("p", "selector: has(host), types: [Ingress, Egress]")]);
    assert_eq!(
        between(&without, "POD-A lan tcp 80"),
        format!("allow: {workload_out}")
    );
    assert_eq!(
        between(&without, "lan POD-A tcp 80"),
        format!("allow: {workload_in}")
    );
    let with = worlds(&[
        rest(),
        policy("p", "selector: host == 'rest', types: [Ingress, Egress]"),
    ]);
    assert_eq!(
        between(&with, "POD-A lan tcp 80"),
        format!("deny: {workload_out}, ingress rest p (end of tier default)")
    );
    assert_eq!(
        between(&with, "lan POD-A tcp 80"),
        "deny: egress rest p (end of tier default)"
    );
}

#[test]
fn a_workload_and_its_host_find_each_other_whatever_its_policies_say() {
    let pod = workload("c", "", "interfaceName: cali3, ipNetworks: ['fd00:1::3/128']");
    let lan = object(
        "HostEndpoint",
        "lan6",
        "node: one, interfaceName: eth2, expectedIPs: ['fd00:1::1']",
    );
    // The host endpoint of every other interface stands there too, and lets nothing pass, early or late.
    let rest = object("HostEndpoint", "rest6", "node: one, interfaceName: '*'");
    let early = policy(
        "early",
        "preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]",
    );
    let discovery = |host: Host, more: &str| {
        let worlds = resolve(&snapshot(&[&pod, &lan, more]), host);
        let asked = |(ends, icmp_type)| {
            let asked = Query {
                icmp_type: Some(icmp_type),
                ..query(ends)
            };
            explain(&worlds, &asked).unwrap().enforced.verdict
        };
        let (to_host, to_workload) = ("one-cni-c-e lan6 icmpv6", "lan6 one-cni-c-e icmpv6");
        [(to_host, 135), (to_host, 133), (to_workload, 134), (to_host, 128)].map(asked)
    };
    let beside = format!("{rest}{early}");
    for more in ["", &beside] {
        assert_eq!(
            discovery(host("one"), more),
            ["allow", "allow", "allow", "deny"],
            "{more}"
        );
        let strict = Host {
            failsafes: Failsafes::none(),
            ..host("one")
        };
        assert_eq!(discovery(strict, more), ["deny"; 4], "{more}");
    }
}

#[test]
fn what_a_workload_sends_meets_the_early_stages_wherever_it_goes() {
    let early = policy(
        "early",
        "selector: host == 'rest', preDNAT: true, applyOnForward: true, ingress: [{action: Deny, protocol: TCP}]",
    );
    let worlds = worlds(&[rest(), early]);
    let denied = "deny: ingress rest early (ingress rule 0)";
    assert_eq!(between(&worlds, "POD-A POD-B tcp 80"), denied);
    assert_eq!(between(&worlds, "POD-A far tcp 80"), denied);
    assert_eq!(
        between(&worlds, "POD-A lan tcp 80"),
        format!(
            "deny: {}, ingress rest early (ingress rule 0)",
            a_profile("egress", &format!("red/{A}"))
        )
    );
    assert_eq!(ask(&worlds, &format!("{A} far udp 80")).enforced.verdict, "allow");
    // A failsafe stays open.
    assert_eq!(ask(&worlds, &format!("{A} far tcp 22")).enforced.verdict, "allow");
}

#[test]
fn through_a_host_its_policies_on_forward_decide_if_all_interfaces_agree() {
    let forward = |selector: &str| {
        let rules = "{action: Allow, protocol: TCP}";
        policy(
            "p",
            &format!(
                "applyOnForward: true, selector: \"{selector}\", types: [Ingress, Egress], ingress: [{rules}], egress: [{rules}]"
            ),
        )
    };
    let both = worlds(&[forward("host in {'lan', 'wan'}")]);
    let out = |worlds: &Worlds, protocol: &str| ask(worlds, &format!("{A} far {protocol}")).enforced.verdict;
    assert_eq!(
        between(&both, "POD-A far tcp 80"),
        format!(
            "allow: {}, egress lan p (egress rule 0), {}",
            a_profile("egress", &format!("red/{A}")),
            a_profile("ingress", "far")
        )
    );
    assert_eq!(
        between(&both, "far POD-A udp 80"),
        format!(
            "deny: {}, ingress lan p (end of tier default)",
            a_profile("egress", "far")
        )
    );
    let one = worlds(&[forward("host == 'wan'")]);
    assert_eq!(
        out(&one, "tcp 80"),
        "allow",
        "by the other interface nobody is asked, and it passes"
    );
    assert_eq!(
        problem(&one, &format!("{A} far udp 80")),
        "the answer depends on the interface by which the packet goes through the workload's host: their host \
         endpoints decide differently"
    );
    // Policies about the host itself are not asked.
    let itself = worlds(&[policy("p", "selector: has(host), types: [Ingress, Egress]")]);
    assert_eq!(out(&itself, "tcp 80"), "allow");
}

#[test]
fn what_a_workload_sends_or_gets_is_never_untracked_by_its_host() {
    let untracked = policy(
        "raw",
        "selector: host == 'rest', doNotTrack: true, applyOnForward: true, types: [Ingress, Egress], \
         ingress: [{action: Deny}], egress: [{action: Deny}]",
    );
    let worlds = worlds(&[rest(), untracked]);
    for to in ["POD-B", "rest", "far"] {
        let said = between(&worlds, &format!("POD-A {to} tcp 80"));
        assert!(said.starts_with("allow"), "{to}: {said}");
    }
    let said = between(&worlds, "rest POD-A tcp 80");
    assert!(said.starts_with("allow"), "{said}");
    // By the other interfaces of the host it may be.
    assert_eq!(
        between(&worlds, "far rest tcp 80"),
        format!(
            "deny: {}, ingress rest raw (ingress rule 0)",
            a_profile("egress", "far")
        )
    );
}

#[test]
fn a_step_says_its_stage() {
    let worlds = worlds(&[
        policy(
            "raw",
            "selector: host == 'wan', doNotTrack: true, applyOnForward: true, ingress: [{action: Log}]",
        ),
        policy(
            "dnat",
            "selector: host == 'wan', preDNAT: true, applyOnForward: true, ingress: [{action: Log}]",
        ),
        policy(
            "p",
            "selector: host == 'wan', applyOnForward: true, ingress: [{action: Allow}]",
        ),
    ]);
    let stages = |text: &str| -> Vec<Value> {
        let answer = serde_json::to_value(ask(&worlds, text)).unwrap();
        let steps = answer["enforced"]["steps"].as_array().unwrap();
        let ingress = steps.iter().filter(|step| step["endpoint"] == "wan");
        ingress.map(|step| step["stage"].clone()).collect()
    };
    assert_eq!(
        stages("far wan tcp 80"),
        [json!("untracked"), json!("pre-dnat"), json!(null)]
    );
    // By `lan` nobody would be asked, and it would pass too: the steps are those of the way that has some.
    assert_eq!(
        stages(&format!("far {A} tcp 80")),
        [json!("untracked"), json!("pre-dnat"), json!("forward")]
    );
}

#[test]
fn a_service_stands_behind_its_host() {
    let worlds = worlds(&[
        service("nginx", "role: proxy", "node: one, unit: nginx.service"),
        policy(
            "p",
            "selector: role == 'proxy', types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP}]",
        ),
    ]);
    // It is reached at each address of its host: those are decided alike, or it is asked by address.
    assert_eq!(
        problem(&worlds, "far nginx tcp 80"),
        "the answer depends on the address: 198.51.100.1 to 10.0.0.1 is not decided as 198.51.100.1 to 192.0.2.1; \
         ask by address"
    );
    let one = network(&[
        service("nginx", "role: proxy", "node: two, unit: nginx.service"),
        policy(
            "p",
            "selector: role == 'proxy', types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP}]",
        ),
        policy(
            "open",
            "selector: role == 'db', types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
        ),
    ]);
    assert_eq!(
        say(&one, "web nginx tcp 80"),
        "allow: egress web profile projectcalico-default-allow, ingress db open (ingress rule 0), \
         ingress nginx p (ingress rule 0)"
    );
    assert_eq!(
        say(&one, "web nginx udp 80"),
        "deny: egress web profile projectcalico-default-allow, ingress db open (ingress rule 0), \
         ingress nginx p (end of tier default)"
    );
    assert_eq!(
        say(&one, "nginx web tcp 80"),
        "deny: egress nginx p (end of tier default)"
    );
}

#[test]
fn a_name_of_several_kinds_is_asked_with_its_kind() {
    let worlds = worlds(&[
        service("wan", "", "node: one, unit: wan.service"),
        workload(
            "a",
            "",
            &format!("interfaceName: cali3, ipNetworks: [10.1.0.3/32], {ALLOW}"),
        )
        .replace("namespace: red", "namespace: blue"),
    ]);
    assert_eq!(
        problem(&worlds, "wan far tcp 80"),
        "\"wan\" is the name of HostEndpoint:wan and ServiceEndpoint:wan: ask by one of these"
    );
    for name in ["HostEndpoint:wan", "hep:wan", "SEP:wan", "serviceendpoint:wan"] {
        let answer = explain(&worlds, &query(&format!("far {name} tcp 80")));
        assert!(
            !matches!(answer, Err(QueryError::Clash { .. } | QueryError::Unknown { .. })),
            "{name}"
        );
    }
    assert_eq!(
        problem(&worlds, &format!("{A} far tcp 80")),
        format!(
            "\"{A}\" is the name of WorkloadEndpoint:blue/{A} and WorkloadEndpoint:red/{A}: ask by one of these"
        )
    );
    for name in [format!("red/{A}"), format!("wep:red/{A}")] {
        assert_eq!(
            ask(&worlds, &format!("{name} far tcp 80")).enforced.verdict,
            "allow",
            "{name}"
        );
    }
    assert_eq!(
        problem(&worlds, "wep:wan far tcp 80").split(';').next().unwrap(),
        "\"wep:wan\" is neither an address nor the name of an endpoint"
    );
}
