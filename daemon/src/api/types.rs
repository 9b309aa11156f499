//! What the daemon says over its socket. The command line shows these, and prints them as they are with `-o json`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_rules::analysis::{Difference, expectations};
use palisade_rules::resource::Labels;
use palisade_rules::ruleset::changes::Changes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::foreign::ForeignChanges;
use super::rollout::Unconfirmed;
use crate::apply::RolledBack;
use crate::flows::observe::Missing;
use crate::flows::record::FlowRecord;
use crate::flows::report::EVIDENCE;
use crate::flows::sinks::SinkStatus;
use crate::guard::{GuardReport, Session};
use crate::live::LiveReport;
use crate::sandbox::Sandbox;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// This host's name in `HostEndpoint.spec.node`.
    pub node: String,
    /// When the daemon started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// The generation in force.
    pub generation: u64,
    /// When it came into force.
    #[serde(with = "time::serde::rfc3339")]
    pub generation_at: OffsetDateTime,
    /// What the last reload did.
    pub last_reload: LastReload,
    /// Whether `palisade panic` keeps everything out of force.
    pub panic: bool,
    /// The generation that is not confirmed yet, if there is one.
    #[serde(default)]
    pub unconfirmed: Option<Unconfirmed>,
    /// What was rolled back last.
    #[serde(default)]
    pub rolled_back: Option<RolledBack>,
    /// Why, if it does: somebody called it, or the kernel's command line says `palisade=off`.
    pub panic_reason: Option<String>,
    /// What the daemon gave away when it started; `None` from one that does not say.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// Endpoints on this host.
    pub endpoints: usize,
    /// The same by kind.
    pub endpoints_by_kind: BTreeMap<String, usize>,
    /// Policies in force.
    pub enforced_policies: usize,
    /// Staged policies, parked ones left out.
    pub staged_policies: usize,
    /// Whether a safety net stands in the enforced world.
    pub safety_net: bool,
    /// Chains, rules, sets and counters in the kernel.
    pub table: TableSize,
    /// What others did to the table.
    #[serde(default)]
    pub foreign_changes: ForeignChanges,
    /// Flow records.
    pub flows: FlowsStatus,
}

/// What the last reload did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastReload {
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether its generation is in force.
    pub ok: bool,
    /// What was wrong, ready to be shown.
    pub error: Option<String>,
}

/// How big our table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// Chains.
    pub chains: usize,
    /// Rules.
    pub rules: usize,
    /// Named sets.
    pub sets: usize,
    /// Named counters.
    pub counters: usize,
}

/// How the flow records fare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsStatus {
    /// The file that they are written to; `none` without one.
    pub file: String,
    /// The NFLOG group they come from.
    pub nflog_group: u16,
    /// Whether the group is being read.
    pub reading: bool,
    /// What is missing since the start.
    pub missing: Missing,
    /// Records that sinks have missed, all sinks together.
    pub not_written: u64,
    /// Each of the sinks.
    pub sinks: Vec<SinkStatus>,
}

/// A row of `GET /v1/policies`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// The tier.
    pub tier: String,
    /// The order; `None` comes last.
    pub order: Option<f64>,
    /// The kind as written.
    pub kind: String,
    /// The namespace, if the kind has one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// `enforced`, or the staged action.
    pub state: String,
    /// Where it meets packets: `normal` (at the endpoint itself), `normal and forward` (through a host as well),
    /// `pre-dnat` or `untracked`.
    pub stage: String,
    /// The directions it governs.
    pub types: Vec<String>,
    /// The local endpoints it has an effect on.
    pub endpoints: Vec<String>,
    /// First packets its rules have decided or logged, in its own world.
    pub packets: u64,
    /// Where it is written.
    pub source: String,
}

/// A row of `GET /v1/endpoints`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// `HostEndpoint`, `WorkloadEndpoint` or `ServiceEndpoint`.
    pub kind: String,
    /// The namespace, if the kind has one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The node.
    pub node: String,
    /// The interfaces on this host; empty elsewhere.
    pub interfaces: Vec<String>,
    /// The cgroups of a service on this host, by path; empty while it does not run.
    pub cgroups: Vec<String>,
    /// The addresses it is known by.
    pub addresses: Vec<std::net::IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// Whether staged policies change something for it.
    pub preview: bool,
}

/// `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether the new generation is in force.
    pub ok: bool,
    /// The generation in force.
    pub generation: u64,
    /// Changes made in the kernel.
    pub changes: usize,
    /// What is worth knowing of the resources.
    pub warnings: String,
    /// What was wrong.
    pub error: Option<String>,
    /// What the lockout guard has found, where it was asked.
    #[serde(default)]
    pub guard: Option<GuardReport>,
    /// Until when it has to be confirmed; `None` if it need not be.
    #[serde(default)]
    pub unconfirmed: Option<Unconfirmed>,
    /// How many connections were ended because they are denied now; `None` if that was not asked for.
    #[serde(default)]
    pub cut: Option<usize>,
    /// How the command ends.
    pub exit: u8,
}

