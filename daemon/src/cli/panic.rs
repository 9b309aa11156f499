//! `palisade panic` and `palisade resume`: the way out, and the way back.

use std::io::ErrorKind;
use std::path::Path;

use palisade_nft::{ApplyError, Nft};

use super::args::{Format, PanicArgs, ReloadArgs};
use super::{Failure, Outcome, output, reload};
use crate::api::client::Client;
use crate::apply::{LastWords, Panic};
use crate::config::{Config, ConfigError, DEFAULT_STATE_DIR};
use crate::exit::Exit;
use crate::kernel::{KernelError, table_owner};

pub(super) fn run(args: &PanicArgs) -> Outcome {
    // The note comes first, so that no daemon puts the table back in between; where it cannot be left, the rules go all the
    // same. In the kernel it needs no disk, and a daemon with another state directory sees it too.
    let mut nft = Nft::open().map_err(|error| failure(&error.into()))?;
    let (note, unread) = note(args);
    let noted = note.set_on_disk();
    let held = match (&noted, &unread) {
        (Ok(()), None) => Ok(()),
        _ => note.set_in_kernel(&mut nft),
    };
    let mut last_words = LastWords::new(note.directory());
    let ended = delete_table(&mut nft, &mut last_words)?;
    output::say("the table inet palisade is gone: nothing is filtered by palisade now\n")?;
    if let Some(pid) = ended {
        output::say(&format!(
            "palisaded (pid {pid}) was killed for that, because the table was its own (protectTable)\n"
        ))?;
    }
    match &held {
        Ok(()) => output::say("palisaded will not put it back until you type: palisade resume\n")?,
        Err(error) => eprintln!(
            "palisade: this could not be noted in the kernel ({error}): a running palisaded may put the rules back, so stop \
             it too: systemctl stop palisade"
        ),
    }
    if let Err(error) = &noted {
        eprintln!(
            "palisade: this could not be written down ({error}): the rules come back with the next reboot, unless \
             palisaded is disabled: systemctl disable palisade"
        );
    } else if let Some(error) = unread {
        eprintln!(
            "palisade: this was written down in {DEFAULT_STATE_DIR}, for the configuration cannot be used; if its stateDir \
             is another, the rules come back with the next reboot\n{error}"
        );
    }
    if let Err(error) = last_words.kept {
        eprintln!(
            "palisade: what the counters had counted last could not be kept ({error}): they will go on from what palisaded \
             has kept before"
        );
    }
    Ok(Exit::Fine)
}

/// Deletes the table, and the daemon first if the table is the daemon's own. Gives the number that it had.
fn delete_table(nft: &mut Nft, last_words: &mut LastWords<'_>) -> Result<Option<i32>, Failure> {
    match nft.delete_table(last_words) {
        Ok(()) => Ok(None),
        Err(ApplyError::Owned { port }) => {
            let ended = table_owner::end(port);
            let pid = ended.map_err(|error| Failure::new(Exit::ApplyFailed, error.to_string()))?;
            let deleted = nft.delete_table(last_words);
            deleted.map_err(|error| failure(&error.into()))?;
            Ok(Some(pid))
        }
        Err(error) => Err(failure(&error.into())),
    }
}

pub(super) async fn resume(client: &Client, args: &PanicArgs) -> Outcome {
    let (note, unread) = note(args);
    if let Some(error) = unread {
        eprintln!(
            "palisade: the panic ends in {DEFAULT_STATE_DIR}, for the configuration cannot be used\n{error}"
        );
    }
    note.clear().map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            Exit::NoPrivilege,
            format!("cannot end the panic: {error}; be root"),
        ),
        _ => Failure::new(Exit::ApplyFailed, format!("cannot end the panic: {error}")),
    })?;
    output::say("the panic is over\n")?;
    reload::run(client, &ReloadArgs::default(), Format::Table)
        .await
        .map_err(|failure| match failure.exit {
            Exit::Unreachable => Failure::new(
                Exit::Unreachable,
                format!(
                    "{}\nthe rules come back when palisaded starts: systemctl start palisade",
                    failure.message
                ),
            ),
            _ => failure,
        })
}

/// The note, and why it is perhaps not where the daemon looks.
fn note(args: &PanicArgs) -> (Panic, Option<ConfigError>) {
    match Config::load(&args.config) {
        Ok(config) => (Panic::new(&config.state_dir), None),
        Err(error) => (Panic::new(Path::new(DEFAULT_STATE_DIR)), Some(error)),
    }
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
