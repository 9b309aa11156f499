//! What policies mean, as tables: policies, packets, and the verdict with its trace.
//!
//! All packets come to or leave the endpoint `web` of [`crate::testing::NETWORK`], which has the default-allow profile.

use super::*;
use crate::failsafe::Failsafes;
use crate::testing::{NETWORK, ask, ask_at, host, network, policy, safety_net, snapshot, staged, tier};
use crate::world::{Host, WorldKind, resolve};

/// Checks the enforced world.
fn enforced(resources: &[String], table: &[(&str, &str)]) {
    check(resources, WorldKind::Enforced, table);
}

/// Checks the pending world.
fn pending(resources: &[String], table: &[(&str, &str)]) {
    check(resources, WorldKind::Pending, table);
}

fn check(resources: &[String], world: WorldKind, table: &[(&str, &str)]) {
    let worlds = network(resources);
    for (packet, expected) in table {
        assert_eq!(
            ask(&worlds, world, packet),
            *expected,
            "{packet} in the {} world of\n{}",
            world.as_str(),
            resources.concat()
        );
    }
}

/// An ingress policy of one rule.
fn one_rule(name: &str, order: &str, rule: &str) -> String {
    policy(name, &format!("order: {order}, ingress: [{{{rule}}}]"))
}

mod order {
    use super::*;

    #[test]
    fn lower_comes_first_whatever_the_names() {
        enforced(
            &[
                one_rule("a", "20", "action: Allow"),
                one_rule("b", "-3.5", "action: Deny"),
                one_rule("c", "10", "action: Allow"),
            ],
            &[("in tcp 10.0.0.2 80", "deny: Deny b/0")],
        );
    }

    #[test]
    fn ties_go_by_the_bytes_of_the_name() {
        // As text `a-b/` sorts before `a.b/`, and `a/` after both: '-' < '.' < '/'.
        let policies = |names: [&str; 3]| {
            let [first, second, third] = names.map(|name| one_rule(name, "1", "action: Log"));
            [first, second, third]
        };
        for names in [["a", "a.b", "a-b"], ["a-b", "a.b", "a"]] {
            enforced(
                &policies(names),
                &[(
                    "in tcp 10.0.0.2 80",
                    "deny: Log a-b/0, Log a.b/0, Log a/0, Deny end of default (a)",
                )],
            );
        }
    }

    #[test]
    fn a_policy_without_order_comes_after_every_number() {
        enforced(
            &[
                policy("a", "ingress: [{action: Deny}]"),
                one_rule("z", "1.0e+300", "action: Allow, protocol: TCP"),
            ],
            &[("in tcp 10.0.0.2 80", "allow: Allow z/0")],
        );
    }

    #[test]
    fn the_safety_net_comes_last_of_all_in_its_tier() {
        enforced(
            &[
                safety_net(),
                one_rule("huge", "1000000", "action: Allow, protocol: UDP"),
                policy("unordered", "ingress: [{action: Deny, protocol: TCP}]"),
            ],
            &[
                ("in tcp 10.0.0.2 80", "deny: Deny unordered/0"),
                ("in udp 10.0.0.2 80", "allow: Allow huge/0"),
                (
                    "in icmp 10.0.0.2 type 8",
                    "allow: Allow net/0 | deny: Deny end of default (unordered)",
                ),
            ],
        );
    }

    #[test]
    fn rules_stand_as_written() {
        let rules = "ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}, \
                     {action: Deny, protocol: TCP}, {action: Allow}]";
        enforced(
            &[policy("p", rules)],
            &[
                ("in tcp 10.0.0.2 80", "allow: Allow p/0"),
                ("in tcp 10.0.0.2 81", "deny: Deny p/1"),
                ("in udp 10.0.0.2 81", "allow: Allow p/2"),
            ],
        );
    }
}

mod tiers {
    use super::*;

