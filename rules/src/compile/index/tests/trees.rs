//! What the index looks like, and how it follows a change.

use super::*;

/// As many policies for `web`, each with one rule by its place.
fn policies(count: usize, rule: impl Fn(usize) -> String) -> Worlds {
    let policies: Vec<String> = (0..count)
        .map(|place| {
            let rule = rule(place);
            let spec =
                format!("order: {place}, selector: role == 'web', ingress: [{{action: Allow, {rule}}}]");
            policy(&format!("p{place}"), &spec)
        })
        .collect();
    network(&policies)
}

fn port(place: usize) -> String {
    format!("protocol: TCP, destination: {{ports: [{}]}}", 1_000 + place)
}

fn net(place: usize) -> String {
    format!("source: {{nets: [10.{}.{}.0/24]}}", place / 200, place % 200)
}

fn options(walked: usize) -> Options {
    Options {
        index: Limits {
            walked,
            ..Limits::default()
        },
        ..Options::default()
    }
}

/// The chains of the index, by what their names have behind the tier's.
fn chains(compiled: &Compiled) -> Vec<(&str, &Arc<Chain>)> {
    let each = compiled.ruleset.chains.iter();
    each.filter_map(|chain| Some((chain.name.as_str().split("/eth0/").nth(1)?, chain)))
        .collect()
}

fn jumps(chain: &Chain) -> Vec<&str> {
    let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    statements
        .filter_map(|statement| match statement {
            Statement::Jump(to) => Some(to.as_str()),
            _ => None,
        })
        .collect()
}

fn longest(compiled: &Compiled) -> usize {
    let lengths = chains(compiled).into_iter().map(|(_, chain)| jumps(chain).len());
    lengths.max().unwrap()
}

fn size(compiled: &Compiled) -> usize {
    let elements = compiled
        .ruleset
        .maps
        .values()
        .map(|map| map.ways.chains().count());
    let rules = chains(compiled).into_iter().map(|(_, chain)| chain.rules.len());
    elements.sum::<usize>() + rules.sum::<usize>()
}

/// The last parts of the names of the policies' chains that a chain jumps to.
fn walked<'c>(chain: &'c Chain) -> Vec<&'c str> {
    let last = |name: &'c str| name.trim_end_matches('/').rsplit(['/', '-']).next();
    jumps(chain).into_iter().filter_map(last).collect()
}

#[test]
fn a_service_leads_to_its_policies_alone() {
    let compiled = compile(&policies(20, |place| port(place % 10)), &options(2));
    let [tier, index, port] = [0, 1, 2].map(|place| chains(&compiled)[place]);
    assert_eq!(walked(tier.1), ["index"]);
    assert_eq!(
        (index.0, walked(index.1)),
        ("02-default/index", vec![]),
        "what no rule is for meets the end of the tier"
    );
    assert_eq!(
        (port.0, walked(port.1)),
        ("02-default/tcp-1000", vec!["p0", "p10"])
    );
    assert_eq!(compiled.ruleset.maps.len(), 1);
}

#[test]
fn a_service_of_one_policy_leads_to_its_chain() {
    let compiled = compile(&policies(20, port), &options(2));
    let names: Vec<&str> = chains(&compiled).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["02-default", "02-default/index"]);
    let map = compiled.ruleset.maps.values().next().unwrap();
    assert!(
        map.ways
            .chains()
            .all(|chain| chain.as_str().starts_with("enforced/in/02-default/"))
    );
}

#[test]
fn what_matches_every_packet_first_or_last_is_in_no_list() {
    let ends = |place: usize| match place {
        0 | 19 => "notProtocol: UDP".to_owned(),
        _ => port(place),
    };
    let compiled = compile(&policies(20, ends), &options(2));
    let names: Vec<&str> = chains(&compiled).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["02-default", "02-default/index"]);
    assert_eq!(walked(chains(&compiled)[0].1), ["p0", "index", "p19"]);
}

#[test]
fn a_short_tier_has_no_index() {
    let compiled = compile(&policies(6, port), &options(6));
    assert!(compiled.ruleset.maps.is_empty());
}

#[test]
fn ports_and_addresses_by_turns_are_not_multiplied() {
    let mixed = |place: usize| {
        if place.is_multiple_of(2) {
            port(place)
        } else {
            net(place)
        }
    };
    let sizes = [100, 200, 400].map(|count| {
        let compiled = compile(&policies(count, mixed), &options(4));
        assert!(longest(&compiled) <= 30, "{}", longest(&compiled));
        size(&compiled)
    });
    assert!(sizes[1] < sizes[0] * 3 && sizes[2] < sizes[1] * 3, "{sizes:?}");
}

