//! `palisade matrix`.

use std::io::{BufWriter, Write};

use super::args::{Format, MatrixArgs, Output};
use super::progress::Progress;
use super::{Failure, Outcome, offline, output};
use crate::api::client::{Client, ClientError};
use crate::exit::Exit;
use crate::matrix::{self, Form, MatrixError, Question};

pub(super) async fn run(client: &Client, args: &MatrixArgs, output: Output) -> Outcome {
    let form = match output {
        Output::Table => Form::Table,
        Output::Json | Output::Yaml => Form::Json,
        Output::Csv => Form::Csv,
        Output::Html => Form::Html,
        Output::Svg => Form::Svg,
        Output::Dot => Form::Dot,
        Output::Markdown | Output::Tap | Output::Junit => {
            return Err(output.refused("table, json, yaml, csv, html, svg or dot"));
        }
    };
    let question = Question {
        form,
        from: args.from.clone(),
        to: args.to.clone(),
        world: args.world,
    };
    if output == Output::Yaml {
        let mut json = Vec::new();
        write(client, args, &question, &mut json).await?;
        let value: serde_json::Value = serde_json::from_slice(&json)
            .map_err(|error| Failure::new(Exit::ApplyFailed, format!("cannot read the matrix: {error}")))?;
        output::whole(Format::Yaml, &value)?;
        return Ok(Exit::Fine);
    }
    let mut stdout = BufWriter::new(std::io::stdout());
    write(client, args, &question, &mut stdout).await?;
    Ok(Exit::Fine)
}

async fn write(
    client: &Client,
    args: &MatrixArgs,
    question: &Question,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut out = Progress::new("matrix", out);
    let written = if args.from_files.files.is_empty() {
        match client.copy("/v1/matrix", question, &mut out).await {
            Err(ClientError::Refused(error)) => return Err(Failure::new(Exit::Usage, error)),
            copied => copied?,
        }
    } else {
        let worlds = offline::worlds(&args.from_files)?.0;
        match matrix::write(&worlds, question, &title(args), &mut out) {
            Ok(()) => Ok(()),
            Err(MatrixError::Write(error)) => Err(error),
            Err(error) => return Err(Failure::new(Exit::Usage, error.to_string())),
        }
    };
    output::written(written.and_then(|()| out.flush()))
}

/// What a page of these files is called.
fn title(args: &MatrixArgs) -> String {
    let paths = args
        .from_files
        .files
        .iter()
        .map(|path| path.display().to_string());
    format!("Who reaches whom: {}", paths.collect::<Vec<_>>().join(", "))
}