    #[test]
    fn they_come_by_order_then_by_name() {
        let log = |tier: &str| {
            policy(
                &format!("in-{tier}"),
                &format!("tier: {tier}, ingress: [{{action: Log}}]"),
            )
        };
        enforced(
            &[
                tier("b", "order: 7, defaultAction: Pass"),
                tier("a", "order: 7, defaultAction: Pass"),
                tier("z", "order: 3, defaultAction: Pass"),
                log("kube-baseline"),
                log("b"),
                log("kube-admin"),
                log("z"),
                log("a"),
            ],
            &[(
                "in tcp 10.0.0.2 80",
                "allow: Log in-z/0, Pass end of z (in-z), Log in-a/0, Pass end of a (in-a), Log in-b/0, \
                 Pass end of b (in-b), Log in-kube-admin/0, Pass end of kube-admin (in-kube-admin), \
                 Log in-kube-baseline/0, Pass end of kube-baseline (in-kube-baseline), Allow profile",
            )],
        );
    }

    #[test]
    fn pass_skips_the_rest_of_its_tier_only() {
        enforced(
            &[
                tier("first", "order: 1"),
                policy(
                    "passes",
                    "tier: first, order: 1, ingress: [{action: Pass, protocol: TCP}]",
                ),
                policy("denies", "tier: first, order: 2, ingress: [{action: Deny}]"),
                policy(
                    "web",
                    "ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
                ),
            ],
            &[
                ("in tcp 10.0.0.2 80", "allow: Pass passes/0, Allow web/0"),
                (
                    "in tcp 10.0.0.2 81",
                    "deny: Pass passes/0, Deny end of default (web)",
                ),
                ("in udp 10.0.0.2 80", "deny: Deny denies/0"),
            ],
        );
    }

    #[test]
    fn pass_in_the_last_tier_goes_to_the_profiles() {
        let worlds = network(&[policy("p", "ingress: [{action: Pass}, {action: Deny}]")]);
        let said = |endpoint| ask_at(&worlds, endpoint, WorldKind::Enforced, "in tcp 10.0.0.2 80");
        assert_eq!(said("web"), "allow: Pass p/0, Allow profile");
        assert_eq!(said("bare"), "deny: Pass p/0, Deny no profile");
    }

    #[test]
    fn one_that_governs_only_one_direction_ends_only_there() {
        enforced(
            &[policy("p", "types: [Egress], egress: [{action: Deny, protocol: UDP}]")],
            &[
                ("in tcp 10.0.0.2 80", "allow: Allow profile"),
                ("out tcp 10.0.0.2 80", "deny: Deny end of default (p)"),
                ("out udp 10.0.0.2 80", "deny: Deny p/0"),
            ],
        );
    }

    #[test]
    fn one_whose_policies_select_others_says_nothing() {
        enforced(
            &[policy("p", "selector: role == 'db', ingress: [{action: Deny}]")],
            &[("in tcp 10.0.0.2 80", "allow: Allow profile")],
        );
    }

    #[test]
    fn its_end_names_the_last_policy_that_governs_the_direction() {
        enforced(
            &[
                policy("a", "order: 1, selector: role == 'web', types: [Ingress]"),
                policy("b", "order: 2, types: [Ingress, Egress]"),
                policy("c", "order: 3, types: [Egress]"),
                policy("d", "order: 4, selector: role == 'db', types: [Ingress, Egress]"),
            ],
            &[
                ("in tcp 10.0.0.2 80", "deny: Deny end of default (b)"),
                ("out tcp 10.0.0.2 80", "deny: Deny end of default (c)"),
            ],
        );
    }
}

mod policies {
    use super::*;

    #[test]
    fn types_follow_the_rules_that_are_written() {
        let allowed = "allow: Allow profile";
        let denied = "deny: Deny end of default (p)";
        for (spec, ingress, egress) in [
            ("", denied, allowed),
            ("ingress: [{action: Log, protocol: 99}]", denied, allowed),
            ("egress: [{action: Log, protocol: 99}]", allowed, denied),
            (
                "ingress: [{action: Log, protocol: 99}], egress: [{action: Log, protocol: 99}]",
                denied,
                denied,
            ),
            ("types: [Egress]", allowed, denied),
            ("types: [Ingress, Egress]", denied, denied),
            // Rules of a direction that is not among the types are never asked.
            ("types: [Egress], ingress: [{action: Allow}]", allowed, denied),
        ] {
            enforced(
                &[policy("p", spec)],
                &[("in tcp 10.0.0.2 80", ingress), ("out tcp 10.0.0.2 80", egress)],
            );
        }
    }

