//! The policies that are compared, and the packets that meet them: the one place that says how large and of what shape.
//!
//! One host endpoint, `server`, is selected by N policies of five rules each, all of them Allow, in one tier; what no rule allows is
//! denied. Every policy is a file of its own, as every network set is.
//!
//! - **spread** ([`Shape::Spread`]): policy p speaks of port 6000 + p, as one service. Each of its five rules allows that port to one
//!   network set; rule i of all takes set i mod 200. A set has 500 addresses: 100,000 in all, from 40 policies on.
//! - **one port** ([`Shape::OnePort`]), the hard one: every rule speaks of port 5000, and rules differ by their source alone, a /28
//!   each. Nothing but the address tells policies apart.
//!
//! In both, the first rule of the first policy allows its port to [`Place::First`]'s addresses, the last rule of the last policy
//! to [`Place::Last`]'s, and no rule allows anything to [`Place::Nothing`]'s: where a packet matches is a matter of its source.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Rules of a policy.
pub(crate) const RULES_OF_A_POLICY: usize = 5;
/// Network sets, shared by the rules in turn.
const SETS: usize = 200;
/// Addresses of a network set.
const MEMBERS: usize = 500;
/// Addresses that packets of one [`Place`] come from.
pub(crate) const SOURCES: u8 = 250;

/// The interface of the server that policy is asked at.
pub(crate) const INTERFACE: &str = "eth1";
/// The server.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// How policies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// By port, and by source set within a policy.
    Spread,
    /// By source network alone.
    OnePort,
}

/// The protocol that all rules speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// Which rule a packet matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The first rule of the first policy.
    First,
    /// The last rule of the last policy.
    Last,
    /// None: it is denied by the end of the tier.
    Nothing,
}

/// So many policies, of one shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estate {
    pub(crate) policies: usize,
    pub(crate) shape: Shape,
    pub(crate) protocol: Protocol,
    /// Whether one more policy, staged, applies to the endpoint: behind all others, it would allow nothing.
    pub(crate) staged: bool,
}

/// What a rule asks of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// In the network set of that number.
    Set(usize),
    /// In the addresses of a place.
    Place(Place),
    /// In a network of 16 addresses.
    Network(Ipv4Addr),
}

/// One rule: what comes from there to this port is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) source: Source,
    pub(crate) port: u16,
}

impl Protocol {
    /// As nft writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl Place {
    /// All of them.
    pub(crate) const ALL: [Place; 3] = [Place::First, Place::Last, Place::Nothing];

    /// In the words of the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Place::First => "matching first",
            Place::Last => "matching last",
            Place::Nothing => "matching nothing",
        }
    }

    /// One of the [`SOURCES`] addresses its packets come from.
    pub(crate) fn source(self, index: u8) -> Ipv4Addr {
        let third = match self {
            Place::Last => 1,
            Place::First => 2,
            Place::Nothing => 3,
        };
        Ipv4Addr::new(10, 77, third, 1 + index % SOURCES)
    }

    /// The network of these addresses.
    fn network(self) -> String {
        let [a, b, c, _] = self.source(0).octets();
        format!("{a}.{b}.{c}.0/24")
    }
}

impl Source {
    /// The name of the network set, where it is one.
    pub(crate) fn set(self) -> Option<String> {
        match self {
            Source::Set(number) => Some(format!("s{number}")),
            Source::Place(Place::First) => Some("early".to_owned()),
            Source::Place(_) => Some("clients".to_owned()),
            Source::Network(_) => None,
        }
    }

    /// The addresses of a set, each by itself.
    pub(crate) fn members(self) -> Vec<String> {
        let member = |number, member| address(number * MEMBERS + member).to_string();
        match self {
            Source::Set(number) => (0..MEMBERS).map(|index| member(number, index)).collect(),
            Source::Place(place) => (0..SOURCES)
                .map(|index| place.source(index).to_string())
                .collect(),
            Source::Network(_) => Vec::new(),
        }
    }

    /// Where it is one network, that; else nothing.
    pub(crate) fn network(self) -> String {
        match self {
            Source::Place(place) => place.network(),
            Source::Network(first) => format!("{first}/28"),
            Source::Set(_) => String::new(),
        }
    }
}

impl Estate {
    /// How many rules there are, the staged one aside.
    pub(crate) fn rules(&self) -> usize {
        self.policies * RULES_OF_A_POLICY
    }

