//! The short suite, on this kernel and on Debian's stock kernel in an emulated machine. Needs root, and the Debian
//! packages that `make deps` installs.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod short;

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a script of `integration/kernels`, and gives its output.
fn script(name: &str, arguments: &[&Path], more: &[&str]) -> String {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    // Killed with this thread, so that no machine outlives its test.
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(scripts.join(name))
        .args(arguments)
        .args(more)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    said
}

#[test]
fn the_short_suite_passes_on_debians_stock_kernel() {
    let suite = std::env::current_exe().unwrap();
    // Of the path target/PROFILE/deps/TEST.
    let target = suite.ancestors().nth(3).unwrap();
    let kernel = script("make-kernel", &[target], &[]);
    let scratch = tempfile::tempdir().unwrap();
    let said = script(
        "boot",
        &[Path::new(kernel.trim()), scratch.path(), &suite],
        &["short::", "--test-threads=1"],
    );
    println!("{said}");
    assert!(said.contains("suite ended with 0"), "{said}");
    // A filter that finds nothing ends well, too.
    assert!(said.contains("test result: ok. 8 passed; 0 failed"), "{said}");
}
