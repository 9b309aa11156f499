//! Elements of sets as netlink attributes, and back.
//!
//! A set of single values has one element for each. In an interval set each interval `[first, last]` is an element at
//! `first` and one with the end flag at `last + 1`; an interval that reaches the highest value has no end. Sets grow to
//! a million elements, so the attributes are written directly: libnftnl would hold each element on the heap.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use palisade_rules::net::{Family, PortRange, Protocol};
use palisade_rules::ruleset::{Elements, MIN_TIMEOUT};

use crate::abi::{elem, expr};
use crate::attribute::Attribute;
use crate::kind::SetKind;
use crate::lower::nfproto;
use crate::message::{nest, put};

/// The most bytes of elements in one message: an attribute's length has 16 bits.
const CHUNK: usize = 60 * 1024;

/// The content of as many `NFTA_SET_ELEM_LIST_ELEMENTS` attributes as the elements need.
pub(crate) fn encode(elements: &Elements) -> Vec<Vec<u8>> {
    let mut chunks = Chunks::default();
    match elements {
        Elements::Ipv4Addresses(addresses) => {
            for address in addresses {
                chunks.push(&address.octets(), None);
            }
        }
        Elements::Ipv6Addresses(addresses) => {
            for address in addresses {
                chunks.push(&address.octets(), None);
            }
        }
        Elements::Ipv4Nets(nets) => {
            for net in nets {
                let end = net.broadcast().to_bits().checked_add(1).map(u32::to_be_bytes);
                chunks.push(&net.network().octets(), end);
            }
        }
        Elements::Ipv6Nets(nets) => {
            for net in nets {
                let end = net.broadcast().to_bits().checked_add(1).map(u128::to_be_bytes);
                chunks.push(&net.network().octets(), end);
            }
        }
        Elements::Ports(ranges) => {
            for range in ranges {
                let end = range.last.checked_add(1).map(u16::to_be_bytes);
                chunks.push(&range.first.to_be_bytes(), end);
            }
        }
        Elements::Ipv4NamedPorts(named) => {
            for (address, protocol, port) in named {
                chunks.push(&concatenation::<4, 12>(address.octets(), *protocol, *port), None);
            }
        }
        Elements::Ipv6NamedPorts(named) => {
            for (address, protocol, port) in named {
                chunks.push(&concatenation::<16, 24>(address.octets(), *protocol, *port), None);
            }
        }
        Elements::Families(families, timeout) => {
            for family in families {
                chunks.push_until(&[nfproto(*family)], *timeout);
            }
        }
    }
    chunks.finished
}

/// The parts of a named port's key, each from the start of a four-byte word.
fn concatenation<const ADDRESS: usize, const KEY: usize>(
    address: [u8; ADDRESS],
    protocol: Protocol,
    port: u16,
) -> [u8; KEY] {
    const { assert!(KEY == ADDRESS + 8) };
    let mut key = [0; KEY];
    key[..ADDRESS].copy_from_slice(&address);
    key[ADDRESS] = protocol.0;
    key[ADDRESS + 4..ADDRESS + 6].copy_from_slice(&port.to_be_bytes());
    key
}

/// The content of attributes that are full or being filled.
#[derive(Default)]
pub(crate) struct Chunks {
    pub(crate) finished: Vec<Vec<u8>>,
}

impl Chunks {
    /// Adds a value, or an interval with the value after its last unless it has no end.
    fn push<const N: usize>(&mut self, first: &[u8; N], end: Option<[u8; N]>) {
        let chunk = self.chunk();
        element(chunk, first, None);
        if let Some(end) = end {
            element(
                chunk,
                &end,
                Some((elem::FLAGS, &elem::F_INTERVAL_END.to_be_bytes())),
            );
        }
    }

    /// Adds a value that goes by itself after a time.
    fn push_until(&mut self, key: &[u8], timeout: Duration) {
        // Zero would be for ever.
        let milliseconds = timeout.max(MIN_TIMEOUT).as_millis();
        let milliseconds = u64::try_from(milliseconds).unwrap_or(u64::MAX);
        element(
            self.chunk(),
            key,
            Some((elem::TIMEOUT, &milliseconds.to_be_bytes())),
        );
    }

