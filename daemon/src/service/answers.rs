//! What the daemon answers over its API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_nft::CounterValue;
use palisade_rules::compile::Counted;
use palisade_rules::net::Direction;
use palisade_rules::resource::{PolicyStage, StagedAction};
use palisade_rules::ruleset::Name;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Attachment, Endpoint, EndpointId, WorldKind, Worlds};
use time::OffsetDateTime;
use tokio::sync::broadcast;

use super::{Daemon, Tallies, lock};
use crate::api::types::{EndpointRow, FlowsStatus, PolicyRow, Status, TableSize};
use crate::apply::{Generation, Total, concerned};
use crate::flows::observe::Kept;
use crate::flows::record::{CounterRow, FlowRecord};
use crate::flows::report::{Observed, StagedReport, staged_reports};
use crate::kernel::KernelError;
use crate::live;

impl Daemon {
    /// What is in force, and how the daemon fares.
    pub fn status(&self) -> Status {
        let generation = self.generation();
        let missing = lock(&self.observations).kept().missing();
        let reading = lock(&self.flows).reading;
        let sinks = self.sinks.status();
        let ruleset = &generation.compiled.ruleset;
        let panic_reason = self.panic.reason();
        let file = self.flows_config.sinks.file.as_ref();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: generation.worlds.host.node.clone().unwrap_or_default(),
            started_at: self.started_at,
            generation: generation.number,
            generation_at: generation.at,
            last_reload: lock(&self.last_reload).clone(),
            unconfirmed: self.unconfirmed(),
            rolled_back: self.rolled_back(),
            panic: panic_reason.is_some(),
            panic_reason,
            sandbox: Some(self.sandbox.clone()),
            endpoints: generation.worlds.local().count(),
            endpoints_by_kind: endpoints_by_kind(&generation.worlds),
            enforced_policies: generation.worlds.enforced.policies.len(),
            staged_policies: generation.staged().count(),
            safety_net: generation
                .worlds
                .enforced
                .policies
                .iter()
                .any(|policy| policy.safety_net),
            table: TableSize {
                chains: ruleset.chains.len(),
                rules: ruleset.chains.iter().map(|chain| chain.rules.len()).sum(),
                sets: ruleset.sets.len(),
                counters: ruleset.counters.len(),
            },
            foreign_changes: self.foreign_changes(),
            flows: FlowsStatus {
                file: file.map_or_else(|| "none".to_owned(), |file| file.display().to_string()),
                nflog_group: self.flows_config.nflog_group,
                reading,
                missing,
                not_written: sinks.iter().map(|sink| sink.missed).sum(),
                sinks,
            },
        }
    }

    /// Every counter with what it counts, as the kernel has it now.
    pub fn counters(&self) -> Result<Vec<CounterRow>, KernelError> {
        let mut engine = lock(&self.engine);
        let totals = engine.counters()?;
        let generation = engine.current().cloned().unwrap_or_else(|| self.generation());
        drop(engine);
        let counted = generation.compiled.counters.iter().zip(totals);
        Ok(counted
            .map(|((name, counted), total)| row(name, counted, total))
            .collect())
    }

    /// Ends an interval of counting.
    pub fn end_counting(&self) -> Result<Counting, KernelError> {
        let mut engine = lock(&self.engine);
        let totals = engine.counters()?;
        let retired = engine.end_interval();
        let generation = engine.current().cloned().unwrap_or_else(|| self.generation());
        Ok(Counting {
            generation,
            totals,
            retired,
        })
    }

    /// Keeps the totals of counters on disk, if something has moved and it is time, or in any case.
    pub fn keep_totals(&self, at_once: bool) {
        // The disk is not waited for with the engine in hand.
        let unwritten = lock(&self.engine).unwritten_totals(at_once);
        if let Some(unwritten) = unwritten {
            unwritten.write();
        }
    }

    /// Every policy, in order of evaluation, staged ones among the enforced.
    pub fn policies(&self) -> Result<Vec<PolicyRow>, KernelError> {
        let counters = self.counters()?;
        let generation = self.generation();
        Ok(policy_rows(&generation.snapshot, &generation.worlds, &counters))
    }

    /// Every endpoint.
    pub fn endpoints(&self) -> Vec<EndpointRow> {
        endpoint_rows(&self.generation().worlds)
    }

    /// What each staged policy would have done; who promotes asks for at least so long an observation.
    pub fn staged(&self, evidence: Duration) -> Result<Vec<StagedReport>, KernelError> {
        let counters: BTreeMap<String, CounterRow> = self
            .counters()?
            .into_iter()
            .map(|row| (row.counter.clone(), row))
            .collect();
        let generation = self.generation();
        let kept = self.evidence();
        let alive = live::alive(&generation.worlds).map_err(|error| error.to_string());
        let observed = Observed {
            generation: &generation,
            kept: &kept,
            counters: &counters,
            alive: alive.as_ref().map_err(String::as_str),
            reading: lock(&self.flows).reading,
            now: OffsetDateTime::now_utc(),
        };
        Ok(staged_reports(&observed, evidence))
    }

    /// What reports are made of: a copy, for what is done with it takes its time, and the reader of the NFLOG group must not
    /// wait for it.
    pub fn evidence(&self) -> Kept {
        lock(&self.observations).kept().clone()
    }

    /// What only the daemon counts.
    pub fn tallies(&self) -> Tallies {
        lock(&self.tallies).clone()
    }

    /// The ruleset in force, as nft text.
    pub fn ruleset(&self) -> String {
        self.generation().compiled.ruleset.to_string()
    }

    /// The flow records of the last intervals, and those to come.
    pub fn flows(&self) -> (Vec<Arc<FlowRecord>>, broadcast::Receiver<Arc<FlowRecord>>) {
        let flows = lock(&self.flows);
        let coming = self.follow.subscribe();
        (flows.recent.iter().cloned().collect(), coming)
    }
}

