//! Whether a staged policy may be promoted, in words.
//!
//! What was seen to be denied speaks first; only where nothing was, the question is whether enough has been seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JUDGED_ALONE, StagedFlow, StagedReport};
use crate::kernel::conntrack::MOST;

/// How long a policy must have been observed, unless something else is asked for: a day has everybody's nightly jobs in
/// it.
pub const EVIDENCE: Duration = Duration::from_hours(24);

/// The share of live connections that may be unlike all that was evaluated, in percent.
const NEVER_EVALUATED: u64 = 10;

/// The share of first packets that may be missing from the observations, in percent.
const MISSING: u64 = 1;

/// Ports that are named of each peer.
const PORTS: usize = 4;

/// Owners that are named of each peer.
const OWNERS: usize = 2;

/// Whether a staged policy may be promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Something that is allowed would be denied.
    NotReady,
    /// Nothing would be denied of what was seen, but not enough was seen.
    #[default]
    TooLittleEvidence,
    /// Nothing would be denied of all that was seen.
    Ready,
}

/// A verdict, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Every reason against promotion, the worst first; empty if it is ready.
    pub reasons: Vec<String>,
}

/// `not ready`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::NotReady => "not ready",
            Verdict::TooLittleEvidence => "too little evidence",
            Verdict::Ready => "ready",
        })
    }
}

/// One of the two questions: about promotion alone, or about promotion and then removing the safety net.
#[derive(Clone, Copy)]
struct Question {
    /// Whether a flow of the report is against it.
    is_denied: fn(&StagedFlow) -> bool,
    /// First packets that are denied if the policy alone is promoted, where that was looked at.
    alone: Option<u64>,
    /// Live connections that were never evaluated.
    live: u64,
    /// Those of `alone` that are told already.
    together: u64,
}

/// The verdict on promotion, and, where a safety net stands, that on removing it afterwards.
pub(super) fn judge(report: &StagedReport, evidence: Duration) -> (Judgement, Option<Judgement>) {
    let lacking = lacking(report, evidence);
    let live = report.live.as_ref();
    let alone = report.alone.as_ref();
    let with = Question {
        is_denied: StagedFlow::would_be_denied,
        alone: alone.and_then(|alone| alone.would_deny),
        live: live.map_or(0, |live| live.would_deny),
        together: report.would_deny,
    };
    let without = Question {
        is_denied: StagedFlow::would_be_denied_without_safety_net,
        alone: alone.and_then(|alone| alone.would_deny_without_safety_net),
        live: live.map_or(0, |live| live.would_deny_without_safety_net),
        together: report.would_deny_without_safety_net,
    };
    let judged = |question| conclude(against(report, question), &lacking);
    (judged(with), report.safety_net.then(|| judged(without)))
}

fn conclude(against: Vec<String>, lacking: &[String]) -> Judgement {
    let verdict = match (against.is_empty(), lacking.is_empty()) {
        (false, _) => Verdict::NotReady,
        (true, false) => Verdict::TooLittleEvidence,
        (true, true) => Verdict::Ready,
    };
    Judgement {
        verdict,
        reasons: against.into_iter().chain(lacking.iter().cloned()).collect(),
    }
}

/// What would be denied: by peer, most first.
fn against(report: &StagedReport, question: Question) -> Vec<String> {
    let mut peers: BTreeMap<(&str, &str), Vec<&StagedFlow>> = BTreeMap::new();
    for flow in report.flows.iter().filter(|flow| (question.is_denied)(flow)) {
        let peer = if flow.direction == "ingress" {
            &flow.from
        } else {
            &flow.to
        };
        peers.entry((&flow.direction, peer)).or_default().push(flow);
    }
    let mut peers: Vec<_> = peers.into_iter().collect();
    let total = |flows: &[&StagedFlow]| flows.iter().map(|flow| flow.packets).sum::<u64>();
    peers.sort_by_key(|(_, flows)| std::cmp::Reverse(total(flows)));
    let mut reasons: Vec<String> = peers
        .iter()
        .map(|((direction, peer), flows)| {
            let way = if *direction == "ingress" { "from" } else { "to" };
            format!(
                "would deny {} {way} {peer}: {}{}",
                connections(total(flows)),
                ports(flows),
                owners(flows)
            )
        })
        .collect();
    if question.live > 0 {
        reasons.push(format!(
            "{} would be denied if opened again, and nothing like {} was evaluated",
            live(question.live),
            if question.live == 1 { "it" } else { "them" }
        ));
    }
    if let (Some(alone), Some(denied)) = (&report.alone, question.alone)
        && denied > question.together
    {
        reasons.push(format!(
            "promoted without {}, it would deny {}",
            alone.others.join(", "),
            connections(denied)
        ));
    }
    reasons
}

