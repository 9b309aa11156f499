use super::*;
use crate::net::Protocol;
use crate::ruleset::{Chain, Hook, HookPoint, LookupKey, VerdictMap, Ways};

const TERMS: Terms = Terms {
    window: Duration::from_mins(1),
    share: None,
};

fn name(text: &str) -> Name {
    Name::new(text)
}

fn rule(statement: Statement, matches: Vec<Match>) -> Rule {
    Rule {
        matches,
        statements: vec![statement],
        ..Rule::default()
    }
}

fn chain(text: &str, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name(text),
        hook: None,
        comment: Comment::default(),
        rules,
    }
}

fn base(text: &str, rules: Vec<Rule>) -> Chain {
    Chain {
        hook: Some(Hook {
            point: HookPoint::Input,
            priority: 0,
        }),
        ..chain(text, rules)
    }
}

fn jump(to: &str) -> Rule {
    rule(Statement::Jump(name(to)), Vec::new())
}

fn verdict(statement: Statement) -> Vec<Rule> {
    vec![rule(statement, Vec::new())]
}

fn ruleset(chains: Vec<Chain>) -> Ruleset {
    Ruleset {
        chains: chains.into_iter().map(Arc::new).collect(),
        ..Ruleset::default()
    }
}

/// A base chain that leads to these policies in order, each a chain that is called after its place.
fn policies(names: &[(&str, Statement)]) -> Ruleset {
    let places = || (1..).zip(names);
    let place = |(place, (text, _)): &(i32, &(&str, Statement))| format!("in/{place:03}-{text}");
    let mut chains = vec![base(
        "input",
        places().map(|policy| jump(&place(&policy))).collect(),
    )];
    chains.extend(places().map(|policy| Chain {
        comment: Comment::new(policy.1.0),
        ..chain(&place(&policy), verdict(policy.1.1.clone()))
    }));
    ruleset(chains)
}

/// The chains with their rules, one line each.
fn chains(ruleset: &Ruleset) -> Vec<String> {
    let line = |chain: &Arc<Chain>| {
        let rules: Vec<String> = chain.rules.iter().map(Rule::to_string).collect();
        format!("{}: {}", chain.name, rules.join("; "))
    };
    ruleset.chains.iter().map(line).collect()
}

const BACK: &str = "comment \"generation 12 was not confirmed: generation 11\"";

#[test]
fn what_differs_stands_aside_and_the_rest_is_there_once() {
    let of = |verdicts: Vec<Rule>| {
        ruleset(vec![
            base("input", vec![jump("both"), jump("other")]),
            base("output", vec![jump("both")]),
            chain("both", verdict(Statement::Return)),
            chain("other", verdicts),
        ])
    };
    let (candidate, previous) = (of(verdict(Statement::Drop)), of(verdict(Statement::Accept)));
    assert_eq!(
        chains(&beside(&candidate, &previous, &TERMS, (12, 11))),
        [
            format!("input: meta nfproto != @unconfirmed goto previous/input {BACK}; jump both; jump other"),
            "output: jump both".to_owned(),
            "both: return".to_owned(),
            "other: drop".to_owned(),
            "previous/input: jump both; jump previous/other".to_owned(),
            "previous/other: accept".to_owned(),
        ]
    );
}

#[test]
fn a_policy_in_the_middle_moves_none_of_the_others() {
    let previous = policies(&[("a", Statement::Return), ("c", Statement::Drop)]);
    let candidate = policies(&[
        ("a", Statement::Return),
        ("b", Statement::Accept),
        ("c", Statement::Drop),
    ]);
    assert_eq!(
        chains(&beside(&candidate, &previous, &TERMS, (12, 11))),
        [
            format!(
                "input: meta nfproto != @unconfirmed goto previous/input {BACK}; jump in/001-a; jump in/002-b; jump in/002-c"
            ),
            "in/001-a: return".to_owned(),
            "in/002-c: drop".to_owned(),
            "in/002-b: accept".to_owned(),
            "previous/input: jump in/001-a; jump in/002-c".to_owned(),
        ]
    );
}

#[test]
fn what_is_confirmed_keeps_its_names_and_its_order() {
    let previous = policies(&[("a", Statement::Return), ("c", Statement::Drop)]);
    let candidate = policies(&[
        ("a", Statement::Return),
        ("b", Statement::Accept),
        ("c", Statement::Drop),
    ]);
    assert_eq!(
        chains(&confirmed(&candidate, &previous)),
        [
            "input: jump in/001-a; jump in/002-b; jump in/002-c",
            "in/001-a: return",
            "in/002-c: drop",
            "in/002-b: accept",
        ]
    );
}

