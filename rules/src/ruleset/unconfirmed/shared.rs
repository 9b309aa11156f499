//! What two generations have in common, and how their chains, sets and maps are called in one table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::twins::Twins;
use super::{Doors, PREVIOUS};
use crate::ruleset::{Chain, Match, Name, Rule, Ruleset, Set, Statement, VerdictMap};

/// Two generations in one table.
pub(super) struct Shared<'a> {
    candidate: &'a Ruleset,
    previous: &'a Ruleset,
    /// For each chain of the previous generation, the candidate's chain that is the same with all that it leads to.
    twins: Vec<Option<usize>>,
    of_candidate: Names<'a>,
    of_previous: Names<'a>,
}

/// What the chains, sets and maps of one generation are called.
struct Names<'a> {
    chains: BTreeMap<&'a Name, Name>,
    /// Those that are called otherwise than in a table of their own.
    sets: BTreeMap<&'a Name, Name>,
    maps: BTreeMap<&'a Name, Name>,
}

impl<'a> Shared<'a> {
    /// Finds what both have, and names the rest.
    pub(super) fn new(candidate: &'a Ruleset, previous: &'a Ruleset) -> Self {
        let twins = Twins::new(candidate, previous).find();
        let own: BTreeSet<&Name> = candidate.chains.iter().map(|chain| &chain.name).collect();
        let mut candidate_names: BTreeMap<&Name, Name> =
            own.iter().map(|&name| (name, name.clone())).collect();
        for (chain, twin) in previous.chains.iter().zip(&twins) {
            // The kernel has it under this name already.
            if let Some(twin) = twin.filter(|_| !own.contains(&chain.name)) {
                candidate_names.insert(&candidate.chains[twin].name, chain.name.clone());
            }
        }
        let taken: BTreeSet<&Name> = candidate_names.values().collect();
        let previous_names = previous
            .chains
            .iter()
            .zip(&twins)
            .map(|(chain, twin)| {
                let name = match twin {
                    Some(twin) => candidate_names[&candidate.chains[*twin].name].clone(),
                    None if chain.hook.is_some() || taken.contains(&chain.name) => aside(&chain.name),
                    None => chain.name.clone(),
                };
                (&chain.name, name)
            })
            .collect();
        let set_names = previous
            .sets
            .iter()
            .map(|(name, set)| match candidate.sets.get(name) {
                Some(other) if other != set => (name, aside(name)),
                _ => (name, name.clone()),
            })
            .collect();
        let (candidate_maps, previous_maps) = map_names(candidate, previous, &twins);
        Shared {
            candidate,
            previous,
            twins,
            of_candidate: Names {
                chains: candidate_names,
                sets: BTreeMap::new(),
                maps: candidate_maps,
            },
            of_previous: Names {
                chains: previous_names,
                sets: set_names,
                maps: previous_maps,
            },
        }
    }

    /// The candidate with the names, and in the order, that it has here.
    pub(super) fn candidate_alone(&self) -> Ruleset {
        let mut places: BTreeMap<&Name, usize> = BTreeMap::new();
        for (place, chain) in self.previous.chains.iter().enumerate() {
            places.insert(&chain.name, place);
        }
        let mut chains: Vec<Arc<Chain>> = self
            .candidate
            .chains
            .iter()
            .map(|chain| self.of_candidate.chain(chain))
            .collect();
        // What the previous generation has no name for stays behind, in order.
        chains.sort_by_key(|chain| {
            (
                chain.hook.is_none(),
                places.get(&chain.name).copied().unwrap_or(usize::MAX),
            )
        });
        Ruleset {
            chains,
            maps: self.maps_of_candidate(),
            ..self.candidate.clone()
        }
    }

    /// The sets of both.
    pub(super) fn sets(&self) -> BTreeMap<Name, Arc<Set>> {
        let of_previous = self.previous.sets.iter();
        let mut sets: BTreeMap<Name, Arc<Set>> = of_previous
            .map(|(name, set)| (self.of_previous.sets[name].clone(), set.clone()))
            .collect();
        sets.extend(self.candidate.sets.clone());
        sets
    }

