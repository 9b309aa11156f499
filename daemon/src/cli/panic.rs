//! `palisade panic` and `palisade resume`: the way out, and the way back.

use palisade_nft::Nft;

use super::args::{Format, PanicArgs};
use super::{Failure, Outcome, output, reload};
use crate::api::client::Client;
use crate::apply::Panic;
use crate::config::Config;
use crate::exit::Exit;
use crate::kernel::KernelError;

/// Where the state is if the configuration cannot be read: panic must work without one.
const DEFAULT_STATE_DIR: &str = "/var/lib/palisade";

pub(super) fn run(args: &PanicArgs) -> Outcome {
    // The note comes first, so that no daemon puts the table back in between; where it cannot be written, the rules go
    // all the same.
    let mut nft = Nft::open().map_err(|error| failure(&error.into()))?;
    let noted = note(args).set();
    nft.delete_table().map_err(|error| failure(&error.into()))?;
    output::say("the table inet palisade is gone: nothing is filtered by palisade now\n")?;
    match noted {
        Ok(()) => output::say("palisaded will not put it back until you type: palisade resume\n")?,
        Err(error) => eprintln!(
            "palisade: this could not be written down ({error}): a running palisaded puts the rules back at its next \
             reload, so stop it too: systemctl stop palisade"
        ),
    }
    Ok(Exit::Fine)
}

pub(super) async fn resume(client: &Client, args: &PanicArgs) -> Outcome {
    note(args)
        .clear()
        .map_err(|error| Failure::new(Exit::ApplyFailed, format!("cannot end the panic: {error}")))?;
    reload::run(client, Format::Table).await
}

fn note(args: &PanicArgs) -> Panic {
    let state_dir =
        Config::load(&args.config).map_or_else(|_| DEFAULT_STATE_DIR.into(), |config| config.state_dir);
    Panic::new(&state_dir)
}

fn failure(error: &KernelError) -> Failure {
    Failure::new(
        if error.is_privilege() {
            Exit::NoPrivilege
        } else {
            Exit::ApplyFailed
        },
        error.to_string(),
    )
}
