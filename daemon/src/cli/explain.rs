//! `palisade explain`.

use std::fs::File;
use std::io::{BufRead, BufReader};

use palisade_rules::analysis::{self, Answer, BareAnswer, Query, StepReport, WorldAnswer};
use palisade_rules::net::Protocol;
use palisade_rules::world::Worlds;
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::{ExplainArgs, Format};
use super::{Failure, Outcome, offline, output};
use crate::api::client::{Client, ClientError};
use crate::exit::Exit;

pub(super) async fn run(client: &Client, args: &ExplainArgs, format: Format) -> Outcome {
    let asked = if args.from_files.files.is_empty() {
        Asked::Daemon(client)
    } else {
        Asked::Files(Box::new(offline::worlds(&args.from_files)?.0))
    };
    if let Some(path) = &args.queries {
        let unreadable =
            |error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display()));
        let lines: Box<dyn BufRead> = if path.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
        };
        return many(&asked, lines.split(b'\n').map(|line| line.map_err(unreadable))).await;
    }
    let query = Query {
        from: args.from.clone().unwrap_or_default(),
        to: args.to.clone().unwrap_or_default(),
        protocol: protocol(&args.proto).map_err(|error| Failure::new(Exit::Usage, error))?,
        port: args.port,
        source_port: args.source_port,
        icmp_type: args.icmp_type,
        icmp_code: args.icmp_code,
    };
    let answer = asked
        .ask(&query)
        .await?
        .map_err(|error| Failure::new(Exit::Usage, error))?;
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

/// One answer a line, in order and at once; a query without a single answer gets its line all the same.
async fn many(asked: &Asked<'_>, lines: impl Iterator<Item = Result<Vec<u8>, Failure>>) -> Outcome {
    let mut exit = Exit::Fine;
    for line in lines {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = match serde_json::from_slice::<Value>(&line) {
            Err(error) => json!({"from": null, "to": null, "error": format!("not a JSON object: {error}")}),
            Ok(value) => {
                let result = match QueryLine::read(&value) {
                    Ok(query) => asked.ask(&query).await?,
                    Err(error) => Err(error),
                };
                match result {
                    Ok(answer) => serde_json::to_value(&answer).map_err(|error| {
                        Failure::new(Exit::ApplyFailed, format!("cannot write the answer: {error}"))
                    })?,
                    Err(error) => json!({"from": value.get("from"), "to": value.get("to"), "error": error}),
                }
            }
        };
        if answer.get("error").is_some() {
            exit = Exit::Findings;
        }
        if output::say_on(&format!("{answer}\n"))?.is_break() {
            break;
        }
    }
    Ok(exit)
}

/// Who answers.
enum Asked<'a> {
    Daemon(&'a Client),
    Files(Box<Worlds>),
}

impl Asked<'_> {
    /// The answer, or why there is none; the outer error is of the way there.
    async fn ask(&self, query: &Query) -> Result<Result<Answer, String>, Failure> {
        match self {
            Asked::Files(worlds) => Ok(analysis::explain(worlds, query).map_err(|error| error.to_string())),
            Asked::Daemon(client) => match client.post("/v1/explain", query).await {
                Ok(answer) => Ok(Ok(answer)),
                Err(ClientError::Refused(error)) => Ok(Err(error)),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// A line of `--queries`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryLine {
    from: String,
    to: String,
    protocol: Option<Value>,
    port: Option<u16>,
    source_port: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

impl QueryLine {
    fn read(value: &Value) -> Result<Query, String> {
        let line = QueryLine::deserialize(value).map_err(|error| error.to_string())?;
        let name = match &line.protocol {
            None => "tcp".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(other) => other.to_string(),
        };
        let protocol = protocol(&name)?;
        Ok(Query {
            protocol,
            from: line.from,
            to: line.to,
            // Flow records say 0 for protocols without ports.
            port: line.port.filter(|port| protocol.has_ports() || *port != 0),
            source_port: line.source_port,
            icmp_type: line.icmp_type,
            icmp_code: line.icmp_code,
        })
    }
}

fn protocol(name: &str) -> Result<Protocol, String> {
    Protocol::parse(name).ok_or_else(|| {
        format!(
            "{name:?} is no protocol: use tcp, udp, icmp, icmpv6, sctp, udplite, or a number from 1 to 255"
        )
    })
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
