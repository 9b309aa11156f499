//! What else happens while a change is not confirmed.

use anyhow::ensure;
use nix::sys::signal::Signal;

use palisade_integration::{Clock, Setup};
use serde_json::Value;

use crate::stand::Stand;

/// Kilobytes of a disk that is soon full.
const DISK: usize = 8 << 10;

/// In seconds.
const TEN_YEARS: i64 = 10 * 365 * 86_400;

/// Trouble in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// None.
    Nothing,
    /// The daemon is killed, and started again.
    Killed,
    /// The daemon is killed, and nobody starts it while the window is open.
    KilledForGood,
    /// The daemon is told to stop, and started again.
    Stopped,
    /// The daemon hangs until the window is over.
    Hung,
    /// The disk is full.
    DiskFull,
    /// The clock on the wall is set ten years ahead.
    ClockAhead,
    /// The clock on the wall is set ten years back.
    ClockBack,
    /// The machine loses its power: what the kernel holds is gone, the disk is not.
    Rebooted,
}

impl Trouble {
    /// The setup of a daemon to which it can happen.
    pub(crate) fn ready(self, setup: Setup) -> anyhow::Result<(Setup, Option<Clock>)> {
        Ok(match self {
            Trouble::DiskFull => (setup.disk(DISK), None),
            Trouble::ClockAhead | Trouble::ClockBack => {
                let clock = Clock::new()?;
                (clock.for_daemon(setup), Some(clock))
            }
            _ => (setup, None),
        })
    }

    /// Lets it happen.
    pub(crate) fn happens(self, stand: &mut Stand) -> anyhow::Result<()> {
        match self {
            Trouble::Nothing => Ok(()),
            Trouble::Killed => {
                stand.daemon.kill9()?;
                stand.daemon.start_again()
            }
            Trouble::KilledForGood => {
                stand.daemon.kill9()?;
                stand.opens_within(crate::PATIENCE)?;
                stand.daemon.start_again()
            }
            Trouble::Stopped => {
                stand.daemon.terminate()?;
                stand.daemon.start_again()
            }
            Trouble::Hung => {
                stand.daemon.signal(Signal::SIGSTOP)?;
                let back = stand.opens_within(crate::PATIENCE);
                stand.daemon.signal(Signal::SIGCONT)?;
                back.map(|_| ())
            }
            Trouble::DiskFull => stand.daemon.fill_disk(),
            Trouble::ClockAhead => stand.clock()?.set_off(TEN_YEARS),
            Trouble::ClockBack => stand.clock()?.set_off(-TEN_YEARS),
            Trouble::Rebooted => {
                stand.daemon.kill9()?;
                stand.daemon.nft(&["delete", "table", "inet", "palisade"])?;
                stand.opens_within(crate::PATIENCE)?;
                stand.daemon.start_again()
            }
        }
    }

    /// Makes sure that it has happened to the daemon, whose status this is at the end.
    pub(crate) fn has_happened(self, status: &Value) -> anyhow::Result<()> {
        let year = |at: &Value| at.as_str().map(|at| at[..4].to_owned());
        match self {
            Trouble::ClockAhead | Trouble::ClockBack => ensure!(
                year(&status["rolled_back"]["at"]) != year(&status["started_at"]),
                "the daemon goes by another clock: {status:#}"
            ),
            _ => {}
        }
        Ok(())
    }

    /// As the table says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Trouble::Nothing => "",
            Trouble::Killed => "palisaded is killed and starts again",
            Trouble::KilledForGood => "palisaded is killed and stays away",
            Trouble::Stopped => "palisaded is stopped and starts again",
            Trouble::Hung => "palisaded hangs",
            Trouble::DiskFull => "the disk is full",
            Trouble::ClockAhead => "the clock jumps ten years ahead",
            Trouble::ClockBack => "the clock jumps ten years back",
            Trouble::Rebooted => "the machine loses its power and starts again",
        }
    }
}
