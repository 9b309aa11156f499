//! The fewest prefixes that cover addresses, made again only where addresses have come or gone.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use crate::net::merge_nets;

/// Above this share of a set's prefixes, one in so many, all of it is made again.
const MOST_TOUCHED: usize = 8;

/// The fewest sorted prefixes that cover `members`, where `old` are those of others: what is in one of the two and not
/// in the other is among `touched`.
pub(super) fn merged_from(
    old: &[IpNet],
    touched: &[IpNet],
    members: impl Iterator<Item = IpNet>,
) -> Vec<IpNet> {
    if touched.len() > old.len() / MOST_TOUCHED + 1 {
        return merge_nets(&members.collect::<Vec<_>>());
    }
    let stretches = stretches(old, touched);
    let mut inside = vec![Vec::new(); stretches.len()];
    for net in members {
        let first = place(net.network());
        let index = stretches.partition_point(|stretch| stretch.last < first);
        // What touches a stretch is in it.
        if stretches.get(index).is_some_and(|stretch| stretch.first <= first) {
            inside[index].push(net);
        }
    }
    let mut merged = Vec::with_capacity(old.len() + touched.len());
    let mut kept = 0;
    for (stretch, inside) in stretches.iter().zip(inside) {
        merged.extend_from_slice(&old[kept..stretch.old.start]);
        merged.extend(merge_nets(&inside));
        kept = stretch.old.end;
    }
    merged.extend_from_slice(&old[kept..]);
    merged
}

/// An address, with whether it is IPv6 before it.
type Place = (bool, u128);

/// Addresses from the first to the last, such that what is around them is not in the set and never was.
#[derive(Debug)]
struct Stretch {
    first: Place,
    last: Place,
    /// The old prefixes that are in it.
    old: Range<usize>,
}

/// The stretches in which touched prefixes are, in order.
fn stretches(old: &[IpNet], touched: &[IpNet]) -> Vec<Stretch> {
    let mut touched = touched.to_vec();
    touched.sort_unstable();
    let mut stretches: Vec<Stretch> = Vec::new();
    for net in touched {
        let (mut first, mut last) = (place(net.network()), place(net.broadcast()));
        let mut start = old.partition_point(|net| {
            let end = place(net.broadcast());
            end < first && !are_neighbours(end, first)
        });
        let mut end = start;
        while end < old.len() {
            let begin = place(old[end].network());
            if begin > last && !are_neighbours(last, begin) {
                break;
            }
            first = first.min(begin);
            last = last.max(place(old[end].broadcast()));
            end += 1;
        }
        while start > 0 && are_neighbours(place(old[start - 1].broadcast()), first) {
            start -= 1;
            first = place(old[start].network());
        }
        match stretches.last_mut() {
            Some(before) if first <= before.last || are_neighbours(before.last, first) => {
                before.first = before.first.min(first);
                before.last = before.last.max(last);
                before.old = before.old.start.min(start)..before.old.end.max(end);
            }
            _ => stretches.push(Stretch {
                first,
                last,
                old: start..end,
            }),
        }
    }
    stretches
}

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => (false, u128::from(u32::from(address))),
        IpAddr::V6(address) => (true, u128::from(address)),
    }
}

/// Whether nothing is between two places of one family.
fn are_neighbours(last: Place, first: Place) -> bool {
    last.0 == first.0 && last.1.checked_add(1) == Some(first.1)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// Few bits vary, so that prefixes meet.
    fn net() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            8 => (0_u32..256, 26_u8..=32).prop_map(|(low, prefix)| {
                IpNet::new(Ipv4Addr::from(0x0a00_0000 | low).into(), prefix).unwrap().trunc()
            }),
            4 => (0_u128..64, 122_u8..=128).prop_map(|(low, prefix)| {
                IpNet::new(Ipv6Addr::from(0xfd00 << 112 | low).into(), prefix).unwrap().trunc()
            }),
            1 => Just("255.255.255.255/32".parse().unwrap()),
            1 => Just("::/128".parse().unwrap()),
            1 => Just("0.0.0.0/0".parse().unwrap()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_made_again_is_what_is_made_anew(
            stay in prop::collection::vec(net(), 0..60),
            left in prop::collection::vec(net(), 0..4),
            came in prop::collection::vec(net(), 0..4),
        ) {
            let old: Vec<IpNet> = stay.iter().chain(&left).copied().collect();
            let new: Vec<IpNet> = stay.iter().chain(&came).copied().collect();
            let touched: Vec<IpNet> = left.iter().chain(&came).copied().collect();
            let made = merged_from(&merge_nets(&old), &touched, new.iter().copied());
            prop_assert_eq!(made, merge_nets(&new));
        }
    }
}
