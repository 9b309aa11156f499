//! `palisade explain`.

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
        let text = if path.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(path)
        };
        let text = text
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display())))?;
        return many(&asked, &text).await;
    }
    let query = Query {
        from: args.from.clone().unwrap_or_default(),
        to: args.to.clone().unwrap_or_default(),
        protocol: protocol(&args.proto).map_err(|error| Failure::new(Exit::Usage, error))?,
        port: args.port,
        source_port: args.source_port,
        icmp_type: args.icmp_type,
    };
    let answer = asked
        .ask(&query)
        .await?
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    match format {
        Format::Table => output::say(&text(&answer))?,
        Format::Json | Format::Yaml | Format::Csv => output::whole(format, &answer)?,
    }
    let denied = [&answer.enforced, &answer.pending]
        .iter()
        .any(|world| world.verdict == "deny");
    Ok(if denied { Exit::Findings } else { Exit::Fine })
}

/// One answer a line, in order; a query without a single answer gets its line all the same.
async fn many(asked: &Asked<'_>, text: &str) -> Outcome {
    let mut exit = Exit::Fine;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let answer = match serde_json::from_str::<Value>(line) {
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
        output::say(&format!("{answer}\n"))?;
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
}

impl QueryLine {
    fn read(value: &Value) -> Result<Query, String> {
        let line = QueryLine::deserialize(value).map_err(|error| error.to_string())?;
        let name = match &line.protocol {
            None => "tcp".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(other) => other.to_string(),
        };
        Ok(Query {
            protocol: protocol(&name)?,
            from: line.from,
            to: line.to,
            port: line.port,
            source_port: line.source_port,
            icmp_type: line.icmp_type,
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
        text += &format!(
            "    {:<7} at {}: {} {}{source}\n",
            step.direction,
            step.endpoint,
            step.phrase(),
            step.action.to_lowercase()
        );
    }
    text
}
