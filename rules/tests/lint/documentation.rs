//! The table in `docs/lint.md` is that of the code.
//!
//! `UPDATE_GOLDEN=1` writes it anew; the difference is then there to be read.

use std::path::Path;
use std::{env, fs};

use palisade_rules::analysis::lint::codes;

const BEGIN: &str = "<!-- codes: begin, made by rules/tests/lint/documentation.rs -->\n\n";
const END: &str = "\n<!-- codes: end -->\n";

#[test]
fn every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let expected = codes::markdown();
    if table == expected {
        return;
    }
    assert!(
        env::var_os("UPDATE_GOLDEN").is_some(),
        "docs/lint.md does not say what the code does: run this test again with UPDATE_GOLDEN=1 and read the difference"
    );
    fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
}
