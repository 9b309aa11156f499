use super::*;
use crate::testing::{namespaced, policy, safety_net, staged, tier, workload};

#[test]
fn what_others_decide_needs_no_rule_and_what_is_denied_is_left_out() {
    let bench = Bench::new(&[
        safety_net(),
        tier("first", "order: 1"),
        policy(
            "no-telnet",
            "order: 1, types: [Ingress], selector: role == 'web', ingress: [{action: Deny, protocol: TCP, destination: {ports: [23]}}]",
        ),
        policy(
            "monitoring",
            "order: 2, types: [Ingress], selector: role == 'web', ingress: [{action: Allow, protocol: TCP, destination: {ports: [9100]}}]",
        ),
    ]);
    let seen = [
        "in tcp 10.0.0.2 22",
        "in tcp 10.0.0.2 23",
        "in tcp 10.0.0.2 80",
        "in tcp 10.0.0.2 9100",
    ];
    let proposal = bench.learn_from(&question(), &seen).unwrap();
    assert_eq!(
        proposal.rules.iter().map(words).collect::<Vec<_>>(),
        ["tcp 80 from role == \"db\""]
    );
    assert_eq!((proposal.replayed, proposal.connections), (3, 6));
    for line in [
        "# no rule is needed for 1 flow (2 connections), which failsafe tcp:22 allows",
        "# no rule is needed for 1 flow (2 connections), which monitoring (ingress rule 0) allows",
        "# left out: 1 flow (2 connections) that are denied now, which --include-denied would learn",
        "# replayed 3 flows in the pending world, without the safety net: 0 denied",
    ] {
        assert!(
            proposal.text.contains(line),
            "{line} is not in\n{}",
            proposal.text
        );
    }
    // Learnt all the same, it must be asked before what denies it.
    let all = Question {
        include_denied: true,
        ..question()
    };
    let refused = bench.refused(&all, &seen);
    assert!(
        refused.starts_with(
            "tcp 23 from 10.0.0.2 to 10.0.0.1 (ingress of web) was observed (2 first packets) and GlobalNetworkPolicy no-telnet (ingress \
             rule 0) of tier default"
        ),
        "{refused}"
    );
    let first = Question {
        tier: Some("first".to_owned()),
        ..all
    };
    let proposal = bench.learn_from(&first, &seen).unwrap();
    assert_eq!(words(&proposal.rules[0]), "tcp 23,80,9100 from role == \"db\"");
    assert!(
        proposal.warnings[0].contains("it speaks before no-telnet"),
        "{:?}",
        proposal.warnings
    );
    assert_eq!(proposal.policy.tier, "first");
}

#[test]
fn what_is_staged_by_the_name_is_completed() {
    let bench = Bench::new(&[staged(
        "learnt",
        "stagedAction: Learn, order: 7, selector: role == 'web', types: [Ingress], ingress: [{action: Allow, protocol: TCP, \
         destination: {ports: [80]}}, {action: Log}, {action: Deny}]",
    )]);
    let usual = Question {
        subject: Subject::Usual,
        ..question()
    };
    let seen = [
        "in tcp 10.0.0.2 80",
        "in tcp 10.0.0.3 443",
        "out tcp 10.0.0.3 443",
    ];
    let proposal = bench.learn_from(&usual, &seen).unwrap();
    assert_eq!(proposal.rules.len(), 1);
    assert_eq!(
        (proposal.rules[0].index, words(&proposal.rules[0])),
        (1, "tcp 443 from role == \"cache\"".to_owned())
    );
    let actions: Vec<_> = proposal
        .policy
        .ingress
        .iter()
        .map(|rule| rule.action.as_str())
        .collect();
    assert_eq!(actions, ["Allow", "Allow", "Log", "Deny"]);
    assert_eq!(proposal.policy.order.map(Order::value), Some(7.0));
    assert!(proposal.replaces.is_some());
    assert!(proposal.text.contains("stagedAction: Learn"), "{}", proposal.text);
    assert!(
        proposal
            .text
            .contains("comes in place of StagedGlobalNetworkPolicy learnt (1.yaml:"),
        "{}",
        proposal.text
    );
    assert_eq!(
        proposal.text.matches("# kept as it was").count(),
        3,
        "{}",
        proposal.text
    );
    // Once more there is nothing left to learn.
    let again = Bench::new(&[format!("---\n{}", proposal.text)]);
    let proposal = again.learn_from(&usual, &seen).unwrap();
    assert_eq!(proposal.rules, []);
    assert_eq!(proposal.replayed, 2);
    for (question, option) in [
        (
            Question {
                order: Some(1.0),
                ..usual.clone()
            },
            "--order",
        ),
        (
            Question {
                directions: Directions::Both,
                ..usual
            },
            "--direction",
        ),
    ] {
        let refused = bench.refused(&question, &seen);
        assert!(refused.contains(&format!("leave {option} out")), "{refused}");
    }
}

