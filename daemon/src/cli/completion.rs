//! `palisade completion` and the manual pages, both made from the command line itself.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::{Failure, Outcome, output};
use crate::exit::Exit;

pub(super) fn completion(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "palisade", &mut script);
    output::say(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}

/// A page for `palisade` and one for each command.
pub(super) fn manual(directory: &Path) -> Outcome {
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("cannot write manual pages to {}: {error}", directory.display()),
        )
    })?;
    Ok(Exit::Fine)
}
