//! A ruleset as nft text: what `nft list table inet palisade` (nft 1.0.6, with the protocol names of Debian 12's
//! netbase) prints of it, counters at zero. `nft -f` loads the text again.
//!
//! nft leaves out a condition that a later one implies (`ip saddr` implies `meta nfproto ipv4`) and prints a mark's
//! mask its own way; so does this module, and that is all it adds to the model.

mod names;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Chain, Comment, CtState, Elements, Hook, HookPoint, LookupKey, Match, Name, Op, Rule, Ruleset,
    SHARE_SEED, Set, Side, Statement, TABLE, TABLE_COMMENT, VerdictMap, Ways,
};
use crate::net::{Family, Protocol};

/// The burst that nft takes where none is given, and so leaves out.
const DEFAULT_BURST: u32 = 5;

/// The whole table, with a line break at the end.
impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        writeln!(f, "\tcomment \"{TABLE_COMMENT}\"")?;
        let mut separator = "";
        for (name, comment) in &self.counters {
            f.write_str(std::mem::replace(&mut separator, "\n"))?;
            write_counter(f, name, comment)?;
        }
        for (name, set) in &self.sets {
            f.write_str(std::mem::replace(&mut separator, "\n"))?;
            write_set(f, name, set)?;
        }
        for (name, map) in &self.maps {
            f.write_str(std::mem::replace(&mut separator, "\n"))?;
            write_map(f, name, map)?;
        }
        for chain in &self.chains {
            f.write_str(std::mem::replace(&mut separator, "\n"))?;
            write_chain(f, chain)?;
        }
        f.write_str("}\n")
    }
}

/// The rule on one line, without indentation and line break.
impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (index, condition) in self.matches.iter().enumerate() {
            let (before, behind) = (&self.matches[..index], &self.matches[index + 1..]);
            let looked_up = self
                .statements
                .iter()
                .any(|statement| looks_up(statement, condition));
            if looked_up || behind.iter().any(|later| implies(later, condition)) {
                continue;
            }
            f.write_str(std::mem::replace(&mut separator, " "))?;
            write_match(f, condition, before)?;
        }
        for statement in &self.statements {
            f.write_str(std::mem::replace(&mut separator, " "))?;
            match statement {
                Statement::Lookup(key, map) => write_lookup(f, *key, map, &self.matches)?,
                other => other.fmt(f)?,
            }
        }
        if !self.comment.as_str().is_empty() {
            write!(f, "{separator}comment \"{}\"", self.comment.as_str())?;
        }
        Ok(())
    }
}

/// The condition as it would stand alone: ports as `th dport`, for the protocol is another condition.
impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_match(f, self, &[])
    }
}

/// The statement as it stands in a rule.
impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::Counter(name) => write!(f, "counter name \"{name}\""),
            Statement::Log(log) => {
                f.write_str("log")?;
                if !log.prefix.is_empty() {
                    write!(f, " prefix \"{}\"", log.prefix)?;
                }
                write!(f, " group {}", log.group)?;
                if log.snaplen > 0 {
                    write!(f, " snaplen {}", log.snaplen)?;
                }
                if log.queue_threshold > 0 {
                    write!(f, " queue-threshold {}", log.queue_threshold)?;
                }
                Ok(())
            }
            Statement::Limit { per_second, burst } => {
                write!(f, "limit rate {per_second}/second")?;
                if *burst != DEFAULT_BURST {
                    write!(f, " burst {burst} packets")?;
                }
                Ok(())
            }
            Statement::Notrack => f.write_str("notrack"),
            Statement::SetMark { mask, value } => write_set_mark(f, *mask, value & mask),
            Statement::Accept => f.write_str("accept"),
            Statement::Drop => f.write_str("drop"),
            Statement::Reject => f.write_str("reject with icmpx admin-prohibited"),
            Statement::RejectWithReset => f.write_str("reject with tcp reset"),
            Statement::Return => f.write_str("return"),
            Statement::Jump(chain) => write!(f, "jump {chain}"),
            Statement::Goto(chain) => write!(f, "goto {chain}"),
            Statement::Lookup(key, map) => write_lookup(f, *key, map, &[]),
        }
    }
}

fn write_counter(f: &mut Formatter<'_>, name: &Name, comment: &Comment) -> fmt::Result {
    writeln!(f, "\tcounter {name} {{")?;
    write_comment_line(f, comment)?;
    f.write_str("\t\tpackets 0 bytes 0\n\t}\n")
}

