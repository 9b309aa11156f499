//! Who is compared with whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::BlockNets;
use crate::analysis::matrix::{Ends, Frame, Spot, block_name, endpoint_names};
use crate::world::{EndpointId, EndpointKind, Worlds};

/// Every end of connections, as both sides see it.
#[derive(Debug)]
pub(super) struct Parties<'w> {
    pub(super) worlds: [&'w Worlds; 2],
    list: Vec<Party>,
    groups: Vec<Group>,
    notes: Vec<String>,
}

/// An endpoint or a block.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) name: String,
    /// Whether both sides know an endpoint by the name.
    pub(super) is_named_on_both: bool,
    /// Its nets, if it is a block.
    nets: Option<Vec<String>>,
    /// Its addresses on each side.
    pub(super) stands: [Vec<Stand>; 2],
}

/// One address of a party on one side.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    pub(super) address: IpAddr,
    pub(super) spot: Spot,
    /// Who has the address; `None` if nobody does.
    pub(super) endpoint: Option<EndpointId>,
}

/// Parties that change alike, whomever they are with.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) is_block: bool,
    pub(super) members: Vec<usize>,
}

/// What an endpoint keeps from one side to the other: namespace, name and kind.
type Identity<'a> = (Option<&'a str>, &'a str, EndpointKind);

/// What members of a group have alike: on each side what policies see of their addresses, and which of those are the same
/// on both.
type Key = (bool, [Vec<Seen>; 2], Vec<Option<usize>>);

/// An address as policies see it, with the host if there is somebody else on it.
type Seen = (Spot, Option<usize>, bool);

impl<'w> Parties<'w> {
    pub(super) fn new(frame: &Frame, worlds: [&'w Worlds; 2], ends: &[Ends<'w>; 2]) -> Self {
        let mut parties = Parties {
            worlds,
            list: Vec::new(),
            groups: Vec::new(),
            notes: Vec::new(),
        };
        parties.add_endpoints(frame, ends);
        parties.add_blocks(frame, ends);
        parties.group(ends);
        parties
    }

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn group_of(&self, group: usize) -> &Group {
        &self.groups[group]
    }

