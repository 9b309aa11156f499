//! The notes that keep everything out of force. `palisade panic` leaves one in the state directory, which outlives a
//! reboot; where it cannot, or does not know the directory, it leaves one in the kernel, which needs no disk, no
//! configuration and no daemon. So does the boot, or the daemon, for `palisade=off` on the kernel's command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use palisade_nft::{ApplyError, Nft};

/// What whoever lists the ruleset under a panic reads.
const CALLED: &str = "palisade panic was called: nothing is filtered until palisade resume";

/// The same, where the kernel's command line says so.
const OFF: &str = "palisade=off is on the kernel's command line: nothing is filtered until palisade resume";

/// The word on the kernel's command line.
const WORD: &str = "palisade=off";

/// Names another file than the kernel's command line, for tests.
const COMMAND_LINE: &str = "PALISADE_CMDLINE";

/// Another number at each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The notes of one state directory and of this network namespace, there or not.
#[derive(Clone, Debug)]
pub struct Panic {
    directory: PathBuf,
}

impl Panic {
    /// The notes with this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Panic {
            directory: state_dir.to_owned(),
        }
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether one of them is there.
    pub fn is_set(&self) -> bool {
        self.path().exists() || palisade_nft::note().is_some()
    }

    /// Why everything is kept out of force, if it is.
    pub fn reason(&self) -> Option<String> {
        let on_disk = || self.path().exists().then(|| CALLED.to_owned());
        palisade_nft::note().or_else(on_disk)
    }

    /// Leaves the note in the kernel.
    pub fn set_in_kernel(&self, nft: &mut Nft) -> Result<(), ApplyError> {
        nft.leave_note(CALLED)
    }

    /// Leaves the note in the state directory.
    pub fn set_on_disk(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // That it is there is all that counts: an empty file fits where no text does.
        let file = fs::File::create(self.path())?;
        let _ = fs::write(
            self.path(),
            "palisade panic was called; palisade resume takes it back\n",
        );
        // Where the disk cannot keep it, it is kept until the reboot all the same.
        let _ = file.sync_all();
        Ok(())
    }

    /// Takes the notes away, if they are there, and remembers until the reboot that the kernel's command line does not
    /// count any more.
    pub fn clear(&self) -> io::Result<()> {
        // What is not there need not be removed, even where nothing can be.
        match fs::remove_file(self.path()) {
            Err(error) if self.path().exists() => return Err(error),
            _ => {}
        }
        if says_off() {
            fs::create_dir_all(&self.directory)?;
            fs::write(self.resumed(), fs::read(BOOT_ID)?)?;
        }
        if palisade_nft::note().is_some() {
            let mut nft = Nft::open().map_err(io::Error::other)?;
            nft.take_note().map_err(|error| match error {
                ApplyError::Privilege => io::Error::new(io::ErrorKind::PermissionDenied, error),
                error => io::Error::other(error),
            })?;
        }
        Ok(())
    }

    /// Leaves the note in the kernel if the kernel's command line says so, and nobody has resumed since the boot. Says
    /// whether it did.
    pub fn obey_command_line(&self, nft: &mut Nft) -> Result<bool, ApplyError> {
        let is_resumed = || {
            let resumed = fs::read(self.resumed());
            resumed.is_ok_and(|resumed| fs::read(BOOT_ID).is_ok_and(|boot| boot == resumed))
        };
        if !says_off() || is_resumed() {
            return Ok(false);
        }
        nft.leave_note(OFF)?;
        Ok(true)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("panic")
    }

    fn resumed(&self) -> PathBuf {
        self.directory.join("resumed")
    }
}

/// Whether the kernel was told to keep palisade out. A confined service cannot see that; palisade-boot.service can.
fn says_off() -> bool {
    let path = std::env::var_os(COMMAND_LINE);
    let path = path.map_or_else(|| PathBuf::from("/proc/cmdline"), PathBuf::from);
    fs::read_to_string(path).is_ok_and(|line| line.split_whitespace().any(|word| word == WORD))
}
