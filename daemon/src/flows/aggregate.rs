//! The flows of an interval, in bounded memory.
//!
//! Where there are too many, the least of them are folded: their packets are counted in remainders, one for each endpoint,
//! direction and trace. A flow that was folded stays so until the interval ends, so that the numbers of those that are
//! kept are exact, and a remainder says exactly how many flows and packets it stands for.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use palisade_rules::evaluate::{Packet, Verdict};

use super::hashed::{Map, Set};
use super::judge::Judged;
use super::kept::add_owner;
use super::observe::Tally;
use crate::live::Owner;

/// Flows that are kept apart.
const MAX_FLOWS: usize = 32_768;

/// Folded flows that are remembered to be. Beyond, whatever is not kept is folded, and may count as a flow more than once.
const MAX_FOLDED: usize = 1 << 21;

/// Which flow: everything that is the same in its connections.
#[derive(Clone, Debug)]
pub struct FlowKey {
    /// What is said of them.
    pub judged: Arc<Judged>,
    /// The destination port.
    pub port: u16,
    /// Source and destination, where they are asked for.
    pub addresses: Option<(IpAddr, IpAddr)>,
}

/// What was seen of a flow in the interval.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// First packets.
    pub first: Option<Tally>,
    /// What conntrack accounts: packets and bytes from the side that opened the connections, and back.
    pub accounted: [Traffic; 2],
    /// Connections that have ended.
    pub completed: u64,
    /// How long they have lived, together.
    pub completed_duration_ms: u64,
    /// Connections that were alive when conntrack was last looked at.
    pub live: u64,
    /// Who held the sockets of this host's end.
    pub owners: Vec<Owner>,
}

/// Packets and bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Flows that were folded together.
#[derive(Clone, Debug)]
pub struct Remainder {
    /// One of them: the others are at the same endpoint, in the same direction, with the same traces.
    pub like: Arc<Judged>,
    /// How many; at most, where more were folded than can be remembered.
    pub flows: u64,
    /// What was seen of all of them.
    pub flow: Flow,
}

/// The flows of the running interval.
#[derive(Debug, Default)]
pub struct Aggregate {
    flows: Map<FlowKey, Flow>,
    /// By fingerprint.
    folded: Set<u64>,
    /// By the fingerprint of what its flows have in common.
    remainders: Map<u64, Remainder>,
}

impl Aggregate {
    /// Counts first packets.
    pub fn arrived(&mut self, key: FlowKey, tally: &Tally) {
        let count = |flow: &mut Flow| match &mut flow.first {
            Some(sum) => sum.add(tally),
            first => *first = Some(*tally),
        };
        if let Some(flow) = self.flows.get_mut(&key) {
            count(flow);
            return;
        }
        if self.flows.len() >= MAX_FLOWS {
            self.fold();
        }
        let fingerprint = key.fingerprint();
        if !self.folded.is_empty() && (self.folded.len() >= MAX_FOLDED || self.folded.contains(&fingerprint))
        {
            let is_full = self.folded.len() >= MAX_FOLDED;
            let remainder = self.remainder(&key.judged);
            remainder.flows += u64::from(is_full);
            count(&mut remainder.flow);
            return;
        }
        count(self.flows.entry(key).or_default());
    }

    /// The flow, made if there is room for it; `None` if it is folded, or there is none.
    pub fn flow(&mut self, key: &FlowKey) -> Option<&mut Flow> {
        if !self.flows.contains_key(key) {
            if self.flows.len() >= MAX_FLOWS || self.folded.contains(&key.fingerprint()) {
                return None;
            }
            self.flows.insert(key.clone(), Flow::default());
        }
        self.flows.get_mut(key)
    }

    /// Notes who held the socket of one of its connections.
    pub fn owned(&mut self, key: &FlowKey, owner: &Owner) {
        if let Some(flow) = self.flows.get_mut(key) {
            add_owner(&mut flow.owners, owner);
        }
    }

    /// Everything, in no order; the next interval begins.
    pub fn take(&mut self) -> (Vec<(FlowKey, Flow)>, Vec<Remainder>) {
        let taken = std::mem::take(self);
        (
            taken.flows.into_iter().collect(),
            taken.remainders.into_values().collect(),
        )
    }

