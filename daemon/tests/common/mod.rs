//! What the tests of the command line share: they run it without a daemon.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;

pub(crate) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// Runs `palisade`; gives its exit code, standard output and standard error.
pub(crate) fn palisade(arguments: &[&str], input: &str) -> anyhow::Result<(i32, String, String)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(arguments)
        .env("PALISADE_SOCKET", "/nonexistent/palisade.sock")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has nothing to read may have ended already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    Ok((
        output.status.code().context("ended by a signal")?,
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    ))
}
