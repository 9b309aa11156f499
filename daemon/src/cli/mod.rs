//! The command line `palisade`.

mod args;
mod check;
mod compile;
mod completion;
mod connections;
mod demo;
mod diff;
mod doctor;
#[cfg(test)]
mod documented;
mod explain;
mod fit;
mod flows;
mod learn;
mod lint;
mod live;
mod matrix;
mod offline;
mod output;
mod panic;
mod plan;
mod progress;
mod promote;
mod queries;
mod records;
mod reload;
mod rollout;
mod safety_net;
mod schema;
mod selector;
mod session;
mod show;
mod since;
mod staged;
mod test;
mod top;
mod watch;

use std::future::Future;
use std::io::ErrorKind;

use clap::Parser;

use crate::api::client::{Client, ClientError};
use crate::exit::Exit;
use args::{Cli, Command};

/// Why a command failed, and how it ends.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Exit::NoPrivilege
            }
            ClientError::Forbidden(_) => Exit::NoPrivilege,
            ClientError::Unreachable { .. } | ClientError::Broken(_) | ClientError::Garbled(_) => {
                Exit::Unreachable
            }
            ClientError::Refused(_) => Exit::ApplyFailed,
        };
        Failure::new(exit, error.to_string())
    }
}

/// What every command returns.
type Outcome = Result<Exit, Failure>;

/// Runs the command line and says how it ended.
pub fn main() -> Exit {
    let cli = Cli::parse();
    match run(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            eprintln!("palisade: {}", failure.message.trim_end());
            failure.exit
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let output = cli.output;
    let client = Client::new(&cli.socket);
    match cli.command {
        Command::Check(args) => check::run(&args, output.usual()?),
        Command::Status => online(show::status(&client, output.usual()?)),
        Command::Policies(from) => online(show::policies(&client, &from, output.usual()?)),
        Command::Counters(args) => online(show::counters(&client, &args, output.usual()?)),
        Command::Endpoints(from) => online(show::endpoints(&client, &from, output.usual()?)),
        Command::Staged(args) => online(staged::run(&client, &args, output.usual()?)),
        Command::Flows(args) => online(flows::run(&client, &args, output.usual()?)),
        Command::Top(args) => output.none().and_then(|()| online(top::run(&client, &args))),
        Command::Explain(args) => online(explain::run(&client, &args, output.usual()?)),
        Command::Matrix(args) => online(matrix::run(&client, &args, output)),
        Command::Diff(args) => online(diff::run(&client, &args, output)),
        Command::Lint(args) => online(lint::run(&client, &args, output.usual()?)),
        Command::Learn(args) => online(learn::run(&client, &args, output.usual()?)),
        Command::Test(args) => online(test::run(&client, &args, output)),
        Command::Connections => online(connections::run(&client, output.usual()?)),
        Command::Plan(args) => online(plan::run(&client, &args, output.usual()?)),
        Command::Reload(args) => online(reload::run(&client, &args, output.usual()?)),
        Command::Promote(args) => online(promote::run(&client, &args, output.usual()?)),
        Command::Confirm => online(rollout::confirm(&client, output.usual()?)),
        Command::Rollback(args) => online(rollout::rollback(&client, &args, output.usual()?)),
        Command::SafetyNet { command } => online(safety_net::run(&client, &command, output.usual()?)),
        Command::History => online(rollout::history(&client, output.usual()?)),
        Command::Panic(args) => output.none().and_then(|()| panic::run(&args)),
        Command::Resume(args) => output.none().and_then(|()| online(panic::resume(&client, &args))),
        Command::Doctor(args) => online(doctor::run(&client, &args, output.usual()?)),
        Command::Compile(args) => output.none().and_then(|()| online(compile::run(&client, &args))),
        Command::Selector(args) => selector::run(&args, output.usual()?),
        Command::Schema(args) => schema::run(&args, output.usual()?),
        Command::Completion { shell } => completion::completion(shell),
        Command::Man { directory } => completion::manual(&directory),
        Command::Demo(args) => demo::run(&args),
    }
}

/// Runs a command that may talk to the daemon.
fn online(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::ApplyFailed, format!("cannot start the event loop: {error}")))?
        .block_on(command)
}
