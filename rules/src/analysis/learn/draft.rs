//! Rules in the making: names before addresses, addresses merged to networks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::group::{Group, Peer, What, fewer};
use super::nets::merged;
use super::pick::{Object, Picker, object_at};
use super::scope::{End, far, near};
use super::{LearnError, Limits, Observed};
use crate::net::{Direction, Family, PortRange, merge_nets};
use crate::resource::{Action, Entity, IcmpMatch, Policy, Ports, ProtocolMatch, Rule};
use crate::selector::Selector;
use crate::source::Position;
use crate::world::Worlds;

/// The most entries in a list of ports.
const MOST_PORTS: usize = 50;

/// The longest name of a rule.
const LONGEST_NAME: usize = 63;

/// A rule in the making.
#[derive(Clone, Debug)]
pub(super) struct Draft<'o> {
    pub(super) direction: Direction,
    pub(super) what: What,
    pub(super) far: Side,
    pub(super) near: Side,
    pub(super) ports: Vec<PortRange>,
    pub(super) evidence: Vec<&'o Observed>,
    pub(super) mixed: bool,
    pub(super) warnings: Vec<String>,
    name: String,
}

/// One end of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Side {
    /// The endpoint itself, which needs no condition.
    Own,
    /// Any address of a family.
    Anyone(Family),
    /// By label.
    Named(Selector),
    /// By address.
    Nets(Vec<IpNet>),
}

/// Drafts of groups, as many as the limits allow, in the order in which people look for them.
pub(super) fn drafts<'o>(
    worlds: &Worlds,
    groups: Vec<Group<'o>>,
    limits: Limits,
    policy: &Policy,
) -> Result<Vec<Draft<'o>>, LearnError> {
    let maker = Maker {
        worlds,
        picker: Picker::of_peers(worlds),
        most_nets: limits.nets.clamp(1, Limits::MOST_NETS),
    };
    let most = limits.rules.clamp(1, Limits::MOST_RULES);
    let mut groups = fewer(groups, most)?;
    loop {
        let mut drafts: Vec<Draft<'o>> = groups.iter().flat_map(|group| maker.drafts(group)).collect();
        if drafts.len() <= most {
            drafts.sort_by_key(|draft| (draft.direction, draft.what, draft.ports.clone(), draft.far.rank()));
            give_names(&mut drafts, worlds, policy);
            return Ok(drafts);
        }
        // A group can take several rules, one by label and one by address.
        let excess = (drafts.len() - most).div_ceil(4).max(1);
        let target = groups.len().saturating_sub(excess).max(1);
        let least = drafts.len();
        groups = fewer(groups, target).map_err(|_| LearnError::TooManyRules { least, most })?;
        if groups.len() == 1 && maker.drafts(&groups[0]).len() > most {
            return Err(LearnError::TooManyRules { least, most });
        }
    }
}

/// What is known of the address at an end.
#[derive(Clone, Copy)]
enum SeenAt {
    /// It was this one.
    Address(IpAddr),
    /// It was of a set, in which this one is: an index into [`Worlds::networks`].
    SomeOf(IpAddr, usize),
    /// It was this one or another.
    Somewhere(IpAddr),
}

impl SeenAt {
    fn address(self) -> IpAddr {
        match self {
            SeenAt::Address(address) | SeenAt::SomeOf(address, _) | SeenAt::Somewhere(address) => address,
        }
    }
}

struct Maker<'w> {
    worlds: &'w Worlds,
    picker: Picker<'w>,
    most_nets: usize,
}

