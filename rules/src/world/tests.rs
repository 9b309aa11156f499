//! Tests of resolving.

use proptest::prelude::*;

use super::*;
use crate::net::{Family, merge_nets};
use crate::resource::DEFAULT_ALLOW_PROFILE;
use crate::snapshot::Snapshot;
use crate::testing::{
    endpoint, host, labelled, namespaced, network, object, policy, safety_net, service, snapshot, staged,
    tier, workload,
};

mod labels;
mod named_ports;
mod namespaces;
mod services;
mod stages;

fn host_endpoint(name: &str, labels: &str, spec: &str) -> String {
    labelled("HostEndpoint", name, labels, spec)
}

fn network_set(name: &str, labels: &str, nets: &str) -> String {
    labelled("GlobalNetworkSet", name, labels, &format!("nets: [{nets}]"))
}

fn read(resources: &[String]) -> Snapshot {
    snapshot(&[&resources.concat()])
}

/// Host `one` with three interfaces and loopback.
fn live() -> Host {
    let interfaces = [
        ("eth0", &["10.0.0.1", "fd00::1", "fe80::1"][..]),
        ("eth1", &["10.0.1.1"]),
        ("eth2", &["10.0.2.1", "10.0.2.2"]),
        ("lo", &["127.0.0.1", "::1"]),
    ];
    Host {
        interfaces: interfaces
            .into_iter()
            .map(|(name, addresses)| {
                let addresses = addresses.iter().map(|address| address.parse().unwrap());
                (name.to_owned(), addresses.collect())
            })
            .collect(),
        labels: [("role".to_owned(), "auto".to_owned())].into(),
        ..host("one")
    }
}

/// `name: interfaces, addresses` of every endpoint.
fn attached(worlds: &Worlds) -> Vec<String> {
    let describe = |endpoint: &Arc<Endpoint>| {
        let places = match &endpoint.attachment {
            Some(Attachment::Interfaces(interfaces)) => interfaces.join(" "),
            Some(Attachment::Rest) => "rest".to_owned(),
            Some(Attachment::Cgroups(cgroups)) => {
                let paths: Vec<&str> = cgroups.iter().map(|cgroup| cgroup.path.as_str()).collect();
                paths.join(" ")
            }
            None => "nowhere".to_owned(),
        };
        let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
        format!("{}: {places}, {}", endpoint.name, addresses.join(" "))
    };
    worlds.endpoints.iter().map(describe).collect()
}

mod attachment {
    use super::*;

    fn check(resources: &[String], expected: &[&str]) {
        let worlds = resolve(&read(resources), live());
        assert_eq!(attached(&worlds), expected, "{}", resources.concat());
    }

    #[test]
    fn by_the_name_of_an_interface_that_may_not_exist_yet() {
        check(
            &[
                host_endpoint("a", "", "node: one, interfaceName: eth0"),
                host_endpoint("b", "", "node: one, interfaceName: wg0"),
            ],
            &["a: eth0, 10.0.0.1 fd00::1", "b: wg0, "],
        );
    }

    #[test]
    fn by_an_expected_address() {
        check(
            &[
                host_endpoint("a", "", "node: one, expectedIPs: [10.0.2.2, 192.0.2.1]"),
                host_endpoint("b", "", "node: one, expectedIPs: [10.0.0.1, 10.0.1.1]"),
                host_endpoint("c", "", "node: one, expectedIPs: [192.0.2.7]"),
            ],
            &[
                "a: eth2, 10.0.2.2 192.0.2.1",
                "b: eth0 eth1, 10.0.0.1 10.0.1.1",
                "c: nowhere, 192.0.2.7",
            ],
        );
    }

    #[test]
    fn the_rest_is_what_no_other_endpoint_has() {
        check(
            &[
                host_endpoint("a", "", "node: one, interfaceName: eth1"),
                host_endpoint("b", "", "node: one, interfaceName: '*'"),
            ],
            &["a: eth1, 10.0.1.1", "b: rest, 10.0.0.1 10.0.2.1 10.0.2.2 fd00::1"],
        );
    }

