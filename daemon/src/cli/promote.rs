//! `palisade promote`: the evidence, what changes, and then the change, under a timer.

use super::args::{Format, PromoteArgs};
use super::{Failure, Outcome, connections, diff, fit, output, reload, rollout, session, staged};
use crate::api::client::Client;
use crate::api::rollout::PromoteRequest;
use crate::api::types::{Plan, PlanReport, PlanRequest, ReloadReport};
use crate::exit::Exit;
use crate::flows::report::StagedReport;

pub(super) async fn run(client: &Client, args: &PromoteArgs, format: Format) -> Outcome {
    let sessions = session::own();
    if format == Format::Table {
        output::say(&evidence(client, args).await?)?;
    }
    let request = PromoteRequest {
        names: args.names.clone(),
        all: args.all,
        confirm_within_ms: args.confirm_within.map(rollout::milliseconds),
        canary: args.canary,
        cut: args.cut,
        force: args.force,
        sessions,
    };
    let report: ReloadReport = client.post("/v1/promote", &request).await?;
    if format != Format::Table {
        output::whole(format, &report)?;
        return rollout::wait(client, &report, args.waiting, format).await;
    }
    if let Some(error) = &report.error {
        return Err(Failure::new(
            reload::exit(&report),
            format!("nothing was changed (generation {}):\n{error}", report.generation),
        ));
    }
    eprint!("{}", report.warnings);
    if let Some(guard) = &report.guard {
        eprint!("{}", guard.text());
    }
    output::say(&match report.changes {
        0 => format!(
            "nothing changed in the kernel: generation {} is in force\n",
            report.generation
        ),
        changes => format!(
            "generation {} is in force: {changes} changes in the kernel\n",
            report.generation
        ),
    })?;
    rollout::wait(client, &report, args.waiting, format).await
}

/// What is known of the policies, and what promoting them changes.
async fn evidence(client: &Client, args: &PromoteArgs) -> Result<String, Failure> {
    let question = PlanRequest {
        promote: args.names.clone(),
        promote_all: args.all,
        ..PlanRequest::default()
    };
    let planned: PlanReport = client.post("/v1/plan", &question).await?;
    let Some(plan) = planned.plan else {
        let exit = match planned.exit {
            2 => Exit::Usage,
            3 => Exit::Invalid,
            7 => Exit::Refused,
            77 => Exit::NoPrivilege,
            _ => Exit::ApplyFailed,
        };
        let error = planned.error.unwrap_or_default();
        return Err(Failure::new(exit, format!("nothing was changed:\n{error}")));
    };
    let reports: Vec<StagedReport> = client.get("/v1/staged").await?;
    let width = fit::width();
    let is_promoted = |report: &&StagedReport| {
        let name = match &report.namespace {
            Some(namespace) => format!("{namespace}/{}", report.name),
            None => report.name.clone(),
        };
        plan.promoted.contains(&name)
    };
    let mut text: String = reports
        .iter()
        .filter(is_promoted)
        .map(|report| staged::summary(report, width) + "\n")
        .collect();
    text += &changes(&plan);
    Ok(text)
}

fn changes(plan: &Plan) -> String {
    let mut text = String::new();
    if let Some(difference) = &plan.connectivity {
        text += &diff::text(difference, ["in force", "promoted"]);
        text += "\n";
    }
    if let Some(difference) = plan.pending.as_ref().filter(|difference| !difference.is_empty()) {
        text += "other staged policies stay staged, so that this is not what the preview counts:\n";
        text += &diff::text(difference, ["everything promoted", "these promoted"]);
        text += "\n";
    }
    if let Some(report) = &plan.connections {
        text += &connections::text(report, "this is in force");
        text += "\n";
    }
    text
}
