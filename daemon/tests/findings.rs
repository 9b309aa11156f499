//! `palisade lint` and `palisade test` offline: answers, shapes and exit codes.

mod common;

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use common::{EXAMPLES, palisade};

fn expectations() -> String {
    format!("{EXAMPLES}/expectations")
}

#[test]
fn lint_shows_places_and_ends_with_1() -> anyhow::Result<()> {
    let (code, stdout, stderr) = palisade(&["lint", "-f", EXAMPLES], "")?;
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    assert!(stdout.contains("warning[denies-everything]"), "{stdout}");
    assert!(stdout.contains("20-backend-lockdown.yaml:4:9"), "{stdout}");
    assert!(stdout.ends_with("3 findings\n"), "{stdout}");

    let (code, stdout, _) = palisade(
        &[
            "lint",
            "-f",
            EXAMPLES,
            "-o",
            "json",
            "--allow",
            "denies-everything",
        ],
        "",
    )?;
    assert_eq!(code, 1);
    let found: Vec<Value> = serde_json::from_str(&stdout)?;
    let codes: Vec<&Value> = found.iter().map(|record| &record["code"]).collect();
    assert_eq!(codes, ["behind-net-in-calico"; 2], "{stdout}");
    assert_eq!(found[0]["kind"], "GlobalNetworkPolicy", "{stdout}");
    assert!(found[0]["help"].is_string(), "{stdout}");

    let allowed = ["--allow", "denies-everything", "--allow", "behind-net-in-calico"];
    let arguments = [&["lint", "-f", EXAMPLES], &allowed[..]].concat();
    assert_eq!(palisade(&arguments, "")?.0, 0, "nothing is left");
    let (code, _, stderr) = palisade(&["lint", "-f", EXAMPLES, "--allow", "denies-everthing"], "")?;
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("denies-everything"), "{stderr}");
    Ok(())
}

#[test]
fn the_expectations_of_the_examples_hold() -> anyhow::Result<()> {
    let (code, stdout, stderr) = palisade(&["test", "-f", EXAMPLES, &expectations()], "")?;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(
        stdout.ends_with("4 hold, 0 do not, 0 cannot be told\n"),
        "{stdout}"
    );
    let (_, stdout, _) = palisade(&["test", "-f", EXAMPLES, &expectations(), "-o", "tap"], "")?;
    assert!(stdout.starts_with("TAP version 13\n1..4\nok 1 - "), "{stdout}");
    let (_, stdout, _) = palisade(&["test", "-f", EXAMPLES, &expectations(), "-o", "junit"], "")?;
    assert!(
        stdout.contains("tests=\"4\" failures=\"0\" errors=\"0\""),
        "{stdout}"
    );
    let (code, _, stderr) = palisade(&["test", "-f", EXAMPLES, &expectations(), "-o", "csv"], "")?;
    assert_eq!(code, 2, "{stderr}");
    Ok(())
}

#[test]
fn an_expectation_that_does_not_hold_names_the_rule() -> anyhow::Result<()> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    let write = |text: &str| std::fs::write(file.path(), text);
    let path: &Path = file.path();
    let path = path.to_str().context("a path in UTF-8")?;
    write(
        "apiVersion: palisade.dev/v1\nkind: Expectations\nspec:\n\
         - {name: open, from: frontend-eth0, to: backend-eth0, ports: [9090], expect: allow, withoutSafetyNet: true}\n",
    )?;
    let (code, stdout, _) = palisade(&["test", "-f", EXAMPLES, path, "-o", "json"], "")?;
    assert_eq!(code, 1, "{stdout}");
    let report: Value = serde_json::from_str(&stdout)?;
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&0.into(), &1.into()),
        "{stdout}"
    );
    let (_, stdout, _) = palisade(&["test", "-f", EXAMPLES, path], "")?;
    assert!(stdout.contains("FAIL   open"), "{stdout}");
    assert!(stdout.contains("denied in the pending world by "), "{stdout}");
    assert!(stdout.contains("backend-lockdown"), "{stdout}");

    write("apiVersion: palisade.dev/v1\nkind: Expectations\nspec:\n- {from: x, too: y}\n")?;
    let (code, _, stderr) = palisade(&["test", "-f", EXAMPLES, path], "")?;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains(":4:13") && stderr.contains("`too`"), "{stderr}");
    let (code, _, stderr) = palisade(&["check", path], "")?;
    assert_eq!(code, 3, "expectations are no resources");
    assert!(stderr.contains("outside the policy directory"), "{stderr}");
    Ok(())
}
