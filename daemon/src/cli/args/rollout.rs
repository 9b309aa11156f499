//! What can be typed of changes under a timer.

use std::time::Duration;

use clap::{Args, Subcommand};
use palisade_rules::ruleset::unconfirmed::Percent;

use super::seconds;

#[derive(Debug, Args)]
pub(in crate::cli) struct PromoteArgs {
    /// Staged policies: name, or namespace/name
    #[arg(required_unless_present = "all", value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    /// Everything that is staged
    #[arg(long, conflicts_with = "names")]
    pub(in crate::cli) all: bool,
    /// Go back unless `palisade confirm` is typed within this time; of a canary, how long it is in force [default: 60s,
    /// of a canary 10m]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) confirm_within: Option<Duration>,
    /// Only for this share of new connections, without a change of files: it ends by itself, and is no security state
    #[arg(long, value_name = "PERCENT")]
    pub(in crate::cli) canary: Option<Percent>,
    /// Once it is confirmed, also end the connections that are denied now
    #[arg(long, conflicts_with = "canary")]
    pub(in crate::cli) cut: bool,
    /// Go on though the lockout guard refuses
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) waiting: WaitArgs,
}

/// Whether a command waits until a change is confirmed or rolled back.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(in crate::cli) struct WaitArgs {
    /// Wait until it is confirmed or rolled back, though this is no terminal
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Do not wait until it is confirmed or rolled back
    #[arg(long, conflicts_with = "wait")]
    pub(in crate::cli) no_wait: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArgs {
    /// The generation to go back to, of `palisade history`; not given, the one before what is unconfirmed
    pub(in crate::cli) generation: Option<u64>,
    /// Undo that again unless `palisade confirm` is typed within this time
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "generation")]
    pub(in crate::cli) confirm_within: Option<Duration>,
    /// Go on though the lockout guard refuses
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) waiting: WaitArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SafetyNetCommand {
    /// Whether it is there, what it has caught, and what would drop before it is asked
    Status,
    /// Take it away, and bring it back unless that is confirmed
    Remove(SafetyNetRemoveArgs),
    /// Bring it back
    Restore,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SafetyNetRemoveArgs {
    /// Bring it back unless `palisade confirm` is typed within this time [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) confirm_within: Option<Duration>,
    /// Go on though the lockout guard refuses
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) waiting: WaitArgs,
}
