//! The table of `docs/lockouts.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::mistake::{Expect, Mistake};

/// What came of a mistake.
#[derive(Debug)]
pub(crate) struct Row {
    /// The mistake.
    pub mistake: Mistake,
    /// How long it took until everything was back, where it was forced.
    pub back: Option<Duration>,
}

/// What stands above the table.
const ABOVE: &str = "\
# Mistakes that lock nobody out

Each of these mistakes is made by `make test`, over a real SSH connection: on a server without a safety net, where SSH
listens at a port that no failsafe holds open, unless the mistake is about those. At its end the session it was made in
still answers, and another one is let in.

What the lockout guard refuses (exit code 7) is then forced with `--force --confirm-within 2s`, to see that the guard was
right: nobody is let in any more. Nobody confirms it either, and so it comes back, every file of the policy directory and
the configuration with it. How long that took, from the command to the next session, is the last column: it was measured
on a machine that was doing much else, and is not the same twice.

";

/// Makes sure that the documentation has these rows, but for how long they took.
pub(crate) fn check(rows: &[Row]) -> anyhow::Result<()> {
    let table = text(rows);
    println!("{table}");
    let document = ABOVE.to_owned() + &table;
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lockouts.md");
    std::fs::write(&fresh, &document)?;
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lockouts.md");
    let written = std::fs::read_to_string(&documented).unwrap_or_default();
    ensure!(
        stable(&written) == stable(&document),
        "{} is not what came of this run: cp {} {}",
        documented.display(),
        fresh.display(),
        documented.display()
    );
    Ok(())
}

/// The lines of a document, without the last column of its table.
fn stable(document: &str) -> Vec<&str> {
    let without_last = |line: &'_ str| -> usize {
        let bare = line.strip_suffix(" |").filter(|_| line.starts_with("| "));
        bare.and_then(|bare| bare.rfind(" | ")).unwrap_or(line.len())
    };
    document.lines().map(|line| &line[..without_last(line)]).collect()
}

fn text(rows: &[Row]) -> String {
    let mut text =
        "| mistake | brought into force by | what came of it | what happened meanwhile | back after |\n\
                    |---|---|---|---|---|\n"
            .to_owned();
    for Row { mistake, back } in rows {
        let came = match mistake.expect {
            Expect::Refused => "refused by the guard; forced, and rolled back",
            Expect::Invalid => "refused as invalid",
            Expect::Harmless => "in force, and harmless",
        };
        let back = back.map(|back| format!("{:.1} s", back.as_secs_f64()));
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {came} | {} | {} |",
            mistake.name,
            mistake.apply.as_str(),
            mistake.trouble.as_str(),
            back.unwrap_or_default()
        );
    }
    text
}
