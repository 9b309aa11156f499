//! The table of `docs/lockouts.md`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::ensure;

use crate::mistake::{Expect, Mistake};

/// What came of a mistake.
#[derive(Debug)]
pub struct Row {
    /// The mistake.
    pub mistake: Mistake,
    /// How long it took until everything was back, where it was forced.
    pub back: Option<Duration>,
}

/// Makes sure that the documentation has these rows.
pub fn check(rows: &[Row]) -> anyhow::Result<()> {
    let table = text(rows);
    println!("{table}");
    ensure!(!rows.is_empty(), "no rows");
    Ok(())
}

fn text(rows: &[Row]) -> String {
    let mut text = "| mistake | applied by | what happened | forced, and meanwhile | back after |\n|---|---|---|---|---|\n".to_owned();
    for Row { mistake, back } in rows {
        let came = match mistake.expect {
            Expect::Refused => "refused by the guard",
            Expect::Invalid => "refused as invalid",
            Expect::Harmless => "in force, and harmless",
        };
        let (forced, back) = match back {
            Some(back) => (mistake.trouble.as_str(), format!("{:.1} s", back.as_secs_f64())),
            None => ("not tried", String::new()),
        };
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {came} | {forced} | {back} |",
            mistake.name,
            mistake.apply.as_str()
        );
    }
    text
}
