//! `palisade matrix` and `palisade diff` offline: answers, shapes and exit codes.
//!
//! What they say of the examples is in `tests/golden/connectivity`. `UPDATE_GOLDEN=1 cargo test -p palisade --test
//! connectivity` writes it; then read what changed.

mod common;

use std::path::Path;
use std::{env, fs};

use anyhow::Context;
use serde_json::Value;

use common::{EXAMPLES, palisade};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/connectivity");

/// What a command prints, with its exit code as it should be.
fn printed(arguments: &[&str], expected: i32) -> anyhow::Result<String> {
    let (code, stdout, stderr) = palisade(arguments, "")?;
    assert_eq!((code, stderr.as_str()), (expected, ""), "{arguments:?}: {stdout}");
    Ok(stdout)
}

fn golden(name: &str, text: &str) -> anyhow::Result<()> {
    let path = Path::new(GOLDEN).join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        return Ok(fs::write(&path, text)?);
    }
    let expected = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    assert_eq!(
        text, expected,
        "{name} is not what it was: see the top of this file"
    );
    Ok(())
}

#[test]
fn the_examples_in_every_form() -> anyhow::Result<()> {
    let matrix = |form| printed(&["matrix", "-f", EXAMPLES, "-o", form], 0);
    let table = matrix("table")?;
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    golden("matrix.txt", &table)?;
    let json: Value = serde_json::from_str(&matrix("json")?)?;
    golden("matrix.json", &(serde_json::to_string_pretty(&json)? + "\n"))?;
    golden("matrix.csv", &matrix("csv")?)?;
    golden("matrix.dot", &matrix("dot")?)?;
    golden("matrix.svg", &matrix("svg")?)?;
    let yaml: Value = serde_yaml::from_str(&matrix("yaml")?)?;
    assert_eq!(yaml, json);
    let page = matrix("html")?;
    assert!(
        page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"),
        "{page}"
    );

    let diff = |form| printed(&["diff", "--pending", "-f", EXAMPLES, "-o", form], 1);
    golden("diff.txt", &diff("table")?)?;
    golden("diff.md", &diff("markdown")?)?;
    let json: Value = serde_json::from_str(&diff("json")?)?;
    golden("diff.json", &(serde_json::to_string_pretty(&json)? + "\n"))?;
    let csv = diff("csv")?;
    assert!(
        csv.starts_with("without_safety_net,change,from,to,connections,witness,old,new\n"),
        "{csv}"
    );
    Ok(())
}

#[test]
fn rows_columns_and_worlds_can_be_chosen() -> anyhow::Result<()> {
    let connections = |arguments: &[&str]| -> anyhow::Result<Vec<[String; 3]>> {
        let arguments = [&["matrix", "-f", EXAMPLES, "-o", "json"], arguments].concat();
        let matrix: Value = serde_json::from_str(&printed(&arguments, 0)?)?;
        let connections = matrix["connections"].as_array().context("a list")?.iter();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(connections
            .map(|connection| ["from", "to", "world"].map(|key| word(&connection[key])))
            .collect())
    };
    let all = connections(&[])?;
    // Three hosts reach each other and themselves, and two blocks reach them and are reached.
    assert_eq!(all.len(), (9 + 6 + 6) * 4, "{all:?}");
    let pair = connections(&[
        "--from",
        "frontend-eth0",
        "--to",
        "10.42.0.10",
        "--world",
        "pending",
    ])?;
    let expected = ["frontend-eth0", "backend-eth0", "pending"].map(str::to_owned);
    assert_eq!(pair, vec![expected; 2], "with the net, and without");
    let from_outside = connections(&["--from", "192.0.2.7"])?;
    assert_eq!(from_outside.len(), 3 * 4, "{from_outside:?}");
    assert!(
        from_outside.iter().all(|[from, ..]| from == "0.0.0.0/0"),
        "{from_outside:?}"
    );

    let (code, _, stderr) = palisade(&["matrix", "-f", EXAMPLES, "--from", "nobody"], "")?;
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("nobody"), "{stderr}");
    let (code, _, stderr) = palisade(
        &["matrix", "-f", EXAMPLES, "--to", "backend-eth0", "-o", "svg"],
        "",
    )?;
    assert_eq!(code, 2, "{stderr}");
    Ok(())
}

#[test]
fn a_difference_of_two_paths_ends_with_1_and_none_with_0() -> anyhow::Result<()> {
    let hosts = format!("{EXAMPLES}/hosts.yaml");
    assert!(printed(&["diff", EXAMPLES, EXAMPLES], 0)?.contains("no connection changes"));
    let text = printed(&["diff", &hosts, EXAMPLES], 1)?;
    assert!(
        text.contains("    - everything but tcp 22,8080, udp 68,546\n"),
        "{text}"
    );
    // The lockdown is staged: only the pending worlds differ by it.
    let lockdown = |world| {
        let hosts = fs::read_to_string(&hosts)?;
        let staged = fs::read_to_string(format!("{EXAMPLES}/20-backend-lockdown.yaml"))?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("all.yaml");
        fs::write(&path, format!("{hosts}\n---\n{staged}"))?;
        let old = format!("{EXAMPLES}/hosts.yaml");
        palisade(
            &[
                "diff",
                &old,
                &path.display().to_string(),
                "--world",
                world,
                "-o",
                "json",
            ],
            "",
        )
    };
    assert_eq!(lockdown("enforced")?.0, 0);
    let (code, stdout, _) = lockdown("pending")?;
    assert_eq!(code, 1);
    let difference: Value = serde_json::from_str(&stdout)?;
    let witness = &difference["changes"][0]["witnesses"][0];
    assert_eq!(witness["is_added"], false, "{difference:#}");
    Ok(())
}

#[test]
fn a_form_that_a_command_does_not_have_is_a_usage_error() -> anyhow::Result<()> {
    for arguments in [
        &["matrix", "-f", EXAMPLES, "-o", "markdown"][..],
        &["diff", EXAMPLES, EXAMPLES, "-o", "html"],
        &["check", EXAMPLES, "-o", "svg"],
        &["policies", "-f", EXAMPLES, "-o", "markdown"],
        &["diff"],
        &["diff", EXAMPLES],
        &["diff", EXAMPLES, EXAMPLES, "--pending"],
        &["diff", "-f", EXAMPLES],
    ] {
        let (code, stdout, stderr) = palisade(arguments, "")?;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
    }
    assert_eq!(palisade(&["matrix"], "")?.0, 4, "no daemon");
    assert_eq!(palisade(&["diff", "--pending"], "")?.0, 4, "no daemon");
    assert_eq!(palisade(&["diff", EXAMPLES, "/nonexistent"], "")?.0, 3);
    Ok(())
}
