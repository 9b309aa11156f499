//! Observations as `palisade learn` wants them: from what the daemon keeps, or from flow records.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use palisade_rules::analysis::learn::Observed;
use palisade_rules::evaluate::{Packet, Part};
use palisade_rules::net::{Direction, Family, Protocol};
use palisade_rules::world::{EndpointId, EndpointKind, Worlds};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::attribute::is_beside_workload;
use super::observe::{Connection, Missing, Tally};
use super::record::{FlowRecord, IntervalRecord, LogStatus};
use crate::apply::EndpointKey;
use crate::live::Owner;

/// An echo request, in each family: records do not say which type of ICMP it was, and other types that conntrack tracks
/// are rare.
const ECHO_REQUEST: [u8; 2] = [8, 128];

/// A connection as it was kept; `None` if its endpoint is no longer there.
pub fn observed(
    worlds: &Worlds,
    connection: &Connection,
    tally: &Tally,
    owners: &[Owner],
    stands_for_others: bool,
) -> Option<Observed> {
    let endpoint = connection.endpoint.find(worlds)?;
    Some(Observed {
        endpoint,
        direction: connection.direction,
        part: if connection.forwarded {
            Part::Through
        } else if is_beside_workload(worlds, endpoint, connection) {
            Part::BesideWorkload
        } else {
            Part::Itself
        },
        packet: connection.packet,
        connections: tally.packets,
        stands_for_others,
        first_seen: second(tally.first_seen),
        last_seen: second(tally.last_seen),
        owners: owners.iter().map(Owner::phrase).collect(),
    })
}

/// What there is to say about observations of which some are missing.
pub fn remarks(missing: Missing) -> Vec<String> {
    if missing.is_nothing() {
        return Vec::new();
    }
    let Missing {
        lost,
        unreadable,
        folded,
    } = missing;
    vec![format!(
        "WARNING: the observations are incomplete: {lost} packets were lost, {unreadable} could not be read, {folded} were not \
         kept apart; what was in them is not learnt"
    )]
}

/// Observations from flow records.
#[derive(Debug, Default)]
pub struct FromRecords {
    seen: BTreeMap<Connection, Known>,
    /// First packets of records that nothing can be learnt from, by the reason.
    unusable: BTreeMap<&'static str, u64>,
    assumed_echo: bool,
    /// What each interval misses, by its beginning and its end: all its records say the same.
    missing: BTreeMap<(OffsetDateTime, OffsetDateTime), Missing>,
    /// First packets of records that the sink was not to have.
    suppressed: u64,
    /// Records that the sink has missed.
    missed: u64,
    /// Whether some packets were only sampled.
    sampled: bool,
    notes: Vec<String>,
}

/// What records say of a connection.
#[derive(Debug)]
struct Known {
    tally: Tally,
    owners: Vec<Owner>,
    /// Whether a record named a set and no address: the connection's is one of it, and never was seen.
    stands_for_others: bool,
}

impl FromRecords {
    /// Adds a record. Its ends are found by name in these worlds where it has no addresses.
    pub fn add(&mut self, worlds: &Worlds, record: &FlowRecord) {
        self.misses(record.start_time, record.end_time, record.log_status);
        self.sampled |= record.sampled;
        let connections = match connections(worlds, record) {
            Ok(connections) => connections,
            Err(reason) => {
                *self.unusable.entry(reason).or_default() += record.evaluated;
                return;
            }
        };
        let mut packets = record.evaluated;
        for connection in connections {
            self.assumed_echo |= matches!(connection.packet.protocol, Protocol::ICMP | Protocol::ICMPV6);
            let tally = Tally {
                // The record counts them once, whichever of its addresses they were of.
                packets: std::mem::take(&mut packets),
                bytes: 0,
                first_seen: record.start_time,
                last_seen: record.end_time,
            };
            let owners = match connection.direction {
                Direction::Ingress => &record.dest_owners,
                Direction::Egress => &record.source_owners,
            };
            let known = self.seen.entry(connection).or_insert_with(|| Known {
                tally: Tally { packets: 0, ..tally },
                owners: Vec::new(),
                stands_for_others: false,
            });
            known.tally.add(&tally);
            known.stands_for_others |= names_a_set(record);
            for owner in owners {
                super::kept::add_owner(&mut known.owners, owner);
            }
        }
    }