fn write_set(f: &mut Formatter<'_>, name: &Name, set: &Set) -> fmt::Result {
    let kind = match set.elements {
        Elements::Ipv4Addresses(_) | Elements::Ipv4Nets(_) => "ipv4_addr",
        Elements::Ipv6Addresses(_) | Elements::Ipv6Nets(_) => "ipv6_addr",
        Elements::Ports(_) => "inet_service",
        Elements::Ipv4NamedPorts(_) => "ipv4_addr . inet_proto . inet_service",
        Elements::Ipv6NamedPorts(_) => "ipv6_addr . inet_proto . inet_service",
        Elements::Families(..) => "nf_proto",
    };
    writeln!(f, "\tset {name} {{\n\t\ttype {kind}")?;
    if set.elements.is_interval() {
        f.write_str("\t\tflags interval\n")?;
    }
    if let Elements::Families(..) = set.elements {
        f.write_str("\t\tflags timeout\n")?;
    }
    write_comment_line(f, &set.comment)?;
    if !set.elements.is_empty() {
        f.write_str("\t\telements = { ")?;
        match &set.elements {
            Elements::Ipv4Addresses(elements) => write_elements(f, 2, elements),
            Elements::Ipv6Addresses(elements) => write_elements(f, 1, elements.iter().copied().map(Ipv6)),
            Elements::Ipv4Nets(elements) => write_elements(f, 2, elements.iter().map(|&net| Net(net.into()))),
            Elements::Ipv6Nets(elements) => write_elements(f, 1, elements.iter().map(|&net| Net(net.into()))),
            Elements::Ports(elements) => write_elements(f, 5, elements),
            Elements::Ipv4NamedPorts(elements) => write_named_ports(
                f,
                elements
                    .iter()
                    .map(|&(a, protocol, port)| (a.octets(), a, protocol, port)),
            ),
            Elements::Ipv6NamedPorts(elements) => write_named_ports(
                f,
                elements
                    .iter()
                    .map(|&(a, protocol, port)| (a.octets(), Ipv6(a), protocol, port)),
            ),
            Elements::Families(families, timeout) => {
                let timeout = Time(*timeout);
                let element = |family: &Family| format!("{} timeout {timeout}", nfproto(*family));
                write_elements(f, 2, families.iter().map(element))
            }
        }?;
        f.write_str(" }\n")?;
    }
    f.write_str("\t}\n")
}

fn write_map(f: &mut Formatter<'_>, name: &Name, map: &VerdictMap) -> fmt::Result {
    let kind = match map.ways {
        Ways::Services(_) => "inet_proto . inet_service",
        Ways::Protocols(_) => "inet_proto",
        Ways::Ports(_) => "inet_service",
        Ways::Ipv4Addresses(_) | Ways::Ipv4Ranges(_) => "ipv4_addr",
        Ways::Ipv6Addresses(_) | Ways::Ipv6Ranges(_) => "ipv6_addr",
    };
    writeln!(f, "\tmap {name} {{\n\t\ttype {kind} : verdict")?;
    if map.ways.is_interval() {
        f.write_str("\t\tflags interval\n")?;
    }
    write_comment_line(f, &map.comment)?;
    if map.ways.chains().next().is_none() {
        return f.write_str("\t}\n");
    }
    f.write_str("\t\telements = { ")?;
    let protocol = |protocol: Protocol| {
        names::protocol(protocol.0).map_or_else(|| protocol.0.to_string(), str::to_owned)
    };
    match &map.ways {
        Ways::Services(ways) => {
            let mut ways: Vec<_> = ways.iter().collect();
            ways.sort_by_key(|((protocol, port), _)| (port.swap_bytes(), protocol.0));
            let key = |(of, port): (Protocol, u16)| format!("{} . {port}", protocol(of));
            write_ways(
                f,
                1,
                ways.into_iter().map(|(service, chain)| (key(*service), chain)),
            )
        }
        Ways::Protocols(ways) => write_ways(f, 5, ways.iter().map(|(of, chain)| (protocol(*of), chain))),
        Ways::Ports(ways) => write_ways(f, 5, ways.iter()),
        Ways::Ipv4Addresses(ways) => write_ways(f, 2, ways.iter()),
        Ways::Ipv6Addresses(ways) => {
            write_ways(f, 1, ways.iter().map(|(address, chain)| (Ipv6(*address), chain)))
        }
        Ways::Ipv4Ranges(ways) => {
            let key = |(first, last): (Ipv4Addr, Ipv4Addr)| range(first.into(), last.into());
            write_ways(f, 2, ways.iter().map(|(between, chain)| (key(*between), chain)))
        }
        Ways::Ipv6Ranges(ways) => {
            let key = |(first, last): (Ipv6Addr, Ipv6Addr)| range(first.into(), last.into());
            write_ways(f, 1, ways.iter().map(|(between, chain)| (key(*between), chain)))
        }
    }?;
    f.write_str(" }\n\t}\n")
}

