//! `palisade plan`: what a reload would do, without doing it.

use palisade_rules::ruleset::changes::{Change, Changes};

use super::args::{Format, PlanArgs};
use super::{Failure, Outcome, connections, diff, output, session};
use crate::api::client::Client;
use crate::api::types::{Plan, PlanReport, PlanRequest};
use crate::exit::Exit;
use crate::source::{self, SourceFile};

pub(super) async fn run(client: &Client, args: &PlanArgs, format: Format) -> Outcome {
    let request = PlanRequest {
        files: files(args)?,
        promote: args.promote.clone(),
        promote_all: args.promote_all,
        without_connectivity: args.without_connectivity,
        sessions: session::own(),
    };
    let report: PlanReport = client.post("/v1/plan", &request).await?;
    let exit = exit(&report);
    let Some(plan) = report.plan else {
        let error = report.error.unwrap_or_default();
        return Err(Failure::new(exit, format!("a reload would be refused:\n{error}")));
    };
    if format == Format::Table {
        eprint!("{}", plan.warnings);
        output::say(&text(&plan))?;
    } else {
        output::whole(format, &plan)?;
    }
    Ok(exit)
}

/// The resources on the command line, which are told to be wrong here: the daemon may not be able to read them.
fn files(args: &PlanArgs) -> Result<Option<Vec<(String, String)>>, Failure> {
    if args.paths.is_empty() {
        return Ok(None);
    }
    let files =
        source::read_files(&args.paths).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
    let reading = source::decode_files(&files);
    if reading.snapshot.is_none() {
        let diagnostics = reading
            .diagnostics
            .render(&reading.files, output::is_coloured(&std::io::stderr()));
        return Err(Failure::new(Exit::Invalid, diagnostics));
    }
    // What can be decoded is UTF-8.
    let text = |file: SourceFile| (file.name().to_owned(), file.file().text().to_string());
    Ok(Some(files.into_iter().map(text).collect()))
}

fn exit(report: &PlanReport) -> Exit {
    match report.exit {
        0 => Exit::Fine,
        1 => Exit::Findings,
        2 => Exit::Usage,
        3 => Exit::Invalid,
        77 => Exit::NoPrivilege,
        _ => Exit::ApplyFailed,
    }
}

/// A plan for reading.
fn text(plan: &Plan) -> String {
    let mut text = if plan.generation == plan.next_generation {
        format!("generation {} would stay in force\n", plan.generation)
    } else {
        format!(
            "generation {} would follow generation {}; nothing is applied\n",
            plan.next_generation, plan.generation
        )
    };
    if !plan.promoted.is_empty() {
        text += &format!("promoted: {}\n", plan.promoted.join(", "));
    }
    text += &kernel(plan);
    if let Some(difference) = &plan.connectivity {
        text += "\n";
        text += &diff::text(difference, ["in force", "after the reload"]);
    }
    if let Some(report) = &plan.connections {
        text += "\n";
        text += &connections::text(report, "this is in force");
    }
    let guard = match &plan.guard.refusal {
        Some(refusal) => format!(
            "the lockout guard would refuse it: {}\n{}",
            refusal.message,
            plan.guard.text()
        ),
        None => plan.guard.text(),
    };
    if !guard.is_empty() {
        text += "\n";
        text += &guard;
    }
    text
}

fn kernel(plan: &Plan) -> String {
    let changes = &plan.kernel.changes;
    let mut text = match (plan.kernel.operations, changes.is_empty()) {
        (0, _) => return "\nkernel: no change\n".to_owned(),
        (operations, true) => format!(
            "\nkernel: {operations} operations, to put right what somebody else has changed in the table\n"
        ),
        (operations, false) => format!("\nkernel: {operations} operations\n"),
    };
    for chain in &changes.chains {
        text += &format!("  {} chain {}\n", sign(chain.change), chain.name);
        let removed = chain.rules_removed.iter().map(|rule| ('-', rule));
        let added = chain.rules_added.iter().map(|rule| ('+', rule));
        if chain.change == Change::Changed {
            for (sign, rule) in removed.chain(added) {
                text += &format!("      {sign} {rule}\n");
            }
        }
    }
    for set in &changes.sets {
        text += &format!(
            "  {} set {} ({} elements more, {} fewer)\n",
            sign(set.change),
            set.name,
            set.elements_added,
            set.elements_removed
        );
    }
    for counter in &changes.counters {
        text += &format!("  {} counter {}\n", sign(counter.change), counter.name);
    }
    text + &totals(changes)
}

/// `3 chains added, 1 changed; 12 rules added, 2 removed; ...`.
fn totals(changes: &Changes) -> String {
    let count = |all: &[Change]| {
        [
            (Change::Added, "added"),
            (Change::Changed, "changed"),
            (Change::Removed, "removed"),
        ]
        .iter()
        .filter_map(|(change, word)| {
            let count = all.iter().filter(|one| *one == change).count();
            (count > 0).then(|| format!("{count} {word}"))
        })
        .collect::<Vec<_>>()
        .join(", ")
    };
    let chains: Vec<Change> = changes.chains.iter().map(|chain| chain.change).collect();
    let rules = changes.chains.iter().flat_map(|chain| {
        let added = chain.rules_added.iter().map(|_| Change::Added);
        added.chain(chain.rules_removed.iter().map(|_| Change::Removed))
    });
    let rules: Vec<Change> = rules.collect();
    let sets: Vec<Change> = changes.sets.iter().map(|set| set.change).collect();
    let counters: Vec<Change> = changes.counters.iter().map(|counter| counter.change).collect();
    let mut text = String::new();
    for (what, all) in [
        ("chains", chains),
        ("rules", rules),
        ("sets", sets),
        ("counters", counters),
    ] {
        if !all.is_empty() {
            text += &format!("  {what}: {}\n", count(&all));
        }
    }
    text
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Changed => '~',
        Change::Removed => '-',
    }
}