    /// Adds what the record of an interval says is in no flow record.
    pub fn add_interval(&mut self, record: &IntervalRecord) {
        self.misses(record.start_time, record.end_time, record.log_status);
        self.suppressed += record.suppressed_evaluated;
        // It grows from interval to interval.
        self.missed = self.missed.max(record.missed_total);
    }

    /// Adds something else that there is to say.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn misses(&mut self, start: OffsetDateTime, end: OffsetDateTime, status: LogStatus) {
        // What was folded is in remainders, which are counted themselves.
        let missing = Missing {
            folded: 0,
            ..status.missing
        };
        self.missing.insert((start, end), missing);
    }

    /// The observations.
    pub fn observed(&self, worlds: &Worlds) -> Vec<Observed> {
        let seen = self.seen.iter();
        seen.filter_map(|(connection, known)| {
            let Known {
                tally,
                owners,
                stands_for_others,
            } = known;
            observed(worlds, connection, tally, owners, *stands_for_others)
        })
        .collect()
    }

    /// What there is to say about them.
    pub fn remarks(&self) -> Vec<String> {
        let unusable = self.unusable.iter();
        let mut remarks: Vec<String> = unusable
            .map(|(reason, packets)| {
                format!("WARNING: records of {packets} connections are not learnt from: {reason}")
            })
            .collect();
        let mut missing = Missing::default();
        for of_interval in self.missing.values() {
            missing.add(*of_interval);
        }
        remarks.extend(self::remarks(missing));
        if self.suppressed > 0 {
            remarks.push(format!(
                "WARNING: records of {} connections were left out when they were written (flows.records): they are not learnt from",
                self.suppressed
            ));
        }
        if self.missed > 0 {
            remarks.push(format!(
                "WARNING: up to {} records were never written, for the sink was too slow, failed, or had spent its budget",
                self.missed
            ));
        }
        if self.sampled {
            remarks.push(
                "WARNING: packets that conntrack does not track were sampled: not all of them are in records"
                    .to_owned(),
            );
        }
        remarks.extend(self.notes.iter().cloned());
        if self.assumed_echo {
            remarks.push("records do not name the types of ICMP: echo requests are assumed".to_owned());
        }
        remarks
    }
}

/// Whether an end of it is a set, and no address says which of its addresses it was.
fn names_a_set(record: &FlowRecord) -> bool {
    let ends = [
        (&record.source_type, record.source_ip),
        (&record.dest_type, record.dest_ip),
    ];
    ends.into_iter()
        .any(|(kind, address)| kind == "NetworkSet" && address.is_none())
}

