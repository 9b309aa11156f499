//! What differs between two rulesets, for people.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Chain, Elements, Name, Rule, Ruleset, Set, VerdictMap};

/// How far a chain that two rulesets share is looked for: this many chains in a row may come or go.
const FAR: usize = 64;

/// What differs. The order of chains, which the kernel keeps for whoever lists them, is no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// In the order of the new ruleset, then what is removed.
    pub chains: Vec<ChainChange>,
    /// By name.
    pub sets: Vec<SetChange>,
    /// Verdict maps, by name.
    #[serde(default)]
    pub maps: Vec<SetChange>,
    /// By name.
    pub counters: Vec<CounterChange>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It comes.
    Added,
    /// It stays, and is another.
    Changed,
    /// It goes.
    Removed,
}

/// A chain that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
    /// The rules that come, as nft text, in order.
    pub rules_added: Vec<String>,
    /// The rules that go. Where neither comes nor goes any, they stand in another order.
    pub rules_removed: Vec<String>,
}

/// A set or a map that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
    /// How many elements come.
    pub elements_added: usize,
    /// How many elements go.
    pub elements_removed: usize,
}

/// A counter that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
}

impl Changes {
    /// What makes one ruleset into another.
    pub fn between(old: &Ruleset, new: &Ruleset) -> Self {
        let (had, has) = unshared(&old.chains, &new.chains);
        let old_chains: BTreeMap<&Name, &Chain> = had.iter().map(|chain| (&chain.name, *chain)).collect();
        let stays: BTreeSet<&Name> = has.iter().map(|chain| &chain.name).collect();
        let comes_or_stays = has
            .iter()
            .filter_map(|chain| chain_change(old_chains.get(&chain.name).copied(), Some(chain)));
        let gone = had.iter().filter(|chain| !stays.contains(&chain.name));
        let goes = gone.filter_map(|chain| chain_change(Some(chain), None));
        Changes {
            chains: comes_or_stays.chain(goes).collect(),
            sets: by_name(&old.sets, &new.sets)
                .filter(|(_, had, has)| !had.zip(*has).is_some_and(|(had, has)| is_ticking(had, has)))
                .filter_map(|(name, had, has)| set_change(name, had, has))
                .collect(),
            maps: by_name(&old.maps, &new.maps)
                .filter_map(|(name, had, has)| map_change(name, had, has))
                .collect(),
            counters: new
                .counters
                .differences(&old.counters)
                .into_iter()
                .filter_map(|(name, was, is)| {
                    let change = match (was, is) {
                        (None, Some(_)) => Change::Added,
                        (Some(_), None) => Change::Removed,
                        _ => return None,
                    };
                    let name = name.to_string();
                    Some(CounterChange { name, change })
                })
                .collect(),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// The chains of two rulesets that they do not share, in order: nothing differs but among these. One that both share, at
/// places far apart, may be among them.
pub fn unshared<'o, 'n>(old: &'o [Arc<Chain>], new: &'n [Arc<Chain>]) -> (Vec<&'o Chain>, Vec<&'n Chain>) {
    let (mut had, mut has) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old, new);
    while let (Some(was), Some(is)) = (old.first(), new.first()) {
        if Arc::ptr_eq(was, is) {
            (old, new) = (&old[1..], &new[1..]);
            continue;
        }
        let gone = old.iter().take(FAR).position(|chain| Arc::ptr_eq(chain, is));
        let come = new.iter().take(FAR).position(|chain| Arc::ptr_eq(chain, was));
        let (gone, come) = match (gone, come) {
            (None, None) => (1, 1),
            (Some(gone), Some(come)) if gone > come => (0, come),
            (Some(gone), _) => (gone, 0),
            (None, Some(come)) => (0, come),
        };
        had.extend(old[..gone].iter().map(Arc::as_ref));
        has.extend(new[..come].iter().map(Arc::as_ref));
        (old, new) = (&old[gone..], &new[come..]);
    }
    had.extend(old.iter().map(Arc::as_ref));
    has.extend(new.iter().map(Arc::as_ref));
    (had, has)
}

fn chain_change(old: Option<&Chain>, new: Option<&Chain>) -> Option<ChainChange> {
    if old == new {
        return None;
    }
    let rules = |chain: Option<&Chain>| texts(chain.map(|chain| chain.rules.as_slice()).unwrap_or_default());
    let (had, has) = (rules(old), rules(new));
    Some(ChainChange {
        name: old.or(new)?.name.to_string(),
        change: change(old, new),
        rules_added: without(&has, &had),
        rules_removed: without(&had, &has),
    })
}

/// What stands at each name, in order of the names.
fn by_name<'a, V>(
    old: &'a BTreeMap<Name, Arc<V>>,
    new: &'a BTreeMap<Name, Arc<V>>,
) -> impl Iterator<Item = (&'a Name, Option<&'a V>, Option<&'a V>)> {
    let (mut had, mut has) = (old.iter().peekable(), new.iter().peekable());
    let both = std::iter::from_fn(move || {
        let order = match (had.peek(), has.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((was, _)), Some((is, _))) => was.cmp(is),
        };
        let was = had.next_if(|_| order.is_le());
        let is = has.next_if(|_| order.is_ge());
        let (name, _) = is.or(was)?;
        Some((name, was.map(|(_, value)| value), is.map(|(_, value)| value)))
    });
    let is_shared =
        |was: Option<&Arc<V>>, is: Option<&Arc<V>>| was.zip(is).is_some_and(|(was, is)| Arc::ptr_eq(was, is));
    both.filter(move |(_, was, is)| !is_shared(*was, *is))
        .map(|(name, was, is)| (name, was.map(Arc::as_ref), is.map(Arc::as_ref)))
}

