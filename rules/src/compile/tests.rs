//! What the compiler promises about names, counters and single chains. That the ruleset means what the evaluator says,
//! and the shape of it, is tested with random policies in `tests/ruleset`.

mod conditions;
mod ends;
mod hooks;
mod identity;
mod sets;

use std::collections::BTreeSet;

use super::*;
use crate::snapshot::Snapshot;
use crate::testing::{NETWORK, host, network, object, policy, safety_net, snapshot, staged, tier};
use crate::world::{Host, resolve};

fn compiled(resources: &[String]) -> Compiled {
    compile(&network(resources), &Options::default())
}

/// The names of the counters that begin so.
fn counters(compiled: &Compiled, prefix: &str) -> Vec<String> {
    let names = compiled.counters.keys().map(Name::as_str);
    names
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

fn chain<'a>(compiled: &'a Compiled, name: &str) -> &'a Chain {
    let mut chains = compiled.ruleset.chains.iter();
    chains
        .find(|chain| chain.name.as_str() == name)
        .unwrap_or_else(|| panic!("no chain {name} in\n{}", compiled.ruleset))
}

/// The rules of a chain, without comments.
fn rules(compiled: &Compiled, name: &str) -> Vec<String> {
    let rules = chain(compiled, name).rules.iter();
    rules
        .map(|rule| {
            Rule {
                comment: Comment::default(),
                ..rule.clone()
            }
            .to_string()
        })
        .collect()
}

fn ingress(name: &str, fields: &str, rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("{{{rule}}}")).collect();
    policy(name, &format!("{fields}ingress: [{}]", rules.join(", ")))
}

const HTTP: &str = "action: Allow, protocol: TCP, destination: {ports: [80]}";
const NTP: &str = "action: Allow, protocol: UDP, destination: {ports: [123]}";

mod chains {
    use super::*;

    fn names(compiled: &Compiled) -> Vec<&str> {
        compiled
            .ruleset
            .chains
            .iter()
            .map(|chain| chain.name.as_str())
            .collect()
    }

    #[test]
    fn without_endpoints_nothing_is_filtered() {
        let compiled = compile(&resolve(&Snapshot::empty(), Host::default()), &Options::default());
        assert_eq!(names(&compiled), ["input", "output"]);
        for base in ["input", "output"] {
            assert_eq!(rules(&compiled, base).len(), 2, "loopback and established");
        }
        assert!(compiled.counters.is_empty());
    }

    #[test]
    fn names_sort_in_order_of_evaluation() {
        let tiers: Vec<String> = (0..120)
            .map(|index| tier(&format!("t{index}"), &format!("order: {index}")))
            .collect();
        let policies: Vec<String> = (0..1200)
            .map(|index| policy(&format!("p{index}"), &format!("order: {index}")))
            .collect();
        let first = policy("first", "tier: t0");
        let compiled = compiled(&[tiers, policies, vec![first]].concat());
        let enforced: Vec<&str> = names(&compiled)
            .into_iter()
            .filter(|name| name.starts_with("enforced/in/"))
            .collect();
        assert_eq!(enforced.len(), 1201);
        assert!(enforced.is_sorted());
        assert_eq!(enforced[0], "enforced/in/001-t0/none-first/");
        assert_eq!(enforced[1200], "enforced/in/122-default/001199-p1199/");
    }

    #[test]
    fn an_endpoint_with_two_interfaces_has_chains_for_each_and_shares_its_policies() {
        let address = |text: &str| vec![text.parse().unwrap()];
        let host = Host {
            interfaces: [
                ("eth0".to_owned(), address("10.0.0.1")),
                ("wlan0".to_owned(), address("10.0.1.1")),
            ]
            .into(),
            ..host("one")
        };
        let endpoint = object(
            "HostEndpoint",
            "both",
            "node: one, expectedIPs: [10.0.0.1, 10.0.1.1]",
        );
        let worlds = resolve(&snapshot(&[&endpoint, &policy("p", "")]), host);
        let compiled = compile(&worlds, &Options::default());
        let jump = ["jump enforced/in/02-default/none-p/"];
        assert_eq!(rules(&compiled, "in/eth0/02-default")[..1], jump);
        assert_eq!(rules(&compiled, "in/wlan0/02-default")[..1], jump);
        let shared = "enforced/in/02-default/none-p/";
        assert_eq!(names(&compiled).iter().filter(|name| **name == shared).count(), 1);
    }

    #[test]
    fn loopback_is_exempt_unless_it_is_filtered() {
        let exempt = "iifname \"lo\" accept".to_owned();
        assert_eq!(rules(&compiled(&[]), "input")[0], exempt);
        let host = Host {
            filter_loopback: true,
            ..host("one")
        };
        let filtered = compile(&resolve(&snapshot(&[NETWORK]), host), &Options::default());
        assert!(!rules(&filtered, "input").contains(&exempt));
    }

    #[test]
    fn invalid_packets_are_dropped_only_where_something_is_decided() {
        let drop = "ct state invalid counter name \"invalid/in\" drop";
        let accept = "ct state invalid accept";
        for (resources, web, bare) in [
            (vec![], accept, drop),
            (vec![safety_net()], accept, drop),
            (vec![staged("p", "")], accept, drop),
            (vec![policy("p", "types: [Egress]")], accept, drop),
            (vec![policy("p", "")], drop, drop),
            (vec![policy("p", ""), safety_net()], drop, drop),
        ] {
            let compiled = compiled(&resources);
            // `web` has the default-allow profile, `bare` has none.
            assert_eq!(rules(&compiled, "in/eth0")[0], web, "{}", resources.concat());
            assert_eq!(rules(&compiled, "in/eth1")[0], bare, "{}", resources.concat());
        }
    }