#[test]
fn what_cannot_be_looked_up_leaves_the_others_their_index() {
    let untied = |place: usize| match place % 10 {
        0 => "notProtocol: UDP".to_owned(),
        5 => "protocol: ICMP, icmp: {type: 8}".to_owned(),
        _ => port(place),
    };
    let compiled = compile(&policies(200, untied), &options(4));
    let (name, of_port) = chains(&compiled)
        .into_iter()
        .find(|(name, _)| name.ends_with("/tcp-1011"))
        .unwrap();
    // The 20 without a protocol, some of them in blocks, and the one that has the port.
    assert!(jumps(of_port).len() <= 21, "{name}");
}

#[test]
fn ranges_that_overlap_too_much_are_cut_into_stretches() {
    let overlapping = |place: usize| {
        let first = 1_000 + place * 37 % 400 * 100;
        let last = first + 19_999;
        format!("protocol: TCP, destination: {{ports: ['{first}:{last}']}}")
    };
    let compiled = compile(&policies(400, overlapping), &options(4));
    assert!(size(&compiled) < 400 * 64, "{}", size(&compiled));
    assert!(longest(&compiled) <= 100, "{}", longest(&compiled));
}

#[test]
fn rules_that_match_all_are_walked() {
    let compiled = compile(&policies(50, |_| "notProtocol: UDP".to_owned()), &options(4));
    assert!(compiled.ruleset.maps.is_empty());
    assert_eq!(longest(&compiled), 50);
}

/// The policy at the place says what the next one says.
fn change(worlds: &Worlds, place: usize) -> Worlds {
    let mut worlds = worlds.clone();
    let other = worlds.enforced.policies[place + 1].ingress.clone();
    let policies = Arc::make_mut(&mut worlds.enforced.policies);
    Arc::make_mut(&mut policies[place].policy).ingress = other;
    worlds
}

#[test]
fn lists_without_a_changed_policy_are_shared_with_the_generation_before() {
    let before = policies(200, port);
    let old = compile(&before, &options(4));
    let after = change(&before, 100);
    let new = compile_from(Some((&before, &old)), &after, &options(4));
    assert_eq!(new, compile(&after, &options(4)));
    let shared = |chain: &Arc<Chain>| old.ruleset.chains.iter().any(|other| Arc::ptr_eq(chain, other));
    let other: BTreeSet<&str> = chains(&new)
        .into_iter()
        .filter(|(_, chain)| !shared(chain))
        .map(|(name, _)| name.rsplit('/').next().unwrap())
        .collect();
    // The port that policy 100 no longer has leads nowhere; the one that it has now leads to both.
    assert_eq!(other, BTreeSet::from(["tcp-1101"]));
    let same = compile_from(Some((&before, &old)), &before, &options(4));
    let maps = |compiled: &Compiled| compiled.ruleset.maps.values().cloned().collect::<Vec<_>>();
    assert!(
        maps(&same)
            .iter()
            .zip(maps(&old))
            .all(|(map, other)| Arc::ptr_eq(map, &other))
    );
}

/// The policy at the place says what it did, and what the next one says.
fn extend(worlds: &Worlds, place: usize) -> Worlds {
    let mut worlds = worlds.clone();
    let both = [place, place + 1].map(|place| {
        let rules = worlds.enforced.policies[place].rules(Direction::Ingress);
        rules.unwrap().to_vec()
    });
    let policies = Arc::make_mut(&mut worlds.enforced.policies);
    Arc::make_mut(&mut policies[place].policy).ingress = Some(both.concat().into());
    worlds
}

#[test]
fn a_long_tier_follows_one_edit_after_the_other() {
    let rule = |place: usize| match place % 7 {
        0 => net(place),
        1 => format!("source: {{nets: [10.1.{}.1/32, 10.2.0.0/16]}}", place % 250),
        2 => format!("{}, source: {{nets: [10.3.0.{}/32]}}", port(0), place % 250),
        3 => format!("protocol: UDP, destination: {{ports: [{}]}}", place / 2),
        4 if place.is_multiple_of(3) => "protocol: TCP, destination: {ports: ['1000:9000']}".to_owned(),
        5 if place.is_multiple_of(3) => "source: {selector: net == 'lan'}".to_owned(),
        _ => port(place),
    };
    let options = options(2);
    let mut worlds = policies(240, rule);
    let mut compiled = compile(&worlds, &options);
    for edit in 0..24 {
        let place = edit * 37 % 230;
        let next = if edit % 2 == 0 {
            change(&worlds, place)
        } else {
            extend(&worlds, place)
        };
        let followed = compile_from(Some((&worlds, &compiled)), &next, &options);
        assert_eq!(followed, compile(&next, &options), "{edit}");
        (worlds, compiled) = (next, followed);
    }
}

#[test]
fn names_say_what_leads_there() {
    let compiled = compile(&policies(20, |place| port(place % 10)), &options(2));
    let names: Vec<&Name> = compiled.ruleset.maps.keys().collect();
    assert!(names[0].as_str().ends_with("/by-service"), "{names:?}");
    assert!(chains(&compiled)[0].1.name.as_str().ends_with("default"));
}