    /// The last chunk, or the next if it is full.
    pub(crate) fn chunk(&mut self) -> &mut Vec<u8> {
        if self.finished.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.finished.push(Vec::new());
        }
        let last = self.finished.len() - 1;
        &mut self.finished[last]
    }
}

/// An element of this key, with one attribute more.
fn element(buffer: &mut Vec<u8>, key: &[u8], more: Option<(u16, &[u8])>) {
    nest(buffer, elem::LIST_ELEM, |buffer| {
        nest(buffer, elem::KEY, |buffer| put(buffer, expr::DATA_VALUE, key));
        if let Some((kind, payload)) = more {
            put(buffer, kind, payload);
        }
    });
}

/// One element as the kernel has it. Sorted, an end comes before a start at the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawElement {
    /// The key as a number; of a named port, its address.
    key: u128,
    /// The protocol and port of a named port, and zeros in other sets.
    service: (u8, u16),
    /// Whether an interval starts here; otherwise it ends before here.
    is_start: bool,
    /// Milliseconds from when it came to when it goes; 0 for ever.
    timeout: u64,
}

/// Reads one entry of `NFTA_SET_ELEM_LIST_ELEMENTS`; `None` if it has what palisade never puts there (data, a
/// concatenated range, an expression), or a timeout where the set has none, or none where it has.
pub(crate) fn decode(element: Attribute<'_>, kind: SetKind) -> Option<RawElement> {
    let mut key = None;
    let (mut flags, mut timeout) = (0, 0);
    for attribute in element.nested() {
        match attribute.kind {
            elem::KEY => key = attribute.nested().get(expr::DATA_VALUE),
            elem::FLAGS => flags = attribute.u32(),
            elem::TIMEOUT => timeout = attribute.u64(),
            // Comments, marks that nft leaves for itself, and how much of a timeout is left change nothing.
            elem::USERDATA | elem::PAD | elem::EXPIRATION => {}
            _ => return None,
        }
    }
    let key = key?.payload;
    let is_of_kind = u32::try_from(key.len()) == Ok(kind.form().key_length)
        && flags & !elem::F_INTERVAL_END == 0
        && (timeout > 0) == (kind == SetKind::Families);
    is_of_kind.then_some(())?;
    let (key, service) = match kind {
        SetKind::Ipv4NamedPorts | SetKind::Ipv6NamedPorts => {
            let (address, [protocol, _, _, _, high, low, _, _]) = key.split_last_chunk()?;
            (address, (*protocol, u16::from_be_bytes([*high, *low])))
        }
        _ => (key, (0, 0)),
    };
    Some(RawElement {
        key: key.iter().fold(0, |number, &byte| number << 8 | u128::from(byte)),
        service,
        is_start: flags & elem::F_INTERVAL_END == 0,
        timeout,
    })
}