    /// The maps of both; what twins look into is there once.
    pub(super) fn maps(&self) -> BTreeMap<Name, Arc<VerdictMap>> {
        let of_previous = self.previous.maps.iter();
        let mut maps: BTreeMap<Name, Arc<VerdictMap>> = of_previous
            .map(|(name, map)| self.of_previous.map(name, map))
            .collect();
        maps.extend(self.maps_of_candidate());
        maps
    }

    fn maps_of_candidate(&self) -> BTreeMap<Name, Arc<VerdictMap>> {
        let maps = self.candidate.maps.iter();
        maps.map(|(name, map)| self.of_candidate.map(name, map)).collect()
    }

    /// The base chains of both, those of the previous generation first: the kernel has them already. What hangs at one
    /// place in both is one chain.
    pub(super) fn base_chains(&self, doors: &Doors) -> Vec<Arc<Chain>> {
        let mut chains = Vec::new();
        let mut met = BTreeSet::new();
        let bases = |ruleset: &'a Ruleset| ruleset.chains.iter().filter(|chain| chain.hook.is_some());
        for (chain, twin) in self.previous.chains.iter().zip(&self.twins) {
            if chain.hook.is_none() {
                continue;
            }
            let mut others = bases(self.candidate);
            let other = others.find(|other| other.name == chain.name && other.hook == chain.hook);
            met.extend(other.map(|other| &other.name));
            chains.push(match other {
                Some(other) if twin.is_some() => self.of_candidate.chain(other),
                Some(other) => self.behind_doors(other, doors, &self.to_previous(chain)),
                None => Arc::new(Chain {
                    name: self.name_of_previous_base(chain),
                    rules: doors.rules(&self.to_previous(chain)),
                    ..Chain::clone(chain)
                }),
            });
        }
        // Where the previous generation has no chain, packets go on as if there were none.
        let of_candidate = bases(self.candidate).filter(|chain| !met.contains(&chain.name));
        chains.extend(of_candidate.map(|chain| self.behind_doors(chain, doors, &Statement::Accept)));
        chains
    }

    /// All other chains: in the order of the previous generation what has a name of its own there, then what the
    /// candidate adds, then what the previous generation has otherwise.
    pub(super) fn plain_chains(&self) -> Vec<Arc<Chain>> {
        let plain = |ruleset: &'a Ruleset| ruleset.chains.iter().filter(|chain| chain.hook.is_none());
        let mut of_candidate: BTreeMap<&Name, &Arc<Chain>> = plain(self.candidate)
            .map(|chain| (&self.of_candidate.chains[&chain.name], chain))
            .collect();
        let mut chains = Vec::new();
        let mut aside = Vec::new();
        for (chain, twin) in self.previous.chains.iter().zip(&self.twins) {
            chains.extend(
                of_candidate
                    .remove(&chain.name)
                    .map(|chain| self.of_candidate.chain(chain)),
            );
            if twin.is_some() {
                continue;
            }
            let name = &self.of_previous.chains[&chain.name];
            let side = if *name == chain.name {
                &mut chains
            } else {
                &mut aside
            };
            let mut chain = self.of_previous.chain(chain);
            // A base chain that stands aside hangs nowhere.
            if chain.name != *name || chain.hook.is_some() {
                let chain = Arc::make_mut(&mut chain);
                chain.name = name.clone();
                chain.hook = None;
            }
            side.push(chain);
        }
        let added = plain(self.candidate).filter(|chain| {
            let name = &self.of_candidate.chains[&chain.name];
            of_candidate.contains_key(name)
        });
        chains.extend(added.map(|chain| self.of_candidate.chain(chain)));
        chains.extend(aside);
        chains
    }

    fn behind_doors(&self, chain: &Arc<Chain>, doors: &Doors, way_out: &Statement) -> Arc<Chain> {
        let mut chain = self.of_candidate.chain(chain);
        Arc::make_mut(&mut chain).rules.splice(0..0, doors.rules(way_out));
        chain
    }

    fn to_previous(&self, chain: &Chain) -> Statement {
        Statement::Goto(self.of_previous.chains[&chain.name].clone())
    }

    /// A base chain that hangs where the candidate has none; its rules are elsewhere.
    fn name_of_previous_base(&self, chain: &Chain) -> Name {
        let is_taken = self.of_candidate.chains.values().any(|name| *name == chain.name);
        if is_taken {
            aside(&Name::new(&format!("hook/{}", chain.name)))
        } else {
            chain.name.clone()
        }
    }
}