fn write_ways<'a, K: Display>(
    f: &mut Formatter<'_>,
    per_line: usize,
    ways: impl Iterator<Item = (K, &'a Name)>,
) -> fmt::Result {
    write_elements(
        f,
        per_line,
        ways.map(|(key, chain)| format!("{key} : goto {chain}")),
    )
}

/// A prefix where the range is one, as nft has it.
fn range(first: IpAddr, last: IpAddr) -> String {
    let net = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let host = (first.to_bits() ^ last.to_bits()).count_ones();
            let is_net = first.to_bits().trailing_zeros() >= host && last.to_bits().trailing_ones() >= host;
            is_net.then(|| IpNet::new(first.into(), 32 - u8::try_from(host).unwrap_or(32)))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let host = (first.to_bits() ^ last.to_bits()).count_ones();
            let is_net = first.to_bits().trailing_zeros() >= host && last.to_bits().trailing_ones() >= host;
            is_net.then(|| IpNet::new(first.into(), 128 - u8::try_from(host).unwrap_or(128)))
        }
        _ => None,
    };
    let text = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6(address).to_string(),
    };
    match net {
        _ if first == last => text(first),
        Some(Ok(net)) => Net(net).to_string(),
        _ => format!("{}-{}", text(first), text(last)),
    }
}

/// `before` are the rule's conditions.
fn write_lookup(f: &mut Formatter<'_>, key: LookupKey, map: &Name, before: &[Match]) -> fmt::Result {
    match key {
        LookupKey::Service => f.write_str("meta l4proto . th dport ")?,
        LookupKey::Protocol => f.write_str("meta l4proto ")?,
        LookupKey::Port => write_port(f, before, Side::Destination)?,
        LookupKey::Address(side, family) => write!(f, "{} {} ", ip(family), addr(side))?,
    }
    write!(f, "vmap @{map}")
}

fn write_elements<T: Display>(
    f: &mut Formatter<'_>,
    per_line: usize,
    elements: impl IntoIterator<Item = T>,
) -> fmt::Result {
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            f.write_str(if index % per_line == 0 {
                ",\n\t\t\t     "
            } else {
                ", "
            })?;
        }
        element.fmt(f)?;
    }
    Ok(())
}

/// nft sorts concatenations by their bytes read as one number in the order of the host, little-endian: the last byte
/// weighs most.
fn write_named_ports<A: Display, const N: usize>(
    f: &mut Formatter<'_>,
    elements: impl Iterator<Item = ([u8; N], A, Protocol, u16)>,
) -> fmt::Result {
    let mut sorted: Vec<_> = elements
        .map(|(mut octets, address, protocol, port)| {
            octets.reverse();
            let name = names::protocol(protocol.0).map_or_else(|| protocol.0.to_string(), str::to_owned);
            let key = (port.swap_bytes(), protocol.0, octets);
            (key, format!("{address} . {name} . {port}"))
        })
        .collect();
    sorted.sort_unstable();
    write_elements(f, 1, sorted.into_iter().map(|(_, text)| text))
}

fn write_chain(f: &mut Formatter<'_>, chain: &Chain) -> fmt::Result {
    writeln!(f, "\tchain {} {{", chain.name)?;
    write_comment_line(f, &chain.comment)?;
    if let Some(hook) = chain.hook {
        write_hook(f, hook)?;
    }
    for rule in &chain.rules {
        writeln!(f, "\t\t{rule}")?;
    }
    f.write_str("\t}\n")
}

fn write_comment_line(f: &mut Formatter<'_>, comment: &Comment) -> fmt::Result {
    match comment.as_str() {
        "" => Ok(()),
        text => writeln!(f, "\t\tcomment \"{text}\""),
    }
}

