//! What a learnt rule stands on, and how much more than was seen it allows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::draft::{Draft, Side};
use super::frame::Completed;
use super::nets::{Size, shown};
use super::scope::{End, far};
use super::{Learnt, Observed};
use crate::analysis::names::{NameKind, name_of};
use crate::net::Direction;
use crate::world::Worlds;

/// Names that a line has before it says how many more there are.
const FEW: usize = 6;

/// The learnt rules, with what they stand for in the worlds that have the policy in them.
pub(super) fn learnt(worlds: &Worlds, completed: &Completed, drafts: &[Draft<'_>]) -> Vec<Learnt> {
    let policy = &completed.policy;
    let places = drafts.iter().zip(&completed.places);
    places
        .map(|(draft, &index)| {
            let seen: BTreeSet<IpAddr> = draft.evidence.iter().map(|observed| far(observed)).collect();
            Learnt {
                direction: draft.direction,
                index,
                rule: policy.rules(draft.direction)[index].clone(),
                connections: draft.evidence.iter().map(|observed| observed.connections).sum(),
                peers_seen: seen.len(),
                peers_allowed: allowed(worlds, completed, draft.direction, index, End::Far),
                mixed: draft.mixed,
            }
        })
        .collect()
}

/// The networks that a rule of the policy allows at an end; `None` if that is any address.
fn allowed(
    worlds: &Worlds,
    completed: &Completed,
    direction: Direction,
    index: usize,
    end: End,
) -> Option<Vec<IpNet>> {
    let mut pending = worlds.pending.policies.iter();
    let resolved = pending.find(|other| other.staged && other.id == completed.policy.id)?;
    let rule = resolved.rules(direction)?.get(index)?;
    let entity = match end.word(direction) {
        "from" => &rule.source,
        _ => &rule.destination,
    };
    let of_set = entity.set.map(|id| worlds.address_sets.get(id).nets.clone());
    entity.nets.clone().or(of_set)
}

/// The comment above a learnt rule.
pub(super) fn lines(
    worlds: &Worlds,
    completed: &Completed,
    draft: &Draft<'_>,
    learnt: &Learnt,
) -> Vec<String> {
    let mut lines = Vec::new();
    let connections = match learnt.connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    lines.push(format!("{connections} {}", when(&draft.evidence)));
    let by = match draft.direction {
        Direction::Ingress => "taken by",
        Direction::Egress => "opened by",
    };
    let owners: BTreeSet<&String> = draft
        .evidence
        .iter()
        .flat_map(|observed| &observed.owners)
        .collect();
    // The endpoint itself needs no line.
    let ends = End::BOTH.into_iter().filter(|&end| *draft.side(end) != Side::Own);
    for end in ends {
        let to = end.word(draft.direction);
        lines.push(format!("{to} {}", few(&peers(worlds, draft, end))));
        if end == End::Far && !owners.is_empty() {
            lines.push(format!(
                "{by} {}",
                few(&owners.iter().copied().cloned().collect::<Vec<_>>())
            ));
        }
        let allowed = allowed(worlds, completed, draft.direction, learnt.index, end);
        lines.push(reach(worlds, draft, end, allowed.as_deref()));
    }
    if draft.mixed {
        lines.push("merged to keep the rules few: not every peer was seen at every port".to_owned());
    }
    lines
}

/// How much of what is allowed at an end was seen.
fn reach(worlds: &Worlds, draft: &Draft<'_>, end: End, allowed: Option<&[IpNet]>) -> String {
    let addresses: BTreeSet<IpAddr> = draft
        .evidence
        .iter()
        .filter_map(|observed| end.address(observed))
        .collect();
    let is_all = !draft.evidence.iter().any(|observed| observed.stands_for_others);
    let at_least = if is_all { "" } else { "at least " };
    let seen = match addresses.len() {
        1 => format!("{at_least}1 address seen"),
        many => format!("{at_least}{many} addresses seen"),
    };
    match (draft.side(end), allowed) {
        (Side::Nets(nets), _) => {
            let nets_text: Vec<String> = nets.iter().map(|&net| shown(net)).collect();
            let size = Size::of(nets);
            if size.addresses() == addresses.len() as u128 {
                format!("{seen}, and no other is allowed")
            } else {
                format!(
                    "{seen}, {} {} {size}",
                    few(&nets_text),
                    if nets.len() == 1 { "has" } else { "have" }
                )
            }
        }
        (Side::Named(selector), Some(nets)) => {
            let unseen = unseen(worlds, draft, end, selector);
            let also = if unseen.is_empty() {
                String::new()
            } else {
                format!("; it also selects {}, which was not seen", few(&unseen))
            };
            format!("{seen}, the selector stands for {}{also}", Size::of(nets))
        }
        _ => format!("{seen}, any is allowed"),
    }
}

/// What a selector selects of which nothing was seen.
fn unseen(worlds: &Worlds, draft: &Draft<'_>, end: End, selector: &crate::selector::Selector) -> Vec<String> {
    let seen: BTreeSet<String> = draft
        .evidence
        .iter()
        .filter_map(|observed| Some(label_of(worlds, end.address(observed)?)))
        .collect();
    let endpoints = worlds.endpoints.iter();
    let endpoints = endpoints
        .filter(|endpoint| !endpoint.addresses.is_empty() && selector.matches(&endpoint.labels))
        .map(ToString::to_string);
    let networks = worlds.networks.iter();
    let networks = networks
        .filter(|network| selector.matches(&network.labels))
        .map(|network| format!("set {}", network.name));
    endpoints
        .chain(networks)
        .filter(|name| !seen.contains(name))
        .collect()
}

/// Who was at an end with their addresses, those seen most often first.
fn peers(worlds: &Worlds, draft: &Draft<'_>, end: End) -> Vec<String> {
    let mut by_name: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
    for observed in &draft.evidence {
        let Some(address) = end.address(observed) else {
            continue;
        };
        let name = label_of(worlds, address);
        let is_of_set = name_of(worlds, address).kind == NameKind::NetworkSet;
        // One of a set that stands for others may never have been seen itself.
        let text = if observed.stands_for_others && is_of_set {
            "addresses not kept apart".to_owned()
        } else {
            address.to_string()
        };
        let (connections, addresses) = by_name.entry(name).or_default();
        *connections += observed.connections;
        addresses.insert(text);
    }
    let mut peers: Vec<(u64, String)> = by_name
        .into_iter()
        .map(|(name, (connections, addresses))| {
            let addresses: Vec<String> = addresses.into_iter().collect();
            let text = if addresses == [name.clone()] {
                name
            } else {
                format!("{name} ({})", few(&addresses))
            };
            (connections, text)
        })
        .collect();
    peers.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    peers.into_iter().map(|(_, text)| text).collect()
}

/// Who an address is, or the address itself where nobody has it.
fn label_of(worlds: &Worlds, address: IpAddr) -> String {
    let named = name_of(worlds, address);
    match named.kind {
        NameKind::Network => address.to_string(),
        NameKind::NetworkSet => format!("set {}", named.name),
        NameKind::Endpoint(_, id) => worlds.endpoint(id).to_string(),
    }
}

/// Since when and until when they were seen.
pub(super) fn when(evidence: &[&Observed]) -> String {
    let first = evidence.iter().map(|observed| &observed.first_seen).min();
    let last = evidence.iter().map(|observed| &observed.last_seen).max();
    match (first, last) {
        (Some(first), Some(last)) if first != last => format!("between {first} and {last}"),
        (first, _) => format!("at {}", first.map_or("", String::as_str)),
    }
}

/// The first of them, and how many more.
pub(super) fn few(all: &[String]) -> String {
    let shown = all[..all.len().min(FEW)].join(", ");
    if all.len() > FEW {
        format!("{shown} and {} more", all.len() - FEW)
    } else {
        shown
    }
}
