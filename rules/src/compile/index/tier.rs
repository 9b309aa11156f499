//! A tier of many policies as chains and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chains::{chain_name, followed, onward, rule_of, ways_of};
use super::memo::{Comparison, Remembered, TierMemo, is_by_the_same};
use super::region::Region;
use super::split::Regions;
use super::tree::{Rest, Step, To, Tree};
use crate::compile::endpoint::{EndpointCompiler, jump};
use crate::compile::policy;
use crate::ruleset::{Chain, Comment, Name, Rule, VerdictMap, fnv1a};
use crate::world::{PlacedPolicy, WorldKind};

impl EndpointCompiler<'_, '_> {
    /// The chains of a tier with an index; their maps go into the ruleset. `whose` tier it is, for comments; `end` is what
    /// no policy decides.
    pub(in crate::compile) fn indexed_tier(
        &mut self,
        world: WorldKind,
        tier: &Name,
        whose: &str,
        policies: &[&PlacedPolicy],
        end: Option<Rule>,
    ) -> Vec<Arc<Chain>> {
        let previous = self.compiler.memory.recall(tier);
        let kept = previous.map(|old| old.kept(policies)).unwrap_or_default();
        let memo = match previous.filter(|old| is_as_it_was(old, &kept, policies.len(), end.as_ref())) {
            Some(old) => Arc::clone(old),
            None => Arc::new(self.made(
                world,
                tier,
                whose,
                policies,
                end,
                previous.map(|old| (&**old, &*kept)),
            )),
        };
        let maps = memo
            .maps
            .iter()
            .map(|(name, map)| (name.clone(), Arc::clone(map)));
        self.compiler.maps.extend(maps);
        let chains = [&memo.front].into_iter().chain(&memo.chains);
        let chains = chains.map(Arc::clone).collect();
        self.compiler.memory.keep(tier.clone(), memo);
        chains
    }

    fn made(
        &self,
        world: WorldKind,
        tier: &Name,
        whose: &str,
        policies: &[&PlacedPolicy],
        end: Option<Rule>,
        previous: Option<(&TierMemo, &[Option<usize>])>,
    ) -> TierMemo {
        let policies = self.remembered(world, policies, previous);
        let regions = Regions {
            policies: &policies,
            sets: &self.compiler.worlds.address_sets,
        };
        let moved = previous.and_then(|(old, kept)| Some((&old.tree.columns, old.moved(kept)?)));
        let earlier = moved.as_ref().map(|(columns, moved)| (*columns, moved));
        let tree = Tree::of(regions, self.compiler.options.index, earlier);
        let like = previous
            .map(|(old, kept)| old.nodes_like(&tree, kept))
            .unwrap_or_default();
        let old_chain = |place: usize| {
            let (old, _) = previous?;
            Some(&old.chains[(*like.get(place)?)?])
        };
        let nodes = tree.nodes.iter().enumerate();
        let names: Vec<Name> = nodes
            .map(|(place, node)| match old_chain(place) {
                Some(old) => old.name.clone(),
                None => chain_name(tier, node, |policy| last_part(&policies[policy].chain)),
            })
            .collect();
        let comparison = previous.map(|(old, kept)| Comparison {
            old,
            policies: &policies,
            kept,
            names: &names,
        });
        let same_front = comparison.as_ref().filter(|comparison| {
            comparison.old.end == end && comparison.are_same_steps(&tree.front, &comparison.old.tree.front)
        });
        let front = same_front.map_or_else(
            || {
                let steps = self.steps(world, &policies, &tree.front, &names);
                Arc::new(Chain {
                    name: tier.clone(),
                    hook: None,
                    comment: Comment::new(whose),
                    rules: steps.into_iter().chain(end.clone()).collect(),
                })
            },
            |comparison| Arc::clone(&comparison.old.front),
        );
        let mut chains = Vec::with_capacity(tree.nodes.len());
        let mut maps = BTreeMap::new();
        let chain_of = |to: To| match to {
            To::Policy(place) => policies[place].chain.clone(),
            To::Node(node) => names[node.0].clone(),
        };
        for (place, node) in tree.nodes.iter().enumerate() {
            let name = &names[place];
            let parent = if node.by.is_empty() { tier } else { name };
            let found: Vec<(Rule, Name)> = node
                .lookups
                .iter()
                .map(|lookup| rule_of(lookup, parent))
                .collect();
            let old = like.get(place).copied().flatten();
            let same = comparison
                .as_ref()
                .zip(old)
                .filter(|(comparison, old)| comparison.is_same_chain(node, *old));
            let chain = if let Some((comparison, old)) = same {
                Arc::clone(&comparison.old.chains[old])
            } else {
                let mut rules: Vec<Rule> = found.iter().map(|(rule, _)| rule.clone()).collect();
                let comment = match &node.rest {
                    Rest::Goto(next) => {
                        rules.push(onward(names[next.0].clone()));
                        whose.to_owned()
                    }
                    Rest::Walk(steps) => {
                        rules.extend(self.steps(world, &policies, steps, &names));
                        listed(whose, steps)
                    }
                };
                Arc::new(Chain {
                    name: name.clone(),
                    hook: None,
                    comment: Comment::new(&comment),
                    rules,
                })
            };
            chains.push(chain);
            for (lookup, (_, name)) in node.lookups.iter().zip(found) {
                let had = previous.and_then(|(old, _)| old.maps.get(&name));
                let earlier = comparison.as_ref().zip(old).zip(had);
                let ways = earlier.and_then(|((comparison, old), had)| {
                    let mut lookups = comparison.old.tree.nodes[old].lookups.iter();
                    let earlier = lookups.find(|earlier| is_by_the_same(lookup, earlier))?;
                    let is_same = |new, old| comparison.is_same_way(new, old);
                    followed(lookup, earlier, &had.ways, is_same, chain_of)
                });
                let map = VerdictMap {
                    ways: ways.unwrap_or_else(|| ways_of(lookup, chain_of)),
                    comment: Comment::default(),
                };
                let had = had.filter(|had| ***had == map);
                let map = had.map_or_else(|| Arc::new(map), Arc::clone);
                maps.insert(name, map);
            }
        }
        TierMemo {
            policies,
            end,
            tree,
            front,
            chains,
            maps,
        }
    }