impl Names<'_> {
    /// The chain with the names that it and all that it refers to have in one table: the very same, if they are its own.
    fn chain(&self, chain: &Arc<Chain>) -> Arc<Chain> {
        let refers_to_renamed = |rule: &Rule| {
            let mut sets = rule.matches.iter().filter_map(Match::set);
            let is_renamed = |statement: &Statement| match statement {
                Statement::Jump(target) | Statement::Goto(target) => is_renamed(target, &self.chains),
                Statement::Lookup(_, map) => is_renamed(map, &self.maps),
                _ => false,
            };
            sets.any(|set| self::is_renamed(set, &self.sets)) || rule.statements.iter().any(is_renamed)
        };
        if !is_renamed(&chain.name, &self.chains) && !chain.rules.iter().any(refers_to_renamed) {
            return Arc::clone(chain);
        }
        let mut chain = Chain::clone(chain);
        rename(&mut chain.name, &self.chains);
        for rule in &mut chain.rules {
            for condition in &mut rule.matches {
                if let Some(set) = condition.set_mut() {
                    rename(set, &self.sets);
                }
            }
            for statement in &mut rule.statements {
                match statement {
                    Statement::Jump(target) | Statement::Goto(target) => rename(target, &self.chains),
                    Statement::Lookup(_, map) => rename(map, &self.maps),
                    _ => {}
                }
            }
        }
        Arc::new(chain)
    }

    /// A map with the names that it and the chains that it leads to have in one table.
    fn map(&self, name: &Name, map: &Arc<VerdictMap>) -> (Name, Arc<VerdictMap>) {
        let name = self.maps.get(name).unwrap_or(name).clone();
        let keeps = |chain: &Name| self.chains.get(chain).is_none_or(|other| other == chain);
        if map.ways.chains().all(keeps) {
            return (name, Arc::clone(map));
        }
        let to = |chain: &Name| self.chains.get(chain).unwrap_or(chain).clone();
        let map = VerdictMap {
            ways: map.ways.map_chains(to),
            comment: map.comment.clone(),
        };
        (name, Arc::new(map))
    }
}

/// What the maps of the candidate and those of the previous generation are called: what twins look into is one map, and
/// has the name that the kernel knows already.
fn map_names<'a>(
    candidate: &'a Ruleset,
    previous: &'a Ruleset,
    twins: &[Option<usize>],
) -> (BTreeMap<&'a Name, Name>, BTreeMap<&'a Name, Name>) {
    let mut pairs: BTreeMap<&Name, &Name> = BTreeMap::new();
    for (chain, twin) in previous.chains.iter().zip(twins) {
        if let Some(twin) = twin {
            pairs.extend(maps_of(chain).zip(maps_of(&candidate.chains[*twin])));
        }
    }
    let mut of_candidate: BTreeMap<&Name, Name> =
        candidate.maps.keys().map(|name| (name, name.clone())).collect();
    let mut taken: BTreeSet<&Name> = candidate.maps.keys().collect();
    for (&name, other) in &pairs {
        if taken.insert(name) {
            of_candidate.insert(other, name.clone());
        }
    }
    let of_previous = previous.maps.keys().map(|name| match pairs.get(name) {
        Some(other) => (name, of_candidate[other].clone()),
        None if taken.contains(name) => (name, aside(name)),
        None => (name, name.clone()),
    });
    let of_previous = of_previous.collect();
    (of_candidate, of_previous)
}

/// The maps that a chain looks into, in order.
fn maps_of(chain: &Chain) -> impl Iterator<Item = &Name> {
    let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    statements.filter_map(|statement| match statement {
        Statement::Lookup(_, map) => Some(map),
        _ => None,
    })
}

/// The name of what the previous generation has otherwise than the candidate.
fn aside(name: &Name) -> Name {
    Name::new(&format!("{PREVIOUS}/{name}"))
}

fn rename(name: &mut Name, names: &BTreeMap<&Name, Name>) {
    if let Some(other) = names.get(name) {
        *name = other.clone();
    }
}

fn is_renamed(name: &Name, names: &BTreeMap<&Name, Name>) -> bool {
    names.get(name).is_some_and(|other| other != name)
}
