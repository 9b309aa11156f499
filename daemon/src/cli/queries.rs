//! `palisade explain --queries`: one query a line, one answer a line, in order and at once.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use hyper::body::Bytes;
use palisade_rules::analysis::QueryLines;

use super::args::FromFiles;
use super::{Failure, Outcome, offline, output};
use crate::api::client::Client;
use crate::exit::Exit;

/// Bytes that are read at once, if there are so many.
const PIECE: usize = 64 * 1024;

/// What every answer has, and no line that says why there is none; a text in a line has its quotes escaped.
const ANSWERED: &[u8] = b",\"enforced\":";

/// Pieces of the queries that wait for the daemon.
const WAITING: usize = 4;

pub(super) async fn run(client: &Client, path: &Path, from: &FromFiles) -> Outcome {
    let unreadable = |error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display()));
    let input: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let all_answered = if from.files.is_empty() {
        by_daemon(client, input).await?.map_err(unreadable)?
    } else {
        from_files(from, input)?.map_err(unreadable)?
    };
    Ok(if all_answered { Exit::Fine } else { Exit::Findings })
}

/// Whether every query has an answer; the inner error is of the input.
fn from_files(from: &FromFiles, mut input: impl Read) -> Result<std::io::Result<bool>, Failure> {
    let (worlds, _) = offline::worlds(from)?;
    let mut queries = QueryLines::new(&worlds);
    let (mut piece, mut out) = (vec![0; PIECE], Vec::new());
    let mut all_answered = true;
    loop {
        let length = match input.read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error)),
        };
        out.clear();
        all_answered &= match length {
            0 => queries.end(&mut out),
            length => queries.piece(&piece[..length], &mut out),
        };
        if output::bytes_on(&out)?.is_break() || length == 0 {
            return Ok(Ok(all_answered));
        }
    }
}

/// The same, asked of the daemon in one request.
async fn by_daemon(
    client: &Client,
    mut input: Box<dyn Read + Send>,
) -> Result<std::io::Result<bool>, Failure> {
    let (pieces, body) = tokio::sync::mpsc::channel::<Bytes>(WAITING);
    // Reading blocks, and what is typed must be answered before the next line comes.
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        loop {
            match input.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    // Nobody takes it once the answers are not wanted any more.
                    if pieces
                        .blocking_send(Bytes::copy_from_slice(&piece[..length]))
                        .is_err()
                    {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    let mut all_answered = true;
    let mut said = Ok(());
    let mut begun: Vec<u8> = Vec::new();
    let stream = |answers: &[u8]| {
        begun.extend_from_slice(answers);
        let Some(last) = begun.iter().rposition(|&byte| byte == b'\n') else {
            return ControlFlow::Continue(());
        };
        let lines = &begun[..=last];
        all_answered &= lines.split(|&byte| byte == b'\n').all(is_answered);
        let flow = match output::bytes_on(lines) {
            Ok(flow) => flow,
            Err(failure) => {
                said = Err(failure);
                ControlFlow::Break(())
            }
        };
        begun.drain(..=last);
        flow
    };
    let stopped = client.stream("/v1/explain/queries", body, stream).await?;
    said?;
    if stopped.is_break() {
        // The reader may wait for a line that nobody needs.
        return Ok(Ok(all_answered));
    }
    let read = reader.join().unwrap_or(Ok(()));
    Ok(read.map(|()| all_answered))
}

fn is_answered(line: &[u8]) -> bool {
    line.is_empty() || line.windows(ANSWERED.len()).any(|window| window == ANSWERED)
}