fn set_change(name: &Name, old: Option<&Set>, new: Option<&Set>) -> Option<SetChange> {
    if old == new {
        return None;
    }
    let all = |set: Option<&Set>| set.map(|set| elements(&set.elements)).unwrap_or_default();
    let (had, has) = (all(old), all(new));
    Some(SetChange {
        name: name.to_string(),
        change: change(old, new),
        elements_added: has.difference(&had).count(),
        elements_removed: had.difference(&has).count(),
    })
}

fn map_change(name: &Name, old: Option<&VerdictMap>, new: Option<&VerdictMap>) -> Option<SetChange> {
    if old == new {
        return None;
    }
    let all = |map: Option<&VerdictMap>| map.map_or(0, |map| map.ways.len());
    let both = old
        .zip(new)
        .and_then(|(old, new)| new.ways.differences(&old.ways));
    let (removed, added) = both.map_or_else(|| (all(old), all(new)), |(was, is)| (was.len(), is.len()));
    Some(SetChange {
        name: name.to_string(),
        change: change(old, new),
        elements_added: added,
        elements_removed: removed,
    })
}

/// Whether the two differ by what the kernel takes away by itself, and nothing else: the set stays as it is.
fn is_ticking(old: &Set, new: &Set) -> bool {
    let has_timeout = |set: &Set| matches!(set.elements, Elements::Families(..));
    has_timeout(old) && has_timeout(new) && old.comment == new.comment
}

fn change<T>(old: Option<&T>, new: Option<&T>) -> Change {
    match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    }
}

fn texts(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(Rule::to_string).collect()
}

/// Those of `some` that are not among `others`, each as often as it is there more often.
fn without(some: &[String], others: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for text in others {
        *left.entry(text).or_default() += 1;
    }
    let is_more = |text: &&String| match left.get_mut(text.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    some.iter().filter(is_more).cloned().collect()
}

fn elements(elements: &Elements) -> BTreeSet<String> {
    fn each<T: Display>(elements: &[T]) -> BTreeSet<String> {
        elements.iter().map(T::to_string).collect()
    }
    fn named<T: Display, P: Display>(elements: &[(T, P, u16)]) -> BTreeSet<String> {
        let text = |(address, protocol, port): &(T, P, u16)| format!("{address} . {protocol} . {port}");
        elements.iter().map(text).collect()
    }
    match elements {
        Elements::Ipv4Addresses(elements) => each(elements),
        Elements::Ipv6Addresses(elements) => each(elements),
        Elements::Ipv4Nets(elements) => each(elements),
        Elements::Ipv6Nets(elements) => each(elements),
        Elements::Ports(elements) => each(elements),
        Elements::Ipv4NamedPorts(elements) => named(elements),
        Elements::Ipv6NamedPorts(elements) => named(elements),
        Elements::Families(elements, _) => each(elements),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::ruleset::{Comment, Statement};

    fn chain(name: &str, statements: &[Statement]) -> Arc<Chain> {
        let rule = |statement: &Statement| Rule {
            statements: vec![statement.clone()],
            ..Rule::default()
        };
        Arc::new(Chain {
            name: Name::new(name),
            hook: None,
            comment: Comment::default(),
            rules: statements.iter().map(rule).collect(),
        })
    }

    fn set(addresses: &[&str]) -> Arc<Set> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        Arc::new(Set {
            elements: Elements::Ipv4Addresses(addresses.collect()),
            comment: Comment::default(),
        })
    }

    #[test]
    fn what_comes_what_goes_and_what_changes() {
        let (accept, drop, back) = (Statement::Accept, Statement::Drop, Statement::Return);
        let old = Ruleset {
            chains: vec![
                chain("same", from_ref(&accept)),
                chain("edited", &[back.clone(), drop.clone(), drop.clone()]),
                chain("turned", &[back.clone(), drop.clone()]),
                chain("goes", from_ref(&accept)),
            ],
            sets: [(Name::new("s"), set(&["10.0.0.1", "10.0.0.2"]))].into(),
            counters: [(Name::new("old"), Comment::default())].into(),
            ..Ruleset::default()
        };
        let new = Ruleset {
            chains: vec![
                chain("comes", from_ref(&drop)),
                chain("same", from_ref(&accept)),
                chain("edited", &[back.clone(), drop.clone(), accept]),
                chain("turned", &[drop, back]),
            ],
            sets: [(Name::new("s"), set(&["10.0.0.2", "10.0.0.3", "10.0.0.4"]))].into(),
            counters: [(Name::new("new"), Comment::default())].into(),
            ..Ruleset::default()
        };
        assert!(Changes::between(&old, &old).is_empty());
        let changes = Changes::between(&old, &new);
        let chains: Vec<_> = changes
            .chains
            .iter()
            .map(|chain| {
                let [added, removed] =
                    [&chain.rules_added, &chain.rules_removed].map(|rules| rules.join(";"));
                (chain.name.as_str(), chain.change, added, removed)
            })
            .collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            chains,
            [
                ("comes", Change::Added, text("drop"), text("")),
                ("edited", Change::Changed, text("accept"), text("drop")),
                ("turned", Change::Changed, text(""), text("")),
                ("goes", Change::Removed, text(""), text("accept")),
            ]
        );
        assert_eq!(
            (changes.sets[0].elements_added, changes.sets[0].elements_removed),
            (2, 1)
        );
        let counters: Vec<_> = changes
            .counters
            .iter()
            .map(|counter| (counter.name.as_str(), counter.change))
            .collect();
        assert_eq!(counters, [("new", Change::Added), ("old", Change::Removed)]);
    }
}
