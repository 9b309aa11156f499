//! The address space, cut where an endpoint is or a policy's net begins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::Family;

/// The addresses that have to be looked at: those of endpoints, and one for each piece of the space between them in
/// which no net begins or ends.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct Space {
    /// Sorted.
    points: Vec<IpAddr>,
    /// Pieces outside all endpoints, in the order of their nets.
    regions: Vec<Region>,
}

/// The addresses of a net that are in no smaller net and belong to no endpoint; at least one.
#[derive(Clone, Debug)]
struct Region {
    net: IpNet,
    /// One of them, among the points.
    point: usize,
    /// The next wider region around it.
    around: Option<usize>,
}

/// Addresses outside all endpoints that no policy can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::analysis) struct Block {
    /// Their nets: an address belongs to the block that has the longest prefix around it.
    pub(in crate::analysis) nets: Vec<IpNet>,
    /// One of them.
    pub(in crate::analysis) sample: IpAddr,
}

impl Space {
    /// Cuts the space at the addresses of endpoints and at the ends of these nets.
    pub(in crate::analysis) fn new(endpoints: &BTreeSet<IpAddr>, nets: impl Iterator<Item = IpNet>) -> Self {
        let everything = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let is_endpoint =
            |net: &IpNet| net.prefix_len() == net.max_prefix_len() && endpoints.contains(&net.addr());
        let mut cuts: Vec<IpNet> = nets
            .map(|net| net.trunc())
            .filter(|net| !is_endpoint(net))
            .chain(everything)
            .collect();
        // A wider net comes before those in it.
        cuts.sort_unstable();
        cuts.dedup();
        let regions = regions(&cuts, endpoints);
        let samples = regions.iter().map(|(_, sample, _)| *sample);
        let points: BTreeSet<IpAddr> = endpoints.iter().copied().chain(samples).collect();
        let points: Vec<IpAddr> = points.into_iter().collect();
        let regions = regions
            .into_iter()
            .map(|(net, sample, around)| Region {
                net,
                point: points.partition_point(|point| *point < sample),
                around,
            })
            .collect();
        Space { points, regions }
    }

    pub(in crate::analysis) fn points(&self) -> &[IpAddr] {
        &self.points
    }

    /// Where an address is among the points.
    pub(in crate::analysis) fn point(&self, address: IpAddr) -> Option<usize> {
        self.points.binary_search(&address).ok()
    }

    /// Which of the points are in a net: a stretch of them.
    pub(super) fn points_in(&self, net: IpNet) -> std::ops::Range<usize> {
        let first = self.points.partition_point(|point| *point < net.network());
        let end = self.points.partition_point(|point| *point <= net.broadcast());
        first..end
    }

    /// The blocks, when points that have the same class cannot be told apart; with as few nets as possible.
    pub(in crate::analysis) fn blocks<C: Ord>(&self, class_of: impl Fn(usize) -> C) -> Vec<(C, Block)> {
        let mut blocks: BTreeMap<(Family, C), (BTreeSet<IpNet>, usize)> = BTreeMap::new();
        for region in &self.regions {
            let class = class_of(region.point);
            // The net around it says the same already.
            let is_said = region
                .around
                .is_some_and(|around| class_of(self.regions[around].point) == class);
            let (nets, _) = blocks
                .entry((Family::of_net(region.net), class))
                .or_insert_with(|| (BTreeSet::new(), region.point));
            if !is_said {
                nets.insert(region.net);
            }
        }
        let mut named: Vec<(C, Block)> = blocks
            .into_iter()
            .map(|((_, class), (nets, point))| {
                let block = Block {
                    nets: join_halves(nets),
                    sample: self.points[point],
                };
                (class, block)
            })
            .collect();
        named.sort_by(|(_, a), (_, b)| a.cmp(b));
        named
    }
}

/// The nets of which something is left when smaller nets and endpoints are taken out, with an address of what is left and
/// the index of the next wider one. `cuts` are sorted, a wider net before those in it.
fn regions(cuts: &[IpNet], endpoints: &BTreeSet<IpAddr>) -> Vec<(IpNet, IpAddr, Option<usize>)> {
    let mut inside: Vec<Vec<usize>> = vec![Vec::new(); cuts.len()];
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(cuts.len());
    let mut open: Vec<usize> = Vec::new();
    for (index, net) in cuts.iter().enumerate() {
        while open.last().is_some_and(|&wider| !cuts[wider].contains(net)) {
            open.pop();
        }
        if let Some(&wider) = open.last() {
            inside[wider].push(index);
        }
        parents.push(open.last().copied());
        open.push(index);
    }
    let mut regions = Vec::new();
    // For each cut the region that it is, or else the one around it.
    let mut region_at: Vec<Option<usize>> = Vec::with_capacity(cuts.len());
    for (index, &net) in cuts.iter().enumerate() {
        let around = parents[index].and_then(|parent| region_at[parent]);
        let smaller = inside[index].iter().map(|&smaller| cuts[smaller]);
        match first_left(net, smaller, endpoints) {
            Some(sample) => {
                region_at.push(Some(regions.len()));
                regions.push((net, sample, around));
            }
            None => region_at.push(around),
        }
    }
    regions
}

