//! Palisade's model of one nft table, `inet palisade`: what the kernel is to hold.
//!
//! It is complete and ordered, and says nothing of policies. [`text`] prints it as `nft` would list it; the
//! crate `palisade-nft` turns it into netlink messages and compares it with what the kernel holds.

pub mod changes;
pub mod text;
pub mod unconfirmed;
mod ways;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::{Family, PortRange, Protocol};
use crate::shared_map::SharedMap;

pub use ways::{LookupKey, VerdictMap, Ways};

/// The table that palisade owns, in family `inet`.
pub const TABLE: &str = "palisade";

/// The comment of the table: whose it is.
pub const TABLE_COMMENT: &str = "made by palisaded from /etc/palisade; changes made here are undone";

/// The longest name of a chain, set or counter that nf_tables takes, in bytes.
pub const MAX_NAME: usize = 255;

/// The longest comment that `nft` loads again, with a margin below its limit of 128 bytes.
pub const MAX_COMMENT: usize = 125;

/// One nft table, whole. Rulesets share what they have in common, and what is shared is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Named counters and their comments.
    pub counters: SharedMap<Name, Comment>,
    /// Named sets.
    pub sets: BTreeMap<Name, Arc<Set>>,
    /// Verdict maps.
    pub maps: BTreeMap<Name, Arc<VerdictMap>>,
    /// Chains in the order they are listed: base chains first, then in order of evaluation.
    pub chains: Vec<Arc<Chain>>,
}

/// A name of a chain, set or counter, fit for nft's grammar: a letter first, then letters, digits and `/-_.`;
/// anything else becomes `_`, and what is longer than [`MAX_NAME`] is cut and made unique by a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// A name from any text.
    pub fn new(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert(0, 'x');
        }
        if name.len() > MAX_NAME {
            let suffix = format!("-{:016x}", fnv1a(text));
            name.truncate(MAX_NAME - suffix.len());
            name.push_str(&suffix);
        }
        Name(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A comment that `nft` lists and loads again: one line, no double quote, at most [`MAX_COMMENT`] bytes. An
/// empty one is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Comment(Arc<str>);

impl Comment {
    /// A comment from any text; what is too long ends in `...`.
    pub fn new(text: &str) -> Self {
        let mut comment: String = text
            .chars()
            .map(|c| match c {
                '"' => '\'',
                '\\' => '/',
                c if c.is_control() => ' ',
                c => c,
            })
            .collect();
        if comment.len() > MAX_COMMENT {
            let mut end = MAX_COMMENT - 3;
            while !comment.is_char_boundary(end) {
                end -= 1;
            }
            comment.truncate(end);
            comment.push_str("...");
        }
        Comment(comment.into())
    }

    /// The text, empty for none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What it holds.
    pub elements: Elements,
    /// What it stands for.
    pub comment: Comment,
}

/// What a set holds: sorted, disjoint and merged. A set is an interval set in the kernel exactly when
/// [`Elements::is_interval`] says so, and then for as long as it lives: the compiler puts that into its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elements {
    /// `type ipv4_addr`, single addresses (hash).
    Ipv4Addresses(Vec<Ipv4Addr>),
    /// `type ipv6_addr`, single addresses (hash).
    Ipv6Addresses(Vec<Ipv6Addr>),
    /// `type ipv4_addr; flags interval`. Never holds `0.0.0.0/0`: that is no condition.
    Ipv4Nets(Vec<Ipv4Net>),
    /// `type ipv6_addr; flags interval`. Never holds `::/0`.
    Ipv6Nets(Vec<Ipv6Net>),
    /// `type inet_service; flags interval`.
    Ports(Vec<PortRange>),
    /// `type ipv4_addr . inet_proto . inet_service` (hash).
    Ipv4NamedPorts(Vec<(Ipv4Addr, Protocol, u16)>),
    /// `type ipv6_addr . inet_proto . inet_service` (hash).
    Ipv6NamedPorts(Vec<(Ipv6Addr, Protocol, u16)>),
    /// `type nf_proto; flags timeout` (hash): each goes by itself this long after the set was made, at least
    /// [`MIN_TIMEOUT`]. What is left of them later, and of their time, is the kernel's own business: it is no part of what
    /// the ruleset asks for, and a set that stays is never filled again. To have it filled anew, give it another comment.
    Families(Vec<Family>, Duration),
}

/// The shortest timeout of an element. The kernel counts in ticks of up to 10 ms, and what rounds to none of them never
/// ends.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);

