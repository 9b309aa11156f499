//! Which endpoints have which stages.

use super::*;

const STAGES: [(&str, &str); 4] = [
    ("normal", ""),
    ("forward", "applyOnForward: true"),
    (
        "pre-dnat",
        "preDNAT: true, applyOnForward: true, types: [Ingress]",
    ),
    ("untracked", "doNotTrack: true, applyOnForward: true"),
];

/// For each policy, the endpoints and stages at which it is asked about what comes in.
#[test]
fn only_hosts_have_any_but_the_normal_one() {
    let endpoints = [
        host_endpoint("host", "", "node: one, interfaceName: eth0"),
        service("service", "", "node: one, unit: s.service"),
        workload("w", "", "interfaceName: cali1, ipNetworks: [10.1.0.1/32]"),
    ];
    let asked = |spec: &str| {
        let resources = [&endpoints[..], &[policy("p", spec)]].concat();
        let worlds = resolve(&read(&resources), live());
        let mut asked = Vec::new();
        for (index, endpoint) in worlds.endpoints.iter().enumerate() {
            for stage in Stage::ALL {
                if worlds.has_stage(EndpointId(index), Direction::Ingress, stage) {
                    asked.push(format!("{} {}", endpoint.name, stage.as_str()));
                }
            }
        }
        asked.join(", ")
    };
    let expected = [
        "host normal, one-cni-w-e normal, service normal",
        "host normal, host forward, one-cni-w-e normal, service normal",
        "host pre-dnat",
        "host untracked",
    ];
    for ((name, spec), expected) in STAGES.into_iter().zip(expected) {
        assert_eq!(asked(spec), expected, "{name}");
    }
}

#[test]
fn the_worlds_differ_from_the_stage_of_the_staged_policy_on() {
    for (name, spec) in STAGES {
        let worlds = network(&[staged("p", spec)]);
        let differs = |direction| {
            let stages = Stage::ALL
                .into_iter()
                .filter(|&stage| worlds.differs(endpoint(&worlds, "web"), direction, stage));
            stages.map(Stage::as_str).collect::<Vec<_>>().join(" ")
        };
        let expected = match name {
            "normal" => "normal",
            "forward" => "normal forward",
            "pre-dnat" => "pre-dnat normal forward",
            _ => "untracked pre-dnat normal forward",
        };
        assert_eq!(differs(Direction::Ingress), expected, "{name}");
        assert_eq!(differs(Direction::Egress), "", "{name}");
    }
}

#[test]
fn a_safety_net_decides_where_a_packet_must_be_decided_about() {
    let is_net = |spec: &str| {
        let worlds = network(&[policy(
            "net",
            &format!("order: 100000, ingress: [{{action: Allow}}], {spec}"),
        )]);
        worlds.enforced.policies[0].safety_net
    };
    let nets = STAGES.map(|(_, spec)| is_net(spec));
    assert_eq!(nets, [true, true, false, false]);
}
