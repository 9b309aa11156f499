//! Elements of verdict maps as netlink attributes, and back.
//!
//! They are as those of sets (see [`crate::elements`]), and each start of an interval, or single key, carries a verdict:
//! palisade's is always `goto`. Whatever the map is looked up by, a key is a number here, that of its bytes.

use palisade_rules::net::Protocol;
use palisade_rules::ruleset::{Name, Ways};
use palisade_rules::shared_map::SharedMap;

use crate::abi::{elem, expr, verdict};
use crate::attribute::Attribute;
use crate::diff::differences;
use crate::elements::Chunks;
use crate::kind::MapKind;
use crate::message::{nest, put};

/// One element of a verdict map. In order, by its keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The first key, its bytes as a number.
    first: u128,
    /// The last one, the same where a map has single keys.
    last: u128,
    /// The chain that packets go to.
    chain: String,
}

impl Way {
    /// The elements of a map, in order.
    pub(crate) fn all(ways: &Ways) -> Vec<Way> {
        fn each<K: Copy>(ways: &SharedMap<K, Name>, keys: impl Fn(K) -> (u128, u128)) -> Vec<Way> {
            let way = |(key, chain): (&K, &Name)| {
                let (first, last) = keys(*key);
                Way {
                    first,
                    last,
                    chain: chain.to_string(),
                }
            };
            let mut ways: Vec<Way> = ways.iter().map(way).collect();
            ways.sort_unstable();
            ways
        }
        let one = |key: u128| (key, key);
        match ways {
            Ways::Services(ways) => each(ways, |(protocol, port)| one(service(protocol, port))),
            Ways::Protocols(ways) => each(ways, |protocol| one(protocol.0.into())),
            Ways::Ports(ways) => each(ways, |range| (range.first.into(), range.last.into())),
            Ways::Ipv4Addresses(ways) => each(ways, |address| one(address.to_bits().into())),
            Ways::Ipv6Addresses(ways) => each(ways, |address| one(address.to_bits())),
            Ways::Ipv4Ranges(ways) => each(ways, |(first, last)| {
                (first.to_bits().into(), last.to_bits().into())
            }),
            Ways::Ipv6Ranges(ways) => each(ways, |(first, last)| (first.to_bits(), last.to_bits())),
        }
    }

    /// The chain that packets go to.
    pub fn chain(&self) -> &str {
        &self.chain
    }
}

/// Both parts of the key stand at the start of a four-byte word.
fn service(protocol: Protocol, port: u16) -> u128 {
    u128::from(protocol.0) << 56 | u128::from(port) << 16
}

/// The elements that a map has too many, and those that it lacks. Those that lead to a chain that `leaves` are both.
pub(crate) fn changes(have: &[Way], want: &[Way], leaves: impl Fn(&str) -> bool) -> (Vec<Way>, Vec<Way>) {
    let (surplus, missing) = differences(have, want);
    let (mut surplus, mut missing): (Vec<Way>, Vec<Way>) = (
        surplus.into_iter().cloned().collect(),
        missing.into_iter().cloned().collect(),
    );
    // What is the same in both is in neither.
    let anew: Vec<&Way> = have
        .iter()
        .filter(|way| leaves(&way.chain) && want.binary_search(way).is_ok())
        .collect();
    for ways in [&mut surplus, &mut missing] {
        ways.extend(anew.iter().copied().cloned());
        ways.sort_unstable();
    }
    (surplus, missing)
}

/// The content of as many `NFTA_SET_ELEM_LIST_ELEMENTS` attributes as the elements need.
pub(crate) fn encode(kind: MapKind, ways: &[Way]) -> Vec<Vec<u8>> {
    written(kind, ways, |buffer, way| {
        nest(buffer, elem::DATA, |buffer| {
            nest(buffer, expr::DATA_VERDICT, |buffer| {
                put(buffer, expr::VERDICT_CODE, &verdict::GOTO.to_be_bytes());
                put(
                    buffer,
                    expr::VERDICT_CHAIN,
                    &[way.chain.as_bytes(), &[0]].concat(),
                );
            });
        });
    })
}

