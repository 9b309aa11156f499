//! The command line `palisade`.

mod args;
mod check;
mod compile;
mod completion;
mod demo;
mod explain;
mod flows;
mod offline;
mod output;
mod panic;
mod reload;
mod schema;
mod selector;
mod show;
mod staged;

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
    let output = cli.output;
    let client = Client::new(&cli.socket);
    let outcome = match cli.command {
        Command::Check(args) => check::run(&args, output),
        Command::Status => online(show::status(&client, output)),
        Command::Policies(from) => online(show::policies(&client, &from, output)),
        Command::Counters(args) => online(show::counters(&client, &args, output)),
        Command::Endpoints(from) => online(show::endpoints(&client, &from, output)),
        Command::Staged(args) => online(staged::run(&client, &args, output)),
        Command::Flows(args) => online(flows::run(&client, &args, output)),
        Command::Explain(args) => online(explain::run(&client, &args, output)),
        Command::Reload => online(reload::run(&client, output)),
        Command::Panic(args) => panic::run(&args),
        Command::Resume(args) => online(panic::resume(&client, &args)),
        Command::Compile(args) => online(compile::run(&client, &args)),
        Command::Selector(args) => selector::run(&args, output),
        Command::Schema(args) => schema::run(&args, output),
        Command::Completion { shell } => completion::completion(shell),
        Command::Man { directory } => completion::manual(&directory),
        Command::Demo(args) => demo::run(&args),
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            eprintln!("palisade: {}", failure.message.trim_end());
            failure.exit
        }
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