fn write_hook(f: &mut Formatter<'_>, hook: Hook) -> fmt::Result {
    let point = match hook.point {
        HookPoint::Prerouting => "prerouting",
        HookPoint::Input => "input",
        HookPoint::Forward => "forward",
        HookPoint::Output => "output",
    };
    write!(f, "\t\ttype filter hook {point} priority ")?;
    match names::near_priority(hook) {
        Some((name, 0)) => f.write_str(name)?,
        Some((name, offset @ 1..)) => write!(f, "{name} + {offset}")?,
        Some((name, offset)) => write!(f, "{name} - {}", offset.unsigned_abs())?,
        None => write!(f, "{}", hook.priority)?,
    }
    f.write_str("; policy accept;\n")
}

/// Whether nft leaves `earlier` out because of `later`. It does so for a family before that family's ICMP too, although
/// `meta l4proto icmp` alone holds for IPv6 packets that carry protocol 1.
fn implies(later: &Match, earlier: &Match) -> bool {
    match (earlier, later) {
        (Match::Family(family), Match::Address(_, _, net)) => Family::of_net(*net) == *family,
        (
            Match::Family(family),
            Match::AddressSet(_, _, other, _)
            | Match::NamedPortSet(_, _, other, _)
            | Match::OutsideShare(other, _)
            | Match::IcmpType(other, ..)
            | Match::IcmpCode(other, ..),
        ) => other == family,
        (Match::Family(family), Match::Protocol(Op::Is, protocol))
        | (Match::Protocol(Op::Is, protocol), Match::IcmpType(family, ..) | Match::IcmpCode(family, ..)) => {
            *protocol == Protocol::icmp_of(*family)
        }
        (
            Match::Protocol(Op::Is, protocol),
            Match::Port(..) | Match::PortSet(..) | Match::NamedPortSet(..),
        ) => protocol.has_ports(),
        _ => false,
    }
}

/// Whether nft leaves a condition out because of what the packet is looked up by.
fn looks_up(statement: &Statement, condition: &Match) -> bool {
    match (statement, condition) {
        (Statement::Lookup(LookupKey::Address(_, family), _), Match::Family(of)) => family == of,
        (Statement::Lookup(LookupKey::Port, _), Match::Protocol(Op::Is, protocol)) => protocol.has_ports(),
        _ => false,
    }
}

/// `before` are the rule's conditions before this one.
fn write_match(f: &mut Formatter<'_>, condition: &Match, before: &[Match]) -> fmt::Result {
    match condition {
        Match::InputInterface(op, name) => write!(f, "iifname {}\"{name}\"", not(*op)),
        Match::OutputInterface(op, name) => write!(f, "oifname {}\"{name}\"", not(*op)),
        Match::CtState(states) => write_ct_state(f, states),
        Match::Family(family) => write!(f, "meta nfproto {}", nfproto(*family)),
        Match::FamilySet(op, set) => write!(f, "meta nfproto {}@{set}", not(*op)),
        Match::OutsideShare(family, share) => write!(
            f,
            "jhash {} saddr . th sport mod 100 seed {SHARE_SEED:#x} >= {share}",
            ip(*family)
        ),
        Match::Protocol(op, Protocol(number)) => match names::protocol(*number) {
            Some(name) => write!(f, "meta l4proto {}{name}", not(*op)),
            None => write!(f, "meta l4proto {}{number}", not(*op)),
        },
        Match::Address(side, op, net) => {
            write!(
                f,
                "{} {} {}{}",
                ip(Family::of_net(*net)),
                addr(*side),
                not(*op),
                Net(*net)
            )
        }
        Match::AddressSet(side, op, family, set) => {
            write!(f, "{} {} {}@{set}", ip(*family), addr(*side), not(*op))
        }
        Match::Port(side, op, range) => {
            write_port(f, before, *side)?;
            write!(f, "{}{range}", not(*op))
        }
        Match::PortSet(side, op, set) => {
            write_port(f, before, *side)?;
            write!(f, "{}@{set}", not(*op))
        }
        Match::NamedPortSet(side, op, family, set) => {
            write!(f, "{} {} . meta l4proto . ", ip(*family), addr(*side))?;
            write_port(f, before, *side)?;
            write!(f, "{}@{set}", not(*op))
        }
        Match::IcmpType(family, op, first, last) => {
            write!(f, "{} type {}", Protocol::icmp_of(*family), not(*op))?;
            match names::icmp_type(*family, *first) {
                _ if first != last => write!(f, "{first}-{last}"),
                Some(name) => f.write_str(name),
                None => write!(f, "{first}"),
            }
        }
        Match::IcmpCode(family, op, code) => {
            write!(f, "{} code {}", Protocol::icmp_of(*family), not(*op))?;
            match names::icmp_code(*family, *code) {
                Some(name) => f.write_str(name),
                None => write!(f, "{code}"),
            }
        }
        Match::Mark {
            mask: u32::MAX,
            op,
            value,
        } => write!(f, "meta mark {}{value:#010x}", not(*op)),
        Match::Mark { mask, op, value } => {
            let sign = match op {
                Op::Is => "==",
                Op::IsNot => "!=",
            };
            write!(f, "meta mark & {mask:#010x} {sign} {value:#010x}")
        }
        Match::SocketCgroup { level, path, .. } => write!(f, "socket cgroupv2 level {level} \"{path}\""),
    }
}

