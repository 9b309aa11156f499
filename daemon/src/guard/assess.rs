//! What becomes of what was seen: pure, so that it can be tried without a host.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use palisade_rules::analysis::connections::{Effect, Tracked, sweep};
use palisade_rules::analysis::{Side, StepReport};
use palisade_rules::failsafe::Failsafe;
use palisade_rules::net::{Direction, Protocol};

use super::cuts::{Assessed, Cuts, example};
use super::early::{Early, early};
use super::seen::{Seen, tracked};
use super::{Caller, Refusal, Refused, What, When};

/// Who stands for anybody elsewhere: addresses that belong to nobody (RFC 5737, RFC 3849).
const ANYBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// A source port that stands for all of them.
const EPHEMERAL: u16 = 49_152;

/// Neighbour solicitation and advertisement (RFC 4861).
const NEIGHBOURS: [u8; 2] = [135, 136];

/// Says what the change does to each of what was seen.
pub(super) fn assess(before: Side<'_>, after: Side<'_>, seen: &Seen, caller: &Caller) -> Assessed {
    let asked = all_asked(before, after, seen, caller);
    let fates = fates(before, after, &asked);
    let mut cuts = Cuts::default();
    for (asked, fate) in asked.iter().zip(&fates) {
        if let Some(denied) = fate.cut() {
            cuts.add(after, asked, denied);
        }
    }
    let mut assessed = cuts.sorted();
    assessed.report.refusal = refusal(&asked, &fates);
    assessed.report.notes.clone_from(&seen.notes);
    assessed.report.notes.extend(held_by_the_net(&asked, &fates));
    assessed
}

/// One connection or way that is asked about.
pub(super) struct Asked {
    pub(super) what: What,
    pub(super) tracked: Tracked,
    /// Which of the connections seen it is.
    pub(super) member: Option<usize>,
    /// How it is called if it is none of them.
    pub(super) name: Option<String>,
}

/// What the change does to it.
#[derive(Default)]
struct Fate {
    before: Option<Denied>,
    after: Option<Denied>,
    /// Whether only a safety net lets it pass after the change.
    is_caught: bool,
}

/// What denies it.
#[derive(Clone)]
pub(super) struct Denied {
    pub(super) when: When,
    pub(super) why: String,
    pub(super) because: Option<StepReport>,
}

impl Fate {
    /// What denies it now and did not before.
    fn cut(&self) -> Option<&Denied> {
        self.after.as_ref().filter(|_| self.before.is_none())
    }
}

/// Everything that is asked about: sessions, connections, then the ways that a host cannot do without.
fn all_asked(before: Side<'_>, after: Side<'_>, seen: &Seen, caller: &Caller) -> Vec<Asked> {
    let management = management_ports(before, after, seen, caller);
    let mut asked: Vec<Asked> = Vec::new();
    for (member, connection) in seen.connections.iter().enumerate() {
        let is_tcp = connection.tracked.packet.protocol == Protocol::TCP;
        let what = if caller.sessions.contains(&connection.ends) {
            What::OwnSession
        } else if is_tcp && management.contains(connection.ends.local.port()) {
            What::Management
        } else {
            What::Service
        };
        asked.push(Asked {
            what,
            tracked: connection.tracked.clone(),
            member: Some(member),
            name: None,
        });
    }
    let is_seen = |session| {
        seen.connections
            .iter()
            .any(|connection| connection.ends == session)
    };
    for session in caller.sessions.iter().filter(|session| !is_seen(**session)) {
        asked.push(way(
            What::OwnSession,
            Protocol::TCP,
            session.remote,
            session.local,
            None,
        ));
    }
    let sessions = asked.iter().filter(|asked| asked.what <= What::Management);
    let neighbours = neighbours(seen, sessions);
    asked.extend(failsafes(before, seen));
    for (&server, &own) in &seen.resolvers {
        for protocol in [Protocol::UDP, Protocol::TCP] {
            let (from, to) = (SocketAddr::new(own, EPHEMERAL), SocketAddr::new(server, 53));
            asked.push(way(
                What::Dns,
                protocol,
                from,
                to,
                Some(format!("DNS server {server}")),
            ));
        }
    }
    asked.extend(neighbours);
    asked
}

/// Ports by which a host is managed.
struct Ports {
    ranges: Vec<Failsafe>,
    single: BTreeSet<u16>,
}