    #[test]
    fn log_goes_on() {
        enforced(
            &[policy(
                "p",
                "ingress: [{action: Log}, {action: Log, protocol: UDP}, {action: Allow, protocol: TCP}]",
            )],
            &[
                ("in tcp 10.0.0.2 80", "allow: Log p/0, Allow p/2"),
                (
                    "in udp 10.0.0.2 80",
                    "deny: Log p/0, Log p/1, Deny end of default (p)",
                ),
            ],
        );
    }

    #[test]
    fn a_rule_keeps_the_name_it_was_given() {
        let rule = "{action: Allow, metadata: {annotations: {palisade.dev/rule-name: http}}}";
        enforced(
            &[policy("p", &format!("ingress: [{rule}]"))],
            &[("in tcp 10.0.0.2 80", "allow: Allow p/0 (http)")],
        );
    }

    #[test]
    fn steps_say_where_their_rule_is_written() {
        let text = "\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: p
spec:
  ingress:
    - action: Log
    - action: Deny
      protocol: UDP
";
        let worlds = resolve(&snapshot(&[NETWORK, text]), host("one"));
        let web = crate::testing::endpoint(&worlds, "web");
        let packet = Packet {
            source: "10.0.0.2".parse().unwrap(),
            destination: "10.0.0.1".parse().unwrap(),
            protocol: Protocol::TCP,
            source_port: 40_000,
            destination_port: 80,
            icmp_type: 0,
        };
        let decision = evaluate(&worlds, &worlds.enforced, web, Direction::Ingress, &packet);
        let places: Vec<String> = decision
            .outcome
            .steps
            .iter()
            .map(|step| step.position.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(places, ["1.yaml:7:7", "1.yaml:4:9"]);
    }
}

mod failsafes {
    use super::*;

    /// Policies that deny everything, both ways, without a profile to fall back to.
    fn deny_all() -> Vec<String> {
        vec![policy(
            "deny",
            "order: -1, types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]",
        )]
    }

    #[test]
    fn the_defaults_come_before_every_tier() {
        let mut table: Vec<(String, String)> = Vec::new();
        let mut passes = |packet: &str, failsafe: &str| {
            table.push((packet.into(), format!("allow: Allow failsafe {failsafe}")));
        };
        for peer in ["10.0.0.2", "fd00::2"] {
            passes(&format!("in tcp {peer} 22"), "tcp:22");
            passes(&format!("in udp {peer} 68"), "udp:68");
            passes(&format!("in udp {peer} 546"), "udp:546");
            passes(&format!("out udp {peer} 53"), "udp:53");
            passes(&format!("out tcp {peer} 53"), "tcp:53");
            passes(&format!("out udp {peer} 67"), "udp:67");
            passes(&format!("out udp {peer} 547"), "udp:547");
        }
        for icmp_type in [130, 131, 132, 134, 135, 136, 143] {
            passes(&format!("in icmpv6 fd00::2 type {icmp_type}"), "icmpv6");
        }
        for icmp_type in [131, 132, 133, 135, 136, 143] {
            passes(&format!("out icmpv6 fd00::2 type {icmp_type}"), "icmpv6");
        }
        let mut denied = |packet: &str| table.push((packet.into(), "deny: Deny deny/0".into()));
        for packet in [
            "out tcp 10.0.0.2 22",
            "in udp 10.0.0.2 22",
            "in udp 10.0.0.2 53",
            "out udp 10.0.0.2 68",
            "in icmpv6 fd00::2 type 128",
            "in icmpv6 fd00::2 type 133",
            "in icmpv6 fd00::2 type 129",
            "in icmpv6 fd00::2 type 137",
            "out icmpv6 fd00::2 type 130",
            "out icmpv6 fd00::2 type 134",
            // Not ICMPv6, whatever its number says.
            "in icmpv6 10.0.0.2 type 135",
            "in icmp 10.0.0.2 type 135",
        ] {
            denied(packet);
        }
        let table: Vec<(&str, &str)> = table
            .iter()
            .map(|(packet, said)| (packet.as_str(), said.as_str()))
            .collect();
        enforced(&deny_all(), &table);
        // Both worlds have them.
        pending(&deny_all(), &table);
    }

