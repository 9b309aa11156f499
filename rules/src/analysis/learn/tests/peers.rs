use super::*;

#[test]
fn names_come_before_addresses_and_equal_ports_are_one_rule() {
    let bench = Bench::new(&[]);
    assert_eq!(
        bench.rules(
            &question(),
            &[
                "in tcp 10.0.0.2 80",
                "in tcp fd00::2 443",
                "in tcp 10.0.0.3 80",
                "in tcp 10.0.0.3 443",
                "in tcp 10.9.1.2 8080",
                "in tcp 192.0.2.7 81",
                "in tcp 192.0.2.7 80",
                "in icmp 10.0.0.3 8/0",
                "out udp 198.51.100.1 123",
            ]
        ),
        [
            "icmp 8/0 from role == \"cache\"",
            "tcp 80,443 from role in {\"cache\", \"db\"}",
            "tcp 80-81 from 192.0.2.7/32",
            "tcp 8080 from net == \"lan\"",
            "udp 123 to 198.51.100.1/32",
        ]
    );
}

#[test]
fn a_selector_is_no_name_for_a_peer_among_many_alike() {
    let twin = |number: u32| {
        let spec = format!("node: n{number}, interfaceName: eth0, expectedIPs: [10.7.0.{number}]");
        labelled("HostEndpoint", &format!("twin-{number}"), "kind: twin", &spec)
    };
    let few = Bench::new(&[twin(1), twin(2)]);
    let proposal = few.learn_from(&question(), &["in tcp 10.7.0.1 80"]).unwrap();
    assert_eq!(words(&proposal.rules[0]), "tcp 80 from kind == \"twin\"");
    assert!(
        proposal
            .text
            .contains("1 address seen, the selector stands for 2 addresses; it also selects twin-2"),
        "{}",
        proposal.text
    );
    let many = Bench::new(&(1..=9).map(twin).collect::<Vec<_>>());
    assert_eq!(
        many.rules(&question(), &["in tcp 10.7.0.1 80"]),
        ["tcp 80 from 10.7.0.1/32"]
    );
}

#[test]
fn addresses_are_merged_to_networks_and_the_excess_is_stated() {
    let bench = Bench::new(&[]);
    let limits = Limits {
        nets: 1,
        ..Limits::default()
    };
    let narrow = Question { limits, ..question() };
    let seen = ["in tcp 10.8.0.1 80", "in tcp 10.8.0.3 80", "in tcp 10.8.0.6 80"];
    let proposal = bench.learn_from(&narrow, &seen).unwrap();
    assert_eq!(words(&proposal.rules[0]), "tcp 80 from 10.8.0.0/29");
    assert!(
        proposal
            .text
            .contains("3 addresses seen, 10.8.0.0/29 has 8 addresses"),
        "{}",
        proposal.text
    );
    // Clients all over the world are anybody.
    let proposal = bench
        .learn_from(&narrow, &["in tcp 8.8.8.8 80", "in tcp 9.9.9.9 80"])
        .unwrap();
    assert_eq!(words(&proposal.rules[0]), "tcp 80 from  over IPv4");
    assert_eq!(proposal.rules[0].peers_allowed, None);
    assert!(
        proposal.warnings[0].contains("allowed from any IPv4 address"),
        "{:?}",
        proposal.warnings
    );
}

#[test]
fn addresses_that_were_not_kept_apart_are_anybody() {
    let bench = Bench::new(&[]);
    let mut observed = vec![
        bench.saw("in tcp 10.8.0.1 80"),
        bench.saw("in tcp 10.9.0.1 80"),
        bench.saw("in tcp fd08::1 80"),
    ];
    observed[0].stands_for_others = true;
    observed[1].stands_for_others = true;
    let proposal = learn(&bench.snapshot, &bench.worlds, &question(), &observed).unwrap();
    let rules: Vec<String> = proposal.rules.iter().map(words).collect();
    // A set is a name for all that is in it.
    assert_eq!(
        rules,
        [
            "tcp 80 from net == \"lan\"",
            "tcp 80 from fd08::1/128",
            "tcp 80 from  over IPv4"
        ]
    );
    assert!(
        proposal.warnings[0].contains("more addresses than are kept apart"),
        "{:?}",
        proposal.warnings
    );
}

#[test]
fn ports_that_change_become_one_range_with_a_warning() {
    let bench = Bench::new(&[]);
    let seen: Vec<String> = (0..300)
        .map(|number| format!("out tcp 10.0.0.2 {}", 33_000 + 7 * number))
        .collect();
    let mut seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    seen.push("out tcp 10.0.0.2 21");
    let proposal = bench.learn_from(&question(), &seen).unwrap();
    let rules: Vec<String> = proposal.rules.iter().map(words).collect();
    assert_eq!(rules, ["tcp 21,32768-60999 to role == \"db\""]);
    assert!(
        proposal.warnings[0].contains("db used 300 changing ports"),
        "{:?}",
        proposal.warnings
    );
    assert!(
        proposal.warnings[0].contains("32768-60999"),
        "{:?}",
        proposal.warnings
    );
    // Each from another peer, they are no services either.
    let seen: Vec<String> = (0..20)
        .map(|number| format!("out tcp 10.8.0.{number} {}", 33_000 + 7 * number))
        .collect();
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(bench.rules(&question(), &seen).len(), 1);
    // But next to each other they are one service's.
    let seen: Vec<String> = (0..20)
        .map(|number| format!("out tcp 10.8.0.1 {}", 40_000 + number))
        .collect();
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(
        bench.rules(&question(), &seen),
        ["tcp 40000-40019 to 10.8.0.1/32"]
    );
}