impl Ports {
    fn contains(&self, port: u16) -> bool {
        self.single.contains(&port) || self.ranges.iter().any(|range| range.ports.contains(port))
    }
}

/// What failsafes hold open for TCP, where SSH listens, and where the caller came in.
fn management_ports(before: Side<'_>, after: Side<'_>, seen: &Seen, caller: &Caller) -> Ports {
    let failsafes = [before, after].into_iter().flat_map(|side| {
        let inbound = side.worlds.host.failsafes.ports(Direction::Ingress);
        inbound
            .iter()
            .filter(|failsafe| failsafe.protocol == Protocol::TCP)
    });
    let own = caller.sessions.iter().map(|session| session.local.port());
    Ports {
        ranges: failsafes.copied().collect(),
        single: seen.ssh_ports.iter().copied().chain(own).collect(),
    }
}

fn way(what: What, protocol: Protocol, from: SocketAddr, to: SocketAddr, name: Option<String>) -> Asked {
    Asked {
        what,
        tracked: tracked(protocol, from, to),
        member: None,
        name,
    }
}

/// A packet by each failsafe there is, from and to anybody, and by the gateways: what held it open may go.
fn failsafes(before: Side<'_>, seen: &Seen) -> Vec<Asked> {
    let host = &before.worlds.host;
    let own_of = |far: IpAddr| {
        let mut own = host.interfaces.values().flatten().copied();
        own.find(|own| own.is_ipv4() == far.is_ipv4() && !own.is_loopback())
    };
    let mut ways = Vec::new();
    for direction in Direction::BOTH {
        for failsafe in host.failsafes.ports(direction) {
            let by_net = failsafe.net.map(|net| net.addr());
            let anybody = ANYBODY.into_iter().chain(seen.gateways.keys().copied());
            let far: Vec<IpAddr> = match by_net {
                Some(address) => vec![address],
                None => anybody.collect(),
            };
            for far in far {
                let Some(own) = own_of(far) else { continue };
                let port = failsafe.ports.first;
                let (from, to) = match direction {
                    Direction::Ingress => (far, own),
                    Direction::Egress => (own, far),
                };
                let name = if ANYBODY.contains(&far) {
                    "anybody".to_owned()
                } else {
                    far.to_string()
                };
                ways.push(way(
                    What::Failsafe,
                    failsafe.protocol,
                    SocketAddr::new(from, EPHEMERAL),
                    SocketAddr::new(to, port),
                    Some(name),
                ));
            }
        }
    }
    ways
}

/// How this host and its IPv6 neighbours find each other: the gateways, or who sits at the far ends of sessions where
/// there are none.
fn neighbours<'a>(seen: &Seen, sessions: impl Iterator<Item = &'a Asked>) -> Vec<Asked> {
    let mut pairs: BTreeSet<(IpAddr, IpAddr)> = seen
        .gateways
        .iter()
        .filter(|(far, _)| far.is_ipv6())
        .map(|(&far, &own)| (far, own))
        .collect();
    if pairs.is_empty() {
        let ends = sessions.map(|asked| (asked.tracked.packet.source, asked.tracked.packet.destination));
        pairs.extend(ends.filter(|(far, own)| far.is_ipv6() && !own.is_loopback()));
    }
    let mut ways = Vec::new();
    for (far, own) in pairs {
        for icmp_type in NEIGHBOURS {
            for (from, to) in [(own, far), (far, own)] {
                let (from, to) = (SocketAddr::new(from, 0), SocketAddr::new(to, 0));
                let name = format!("neighbour {far}");
                let mut way = way(What::Neighbour, Protocol::ICMPV6, from, to, Some(name));
                way.tracked.packet.icmp_type = icmp_type;
                way.tracked.arriving.icmp_type = icmp_type;
                ways.push(way);
            }
        }
    }
    ways
}