    #[test]
    fn a_net_is_the_far_end() {
        let failsafes = Failsafes {
            inbound: vec!["tcp:10.9.0.0/16:80-90".parse().unwrap()],
            outbound: vec!["udp:[fd09::/32]:53".parse().unwrap()],
            icmpv6: false,
        };
        let host = Host {
            failsafes,
            ..host("one")
        };
        let worlds = resolve(&snapshot(&[NETWORK, &deny_all().concat()]), host);
        for (packet, failsafe) in [
            ("in tcp 10.9.1.1 80", Some("tcp:10.9.0.0/16:80-90")),
            ("in tcp 10.9.1.1 90", Some("tcp:10.9.0.0/16:80-90")),
            ("in tcp 10.9.1.1 91", None),
            ("in tcp 10.8.1.1 80", None),
            ("in tcp fd09::1 80", None),
            ("out tcp 10.9.1.1 80", None),
            ("out udp fd09::1 53", Some("udp:[fd09::/32]:53")),
            ("out udp fd08::1 53", None),
            ("out udp 10.9.1.1 53", None),
            ("in icmpv6 fd00::2 type 135", None),
        ] {
            let expected = failsafe.map_or("deny: Deny deny/0".to_owned(), |failsafe| {
                format!("allow: Allow failsafe {failsafe}")
            });
            assert_eq!(ask(&worlds, WorldKind::Enforced, packet), expected, "{packet}");
        }
    }

    #[test]
    fn with_none_at_all_policies_decide() {
        let host = Host {
            failsafes: Failsafes::none(),
            ..host("one")
        };
        let worlds = resolve(&snapshot(&[NETWORK, &deny_all().concat()]), host);
        for packet in ["in tcp 10.0.0.2 22", "in icmpv6 fd00::2 type 135"] {
            assert_eq!(
                ask(&worlds, WorldKind::Enforced, packet),
                "deny: Deny deny/0",
                "{packet}"
            );
        }
    }
}

mod profiles {
    use super::*;

    #[test]
    fn they_decide_where_no_tier_governs() {
        let worlds = network(&[]);
        for packet in ["in tcp 10.0.0.2 80", "out udp fd00::2 80"] {
            assert_eq!(
                ask(&worlds, WorldKind::Enforced, packet),
                "allow: Allow profile"
            );
            assert_eq!(
                ask_at(&worlds, "bare", WorldKind::Enforced, packet),
                "deny: Deny no profile"
            );
        }
    }

    #[test]
    fn a_failsafe_holds_without_a_profile_too() {
        assert_eq!(
            ask_at(
                &network(&[]),
                "bare",
                WorldKind::Enforced,
                "in tcp 10.0.0.2 22"
            ),
            "allow: Allow failsafe tcp:22"
        );
    }
}

mod rules {
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
            &["in tcp 10.0.0.3 80", "in tcp 192.0.2.1 80", "in tcp 2001:db8::1 80"],
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
}

mod safety_nets {
    use super::*;

    const DENIES: &str = "order: 5, types: [Ingress, Egress]";

