//! `palisade demo`.

use super::Outcome;
use super::args::DemoArgs;
use crate::exit::Exit;

pub(super) fn run(args: &DemoArgs) -> Outcome {
    let _ = args;
    Ok(Exit::Fine)
}
