//! JSON lines on standard output, for whoever started the daemon: a container's log, a pipe.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::part::{Line, Part, push_line};
use super::stream::Stream;
use super::{Outcome, Sink};

/// Standard output.
pub(super) struct StdoutSink {
    stream: Stream,
    open: fn() -> io::Result<File>,
}

impl StdoutSink {
    /// The process's own.
    pub(super) fn new() -> Self {
        StdoutSink {
            stream: Stream::default(),
            // A descriptor of its own, past the lock and the buffer of what others print.
            open: || Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        }
    }
}

impl Sink for StdoutSink {
    fn write(&mut self, part: &Part<'_>) -> Outcome {
        let result = lines(part).and_then(|lines| Ok((lines, (self.open)()?)));
        match result {
            Ok((lines, file)) => write_stream(&mut self.stream, &file, &lines, part.records()),
            Err(error) => Outcome {
                missed: part.records(),
                error: Some(error.to_string()),
            },
        }
    }
}

/// Writes lines to a stream, and counts those that are not written whole.
pub(super) fn write_stream(stream: &mut Stream, to: &File, lines: &[u8], records: u64) -> Outcome {
    let (written, result) = stream.write(to, lines);
    let whole = lines[..written].split(|&byte| byte == b'\n').skip(1).count() as u64;
    Outcome {
        missed: records - whole,
        error: result.err().map(|error| error.to_string()),
    }
}

fn lines(part: &Part<'_>) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for rule in part.rules {
        push_line(&mut lines, &Line::Rule(rule))?;
    }
    for flow in &part.flows {
        push_line(&mut lines, &Line::Flow(flow))?;
    }
    if let Some(interval) = part.interval(0) {
        push_line(&mut lines, &Line::Interval(&interval))?;
    }
    Ok(lines)
}
