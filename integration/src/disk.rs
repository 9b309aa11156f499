//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

/// A small file system of its own (tmpfs), unmounted when dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one over a directory, of so many kilobytes.
    ///
    /// # Errors
    /// Without root.
    pub fn mount(at: &Path, kilobytes: usize) -> anyhow::Result<Self> {
        mount(&["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"], at)?;
        Ok(Disk(at.to_owned()))
    }

    /// Makes it as large as this.
    ///
    /// # Errors
    /// If the kernel will not.
    pub fn grow(&self, kilobytes: usize) -> anyhow::Result<()> {
        mount(&["-o", &format!("remount,size={kilobytes}k")], &self.0)
    }

    /// Makes it one that cannot be written.
    ///
    /// # Errors
    /// While a file on it is open for writing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        mount(&["-o", "remount,ro"], &self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A daemon may still have its files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(options: &[&str], at: &Path) -> anyhow::Result<()> {
    let status = Command::new("mount").args(options).arg(at).status()?;
    ensure!(
        status.success(),
        "cannot mount {options:?} at {}: {status}",
        at.display()
    );
    Ok(())
}
