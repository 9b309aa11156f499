//! Sets of protocols and destination ports, and the line they lie on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::net::{PortRange, Protocol};

/// The protocols that are told apart, side by side on one line: 65,536 places for a protocol with ports, one for any
/// other, and one that stands for every protocol that nobody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    stretches: Vec<Stretch>,
}

/// The places of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    /// `None` for those that nobody names.
    protocol: Option<Protocol>,
    first: u32,
    last: u32,
}

/// A set of places on the line of [`Protocols`]: which connections, by protocol and destination port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Traffic {
    /// Sorted, disjoint and not adjacent; both ends belong to it.
    ranges: Vec<(u32, u32)>,
}

/// One protocol of a set of connections, as `matrix -o json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allowed {
    /// nftables' word or the number; `any` for everything there is; `other` for every protocol that is not told apart.
    pub protocol: String,
    /// Inclusive ranges of destination ports, 0 among them; `None` for a protocol without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<[u16; 2]>>,
}

/// Ports that a reader knows, the likeliest first: of UDP, and of any other protocol.
const WELL_KNOWN: [[u16; 5]; 2] = [[53, 123, 443, 514, 161], [443, 80, 8080, 22, 5432]];

/// The protocols that are told apart whether or not a rule names them.
const ALWAYS: [Protocol; 5] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::SCTP,
    Protocol::ICMP,
    Protocol::ICMPV6,
];

impl Protocols {
    /// The line of TCP, UDP, SCTP, both ICMPs and these.
    pub(super) fn new(named: &BTreeSet<Protocol>) -> Self {
        let further = named
            .iter()
            .copied()
            .filter(|protocol| !ALWAYS.contains(protocol));
        let told_apart: Vec<Protocol> = ALWAYS.into_iter().chain(further).collect();
        let is_all = (1..=u8::MAX).all(|number| told_apart.contains(&Protocol(number)));
        let rest = (!is_all).then_some(None);
        let mut next = 0;
        let mut stretches = Vec::new();
        for protocol in told_apart.into_iter().map(Some).chain(rest) {
            let places = if protocol.is_some_and(Protocol::has_ports) {
                u32::from(u16::MAX) + 1
            } else {
                1
            };
            stretches.push(Stretch {
                protocol,
                first: next,
                last: next + places - 1,
            });
            next += places;
        }
        Protocols { stretches }
    }

    /// The protocols that are told apart, in the order in which they are shown.
    pub fn told_apart(&self) -> impl Iterator<Item = Protocol> {
        self.stretches.iter().filter_map(|stretch| stretch.protocol)
    }

    /// Everything there is.
    pub fn everything(&self) -> Traffic {
        let last = self.stretches.last().map_or(0, |stretch| stretch.last);
        Traffic {
            ranges: vec![(0, last)],
        }
    }

    /// Whether a connection is in a set; without a port, whether any of the protocol is.
    pub fn contains(&self, traffic: &Traffic, protocol: Protocol, port: Option<u16>) -> bool {
        let Some(stretch) = self.stretch(protocol) else {
            return false;
        };
        match port.filter(|_| protocol.has_ports()) {
            Some(port) => traffic.contains(stretch.first + u32::from(port)),
            None => traffic.within(stretch.first, stretch.last).next().is_some(),
        }
    }

    /// The set in the shape of `matrix -o json`: `any` alone where it is everything, nothing where it is empty.
    pub fn allowed(&self, traffic: &Traffic) -> Vec<Allowed> {
        if *traffic == self.everything() {
            return vec![Allowed {
                protocol: "any".to_owned(),
                ports: None,
            }];
        }
        let shown = self.stretches.iter().filter_map(|stretch| {
            let ranges: Vec<[u16; 2]> = traffic
                .within(stretch.first, stretch.last)
                .map(|(first, last)| [port(first - stretch.first), port(last - stretch.first)])
                .collect();
            if ranges.is_empty() {
                return None;
            }
            Some(Allowed {
                protocol: stretch
                    .protocol
                    .map_or("other".to_owned(), |protocol| protocol.to_string()),
                ports: stretch
                    .protocol
                    .is_some_and(Protocol::has_ports)
                    .then_some(ranges),
            })
        });
        shown.collect()
    }

    /// The set in words, by what is in it or by what is not, whichever is shorter: `tcp 80,443`,
    /// `everything but tcp 22`.
    pub fn describe(&self, traffic: &Traffic) -> String {
        let everything = self.everything();
        let missing = everything.minus(traffic);
        if missing.is_empty() {
            return "everything".to_owned();
        }
        if traffic.is_empty() {
            return "nothing".to_owned();
        }
        let by_what_is = self.words(traffic);
        let by_what_is_not = format!("everything but {}", self.words(&missing));
        if by_what_is.len() <= by_what_is_not.len() {
            by_what_is
        } else {
            by_what_is_not
        }
    }