fn write_port(f: &mut Formatter<'_>, before: &[Match], side: Side) -> fmt::Result {
    let protocol = before.iter().rev().find_map(|earlier| match earlier {
        Match::Protocol(Op::Is, protocol) if protocol.has_ports() => Some(*protocol),
        _ => None,
    });
    match protocol {
        Some(protocol) => protocol.fmt(f)?,
        None => f.write_str("th")?,
    }
    f.write_str(match side {
        Side::Source => " sport ",
        Side::Destination => " dport ",
    })
}

/// In nft's order, whatever the order given.
fn write_ct_state(f: &mut Formatter<'_>, states: &[CtState]) -> fmt::Result {
    const NAMES: [(CtState, &str); 5] = [
        (CtState::Invalid, "invalid"),
        (CtState::Established, "established"),
        (CtState::Related, "related"),
        (CtState::New, "new"),
        (CtState::Untracked, "untracked"),
    ];
    f.write_str("ct state")?;
    let mut separator = ' ';
    for (_, name) in NAMES.iter().filter(|(state, _)| states.contains(state)) {
        f.write_char(std::mem::replace(&mut separator, ','))?;
        f.write_str(name)?;
    }
    Ok(())
}

/// nft sees `(mark & ~mask) ^ value`, and prints the bits that end up set as an "or", which it lets the "and" keep.
fn write_set_mark(f: &mut Formatter<'_>, mask: u32, value: u32) -> fmt::Result {
    f.write_str("meta mark set meta mark")?;
    let kept = !mask | value;
    if kept != u32::MAX {
        write!(f, " & {kept:#010x}")?;
    }
    if value != 0 {
        write!(f, " | {value:#010x}")?;
    }
    Ok(())
}

fn not(op: Op) -> &'static str {
    match op {
        Op::Is => "",
        Op::IsNot => "!= ",
    }
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn nfproto(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn addr(side: Side) -> &'static str {
    match side {
        Side::Source => "saddr",
        Side::Destination => "daddr",
    }
}

/// A prefix; one of full length is an address.
struct Net(IpNet);

impl Display for Net {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.addr() {
            IpAddr::V4(address) => address.fmt(f)?,
            IpAddr::V6(address) => Ipv6(address).fmt(f)?,
        }
        if self.0.prefix_len() == self.0.max_prefix_len() {
            return Ok(());
        }
        write!(f, "/{}", self.0.prefix_len())
    }
}

/// A time in nft's form, `1h30m`: its parts from days to milliseconds that are not zero. Less than a millisecond is cut off.
struct Time(Duration);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
            (1, "ms"),
        ];
        let mut left = self.0.as_millis();
        for (unit, name) in UNITS {
            if left >= unit {
                write!(f, "{}{name}", left / unit)?;
                left %= unit;
            }
        }
        Ok(())
    }
}

/// An IPv6 address as glibc prints it: `::1.2.3.4` where the first 96 bits are zero, unlike Rust.
struct Ipv6(Ipv6Addr);

impl Display for Ipv6 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                let last = (u32::from(high) << 16) | u32::from(low);
                write!(f, "::{}", Ipv4Addr::from(last))
            }
            _ => self.0.fmt(f),
        }
    }
}
