//! Where palisade hangs, and whom each hook leads to.

use super::*;
use crate::failsafe::Failsafes;
use crate::testing::{service, workload};

const PRE_DNAT: &str = "preDNAT: true, applyOnForward: true, ";
const UNTRACKED: &str = "doNotTrack: true, applyOnForward: true, ";

/// The base chains, with their hooks and priorities.
fn bases(compiled: &Compiled) -> Vec<String> {
    let chains = compiled.ruleset.chains.iter();
    chains
        .filter_map(|chain| {
            let hook = chain.hook?;
            Some(format!("{}: {:?} {}", chain.name, hook.point, hook.priority))
        })
        .collect()
}

fn with_cgroups(resources: &[String]) -> Compiled {
    let host = Host {
        cgroups: [
            ("a.slice", 1),
            ("a.slice/b.service", 2),
            ("a.slice/b.service/c", 3),
        ]
        .map(|(path, id)| (path.to_owned(), id))
        .into(),
        ..host("one")
    };
    compile(
        &resolve(&snapshot(&[NETWORK, &resources.concat()]), host),
        &Options::default(),
    )
}

fn pod() -> String {
    workload(
        "p",
        "role: pod",
        "interfaceName: cali1, ipNetworks: [10.1.0.1/32]",
    )
}

#[test]
fn each_hook_is_there_only_for_somebody() {
    let rest = object("HostEndpoint", "rest", "node: one, interfaceName: '*'");
    for (resources, expected) in [
        (vec![], vec!["input: Input 0", "output: Output 0"]),
        (
            vec![rest, policy("p", "")],
            vec!["input: Input 0", "output: Output 0"],
        ),
        (
            vec![pod()],
            vec![
                "input-workload: Input -1",
                "input: Input 0",
                "forward-from: Forward 0",
                "forward-to: Forward 1",
                "output: Output 0",
                "output-workload: Output 1",
            ],
        ),
        (
            vec![policy("p", "applyOnForward: true")],
            vec!["input: Input 0", "forward-from: Forward 0", "output: Output 0"],
        ),
        (
            vec![policy("p", &format!("{PRE_DNAT}ingress: [{{action: Deny}}]"))],
            vec![
                "pre-dnat-in: Prerouting -150",
                "input: Input 0",
                "forward-from: Forward 0",
                "output: Output 0",
            ],
        ),
        (
            vec![policy("p", &format!("{UNTRACKED}types: [Egress]"))],
            vec!["input: Input 0", "untracked-out: Output -300", "output: Output 0"],
        ),
    ] {
        assert_eq!(bases(&compiled(&resources)), expected, "{}", resources.concat());
    }
    let services = with_cgroups(&[service("s", "", "node: one, unit: b.service, profiles: []")]);
    assert_eq!(
        bases(&services),
        [
            "input: Input 0",
            "input-service: Input 1",
            "output-service: Output -1",
            "output: Output 0"
        ]
    );
    // Nobody has anything to say about it: no socket is looked up.
    let silent = with_cgroups(&[service("s", "", "node: one, unit: b.service")]);
    assert_eq!(bases(&silent), ["input: Input 0", "output: Output 0"]);
}

#[test]
fn an_interface_with_an_endpoint_of_its_own_is_never_one_of_the_others() {
    let rest = || object("HostEndpoint", "rest", "node: one, interfaceName: '*'");
    let early = |name: &str, selector: &str| {
        policy(
            name,
            &format!("{PRE_DNAT}selector: {selector}, ingress: [{{action: Deny}}]"),
        )
    };
    // `web` has eth0 and policies, `bare` has eth1 and none.
    let compiled = compiled(&[rest(), early("p", "\"!has(role) || role == 'web'\"")]);
    let ways = |base: &str| rules(&compiled, base)[2..].to_vec();
    assert_eq!(
        ways("pre-dnat-in"),
        [
            "iifname \"eth1\" accept",
            "iifname \"eth0\" goto pre-dnat-in/eth0",
            "goto pre-dnat-in/other-interfaces"
        ]
    );
    assert_eq!(
        rules(&compiled, "forward-from")[1..],
        [
            "iifname \"eth1\" accept",
            "iifname \"eth0\" goto forward-in/eth0",
            "goto forward-in/other-interfaces"
        ]
    );
    // Without the others nobody needs to be kept from them.
    let named = super::compiled(&[early("p", "role == 'web'")]);
    assert_eq!(
        rules(&named, "pre-dnat-in")[2..],
        ["iifname \"eth0\" goto pre-dnat-in/eth0"]
    );
}