    fn remembered(
        &self,
        world: WorldKind,
        policies: &[&PlacedPolicy],
        previous: Option<(&TierMemo, &[Option<usize>])>,
    ) -> Vec<Arc<Remembered>> {
        let worlds = self.compiler.worlds;
        let each = policies.iter().enumerate().map(|(place, policy)| {
            let old = previous.and_then(|(old, kept)| Some(&old.policies[kept[place]?]));
            if let Some(old) = old.filter(|old| old.is_lasting) {
                return Arc::clone(old);
            }
            let rules = policy.rules(self.direction).unwrap_or_default();
            let chain = policy::chain_name(worlds, world, self.direction, policy);
            let regions: Arc<[Region]> = rules.iter().flat_map(|rule| Region::of(worlds, rule)).collect();
            Arc::new(Remembered {
                policy: Arc::clone(&policy.policy),
                weight: fnv1a(chain.as_str()),
                chain,
                matches_all: regions.iter().any(Region::is_everything),
                regions,
                is_lasting: rules.iter().all(Region::is_of_rule_alone),
                marks: self.leaves_by_mark(world, policy),
            })
        });
        each.collect()
    }

    /// The jumps of a list; `blocks` are the names of the index' chains.
    fn steps(
        &self,
        world: WorldKind,
        policies: &[Arc<Remembered>],
        steps: &[Step],
        blocks: &[Name],
    ) -> Vec<Rule> {
        let mut rules = Vec::new();
        for step in steps {
            match *step {
                Step::Policy(place) => {
                    let Remembered {
                        policy, chain, marks, ..
                    } = &*policies[place];
                    rules.extend(self.to_policy(world, policy, chain.clone(), *marks));
                }
                Step::Block(node, first, last) => {
                    let (from, to) = (&policies[first].policy.id, &policies[last].policy.id);
                    let comment = format!("what can match of the policies from {from} to {to}");
                    rules.push(jump(blocks[node.0].clone(), &comment));
                    if policies[first..=last].iter().any(|policy| policy.marks) {
                        rules.push(self.leave(world));
                    }
                }
            }
        }
        rules
    }
}

/// Whether nothing has changed that chains and maps are made of.
fn is_as_it_was(old: &TierMemo, kept: &[Option<usize>], policies: usize, end: Option<&Rule>) -> bool {
    let places = kept.iter().enumerate();
    old.policies.len() == policies
        && old.end.as_ref() == end
        && !old.tree.looks_into_sets
        && old.policies.iter().all(|policy| policy.is_lasting)
        && places.into_iter().all(|(place, kept)| *kept == Some(place))
}

/// The comment of a chain that lists policies.
fn listed(whose: &str, steps: &[Step]) -> String {
    let policies = steps
        .iter()
        .filter(|step| matches!(step, Step::Policy(_)))
        .count();
    let blocks = steps.len() - policies;
    let what = match (policies, blocks) {
        (0, 0) => return whose.to_owned(),
        (1, 0) => "1 policy".to_owned(),
        (policies, 0) => format!("{policies} policies"),
        (policies, blocks) => format!("{policies} policies and {blocks} blocks of others"),
    };
    format!("{whose}: {what}")
}

/// A policy's chain without what all of its tier have in front: `000100-lockdown`.
fn last_part(chain: &Name) -> &str {
    let part = chain.as_str().splitn(4, '/').last().unwrap_or_default();
    part.trim_end_matches('/')
}
