//! `explain --queries` asked of a running daemon. Needs root.

use palisade_integration::{Daemon, Setup, ThreeHosts, examples};
use serde_json::Value;

/// More than a piece that is sent at once, so that lines are cut anywhere.
const QUERIES: usize = 5_000;

#[test]
fn the_daemon_answers_every_line_as_it_answers_one() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-database.yaml", examples::DATABASE)
        .resource("20-staged.yaml", examples::LOCKDOWN_STAGED);
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    let port = |index: usize| 8_000 + index % 200;
    let line = |index: usize| match index % 1_000 {
        999 => r#"{"from":"nobody","to":"database-eth0","port":1}"#.to_owned(),
        _ => format!(
            r#"{{"from":"frontend-eth0","to":"backend-eth0","protocol":"tcp","port":{}}}"#,
            port(index)
        ),
    };
    let queries: Vec<String> = (0..QUERIES).map(line).collect();
    let file = daemon.configuration().with_file_name("queries.jsonl");
    std::fs::write(&file, queries.join("\n"))?;

    let output = daemon.cli(&["explain", "--queries", &file.display().to_string()])?;
    assert_eq!(
        output.code,
        Some(1),
        "five lines have no answer: {}",
        output.stderr
    );
    let answers: Vec<Value> = output
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(answers.len(), QUERIES);
    let one = daemon.json(&[
        "explain",
        "--from",
        "frontend-eth0",
        "--to",
        "backend-eth0",
        "--port",
        "8000",
    ])?;
    for (index, answer) in answers.iter().enumerate() {
        if index % 1_000 == 999 {
            assert!(
                answer["error"]
                    .as_str()
                    .is_some_and(|error| error.contains("nobody")),
                "{answer}"
            );
            continue;
        }
        let mut expected = one.clone();
        expected["port"] = port(index).into();
        assert_eq!(*answer, expected);
    }
    assert_eq!(one["pending"]["verdict"], "deny", "{one:#}");
    Ok(())
}