/// The elements of a set from what the kernel dumped, in any order; `None` if it is not of a form that palisade makes.
pub(crate) fn collect(kind: SetKind, mut raw: Vec<RawElement>) -> Option<Elements> {
    raw.sort_unstable();
    match kind {
        SetKind::Ipv4Addresses => raw
            .iter()
            .map(|element| Some(Ipv4Addr::from_bits(u32::try_from(element.key).ok()?)))
            .collect::<Option<_>>()
            .map(Elements::Ipv4Addresses),
        SetKind::Ipv6Addresses => Some(Elements::Ipv6Addresses(
            raw.iter()
                .map(|element| Ipv6Addr::from_bits(element.key))
                .collect(),
        )),
        SetKind::Ipv4Nets => intervals(&raw, u128::from(u32::MAX))?
            .into_iter()
            .map(|(first, last)| ipv4_net(u32::try_from(first).ok()?, u32::try_from(last).ok()?))
            .collect::<Option<_>>()
            .map(Elements::Ipv4Nets),
        SetKind::Ipv6Nets => intervals(&raw, u128::MAX)?
            .into_iter()
            .map(|(first, last)| ipv6_net(first, last))
            .collect::<Option<_>>()
            .map(Elements::Ipv6Nets),
        SetKind::Ports => intervals(&raw, u128::from(u16::MAX))?
            .into_iter()
            .map(|(first, last)| {
                let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
                Some(PortRange { first, last })
            })
            .collect::<Option<_>>()
            .map(Elements::Ports),
        SetKind::Ipv4NamedPorts => raw
            .iter()
            .map(|element| {
                let (protocol, port) = element.service;
                let address = Ipv4Addr::from_bits(u32::try_from(element.key).ok()?);
                Some((address, Protocol(protocol), port))
            })
            .collect::<Option<_>>()
            .map(Elements::Ipv4NamedPorts),
        SetKind::Ipv6NamedPorts => Some(Elements::Ipv6NamedPorts(
            raw.iter()
                .map(|element| {
                    let (protocol, port) = element.service;
                    (Ipv6Addr::from_bits(element.key), Protocol(protocol), port)
                })
                .collect(),
        )),
        SetKind::Families => {
            let timeout = raw.iter().map(|element| element.timeout).max().unwrap_or(0);
            raw.iter()
                .map(|element| {
                    let mut families = Family::BOTH.into_iter();
                    families.find(|&family| u128::from(nfproto(family)) == element.key)
                })
                .collect::<Option<_>>()
                .map(|families| Elements::Families(families, Duration::from_millis(timeout)))
        }
    }
}

