//! Named sets: equal ones are shared, and their names say what they hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::{Family, PortRange};
use crate::ruleset::{Comment, Elements, Name, Set, fnv1a};
use crate::shared_map::SharedMap;
use crate::world::{AddressSet, AddressSetId, NamedPortSet, NamedPortSetId, Worlds};

/// The longest readable part of a set's name.
const MAX_SLUG: usize = 48;

/// The sets that one compilation meets.
#[derive(Default)]
pub(super) struct SetInterner {
    made: BTreeMap<Name, Made>,
    by_identity: BTreeMap<Arc<str>, Name>,
    /// The sets of chains that are taken over.
    earlier: SharedMap<Name, SetUse>,
    /// Whether two sets would have had one name.
    pub(super) has_clash: bool,
}

/// A set that a rule asked for.
pub(super) struct Made {
    pub(super) used: SetUse,
    pub(super) set: Set,
}

/// A set in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetUse {
    /// Its kind and its text.
    identity: Arc<str>,
    pub(super) source: SetSource,
    family: Family,
    /// How many conditions look into it.
    pub(super) count: usize,
}

/// Where the members of a set come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SetSource {
    /// The rule itself: they never change.
    Rule,
    /// A selector.
    Addresses(AddressSetId),
    /// Named ports.
    NamedPorts(NamedPortSetId),
}

impl SetUse {
    /// The set as it is now; `None` for one of a rule's own.
    pub(super) fn set(&self, worlds: &Worlds) -> Option<Set> {
        let elements = match self.source {
            SetSource::Rule => return None,
            SetSource::Addresses(id) => {
                address_elements(worlds.address_sets.get(id).of_family(self.family), self.family)
            }
            SetSource::NamedPorts(id) => port_elements(worlds.named_ports.get(id), self.family),
        };
        let (_, text) = self.identity.split_once(' ')?;
        let comment = Comment::new(text);
        Some(Set { elements, comment })
    }
}

impl SetInterner {
    /// An interner beside sets that are there already.
    pub(super) fn beside(earlier: SharedMap<Name, SetUse>) -> Self {
        SetInterner {
            earlier,
            ..SetInterner::default()
        }
    }

    /// The set of the addresses of one family that a selector stands for. Its name depends on the selector, not on
    /// who is in it, so that a membership change touches elements only.
    pub(super) fn addresses(&mut self, worlds: &Worlds, id: AddressSetId, family: Family) -> Name {
        let set = worlds.address_sets.get(id);
        let elements = address_elements(set.of_family(family), family);
        self.intern(
            &set.selector.to_string(),
            elements,
            SetSource::Addresses(id),
            family,
        )
    }

    /// The set of the prefixes of one family among those a rule lists.
    pub(super) fn nets(&mut self, nets: &[IpNet], family: Family) -> Name {
        let text = nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(" ");
        self.intern(
            &text,
            address_elements(nets.iter().copied(), family),
            SetSource::Rule,
            family,
        )
    }

    /// The addresses and ports of one family that named ports stand for. As with addresses, the name does not depend on
    /// the members.
    pub(super) fn named_ports(&mut self, worlds: &Worlds, id: NamedPortSetId, family: Family) -> Name {
        let set = worlds.named_ports.get(id);
        self.intern(
            &set.text,
            port_elements(set, family),
            SetSource::NamedPorts(id),
            family,
        )
    }

