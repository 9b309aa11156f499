//! What every ruleset looks like, whatever the policies say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_rules::compile::{Compiled, MARK_ALL};
use palisade_rules::net::{Family, PortRange};
use palisade_rules::ruleset::{Chain, Elements, MAX_COMMENT, Match, Name, Rule, Ruleset, Set, Statement};

use crate::interpreter::MAX_JUMPS;

/// Whether the chain belongs to the preview, by its name.
pub(crate) fn is_preview_name(name: &str) -> bool {
    name.starts_with("preview/") || name.split('/').nth(2) == Some("preview")
}

/// Whether the chain belongs to the preview.
pub(crate) fn is_preview(chain: &Chain) -> bool {
    is_preview_name(chain.name.as_str())
}

/// Checks that one ruleset is another with nothing but previews added: every chain that decides is there and decides the
/// same, and chains that only one of them has deny nothing. What may be more is what leads to the preview, what carries
/// its marks past what is accepted, and what takes them off; and the failsafes of workloads' interfaces, which are there
/// where a `*` host endpoint is asked in either world: they only accept, where nobody else is asked.
pub(crate) fn assert_only_preview_is_more(staged: &Compiled, bare: &Compiled) {
    let decides = |compiled: &Compiled| -> BTreeMap<String, Vec<Rule>> {
        let chains = compiled.ruleset.chains.iter();
        chains
            .filter(|chain| chain.hook.is_none() && !is_preview(chain))
            .map(|chain| {
                (
                    chain.name.to_string(),
                    chain.rules.iter().filter_map(without_marks).collect(),
                )
            })
            .collect()
    };
    let (staged, bare) = (decides(staged), decides(bare));
    for (name, rules) in &bare {
        assert_eq!(staged.get(name), Some(rules), "{name}");
    }
    for (name, rules) in staged.iter().filter(|(name, _)| !bare.contains_key(*name)) {
        let mut statements = rules.iter().flat_map(|rule| &rule.statements);
        let denies = |statement: &Statement| {
            matches!(statement, Statement::Goto(_))
                || statement.ends_packet() && *statement != Statement::Accept
        };
        assert!(
            !statements.any(denies),
            "{name} is there because of what is staged, and denies"
        );
    }
}

/// The rule without what the preview needs of it; `None` if it is there for nothing else.
fn without_marks(rule: &Rule) -> Option<Rule> {
    let comment = rule.comment.as_str();
    let serves_preview = [
        "preview",
        "nothing passed yet",
        "no mark yet",
        "allowed at an earlier stage",
        "a workload and its host find each other",
    ];
    if serves_preview.iter().any(|what| comment.starts_with(what)) {
        return None;
    }
    let sheds_marks = Statement::SetMark {
        mask: MARK_ALL,
        value: 0,
    };
    let mut rule = rule.clone();
    rule.statements.retain(|statement| *statement != sheds_marks);
    Some(rule)
}

/// Checks everything that is true of every ruleset.
pub(crate) fn assert_well_formed(compiled: &Compiled) {
    let chains = &compiled.ruleset.chains;
    let by_name: BTreeMap<&Name, &Chain> = chains.iter().map(|chain| (&chain.name, &**chain)).collect();
    assert_eq!(by_name.len(), chains.len(), "two chains have one name");
    let bases = chains.iter().take_while(|chain| chain.hook.is_some()).count();
    assert!(
        chains[bases..].iter().all(|chain| chain.hook.is_none()),
        "the base chains come first"
    );
    let hooks: BTreeSet<_> = chains
        .iter()
        .filter_map(|chain| chain.hook.map(|hook| (hook.point, hook.priority)))
        .collect();
    assert_eq!(hooks.len(), bases, "two base chains at one place have no order");
    let has = |name: &str| by_name.contains_key(&Name::new(name));
    assert!(has("input") && has("output"), "these are always there");

    let mut reached = BTreeSet::new();
    // A service that does not run has its chains ready, and nothing leads there yet.
    let is_service = |chain: &Chain| {
        let place = chain.name.as_str().split_once('/');
        place.is_some_and(|(way, name)| way.starts_with("service-") && !name.contains('/'))
    };
    for chain in chains {
        if chain.hook.is_some() || is_service(chain) {
            visit(
                &compiled.ruleset,
                &by_name,
                chain,
                usize::from(chain.hook.is_none()),
                &mut reached,
            );
        }
    }
    for chain in chains {
        // The index leaves out a policy that matches nothing; its chain is there to be read.
        let is_policy = matches!(
            chain.name.as_str().split('/').next(),
            Some("preview" | "enforced")
        );
        assert!(
            is_policy || reached.contains(&chain.name),
            "nothing leads to {}",
            chain.name
        );
        assert_rules(compiled, chain);
    }
    assert_preview_is_harmless(&compiled.ruleset, &by_name);
    assert_order(chains);
    assert_counters(compiled);
    for name in compiled.ruleset.maps.keys() {
        let mut statements = chains
            .iter()
            .flat_map(|chain| &chain.rules)
            .flat_map(|rule| &rule.statements);
        assert!(
            statements.any(|statement| matches!(statement, Statement::Lookup(_, map) if map == name)),
            "nothing looks at {name}"
        );
    }
    let used: BTreeSet<&Name> = chains
        .iter()
        .flat_map(|chain| &chain.rules)
        .flat_map(|rule| &rule.matches)
        .filter_map(|condition| match condition {
            Match::AddressSet(.., name) | Match::PortSet(.., name) | Match::NamedPortSet(.., name) => {
                Some(name)
            }
            _ => None,
        })
        .collect();
    for (name, set) in &compiled.ruleset.sets {
        assert!(used.contains(name), "nothing looks at {name}");
        assert_set(name, set);
    }
}