#[test]
fn what_goes_through_the_host_is_allowed_between_its_ends_only() {
    let bench = Bench::new(&[]);
    let through = |text: &str| Observed {
        part: Part::Through,
        ..bench.saw(text)
    };
    let mut observed = vec![through("in tcp 10.0.0.2 80"), bench.saw("in tcp 10.0.0.3 443")];
    observed[0].packet.destination = "10.5.5.5".parse().unwrap();
    let ask = |question: &Question| learn(&bench.snapshot, &bench.worlds, question, &observed).unwrap();
    let own = ask(&question());
    assert_eq!(
        own.rules.iter().map(words).collect::<Vec<_>>(),
        ["tcp 443 from role == \"cache\""]
    );
    assert!(own.text.contains("which --forward learns"), "{}", own.text);
    let both = ask(&Question {
        forward: true,
        ..question()
    });
    assert!(both.text.contains("applyOnForward: true"), "{}", both.text);
    let rule = &both.rules[0].rule;
    assert_eq!(rule.destination.nets, Some(vec!["10.5.5.5/32".parse().unwrap()]));
    assert_eq!(both.rules[1].rule.destination.nets, None);
    assert!(
        both.text.contains(
            "# from db (10.0.0.2)\n  # 1 address seen, the selector stands for 2 addresses\n  # to 10.5.5.5\n  # 1 address seen, and no \
             other is allowed\n"
        ),
        "{}",
        both.text
    );
    // Of what is the endpoint's own, its end is no condition.
    assert_eq!(both.text.matches("# to ").count(), 1, "{}", both.text);
}

#[test]
fn the_excess_at_the_near_end_is_stated_too() {
    let twin = |number: u32| {
        let spec = format!("node: two, interfaceName: eth{number}, expectedIPs: [10.7.0.{number}]");
        labelled("HostEndpoint", &format!("twin-{number}"), "kind: twin", &spec)
    };
    let bench = Bench::new(&[twin(1), twin(2)]);
    let to = |near: &str| {
        let mut observed = Observed {
            part: Part::Through,
            ..bench.saw("in tcp 10.0.0.2 80")
        };
        observed.packet.destination = near.parse().unwrap();
        observed
    };
    let limits = Limits {
        nets: 1,
        ..Limits::default()
    };
    let ask = |observed: &[Observed]| {
        let question = Question {
            forward: true,
            limits,
            ..question()
        };
        learn(&bench.snapshot, &bench.worlds, &question, observed).unwrap()
    };
    let merged = ask(&[to("10.8.0.1"), to("10.8.0.6")]);
    assert!(
        merged
            .text
            .contains("# to 10.8.0.1, 10.8.0.6\n  # 2 addresses seen, 10.8.0.0/29 has 8 addresses"),
        "{}",
        merged.text
    );
    let named = ask(&[to("10.7.0.1")]);
    assert!(
        named
            .text
            .contains("the selector stands for 2 addresses; it also selects twin-2, which was not seen"),
        "{}",
        named.text
    );
    let anyone = ask(&[to("8.8.8.8"), to("9.9.9.9")]);
    assert!(
        anyone.text.contains("# 2 addresses seen, any is allowed"),
        "{}",
        anyone.text
    );
    assert!(
        anyone.warnings[0].contains("was seen to 2 addresses so far apart")
            && anyone.warnings[0].contains("allowed to any IPv4 address"),
        "{:?}",
        anyone.warnings
    );
}

#[test]
fn where_nothing_was_seen_is_named_by_endpoint_and_direction() {
    let bench = Bench::new(&[]);
    let here = Question {
        subject: Subject::Selector(Selector::parse("role in {'web', 'bare'}").unwrap()),
        include_denied: true,
        ..question()
    };
    let learnt = |seen: &[Observed]| {
        learn(&bench.snapshot, &bench.worlds, &here, seen)
            .unwrap()
            .warnings
    };
    let web = bench.saw("in tcp 10.0.0.2 80");
    let warnings = learnt(std::slice::from_ref(&web));
    assert!(
        warnings[0].starts_with("beyond failsafes and what is left out no ingress was observed at bare, and"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1, "egress is not governed: {warnings:?}");
    let mut bare = bench.saw_at("bare", "in tcp 10.0.0.2 80");
    bare.packet.destination = "10.0.0.9".parse().unwrap();
    assert_eq!(learnt(&[web, bare]), [""; 0]);
}

#[test]
fn a_sibling_that_labels_cannot_tell_apart_is_named() {
    let spec = "node: one, interfaceName: eth7, expectedIPs: [10.0.7.1]";
    let bench = Bench::new(&[labelled("HostEndpoint", "double", "role: web, env: prod", spec)]);
    let proposal = bench.learn_from(&question(), &["in tcp 10.0.0.2 80"]).unwrap();
    assert!(
        proposal
            .warnings
            .iter()
            .any(|warning| warning.ends_with("the policy is for them as well: double")),
        "{:?}",
        proposal.warnings
    );
}

#[test]
fn another_kind_of_policy_by_the_name_is_another_policy() {
    let pod = "interfaceName: cali1, ipNetworks: [10.1.0.7/32], profiles: [projectcalico-default-allow]";
    let bench = Bench::new(&[
        tier("first", "order: 1"),
        workload("pod", "role: pod", pod),
        namespaced(
            "StagedNetworkPolicy",
            "red",
            "learnt",
            "stagedAction: Set, order: 1, types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}]",
        ),
    ]);
    let question = Question {
        subject: Subject::Endpoint("red/one-cni-pod-e".to_owned()),
        tier: Some("first".to_owned()),
        ..question()
    };
    let mut observed = bench.saw_at("one-cni-pod-e", "in tcp 10.0.0.2 80");
    observed.packet.destination = "10.1.0.7".parse().unwrap();
    let proposal = learn(&bench.snapshot, &bench.worlds, &question, &[observed]).unwrap();
    let [warning] = proposal.warnings.as_slice() else {
        panic!("{:?}", proposal.warnings);
    };
    assert!(
        warning.starts_with("it speaks before")
            && warning.contains("learnt (ingress rule 0), which would deny 1 flow"),
        "{warning}"
    );
}
