//! Rules: what they match and what they do.

use std::fmt;

use ipnet::IpNet;

use crate::net::{Family, PortRange, Protocol};
use crate::selector::Selector;
use crate::source::Position;

/// One rule of a policy. All its conditions must hold; a list inside a condition is an "or".
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What happens to a packet that matches.
    pub action: Action,
    /// `ipVersion`.
    pub ip_version: Option<Family>,
    /// `protocol`.
    pub protocol: Option<ProtocolMatch>,
    /// `notProtocol`.
    pub not_protocol: Option<ProtocolMatch>,
    /// `icmp`: only with a protocol that is ICMP.
    pub icmp: Option<IcmpMatch>,
    /// `notICMP`.
    pub not_icmp: Option<IcmpMatch>,
    /// `source`.
    pub source: Entity,
    /// `destination`.
    pub destination: Entity,
    /// The annotation `palisade.dev/rule-name`: a name that outlives edits of the rule.
    pub name: Option<String>,
    /// The other annotations, sorted: they go into the rule's comment in the kernel.
    pub annotations: Vec<(String, String)>,
    /// Its index among the rules as written. One rule of a Kubernetes policy becomes several, with the same index.
    pub index: usize,
    /// Where it was written.
    pub position: Position,
}

impl Rule {
    /// The rule that matches every packet.
    pub fn unconditional(action: Action, position: Position) -> Self {
        Rule {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            name: None,
            annotations: Vec::new(),
            index: 0,
            position,
        }
    }

    /// Whether it matches every packet.
    pub fn is_unconditional(&self) -> bool {
        self.ip_version.is_none()
            && self.protocol.is_none()
            && self.not_protocol.is_none()
            && self.icmp.is_none()
            && self.not_icmp.is_none()
            && self.source == Entity::default()
            && self.destination == Entity::default()
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Accept the packet.
    Allow,
    /// Drop the packet.
    Deny,
    /// Skip the rest of the tier.
    Pass,
    /// Log the packet and go on.
    Log,
}

impl Action {
    /// Calico's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "Allow",
            Action::Deny => "Deny",
            Action::Pass => "Pass",
            Action::Log => "Log",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A protocol as a rule names it: `ICMP` and `ICMPv6` belong to one family, numbers to either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolMatch {
    /// The protocol.
    pub protocol: Protocol,
    /// The family that the written name implies (`ICMP` IPv4, `ICMPv6` IPv6).
    pub family: Option<Family>,
}

/// A type of ICMP, and perhaps a code of it. It is about ICMP of the packet's own family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpMatch {
    /// The type, 0 to 254.
    pub icmp_type: u8,
    /// The code; `None` is any.
    pub code: Option<u8>,
}

impl IcmpMatch {
    /// Whether type and code are these.
    pub fn matches(self, icmp_type: u8, code: u8) -> bool {
        self.icmp_type == icmp_type && self.code.is_none_or(|wanted| wanted == code)
    }
}

/// As a rule's text has it: `8`, or `3/1` with a code.
impl fmt::Display for IcmpMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.icmp_type)?;
        self.code.map_or(Ok(()), |code| write!(f, "/{code}"))
    }
}

/// One side of a rule. `None` is "no condition"; a list that is there is never empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entity {
    /// `nets`: the address is in one of these.
    pub nets: Option<Vec<IpNet>>,
    /// `notNets`: the address is in none of these.
    pub not_nets: Option<Vec<IpNet>>,
    /// The address belongs to an endpoint or set that this selects: `selector`, `namespaceSelector`, `serviceAccounts`
    /// and the policy's own namespace in one (reference 2.4).
    pub selector: Option<Selector>,
    /// `notSelector`: with `selector`, narrows its objects; alone, excludes addresses.
    pub not_selector: Option<Selector>,
    /// `ports`.
    pub ports: Option<Ports>,
    /// `notPorts`.
    pub not_ports: Option<Ports>,
}

/// Ports by number and by name; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// Ranges of numbers.
    pub ranges: Vec<PortRange>,
    /// Names: each is the port of that name, of the rule's protocol, of every endpoint that the entity's selectors
    /// select. A rule without a protocol means TCP, as in Calico.
    pub names: Vec<String>,
}

/// As a rule's text has it: `80,8000-8059,http`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.ranges.iter().map(PortRange::to_string);
        let all: Vec<String> = ranges.chain(self.names.iter().cloned()).collect();
        f.write_str(&all.join(","))
    }
}