/// What the observation lacks.
fn lacking(report: &StagedReport, evidence: Duration) -> Vec<String> {
    let mut reasons = Vec::new();
    if report.endpoints.is_empty() {
        reasons.push("it applies to no endpoint of this host".to_owned());
    }
    if !report.observing {
        reasons
            .push("first packets are not being observed: `palisade status` and the log say why".to_owned());
    }
    if report.evaluated == 0 {
        reasons.push("no connection has met it yet".to_owned());
    }
    if report.observed_seconds < evidence.as_secs() {
        reasons.push(format!(
            "it has been observed for {} only, not for {}",
            span(report.observed_seconds),
            span(evidence.as_secs())
        ));
    }
    let missing = report.missing.total();
    if missing * 100 > MISSING * (report.evaluated + missing) {
        reasons.push(format!(
            "{missing} first packets are missing from the observations"
        ));
    }
    if report
        .alone
        .as_ref()
        .is_some_and(|alone| alone.would_deny.is_none())
    {
        let namespace = report.namespace.as_ref();
        let name = namespace.map_or_else(
            || report.name.clone(),
            |namespace| format!("{namespace}/{}", report.name),
        );
        reasons.push(format!(
            "more than {JUDGED_ALONE} policies are staged, too many to look at each as if it alone were promoted: \
             `palisade plan --promote {name}` does"
        ));
    }
    if report.live.as_ref().is_some_and(|alive| !alive.is_complete) {
        reasons.push(format!("only the first {MOST} live connections were looked at"));
    }
    match &report.live {
        None => reasons.push("its live connections cannot be looked at".to_owned()),
        Some(alive) if alive.never_evaluated * 100 > NEVER_EVALUATED * alive.connections => {
            reasons.push(format!(
                "nothing like {} of {} was evaluated since it is staged",
                alive.never_evaluated,
                live(alive.connections)
            ));
        }
        Some(_) => {}
    }
    reasons
}

/// `tcp 8080 (2), udp 5353 (1)`.
fn ports(flows: &[&StagedFlow]) -> String {
    let mut ports: BTreeMap<(&str, u16), u64> = BTreeMap::new();
    for flow in flows {
        *ports.entry((&flow.proto, flow.port)).or_default() += flow.packets;
    }
    let mut ports: Vec<_> = ports.into_iter().collect();
    ports.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    let mut named: Vec<String> = ports
        .iter()
        .take(PORTS)
        .map(|((proto, port), packets)| match port {
            0 => format!("{proto} ({packets})"),
            port => format!("{proto} {port} ({packets})"),
        })
        .collect();
    if ports.len() > PORTS {
        named.push(format!("{} more", ports.len() - PORTS));
    }
    named.join(", ")
}

/// `; nginx[812] (nginx.service)`, or nothing.
fn owners(flows: &[&StagedFlow]) -> String {
    let mut owners = Vec::new();
    for flow in flows {
        super::add_owners(&mut owners, &flow.owners);
    }
    if owners.is_empty() {
        return String::new();
    }
    let mut named: Vec<String> = owners
        .iter()
        .take(OWNERS)
        .map(crate::live::Owner::phrase)
        .collect();
    if owners.len() > OWNERS {
        named.push(format!("{} more", owners.len() - OWNERS));
    }
    format!("; {}", named.join(", "))
}

/// `1 connection`, `2 connections`.
pub fn connections(count: u64) -> String {
    if count == 1 {
        "1 connection".to_owned()
    } else {
        format!("{count} connections")
    }
}

fn live(count: u64) -> String {
    if count == 1 {
        "1 live connection".to_owned()
    } else {
        format!("{count} live connections")
    }
}

/// `3d 4h`, `4h 5m`, `5m 6s`, `6s`.
pub(super) fn span(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let mut units = units.into_iter().skip_while(|(count, _)| *count == 0);
    let Some((count, unit)) = units.next() else {
        return "0s".to_owned();
    };
    match units.next() {
        Some((rest, smaller)) if rest > 0 => format!("{count}{unit} {rest}{smaller}"),
        _ => format!("{count}{unit}"),
    }
}
