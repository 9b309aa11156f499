//! The records in `flows.jsonl`: one JSON object a line, fields named as Calico's Goldmane names them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use palisade_rules::analysis::StepReport;
use palisade_rules::compile::{Counted, CountedBy};
use palisade_rules::resource::{Labels, Policy};
use palisade_rules::world::WorldKind;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::observe::Missing;
use crate::live::Owner;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Record {
    /// Connections that no policy tells apart.
    Flow(Box<FlowRecord>),
    /// A counter.
    Rule(Box<RuleRecord>),
    /// How what was recorded of an interval and what the kernel counted fit together.
    Interval(Box<IntervalRecord>),
}

/// Connections of one interval with the same ends, port, verdicts and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// When the interval began.
    #[serde(with = "time::serde::rfc3339")]
    pub start_time: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub end_time: OffsetDateTime,
    /// `src` where it was seen at its source, `dst` at its destination, `fwd` on its way through this host.
    pub reporter: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// The verdict in force: `allow` or `deny`.
    pub action: String,
    /// The verdict with the staged objects applied.
    pub pending_action: String,
    /// What the safety net hides.
    pub safety_net: SafetyNet,
    /// The source's name.
    pub source_name: String,
    /// Its namespace; `null` for what has none.
    pub source_namespace: Option<String>,
    /// `HostEndpoint`, `WorkloadEndpoint`, `ServiceEndpoint`, `NetworkSet` or `Network`.
    pub source_type: String,
    /// Its labels.
    pub source_labels: Arc<Labels>,
    /// Its address, with `includeAddresses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<IpAddr>,
    /// The destination's name.
    pub dest_name: String,
    /// Its namespace; `null` for what has none.
    pub dest_namespace: Option<String>,
    /// As `source_type`.
    pub dest_type: String,
    /// Its labels.
    pub dest_labels: Arc<Labels>,
    /// Its address, with `includeAddresses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_ip: Option<IpAddr>,
    /// The destination port; 0 for protocols without.
    pub dest_port: u16,
    /// The protocol, in nftables' word or as a number.
    pub proto: String,
    /// Who held the sockets of the source, where it is of this host: most first, as far as they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_owners: Vec<Owner>,
    /// Who held the sockets of the destination, where it is of this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dest_owners: Vec<Owner>,
    /// Why.
    pub policies: Arc<Traces>,
    /// First packets that policies were asked about: what the counters count. One that is sent again counts again.
    pub evaluated: u64,
    /// Packets towards this host: first packets, and with conntrack's accounting all others of these connections.
    pub packets_in: u64,
    /// Packets from this host.
    pub packets_out: u64,
    /// Bytes of `packets_in`.
    pub bytes_in: u64,
    /// Bytes of `packets_out`.
    pub bytes_out: u64,
    /// Connections that began in the interval: first packets that were allowed.
    pub connections_started: u64,
    /// Connections that conntrack has forgotten in the interval.
    pub connections_completed: u64,
    /// Connections that conntrack held at its end.
    pub connections_live: u64,
    /// How long the completed ones have lived, all together, in milliseconds.
    pub completed_duration_ms: u64,
    /// Where this is a remainder, how many flows it stands for: their ends and ports were not kept apart, for want of
    /// room. 0 for a flow.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub folded_flows: u64,
    /// Whether this is a sample of packets that conntrack does not track: how many there were, counters say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampled: bool,
    /// How complete the interval is.
    pub log_status: LogStatus,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An interval, and what there is to say of all its records: written last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalRecord {
    /// When the interval began.
    #[serde(with = "time::serde::rfc3339")]
    pub start_time: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub end_time: OffsetDateTime,
    /// The generation in force at its end.
    pub generation: u64,
    /// Flows that were kept apart.
    pub flows: u64,
    /// Flows that were not: they are in the remainders.
    pub folded_flows: u64,
    /// First packets in flow records, remainders among them.
    pub evaluated: u64,
    /// Of these, packets that conntrack does not track. Where there are more than a hundred a second of them, the others
    /// are in no record.
    pub sampled: u64,
    /// First packets that deciding counters counted.
    pub counted: u64,
    /// As `evaluated`, since the daemon started.
    pub evaluated_total: u64,
    /// As `counted`, since the daemon started.
    pub counted_total: u64,
    /// Flow records that were left out of this sink, as `flows.records` says.
    pub suppressed: u64,
    /// First packets of those.
    pub suppressed_evaluated: u64,
    /// Records that this sink has missed since the daemon started: it was too slow, it failed, or its budget was spent.
    pub missed_total: u64,
    /// What is missing.
    pub log_status: LogStatus,
}

/// What the safety net hides of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetyNet {
    /// Whether the net is what allowed it, in either world.
    pub caught: bool,
    /// `action` without the net.
    pub action: String,
    /// `pending_action` without the net.
    pub pending_action: String,
}

/// The traces of both worlds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Traces {
    /// Of the verdict in force.
    pub enforced: Vec<StepReport>,
    /// Of the pending verdict.
    pub pending: Vec<StepReport>,
    /// Without the safety net, where it decided.
    pub enforced_without_safety_net: Option<Vec<StepReport>>,
    /// Without the safety net, where it decided.
    pub pending_without_safety_net: Option<Vec<StepReport>>,
}

