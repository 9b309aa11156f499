//! What a reload would bring into force, and how much of it is not there yet: the same road, up to the kernel's door.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_rules::resource::{Policy, PolicyId};
use palisade_rules::rewrite::RewriteError;
use palisade_rules::ruleset::changes::Changes;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Worlds, resolve_from};
use time::OffsetDateTime;

use super::{Engine, Generation, ReloadError, add_safety_net, is_staged};
use crate::config::Config;
use crate::exit::Exit;
use crate::kernel::KernelError;
use crate::source::{self, Reading, SourceFile};

/// What is planned.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    /// These resources instead of those in the policy directory.
    pub files: Option<Vec<SourceFile>>,
    /// Staged policies to promote.
    pub promote: Promote,
}

/// Which staged policies are promoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Promote {
    /// None.
    #[default]
    Nothing,
    /// Those of these names: `name`, or `namespace/name`.
    Named(Vec<String>),
    /// All: what is then in force is the pending world.
    All,
}

/// What a reload would bring into force.
#[derive(Debug)]
pub struct Planned {
    /// What is in force now.
    pub current: Arc<Generation>,
    /// The number of the generation; that of the one in force if nothing would change.
    pub number: u64,
    /// Both worlds as they would be.
    pub worlds: Worlds,
    /// What differs from the ruleset in force.
    pub changes: Changes,
    /// How many operations that takes in the kernel, from what it really holds.
    pub operations: usize,
    /// The policies that would be promoted, by name.
    pub promoted: Vec<String>,
    /// What is worth knowing about the resources, ready to be shown.
    pub warnings: String,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The reload would be refused.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// A policy is to be promoted that is not staged.
    #[error("no policy {name:?} is staged: {staged}")]
    NotStaged {
        /// What was asked.
        name: String,
        /// What is.
        staged: String,
    },
    /// There is nothing to promote.
    #[error("nothing is staged")]
    NothingStaged,
    /// The files are not what is in force.
    #[error(
        "{files} changed since the generation in force was read: `palisade plan` shows what that would do; reload, then \
         promote"
    )]
    Edited {
        /// The files.
        files: String,
    },
    /// There is no net to remove.
    #[error("there is no safety net")]
    NoSafetyNet,
    /// There is nothing to restore.
    #[error("the safety net is there: `safetyNet` is true in the configuration")]
    SafetyNetIsThere,
    /// The configuration cannot be rewritten.
    #[error(
        "{path} cannot be changed by a word so that it means the same but for the safety net: write `safetyNet: {value}` by hand, then reload"
    )]
    SafetyNetByHand {
        /// The configuration.
        path: String,
        /// What is to be written.
        value: bool,
    },
    /// A canary of other policies is running.
    #[error("a canary of {running} is running: promote these, or end it first with `palisade rollback`")]
    Canary {
        /// The policies.
        running: String,
    },
    /// The files cannot be rewritten.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// Several policies have the name.
    #[error("{name:?} is the name of {policies}: say which, as namespace/name")]
    Clash {
        /// The name.
        name: String,
        /// The policies.
        policies: String,
    },
}

impl PlanError {
    /// How a command that ran into this ends.
    pub fn exit(&self) -> Exit {
        match self {
            PlanError::Reload(error) => error.exit(),
            PlanError::NotStaged { .. }
            | PlanError::NothingStaged
            | PlanError::Clash { .. }
            | PlanError::NoSafetyNet
            | PlanError::SafetyNetIsThere => Exit::Usage,
            PlanError::SafetyNetByHand { .. }
            | PlanError::Edited { .. }
            | PlanError::Canary { .. }
            | PlanError::Rewrite(_) => Exit::ApplyFailed,
        }
    }
}

impl Engine {
    /// What a reload of these resources would do. Nothing is applied.
    pub fn plan(&mut self, proposal: &Proposal) -> Result<Planned, PlanError> {
        // Before the first generation there is nobody to ask.
        let current = self.current().filter(|_| !self.panicked()).cloned();
        let current = current.ok_or(ReloadError::Panic)?;
        let config = Config::load(&self.config_path).map_err(ReloadError::from)?;
        let config = self.fixed_at_start(config);
        let reading = if let Some(files) = &proposal.files {
            source::decode_files(files)
        } else {
            let files = self.reader.read(&config.policy_dir).map_err(ReloadError::from)?;
            self.decoder.read(&files)
        };
        let warnings = reading.diagnostics.render(&reading.files, false);
        let Reading {
            snapshot: Some(snapshot),
            ..
        } = reading
        else {
            return Err(ReloadError::Resources(warnings).into());
        };
        let (mut snapshot, promoted) = proposal.promote.apply(&snapshot)?;
        add_safety_net(&config, &mut snapshot);
        let host = self.host(&config, &[&snapshot]);
        // The services that were looked for may not be those in force.
        self.cgroups.look_again();
        let worlds = resolve_from(Some(current.was_resolved()), &snapshot, host?);
        let (number, compiled, _) =
            self.compiled(&config, &worlds, Some(&current), OffsetDateTime::now_utc());
        let table = self
            .nft
            .dump()
            .map_err(|error| ReloadError::from(KernelError::from(error)))?;
        Ok(Planned {
            number,
            changes: Changes::between(&current.compiled.ruleset, &compiled.ruleset),
            operations: palisade_nft::diff(&compiled.ruleset, table.as_ref(), &self.history).len(),
            current,
            worlds,
            promoted: promoted.iter().map(PolicyId::to_string).collect(),
            warnings,
        })
    }
}

impl Promote {
    /// The resources after promotion, and what is promoted.
    pub(super) fn apply(&self, snapshot: &Snapshot) -> Result<(Snapshot, Vec<PolicyId>), PlanError> {
        let staged: BTreeMap<&PolicyId, &Policy> = snapshot
            .policies
            .iter()
            .filter(|policy| is_staged(policy))
            .map(|policy| (&policy.id, policy.as_ref()))
            .collect();
        let chosen: Vec<&PolicyId> = match self {
            Promote::Nothing => Vec::new(),
            Promote::All => staged.keys().copied().collect(),
            Promote::Named(names) => names
                .iter()
                .map(|name| the_staged(&staged, name))
                .collect::<Result<_, _>>()?,
        };
        let promoted = snapshot.promoted(|policy| chosen.contains(&&policy.id));
        Ok((promoted, chosen.into_iter().cloned().collect()))
    }
}

/// The only staged policy of a name.
fn the_staged<'s>(staged: &BTreeMap<&'s PolicyId, &Policy>, name: &str) -> Result<&'s PolicyId, PlanError> {
    let is_meant = |id: &&&PolicyId| id.name == name || id.to_string() == name;
    let meant: Vec<&PolicyId> = staged.keys().filter(is_meant).copied().collect();
    let list = |ids: &[&PolicyId]| {
        let ids = ids.iter().map(|id| format!("{} {id}", staged[id].written_kind()));
        ids.collect::<Vec<_>>().join(", ")
    };
    match meant.as_slice() {
        [id] => Ok(id),
        [] if staged.is_empty() => Err(PlanError::NotStaged {
            name: name.to_owned(),
            staged: "nothing is".to_owned(),
        }),
        [] => Err(PlanError::NotStaged {
            name: name.to_owned(),
            staged: list(&staged.keys().copied().collect::<Vec<_>>()),
        }),
        several => Err(PlanError::Clash {
            name: name.to_owned(),
            policies: list(several),
        }),
    }
}