/// What counters have counted in an interval.
pub struct Counting {
    /// The generation in force at its end.
    pub generation: Arc<Generation>,
    totals: Vec<Total>,
    retired: Vec<(Arc<Generation>, Name, Total)>,
}

impl Counting {
    /// The counters that have moved, with by how much, those of rules that were removed meanwhile among them; or every
    /// counter of the generation.
    pub fn rows(&self, all: bool) -> impl Iterator<Item = (CounterRow, CounterValue)> {
        let counted = self.generation.compiled.counters.iter().zip(&self.totals);
        let counted = counted.filter(move |(_, total)| all || total.delta != CounterValue::default());
        let retired = self.retired.iter().filter_map(|(generation, name, total)| {
            let (name, counted) = generation.compiled.counters.get_key_value(name)?;
            Some(((name, counted), total))
        });
        counted
            .chain(retired)
            .map(|((name, counted), total)| (row(name, counted, *total), total.delta))
    }
}

fn row(name: &Name, counted: &Counted, total: Total) -> CounterRow {
    CounterRow::new(name.as_str(), counted, total.total.packets, total.total.bytes)
}

/// The rows of `palisade policies`: the pending world's order, in which a replaced or deleted policy keeps its place,
/// then what is parked.
pub fn policy_rows(snapshot: &Snapshot, worlds: &Worlds, counters: &[CounterRow]) -> Vec<PolicyRow> {
    let mut places: BTreeMap<usize, (usize, bool, usize)> = BTreeMap::new();
    for kind in [WorldKind::Pending, WorldKind::Enforced] {
        for policy in worlds.world(kind).policies.iter() {
            places
                .entry(policy.source)
                .or_insert((policy.tier, policy.safety_net, policy.place));
        }
    }
    let concerned = concerned(snapshot, worlds);
    let mut order: Vec<usize> = (0..snapshot.policies.len()).collect();
    order.sort_by_key(|source| places.get(source).copied().unwrap_or((usize::MAX, true, *source)));
    order
        .into_iter()
        .map(|source| {
            let policy = &snapshot.policies[source];
            let world = if policy.staged.is_some() {
                WorldKind::Pending
            } else {
                WorldKind::Enforced
            };
            let own = counters
                .iter()
                .filter(|row| row.world == world.as_str() && row.is_of(policy));
            let types = [(policy.types.ingress, "Ingress"), (policy.types.egress, "Egress")];
            PolicyRow {
                tier: policy.tier.clone(),
                order: policy.order.map(palisade_rules::resource::Order::value),
                kind: policy.written_kind().to_owned(),
                namespace: policy.id.namespace.clone(),
                name: policy.id.name.clone(),
                state: match policy.staged {
                    None => "enforced",
                    Some(StagedAction::Set) => "staged",
                    Some(StagedAction::Delete) => "staged (Delete)",
                    Some(StagedAction::Learn) => "staged (Learn)",
                    Some(StagedAction::Ignore) => "parked (Ignore)",
                }
                .to_owned(),
                stage: match policy.stage {
                    PolicyStage::Normal {
                        apply_on_forward: false,
                    } => "normal",
                    PolicyStage::Normal {
                        apply_on_forward: true,
                    } => "normal and forward",
                    PolicyStage::PreDnat => "pre-dnat",
                    PolicyStage::Untracked => "untracked",
                }
                .to_owned(),
                types: types
                    .iter()
                    .filter(|(has, _)| *has)
                    .map(|(_, word)| (*word).to_owned())
                    .collect(),
                endpoints: concerned[source]
                    .iter()
                    .map(|&id| worlds.endpoint(id).to_string())
                    .collect(),
                packets: own.map(|row| row.packets_total).sum(),
                source: policy.position.to_string(),
            }
        })
        .collect()
}

/// The rows of `palisade endpoints`.
pub fn endpoint_rows(worlds: &Worlds) -> Vec<EndpointRow> {
    let row = |(index, endpoint): (usize, &Arc<Endpoint>)| EndpointRow {
        kind: endpoint.kind.as_str().to_owned(),
        namespace: endpoint.namespace.clone(),
        name: endpoint.name.clone(),
        node: endpoint.node.clone(),
        interfaces: match &endpoint.attachment {
            None | Some(Attachment::Cgroups(_)) => Vec::new(),
            Some(Attachment::Rest) => vec!["*".to_owned()],
            Some(Attachment::Interfaces(interfaces)) => interfaces.clone(),
        },
        cgroups: match &endpoint.attachment {
            Some(Attachment::Cgroups(cgroups)) => cgroups.iter().map(|cgroup| cgroup.path.clone()).collect(),
            None | Some(Attachment::Rest | Attachment::Interfaces(_)) => Vec::new(),
        },
        addresses: endpoint.addresses.clone(),
        labels: endpoint.labels.clone(),
        preview: endpoint.attachment.is_some() && has_preview(worlds, EndpointId(index)),
    };
    worlds.endpoints.iter().enumerate().map(row).collect()
}

/// Whether staged policies change something for an endpoint.
fn has_preview(worlds: &Worlds, id: EndpointId) -> bool {
    let mut stages = worlds.endpoint(id).kind.stages().iter();
    stages.any(|&stage| {
        let mut directions = Direction::BOTH.into_iter();
        directions.any(|direction| worlds.differs(id, direction, stage))
    })
}

/// How many local endpoints there are of each kind.
fn endpoints_by_kind(worlds: &Worlds) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, endpoint, _) in worlds.local() {
        *counts.entry(endpoint.kind.as_str().to_owned()).or_default() += 1;
    }
    counts
}