impl Maker<'_> {
    fn drafts<'o>(&self, group: &Group<'o>) -> Vec<Draft<'o>> {
        let fars = self.sides(&group.fars, &group.evidence, End::Far);
        let nears = if group.nears.is_empty() {
            vec![Side::Own]
        } else {
            self.sides(&group.nears, &group.evidence, End::Near)
        };
        let mut drafts = Vec::new();
        let mut open = group.evidence.clone();
        for far_side in &fars {
            for near_side in &nears {
                let (evidence, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|observed| {
                    self.holds(far_side, far(observed))
                        && near(observed).is_none_or(|near| self.holds(near_side, near))
                });
                open = rest;
                let chunks: Vec<Vec<PortRange>> = if group.ports.is_empty() {
                    vec![Vec::new()]
                } else {
                    group.ports.chunks(MOST_PORTS).map(<[_]>::to_vec).collect()
                };
                for ports in chunks {
                    let is_of_chunk = |observed: &&&Observed| {
                        let port = observed.packet.destination_port;
                        ports.is_empty() || ports.iter().any(|range| range.contains(port))
                    };
                    let evidence: Vec<&Observed> = evidence.iter().filter(is_of_chunk).copied().collect();
                    // What was never seen together is not allowed together.
                    if evidence.is_empty() {
                        continue;
                    }
                    let sides = [(End::Far, far_side), (End::Near, near_side)];
                    let warnings = sides
                        .into_iter()
                        .filter_map(|(end, side)| self.warning(group, end, side, &evidence));
                    let warnings = warnings.collect();
                    drafts.push(Draft {
                        direction: group.direction,
                        what: group.what,
                        far: far_side.clone(),
                        near: near_side.clone(),
                        ports: ports.clone(),
                        evidence,
                        mixed: group.mixed,
                        warnings,
                        name: String::new(),
                    });
                }
            }
        }
        drafts
    }

    /// Selectors for what has names, networks for the rest.
    fn sides(&self, peers: &BTreeSet<Peer>, evidence: &[&Observed], end: End) -> Vec<Side> {
        let objects = peers.iter().filter_map(|peer| match peer {
            Peer::Object(object) => Some(*object),
            Peer::Address(_) => None,
        });
        let picked = self.picker.peers(&objects.collect());
        let is_bare = |address: &IpAddr| {
            object_at(self.worlds, *address).is_none_or(|object| picked.unnamed.contains(&object))
        };
        let seen = evidence.iter().filter_map(|observed| self.seen_at(observed, end));
        let bare: Vec<SeenAt> = seen.filter(|seen| is_bare(&seen.address())).collect();
        let mut sides: Vec<Side> = picked.selectors.into_iter().map(Side::Named).collect();
        // The networks of one rule are of one family.
        for family in Family::BOTH {
            let of_family: Vec<SeenAt> = bare
                .iter()
                .filter(|seen| Family::of(seen.address()) == family)
                .copied()
                .collect();
            if !of_family.is_empty() {
                let nets = self.nets(family, &of_family);
                sides.push(nets.map_or(Side::Anyone(family), Side::Nets));
            }
        }
        sides
    }

    /// Networks that hold all of it, if that can be said in one rule.
    fn nets(&self, family: Family, seen: &[SeenAt]) -> Option<Vec<IpNet>> {
        let mut addresses = Vec::new();
        let mut nets = Vec::new();
        for seen in seen {
            match *seen {
                SeenAt::Address(address) => addresses.push(address),
                SeenAt::SomeOf(_, index) => {
                    let of_set = self.worlds.networks[index].nets.iter();
                    nets.extend(of_set.filter(|net| Family::of_net(**net) == family));
                }
                SeenAt::Somewhere(_) => return None,
            }
        }
        nets.extend(merged(addresses, self.most_nets)?);
        let nets = merge_nets(&nets);
        (nets.len() <= Limits::MOST_NETS).then_some(nets)
    }

    fn seen_at(&self, observed: &Observed, end: End) -> Option<SeenAt> {
        let address = end.address(observed)?;
        // The addresses of an endpoint are always kept apart.
        if !observed.stands_for_others || self.worlds.directory.at(address).next().is_some() {
            return Some(SeenAt::Address(address));
        }
        let set = self.worlds.directory.network_of(address);
        Some(set.map_or(SeenAt::Somewhere(address), |index| SeenAt::SomeOf(address, index)))
    }

    /// What to think about where more is allowed than can be told from what was seen.
    fn warning(&self, group: &Group<'_>, end: End, side: &Side, evidence: &[&Observed]) -> Option<String> {
        let to = end.word(group.direction);
        let what = what_text(group.what, &group.ports);
        let seen = || evidence.iter().filter_map(|observed| self.seen_at(observed, end));
        let sets: BTreeSet<&str> = seen()
            .filter_map(|seen| match seen {
                SeenAt::SomeOf(_, index) => Some(self.worlds.networks[index].name.as_str()),
                _ => None,
            })
            .collect();
        let sets = sets.into_iter().collect::<Vec<_>>().join(", ");
        match side {
            Side::Nets(_) if !sets.is_empty() => Some(format!(
                "{what} was seen {to} addresses of {sets} that were not kept apart, and labels cannot name it: it is allowed {to} all \
                 its networks, as they are now"
            )),
            Side::Anyone(family) if seen().any(|seen| matches!(seen, SeenAt::Somewhere(_))) => Some(format!(
                "{what} was seen {to} more addresses than are kept apart: it is allowed {to} any {family} address"
            )),
            Side::Anyone(family) if !sets.is_empty() => Some(format!(
                "{what} was seen {to} addresses of {sets} that were not kept apart, labels cannot name it, and it has more networks \
                 than a rule can have: it is allowed {to} any {family} address"
            )),
            Side::Anyone(family) => {
                let addresses: BTreeSet<IpAddr> = seen().map(SeenAt::address).collect();
                Some(format!(
                    "{what} was seen {to} {} addresses so far apart that they take more than {} networks, even as wide as a site's: it is \
                     allowed {to} any {family} address; a higher --max-nets keeps them apart",
                    addresses.len(),
                    self.most_nets
                ))
            }
            _ => None,
        }
    }

    fn holds(&self, side: &Side, address: IpAddr) -> bool {
        match side {
            Side::Own => true,
            Side::Anyone(family) => Family::of(address) == *family,
            Side::Nets(nets) => nets.iter().any(|net| net.contains(&address)),
            Side::Named(selector) => {
                let labels = object_at(self.worlds, address).map(|object| match object {
                    Object::Endpoint(id) => &self.worlds.endpoint(id).labels,
                    Object::Network(index) => &self.worlds.networks[index].labels,
                });
                labels.is_some_and(|labels| selector.matches(labels))
            }
        }
    }
}