fn visit<'a>(
    ruleset: &Ruleset,
    chains: &BTreeMap<&Name, &'a Chain>,
    chain: &'a Chain,
    jumps: usize,
    reached: &mut BTreeSet<&'a Name>,
) {
    assert!(jumps <= MAX_JUMPS, "{} is {jumps} jumps deep", chain.name);
    reached.insert(&chain.name);
    for target in targets(ruleset, chain) {
        let target = chains.get(target).unwrap_or_else(|| {
            panic!("{} leads to {target}, which is not there", chain.name);
        });
        visit(ruleset, chains, target, jumps + 1, reached);
    }
}

/// The chains that a chain leads to, each lookup's in order of the keys.
fn targets<'a>(ruleset: &'a Ruleset, chain: &'a Chain) -> Vec<&'a Name> {
    let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    statements
        .flat_map(|statement| match statement {
            Statement::Jump(name) | Statement::Goto(name) => vec![name],
            Statement::Lookup(_, map) => ruleset.maps[map].ways.chains().collect(),
            _ => Vec::new(),
        })
        .collect()
}

/// No chain that a preview chain leads to can end a packet, and none of them decides.
fn assert_preview_is_harmless(ruleset: &Ruleset, chains: &BTreeMap<&Name, &Chain>) {
    for chain in chains.values().filter(|chain| is_preview(chain)) {
        let mut reached = BTreeSet::new();
        visit(ruleset, chains, chain, 0, &mut reached);
        for name in reached {
            assert!(is_preview_name(name.as_str()), "{} leads to {name}", chain.name);
            let mut statements = chains[name].rules.iter().flat_map(|rule| &rule.statements);
            assert!(
                statements.all(|statement| !statement.ends_packet()),
                "{name} is not harmless"
            );
        }
    }
}