    /// Folds the lesser half: those that are and would be allowed before the others, and of these the smallest.
    fn fold(&mut self) {
        let rank = |key: &FlowKey, flow: &Flow| (key.judged.is_of_interest(), flow.weight());
        let mut ranks: Vec<(bool, u64)> = self.flows.iter().map(|(key, flow)| rank(key, flow)).collect();
        let (_, &mut middle, _) = ranks.select_nth_unstable(MAX_FLOWS / 2);
        let mut of_middle = ranks[MAX_FLOWS / 2..]
            .iter()
            .filter(|&&rank| rank == middle)
            .count();
        let mut folded = Vec::new();
        self.flows.retain(|key, flow| {
            let rank = rank(key, flow);
            // Of those just in the middle, as many stay as there is room for.
            let stays = rank > middle || rank == middle && of_middle > 0;
            of_middle = of_middle.saturating_sub(usize::from(stays && rank == middle));
            if !stays {
                folded.push((key.clone(), std::mem::take(flow)));
            }
            stays
        });
        for (key, flow) in folded {
            if self.folded.len() < MAX_FOLDED {
                self.folded.insert(key.fingerprint());
            }
            let remainder = self.remainder(&key.judged);
            remainder.flows += 1;
            remainder.flow.add(&flow);
        }
    }

    fn remainder(&mut self, like: &Arc<Judged>) -> &mut Remainder {
        let remainder = || Remainder {
            like: Arc::clone(like),
            flows: 0,
            flow: Flow::default(),
        };
        self.remainders
            .entry(like.trace_fingerprint)
            .or_insert_with(remainder)
    }
}

impl Flow {
    /// First packets.
    pub fn evaluated(&self) -> u64 {
        self.first.map_or(0, |tally| tally.packets)
    }

    fn weight(&self) -> u64 {
        let accounted = self.accounted.iter().map(|traffic| traffic.packets).sum::<u64>();
        self.evaluated() + accounted
    }

    fn add(&mut self, other: &Flow) {
        match (&mut self.first, other.first) {
            (Some(sum), Some(tally)) => sum.add(&tally),
            (first @ None, tally) => *first = tally,
            (Some(_), None) => {}
        }
        for (sum, traffic) in self.accounted.iter_mut().zip(other.accounted) {
            sum.packets += traffic.packets;
            sum.bytes += traffic.bytes;
        }
        self.completed += other.completed;
        self.completed_duration_ms += other.completed_duration_ms;
        self.live += other.live;
    }
}

impl FlowKey {
    /// Of a packet, as it was judged.
    pub fn new(judged: &Arc<Judged>, packet: &Packet, with_addresses: bool) -> Self {
        FlowKey {
            judged: Arc::clone(judged),
            port: packet.destination_port,
            addresses: with_addresses.then_some((packet.source, packet.destination)),
        }
    }

    /// A number for all of it.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.judged.fingerprint, self.port, self.addresses).hash(&mut hasher);
        hasher.finish()
    }
}

impl Judged {
    /// Whether either verdict is a deny, with the safety net or without.
    pub fn is_of_interest(&self) -> bool {
        let said = &self.attribution;
        [
            said.action,
            said.pending_action,
            said.action_without_net,
            said.pending_without_net,
        ]
        .contains(&Verdict::Deny)
    }
}

/// Who judges keeps one of each, so that they are compared by where they are.
impl PartialEq for FlowKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.judged, &other.judged)
            && (self.port, self.addresses) == (other.port, other.addresses)
    }
}