    /// The rule of that number, counted through all policies.
    pub(crate) fn rule(&self, number: usize) -> Rule {
        let place = match number {
            0 => Some(Place::First),
            _ if number + 1 == self.rules() => Some(Place::Last),
            _ => None,
        };
        let source = match (self.shape, place) {
            (_, Some(place)) => Source::Place(place),
            (Shape::Spread, None) => Source::Set(number % SETS),
            (Shape::OnePort, None) => Source::Network(address(number * 16)),
        };
        Rule {
            source,
            port: self.port(number / RULES_OF_A_POLICY),
        }
    }

    /// A rule of a policy. `edition` 0 is the one that all are made with; in another one the second rule has a port of its own.
    pub(crate) fn rule_of(&self, policy: usize, index: usize, edition: u16) -> Rule {
        let mut rule = self.rule(policy * RULES_OF_A_POLICY + index);
        if edition > 0 && index == 1 {
            rule.port = 40_000 + edition;
        }
        rule
    }

    /// The port that packets of a place are sent to.
    pub(crate) fn port_of(&self, place: Place) -> u16 {
        match place {
            Place::First => self.port(0),
            Place::Last | Place::Nothing => self.port(self.policies.saturating_sub(1)),
        }
    }

    /// The network sets that its rules name, each once.
    pub(crate) fn sets(&self) -> Vec<Source> {
        if self.shape == Shape::OnePort {
            return Vec::new();
        }
        let rules = (0..self.rules()).map(|number| self.rule(number).source);
        let mut sets: Vec<Source> = rules.filter(|source| source.set().is_some()).collect();
        sets.sort_unstable();
        sets.dedup();
        sets
    }

    /// The resource files, with their names.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![("00-server.yaml".to_owned(), self.endpoint())];
        for source in self.sets() {
            let name = source.set().unwrap_or_default();
            files.push((format!("set-{name}.yaml"), network_set(&name, &source.members())));
        }
        files.extend((0..self.policies).map(|policy| (policy_file(policy), self.policy(policy, 0))));
        if self.staged {
            files.push(("staged.yaml".to_owned(), STAGED.to_owned()));
        }
        files
    }

    /// A policy's file, of an edition.
    pub(crate) fn policy(&self, policy: usize, edition: u16) -> String {
        let protocol = self.protocol.name().to_uppercase();
        let mut text = format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: service-{policy:05}}}\nspec:\n\
             \x20 order: {policy}\n  selector: role == 'server'\n  types: [Ingress]\n  ingress:\n"
        );
        for index in 0..RULES_OF_A_POLICY {
            let rule = self.rule_of(policy, index, edition);
            let source = match rule.source.set() {
                Some(name) if self.shape == Shape::Spread => format!("selector: set == '{name}'"),
                _ => format!("nets: [{}]", rule.source.network()),
            };
            // Writing into a string cannot fail.
            let _ = writeln!(
                text,
                "    - {{action: Allow, protocol: {protocol}, source: {{{source}}}, destination: {{ports: [{}]}}}}",
                rule.port
            );
        }
        text
    }

    /// The endpoint. Without policies it is open; with the first one, what no rule allows is denied.
    fn endpoint(&self) -> String {
        let profiles = if self.policies == 0 {
            ", profiles: [projectcalico-default-allow]"
        } else {
            ""
        };
        format!(
            "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: server, labels: {{role: server}}}}\n\
             spec: {{node: server, interfaceName: {INTERFACE}, expectedIPs: [{SERVER}]{profiles}}}\n"
        )
    }

    fn port(&self, policy: usize) -> u16 {
        match self.shape {
            // 10,000 policies end at port 15999.
            Shape::Spread => u16::try_from(6000 + policy).unwrap_or(u16::MAX),
            Shape::OnePort => 5000,
        }
    }
}

/// The file that a policy is in.
pub(crate) fn policy_file(policy: usize) -> String {
    format!("service-{policy:05}.yaml")
}

/// A host elsewhere, of the first network set, with these addresses.
pub(crate) fn peer(addresses: &[Ipv4Addr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: peer, labels: {{set: s1}}}}\n\
         spec: {{node: peer, interfaceName: eth0, expectedIPs: [{}]}}\n",
        addresses.join(", ")
    )
}

const STAGED: &str = "apiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicy\nmetadata: {name: lockdown}\n\
                      spec:\n  order: 50000\n  selector: role == 'server'\n  types: [Ingress]\n  ingress:\n\
                      \x20   - {action: Deny, destination: {nets: [0.0.0.0/0]}}\n";

fn network_set(name: &str, members: &[String]) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: {name}, labels: {{set: {name}}}}}\n\
         spec: {{nets: [{}]}}\n",
        members.join(", ")
    )
}

/// An address of 10.128.0.0/9, where nobody sends from.
fn address(offset: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 0).to_bits() + u32::try_from(offset).unwrap_or_default())
}
