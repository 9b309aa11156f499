//! The daemon of palisade.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use clap::Parser;
use palisade::exit::Exit;
use palisade::{apply, config, service, telemetry};

/// Puts Calico policies into force on this host with nftables; runs in the foreground.
#[derive(Debug, Parser)]
#[command(name = "palisaded", version)]
struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Put the last good generation into force and end: for palisade-boot.service, before the network is up
    #[arg(long)]
    boot: bool,
}

fn main() -> std::process::ExitCode {
    palisade_nft::memory::share_heaps();
    let args = Args::parse();
    telemetry::start();
    if args.boot {
        return boot(&args.config).into();
    }
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

fn boot(config: &Path) -> Exit {
    match apply::boot(config) {
        Ok(booted) => {
            booted.tell();
            Exit::Fine
        }
        Err(error) => {
            tracing::error!("nothing is in force before palisaded is: {error}");
            if error.is_privilege() {
                Exit::NoPrivilege
            } else {
                Exit::ApplyFailed
            }
        }
    }
}