    #[test]
    fn the_lowest_name_wins() {
        check(
            &[
                host_endpoint("c", "", "node: one, interfaceName: eth0"),
                host_endpoint("b", "", "node: one, expectedIPs: [10.0.0.1]"),
                host_endpoint("d", "", "node: one, interfaceName: '*'"),
                host_endpoint("e", "", "node: one, interfaceName: '*'"),
            ],
            &[
                "b: eth0, 10.0.0.1",
                "c: nowhere, ",
                "d: rest, 10.0.1.1 10.0.2.1 10.0.2.2",
                "e: nowhere, ",
            ],
        );
        check(
            &[
                host_endpoint("a", "", "node: one, interfaceName: eth0"),
                host_endpoint("b", "", "node: one, expectedIPs: [10.0.0.1, 10.0.1.1]"),
            ],
            &["a: eth0, 10.0.0.1 fd00::1", "b: eth1, 10.0.0.1 10.0.1.1"],
        );
    }

    #[test]
    fn expected_addresses_are_the_identity_whatever_the_interface_has() {
        check(
            &[host_endpoint(
                "a",
                "",
                "node: one, interfaceName: eth0, expectedIPs: [192.0.2.1]",
            )],
            &["a: eth0, 192.0.2.1"],
        );
    }

    #[test]
    fn endpoints_of_other_nodes_hang_nowhere() {
        check(
            &[
                host_endpoint("a", "", "node: two, interfaceName: eth0"),
                host_endpoint("b", "", "node: one, interfaceName: eth0"),
            ],
            &["a: nowhere, ", "b: eth0, 10.0.0.1 fd00::1"],
        );
    }

    #[test]
    fn offline_nothing_has_live_addresses() {
        let resources = [
            host_endpoint("a", "", "node: one, interfaceName: eth0"),
            host_endpoint("b", "", "node: one, expectedIPs: [10.0.0.1]"),
        ];
        let worlds = resolve(&read(&resources), host("one"));
        assert_eq!(attached(&worlds), ["a: eth0, ", "b: nowhere, 10.0.0.1"]);
        let worlds = resolve(&read(&resources), Host::default());
        assert_eq!(attached(&worlds), ["a: nowhere, ", "b: nowhere, 10.0.0.1"]);
        assert_eq!(worlds.local().count(), 0);
    }

    #[test]
    fn a_node_without_endpoints_gets_one_that_allows() {
        let resources = [
            host_endpoint("a", "", "node: elsewhere, interfaceName: eth0"),
            host_endpoint("z", "", "node: elsewhere, interfaceName: eth1"),
        ];
        let worlds = resolve(&read(&resources), live());
        assert_eq!(
            attached(&worlds),
            [
                "a: nowhere, ",
                "one-auto-hep: rest, 10.0.0.1 10.0.1.1 10.0.2.1 10.0.2.2 fd00::1",
                "z: nowhere, "
            ]
        );
        let auto = worlds.endpoint(endpoint(&worlds, "one-auto-hep"));
        let profiles: Vec<&str> = auto
            .profiles
            .iter()
            .map(|&profile| worlds.profiles[profile].name.as_str())
            .collect();
        assert_eq!(profiles, [DEFAULT_ALLOW_PROFILE]);
        assert_eq!(auto.labels["role"], "auto");
        assert_eq!(auto.position, None);

        let nobody = resolve(&read(&resources), Host::default());
        assert_eq!(nobody.endpoints.len(), 2);
    }

    #[test]
    fn policies_select_the_endpoint_made_from_host_labels() {
        let worlds = resolve(
            &read(&[policy("p", "selector: role == 'auto', ingress: [{action: Deny}]")]),
            live(),
        );
        assert_eq!(worlds.enforced.selecting(EndpointId(0)), [0]);
    }
}

mod address_sets {
    use super::*;

    /// The prefixes that a selector stands for.
    fn nets(resources: &[String], selector: &str) -> String {
        let mut resources = resources.to_vec();
        resources.push(policy(
            "asks",
            &format!("ingress: [{{action: Allow, source: {{selector: \"{selector}\"}}}}]"),
        ));
        let worlds = resolve(&read(&resources), live());
        let set = worlds.address_sets.iter().next().unwrap();
        let nets: Vec<String> = set.nets.iter().map(ToString::to_string).collect();
        nets.join(" ")
    }