    #[test]
    fn a_mark_that_another_program_set_is_no_pass() {
        let contents = |resources: &[String]| rules(&compiled(resources), "in/eth0");
        let clear = "meta mark set meta mark & 0xdfffffff".to_owned();
        let passing = contents(&[policy("p", "ingress: [{action: Pass}]")]);
        assert_eq!(
            passing[2..4],
            [clear.clone(), "jump in/eth0/02-default".to_owned()]
        );
        assert!(!contents(&[policy("p", "ingress: [{action: Deny}]")]).contains(&clear));
    }

    #[test]
    fn denied_packets_get_what_was_asked_for() {
        let worlds = network(&[policy("p", "ingress: [{action: Deny}]")]);
        for (deny, word) in [(DenyAction::Drop, "drop"), (DenyAction::Reject, "goto rejected")] {
            let options = Options {
                deny,
                ..Options::default()
            };
            let compiled = compile(&worlds, &options);
            for (chain, counter) in [
                ("enforced/in/02-default/none-p/", "gnp/p/in/deny"),
                ("in/eth0/02-default", "tier/default/in/end"),
                ("in/eth1", "profile/none/in"),
            ] {
                let last = rules(&compiled, chain).pop().unwrap();
                assert_eq!(last, format!("counter name \"{counter}\" {word}"), "{chain}");
            }
        }
    }

    #[test]
    fn a_rule_without_addresses_is_one_rule_for_both_families() {
        let compiled = compiled(&[ingress(
            "p",
            "",
            &[
                HTTP,
                "action: Allow, protocol: 1",
                "action: Allow, source: {nets: [10.0.0.0/9, 10.128.0.0/9]}",
                "action: Allow, source: {nets: [0.0.0.0/1, 128.0.0.0/1]}",
                "action: Allow, source: {notNets: [0.0.0.0/1, 128.0.0.0/1]}",
                "action: Allow, source: {selector: role == 'nobody'}",
            ],
        )]);
        let matches: Vec<String> = rules(&compiled, "enforced/in/02-default/none-p/")
            .iter()
            .map(|rule| rule.split("counter").next().unwrap().trim().to_owned())
            .collect();
        assert_eq!(
            matches,
            [
                "tcp dport 80",
                "meta l4proto icmp",
                "ip saddr 10.0.0.0/8",
                "meta nfproto ipv4",
                "ip saddr @ip4/role-nobody-cf781b1e",
            ]
        );
        // The rule that can match nothing still has its counter.
        assert_eq!(counters(&compiled, "gnp/p").len(), 6);
    }
}

mod flow_log {
    use super::*;

    #[test]
    fn its_prefix_says_direction_generation_and_place() {
        let options = Options {
            flow_log: Some(FlowLog {
                group: 9,
                generation: 42,
            }),
            ..Options::default()
        };
        let name = "n".repeat(250);
        let worlds = network(&[policy(&name, "egress: [{action: Log}]")]);
        let compiled = compile(&worlds, &options);
        let prefixes: BTreeSet<&str> = compiled
            .ruleset
            .chains
            .iter()
            .flat_map(|chain| &chain.rules)
            .flat_map(|rule| &rule.statements)
            .filter_map(|statement| match statement {
                Statement::Log(log) => {
                    assert_eq!(log.group, 9);
                    Some(log.prefix.as_str())
                }
                _ => None,
            })
            .collect();
        let of_rule = format!("palisade/log/{}/0", "n".repeat(112));
        assert_eq!(of_rule.len(), 127);
        assert_eq!(
            prefixes,
            [
                "palisade/in/42/eth0",
                "palisade/in/42/eth1",
                of_rule.as_str(),
                "palisade/out/42/eth0",
                "palisade/out/42/eth1",
                "palisade/sampled-in/42/eth0",
                "palisade/sampled-in/42/eth1",
                "palisade/sampled-out/42/eth0",
                "palisade/sampled-out/42/eth1",
            ]
            .into()
        );
    }

    #[test]
    fn without_one_a_log_rule_only_counts() {
        let compiled = compiled(&[policy("p", "ingress: [{action: Log}]")]);
        assert_eq!(
            rules(&compiled, "enforced/in/02-default/none-p/"),
            ["counter name \"gnp/p/in/log\""]
        );
    }
}

#[test]
fn another_number_is_all_that_another_generation_is() {
    let worlds = network(&[policy(
        "p",
        "ingress: [{action: Log}, {action: Allow}], types: [Ingress]",
    )]);
    let of = |generation| {
        let flow_log = FlowLog { group: 5, generation };
        let options = Options {
            flow_log: Some(flow_log),
            ..Options::default()
        };
        compile(&worlds, &options)
    };
    assert_ne!(of(7), of(8));
    assert_eq!(of(7).renumbered(8), of(8));
}

#[test]
fn the_same_worlds_give_the_same_bytes() {
    let resources = [
        safety_net(),
        tier("early", "order: 1, defaultAction: Pass"),
        policy(
            "p",
            "tier: early, ingress: [{action: Pass, source: {selector: has(role)}}]",
        ),
        staged("q", "types: [Ingress, Egress]"),
    ];
    let text = || compiled(&resources).ruleset.to_string();
    assert_eq!(text(), text());
    // Nor does it matter in which order the files were read.
    let mut reversed = resources.to_vec();
    reversed.reverse();
    assert_eq!(compiled(&reversed).ruleset.to_string(), text());
}
