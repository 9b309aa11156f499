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

/// `promtool`, which reads metrics as Prometheus does: the one that is installed, or the one that `make test` unpacks.
pub fn promtool() -> anyhow::Result<PathBuf> {
    installed_or_unpacked("promtool", "bin/promtool", "prometheus")
}

/// `sshd`: the one that is installed, or the one that `make test` unpacks.
pub fn sshd() -> anyhow::Result<PathBuf> {
    let usual = PathBuf::from("/usr/sbin/sshd");
    if usual.is_file() {
        return Ok(usual);
    }
    installed_or_unpacked("sshd", "openssh/usr/sbin/sshd", "openssh-server")
}

/// A program from `PATH`, or else from where the Makefile unpacks tools.
fn installed_or_unpacked(name: &str, unpacked: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|directory| directory.join(name));
    let test = std::env::current_exe().context("cannot find out where this test is")?;
    // Of the path target/PROFILE/deps/TEST.
    let target = test.ancestors().nth(3);
    let tool = target.map(|target| target.join("tools").join(unpacked));
    let found = installed.chain(tool).find(|binary| binary.is_file());
    found.with_context(|| {
        format!(
            "{name} is missing: run `make target/tools/{unpacked}`, or install Debian's package {package}"
        )
    })
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