impl Side {
    /// Names before addresses before anyone.
    fn rank(&self) -> (u8, String) {
        match self {
            Side::Named(selector) => (0, selector.to_string()),
            Side::Nets(nets) => (1, nets.first().map(ToString::to_string).unwrap_or_default()),
            Side::Anyone(family) => (2, family.to_string()),
            Side::Own => (3, String::new()),
        }
    }

    fn entity(&self) -> Entity {
        match self {
            Side::Own | Side::Anyone(_) => Entity::default(),
            Side::Named(selector) => Entity {
                selector: Some(selector.clone()),
                ..Entity::default()
            },
            Side::Nets(nets) => Entity {
                nets: Some(nets.clone()),
                ..Entity::default()
            },
        }
    }
}

impl Draft<'_> {
    /// What is allowed at an end.
    pub(super) fn side(&self, end: End) -> &Side {
        match end {
            End::Far => &self.far,
            End::Near => &self.near,
        }
    }

    /// The rule, as if it were written at this place.
    pub(super) fn rule(&self, position: &Position) -> Rule {
        let What {
            protocol,
            family,
            icmp,
        } = self.what;
        let only = [&self.far, &self.near].into_iter().find_map(|side| match side {
            Side::Anyone(family) => Some(*family),
            _ => None,
        });
        let (mut source, mut destination) = match self.direction {
            Direction::Ingress => (self.far.entity(), self.near.entity()),
            Direction::Egress => (self.near.entity(), self.far.entity()),
        };
        let ports = Ports {
            ranges: self.ports.clone(),
            names: Vec::new(),
        };
        destination.ports = (!self.ports.is_empty()).then_some(ports);
        // A selector that says nothing is no condition.
        for side in [&mut source, &mut destination] {
            side.selector.take_if(|selector| selector.is_all());
        }
        Rule {
            ip_version: only.filter(|_| family.is_none()),
            protocol: Some(ProtocolMatch { protocol, family }),
            icmp: icmp.map(|(icmp_type, code)| IcmpMatch {
                icmp_type,
                code: Some(code),
            }),
            source,
            destination,
            name: Some(self.name.clone()),
            ..Rule::unconditional(Action::Allow, position.clone())
        }
    }
}

/// `tcp 80,443`, `icmp 8/0`.
pub(super) fn what_text(what: What, ports: &[PortRange]) -> String {
    match (what.icmp, ports) {
        (Some((icmp_type, code)), _) => format!("{} {icmp_type}/{code}", what.protocol),
        (None, []) => what.protocol.to_string(),
        (None, ports) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!("{} {}", what.protocol, ports.join(","))
        }
    }
}

/// Names that say what the rule is for, and that no rule of the policy has: `from-frontend-tcp-8080`.
fn give_names(drafts: &mut [Draft<'_>], worlds: &Worlds, policy: &Policy) {
    let rules = policy.ingress.iter().chain(&policy.egress);
    let mut given: BTreeSet<String> = rules.filter_map(|rule| rule.name.clone()).collect();
    for draft in drafts {
        let to = End::Far.word(draft.direction);
        let who = match &draft.far {
            Side::Own | Side::Anyone(_) => "anyone".to_owned(),
            Side::Nets(nets) => nets.first().map(|net| net.addr().to_string()).unwrap_or_default(),
            Side::Named(_) => {
                let first = draft.evidence.iter().map(|observed| far(observed)).next();
                let object = first.and_then(|address| object_at(worlds, address));
                object
                    .map(|object| Peer::Object(object).name(worlds))
                    .unwrap_or_default()
            }
        };
        let which = match (draft.what.icmp, draft.ports.first()) {
            (Some((icmp_type, code)), _) => format!("-{icmp_type}-{code}"),
            (None, Some(range)) => format!("-{range}"),
            (None, None) => String::new(),
        };
        let tail = format!("-{}{which}", draft.what.protocol);
        let mut name = slug(&format!("{to}-{who}"), LONGEST_NAME - tail.len() - 5) + &tail;
        let mut number = 2;
        let plain = name.clone();
        while !given.insert(name.clone()) {
            name = format!("{plain}-{number}");
            number += 1;
        }
        draft.name = name;
    }
}

/// Lower case letters, digits and single dashes between them.
fn slug(text: &str, longest: usize) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        if slug.len() >= longest {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}