#[test]
fn the_deepest_service_is_asked_alone() {
    let of = |name: &str, unit: &str, profiles: &str| {
        service(
            name,
            &format!("service: {name}"),
            &format!("node: one, {unit}{profiles}"),
        )
    };
    let compiled = with_cgroups(&[
        of("slice", "unit: a.slice", ", profiles: []"),
        of("unit", "unit: b.service", ""),
        of("part", "cgroup: a.slice/b.service/c", ", profiles: []"),
    ]);
    assert_eq!(
        rules(&compiled, "output-service")[2..],
        [
            "socket cgroupv2 level 3 \"a.slice/b.service/c\" goto service-out/part",
            "socket cgroupv2 level 2 \"a.slice/b.service\" accept",
            "socket cgroupv2 level 1 \"a.slice\" goto service-out/slice",
        ]
    );
}

#[test]
fn a_service_that_does_not_run_has_its_chains_ready() {
    let compiled = with_cgroups(&[service("s", "", "node: one, unit: absent.service, profiles: []")]);
    assert_eq!(
        bases(&compiled),
        [
            "input: Input 0",
            "input-service: Input 1",
            "output-service: Output -1",
            "output: Output 0"
        ]
    );
    assert_eq!(
        rules(&compiled, "input-service").len(),
        2,
        "loopback, and known connections"
    );
    assert_eq!(
        rules(&compiled, "service-in/s").last().unwrap(),
        "counter name \"profile/none/in\" drop"
    );
}

#[test]
fn neighbours_find_each_other_unless_no_failsafe_is_wanted() {
    let discovery = |failsafes: Failsafes| {
        let host = Host {
            failsafes,
            ..host("one")
        };
        let compiled = compile(&resolve(&snapshot(&[&pod()]), host), &Options::default());
        let count = |base: &str| {
            let rules = rules(&compiled, base);
            rules.iter().filter(|rule| rule.starts_with("icmpv6")).count()
        };
        ["input-workload", "output-workload", "forward-from", "forward-to"].map(count)
    };
    assert_eq!(discovery(Failsafes::default()), [2, 2, 0, 0]);
    assert_eq!(discovery(Failsafes::none()), [0, 0, 0, 0]);
}

mod marks {
    use super::*;

    const SHED: &str = "meta mark set meta mark & 0x87ffffff";

    /// The bases and chains that take off whatever an early stage left.
    fn shedding(compiled: &Compiled) -> Vec<&str> {
        let chains = compiled.ruleset.chains.iter();
        chains
            .filter(|chain| {
                rules(compiled, chain.name.as_str())
                    .iter()
                    .any(|rule| rule.contains(SHED))
            })
            .map(|chain| chain.name.as_str())
            .collect()
    }

    #[test]
    fn without_early_policies_there_are_none_to_shed() {
        let with_preview = [pod(), staged("p", "applyOnForward: true"), policy("q", "")];
        assert!(shedding(&compiled(&with_preview)).is_empty());
    }

    #[test]
    fn every_way_out_of_an_early_stage_sheds_them() {
        let early = |spec: &str| {
            let p = policy("p", &format!("selector: role == 'web', {spec}"));
            compiled(&[p])
        };
        assert_eq!(
            shedding(&early(&format!("{PRE_DNAT}ingress: [{{action: Allow}}]"))),
            [
                "input",
                "forward-from",
                "failsafe/in",
                "pre-dnat-in/eth0",
                "in/eth0",
                "forward-in/eth0"
            ]
        );
        assert_eq!(
            shedding(&early(&format!(
                "{UNTRACKED}types: [Egress], egress: [{{action: Allow}}]"
            ))),
            ["output", "failsafe/out", "untracked-out/eth0", "out/eth0"]
        );
    }

    #[test]
    fn what_a_workload_sends_sheds_them_on_its_way_through() {
        let rest = object("HostEndpoint", "rest", "node: one, interfaceName: '*'");
        let early = policy(
            "p",
            &format!("{PRE_DNAT}selector: \"!has(role)\", ingress: [{{action: Allow}}]"),
        );
        let compiled = compiled(&[rest, pod(), early]);
        assert_eq!(
            rules(&compiled, "forward-from")[1],
            format!("iifname \"cali1\" {SHED} goto out/cali1")
        );
        // To its own host it meets the host's endpoint, which does.
        assert_eq!(
            rules(&compiled, "input-workload").last().unwrap(),
            "iifname \"cali1\" goto out/cali1"
        );
    }

