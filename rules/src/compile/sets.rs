//! Named sets: equal ones are shared, and their names say what they hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::{Family, PortRange};
use crate::ruleset::{Comment, Elements, Name, Set, fnv1a};
use crate::world::{AddressSet, NamedPortSet};

/// The longest readable part of a set's name.
const MAX_SLUG: usize = 48;

/// The sets of one ruleset.
#[derive(Default)]
pub(super) struct SetInterner {
    sets: BTreeMap<Name, Arc<Set>>,
    by_identity: BTreeMap<String, Name>,
}

impl SetInterner {
    /// The set of the addresses of one family that a selector stands for. Its name depends on the selector, not on
    /// who is in it, so that a membership change touches elements only.
    pub(super) fn addresses(&mut self, set: &AddressSet, family: Family) -> Name {
        let elements = address_elements(set.of_family(family), family);
        self.intern(&set.selector.to_string(), elements)
    }

    /// The set of the prefixes of one family among those a rule lists.
    pub(super) fn nets(&mut self, nets: &[IpNet], family: Family) -> Name {
        let text = nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(" ");
        self.intern(&text, address_elements(nets.iter().copied(), family))
    }

    /// The addresses and ports of one family that named ports stand for. As with addresses, the name does not depend on
    /// the members.
    pub(super) fn named_ports(&mut self, set: &NamedPortSet, family: Family) -> Name {
        let protocol = set.protocol;
        let members = set.of_family(family);
        let elements = match family {
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
        };
        self.intern(&set.text, elements)
    }

    /// The set of these ports.
    pub(super) fn ports(&mut self, ranges: &[PortRange]) -> Name {
        let text = ranges
            .iter()
            .map(PortRange::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        self.intern(&text, Elements::Ports(ranges.to_vec()))
    }

    /// All sets by name.
    pub(super) fn into_sets(self) -> BTreeMap<Name, Arc<Set>> {
        self.sets
    }

    fn intern(&mut self, text: &str, elements: Elements) -> Name {
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
        let identity = format!("{kind} {text}");
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
        while self.sets.contains_key(&name) {
            attempt += 1;
            name = hashed(attempt);
        }
        self.sets.insert(
            name.clone(),
            Arc::new(Set {
                elements,
                comment: Comment::new(text),
            }),
        );
        self.by_identity.insert(identity, name.clone());
        name
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
