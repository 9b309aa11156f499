//! What would change: by a promotion, for the connections that are alive, and by a reload, for everything.

use std::sync::Arc;
use std::time::Duration;

use palisade_rules::analysis::connections::Effect;
use palisade_rules::analysis::{Difference, Side, diff};
use palisade_rules::world::{WorldKind, Worlds};
use tracing::{error, warn};

use super::{Daemon, lock};
use crate::api::types::{DiffQuestion, KernelPlan, Plan, PlanReport, PlanRequest};
use crate::apply::{Generation, PlanError, Promote, Proposal, ReloadError};
use crate::exit::Exit;
use crate::guard::{self, Caller};
use crate::kernel::KernelError;
use crate::live::{self, LiveReport};
use crate::source::SourceFile;

/// Generations come in bursts, as interfaces do: a sweep takes the better part of a second of a core, and is not worth
/// more often than this.
const PAUSE: Duration = Duration::from_secs(2);

/// A generation whose worlds are known.
enum Kept {
    /// As they were, with the host as it was.
    Known(Arc<Generation>),
    /// As they would be now: of a stored generation, the resources are known.
    Stored(Box<Worlds>),
}

impl Kept {
    fn worlds(&self) -> &Worlds {
        match self {
            Kept::Known(generation) => &generation.worlds,
            Kept::Stored(worlds) => worlds,
        }
    }
}

impl Daemon {
    /// What promoting everything that is staged would do to the connections that are alive.
    pub fn connections(&self) -> Result<LiveReport, KernelError> {
        let worlds = &self.generation().worlds;
        let side = |world| Side { worlds, world };
        Ok(live::look(side(WorldKind::Enforced), side(WorldKind::Pending))?)
    }

    /// What promoting everything staged would change, or what changed between two generations.
    pub fn diff(&self, question: &DiffQuestion) -> Result<Difference, ReloadError> {
        let [old, new] = match (question.old, question.new) {
            (None, None) => {
                let current = self.generation();
                WorldKind::BOTH.map(|world| (Kept::Known(Arc::clone(&current)), world))
            }
            (old, new) => {
                let world = if question.pending {
                    WorldKind::Pending
                } else {
                    WorldKind::Enforced
                };
                [(self.kept(old)?, world), (self.kept(new)?, world)]
            }
        };
        let [old, new] = [&old, &new].map(|(kept, world)| Side {
            worlds: kept.worlds(),
            world: *world,
        });
        Ok(diff(old, new))
    }

    /// The generation of a number; the one in force for none.
    fn kept(&self, number: Option<u64>) -> Result<Kept, ReloadError> {
        let Some(number) = number else {
            return Ok(Kept::Known(self.generation()));
        };
        let found = {
            let known = lock(&self.known);
            let mut all = known.all.iter();
            all.find(|generation| generation.number == number).cloned()
        };
        if let Some(generation) = found {
            return Ok(Kept::Known(generation));
        }
        let worlds = lock(&self.engine).stored_worlds(number)?;
        Ok(Kept::Stored(Box::new(worlds)))
    }

    /// What a reload would do. Nothing is applied.
    pub fn plan(&self, request: PlanRequest) -> PlanReport {
        let refused = |error: &PlanError| PlanReport {
            plan: None,
            error: Some(error.to_string()),
            exit: error.exit() as u8,
        };
        self.planned(request).map_or_else(
            |error| refused(&error),
            |plan| {
                let changes = plan.kernel.operations > 0 || plan.next_generation != plan.generation;
                let exit = if changes { Exit::Findings } else { Exit::Fine };
                PlanReport {
                    plan: Some(plan),
                    error: None,
                    exit: exit as u8,
                }
            },
        )
    }

    fn planned(&self, request: PlanRequest) -> Result<Plan, PlanError> {
        let files = request.files.map(|files| {
            let files = files
                .into_iter()
                .map(|(name, text)| SourceFile::new(name, text.as_bytes()));
            files.collect()
        });
        let promote = match request.promote {
            _ if request.promote_all => Promote::All,
            names if names.is_empty() => Promote::Nothing,
            names => Promote::Named(names),
        };
        let planned = lock(&self.engine).plan(&Proposal { files, promote })?;
        let side = |worlds| Side {
            worlds,
            world: WorldKind::Enforced,
        };
        let [before, after] = [&planned.current.worlds, &planned.worlds].map(side);
        let connectivity = (!request.without_connectivity).then(|| diff(before, after));
        let pending = (!request.without_connectivity && !planned.promoted.is_empty()).then(|| {
            let pending = Side {
                worlds: &planned.current.worlds,
                world: WorldKind::Pending,
            };
            diff(pending, after)
        });
        let caller = Caller {
            sessions: request.sessions,
            ..Caller::default()
        };
        let guard = guard::judge(before, after, &caller);
        let mut warnings = planned.warnings;
        let connections = live::look(before, after);
        let connections = connections
            .inspect_err(|error| warnings += &format!("live connections are left out: {error}\n"))
            .ok();
        Ok(Plan {
            generation: planned.current.number,
            next_generation: planned.number,
            promoted: planned.promoted,
            kernel: KernelPlan {
                operations: planned.operations,
                changes: planned.changes,
            },
            connectivity,
            pending,
            connections,
            guard,
            warnings,
        })
    }
}

/// Sweeps the live connections once for each generation, and says in the log what a promotion would mean for them; the
/// same is not said twice.
pub(super) async fn sweep_each_generation(daemon: Arc<Daemon>) {
    let mut said = None;
    loop {
        let sweeping = Arc::clone(&daemon);
        match tokio::task::spawn_blocking(move || sweeping.connections()).await {
            Ok(swept) => {
                let say = match &swept {
                    Ok(report) => summary(report),
                    Err(error) => Some(format!("live connections are not looked at: {error}")),
                };
                if let Some(say) = say.as_ref().filter(|_| say != said) {
                    warn!("{say}");
                }
                said = say;
            }
            Err(panic) => error!("looking at the live connections ended in a bug: {panic}"),
        }
        daemon.new_generation.notified().await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// What promotion would mean for live connections, in one line; `None` if nothing.
fn summary(report: &LiveReport) -> Option<String> {
    let [denied, caught] =
        [Effect::Denied, Effect::DeniedWithoutSafetyNet].map(|effect| report.count(effect));
    let said = match (denied, caught) {
        (0, 0) => return None,
        (0, caught) => {
            format!("{caught} would be, once the staged policies are promoted and the safety net is removed")
        }
        (denied, 0) => format!("{denied} would be, once the staged policies are promoted"),
        (denied, caught) => format!(
            "{denied} would be, once the staged policies are promoted, and {caught} more once the safety net is removed"
        ),
    };
    let first = report.affected.first().map(|group| {
        let group = &group.connections;
        let port = group.port.map(|port| format!(" {port}")).unwrap_or_default();
        format!(
            "; first {} to {} {}{port}, by {}",
            group.from,
            group.to,
            group.protocol,
            group.because.phrase()
        )
    });
    Some(format!(
        "of {} live connections, none is cut, but denied if opened again {said}{} (`palisade connections` lists them)",
        report.connections,
        first.unwrap_or_default()
    ))
}