/// As [`encode`], where the keys are enough.
pub(crate) fn encode_keys(kind: MapKind, ways: &[Way]) -> Vec<Vec<u8>> {
    written(kind, ways, |_, _| {})
}

fn written(kind: MapKind, ways: &[Way], data: impl Fn(&mut Vec<u8>, &Way)) -> Vec<Vec<u8>> {
    let length = kind.form().key_length;
    // The end of an interval that reaches the highest key has none.
    let beyond = 1u128.checked_shl(8 * length).unwrap_or(0);
    let mut chunks = Chunks::default();
    for way in ways {
        let chunk = chunks.chunk();
        nest(chunk, elem::LIST_ELEM, |buffer| {
            put_key(buffer, way.first, length);
            data(buffer, way);
        });
        let end = way.last.wrapping_add(1);
        if kind.is_interval() && end != beyond {
            nest(chunk, elem::LIST_ELEM, |buffer| {
                put_key(buffer, end, length);
                put(buffer, elem::FLAGS, &elem::F_INTERVAL_END.to_be_bytes());
            });
        }
    }
    chunks.finished
}

fn put_key(buffer: &mut Vec<u8>, key: u128, length: u32) {
    let bytes = key.to_be_bytes();
    let start = bytes.len() - usize::try_from(length).unwrap_or(0).min(bytes.len());
    nest(buffer, elem::KEY, |buffer| {
        put(buffer, expr::DATA_VALUE, &bytes[start..]);
    });
}

/// One element as the kernel has it. Sorted, an end comes before a start at the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawWay {
    key: u128,
    /// The chain, where an interval starts; none where it ends.
    chain: Option<String>,
}

/// Reads one entry of `NFTA_SET_ELEM_LIST_ELEMENTS`; `None` if it has what palisade never puts there.
pub(crate) fn decode(element: Attribute<'_>, kind: MapKind) -> Option<RawWay> {
    let (mut key, mut chain) = (None, None);
    let mut flags = 0;
    for attribute in element.nested() {
        match attribute.kind {
            elem::KEY => key = attribute.nested().get(expr::DATA_VALUE),
            elem::DATA => {
                let verdict = attribute.nested().get(expr::DATA_VERDICT)?.nested();
                let is_goto = verdict.get(expr::VERDICT_CODE)?.i32() == verdict::GOTO;
                is_goto.then_some(())?;
                chain = Some(verdict.get(expr::VERDICT_CHAIN)?.text().to_owned());
            }
            elem::FLAGS => flags = attribute.u32(),
            // Comments, and marks that nft leaves for itself, change nothing.
            elem::USERDATA | elem::PAD => {}
            _ => return None,
        }
    }
    let key = key?.payload;
    let is_end = flags == elem::F_INTERVAL_END;
    let is_of_kind = u32::try_from(key.len()) == Ok(kind.form().key_length)
        && (is_end || flags == 0)
        && is_end == chain.is_none();
    is_of_kind.then(|| RawWay {
        key: key.iter().fold(0, |number, &byte| number << 8 | u128::from(byte)),
        chain,
    })
}

