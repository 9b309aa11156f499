//! What two generations have in common, and how their chains and sets are called in one table.

use std::collections::{BTreeMap, BTreeSet};

use super::twins::Twins;
use super::{Doors, PREVIOUS};
use crate::ruleset::{Chain, Name, Ruleset, Set, Statement};

/// Two generations in one table.
pub(super) struct Shared<'a> {
    candidate: &'a Ruleset,
    previous: &'a Ruleset,
    /// For each chain of the previous generation, the candidate's chain that is the same with all that it leads to.
    twins: Vec<Option<usize>>,
    /// What each chain of the candidate is called.
    candidate_names: BTreeMap<&'a Name, Name>,
    /// What each chain of the previous generation is called.
    previous_names: BTreeMap<&'a Name, Name>,
    /// What each set of the previous generation is called.
    set_names: BTreeMap<&'a Name, Name>,
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
        Shared {
            candidate,
            previous,
            twins,
            candidate_names,
            previous_names,
            set_names,
        }
    }

    /// The candidate with the names, and in the order, that it has here.
    pub(super) fn candidate_alone(&self) -> Ruleset {
        let mut places: BTreeMap<&Name, usize> = BTreeMap::new();
        for (place, chain) in self.previous.chains.iter().enumerate() {
            places.insert(&chain.name, place);
        }
        let mut chains: Vec<Chain> = self
            .candidate
            .chains
            .iter()
            .map(|chain| self.of_candidate(chain))
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
            ..self.candidate.clone()
        }
    }

    /// The sets of both.
    pub(super) fn sets(&self) -> BTreeMap<Name, Set> {
        let of_previous = self.previous.sets.iter();
        let mut sets: BTreeMap<Name, Set> = of_previous
            .map(|(name, set)| (self.set_names[name].clone(), set.clone()))
            .collect();
        sets.extend(self.candidate.sets.clone());
        sets
    }

    /// The base chains of both, those of the previous generation first: the kernel has them already. What hangs at one
    /// place in both is one chain.
    pub(super) fn base_chains(&self, doors: &Doors) -> Vec<Chain> {
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
                Some(other) if twin.is_some() => self.of_candidate(other),
                Some(other) => self.behind_doors(other, doors, &self.to_previous(chain)),
                None => Chain {
                    name: self.name_of_previous_base(chain),
                    rules: doors.rules(&self.to_previous(chain)),
                    ..chain.clone()
                },
            });
        }
        // Where the previous generation has no chain, packets go on as if there were none.
        let of_candidate = bases(self.candidate).filter(|chain| !met.contains(&chain.name));
        chains.extend(of_candidate.map(|chain| self.behind_doors(chain, doors, &Statement::Accept)));
        chains
    }

    /// All other chains: in the order of the previous generation what has a name of its own there, then what the
    /// candidate adds, then what the previous generation has otherwise.
    pub(super) fn plain_chains(&self) -> Vec<Chain> {
        let plain = |ruleset: &'a Ruleset| ruleset.chains.iter().filter(|chain| chain.hook.is_none());
        let mut of_candidate: BTreeMap<&Name, &Chain> = plain(self.candidate)
            .map(|chain| (&self.candidate_names[&chain.name], chain))
            .collect();
        let mut chains = Vec::new();
        let mut aside = Vec::new();
        for (chain, twin) in self.previous.chains.iter().zip(&self.twins) {
            chains.extend(
                of_candidate
                    .remove(&chain.name)
                    .map(|chain| self.of_candidate(chain)),
            );
            if twin.is_some() {
                continue;
            }
            let name = &self.previous_names[&chain.name];
            let side = if *name == chain.name {
                &mut chains
            } else {
                &mut aside
            };
            side.push(Chain {
                name: name.clone(),
                hook: None,
                ..self.of_previous(chain)
            });
        }
        let added = plain(self.candidate).filter(|chain| {
            let name = &self.candidate_names[&chain.name];
            of_candidate.contains_key(name)
        });
        chains.extend(added.map(|chain| self.of_candidate(chain)));
        chains.extend(aside);
        chains
    }

    fn behind_doors(&self, chain: &Chain, doors: &Doors, way_out: &Statement) -> Chain {
        let mut chain = self.of_candidate(chain);
        chain.rules.splice(0..0, doors.rules(way_out));
        chain
    }

    fn to_previous(&self, chain: &Chain) -> Statement {
        Statement::Goto(self.previous_names[&chain.name].clone())
    }

    /// A base chain that hangs where the candidate has none; its rules are elsewhere.
    fn name_of_previous_base(&self, chain: &Chain) -> Name {
        let is_taken = self.candidate_names.values().any(|name| *name == chain.name);
        if is_taken {
            aside(&Name::new(&format!("hook/{}", chain.name)))
        } else {
            chain.name.clone()
        }
    }

    fn of_candidate(&self, chain: &Chain) -> Chain {
        renamed(chain, &self.candidate_names, &BTreeMap::new())
    }

    fn of_previous(&self, chain: &Chain) -> Chain {
        renamed(chain, &self.previous_names, &self.set_names)
    }
}

/// The name of what the previous generation has otherwise than the candidate.
fn aside(name: &Name) -> Name {
    Name::new(&format!("{PREVIOUS}/{name}"))
}

/// The chain with the names that it and all that it refers to have in one table.
fn renamed(chain: &Chain, chains: &BTreeMap<&Name, Name>, sets: &BTreeMap<&Name, Name>) -> Chain {
    let mut chain = chain.clone();
    let rename = |name: &mut Name, names: &BTreeMap<&Name, Name>| {
        if let Some(other) = names.get(name) {
            *name = other.clone();
        }
    };
    rename(&mut chain.name, chains);
    for rule in &mut chain.rules {
        for condition in &mut rule.matches {
            if let Some(set) = condition.set_mut() {
                rename(set, sets);
            }
        }
        for statement in &mut rule.statements {
            if let Statement::Jump(target) | Statement::Goto(target) = statement {
                rename(target, chains);
            }
        }
    }
    chain
}
