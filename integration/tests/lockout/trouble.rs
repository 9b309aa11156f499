//! What else happens while a change is not confirmed.

use anyhow::ensure;

use crate::stand::Stand;

/// Trouble in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// None.
    Nothing,
    /// The daemon is killed, and started again.
    Killed,
    /// The daemon is killed, and nobody starts it while the window is open.
    KilledForGood,
    /// The daemon is told to stop, and started again.
    Stopped,
    /// The machine loses its power: what the kernel holds is gone, the disk is not.
    Rebooted,
}

impl Trouble {
    /// Lets it happen.
    pub fn happens(self, stand: &mut Stand) -> anyhow::Result<()> {
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
            Trouble::Rebooted => {
                stand.daemon.kill9()?;
                stand.daemon.nft(&["delete", "table", "inet", "palisade"])?;
                ensure!(stand.lets_in(), "without a table nobody is let in");
                stand.daemon.start_again()
            }
        }
    }

    /// As the table says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::Nothing => "",
            Trouble::Killed => "palisaded is killed and starts again",
            Trouble::KilledForGood => "palisaded is killed and stays away",
            Trouble::Stopped => "palisaded is stopped and starts again",
            Trouble::Rebooted => "the machine loses its power and starts again",
        }
    }
}