    /// The set of these ports.
    pub(super) fn ports(&mut self, ranges: &[PortRange]) -> Name {
        let text = ranges
            .iter()
            .map(PortRange::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        self.intern(
            &text,
            Elements::Ports(ranges.to_vec()),
            SetSource::Rule,
            Family::V4,
        )
    }

    /// All sets that were asked for.
    pub(super) fn into_made(self) -> BTreeMap<Name, Made> {
        self.made
    }

    fn intern(&mut self, text: &str, elements: Elements, source: SetSource, family: Family) -> Name {
        let kind = match &elements {
            Elements::Ipv4Addresses(_) => "ip4",
            Elements::Ipv6Addresses(_) => "ip6",
            Elements::Ipv4Nets(_) => "net4",
            Elements::Ipv6Nets(_) => "net6",
            Elements::Ports(_) => "ports",
            Elements::Ipv4NamedPorts(_) => "named4",
            Elements::Ipv6NamedPorts(_) => "named6",
            Elements::Families(..) => "families",
        };
        let identity: Arc<str> = format!("{kind} {text}").into();
        if let Some(name) = self.by_identity.get(&identity) {
            return name.clone();
        }
        // A hash tells texts apart that read alike; where even that is taken, another one does.
        let slug = slug(text);
        let hashed = |attempt: usize| {
            Name::new(&format!(
                "{kind}/{slug}-{:08x}",
                fnv1a(&format!("{identity}{}", "'".repeat(attempt))) >> 32
            ))
        };
        let mut name = if slug == text {
            Name::new(&format!("{kind}/{slug}"))
        } else {
            hashed(0)
        };
        let mut attempt = 0;
        while self.is_taken(&name, &identity) {
            self.has_clash = true;
            attempt += 1;
            name = hashed(attempt);
        }
        let comment = Comment::new(text);
        let made = Made {
            used: SetUse {
                identity: Arc::clone(&identity),
                source,
                family,
                count: 0,
            },
            set: Set { elements, comment },
        };
        self.made.insert(name.clone(), made);
        self.by_identity.insert(identity, name.clone());
        name
    }

    fn is_taken(&self, name: &Name, identity: &str) -> bool {
        let is_other = |used: &SetUse| *used.identity != *identity;
        self.made.contains_key(name) || self.earlier.get(name).is_some_and(is_other)
    }
}

/// What the name of a selector's set, and whether there is one, depends on besides the selector.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Single addresses.
    Addresses,
    /// Prefixes.
    Nets,
    /// Every address: no condition at all.
    Everything,
    /// No address of IPv6: whoever must be one of them has no rule.
    ///
    /// Where no set has one, half of all rules could match nothing. In IPv4 there is a rule all the same: it is seen in the
    /// listing, and a set that is empty from time to time takes no more than elements to fill.
    Nothing,
}

/// The shape of a selector's set in one family.
pub(super) fn shape(set: &AddressSet, family: Family) -> Shape {
    if set.is_everything(family) {
        Shape::Everything
    } else if is_nothing(set, family) {
        Shape::Nothing
    } else if set
        .of_family(family)
        .all(|net| net.prefix_len() == net.max_prefix_len())
    {
        Shape::Addresses
    } else {
        Shape::Nets
    }
}

/// Whether it is of the shape of nothing: asked for each rule, and answered without a look at the members.
pub(super) fn is_nothing(set: &AddressSet, family: Family) -> bool {
    family == Family::V6 && set.of_family(family).next().is_none()
}

fn port_elements(set: &NamedPortSet, family: Family) -> Elements {
    let protocol = set.protocol;
    let members = set.of_family(family);
    match family {
        Family::V4 => Elements::Ipv4NamedPorts(
            members
                .filter_map(|(address, port)| match address {
                    IpAddr::V4(address) => Some((address, protocol, port)),
                    IpAddr::V6(_) => None,
                })
                .collect(),
        ),
        Family::V6 => Elements::Ipv6NamedPorts(
            members
                .filter_map(|(address, port)| match address {
                    IpAddr::V6(address) => Some((address, protocol, port)),
                    IpAddr::V4(_) => None,
                })
                .collect(),
        ),
    }
}

/// Single addresses where there are no others, for a hash is faster than an interval set.
fn address_elements(nets: impl Iterator<Item = IpNet>, family: Family) -> Elements {
    let (mut v4, mut v6): (Vec<Ipv4Net>, Vec<Ipv6Net>) = (Vec::new(), Vec::new());
    for net in nets {
        match net {
            IpNet::V4(net) => v4.push(net),
            IpNet::V6(net) => v6.push(net),
        }
    }
    match family {
        Family::V4 if v4.iter().all(|net| net.prefix_len() == 32) => {
            Elements::Ipv4Addresses(v4.iter().map(Ipv4Net::addr).collect::<Vec<Ipv4Addr>>())
        }
        Family::V6 if v6.iter().all(|net| net.prefix_len() == 128) => {
            Elements::Ipv6Addresses(v6.iter().map(Ipv6Net::addr).collect::<Vec<Ipv6Addr>>())
        }
        Family::V4 => Elements::Ipv4Nets(v4),
        Family::V6 => Elements::Ipv6Nets(v6),
    }
}

/// The text with only what a name may hold, words joined by dashes; the text itself if it is short and plain.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if slug.len() >= MAX_SLUG {
            break;
        }
        if c.is_ascii_alphanumeric() || c == '.' || c == '_' {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}