    #[test]
    fn what_is_one() {
        for spec in [
            "order: 100000, ingress: [{action: Allow}]",
            "order: 1.0e+6, selector: all(), types: [Ingress], ingress: [{action: Allow}]",
            "order: 100000, selector: '', ingress: [{action: Allow, source: {}, destination: ~}]",
            "order: 100000, ingress: [{action: Allow, source: {selector: ''}}]",
            "order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
            // What it does not govern does not matter.
            "order: 100000, types: [Ingress], ingress: [{action: Allow}], egress: [{action: Deny}]",
        ] {
            enforced(
                &[policy("d", DENIES), policy("net", spec)],
                &[(
                    "in tcp 10.0.0.2 80",
                    "allow: Allow net/0 | deny: Deny end of default (d)",
                )],
            );
        }
    }

    #[test]
    fn what_is_none() {
        for (spec, rule) in [
            ("order: 99999.9, ingress: [{action: Allow}]", 0),
            ("ingress: [{action: Allow}]", 0),
            ("order: 100000, selector: has(role), ingress: [{action: Allow}]", 0),
            ("order: 100000, selector: all() && all(), ingress: [{action: Allow}]", 0),
            ("order: 100000, ingress: [{action: Allow, protocol: TCP}]", 0),
            ("order: 100000, ingress: [{action: Allow, notProtocol: UDP}]", 0),
            ("order: 100000, ingress: [{action: Allow, ipVersion: 4}]", 0),
            (
                "order: 100000, ingress: [{action: Allow, source: {nets: [0.0.0.0/0]}}]",
                0,
            ),
            (
                "order: 100000, ingress: [{action: Allow, destination: {notSelector: has(x)}}]",
                0,
            ),
            ("order: 100000, ingress: [{action: Allow}, {action: Allow}]", 0),
            // One of its types is not a net, so the policy is none.
            (
                "order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}]",
                0,
            ),
            (
                "order: 100000, ingress: [{action: Allow}], egress: [{action: Deny}]",
                0,
            ),
        ] {
            enforced(
                &[policy("d", DENIES), policy("p", spec)],
                &[("in tcp 10.0.0.2 80", &format!("allow: Allow p/{rule}"))],
            );
        }
    }

    #[test]
    fn it_hides_nothing() {
        enforced(
            &[
                safety_net(),
                policy(
                    "p",
                    "order: 5, ingress: [{action: Log}, {action: Allow, protocol: UDP}]",
                ),
            ],
            &[
                // Another rule decided: there is nothing to add.
                ("in udp 10.0.0.2 80", "allow: Log p/0, Allow p/1"),
                (
                    "in tcp 10.0.0.2 80",
                    "allow: Log p/0, Allow net/0 | deny: Log p/0, Deny end of default (p)",
                ),
                // Nothing else governs the tier: without the net it is not there.
                ("out tcp 10.0.0.2 80", "allow: Allow net/0 | allow: Allow profile"),
                ("in tcp 10.0.0.2 22", "allow: Allow failsafe tcp:22"),
            ],
        );
    }

    #[test]
    fn without_one_is_without_all_of_them() {
        enforced(
            &[
                tier("early", "order: 1"),
                policy(
                    "early-net",
                    "tier: early, order: 100000, ingress: [{action: Allow}]",
                ),
                safety_net(),
                policy(
                    "p",
                    "order: 5, ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
                ),
            ],
            &[
                ("in tcp 10.0.0.2 80", "allow: Allow early-net/0 | allow: Allow p/0"),
                (
                    "in tcp 10.0.0.2 81",
                    "allow: Allow early-net/0 | deny: Deny end of default (p)",
                ),
            ],
        );
    }

    #[test]
    fn a_pass_goes_around_it() {
        enforced(
            &[safety_net(), policy("p", "order: 5, ingress: [{action: Pass}]")],
            &[("in tcp 10.0.0.2 80", "allow: Pass p/0, Allow profile")],
        );
    }

    #[test]
    fn one_that_is_staged_is_one_when_promoted() {
        let resources = [
            policy("d", DENIES),
            staged("net", "order: 100000, ingress: [{action: Allow}]"),
        ];
        let denied = "deny: Deny end of default (d)";
        enforced(&resources, &[("in tcp 10.0.0.2 80", denied)]);
        pending(
            &resources,
            &[(
                "in tcp 10.0.0.2 80",
                &format!("allow: Allow staged net/0 | {denied}"),
            )],
        );
    }
}

mod staging {
    use super::*;