    #[test]
    fn before_conntrack_a_workload_is_led_past_the_endpoint_of_other_interfaces() {
        let rest = object("HostEndpoint", "rest", "node: one, interfaceName: '*'");
        let untracked = policy(
            "p",
            &format!(
                "{UNTRACKED}selector: \"!has(role)\", types: [Ingress, Egress], ingress: [{{action: Allow}}], \
                 egress: [{{action: Allow}}]"
            ),
        );
        let with_rest = compiled(&[rest, pod(), untracked]);
        for (base, interface) in [("untracked-in", "iifname"), ("untracked-out", "oifname")] {
            let rules = rules(&with_rest, base);
            assert_eq!(
                rules[rules.len() - 2..],
                [
                    format!("{interface} \"cali1\" {SHED} accept"),
                    format!("goto {base}/other-interfaces"),
                ]
            );
        }
        // Where only a named interface is asked, nobody needs to be kept from it.
        let named = policy("p", &format!("{UNTRACKED}ingress: [{{action: Allow}}]"));
        let of_named = rules(&compiled(&[pod(), named]), "untracked-in");
        assert!(
            of_named.iter().all(|rule| !rule.contains("cali1")),
            "{of_named:?}"
        );
    }
}

#[test]
fn a_host_is_the_router_of_its_workloads_at_the_endpoint_of_other_interfaces() {
    let rest = object("HostEndpoint", "rest", "node: one, interfaceName: '*'");
    let compiled = compiled(&[
        rest,
        pod(),
        policy(
            "p",
            &format!("{PRE_DNAT}selector: \"!has(role)\", ingress: [{{action: Deny}}]"),
        ),
    ]);
    let chains: Vec<(&str, Vec<String>)> = compiled
        .ruleset
        .chains
        .iter()
        .map(|chain| chain.name.as_str())
        .filter(|name| name.ends_with("/workloads"))
        .map(|name| (name, rules(&compiled, name)))
        .collect();
    let counted = "counter name \"failsafe/";
    let shed = "meta mark set meta mark & 0x87ffffff ";
    let expected = [
        (
            "failsafe/pre-dnat-in/workloads",
            "iifname \"cali1\" accept".to_owned(),
        ),
        (
            "failsafe/in/workloads",
            format!("iifname \"cali1\" {counted}in/icmpv6\" {shed}accept"),
        ),
        (
            "failsafe/out/workloads",
            format!("oifname \"cali1\" {counted}out/icmpv6\" accept"),
        ),
    ];
    assert_eq!(chains, expected.map(|(name, rule)| (name, vec![rule])));
    for (name, _) in chains {
        let (leading, _) = name.rsplit_once('/').unwrap();
        assert_eq!(
            rules(&compiled, leading).last().unwrap(),
            &format!("icmpv6 type 130-136 jump {name}")
        );
    }
    let without = super::compiled(&[pod(), policy("p", "")]);
    assert!(
        without
            .ruleset
            .chains
            .iter()
            .all(|chain| !chain.name.as_str().ends_with("/workloads"))
    );
}

#[test]
fn before_conntrack_answers_to_failsafes_pass_even_where_nothing_else_stays_open() {
    let host = Host {
        failsafes: Failsafes {
            inbound: Vec::new(),
            outbound: vec!["tcp:53".parse().unwrap()],
            icmpv6: false,
        },
        ..host("one")
    };
    let texts = [
        NETWORK,
        &policy("p", &format!("{UNTRACKED}ingress: [{{action: Deny}}]")),
    ];
    let compiled = compile(&resolve(&snapshot(&texts), host), &Options::default());
    assert_eq!(rules(&compiled, "failsafe/untracked-in"), ["tcp sport 53 accept"]);
    assert!(rules(&compiled, "untracked-in/eth0").contains(&"jump failsafe/untracked-in".to_owned()));
}

#[test]
fn what_is_allowed_untracked_is_not_tracked_and_nothing_early_gets_an_answer() {
    let texts = [
        NETWORK,
        &policy(
            "p",
            &format!("{UNTRACKED}ingress: [{{action: Allow, protocol: UDP}}, {{action: Deny}}]"),
        ),
        &policy(
            "q",
            &format!("{PRE_DNAT}ingress: [{{action: Allow, protocol: UDP}}, {{action: Deny}}]"),
        ),
    ];
    let options = Options {
        deny: DenyAction::Reject,
        ..Options::default()
    };
    let compiled = compile(&resolve(&snapshot(&texts), host("one")), &options);
    let statements = |name: &str| -> Vec<String> {
        let rules = rules(&compiled, name);
        let without_counter = rules.iter().map(|rule| {
            let (before, after) = rule.split_once("counter name ").unwrap();
            format!("{before}{}", after.split_once(' ').unwrap().1)
        });
        without_counter.collect()
    };
    assert_eq!(
        statements("enforced/in/02-default/none-p/"),
        [
            "meta l4proto udp notrack meta mark set meta mark | 0x40000000 accept",
            "drop"
        ]
    );
    assert_eq!(
        statements("enforced/in/02-default/none-q/"),
        [
            "meta l4proto udp meta mark set meta mark | 0x40000000 accept",
            "drop"
        ]
    );
}