impl Elements {
    /// Whether the kernel's set has the interval flag.
    pub fn is_interval(&self) -> bool {
        matches!(
            self,
            Elements::Ipv4Nets(_) | Elements::Ipv6Nets(_) | Elements::Ports(_)
        )
    }

    /// How many elements a listing shows.
    pub fn len(&self) -> usize {
        match self {
            Elements::Ipv4Addresses(elements) => elements.len(),
            Elements::Ipv6Addresses(elements) => elements.len(),
            Elements::Ipv4Nets(elements) => elements.len(),
            Elements::Ipv6Nets(elements) => elements.len(),
            Elements::Ports(elements) => elements.len(),
            Elements::Ipv4NamedPorts(elements) => elements.len(),
            Elements::Ipv6NamedPorts(elements) => elements.len(),
            Elements::Families(elements, _) => elements.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: Name,
    /// Where it hangs, for a base chain; its chain policy is always accept, for a drop is always a rule.
    pub hook: Option<Hook>,
    /// What it is.
    pub comment: Comment,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where a base chain hangs; all have type `filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The netfilter hook.
    pub point: HookPoint,
    /// The priority among the base chains of the hook.
    pub priority: i32,
}

/// A netfilter hook of family `inet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
}

/// One rule: all matches hold, then the statements run in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Conditions, cheapest first.
    pub matches: Vec<Match>,
    /// What happens then.
    pub statements: Vec<Statement>,
    /// Which policy and rule this is.
    pub comment: Comment,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal, or in the set or range.
    Is,
    /// Not equal, or not in the set or range.
    IsNot,
}

/// Source or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `saddr`, `sport`.
    Source,
    /// `daddr`, `dport`.
    Destination,
}

/// One condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `iifname`: the packet came in by this interface.
    InputInterface(Op, String),
    /// `oifname`: the packet goes out by this interface.
    OutputInterface(Op, String),
    /// `ct state`: any of these.
    CtState(&'static [CtState]),
    /// `meta nfproto`.
    Family(Family),
    /// `meta nfproto @set`.
    FamilySet(Op, Name),
    /// `jhash ip saddr . th sport mod 100 ... >= N`: the packet's sender falls outside the first N of 100 equal shares.
    /// Its address and the first two bytes behind the IP header decide, with a seed that is always [`SHARE_SEED`]: every
    /// packet of a connection in one direction falls into one share, in every hook, on every host. Stands behind a
    /// [`Match::Family`]. A packet that ends before those two bytes does not match.
    OutsideShare(Family, u8),
    /// `meta l4proto`.
    Protocol(Op, Protocol),
    /// `ip saddr` and the like, against one prefix. Stands behind a [`Match::Family`] of the same family.
    Address(Side, Op, IpNet),
    /// `ip saddr @set` and the like. Stands behind a [`Match::Family`].
    AddressSet(Side, Op, Family, Name),
    /// `th sport`, `th dport`. Stands behind a [`Match::Protocol`] that has ports.
    Port(Side, Op, PortRange),
    /// `th dport @set`. Stands behind a [`Match::Protocol`] that has ports.
    PortSet(Side, Op, Name),
    /// `ip daddr . meta l4proto . th dport @set` and the like: an address with a protocol and port of its own. Stands
    /// behind a [`Match::Family`], and behind no [`Match::Protocol`] that asks for a protocol without ports: what nft
    /// lists then, it cannot load, and for GRE it aborts. A packet that ends before a port could stand there does not
    /// match, negated or not.
    NamedPortSet(Side, Op, Family, Name),
    /// `icmp type`, `icmpv6 type`: an inclusive range. Stands behind a [`Match::Protocol`] of that family's ICMP and
    /// a [`Match::Family`].
    IcmpType(Family, Op, u8, u8),
    /// `icmp code`, `icmpv6 code`. Stands where a [`Match::IcmpType`] may.
    IcmpCode(Family, Op, u8),
    /// `meta mark & mask == value`; the negation is `!=`.
    Mark {
        /// The bits looked at.
        mask: u32,
        /// How they are compared.
        op: Op,
        /// What they are compared with.
        value: u32,
    },
    /// `socket cgroupv2 level N "path"`: the socket on this host that the packet comes from or goes to was made by a
    /// process in this cgroup or below. The kernel takes it where only prerouting, input and output lead. It finds the
    /// socket of any packet that leaves, and of TCP and UDP that arrive; but while a TCP handshake is answered, the
    /// answer and the ACK that follows have none.
    SocketCgroup {
        /// How deep the cgroup lies below the root of the hierarchy that palisaded sees; 1 to 255.
        level: u32,
        /// The inode number of its directory: all that the kernel compares besides the level.
        id: u64,
        /// Its path below the root of the hierarchy, without a slash at either end. Where the hierarchy is mounted at
        /// `/sys/fs/cgroup`, nft shows this for the id, and finds the id by it when it loads the text.
        path: String,
    },
}