#[test]
fn a_name_that_means_another_chain_in_the_candidate_is_not_taken_over() {
    // What both call in/001-a are two chains, and each has the other's under another name.
    let previous = policies(&[("a", Statement::Return), ("a", Statement::Drop)]);
    let candidate = policies(&[("a", Statement::Drop), ("a", Statement::Return)]);
    assert_eq!(
        chains(&beside(&candidate, &previous, &TERMS, (12, 11))),
        [
            format!(
                "input: meta nfproto != @unconfirmed goto previous/input {BACK}; jump in/001-a; jump in/002-a"
            ),
            "in/001-a: drop".to_owned(),
            "in/002-a: return".to_owned(),
            "previous/input: jump in/002-a; jump in/001-a".to_owned(),
        ]
    );
}

#[test]
fn a_hook_that_only_one_has() {
    let both = base("input", verdict(Statement::Accept));
    let only = base("early", verdict(Statement::Drop));
    let with = ruleset(vec![both.clone(), only]);
    let without = ruleset(vec![both]);
    assert_eq!(
        chains(&beside(&with, &without, &TERMS, (12, 11))),
        [
            "input: accept".to_owned(),
            format!("early: meta nfproto != @unconfirmed accept {BACK}; drop"),
        ]
    );
    assert_eq!(
        chains(&beside(&without, &with, &TERMS, (12, 11))),
        [
            "input: accept".to_owned(),
            format!("early: meta nfproto != @unconfirmed goto previous/early {BACK}"),
            "previous/early: drop".to_owned(),
        ]
    );
}

#[test]
fn a_base_chain_that_moves_to_another_hook_is_two() {
    let at = |priority, statement| {
        let mut chain = base("input", verdict(statement));
        chain.hook.as_mut().unwrap().priority = priority;
        ruleset(vec![chain])
    };
    let both = beside(
        &at(1, Statement::Accept),
        &at(0, Statement::Drop),
        &TERMS,
        (12, 11),
    );
    assert_eq!(
        chains(&both),
        [
            format!("previous/hook/input: meta nfproto != @unconfirmed goto previous/input {BACK}"),
            format!("input: meta nfproto != @unconfirmed accept {BACK}; accept"),
            "previous/input: drop".to_owned(),
        ]
    );
    let priorities: Vec<_> = both
        .chains
        .iter()
        .map(|chain| chain.hook.map(|hook| hook.priority))
        .collect();
    assert_eq!(priorities, [Some(0), Some(1), None]);
}

#[test]
fn a_set_that_differs_makes_its_chains_differ() {
    let of = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        let set = Set {
            elements: Elements::Ipv4Addresses(addresses.collect()),
            comment: Comment::default(),
        };
        let condition = Match::AddressSet(
            crate::ruleset::Side::Source,
            Op::Is,
            Family::V4,
            name("ip4/clients"),
        );
        let mut ruleset = ruleset(vec![base(
            "input",
            vec![rule(Statement::Drop, vec![Match::Family(Family::V4), condition])],
        )]);
        ruleset.sets.insert(name("ip4/clients"), Arc::new(set));
        ruleset
    };
    let (candidate, previous) = (of(&["10.0.0.1"]), of(&["10.0.0.2"]));
    let both = beside(&candidate, &previous, &TERMS, (12, 11));
    assert_eq!(
        chains(&both),
        [
            format!(
                "input: meta nfproto != @unconfirmed goto previous/input {BACK}; ip saddr @ip4/clients drop"
            ),
            "previous/input: ip saddr @previous/ip4/clients drop".to_owned(),
        ]
    );
    let names: Vec<&str> = both.sets.keys().map(Name::as_str).collect();
    assert_eq!(names, ["ip4/clients", "previous/ip4/clients", "unconfirmed"]);
    assert_eq!(
        both.sets[&name("previous/ip4/clients")],
        previous.sets[&name("ip4/clients")]
    );
}

/// A base chain that looks a service up, and these chains behind it.
fn looked_up(map: &str, to: &str, rules: Vec<Rule>) -> Ruleset {
    let lookup = rule(Statement::Lookup(LookupKey::Service, name(map)), Vec::new());
    let map_to = VerdictMap {
        ways: Ways::Services([((Protocol::TCP, 443), name(to))].into()),
        comment: Comment::default(),
    };
    let mut ruleset = ruleset(vec![base("input", vec![lookup]), chain(to, rules)]);
    ruleset.maps.insert(name(map), Arc::new(map_to));
    ruleset
}

fn ways(ruleset: &Ruleset) -> Vec<String> {
    let each = ruleset.maps.iter();
    each.map(|(name, map)| {
        let chains: Vec<&str> = map.ways.chains().map(Name::as_str).collect();
        format!("{name}: {}", chains.join(", "))
    })
    .collect()
}