    pub(super) fn party(&self, party: usize) -> &Party {
        &self.list[party]
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The blocks with their nets.
    pub(super) fn blocks(&self) -> Vec<BlockNets> {
        let blocks = self.list.iter().filter_map(|party| {
            Some(BlockNets {
                name: party.name.clone(),
                nets: party.nets.clone()?,
            })
        });
        blocks.collect()
    }

    fn add_endpoints(&mut self, frame: &Frame, ends: &[Ends<'w>; 2]) {
        let mut by_id: BTreeMap<Identity<'_>, [Option<EndpointId>; 2]> = BTreeMap::new();
        for (side, worlds) in self.worlds.into_iter().enumerate() {
            for (index, endpoint) in worlds.endpoints.iter().enumerate() {
                let id = (
                    endpoint.namespace.as_deref(),
                    endpoint.name.as_str(),
                    endpoint.kind,
                );
                by_id.entry(id).or_default()[side] = Some(EndpointId(index));
            }
        }
        let names = self.worlds.map(endpoint_names);
        let owners = self.worlds.map(owners);
        for ids in by_id.into_values() {
            let named = [0, 1].map(|side| ids[side].map(|id| names[side][id.0].as_str()));
            let Some(name) = named[1].or(named[0]) else {
                continue;
            };
            let mut stands = [0, 1].map(|side| {
                let id = ids[side]?;
                let spots = ends[side].spots(id).iter();
                let stand = |(address, spot): &(IpAddr, Spot)| Stand {
                    address: *address,
                    spot: spot.clone(),
                    endpoint: Some(id),
                };
                Some(spots.map(stand).collect::<Vec<Stand>>())
            });
            for side in [0, 1] {
                if stands[side].is_none() {
                    let addresses = stands[1 - side].iter().flatten().map(|stand| stand.address);
                    let addresses: Vec<IpAddr> = addresses.collect();
                    stands[side] =
                        Some(self.in_place_of(frame, &ends[side], side, name, &addresses, &owners[side]));
                }
            }
            self.list.push(Party {
                name: name.to_owned(),
                is_named_on_both: named[0].is_some() && named[0] == named[1],
                nets: None,
                stands: stands.map(Option::unwrap_or_default),
            });
        }
    }

    /// Who has the addresses of an endpoint on the side that does not know it.
    fn in_place_of(
        &mut self,
        frame: &Frame,
        ends: &Ends<'w>,
        side: usize,
        name: &str,
        addresses: &[IpAddr],
        owners: &BTreeMap<IpAddr, Vec<EndpointId>>,
    ) -> Vec<Stand> {
        let mut stands = Vec::new();
        for &address in addresses {
            match owners.get(&address).map(Vec::as_slice) {
                None | Some([]) => {
                    let spot = ends.nobody_at(frame, address);
                    stands.extend(spot.map(|spot| Stand {
                        address,
                        spot,
                        endpoint: None,
                    }));
                }
                Some(&[owner]) => {
                    let spots = ends.spots(owner).iter();
                    let of_address = spots.filter(|(other, _)| *other == address);
                    stands.extend(of_address.map(|(_, spot)| Stand {
                        address,
                        spot: spot.clone(),
                        endpoint: Some(owner),
                    }));
                }
                Some(several) => {
                    let side_name = ["old", "new"][side];
                    let endpoints: Vec<String> = several
                        .iter()
                        .map(|&owner| self.worlds[side].endpoint(owner).to_string())
                        .collect();
                    self.notes.push(format!(
                        "{name} is not on the {side_name} side, where its address {address} belongs to {}: not compared",
                        endpoints.join(" and ")
                    ));
                }
            }
        }
        stands
    }

    fn add_blocks(&mut self, frame: &Frame, ends: &[Ends<'w>; 2]) {
        let classes = |point| [0, 1].map(|side| ends[side].class_of_point(point));
        for (_, block) in frame.space.blocks(classes) {
            let stands = [0, 1].map(|side| {
                let spot = ends[side].nobody_at(frame, block.sample);
                let stand = spot.map(|spot| Stand {
                    address: block.sample,
                    spot,
                    endpoint: None,
                });
                stand.into_iter().collect()
            });
            self.list.push(Party {
                name: block_name(&block.nets),
                is_named_on_both: false,
                nets: Some(block.nets.iter().map(ToString::to_string).collect()),
                stands,
            });
        }
    }

    fn group(&mut self, ends: &[Ends<'w>; 2]) {
        let shared = [0, 1].map(|side| {
            let mut members: BTreeMap<usize, usize> = BTreeMap::new();
            for endpoint in (0..self.worlds[side].endpoints.len()).map(EndpointId) {
                *members.entry(ends[side].node(endpoint)).or_default() += 1;
            }
            members
        });
        let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for (index, party) in self.list.iter_mut().enumerate() {
            let mut seen: [Vec<Seen>; 2] = [Vec::new(), Vec::new()];
            for side in [0, 1] {
                let ends = &ends[side];
                let see = |stand: &Stand| -> Seen {
                    let host = stand.endpoint.map(|endpoint| ends.node(endpoint));
                    let is_workload = stand.endpoint.is_some_and(|endpoint| {
                        self.worlds[side].endpoint(endpoint).kind == EndpointKind::Workload
                    });
                    let host = host.filter(|host| shared[side].get(host).is_some_and(|&members| members > 1));
                    (stand.spot.clone(), host, is_workload)
                };
                party.stands[side].sort_by_cached_key(|stand| (see(stand), stand.address));
                party.stands[side].dedup_by_key(|stand| stand.address);
                seen[side] = party.stands[side].iter().map(see).collect();
            }
            let [old, new] = &party.stands;
            let same = |stand: &Stand| new.iter().position(|other| other.address == stand.address);
            let matching = old.iter().map(same).collect();
            let key = (party.nets.is_some(), seen, matching);
            groups.entry(key).or_default().push(index);
        }
        let mut groups: Vec<Group> = groups
            .into_iter()
            .map(|((is_block, ..), members)| Group { is_block, members })
            .collect();
        groups.sort_by_key(|group| group.members[0]);
        self.groups = groups;
    }
}

/// Who has which address.
fn owners(worlds: &Worlds) -> BTreeMap<IpAddr, Vec<EndpointId>> {
    let mut owners: BTreeMap<IpAddr, Vec<EndpointId>> = BTreeMap::new();
    for (index, endpoint) in worlds.endpoints.iter().enumerate() {
        for &address in &endpoint.addresses {
            owners.entry(address).or_default().push(EndpointId(index));
        }
    }
    owners
}
