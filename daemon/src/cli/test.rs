//! `palisade test`.

use palisade_rules::analysis::expectations;

use super::args::{Format, Output, TestArgs};
use super::{Failure, Outcome, offline, output};
use crate::api::client::Client;
use crate::api::types::{TestAnswer, TestFile, TestQuestion};
use crate::exit::Exit;
use crate::source;

pub(super) async fn run(client: &Client, args: &TestArgs, output: Output) -> Outcome {
    let printed: fn(&TestAnswer) -> Result<(), Failure> = match output {
        Output::Table => |answer| output::say(&answer.text),
        Output::Tap => |answer| output::say(&answer.tap),
        Output::Junit => |answer| output::say(&answer.junit),
        Output::Json => |answer| output::whole(Format::Json, &answer.report),
        Output::Yaml => |answer| output::whole(Format::Yaml, &answer.report),
        Output::Csv | Output::Html | Output::Svg | Output::Dot | Output::Markdown => {
            return Err(output.refused("table, json, yaml, tap or junit"));
        }
    };
    let read = source::texts(&args.paths).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
    let (expected, found) = expectations::decode(&read.files, &read.ids);
    let mut diagnostics = read.diagnostics;
    diagnostics.append(found);
    if diagnostics.has_errors() {
        let diagnostics = diagnostics.sorted();
        return Err(Failure::new(
            Exit::Invalid,
            diagnostics.render(&read.files, output::is_coloured(&std::io::stderr())),
        ));
    }
    let answer = if args.from_files.files.is_empty() {
        let files = read.ids.iter().map(|&id| TestFile {
            name: read.files.name(id).to_string(),
            text: read.files.text(id).to_string(),
        });
        let question = TestQuestion {
            files: files.collect(),
        };
        client.post("/v1/test", &question).await?
    } else {
        let (worlds, _) = offline::worlds(&args.from_files)?;
        TestAnswer::of(&expectations::check(&worlds, &expected))
            .map_err(|error| Failure::new(Exit::ApplyFailed, error.to_string()))?
    };
    printed(&answer)?;
    Ok(if answer.ok { Exit::Fine } else { Exit::Findings })
}
