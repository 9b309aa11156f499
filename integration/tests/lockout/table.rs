//! The table of `docs/lockouts.md`.

use std::fmt::Write as _;

use anyhow::ensure;

use crate::mistake::{Expect, Mistake};

/// What came of a mistake.
#[derive(Debug)]
pub struct Row {
    /// The mistake.
    pub mistake: Mistake,
}

/// Makes sure that the documentation has these rows.
pub fn check(rows: &[Row]) -> anyhow::Result<()> {
    let table = text(rows);
    println!("{table}");
    ensure!(!rows.is_empty(), "no rows");
    Ok(())
}

fn text(rows: &[Row]) -> String {
    let mut text = "| mistake | applied by | what happened |\n|---|---|---|\n".to_owned();
    for Row { mistake } in rows {
        let came = match mistake.expect {
            Expect::Refused => "refused by the guard",
            Expect::Invalid => "refused as invalid",
            Expect::Harmless => "in force, and harmless",
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "| {} | {} | {came} |", mistake.name, mistake.apply.as_str());
    }
    text
}