/// The connections a record may be of: one, unless it has names and no addresses.
fn connections(worlds: &Worlds, record: &FlowRecord) -> Result<Vec<Connection>, &'static str> {
    if record.folded_flows > 0 {
        return Err("they are remainders, whose ends and ports were not kept apart");
    }
    let protocol = Protocol::parse(&record.proto).ok_or("their protocol is unknown")?;
    let direction = match record.direction.as_str() {
        "ingress" => Direction::Ingress,
        _ => Direction::Egress,
    };
    let here = endpoint(worlds, record, direction)
        .ok_or("their endpoint is none of this host (is --node right?)")?;
    let forwarded = record.reporter == "fwd";
    let sources = addresses(
        worlds,
        record.source_ip,
        [&record.source_type, &record.source_name],
        record.source_namespace.as_ref(),
    );
    let dests = addresses(
        worlds,
        record.dest_ip,
        [&record.dest_type, &record.dest_name],
        record.dest_namespace.as_ref(),
    );
    let own = |family: Family| {
        let addresses = worlds.endpoint(here).addresses.iter().copied();
        let mut of_family = addresses.filter(|&address| Family::of(address) == family);
        of_family.next().unwrap_or(match family {
            Family::V4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        })
    };
    let (near, far, near_ip) = match direction {
        Direction::Ingress => (dests, sources, record.dest_ip),
        Direction::Egress => (sources, dests, record.source_ip),
    };
    if far.is_empty() || (forwarded && near.is_empty()) {
        return Err(
            "they have no addresses, and their far ends have no names (flows.includeAddresses: true keeps addresses)",
        );
    }
    let mut connections = Vec::new();
    for far in far {
        let family = Family::of(far);
        let near: Vec<IpAddr> = match near_ip {
            Some(near) => vec![near],
            None if forwarded => near.clone(),
            None => vec![own(family)],
        };
        let is_icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
        for near in near.into_iter().filter(|&near| Family::of(near) == family) {
            if is_icmp && protocol != Protocol::icmp_of(family) {
                continue;
            }
            let (source, destination) = match direction {
                Direction::Ingress => (far, near),
                Direction::Egress => (near, far),
            };
            connections.push(Connection {
                endpoint: Arc::new(EndpointKey::from(worlds.endpoint(here))),
                direction,
                forwarded,
                packet: Packet {
                    source,
                    destination,
                    protocol,
                    source_port: 0,
                    destination_port: record.dest_port,
                    icmp_type: if is_icmp { ECHO_REQUEST[family as usize] } else { 0 },
                    icmp_code: 0,
                },
            });
        }
    }
    Ok(connections)
}

/// The local endpoint that a record was made at: the one its traces name, else the one at its own end.
fn endpoint(worlds: &Worlds, record: &FlowRecord, direction: Direction) -> Option<EndpointId> {
    let (kind, namespace, name) = match direction {
        Direction::Ingress => (&record.dest_type, &record.dest_namespace, &record.dest_name),
        Direction::Egress => (&record.source_type, &record.source_namespace, &record.source_name),
    };
    let traces = [&record.policies.enforced, &record.policies.pending];
    let traced = traces
        .into_iter()
        .flatten()
        .map(|step| step.endpoint.clone())
        .next();
    let name = traced.unwrap_or_else(|| match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.clone(),
    });
    let local: Vec<EndpointId> = worlds
        .directory
        .named(&name)
        .iter()
        .copied()
        .filter(|&id| worlds.endpoint(id).attachment.is_some())
        .collect();
    let of_kind = local
        .iter()
        .copied()
        .find(|&id| worlds.endpoint(id).kind.as_str() == kind);
    of_kind.or_else(|| local.first().copied())
}

/// The address of an end, or those that its name stands for: of a set one, which stands for the others.
fn addresses(
    worlds: &Worlds,
    address: Option<IpAddr>,
    [kind, name]: [&String; 2],
    namespace: Option<&String>,
) -> Vec<IpAddr> {
    if let Some(address) = address {
        return vec![address];
    }
    if let Some(kind) = EndpointKind::parse(kind) {
        let is_meant = |id: &&EndpointId| {
            let endpoint = worlds.endpoint(**id);
            endpoint.kind == kind && endpoint.namespace.as_ref() == namespace
        };
        let found = worlds.directory.named(name).iter().find(is_meant);
        return found
            .map(|&id| worlds.endpoint(id).addresses.clone())
            .unwrap_or_default();
    }
    let is_meant = |index: &usize| {
        let network = &worlds.networks[*index];
        network.name == *name && network.namespace.as_ref() == namespace
    };
    let Some(index) = (0..worlds.networks.len())
        .find(is_meant)
        .filter(|_| kind == "NetworkSet")
    else {
        return Vec::new();
    };
    // One that is named by this set, and not by an endpoint or a longer prefix of another set.
    let is_its_own = |address: &IpAddr| {
        worlds.directory.at(*address).next().is_none() && worlds.directory.network_of(*address) == Some(index)
    };
    let of_family = |family| {
        let nets = worlds.networks[index].nets.iter();
        let mut ends = nets
            .filter(|net| Family::of_net(**net) == family)
            .flat_map(|net| [net.network(), net.broadcast()]);
        ends.find(is_its_own)
    };
    Family::BOTH.into_iter().filter_map(of_family).collect()
}

/// A moment to the second, which sorts as time does.
fn second(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