/// What `POST /v1/reload` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadRequest {
    /// The connections that the caller sits behind.
    #[serde(default)]
    pub sessions: Vec<Session>,
    /// Whether the change goes on though the lockout guard refuses it.
    #[serde(default)]
    pub force: bool,
    /// How long there is to confirm it, in milliseconds; if not given, it need not be.
    #[serde(default)]
    pub confirm_within_ms: Option<u64>,
}

/// What `POST /v1/plan` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// Resources instead of those in the policy directory: the name of each file, and its text.
    pub files: Option<Vec<(String, String)>>,
    /// Staged policies to promote, by name.
    #[serde(default)]
    pub promote: Vec<String>,
    /// Whether all of them are promoted.
    #[serde(default)]
    pub promote_all: bool,
    /// Whether who reaches whom is left out.
    #[serde(default)]
    pub without_connectivity: bool,
    /// The connections that the caller sits behind.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

/// The query of `GET /v1/diff`; without generations, enforced against pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffQuestion {
    /// The older generation.
    pub old: Option<u64>,
    /// The newer generation.
    pub new: Option<u64>,
    /// Of generations: whether their pending worlds are compared.
    #[serde(default)]
    pub pending: bool,
}

/// The query of `GET /v1/staged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedQuestion {
    /// As `palisade staged --evidence`, in seconds: how long a policy must have been observed to be called ready.
    pub evidence_seconds: Option<u64>,
}

impl StagedQuestion {
    /// The time that is asked for, or the usual.
    pub fn evidence(self) -> Duration {
        self.evidence_seconds.map_or(EVIDENCE, Duration::from_secs)
    }
}

/// `POST /v1/plan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// What a reload would do; `None` if it would be refused.
    pub plan: Option<Plan>,
    /// Why it would be.
    pub error: Option<String>,
    /// How the command ends.
    pub exit: u8,
}

/// What a reload would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The generation in force.
    pub generation: u64,
    /// The generation after the reload; the same if nothing would change.
    pub next_generation: u64,
    /// The staged policies that would be promoted.
    pub promoted: Vec<String>,
    /// What would change in the kernel.
    pub kernel: KernelPlan,
    /// What is allowed in force after it and not before, and the other way round; `None` if nobody wants to know.
    pub connectivity: Option<Difference>,
    /// Of a promotion of some staged policies: where what is then in force differs from the world in which all of them are
    /// promoted, of which the preview is. `None` if nobody wants to know.
    #[serde(default)]
    pub pending: Option<Difference>,
    /// What that does to the connections that are alive; `None` if they cannot be read.
    pub connections: Option<LiveReport>,
    /// What the lockout guard says to it.
    #[serde(default)]
    pub guard: GuardReport,
    /// What is worth knowing of the resources.
    pub warnings: String,
}

/// What a reload would change in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPlan {
    /// Operations in its transaction: what the reload reports as changes.
    pub operations: usize,
    /// What differs from the generation in force. The rest of the operations is because rules are replaced a chain at a
    /// time, or because the kernel does not hold what is in force.
    #[serde(flatten)]
    pub changes: Changes,
}

/// A line of `GET /v1/flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FlowLine {
    /// A record.
    Flow(Arc<FlowRecord>),
    /// Records that are left out because the reader was too slow.
    Missed {
        /// How many.
        records: u64,
    },
}

/// `POST /v1/test`: files of expectations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestQuestion {
    /// The files.
    pub files: Vec<TestFile>,
}

/// A file of expectations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFile {
    /// As it was named.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// What came of expectations, in every form that somebody reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestAnswer {
    /// Whether all of them hold, and there is one.
    pub ok: bool,
    /// For programs.
    pub report: serde_json::Value,
    /// For reading.
    pub text: String,
    /// In the Test Anything Protocol.
    pub tap: String,
    /// In the XML of JUnit.
    pub junit: String,
}

impl TestAnswer {
    /// A report in all its forms.
    ///
    /// # Errors
    ///
    /// If the report cannot be written as JSON, which would be a bug.
    pub fn of(report: &expectations::Report) -> Result<Self, serde_json::Error> {
        Ok(TestAnswer {
            ok: report.is_success(),
            report: serde_json::to_value(report)?,
            text: report.text(),
            tap: report.tap(),
            junit: report.junit(),
        })
    }
}

/// What an endpoint of the API says when it cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
}