/// What the change does to each of them.
fn fates(before: Side<'_>, after: Side<'_>, asked: &[Asked]) -> Vec<Fate> {
    let connections: Vec<Tracked> = asked.iter().map(|asked| asked.tracked.clone()).collect();
    let mut fates: Vec<Fate> = connections.iter().map(|_| Fate::default()).collect();
    for group in sweep(before, after, &connections).affected {
        for &member in &group.members {
            let denied = Some(Denied {
                when: match asked[member].what {
                    // Neighbours are found anew all the time.
                    What::Neighbour => When::Now,
                    _ => When::OpenedAgain,
                },
                why: sentence(&group.because),
                because: Some(group.because.clone()),
            });
            let fate = &mut fates[member];
            match group.effect {
                Effect::Denied => fate.after = denied,
                Effect::AlreadyDenied => {
                    fate.before.clone_from(&denied);
                    fate.after = denied;
                }
                Effect::AllowedAgain => fate.before = denied,
                Effect::DeniedWithoutSafetyNet | Effect::AlreadyDeniedWithoutSafetyNet => {
                    fate.is_caught = true;
                }
            }
        }
    }
    let told = |side| early(side, &connections);
    let both = told(before).into_iter().zip(told(after));
    for (fate, (was, is)) in fates.iter_mut().zip(both) {
        let denied = |early: Early| Denied {
            when: early.when,
            why: match &early.because {
                Some(step) => sentence(step),
                None => early.why,
            },
            because: early.because,
        };
        fate.before = was.map(denied).or(fate.before.take());
        fate.after = is.map(denied).or(fate.after.take());
    }
    // IPv6 ends where neighbours are not found.
    let lost = asked.iter().zip(&fates).find_map(|(asked, fate)| {
        let denied = fate.cut().filter(|_| asked.what == What::Neighbour)?;
        Some(Denied {
            when: When::Now,
            why: format!(
                "over IPv6 nothing comes through where neighbours are not found, and {}",
                denied.why
            ),
            because: denied.because.clone(),
        })
    });
    if let Some(lost) = lost {
        for (asked, fate) in asked.iter().zip(&mut fates) {
            let is_session = asked.what <= What::Management && asked.tracked.packet.source.is_ipv6();
            if is_session && fate.after.is_none() {
                fate.after = Some(lost.clone());
            }
        }
    }
    fates
}

/// `lockdown (ingress rule 2) denies it (policy.d/web.yaml:7:3)`.
fn sentence(step: &StepReport) -> String {
    let place = step.source.as_ref().map(|source| format!(" ({source})"));
    let place = place.unwrap_or_default();
    match step.kind.as_ref() {
        "Profile" if step.name.is_empty() => "no policy and no profile allows it".to_owned(),
        _ => format!("{} denies it{place}", step.phrase()),
    }
}

/// Why the change may not be, if it may not.
fn refusal(asked: &[Asked], fates: &[Fate]) -> Option<Refusal> {
    let of = |what| {
        let both = asked.iter().zip(fates);
        both.filter(move |(asked, _)| asked.what == what)
    };
    let cut = |what| of(what).find_map(|(asked, fate)| Some((asked, fate.cut()?)));
    if let Some((asked, denied)) = cut(What::OwnSession) {
        return Some(Refusal {
            of: Refused::OwnSession,
            message: format!(
                "your own session ({}) {}: {}",
                example(&asked.tracked),
                match denied.when {
                    When::Now => "would be cut",
                    When::OpenedAgain => "could not be opened again",
                },
                denied.why
            ),
        });
    }
    let sessions = || of(What::Management).chain(of(What::OwnSession));
    let is_open = |(_, fate): (&Asked, &Fate)| fate.after.is_none();
    let (asked, denied) = cut(What::Management).filter(|_| !sessions().any(is_open))?;
    Some(Refusal {
        of: Refused::ManagementAccess,
        message: format!(
            "of the {} sessions at management ports none could be opened again; of {}: {}",
            sessions().count(),
            example(&asked.tracked),
            denied.why
        ),
    })
}

/// What the safety net alone lets pass after the change.
fn held_by_the_net(asked: &[Asked], fates: &[Fate]) -> Option<String> {
    let held = || {
        let both = asked.iter().zip(fates);
        both.filter(|(_, fate)| fate.is_caught && fate.after.is_none())
            .map(|(asked, _)| asked)
    };
    let connections = held().filter(|asked| asked.member.is_some()).count();
    let is_own = held().any(|asked| asked.what == What::OwnSession);
    match (connections, is_own) {
        (0, false) => None,
        (0, true) => {
            Some("your own session passes by the safety net alone: removing it would cut it".to_owned())
        }
        (count, own) => Some(format!(
            "{count} connections pass by the safety net alone{}: removing it would cut them",
            if own { ", your own session among them" } else { "" }
        )),
    }
}
