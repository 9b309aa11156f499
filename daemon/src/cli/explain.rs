//! `palisade explain`.

use palisade_rules::analysis::{self, Answer, BareAnswer, Query, StepReport, WorldAnswer, parse_protocol};

use super::args::{ExplainArgs, Format};
use super::{Failure, Outcome, live, offline, output, queries};
use crate::api::client::{Client, ClientError};
use crate::exit::Exit;

pub(super) async fn run(client: &Client, args: &ExplainArgs, format: Format) -> Outcome {
    if let Some(path) = &args.queries {
        return queries::run(client, path, &args.from_files).await;
    }
    if args.live {
        return live::run(client, args, format).await;
    }
    let query = Query {
        from: args.from.clone().unwrap_or_default(),
        to: args.to.clone().unwrap_or_default(),
        protocol: parse_protocol(args.proto.as_deref().unwrap_or("tcp"))
            .map_err(|error| Failure::new(Exit::Usage, error))?,
        port: args.port,
        source_port: args.source_port,
        icmp_type: args.icmp_type,
        icmp_code: args.icmp_code,
    };
    let answer = if args.from_files.files.is_empty() {
        match client.post("/v1/explain", &query).await {
            Ok(answer) => answer,
            Err(ClientError::Refused(error)) => return Err(Failure::new(Exit::Usage, error)),
            Err(error) => return Err(error.into()),
        }
    } else {
        let (worlds, _) = offline::worlds(&args.from_files)?;
        analysis::explain(&worlds, &query).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?
    };
    match format {
        Format::Table => output::say(&text(&answer))?,
        Format::Csv => output::say(&output::csv(&csv_rows(&answer), &CSV_COLUMNS, true)?)?,
        Format::Json | Format::Yaml => output::whole(format, &answer)?,
    }
    let denied = [&answer.enforced, &answer.pending]
        .iter()
        .any(|world| world.verdict == "deny");
    Ok(if denied { Exit::Findings } else { Exit::Fine })
}

/// A step of an answer, or a verdict without steps.
struct CsvRow {
    world: &'static str,
    without_safety_net: bool,
    verdict: String,
    step: Option<StepReport>,
}

const CSV_COLUMNS: [output::Column<CsvRow>; 15] = [
    ("WORLD", |row| row.world.to_owned()),
    ("WITHOUT_SAFETY_NET", |row| row.without_safety_net.to_string()),
    ("VERDICT", |row| row.verdict.clone()),
    ("ENDPOINT", |row| row.cell(|step| step.endpoint.clone())),
    ("DIRECTION", |row| row.cell(|step| step.direction.to_string())),
    ("TIER", |row| row.cell(|step| step.tier.clone())),
    ("KIND", |row| row.cell(|step| step.kind.to_string())),
    ("NAMESPACE", |row| {
        row.cell(|step| step.namespace.clone().unwrap_or_default())
    }),
    ("NAME", |row| row.cell(|step| step.name.clone())),
    ("RULE_INDEX", |row| row.cell(|step| step.rule_index.to_string())),
    ("RULE_NAME", |row| {
        row.cell(|step| step.rule_name.clone().unwrap_or_default())
    }),
    ("ACTION", |row| row.cell(|step| step.action.to_string())),
    ("TRIGGER", |row| {
        row.cell(|step| {
            step.trigger
                .as_ref()
                .map(|trigger| trigger.name.clone())
                .unwrap_or_default()
        })
    }),
    ("SOURCE", |row| {
        row.cell(|step| step.source.clone().unwrap_or_default())
    }),
    ("STAGE", |row| {
        row.cell(|step| step.stage.as_deref().unwrap_or_default().to_owned())
    }),
];

impl CsvRow {
    fn cell(&self, cell: impl FnOnce(&StepReport) -> String) -> String {
        self.step.as_ref().map(cell).unwrap_or_default()
    }
}

/// An answer for spreadsheets: a row for each step.
fn csv_rows(answer: &Answer) -> Vec<CsvRow> {
    let mut rows = Vec::new();
    for (world, said) in [("enforced", &answer.enforced), ("pending", &answer.pending)] {
        let bare = said.without_safety_net.as_deref();
        let bare = bare.map(|bare| (true, bare.verdict.as_ref(), &bare.steps));
        for (without_safety_net, verdict, steps) in [Some((false, said.verdict.as_ref(), &said.steps)), bare]
            .into_iter()
            .flatten()
        {
            let verdict = verdict.to_owned();
            let row = |step| CsvRow {
                world,
                without_safety_net,
                verdict: verdict.clone(),
                step,
            };
            if steps.is_empty() {
                rows.push(row(None));
            }
            rows.extend(steps.iter().map(|step| row(Some(step.clone()))));
        }
    }
    rows
}

/// An answer for reading.
fn text(answer: &Answer) -> String {
    let port = answer.port.map(|port| format!("/{port}")).unwrap_or_default();
    let mut text = format!("{} -> {} {}{port}\n", answer.from, answer.to, answer.protocol);
    let worlds: &[(&str, &WorldAnswer)] = if answer.enforced == answer.pending {
        &[("enforced and pending", &answer.enforced)]
    } else {
        &[("enforced", &answer.enforced), ("pending", &answer.pending)]
    };
    for (world, said) in worlds {
        text += &world_text(world, &said.verdict, &said.steps);
        if let Some(BareAnswer { verdict, steps }) = said.without_safety_net.as_deref() {
            text += &world_text("  without the safety net", verdict, steps);
        }
    }
    if let Some(note) = &answer.note {
        text += &format!("note: {note}\n");
    }
    text
}

fn world_text(world: &str, verdict: &str, steps: &[StepReport]) -> String {
    let mut text = format!("{world}: {}\n", verdict.to_uppercase());
    for step in steps {
        let source = step
            .source
            .as_ref()
            .map(|source| format!("  {source}"))
            .unwrap_or_default();
        let stage = step.stage.as_ref().map(|stage| format!(", {stage}"));
        text += &format!(
            "    {:<7} at {}{}: {} {}{source}\n",
            step.direction,
            step.endpoint,
            stage.unwrap_or_default(),
            step.phrase(),
            step.action.to_lowercase()
        );
    }
    text
}
