//! The tables in `docs` are those of the code.
//!
//! `UPDATE_GOLDEN=1` writes them anew; the difference is then there to be read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use palisade_rules::diagnostic::codes::CODES;
use palisade_rules::schema::markdown;

#[test]
fn every_kind_and_field() {
    check("policy.md", "kinds and fields", &markdown::reference());
}

#[test]
fn every_code_of_a_problem() {
    let mut table = "| code | means | what to do |\n|---|---|---|\n".to_owned();
    for code in &CODES {
        writeln!(table, "| `{}` | {} | {} |", code.word, code.meaning, code.help)
            .expect("a string takes everything");
    }
    check("errors.md", "codes", &table);
}

/// Compares what stands between two markers in a file below `docs` with what should.
fn check(file: &str, marker: &str, expected: &str) {
    let path = docs().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let begin = format!("<!-- {marker}: begin, made by rules/tests/documentation.rs -->\n\n");
    let end = format!("<!-- {marker}: end -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{} has no {begin:?}", path.display()));
    let (actual, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("{} has no {end:?}", path.display()));
    if actual.trim_end() == expected.trim_end() {
        return;
    }
    assert!(
        env::var_os("UPDATE_GOLDEN").is_some(),
        "{} does not say what the code does: run this test again with UPDATE_GOLDEN=1 and read the difference",
        path.display()
    );
    let written = format!("{before}{begin}{}\n\n{end}{after}", expected.trim_end());
    fs::write(&path, written).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}