    #[test]
    fn addresses_of_endpoints_and_sets_are_merged() {
        let resources = [
            host_endpoint(
                "a",
                "in: 'x'",
                "node: two, interfaceName: e, expectedIPs: [10.0.0.4]",
            ),
            host_endpoint(
                "b",
                "in: 'x'",
                "node: two, interfaceName: e, expectedIPs: [10.0.0.5, 'fd00::5']",
            ),
            network_set(
                "s",
                "in: 'x'",
                "10.0.0.6/31, 10.0.0.5, 192.0.2.9/24, 'fd00::/65', 'fd00::8000:0:0:0/65'",
            ),
            network_set("t", "in: 'y'", "172.16.0.0/12"),
        ];
        assert_eq!(
            nets(&resources, "in == 'x'"),
            "10.0.0.4/30 192.0.2.0/24 fd00::/64"
        );
        assert_eq!(nets(&resources, "in == 'y'"), "172.16.0.0/12");
        assert_eq!(nets(&resources, "in == 'z'"), "");
        assert_eq!(
            nets(&resources, "all()"),
            "10.0.0.1/32 10.0.0.4/30 10.0.1.1/32 10.0.2.1/32 10.0.2.2/32 172.16.0.0/12 192.0.2.0/24 fd00::/64"
        );
    }

    #[test]
    fn each_selector_has_one_set_in_both_worlds() {
        let rule = "{action: Allow, source: {selector: has(a)}, destination: {selector: has( a )}}";
        let resources = [
            policy("p", &format!("ingress: [{rule}, {rule}]")),
            staged("q", &format!("ingress: [{rule}]")),
        ];
        let worlds = resolve(&read(&resources), live());
        assert_eq!(worlds.address_sets.iter().count(), 1);
    }

    #[test]
    fn selector_and_not_selector_are_one_set_of_objects() {
        let rule = "{action: Allow, source: {selector: has(a), notSelector: has(b)}, \
                    destination: {notSelector: has(b)}}";
        let worlds = resolve(&read(&[policy("p", &format!("ingress: [{rule}]"))]), live());
        let rule = &worlds.enforced.policies[0].ingress.as_ref().unwrap()[0];
        let selector =
            |id: Option<AddressSetId>| id.map(|id| worlds.address_sets.get(id).selector.to_string());
        assert_eq!(
            [rule.source.set, rule.source.not_set].map(selector),
            [Some("(has(a) && !has(b))".to_owned()), None]
        );
        assert_eq!(
            [rule.destination.set, rule.destination.not_set].map(selector),
            [None, Some("has(b)".to_owned())]
        );
    }

    #[test]
    fn everything_is_known_as_such() {
        let set = |nets: &[&str]| AddressSet {
            selector: crate::selector::Selector::all().into(),
            nets: merge_nets(&nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>()),
        };
        let halves = set(&["0.0.0.0/1", "128.0.0.0/1", "fd00::/8"]);
        assert!(halves.is_everything(Family::V4) && !halves.is_everything(Family::V6));
    }

    fn net() -> impl Strategy<Value = IpNet> {
        // Few bits vary, so that prefixes meet.
        prop_oneof![
            (0_u32..256, 20_u8..=32).prop_map(|(low, prefix)| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 | low << 8 | low);
                IpNet::new(address.into(), prefix).unwrap().trunc()
            }),
            (0_u128..256, 112_u8..=128).prop_map(|(low, prefix)| {
                let address = std::net::Ipv6Addr::from(0xfd00 << 112 | low << 6 | low);
                IpNet::new(address.into(), prefix).unwrap().trunc()
            }),
            Just("0.0.0.0/0".parse().unwrap()),
            Just("::/0".parse().unwrap()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lookup_finds_what_a_walk_finds(nets in prop::collection::vec(net(), 0..12), probes in prop::collection::vec(net(), 1..12)) {
            let set = AddressSet { selector: crate::selector::Selector::all().into(), nets: merge_nets(&nets) };
            for probe in probes {
                for address in [probe.network(), probe.broadcast(), probe.addr()] {
                    let walked = nets.iter().any(|net| net.contains(&address));
                    prop_assert_eq!(set.contains(address), walked, "{} in {:?}", address, &set.nets);
                }
            }
        }
    }
}

mod order {
    use super::*;