impl Eq for FlowKey {}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.judged.fingerprint, self.port, self.addresses).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use palisade_rules::net::{Direction, Protocol};
    use palisade_rules::world::EndpointKind;
    use time::OffsetDateTime;

    use super::*;
    use crate::apply::EndpointKey;
    use crate::flows::attribute::Attribution;
    use crate::flows::record::{Party, Traces};

    fn judged(pending_action: Verdict, fingerprint: u64) -> Arc<Judged> {
        let party = || Party {
            kind: "Network".to_owned(),
            namespace: None,
            name: "public".to_owned(),
            labels: Arc::default(),
        };
        let nothing = Traces {
            enforced: Vec::new(),
            pending: Vec::new(),
            enforced_without_safety_net: None,
            pending_without_safety_net: None,
        };
        let endpoint = EndpointKey {
            kind: EndpointKind::Host,
            namespace: None,
            name: "eth0".to_owned(),
        };
        Arc::new(Judged {
            endpoint: Arc::new(endpoint),
            direction: Direction::Ingress,
            forwarded: false,
            sampled: false,
            protocol: Protocol::TCP,
            source: party(),
            destination: party(),
            attribution: Attribution {
                action: Verdict::Allow,
                pending_action,
                caught: false,
                action_without_net: Verdict::Allow,
                pending_without_net: pending_action,
                policies: Arc::new(nothing),
            },
            fingerprint,
            trace_fingerprint: fingerprint,
        })
    }

    fn key(judged: &Arc<Judged>, source: u32) -> FlowKey {
        let source = std::net::Ipv4Addr::from_bits(source);
        FlowKey {
            judged: Arc::clone(judged),
            port: 80,
            addresses: Some((source.into(), source.into())),
        }
    }

    fn tally(packets: u64) -> Tally {
        Tally {
            packets,
            ..Tally::one(60, OffsetDateTime::UNIX_EPOCH)
        }
    }

    #[test]
    fn what_has_no_room_is_folded_and_every_packet_and_flow_is_counted() {
        const FLOWS: u32 = 200_000;
        let (allowed, denied) = (judged(Verdict::Allow, 1), judged(Verdict::Deny, 2));
        let mut aggregate = Aggregate::default();
        let (busy, worrying) = (key(&allowed, u32::MAX), key(&denied, 0));
        aggregate.arrived(worrying.clone(), &tally(1));
        for source in 1..=FLOWS {
            aggregate.arrived(key(&allowed, source), &tally(1));
            if source.is_multiple_of(1_000) {
                aggregate.arrived(busy.clone(), &tally(10));
            }
        }
        // Those that were folded come again, and stay so.
        for source in 1..=1_000 {
            aggregate.arrived(key(&allowed, source), &tally(1));
        }
        // Which of those that are equal are folded, nobody knows.
        let is_folded = |source: &u32| aggregate.flow(&key(&allowed, *source)).is_none();
        assert!((1..=1_000).filter(is_folded).count() > 0);
        let (flows, remainders) = aggregate.take();
        assert!(flows.len() <= MAX_FLOWS);
        let packets = Flow::evaluated;
        let kept = |wanted: &FlowKey| {
            flows
                .iter()
                .find(|(key, _)| key == wanted)
                .map(|(_, flow)| packets(flow))
        };
        assert_eq!(
            kept(&busy),
            Some(u64::from(FLOWS) / 1_000 * 10),
            "the busiest is exact"
        );
        assert_eq!(kept(&worrying), Some(1), "what would be denied is folded last");
        let folded: u64 = remainders.iter().map(|remainder| remainder.flows).sum();
        assert_eq!(flows.len() as u64 + folded, u64::from(FLOWS) + 2);
        let in_flows: u64 = flows.iter().map(|(_, flow)| packets(flow)).sum();
        let in_remainders: u64 = remainders.iter().map(|remainder| packets(&remainder.flow)).sum();
        assert_eq!(
            in_flows + in_remainders,
            u64::from(FLOWS) + u64::from(FLOWS) / 100 + 1 + 1_000
        );
        assert_eq!(remainders.len(), 1, "one for each trace");
        // The next interval begins with nothing.
        assert_eq!(aggregate.take().0.len(), 0);
    }

    #[test]
    fn a_flow_is_known_by_its_words_and_not_by_where_they_lie() {
        let (one, other) = (judged(Verdict::Allow, 1), judged(Verdict::Allow, 1));
        assert_eq!(key(&one, 1).fingerprint(), key(&other, 1).fingerprint());
        assert_ne!(key(&one, 1).fingerprint(), key(&one, 2).fingerprint());
        let mut aggregate = Aggregate::default();
        aggregate.arrived(key(&one, 1), &tally(2));
        aggregate.arrived(key(&one, 1), &tally(3));
        let (flows, _) = aggregate.take();
        assert_eq!(
            flows[0].1.first.map(|tally| (tally.packets, tally.bytes)),
            Some((5, 120))
        );
    }
}