/// The elements of a map from what the kernel dumped, in any order; `None` if it is not of a form that palisade makes.
pub(crate) fn collect(kind: MapKind, mut raw: Vec<RawWay>) -> Option<Vec<Way>> {
    raw.sort_unstable();
    let highest = 1u128
        .checked_shl(8 * kind.form().key_length)
        .unwrap_or(0)
        .wrapping_sub(1);
    let mut ways = Vec::with_capacity(raw.len());
    let mut raw = raw.into_iter().peekable();
    if kind.is_interval() {
        // Where the first interval does not start at zero, nft puts an end there that ends nothing.
        raw.next_if(|end| end.key == 0 && end.chain.is_none());
    }
    while let Some(RawWay { key: first, chain }) = raw.next() {
        let chain = chain?;
        let last = match raw.next_if(|end| end.chain.is_none()) {
            _ if !kind.is_interval() => first,
            Some(end) => end.key.checked_sub(1).filter(|&last| last >= first)?,
            None if raw.peek().is_none() => highest,
            None => return None,
        };
        ways.push(Way { first, last, chain });
    }
    Some(ways)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use palisade_rules::net::PortRange;

    use super::*;
    use crate::attribute::Attributes;

    fn round_trip(ways: &Ways) -> Option<Vec<Way>> {
        let kind = MapKind::of(ways);
        let raw = encode(kind, &Way::all(ways))
            .iter()
            .flat_map(|chunk| Attributes::new(chunk))
            .map(|element| decode(element, kind))
            .collect::<Option<Vec<_>>>()?;
        collect(kind, raw)
    }

    #[test]
    fn edges_come_back() {
        let range = |first, last| PortRange { first, last };
        let to = |chain: &str| Name::new(chain);
        for ways in [
            Ways::Services(
                [
                    ((Protocol::TCP, 22), to("a")),
                    ((Protocol::TCP, 443), to("b")),
                    ((Protocol::UDP, u16::MAX), to("a")),
                    ((Protocol(255), 0), to("c")),
                ]
                .into(),
            ),
            Ways::Protocols([(Protocol(0), to("a")), (Protocol(255), to("b"))].into()),
            Ways::Ports(
                [
                    (range(0, 0), to("a")),
                    (range(1, 22), to("b")),
                    (range(24, u16::MAX), to("a")),
                ]
                .into(),
            ),
            Ways::Ports([(range(7, 7), to("a"))].into()),
            Ways::Ports([].into()),
            Ways::Ipv4Addresses([(Ipv4Addr::UNSPECIFIED, to("a")), (Ipv4Addr::BROADCAST, to("b"))].into()),
            Ways::Ipv6Addresses(
                (0..5_000u128)
                    .map(|n| (Ipv6Addr::from_bits(u128::MAX - 5_000 + n), to("a")))
                    .collect(),
            ),
            Ways::Ipv4Ranges([((Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), to("everything"))].into()),
            Ways::Ipv6Ranges(
                [
                    ((Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST), to("a")),
                    (
                        ("2001:db8::".parse().unwrap(), Ipv6Addr::from_bits(u128::MAX)),
                        to("b"),
                    ),
                ]
                .into(),
            ),
        ] {
            assert_eq!(round_trip(&ways), Some(Way::all(&ways)), "{ways:?}");
        }
    }

    #[test]
    fn what_leads_to_a_chain_that_leaves_goes_and_comes_again() {
        let ways = |ways: &[(u16, &str)]| {
            let ways = ways
                .iter()
                .map(|(port, chain)| (PortRange::one(*port), Name::new(chain)));
            Way::all(&Ways::Ports(ways.collect()))
        };
        let (have, want) = (
            ways(&[(1, "a"), (2, "b"), (3, "c")]),
            ways(&[(1, "a"), (2, "x"), (3, "c"), (4, "c")]),
        );
        let (surplus, missing) = changes(&have, &want, |_| false);
        assert_eq!(
            (surplus, missing),
            (ways(&[(2, "b")]), ways(&[(2, "x"), (4, "c")]))
        );
        let (surplus, missing) = changes(&have, &want, |chain| chain == "a");
        assert_eq!(surplus, ways(&[(1, "a"), (2, "b")]));
        assert_eq!(missing, ways(&[(1, "a"), (2, "x"), (4, "c")]));
    }

    #[test]
    fn other_verdicts_are_not_ours() {
        let mut bytes = Vec::new();
        nest(&mut bytes, elem::LIST_ELEM, |buffer| {
            put_key(buffer, 6, 1);
            nest(buffer, elem::DATA, |buffer| {
                nest(buffer, expr::DATA_VERDICT, |buffer| {
                    put(buffer, expr::VERDICT_CODE, &verdict::JUMP.to_be_bytes());
                    put(buffer, expr::VERDICT_CHAIN, b"somewhere\0");
                });
            });
        });
        let element = Attributes::new(&bytes).next().unwrap();
        assert_eq!(decode(element, MapKind::Protocols), None);
    }
}