    #[test]
    fn policies_stand_by_tier_then_order_then_name_and_know_their_place() {
        let worlds = network(&[
            safety_net(),
            policy("last", ""),
            policy("b", "order: 1"),
            policy("a", "order: 1"),
            tier("early", "order: 1"),
            policy("first", "tier: early"),
            staged("a", "order: 3"),
        ]);
        let stand = |world: &World| -> Vec<String> {
            let describe = |policy: &PlacedPolicy| {
                let tier = &world.tiers[policy.tier].name;
                format!("{tier}/{} {}", policy.place, policy.id.name)
            };
            world.policies.iter().map(describe).collect()
        };
        assert_eq!(
            stand(&worlds.enforced),
            [
                "early/0 first",
                "default/0 a",
                "default/1 b",
                "default/2 last",
                "default/3 net"
            ]
        );
        assert_eq!(
            stand(&worlds.pending),
            [
                "early/0 first",
                "default/0 b",
                "default/1 a",
                "default/2 last",
                "default/3 net"
            ]
        );
        let tiers: Vec<&str> = worlds
            .enforced
            .tiers
            .iter()
            .map(|tier| tier.name.as_str())
            .collect();
        assert_eq!(tiers, ["early", "kube-admin", "default", "kube-baseline"]);
        assert_eq!(worlds.enforced.tiers, worlds.pending.tiers);
    }
}

mod differing {
    use super::*;

    /// For which directions of `web` and of `bare` the worlds differ.
    fn check(resources: &[String], web: &str, bare: &str) {
        let worlds = network(resources);
        for (name, expected) in [("web", web), ("bare", bare)] {
            let differs: Vec<&str> = Direction::BOTH
                .into_iter()
                .filter(|&direction| worlds.differs(endpoint(&worlds, name), direction, Stage::Normal))
                .map(Direction::as_str)
                .collect();
            assert_eq!(differs.join(" "), expected, "{name} with\n{}", resources.concat());
        }
    }

    #[test]
    fn only_where_a_staged_object_applies() {
        check(&[policy("p", "types: [Ingress, Egress]")], "", "");
        check(&[staged("p", "selector: role == 'web'")], "ingress", "");
        check(&[staged("p", "types: [Egress]")], "egress", "egress");
        check(&[staged("p", "stagedAction: Ignore")], "", "");
        check(&[staged("p", "selector: role == 'db'")], "", "");
    }

    #[test]
    fn where_a_policy_goes_or_comes() {
        let enforced = policy("p", "selector: role == 'web', types: [Ingress, Egress]");
        check(
            &[enforced.clone(), staged("p", "stagedAction: Delete")],
            "ingress egress",
            "",
        );
        check(
            &[enforced.clone(), staged("p", "selector: role == 'bare'")],
            "ingress egress",
            "ingress",
        );
        check(&[enforced, staged("q", "stagedAction: Delete")], "", "");
    }
}

mod rules {
    use super::*;

    fn texts(rules: &[&str]) -> Vec<String> {
        let rules: Vec<String> = rules.iter().map(|rule| format!("{{{rule}}}")).collect();
        let worlds = network(&[policy("p", &format!("ingress: [{}]", rules.join(", ")))]);
        let rules = worlds.enforced.policies[0].ingress.as_ref().unwrap();
        rules.iter().map(|rule| rule.text.to_string()).collect()
    }

    #[test]
    fn one_line_says_all_that_a_rule_matches() {
        assert_eq!(
            texts(&[
                "action: Allow",
                "action: Deny, ipVersion: 6, notProtocol: UDP",
                "action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}, \
                 destination: {ports: [80, '90:99'], notPorts: [95]}",
                "action: Log, source: {selector: 'a==\"b\"', notSelector: has(c)}, destination: {selector: ''}",
            ]),
            [
                "allow",
                "deny IPv6 not udp",
                "allow tcp from nets 10.0.0.0/8 not nets 10.1.0.0/16 to ports 80,90-99 not ports 95",
                "log from selector a == \"b\" not selector has(c)",
            ]
        );
    }

    #[test]
    fn rules_that_differ_say_so() {
        let same = texts(&["action: Allow, protocol: TCP", "action: Allow, protocol: 6"]);
        assert_eq!(same[0], same[1]);
        let icmp = texts(&[
            "action: Allow, protocol: ICMP",
            "action: Allow, protocol: 1",
            "action: Allow, protocol: ICMP, ipVersion: 4",
        ]);
        assert_eq!(icmp, ["allow IPv4 icmp", "allow icmp", "allow IPv4 icmp"]);
    }

    #[test]
    fn source_ports_are_noticed_in_either_world() {
        let rule = |side: &str, field: &str| {
            format!("ingress: [{{action: Allow, protocol: TCP, {side}: {{{field}: [1]}}}}]")
        };
        let looks = |resource: String| network(&[resource]).looks_at_source_ports();
        assert!(!looks(policy("p", &rule("destination", "ports"))));
        assert!(looks(policy("p", &rule("source", "ports"))));
        assert!(looks(staged("p", &rule("source", "notPorts"))));
    }
}