/// Policy chains of one world and direction stand, and sort by name, in the order in which they are jumped to; so do
/// the tiers of one endpoint.
fn assert_order(chains: &[Arc<Chain>]) {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for chain in chains {
        let name = chain.name.as_str();
        let words: Vec<&str> = name.split('/').collect();
        if matches!(words[0], "preview" | "enforced") {
            groups.entry(words[..2].join("/")).or_default().push(name);
        }
        let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
        let jumped: Vec<&str> = statements
            .filter_map(|statement| match statement {
                Statement::Jump(name) | Statement::Goto(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let (policies, tiers): (Vec<&str>, Vec<&str>) = jumped
            .into_iter()
            .filter(|target| !target.starts_with("failsafe/") && *target != "rejected")
            // Each endpoint has its profiles in an order of its own.
            .filter(|target| target.split('/').nth(2) != Some("profile"))
            .partition(|target| target.starts_with("preview/") || target.starts_with("enforced/"));
        assert!(policies.is_sorted(), "{name} jumps to {policies:?}");
        let tiers: Vec<&str> = tiers
            .into_iter()
            .filter(|target| !target.ends_with("/preview"))
            .collect();
        assert!(
            chain.hook.is_some() || tiers.is_sorted(),
            "{name} jumps to {tiers:?}"
        );
    }
    for names in groups.values() {
        assert!(names.is_sorted(), "{names:?}");
    }
}

fn assert_rules(compiled: &Compiled, chain: &Chain) {
    for rule in &chain.rules {
        let comment = rule.comment.as_str();
        assert!(
            !comment.is_empty() && comment.len() <= MAX_COMMENT,
            "{}: {rule}",
            chain.name
        );
        assert!(!rule.statements.is_empty(), "{}: {rule}", chain.name);
        for statement in &rule.statements {
            match statement {
                Statement::Counter(name) => {
                    assert!(
                        compiled.ruleset.counters.contains_key(name),
                        "{name} is not declared"
                    );
                    assert!(compiled.counters.contains_key(name), "{name} means nothing");
                }
                Statement::Log(log) => assert!(log.prefix.len() <= 127, "{}", log.prefix),
                _ => {}
            }
        }
        for condition in &rule.matches {
            match condition {
                Match::AddressSet(_, _, family, name) => {
                    let elements = &compiled.ruleset.sets[name].elements;
                    let held = match elements {
                        Elements::Ipv4Addresses(_) | Elements::Ipv4Nets(_) => Family::V4,
                        Elements::Ipv6Addresses(_) | Elements::Ipv6Nets(_) => Family::V6,
                        other => panic!("{name} holds no addresses alone: {other:?}"),
                    };
                    assert_eq!(held, *family, "{name}");
                }
                Match::NamedPortSet(_, _, family, name) => {
                    let held = match &compiled.ruleset.sets[name].elements {
                        Elements::Ipv4NamedPorts(_) => Family::V4,
                        Elements::Ipv6NamedPorts(_) => Family::V6,
                        other => panic!("{name} holds no named ports: {other:?}"),
                    };
                    assert_eq!(held, *family, "{name}");
                }
                Match::PortSet(_, _, name) => {
                    let elements = &compiled.ruleset.sets[name].elements;
                    assert!(matches!(elements, Elements::Ports(_)), "{name} holds no ports");
                }
                Match::Address(_, _, net) => {
                    assert!(net.prefix_len() > 0, "{rule}: everything is no condition");
                }
                _ => {}
            }
        }
    }
}

fn assert_counters(compiled: &Compiled) {
    let declared: Vec<&Name> = compiled.ruleset.counters.keys().collect();
    let meant: Vec<&Name> = compiled.counters.keys().collect();
    assert_eq!(declared, meant);
    for (name, comment) in &compiled.ruleset.counters {
        assert!(!comment.as_str().is_empty(), "{name} has no comment");
    }
}

/// Sorted, disjoint, not touching, and not everything.
fn assert_set(name: &Name, set: &Set) {
    fn ascending<T: Ord>(name: &Name, items: &[T]) {
        assert!(items.is_sorted_by(|a, b| a < b), "{name} is not in order");
    }
    match &set.elements {
        Elements::Ipv4Addresses(addresses) => ascending(name, addresses),
        Elements::Ipv6Addresses(addresses) => ascending(name, addresses),
        Elements::Ipv4Nets(nets) => {
            assert!(
                nets.is_sorted_by(|a, b| a.broadcast() < b.network()),
                "{name}: {nets:?}"
            );
            assert!(nets.iter().all(|net| net.prefix_len() > 0), "{name}: {nets:?}");
        }
        Elements::Ipv6Nets(nets) => {
            assert!(
                nets.is_sorted_by(|a, b| a.broadcast() < b.network()),
                "{name}: {nets:?}"
            );
            assert!(nets.iter().all(|net| net.prefix_len() > 0), "{name}: {nets:?}");
        }
        Elements::Ports(ranges) => {
            let apart = |a: &PortRange, b: &PortRange| u32::from(a.last) + 1 < u32::from(b.first);
            assert!(ranges.is_sorted_by(apart), "{name}: {ranges:?}");
        }
        Elements::Ipv4NamedPorts(named) => ascending(name, named),
        Elements::Ipv6NamedPorts(named) => ascending(name, named),
        Elements::Families(families, _) => ascending(name, families),
    }
    assert!(!set.comment.as_str().is_empty(), "{name} has no comment");
}
