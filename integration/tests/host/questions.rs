//! What a running daemon answers about the resources in force. Needs root.

use palisade_integration::{Daemon, Setup, ThreeHosts, examples};
use serde_json::Value;

const EXPECTATIONS: &str = "apiVersion: palisade.dev/v1
kind: Expectations
metadata: {name: lockdown}
spec:
- {name: locked, from: frontend-eth0, to: backend-eth0, ports: [9090], world: pending, expect: deny, withoutSafetyNet: true}
";

fn staged() -> anyhow::Result<(ThreeHosts, Daemon)> {
    let hosts = ThreeHosts::new()?;
    // With the daemon's own safety net.
    let setup = Setup::new("backend")
        .config("")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    Ok((hosts, backend))
}

#[test]
fn lint_knows_the_daemons_own_net_and_how_long_a_policy_is_staged() -> anyhow::Result<()> {
    let (_hosts, backend) = staged()?;
    let codes = |arguments: &[&str]| -> anyhow::Result<Vec<String>> {
        let output = backend.cli(&[&["-o", "json", "lint"], arguments].concat())?;
        assert_eq!(output.code, Some(1), "{output:?}");
        let found: Vec<Value> = serde_json::from_str(&output.stdout)?;
        Ok(found
            .iter()
            .filter_map(|record| record["code"].as_str().map(str::to_owned))
            .collect())
    };
    let found = codes(&[])?;
    assert!(found.iter().any(|code| code == "denies-everything"), "{found:?}");
    assert!(
        !found.iter().any(|code| code == "stale-staged-policy"),
        "staged just now: {found:?}"
    );

    let output = backend.cli(&["lint"])?;
    assert!(output.stdout.contains("but for the safety net"), "{output:?}");
    let place = format!("{}:", backend.policy_file("20-lockdown.yaml").display());
    assert!(output.stdout.contains(&place), "{output:?}");
    assert!(output.stdout.contains("= help: "), "{output:?}");
    Ok(())
}

#[test]
fn expectations_are_checked_against_what_is_in_force() -> anyhow::Result<()> {
    let (_hosts, backend) = staged()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("lockdown.yaml");
    std::fs::write(&file, EXPECTATIONS)?;
    let file = file.display().to_string();
    let output = backend.cli(&["test", &file])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.starts_with("pass   locked\n"), "{output:?}");

    backend.remove("20-lockdown.yaml")?;
    backend.reload_well()?;
    let output = backend.cli(&["test", &file])?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.stdout.contains("is allowed in the pending world by "),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn the_matrix_and_what_promotion_changes_are_those_of_the_generation() -> anyhow::Result<()> {
    let (_hosts, backend) = staged()?;
    let matrix = backend.json(&["matrix", "--from", "frontend-eth0", "--to", "backend-eth0"])?;
    let connections = matrix["connections"].as_array().map_or(&[][..], Vec::as_slice);
    let is_any = |world: &str, bare: bool| {
        connections.iter().any(|connection| {
            connection["world"] == world
                && connection["without_safety_net"] == bare
                && connection["allowed"] == serde_json::json!([{"protocol": "any"}])
        })
    };
    assert!(is_any("enforced", true) && is_any("pending", false), "{matrix:#}");
    assert!(!is_any("pending", true), "the lockdown denies: {matrix:#}");
    let page = backend.cli(&["matrix", "-o", "html"])?;
    assert_eq!(page.code, Some(0), "{page:?}");
    assert!(
        page.stdout.contains("<h1>Who reaches whom: generation "),
        "{page:?}"
    );
    assert!(page.stdout.trim_end().ends_with("</html>"), "{page:?}");
    let output = backend.cli(&["matrix", "--from", "nobody"])?;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("nobody"), "{output:?}");

    let output = backend.cli(&["diff", "--pending", "-o", "markdown"])?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("backend-lockdown-staged"), "{output:?}");
    let old = backend.status()?["generation"].to_string();
    backend.write("20-lockdown.yaml", &examples::lockdown_promoted())?;
    backend.reload_well()?;
    let new = backend.status()?["generation"].to_string();
    let output = backend.cli(&["diff", "--generations", &old, &new])?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.stdout.contains(&format!(
            "generation {old} -> generation {new}, without the safety net: "
        )),
        "{output:?}"
    );
    let pending = ["diff", "--generations", &old, &new, "--world", "pending"];
    let output = backend.cli(&pending)?;
    assert_eq!(
        output.code,
        Some(0),
        "promotion brings the pending world: {output:?}"
    );
    let output = backend.cli(&["diff", "--generations", "77", &new])?;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("generation 77 is not kept"), "{output:?}");

    backend.remove("20-lockdown.yaml")?;
    backend.reload_well()?;
    let output = backend.cli(&["diff", "--pending"])?;
    assert_eq!(output.code, Some(0), "nothing is staged: {output:?}");
    Ok(())
}
