//! What sets and maps can hold, fixed when they are created.

use palisade_rules::ruleset::{Elements, Ways};

use crate::abi::set;

/// What a set can hold, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// `type ipv4_addr`.
    Ipv4Addresses,
    /// `type ipv6_addr`.
    Ipv6Addresses,
    /// `type ipv4_addr; flags interval`.
    Ipv4Nets,
    /// `type ipv6_addr; flags interval`.
    Ipv6Nets,
    /// `type inet_service; flags interval`.
    Ports,
    /// `type ipv4_addr . inet_proto . inet_service`.
    Ipv4NamedPorts,
    /// `type ipv6_addr . inet_proto . inet_service`.
    Ipv6NamedPorts,
    /// `type nf_proto; flags timeout`.
    Families,
}

impl SetKind {
    /// All of them.
    pub(crate) const ALL: [SetKind; 8] = [
        SetKind::Ipv4Addresses,
        SetKind::Ipv6Addresses,
        SetKind::Ipv4Nets,
        SetKind::Ipv6Nets,
        SetKind::Ports,
        SetKind::Ipv4NamedPorts,
        SetKind::Ipv6NamedPorts,
        SetKind::Families,
    ];

    /// The kind of set that holds these.
    pub fn of(elements: &Elements) -> Self {
        match elements {
            Elements::Ipv4Addresses(_) => SetKind::Ipv4Addresses,
            Elements::Ipv6Addresses(_) => SetKind::Ipv6Addresses,
            Elements::Ipv4Nets(_) => SetKind::Ipv4Nets,
            Elements::Ipv6Nets(_) => SetKind::Ipv6Nets,
            Elements::Ports(_) => SetKind::Ports,
            Elements::Ipv4NamedPorts(_) => SetKind::Ipv4NamedPorts,
            Elements::Ipv6NamedPorts(_) => SetKind::Ipv6NamedPorts,
            Elements::Families(..) => SetKind::Families,
        }
    }

    /// How the kernel makes one.
    pub(crate) fn form(self) -> Form {
        match self {
            SetKind::Ipv4Addresses => Form::IPV4,
            SetKind::Ipv6Addresses => Form::IPV6,
            SetKind::Ipv4Nets => Form::IPV4.with(set::F_INTERVAL),
            SetKind::Ipv6Nets => Form::IPV6.with(set::F_INTERVAL),
            SetKind::Ports => Form::PORT.with(set::F_INTERVAL),
            SetKind::Ipv4NamedPorts => Form::IPV4.and(Form::PROTOCOL).and(Form::PORT),
            SetKind::Ipv6NamedPorts => Form::IPV6.and(Form::PROTOCOL).and(Form::PORT),
            SetKind::Families => Form::FAMILY.with(set::F_TIMEOUT),
        }
    }
}

/// What a verdict map is looked up by, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// `type inet_proto . inet_service : verdict`.
    Services,
    /// `type inet_proto : verdict`.
    Protocols,
    /// `type inet_service : verdict; flags interval`.
    Ports,
    /// `type ipv4_addr : verdict`.
    Ipv4Addresses,
    /// `type ipv6_addr : verdict`.
    Ipv6Addresses,
    /// `type ipv4_addr : verdict; flags interval`.
    Ipv4Ranges,
    /// `type ipv6_addr : verdict; flags interval`.
    Ipv6Ranges,
}

impl MapKind {
    /// All of them.
    pub(crate) const ALL: [MapKind; 7] = [
        MapKind::Services,
        MapKind::Protocols,
        MapKind::Ports,
        MapKind::Ipv4Addresses,
        MapKind::Ipv6Addresses,
        MapKind::Ipv4Ranges,
        MapKind::Ipv6Ranges,
    ];

    /// The kind of map that holds these.
    pub fn of(ways: &Ways) -> Self {
        match ways {
            Ways::Services(_) => MapKind::Services,
            Ways::Protocols(_) => MapKind::Protocols,
            Ways::Ports(_) => MapKind::Ports,
            Ways::Ipv4Addresses(_) => MapKind::Ipv4Addresses,
            Ways::Ipv6Addresses(_) => MapKind::Ipv6Addresses,
            Ways::Ipv4Ranges(_) => MapKind::Ipv4Ranges,
            Ways::Ipv6Ranges(_) => MapKind::Ipv6Ranges,
        }
    }

    /// How the kernel makes one.
    pub(crate) fn form(self) -> Form {
        let key = match self {
            MapKind::Services => Form::PROTOCOL.and(Form::PORT),
            MapKind::Protocols => Form::PROTOCOL,
            MapKind::Ports => Form::PORT.with(set::F_INTERVAL),
            MapKind::Ipv4Addresses => Form::IPV4,
            MapKind::Ipv6Addresses => Form::IPV6,
            MapKind::Ipv4Ranges => Form::IPV4.with(set::F_INTERVAL),
            MapKind::Ipv6Ranges => Form::IPV6.with(set::F_INTERVAL),
        };
        key.with(set::F_MAP)
    }

    /// Whether each element is an interval of keys.
    pub(crate) fn is_interval(self) -> bool {
        self.form().flags & set::F_INTERVAL != 0
    }
}

/// What the kernel is told of a set or verdict map, and tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// `NFT_SET_*`.
    pub(crate) flags: u32,
    /// nft's number of the type of a key.
    pub(crate) key_type: u32,
    /// Bytes of a key.
    pub(crate) key_length: u32,
}

impl Form {
    const FAMILY: Form = Form::of(set::TYPE_NF_PROTO, 1);
    const IPV4: Form = Form::of(set::TYPE_IPV4_ADDR, 4);
    const IPV6: Form = Form::of(set::TYPE_IPV6_ADDR, 16);
    const PROTOCOL: Form = Form::of(set::TYPE_INET_PROTO, 1);
    const PORT: Form = Form::of(set::TYPE_INET_SERVICE, 2);

    const fn of(key_type: u32, key_length: u32) -> Self {
        Form {
            flags: 0,
            key_type,
            key_length,
        }
    }

    const fn with(mut self, flag: u32) -> Self {
        self.flags |= flag;
        self
    }

    /// A key of this part and another behind it, each from the start of a four-byte word to the end of one.
    const fn and(self, other: Form) -> Self {
        Form {
            flags: self.flags | other.flags,
            key_type: self.key_type << set::TYPE_BITS | other.key_type,
            key_length: self.key_length.next_multiple_of(4) + other.key_length.next_multiple_of(4),
        }
    }
}
