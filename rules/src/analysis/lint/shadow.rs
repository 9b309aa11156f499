//! Rules that no packet reaches, and what covers them.

use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::input::{Input, Place, in_worlds, listed};
use super::reach::{Cover, Reach, RuleKey};
use super::table::Entry;
use crate::diagnostic::quoted;
use crate::net::Direction;
use crate::resource::Action;
use crate::source::Position;
use crate::world::EndpointId;

/// The most covers that a finding points at.
const MOST_SHOWN: usize = 4;

/// Duplicate, shadowed, unreachable and partly unreachable rules.
pub(super) fn covered(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for policy in input.policies() {
        for direction in Direction::BOTH {
            // What each rule as written says, and the first that says it.
            let mut said: BTreeMap<Vec<&str>, &Entry<'_>> = BTreeMap::new();
            let ids = input.table.ids(policy, direction);
            let entries: Vec<&Entry<'_>> = ids.map(|id| input.table.get(id)).collect();
            for rule in entries.chunk_by(|a, b| a.rule.index == b.rule.index) {
                let text = rule.iter().map(|entry| &*entry.rule.text).collect();
                match said.entry(text) {
                    Occupied(first) => findings.push(duplicate(rule[0], first.get())),
                    Vacant(vacant) => {
                        vacant.insert(rule[0]);
                        findings.extend(in_both_worlds(input, rule[0]));
                    }
                }
            }
        }
    }
    findings
}

fn duplicate(entry: &Entry<'_>, first: &Entry<'_>) -> Finding {
    let place = Place::of(entry);
    let message = format!("{place} says the same as rule {}", first.rule.index);
    let finding = place.finding("duplicate-rule", message).label("again here");
    finding.related(&first.rule.position, "first written here")
}

/// Where a rule is covered, and by what.
type Covered<'a> = BTreeMap<EndpointId, &'a [Cover]>;

/// What is to be said of a rule: once, where it holds in both worlds, and of each world what holds there alone.
fn in_both_worlds(input: &Input<'_>, entry: &Entry<'_>) -> Vec<Finding> {
    let key: RuleKey = (entry.policy.source, entry.direction, entry.rule.index);
    let reach = [0, 1].map(|world| input.reach[world].get(&key));
    let [Some(enforced), Some(pending)] = reach else {
        let only = reach.into_iter().flatten();
        return only
            .filter_map(|reach| finding(input, entry, reach.is_reached(), reach.covered(), ""))
            .collect();
    };
    let covered = [enforced.covered(), pending.covered()];
    if covered[0] == covered[1] {
        let [covered, _] = covered;
        return finding(input, entry, enforced.is_reached(), covered, "")
            .into_iter()
            .collect();
    }
    let is_reached = [enforced, pending].map(Reach::is_reached);
    let mut findings = Vec::new();
    if is_reached.contains(&true) {
        let mut common = covered[0].clone();
        common.retain(|id, covers| covered[1].get(id) == Some(covers));
        findings.extend(finding(input, entry, true, common, ""));
    }
    for (world, other) in [(0, 1), (1, 0)] {
        let mut alone = covered[world].clone();
        if is_reached[world] {
            alone.retain(|id, covers| covered[other].get(id) != Some(covers));
        }
        let holds = [world == 0, world == 1];
        findings.extend(finding(
            input,
            entry,
            is_reached[world],
            alone,
            in_worlds(holds, [true, true]),
        ));
    }
    findings
}

/// A rule that is covered at these endpoints, and elsewhere reached or not.
fn finding(
    input: &Input<'_>,
    entry: &Entry<'_>,
    is_reached: bool,
    covered: Covered<'_>,
    in_world: &str,
) -> Option<Finding> {
    let mut covers: Vec<Cover> = Vec::new();
    for cover in covered.values().copied().flatten() {
        if !covers.contains(cover) {
            covers.push(*cover);
        }
    }
    if covers.is_empty() {
        return None;
    }
    let place = Place::of(entry);
    let effect = effect(input, entry.rule.action, &covers);
    let by = by(input, &covers);
    let finding = match covers.as_slice() {
        _ if is_reached => {
            let at: Vec<EndpointId> = covered.into_keys().collect();
            let (at, take) = (input.endpoints(&at), take(&covers));
            let message = format!("{place} is not reached at {at}{in_world}: {by} {take} all before{effect}");
            place.finding("partly-unreachable-rule", message)
        }
        [Cover::Rule(_)] => {
            let message =
                format!("{place} is never reached{in_world}: {by} matches all that it matches{effect}");
            place.finding("shadowed-rule", message)
        }
        _ => {
            let all = match covered.len() {
                1 => String::new(),
                count => format!(", at none of the {count} endpoints it governs"),
            };
            let take = take(&covers);
            let message = format!("{place} is never reached{all}{in_world}: {by} {take} all before{effect}");
            place.finding("unreachable-rule", message)
        }
    };
    let finding = finding
        .label("never reached")
        .help(help(input, entry.rule.action, &covers));
    let shown = covers.iter().take(MOST_SHOWN);
    Some(shown.fold(finding, |finding, cover| {
        let (position, label) = pointed(input, cover);
        finding.related(position, label)
    }))
}

fn take(covers: &[Cover]) -> &'static str {
    if covers.len() == 1 { "takes" } else { "take" }
}

/// What the covers are, in words.
fn by(input: &Input<'_>, covers: &[Cover]) -> String {
    let names = covers.iter().map(|cover| match *cover {
        Cover::Rule(id) => Place::of(input.table.get(id)).to_string(),
        Cover::EndOfTier(tier, _) => format!(
            "the end of tier {}",
            quoted(&input.worlds.enforced.tiers[tier].name)
        ),
    });
    listed(&names.collect::<Vec<_>>())
}

/// What a cover does to a packet.
fn action(input: &Input<'_>, cover: &Cover) -> Action {
    match *cover {
        Cover::Rule(id) => input.table.get(id).rule.action,
        Cover::EndOfTier(..) => Action::Deny,
    }
}

fn differs(input: &Input<'_>, own: Action, covers: &[Cover]) -> bool {
    covers.iter().any(|cover| action(input, cover) != own)
}

/// Whether it matters.
fn effect(input: &Input<'_>, own: Action, covers: &[Cover]) -> String {
    if own == Action::Log {
        return ", so nothing is logged".to_owned();
    }
    if !differs(input, own, covers) {
        return ", and does the same".to_owned();
    }
    let actions: BTreeSet<Action> = covers.iter().map(|cover| action(input, cover)).collect();
    let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
    format!(", with {} and not {own}", listed(&actions))
}

fn help(input: &Input<'_>, own: Action, covers: &[Cover]) -> &'static str {
    if own != Action::Log && !differs(input, own, covers) {
        "remove it if the rest is meant to stay as it is: nothing changes"
    } else {
        "move it before what covers it, or remove it: as it stands it has no effect there"
    }
}

/// Where a cover is, and what to say of it there.
fn pointed<'a>(input: &'a Input<'_>, cover: &Cover) -> (&'a Position, String) {
    let action = action(input, cover);
    match *cover {
        Cover::Rule(id) => (
            &input.table.get(id).rule.position,
            format!("takes packets first: {action}"),
        ),
        Cover::EndOfTier(_, last) => {
            let position = &input.snapshot.policies[last].position;
            (position, format!("the tier ends behind this policy: {action}"))
        }
    }
}