    fn words(&self, traffic: &Traffic) -> String {
        let words = self.allowed(traffic).into_iter().map(|allowed| {
            let protocol = if allowed.protocol == "other" {
                "other protocols"
            } else {
                &allowed.protocol
            };
            match allowed.ports.as_deref() {
                None | Some([[0, u16::MAX]]) => protocol.to_owned(),
                Some(ranges) => {
                    let ranges: Vec<String> = ranges
                        .iter()
                        .map(|&[first, last]| PortRange { first, last }.to_string())
                        .collect();
                    format!("{protocol} {}", ranges.join(","))
                }
            }
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// One connection of a set for each protocol in it, to a well-known port if there is one: what to ask about.
    pub(in crate::analysis) fn samples(&self, traffic: &Traffic) -> Vec<(Protocol, Option<u16>)> {
        let unnamed = || {
            (1..=u8::MAX)
                .map(Protocol)
                .find(|&number| self.is_unnamed(number))
        };
        let sample = |stretch: &Stretch| {
            let (first, last) = traffic.within(stretch.first, stretch.last).next()?;
            let protocol = stretch.protocol.or_else(unnamed)?;
            if !protocol.has_ports() {
                return Some((protocol, None));
            }
            let mut known = WELL_KNOWN[usize::from(protocol != Protocol::UDP)].into_iter();
            let known = known.find(|&port| traffic.contains(stretch.first + u32::from(port)));
            // Nobody listens on port 0.
            let lowest = if first == stretch.first && last > first {
                first + 1
            } else {
                first
            };
            Some((protocol, known.or(Some(port(lowest - stretch.first)))))
        };
        self.stretches.iter().filter_map(sample).collect()
    }

    fn is_unnamed(&self, protocol: Protocol) -> bool {
        self.told_apart().all(|told_apart| told_apart != protocol)
    }

    /// Everything of one protocol.
    pub(in crate::analysis) fn all_of(&self, protocol: Protocol) -> Traffic {
        let stretch = self.stretch(protocol);
        let ranges = stretch.map(|stretch| (stretch.first, stretch.last));
        Traffic {
            ranges: ranges.into_iter().collect(),
        }
    }

    /// These destination ports of one protocol. One without ports counts as port 0.
    pub(super) fn ports_of(&self, protocol: Protocol, ports: impl IntoIterator<Item = PortRange>) -> Traffic {
        let Some(stretch) = self.stretch(protocol) else {
            return Traffic::default();
        };
        Traffic::of(ports.into_iter().filter_map(|ports| stretch.ports(ports)))
    }

    /// These destination ports, whatever the protocol. One without ports counts as port 0.
    pub(super) fn ports(&self, ports: &[PortRange]) -> Traffic {
        Traffic::of(
            self.stretches
                .iter()
                .flat_map(|stretch| ports.iter().filter_map(|&ports| stretch.ports(ports))),
        )
    }

    /// Everything of the protocols for which this holds; `None` is those that nobody names.
    pub(super) fn where_protocol(&self, holds: impl Fn(Option<Protocol>) -> bool) -> Traffic {
        let stretches = self.stretches.iter().filter(|stretch| holds(stretch.protocol));
        Traffic::of(stretches.map(|stretch| (stretch.first, stretch.last)))
    }

    fn stretch(&self, protocol: Protocol) -> Option<&Stretch> {
        let of = |wanted| {
            self.stretches
                .iter()
                .find(move |stretch| stretch.protocol == wanted)
        };
        of(Some(protocol)).or_else(|| of(None))
    }
}

impl Stretch {
    fn ports(&self, ports: PortRange) -> Option<(u32, u32)> {
        if self.first == self.last {
            return ports.contains(0).then_some((self.first, self.last));
        }
        Some((
            self.first + u32::from(ports.first),
            self.first + u32::from(ports.last),
        ))
    }
}

/// A place within a stretch of 65,536.
fn port(offset: u32) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

impl Traffic {
    /// The set of these ranges, in any order.
    fn of(ranges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<(u32, u32)> = ranges.collect();
        sorted.sort_unstable();
        let mut merged = Traffic::default();
        for range in sorted {
            merged.push(range);
        }
        merged
    }

    /// Adds a range that does not begin before the last one.
    fn push(&mut self, (first, last): (u32, u32)) {
        match self.ranges.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => self.ranges.push((first, last)),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn contains(&self, place: u32) -> bool {
        self.within(place, place).next().is_some()
    }

    /// What of the set lies between two places, both included.
    fn within(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> {
        let begin = self.ranges.partition_point(|range| range.1 < first);
        self.ranges[begin..]
            .iter()
            .take_while(move |range| range.0 <= last)
            .map(move |range| (range.0.max(first), range.1.min(last)))
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Traffic) -> Traffic {
        let (mut mine, mut theirs) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        let mut both = Traffic::default();
        while let (Some(&&a), Some(&&b)) = (mine.peek(), theirs.peek()) {
            if a.0.max(b.0) <= a.1.min(b.1) {
                both.ranges.push((a.0.max(b.0), a.1.min(b.1)));
            }
            if a.1 < b.1 {
                mine.next();
            } else {
                theirs.next();
            }
        }
        both
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Traffic) -> Traffic {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        Traffic::of(self.ranges.iter().chain(&other.ranges).copied())
    }

    /// What is in this one only.
    #[must_use]
    pub fn minus(&self, other: &Traffic) -> Traffic {
        let mut left = Traffic::default();
        for &(first, last) in &self.ranges {
            let mut from = first;
            for (taken_first, taken_last) in other.within(first, last) {
                if from < taken_first {
                    left.ranges.push((from, taken_first - 1));
                }
                from = taken_last + 1;
            }
            if from <= last {
                left.ranges.push((from, last));
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    #[test]
    fn words_are_the_shorter_ones() {
        let line = Protocols::new(&BTreeSet::from([Protocol(47)]));
        let web = line.ports_of(Protocol::TCP, [range(443, 443), range(80, 81)]);
        let ssh = line.ports_of(Protocol::TCP, [range(22, 22)]);
        let everything = line.everything();
        for (traffic, words) in [
            (web.clone(), "tcp 80-81,443"),
            (web.or(&line.all_of(Protocol(47))), "tcp 80-81,443, 47"),
            (line.all_of(Protocol::UDP), "udp"),
            (everything.minus(&ssh), "everything but tcp 22"),
            (everything.clone(), "everything"),
            (everything.minus(&everything), "nothing"),
            (line.all_of(Protocol(48)), "other protocols"),
        ] {
            assert_eq!(line.describe(&traffic), words);
        }
    }

    #[test]
    fn any_is_only_said_of_everything() {
        let line = Protocols::new(&BTreeSet::new());
        let json = |traffic: &Traffic| serde_json::to_string(&line.allowed(traffic)).unwrap();
        assert_eq!(json(&line.everything()), r#"[{"protocol":"any"}]"#);
        assert_eq!(json(&Traffic::default()), "[]");
        let but = line
            .everything()
            .minus(&line.ports_of(Protocol::TCP, [range(22, 22)]));
        assert_eq!(
            json(&but),
            r#"[{"protocol":"tcp","ports":[[0,21],[23,65535]]},{"protocol":"udp","ports":[[0,65535]]},"#
                .to_owned()
                + r#"{"protocol":"sctp","ports":[[0,65535]]},{"protocol":"icmp"},{"protocol":"icmpv6"},"#
                + r#"{"protocol":"other"}]"#
        );
    }

    #[test]
    fn with_every_protocol_named_there_are_no_others() {
        let all: BTreeSet<Protocol> = (1..=u8::MAX).map(Protocol).collect();
        let line = Protocols::new(&all);
        let but = line.everything().minus(&line.all_of(Protocol::UDP));
        assert!(
            line.allowed(&but)
                .iter()
                .all(|allowed| allowed.protocol != "other")
        );
        assert_eq!(line.samples(&line.everything()).len(), 255);
    }

    #[test]
    fn samples_are_in_the_set() {
        let line = Protocols::new(&BTreeSet::from([Protocol(1), Protocol(2)]));
        for traffic in [
            line.everything(),
            line.ports_of(Protocol::UDP, [range(0, 0), range(9, 10)]),
            line.all_of(Protocol(200)),
        ] {
            let samples = line.samples(&traffic);
            assert!(!samples.is_empty());
            for (protocol, port) in samples {
                assert!(line.contains(&traffic, protocol, port), "{protocol} {port:?}");
            }
        }
    }

    /// A small set, and the same as booleans.
    fn small() -> impl Strategy<Value = Traffic> {
        prop::collection::vec((0_u32..40, 0_u32..6), 0..6)
            .prop_map(|ranges| Traffic::of(ranges.into_iter().map(|(first, more)| (first, first + more))))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn algebra_is_that_of_points(a in small(), b in small()) {
            let results = [(a.and(&b), 0), (a.or(&b), 1), (a.minus(&b), 2)];
            for (result, operation) in results {
                for place in 0..50 {
                    let (mine, theirs) = (a.contains(place), b.contains(place));
                    let expected = [mine && theirs, mine || theirs, mine && !theirs][operation];
                    prop_assert_eq!(result.contains(place), expected, "{} of {:?} {:?}", place, &a, &b);
                }
                let apart = result.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
                prop_assert!(apart, "{:?}", &result);
            }
        }
    }
}
