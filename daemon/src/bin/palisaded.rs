//! The daemon of palisade.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Parser;
use palisade::exit::Exit;
use palisade::{config, service, telemetry};

/// Puts Calico policies into force on this host with nftables; runs in the foreground.
#[derive(Debug, Parser)]
#[command(name = "palisaded", version)]
struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    telemetry::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(service::run(args.config)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => Exit::Fine.into(),
        Err(error) => {
            let text = error.to_string();
            tracing::error!("{}", text.trim_end());
            error.exit().into()
        }
    }
}
