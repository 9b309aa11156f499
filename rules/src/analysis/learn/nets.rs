//! Addresses to networks, and how many addresses networks have.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::analysis::names::is_private;
use crate::net::{Family, merge_nets};

/// The shortest prefixes that addresses are merged to: public ones to what one site has, private ones to what the
/// whole private range has.
const WIDEST_PUBLIC: [u8; 2] = [16, 32];
const WIDEST_PRIVATE: [u8; 2] = [8, 8];

/// Merges addresses to at most so many networks, those closest to each other first. `None` if that takes networks wider
/// than one site has: then it is better said that anybody may.
pub(super) fn merged(addresses: impl IntoIterator<Item = IpAddr>, most: usize) -> Option<Vec<IpNet>> {
    let mut nets = merge_nets(&addresses.into_iter().map(IpNet::from).collect::<Vec<_>>());
    while nets.len() > most {
        let pairs = nets.windows(2).enumerate();
        let closest = pairs
            .filter_map(|(index, pair)| Some((host_bits(covering(pair[0], pair[1])?), index)))
            .min()?;
        let at = closest.1;
        let covering = covering(nets[at], nets[at + 1])?;
        nets.retain(|net| !covering.contains(net));
        let at = nets.partition_point(|net| *net < covering);
        nets.insert(at, covering);
    }
    Some(nets)
}

/// How many bits of its addresses are free.
fn host_bits(net: IpNet) -> u8 {
    net.max_prefix_len() - net.prefix_len()
}

/// The longest prefix that holds both, if they are of one family and it is not too wide.
fn covering(one: IpNet, other: IpNet) -> Option<IpNet> {
    let common = match (one.network(), other.network()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u32::from(one) ^ u32::from(other)).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other)).leading_zeros(),
        _ => return None,
    };
    let length = u8::try_from(common)
        .unwrap_or(u8::MAX)
        .min(one.prefix_len())
        .min(other.prefix_len());
    let net = IpNet::new(one.network(), length).ok()?.trunc();
    let private = is_private(net.network()) && is_private(net.broadcast());
    let widest = if private { WIDEST_PRIVATE } else { WIDEST_PUBLIC };
    (length >= widest[Family::of_net(net) as usize]).then_some(net)
}

/// Whether a prefix is so wide that a set that has it is no name for a peer.
pub(super) fn is_vast(net: IpNet) -> bool {
    net.prefix_len() < WIDEST_PRIVATE[Family::of_net(net) as usize]
}

/// How many addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u128);

impl Size {
    /// The addresses in networks that do not overlap; for all of IPv6 one less than there are.
    pub fn of(nets: &[IpNet]) -> Self {
        let of_net = |net: &IpNet| 1_u128.checked_shl(host_bits(*net).into()).unwrap_or(u128::MAX);
        Size(nets.iter().map(of_net).fold(0, u128::saturating_add))
    }

    /// The number.
    pub fn addresses(self) -> u128 {
        self.0
    }
}

/// `1 address`, `65536 addresses`, `about 2^64 addresses`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 address"),
            few if few <= 1 << 32 => write!(f, "{few} addresses"),
            many => {
                // The nearest power of two: networks of IPv6 are not counted one by one.
                let below = many.ilog2();
                let half_way = 3_u128 << below.saturating_sub(1);
                let power = if many >= half_way { below + 1 } else { below };
                write!(f, "about 2^{power} addresses")
            }
        }
    }
}

/// Networks in words, `3 addresses seen, 10.0.0.0/29 has 8` fashion: a single address without its length.
pub(super) fn shown(net: IpNet) -> String {
    if host_bits(net) == 0 {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// Whether an address can be written in a rule: one of IPv4 in IPv6 form is in no packet, and no prefix either.
pub(super) fn is_writable(address: IpAddr) -> bool {
    !matches!(address, IpAddr::V6(address) if Ipv6Addr::to_ipv4_mapped(&address).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged_texts(addresses: &[&str], most: usize) -> Option<Vec<String>> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let nets = merged(addresses, most)?;
        Some(nets.into_iter().map(shown).collect())
    }

    #[test]
    fn the_closest_are_merged_first_and_no_more_than_need_be() {
        let addresses = [
            "10.0.0.1", "10.0.0.6", "10.0.0.4", "10.9.0.1", "fd00::1", "fd00::2",
        ];
        assert_eq!(merged_texts(&addresses, 6).unwrap().len(), 6);
        assert_eq!(
            merged_texts(&addresses, 4).unwrap(),
            ["10.0.0.1", "10.0.0.4/30", "10.9.0.1", "fd00::/126"]
        );
        assert_eq!(
            merged_texts(&addresses, 2).unwrap(),
            ["10.0.0.0/12", "fd00::/126"]
        );
        assert_eq!(merged_texts(&addresses, 1), None, "two families are two networks");
        // What is next to each other is one network anyway.
        assert_eq!(
            merged_texts(&["192.0.2.2", "192.0.2.3"], 9).unwrap(),
            ["192.0.2.2/31"]
        );
    }

    #[test]
    fn public_addresses_are_not_merged_to_half_of_the_internet() {
        assert_eq!(
            merged_texts(&["1.2.3.4", "1.2.200.4"], 1).unwrap(),
            ["1.2.0.0/16"]
        );
        assert_eq!(merged_texts(&["1.2.3.4", "1.3.3.4"], 1), None);
        assert_eq!(
            merged_texts(&["172.16.0.1", "172.31.0.1"], 1).unwrap(),
            ["172.16.0.0/12"]
        );
        assert_eq!(
            merged_texts(&["172.16.0.1", "172.33.0.1"], 1),
            None,
            "not all of it is private"
        );
    }

    #[test]
    fn sizes_in_words() {
        let size = |text: &str| Size::of(&[text.parse().unwrap()]).to_string();
        assert_eq!(size("10.0.0.0/29"), "8 addresses");
        assert_eq!(size("10.0.0.1/32"), "1 address");
        assert_eq!(size("fd00::/64"), "about 2^64 addresses");
        assert_eq!(size("::/0"), "about 2^128 addresses");
        assert_eq!(size("0.0.0.0/0"), "4294967296 addresses");
    }
}
