//! The programs under test.

use std::path::PathBuf;

use anyhow::{Context, ensure};

/// The daemon, as cargo built it for the same profile as the running test.
pub fn palisaded() -> anyhow::Result<PathBuf> {
    built("palisaded")
}

/// The command line, as cargo built it for the same profile as the running test.
pub fn palisade() -> anyhow::Result<PathBuf> {
    built("palisade")
}

/// Cargo builds a package's binaries for its own tests only, and puts tests into `deps` beside them.
fn built(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find out where this test is")?;
    let profile = test.parent().and_then(|deps| deps.parent());
    let binary = profile
        .context("this test is not in a directory of cargo's")?
        .join(name);
    ensure!(
        binary.is_file(),
        "{} is missing: run `cargo build` first, with the same profile as the tests",
        binary.display()
    );
    Ok(binary)
}