/// Inclusive intervals from sorted starts and ends.
fn intervals(raw: &[RawElement], highest: u128) -> Option<Vec<(u128, u128)>> {
    // Where the first interval does not start at zero, nft puts an end there that ends nothing.
    let mut rest = match raw {
        [
            RawElement {
                key: 0,
                is_start: false,
                ..
            },
            rest @ ..,
        ] => rest,
        raw => raw,
    };
    let mut intervals = Vec::with_capacity(rest.len() / 2 + 1);
    while let [start, tail @ ..] = rest {
        if !start.is_start {
            return None;
        }
        match tail {
            [] => {
                intervals.push((start.key, highest));
                rest = tail;
            }
            [end, tail @ ..] if !end.is_start && end.key > start.key => {
                intervals.push((start.key, end.key - 1));
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(intervals)
}

/// The prefix that is exactly this interval.
fn ipv4_net(first: u32, last: u32) -> Option<Ipv4Net> {
    let length = u8::try_from((first ^ last).leading_zeros()).ok()?;
    let net = Ipv4Net::new(Ipv4Addr::from_bits(first), length).ok()?;
    (net.network().to_bits() == first && net.broadcast().to_bits() == last).then_some(net)
}

/// The prefix that is exactly this interval.
fn ipv6_net(first: u128, last: u128) -> Option<Ipv6Net> {
    let length = u8::try_from((first ^ last).leading_zeros()).ok()?;
    let net = Ipv6Net::new(Ipv6Addr::from_bits(first), length).ok()?;
    (net.network().to_bits() == first && net.broadcast().to_bits() == last).then_some(net)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attribute::Attributes;

    fn round_trip(elements: &Elements) -> Option<Elements> {
        let kind = SetKind::of(elements);
        let raw = encode(elements)
            .iter()
            .flat_map(|chunk| Attributes::new(chunk))
            .map(|element| decode(element, kind))
            .collect::<Option<Vec<_>>>()?;
        collect(kind, raw)
    }

    #[test]
    fn edges_come_back() {
        let range = |first, last| PortRange { first, last };
        for elements in [
            Elements::Ipv4Nets(vec![
                "0.0.0.0/8".parse().unwrap(),
                "255.255.255.255/32".parse().unwrap(),
            ]),
            Elements::Ipv4Nets(vec![
                "10.0.0.0/24".parse().unwrap(),
                "10.0.1.0/25".parse().unwrap(),
            ]),
            Elements::Ipv6Nets(vec!["::/1".parse().unwrap(), "ff00::/8".parse().unwrap()]),
            Elements::Ports(vec![range(0, 65535)]),
            Elements::Ports(vec![range(0, 0), range(2, 2), range(65535, 65535)]),
            Elements::Ports(vec![]),
            Elements::Ipv4Addresses((0..20_000).map(Ipv4Addr::from_bits).collect()),
            Elements::Ipv6Addresses((0..20_000).map(Ipv6Addr::from_bits).collect()),
            Elements::Families(vec![Family::V4, Family::V6], Duration::from_millis(61_234)),
            Elements::Families(vec![], Duration::ZERO),
            Elements::Ipv4NamedPorts(vec![
                (Ipv4Addr::UNSPECIFIED, Protocol::TCP, 0),
                (Ipv4Addr::LOCALHOST, Protocol::TCP, 80),
                (Ipv4Addr::LOCALHOST, Protocol::UDP, 0x0102),
                (Ipv4Addr::BROADCAST, Protocol::SCTP, u16::MAX),
            ]),
            Elements::Ipv6NamedPorts(
                (0..5_000u16)
                    .map(|i| {
                        (
                            Ipv6Addr::from_bits(u128::MAX - 5_000 + u128::from(i)),
                            Protocol::UDP,
                            i,
                        )
                    })
                    .collect(),
            ),
        ] {
            assert_eq!(round_trip(&elements).as_ref(), Some(&elements));
        }
    }

    #[test]
    fn an_element_stays_for_ever_only_where_all_do() {
        let decoded = |elements: &Elements, kind| {
            let chunks = encode(elements);
            let mut attributes = Attributes::new(&chunks[0]);
            decode(attributes.next().unwrap(), kind)
        };
        // Nothing that is asked for lasts for ever.
        let shortest = decoded(
            &Elements::Families(vec![Family::V4], Duration::ZERO),
            SetKind::Families,
        );
        assert_eq!(shortest.map(|element| element.timeout), Some(100));
        let mut for_ever = Vec::new();
        element(&mut for_ever, &[nfproto(Family::V4)], None);
        let for_ever = Attributes::new(&for_ever).next().unwrap();
        assert_eq!(decode(for_ever, SetKind::Families), None);
        let mut ticking = Vec::new();
        element(
            &mut ticking,
            &[10, 0, 0, 1],
            Some((elem::TIMEOUT, &1000u64.to_be_bytes())),
        );
        let ticking = Attributes::new(&ticking).next().unwrap();
        assert_eq!(decode(ticking, SetKind::Ipv4Addresses), None);
    }

    #[test]
    fn no_chunk_outgrows_an_attribute() {
        let many = Elements::Ipv6Nets(
            (0..5000u128)
                .map(|i| Ipv6Net::new_assert((i << 64).into(), 64))
                .collect(),
        );
        let chunks = encode(&many);
        assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.len() <= CHUNK + 200));
    }

    #[test]
    fn a_range_that_is_no_prefix_is_foreign() {
        let raw = |key, is_start| RawElement {
            key,
            service: (0, 0),
            is_start,
            timeout: 0,
        };
        assert_eq!(
            collect(SetKind::Ipv4Nets, vec![raw(1, true), raw(4, false)]),
            None
        );
        assert_eq!(collect(SetKind::Ports, vec![raw(1, true), raw(4, true)]), None);
        assert_eq!(collect(SetKind::Ports, vec![raw(4, false)]), None);
    }

    proptest! {
        #[test]
        fn port_ranges_come_back(mut bounds in proptest::collection::btree_set(any::<u16>(), 0..20)) {
            if bounds.len() % 2 == 1 {
                bounds.pop_last();
            }
            let bounds: Vec<u16> = bounds.into_iter().collect();
            let ranges = bounds.chunks(2).map(|pair| PortRange { first: pair[0], last: pair[1] }).collect();
            let elements = Elements::Ports(ranges);
            prop_assert_eq!(round_trip(&elements), Some(elements));
        }
    }
}