impl Match {
    /// The named set that the condition looks into.
    pub fn set(&self) -> Option<&Name> {
        match self {
            Match::AddressSet(.., set)
            | Match::PortSet(.., set)
            | Match::NamedPortSet(.., set)
            | Match::FamilySet(_, set) => Some(set),
            _ => None,
        }
    }

    /// See [`Match::set`].
    fn set_mut(&mut self) -> Option<&mut Name> {
        match self {
            Match::AddressSet(.., set)
            | Match::PortSet(.., set)
            | Match::NamedPortSet(.., set)
            | Match::FamilySet(_, set) => Some(set),
            _ => None,
        }
    }
}

/// The seed of [`Match::OutsideShare`]: a larger share holds all of a smaller one.
pub const SHARE_SEED: u32 = 0x7061_6c69;

/// A conntrack state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtState {
    /// Belongs to no connection and cannot start one.
    Invalid,
    /// Belongs to a connection that has seen both directions.
    Established,
    /// Starts a connection that an existing one explains.
    Related,
    /// Starts a connection.
    New,
    /// Not tracked.
    Untracked,
}

/// What a rule does to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `counter name "..."`.
    Counter(Name),
    /// `log group ...`: a copy for user space.
    Log(Log),
    /// `limit rate 10/second burst 5 packets`: the rule goes on for so many packets, and ends here for the others.
    /// Stands before a [`Statement::Log`]. What is counted starts anew when the rule is made anew.
    Limit {
        /// Packets a second; at least 1.
        per_second: u32,
        /// Packets at once after a pause; at least 1, for the kernel takes 0 for 5. With 5, nft does not say so.
        burst: u32,
    },
    /// `notrack`: conntrack never sees the packet. It does so in base chains at prerouting and output of a priority
    /// below conntrack's -200, and nothing anywhere else; the kernel takes it everywhere.
    Notrack,
    /// `meta mark set meta mark & ~mask | value`: only the bits of `mask` change.
    SetMark {
        /// The bits that change.
        mask: u32,
        /// What they become.
        value: u32,
    },
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `reject with icmpx admin-prohibited`.
    Reject,
    /// `reject with tcp reset`. Stands behind a [`Match::Protocol`] for TCP.
    RejectWithReset,
    /// `return`.
    Return,
    /// `jump`.
    Jump(Name),
    /// `goto`.
    Goto(Name),
    /// `... vmap @map`: on to where the map says; the next rule, if it says nothing.
    Lookup(LookupKey, Name),
}

impl Statement {
    /// Whether the packet can end here: the property that no preview chain may have.
    pub fn ends_packet(&self) -> bool {
        matches!(
            self,
            Statement::Accept | Statement::Drop | Statement::Reject | Statement::RejectWithReset
        )
    }
}

/// A copy of the packet for user space, through NFLOG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What the reader gets with it, at most 127 bytes.
    pub prefix: String,
    /// The NFLOG group.
    pub group: u16,
    /// Bytes of the packet that are copied.
    pub snaplen: u32,
    /// Packets the kernel collects before it wakes the reader.
    pub queue_threshold: u16,
}

/// 64-bit FNV-1a: a stable hash for names, where nobody gains by a collision.
pub fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_nft() {
        assert_eq!(Name::new("in/ß:1").as_str(), "in/__1");
        assert_eq!(Name::new("0-a").as_str(), "x0-a");
        let long = "a".repeat(300);
        assert_eq!(Name::new(&long).as_str().len(), MAX_NAME);
        assert_ne!(Name::new(&long), Name::new(&format!("{long}b")));
    }

    #[test]
    fn comments_fit_nft() {
        assert_eq!(Comment::new("a == \"b\"\n").as_str(), "a == 'b' ");
        let long = Comment::new(&"é".repeat(100));
        assert!(
            long.as_str().len() <= MAX_COMMENT && long.as_str().ends_with("..."),
            "{long:?}"
        );
    }
}