/// How complete an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Whether nothing is missing.
    pub complete: bool,
    /// What is missing, in packets.
    #[serde(flatten)]
    pub missing: Missing,
    /// Whether packets and bytes are those that conntrack accounts, and not first packets alone.
    pub accounting: bool,
    /// How often ends of connections were lost between kernel and daemon; nobody knows how many.
    pub ends_lost: u64,
    /// Connections that have ended and whose flows are not known: older than the daemon, or forgotten.
    pub ends_unknown: u64,
}

/// One counter over one interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// When the interval began.
    #[serde(with = "time::serde::rfc3339")]
    pub start_time: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub end_time: OffsetDateTime,
    /// What it counts.
    #[serde(flatten)]
    pub counter: CounterRow,
    /// Packets in the interval.
    pub packets_delta: u64,
    /// Bytes in the interval.
    pub bytes_delta: u64,
}

/// A counter, what it counts, and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Its name in the kernel.
    pub counter: String,
    /// `enforced` or `pending`.
    pub world: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// `untracked`, `pre-dnat`, `normal` or `forward`.
    pub stage: String,
    /// The tier; empty where no tier speaks.
    pub tier: String,
    /// The kind as written, or `EndOfTier`, `Profile`, `Failsafe`, `Invalid`.
    pub kind: String,
    /// The namespace, if the kind has one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The index of the rule as written; -1 where no rule counts.
    pub rule_index: i64,
    /// The rule's name.
    pub rule_name: Option<String>,
    /// `Allow`, `Deny`, `Pass` or `Log`.
    pub action: String,
    /// Whether a safety net had caught these packets before.
    pub without_safety_net: bool,
    /// First packets that were evaluated, ever.
    pub packets_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
}

/// A party of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// `HostEndpoint`, `WorkloadEndpoint`, `ServiceEndpoint`, `NetworkSet` or `Network`.
    pub kind: String,
    /// Its namespace; `None` for what has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Arc<Labels>,
}

/// `namespace/name`, or the name alone.
impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl CounterRow {
    /// What counts, in a few words: `web: rule 0`, `forward end of tier default`. The direction is left to others.
    pub fn what(&self) -> String {
        let stage = match self.stage.as_str() {
            "normal" => String::new(),
            stage => format!("{stage} "),
        };
        let name = match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        };
        let rule = match (&self.rule_name, self.rule_index) {
            (Some(rule), _) => format!(": {rule}"),
            (None, ..0) => String::new(),
            (None, index) => format!(": rule {index}"),
        };
        let what = match self.kind.as_str() {
            "EndOfTier" => format!("end of tier {}", self.tier),
            "Failsafe" => format!("failsafe {name}"),
            "Invalid" => "invalid packets".to_owned(),
            "Profile" if name.is_empty() => "no profile".to_owned(),
            "Profile" => format!("profile {name}{rule}"),
            _ => format!("{name}{rule}"),
        };
        stage + &what
    }

    /// The row of one counter.
    pub fn new(counter: &str, counted: &Counted, packets_total: u64, bytes_total: u64) -> Self {
        let mut row = CounterRow {
            counter: counter.to_owned(),
            world: counted.world.as_str().to_owned(),
            direction: counted.direction.as_str().to_owned(),
            stage: counted.stage.as_str().to_owned(),
            tier: String::new(),
            kind: String::new(),
            namespace: None,
            name: String::new(),
            rule_index: -1,
            rule_name: None,
            action: counted.action.as_str().to_owned(),
            without_safety_net: counted.without_safety_net,
            packets_total,
            bytes_total,
        };
        match &counted.by {
            CountedBy::Invalid => "Invalid".clone_into(&mut row.kind),
            CountedBy::Failsafe(text) => {
                "Failsafe".clone_into(&mut row.kind);
                row.name.clone_from(text);
            }
            CountedBy::Rule {
                policy,
                rule_index,
                rule_name,
                ..
            } => {
                policy.kind.clone_into(&mut row.kind);
                row.tier.clone_from(&policy.tier);
                row.namespace.clone_from(&policy.namespace);
                row.name.clone_from(&policy.name);
                row.rule_index = i64::try_from(*rule_index).unwrap_or(i64::MAX);
                row.rule_name.clone_from(rule_name);
            }
            CountedBy::EndOfTier(tier) => {
                "EndOfTier".clone_into(&mut row.kind);
                row.tier.clone_from(tier);
            }
            CountedBy::Profile {
                name,
                rule_index,
                rule_name,
                ..
            } => {
                "Profile".clone_into(&mut row.kind);
                row.name.clone_from(name);
                row.rule_index = i64::try_from(*rule_index).unwrap_or(i64::MAX);
                row.rule_name.clone_from(rule_name);
            }
            CountedBy::NoProfile => "Profile".clone_into(&mut row.kind),
        }
        row
    }

    /// Whether what is counted here is decided here: each first packet that is copied for flow records, but for what an
    /// early stage has allowed, is counted by one such counter at each endpoint it meets.
    pub fn is_deciding(&self) -> bool {
        self.world == WorldKind::Enforced.as_str()
            && !self.without_safety_net
            && matches!(self.stage.as_str(), "normal" | "forward")
            && matches!(self.action.as_str(), "Allow" | "Deny")
            && self.kind != "Invalid"
    }

    /// Whether a rule of this policy counts here.
    pub fn is_of(&self, policy: &Policy) -> bool {
        self.kind == policy.written_kind()
            && self.namespace == policy.id.namespace
            && self.name == policy.id.name
    }
}