#[test]
fn a_map_leads_to_the_chains_of_its_own_generation() {
    let candidate = looked_up("by-service", "tcp-443", verdict(Statement::Drop));
    let previous = looked_up("by-service", "tcp-443", verdict(Statement::Accept));
    let both = beside(&candidate, &previous, &TERMS, (12, 11));
    assert_eq!(
        chains(&both),
        [
            format!(
                "input: meta nfproto != @unconfirmed goto previous/input {BACK}; meta l4proto . th dport vmap @by-service"
            ),
            "tcp-443: drop".to_owned(),
            "previous/input: meta l4proto . th dport vmap @previous/by-service".to_owned(),
            "previous/tcp-443: accept".to_owned(),
        ]
    );
    assert_eq!(
        ways(&both),
        ["by-service: tcp-443", "previous/by-service: previous/tcp-443"]
    );
}

#[test]
fn a_map_that_is_the_same_but_for_names_is_there_once() {
    let candidate = looked_up("in/2/by-service", "in/2/tcp-443", verdict(Statement::Drop));
    let previous = looked_up("in/1/by-service", "in/1/tcp-443", verdict(Statement::Drop));
    let both = beside(&candidate, &previous, &TERMS, (12, 11));
    assert_eq!(
        chains(&both),
        [
            "input: meta l4proto . th dport vmap @in/1/by-service",
            "in/1/tcp-443: drop",
        ]
    );
    assert_eq!(ways(&both), ["in/1/by-service: in/1/tcp-443"]);
    assert_eq!(confirmed(&candidate, &previous).maps, both.maps);
}

#[test]
fn a_canary_governs_its_share_of_both_families() {
    let terms = Terms {
        share: Some("10%".parse().unwrap()),
        ..TERMS
    };
    let candidate = ruleset(vec![base("input", verdict(Statement::Drop))]);
    let previous = ruleset(vec![base("input", verdict(Statement::Accept))]);
    let both = beside(&candidate, &previous, &terms, (12, 11));
    let canary = "comment \"canary, no security state: generation 12 governs 10 % only\"";
    assert_eq!(
        chains(&both),
        [
            [
                "input: meta nfproto != @unconfirmed goto previous/input comment \"the canary is over\"",
                &format!(
                    "jhash ip saddr . th sport mod 100 seed 0x70616c69 >= 10 goto previous/input {canary}"
                ),
                &format!(
                    "jhash ip6 saddr . th sport mod 100 seed 0x70616c69 >= 10 goto previous/input {canary}"
                ),
                "drop"
            ]
            .join("; "),
            "previous/input: accept".to_owned(),
        ]
    );
    assert_eq!(
        both.sets[&name(SET)].comment.as_str(),
        "canary, no security state: generation 12 for 10 %, until this set is empty"
    );
}

#[test]
fn counters_are_those_of_both() {
    let of = |counter: &str| Ruleset {
        counters: [(name(counter), Comment::new(counter))].into(),
        ..Ruleset::default()
    };
    let both = beside(&of("new"), &of("old"), &TERMS, (12, 11));
    let names: Vec<&str> = both.counters.keys().map(Name::as_str).collect();
    assert_eq!(names, ["new", "old"]);
}

#[test]
fn a_window_never_rounds_to_for_ever() {
    let terms = Terms {
        window: Duration::ZERO,
        ..TERMS
    };
    let both = beside(&Ruleset::default(), &Ruleset::default(), &terms, (12, 11));
    assert_eq!(
        both.sets[&name(SET)].elements,
        Elements::Families(Family::BOTH.to_vec(), MIN_TIMEOUT)
    );
}

#[test]
fn what_is_left_of_the_window_is_no_change() {
    let left = |seconds| Terms {
        window: Duration::from_secs(seconds),
        ..TERMS
    };
    let of = |terms: &Terms, numbers| beside(&Ruleset::default(), &Ruleset::default(), terms, numbers);
    let changes = |new: &Ruleset| crate::ruleset::changes::Changes::between(&of(&TERMS, (12, 11)), new);
    assert!(changes(&of(&left(20), (12, 11))).is_empty());
    assert_eq!(changes(&of(&left(20), (13, 11))).sets.len(), 1);
}

#[test]
fn shares_are_whole_percent() {
    for (text, percent) in [("1", Some(1)), ("25%", Some(25)), ("99", Some(99))] {
        assert_eq!(text.parse::<Percent>().ok().map(Percent::get), percent);
    }
    for text in ["0", "100", "-1", "1.5", "%", "", "25%%", "256"] {
        let error = text.parse::<Percent>().unwrap_err().to_string();
        assert!(error.contains("from 1 to 99"), "{error}");
    }
    assert!(serde_json::from_str::<Percent>("100").is_err());
    assert_eq!(
        serde_json::to_string(&Percent::try_from(5).unwrap()).unwrap(),
        "5"
    );
}
