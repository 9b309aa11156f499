//! The safety net: what it holds, taking it away, and bringing it back.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_rules::analysis::lint::{self, Options};
use palisade_rules::analysis::{Side, StepReport};
use palisade_rules::evaluate::Verdict;
use palisade_rules::resource::Policy;
use palisade_rules::world::{WorldKind, Worlds};

use super::Daemon;
use super::rollout::Asker;
use crate::api::safety_net::{Caught, Counted, Net, SafetyNetReport};
use crate::api::types::ReloadReport;
use crate::apply::Engine;
use crate::flows::attribute::{attribute, parties};
use crate::flows::kept::Kept;
use crate::kernel::KernelError;
use crate::live;

/// What lint calls a net that packets do not get to.
const CUT_OFF: [&str; 2] = ["safety-net-cut-off", "safety-net-not-on-forward"];

impl Daemon {
    /// What the safety net holds: of all that was seen, what would be denied today without it.
    pub fn safety_net(&self) -> Result<SafetyNetReport, KernelError> {
        let counters = self.counters()?;
        let generation = self.generation();
        let worlds = &generation.worlds;
        let nets: Vec<&Policy> = worlds
            .enforced
            .policies
            .iter()
            .filter(|policy| policy.safety_net)
            .map(|policy| &*generation.snapshot.policies[policy.source])
            .collect();
        let mut counted: BTreeMap<(String, String), Counted> = BTreeMap::new();
        for row in counters {
            let is_of_net = row.world == "enforced"
                && row.kind == "GlobalNetworkPolicy"
                && nets.iter().any(|net| net.id.name == row.name);
            if is_of_net {
                let key = (row.name.clone(), row.direction.clone());
                let counted = counted.entry(key).or_insert_with(|| Counted {
                    name: row.name,
                    direction: row.direction,
                    packets: 0,
                    bytes: 0,
                });
                counted.packets += row.packets_total;
                counted.bytes += row.bytes_total;
            }
        }
        let side = || Side {
            worlds,
            world: WorldKind::Enforced,
        };
        let findings = lint::lint(&generation.snapshot, worlds, &Options::default());
        let before = findings
            .into_iter()
            .filter(|finding| CUT_OFF.contains(&finding.code));
        let evidence = self.evidence();
        Ok(SafetyNetReport {
            nets: nets.iter().map(|net| written(net)).collect(),
            counted: counted.into_values().collect(),
            caught: caught(worlds, &evidence),
            since: evidence.since(0).map(|(_, tally)| tally.first_seen).min(),
            missing: evidence.missing().total(),
            connections: live::look(side(), side()).ok(),
            before: before
                .map(|finding| match finding.position {
                    Some(position) => format!("{} ({position})", finding.message),
                    None => finding.message,
                })
                .collect(),
        })
    }

    /// Takes the safety net away, under a timer.
    pub async fn remove_safety_net(self: &Arc<Self>, mut asker: Asker) -> ReloadReport {
        if asker.confirm_within.is_none() {
            asker.confirm_within = Some(self.rollout_config().await.confirm_within);
        }
        self.bring(asker, Engine::remove_safety_net).await
    }

    /// Brings the safety net back: nobody has to confirm that.
    pub async fn restore_safety_net(self: &Arc<Self>, mut asker: Asker) -> ReloadReport {
        asker.confirm_within = None;
        self.bring(asker, Engine::restore_safety_net).await
    }
}

fn written(net: &Policy) -> Net {
    let built_in = Policy::safety_net(&net.id.name).position;
    Net {
        name: net.id.name.clone(),
        source: (net.position != built_in).then(|| net.position.to_string()),
    }
}

/// What the worlds in force let in of what was seen, and would deny without the net: those alike together, most of it first.
fn caught(worlds: &Worlds, evidence: &Kept) -> Vec<Caught> {
    let mut groups: BTreeMap<_, Caught> = BTreeMap::new();
    for (connection, tally) in evidence.since(0) {
        let Some(said) = attribute(worlds, connection) else {
            continue;
        };
        if said.action != Verdict::Allow || said.action_without_net != Verdict::Deny {
            continue;
        }
        let bare = said.policies.enforced_without_safety_net.as_ref();
        let because = bare.and_then(|steps| steps.last()).map(StepReport::phrase);
        let (source, destination) = parties(worlds, connection);
        let caught = Caught {
            direction: connection.direction.to_string(),
            from: source.to_string(),
            to: destination.to_string(),
            protocol: connection.packet.protocol.to_string(),
            port: connection.packet.destination_port,
            packets: 0,
            last: tally.last_seen,
            because: because.unwrap_or_default(),
        };
        let key = (
            caught.direction.clone(),
            caught.from.clone(),
            caught.to.clone(),
            caught.protocol.clone(),
            caught.port,
            caught.because.clone(),
        );
        let group = groups.entry(key).or_insert(caught);
        group.packets += tally.packets;
        group.last = group.last.max(tally.last_seen);
    }
    let mut groups: Vec<Caught> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.packets));
    groups
}