/// The first address of a net that is in none of the smaller nets, which are sorted and disjoint, and no endpoint's.
fn first_left(
    net: IpNet,
    smaller: impl Iterator<Item = IpNet>,
    endpoints: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let mut smaller = smaller.peekable();
    let mut address = net.network();
    loop {
        let taken_to = match smaller.next_if(|smaller| smaller.network() == address) {
            Some(smaller) => smaller.broadcast(),
            None if endpoints.contains(&address) => address,
            None => return Some(address),
        };
        if taken_to >= net.broadcast() {
            return None;
        }
        address = after(taken_to);
    }
}

/// The next address; the same where there is none.
fn after(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().saturating_add(1)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().saturating_add(1)).into(),
    }
}

/// Puts two halves of a net together, as often as it goes. A net of another block cannot lie between: each half stands
/// for all of itself but what is more specific.
fn join_halves(mut nets: BTreeSet<IpNet>) -> Vec<IpNet> {
    for length in (1..=128).rev() {
        let of_length: Vec<IpNet> = nets
            .iter()
            .copied()
            .filter(|net| net.prefix_len() == length)
            .collect();
        for pair in of_length.windows(2) {
            let wider = pair[0]
                .supernet()
                .filter(|_| pair[0].supernet() == pair[1].supernet());
            if let Some(wider) = wider {
                nets.remove(&pair[0]);
                nets.remove(&pair[1]);
                nets.insert(wider);
            }
        }
    }
    nets.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The blocks when the points in each of these lists of nets can be told from others: nets, and the sample.
    fn blocks(endpoints: &[&str], told_apart: &[&[&str]]) -> Vec<String> {
        let lists: Vec<Vec<IpNet>> = told_apart
            .iter()
            .map(|nets| nets.iter().map(|net| net.parse().unwrap()).collect())
            .collect();
        let endpoints = endpoints.iter().map(|address| ip(address)).collect();
        let space = Space::new(&endpoints, lists.iter().flatten().copied());
        let class_of = |point: usize| -> Vec<bool> {
            let address = space.points()[point];
            lists
                .iter()
                .map(|nets| nets.iter().any(|net| net.contains(&address)))
                .collect()
        };
        let blocks = space.blocks(class_of).into_iter().map(|(_, block)| {
            let nets: Vec<String> = block.nets.iter().map(ToString::to_string).collect();
            format!("{} ({})", nets.join(" "), block.sample)
        });
        blocks.collect()
    }

    #[test]
    fn without_nets_there_is_one_block_a_family() {
        assert_eq!(
            blocks(&["0.0.0.0", "10.0.0.1", "::"], &[]),
            ["0.0.0.0/0 (0.0.0.1)", "::/0 (::1)"]
        );
    }

    #[test]
    fn nets_cut_and_those_of_one_list_stay_together() {
        assert_eq!(
            blocks(&[], &[&["10.0.0.0/8", "192.168.0.0/16"], &["10.1.0.0/16"]]),
            [
                "0.0.0.0/0 (0.0.0.0)",
                "10.0.0.0/8 192.168.0.0/16 (10.0.0.0)",
                "10.1.0.0/16 (10.1.0.0)",
                "::/0 (::)"
            ]
        );
    }

    #[test]
    fn halves_are_joined_and_an_endpoint_is_no_part() {
        assert_eq!(
            blocks(
                &["10.0.0.0", "10.0.0.3"],
                &[&["10.0.0.0/31", "10.0.0.2/31"], &["10.0.0.0/30"]]
            ),
            ["0.0.0.0/0 (0.0.0.0)", "10.0.0.0/30 (10.0.0.1)", "::/0 (::)"]
        );
        // Nothing is left of a net that is all endpoints.
        assert_eq!(
            blocks(&["10.0.0.0", "10.0.0.1"], &[&["10.0.0.0/31"], &["10.0.0.1/32"]]),
            ["0.0.0.0/0 (0.0.0.0)", "::/0 (::)"]
        );
        assert_eq!(
            blocks(&[], &[&["0.0.0.0/1", "128.0.0.0/1"], &["255.255.255.255/32"]]),
            [
                "0.0.0.0/0 (0.0.0.0)",
                "255.255.255.255/32 (255.255.255.255)",
                "::/0 (::)"
            ]
        );
    }

    #[test]
    fn a_net_inside_another_block_keeps_its_name() {
        let nets = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"].map(|net| net.parse::<IpNet>().unwrap());
        let space = Space::new(&BTreeSet::new(), nets.into_iter());
        let is_special = |point: usize| {
            let address = space.points()[point];
            nets[1].contains(&address) && !nets[2].contains(&address)
        };
        let named: Vec<(bool, Vec<String>)> = space
            .blocks(is_special)
            .into_iter()
            .map(|(special, block)| (special, block.nets.iter().map(ToString::to_string).collect()))
            .collect();
        let nets = |nets: &[&str]| nets.iter().map(|net| (*net).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            named,
            [
                (false, nets(&["0.0.0.0/0", "10.1.2.0/24"])),
                (true, nets(&["10.1.0.0/16"])),
                (false, nets(&["::/0"])),
            ]
        );
    }
}