#[test]
fn a_scan_is_called_one_and_can_be_left_out() {
    let bench = Bench::new(&[]);
    let seen: Vec<String> = (0..200)
        .map(|number| format!("in tcp 192.0.2.66 {}", 1 + 2 * number))
        .collect();
    let mut seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    seen.push("in tcp 10.0.0.2 80");
    let proposal = bench.learn_from(&question(), &seen).unwrap();
    assert!(
        proposal.warnings[0]
            .starts_with("192.0.2.66 touched 200 ports of tcp ingress: that looks like a scan"),
        "{:?}",
        proposal.warnings
    );
    assert_eq!(proposal.rules.len(), 1 + 4, "fifty ports a rule");
    let exclude = vec!["192.0.2.66/32".parse().unwrap()];
    let without = Question {
        exclude,
        ..question()
    };
    assert_eq!(bench.rules(&without, &seen), ["tcp 80 from role == \"db\""]);
}

#[test]
fn few_rules_are_made_of_many_by_allowing_a_little_more() {
    let bench = Bench::new(&[]);
    let seen: Vec<String> = (1..60)
        .map(|number| format!("in tcp 10.8.0.{number} {}", 1000 + 2 * number))
        .collect();
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    let limits = Limits {
        rules: 10,
        ..Limits::default()
    };
    let few = Question { limits, ..question() };
    assert_eq!(bench.rules(&question(), &seen).len(), 59);
    let proposal = bench.learn_from(&few, &seen).unwrap();
    assert!(proposal.rules.len() <= 10, "{:#?}", proposal.rules);
    assert!(proposal.rules.iter().any(|learnt| learnt.mixed));
    assert!(
        proposal.text.contains("not every peer was seen at every port"),
        "{}",
        proposal.text
    );
    let limits = Limits {
        rules: 1,
        ..Limits::default()
    };
    let one = Question { limits, ..question() };
    let refused = bench.refused(&one, &["in tcp 10.0.0.2 80", "in udp 10.0.0.2 80"]);
    assert!(
        refused.contains("2 rules at least, and 1 are allowed"),
        "{refused}"
    );
}

#[test]
fn a_set_that_labels_cannot_name_is_allowed_whole() {
    let bench = Bench::new(&[
        object("GlobalNetworkSet", "plain", "nets: [10.20.0.0/16, 'fd20::/32']"),
        object("GlobalNetworkSet", "vast", "nets: [64.0.0.0/2]"),
        labelled("GlobalNetworkSet", "twin-1", "net: twin", "nets: [10.31.0.0/24]"),
        labelled("GlobalNetworkSet", "twin-2", "net: twin", "nets: [10.32.0.0/24]"),
        labelled("GlobalNetworkSet", "twin-3", "net: twin", "nets: [10.33.0.0/24]"),
    ]);
    for (of_set, name, allowed) in [
        ("in tcp 10.20.0.0 80", "plain", "tcp 80 from 10.20.0.0/16"),
        ("in tcp fd20:: 80", "plain", "tcp 80 from fd20::/32"),
        ("in tcp 64.0.0.0 80", "vast", "tcp 80 from 64.0.0.0/2"),
        ("in tcp 10.31.0.0 80", "twin-1", "tcp 80 from 10.31.0.0/24"),
    ] {
        let observed = Observed {
            stands_for_others: true,
            ..bench.saw(of_set)
        };
        let proposal = learn(&bench.snapshot, &bench.worlds, &question(), &[observed]).unwrap();
        assert_eq!(proposal.rules.iter().map(words).collect::<Vec<_>>(), [allowed]);
        let [warning] = proposal.warnings.as_slice() else {
            panic!("{:?}", proposal.warnings);
        };
        assert!(
            warning.contains(&format!("addresses of {name} that were not kept apart"))
                && warning.contains("all its networks"),
            "{warning}"
        );
        let from = format!("# from set {name} (addresses not kept apart)");
        assert!(proposal.text.contains(&from), "{}", proposal.text);
        assert!(
            proposal.text.contains("# at least 1 address seen, "),
            "{}",
            proposal.text
        );
    }
}

#[test]
fn a_set_of_more_networks_than_a_rule_can_have_is_anyone() {
    let nets: Vec<String> = (0..=Limits::MOST_NETS)
        .map(|number| format!("10.{}.{}.0/28", 40 + number / 100, number % 100))
        .collect();
    let spec = format!("nets: [{}]", nets.join(", "));
    let bench = Bench::new(&[object("GlobalNetworkSet", "scattered", &spec)]);
    let observed = Observed {
        stands_for_others: true,
        ..bench.saw("in tcp 10.40.0.0 80")
    };
    let proposal = learn(&bench.snapshot, &bench.worlds, &question(), &[observed]).unwrap();
    assert_eq!(words(&proposal.rules[0]), "tcp 80 from  over IPv4");
    assert!(
        proposal.warnings[0].contains("scattered") && proposal.warnings[0].contains("any IPv4 address"),
        "{:?}",
        proposal.warnings
    );
}