    const PACKET: &str = "in tcp 10.0.0.2 80";

    /// Checks what both worlds say to one packet.
    fn both(resources: &[String], in_enforced: &str, in_pending: &str) {
        enforced(resources, &[(PACKET, in_enforced)]);
        pending(resources, &[(PACKET, in_pending)]);
    }

    #[test]
    fn set_and_learn_exist_in_the_pending_world() {
        for action in ["", "stagedAction: Set, ", "stagedAction: Learn, "] {
            both(
                &[staged("p", &format!("{action}ingress: [{{action: Deny}}]"))],
                "allow: Allow profile",
                "deny: Deny staged p/0",
            );
        }
    }

    #[test]
    fn ignore_exists_in_neither() {
        both(
            &[
                policy("p", "ingress: [{action: Deny}]"),
                staged("p", "stagedAction: Ignore, ingress: [{action: Allow}]"),
                staged("q", "order: 1, stagedAction: Ignore, ingress: [{action: Allow}]"),
            ],
            "deny: Deny p/0",
            "deny: Deny p/0",
        );
    }

    #[test]
    fn delete_takes_the_enforced_one_away() {
        both(
            &[
                policy("p", "ingress: [{action: Deny}]"),
                staged("p", "stagedAction: Delete"),
            ],
            "deny: Deny p/0",
            "allow: Allow profile",
        );
        // With nothing to delete it does nothing.
        both(
            &[
                policy("p", "ingress: [{action: Deny}]"),
                staged("q", "stagedAction: Delete"),
            ],
            "deny: Deny p/0",
            "deny: Deny p/0",
        );
    }

    #[test]
    fn set_stands_in_for_the_enforced_one_wherever_it_moves() {
        both(
            &[
                policy("p", "order: 1, ingress: [{action: Deny}]"),
                policy("q", "order: 2, ingress: [{action: Allow}]"),
                staged("p", "order: 3, ingress: [{action: Deny}]"),
            ],
            "deny: Deny p/0",
            "allow: Allow q/0",
        );
        both(
            &[
                tier("early", "order: 1"),
                policy("p", "order: 1, ingress: [{action: Deny}]"),
                staged("p", "tier: early, ingress: [{action: Pass}]"),
            ],
            "deny: Deny p/0",
            "allow: Pass staged p/0, Allow profile",
        );
        both(
            &[
                policy("p", "ingress: [{action: Deny}]"),
                staged("p", "types: [Egress]"),
            ],
            "deny: Deny p/0",
            "allow: Allow profile",
        );
    }

    #[test]
    fn a_staged_pass_opens_the_way_to_later_tiers() {
        both(
            &[
                tier("early", "order: 1"),
                policy("closed", "tier: early, order: 2, ingress: [{action: Deny}]"),
                staged("passes", "tier: early, order: 1, ingress: [{action: Pass}]"),
                policy("open", "ingress: [{action: Allow}]"),
            ],
            "deny: Deny closed/0",
            "allow: Pass staged passes/0, Allow open/0",
        );
    }

    #[test]
    fn a_tier_of_staged_policies_never_ends_in_the_enforced_world() {
        both(
            &[staged("lockdown", "types: [Ingress]")],
            "allow: Allow profile",
            "deny: Deny end of default (staged lockdown)",
        );
    }

    #[test]
    fn the_end_of_a_tier_may_be_the_staged_ones_doing() {
        both(
            &[policy("a", "order: 1"), staged("b", "order: 2")],
            "deny: Deny end of default (a)",
            "deny: Deny end of default (staged b)",
        );
    }

    #[test]
    fn the_net_hides_neither_world() {
        both(
            &[safety_net(), staged("lockdown", "types: [Ingress]")],
            "allow: Allow net/0 | allow: Allow profile",
            "allow: Allow net/0 | deny: Deny end of default (staged lockdown)",
        );
    }
}
