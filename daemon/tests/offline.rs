//! What the command line does without root, daemon or kernel: answers, shapes and exit codes.

mod common;

use serde_json::Value;

use common::{EXAMPLES, palisade};

#[test]
fn every_query_gets_a_line_in_order() -> anyhow::Result<()> {
    let queries = r#"{"from":"frontend-eth0","to":"backend-eth0","protocol":"tcp","port":9090}
{"from":"frontend-eth0","to":"nobody","protocol":"tcp","port":1}
not json
{"from":"frontend-eth0","to":"backend-eth0","protocol":"icmp","port":0,"icmp_type":8,"icmp_code":0}

{"from":"frontend-eth0","to":"backend-eth0","protocol":6,"port":null}
"#;
    let (code, stdout, stderr) = palisade(&["explain", "-f", EXAMPLES, "--queries", "-"], queries)?;
    let answers: Vec<Value> = stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let errors: Vec<bool> = answers
        .iter()
        .map(|answer| answer.get("error").is_some())
        .collect();
    assert_eq!(errors, [false, true, true, false, true], "{stdout}{stderr}");
    assert_eq!(code, 1, "a line is an error");
    assert_eq!(answers[0]["enforced"]["verdict"], "allow");
    assert_eq!(
        answers[0]["pending"]["without_safety_net"]["verdict"], "deny",
        "{stdout}"
    );
    assert_eq!(
        (&answers[1]["from"], &answers[1]["to"]),
        (&"frontend-eth0".into(), &"nobody".into())
    );

    let denied = r#"{"from":"frontend-eth0","to":"database-eth0","protocol":"tcp","port":8080}"#;
    let (code, stdout, _) = palisade(&["explain", "-f", EXAMPLES, "--queries", "-"], denied)?;
    assert_eq!(code, 0, "whatever the verdicts: {stdout}");
    Ok(())
}

#[test]
fn one_answer_tells_by_its_exit_code() -> anyhow::Result<()> {
    let ask = |files: &[&str], port: &str, format: &str| {
        let files = files.iter().flat_map(|file| ["-f", *file]);
        let query = [
            "--from",
            "frontend-eth0",
            "--to",
            "HEP:backend-eth0",
            "--port",
            port,
            "-o",
            format,
        ];
        let arguments: Vec<&str> = ["explain"].into_iter().chain(files).chain(query).collect();
        palisade(&arguments, "")
    };
    assert_eq!(ask(&[EXAMPLES], "22", "table")?.0, 0);
    assert_eq!(ask(&[EXAMPLES], "9090", "json")?.0, 0, "the safety net stands");
    let hosts = format!("{EXAMPLES}/hosts.yaml");
    let lockdown = format!("{EXAMPLES}/20-backend-lockdown.yaml");
    let (code, stdout, _) = ask(&[&hosts, &lockdown], "9090", "csv")?;
    assert_eq!(code, 1, "the pending world denies: {stdout}");
    let has = |start: &str| stdout.lines().any(|line| line.starts_with(start));
    assert!(
        has("world,without_safety_net,verdict,endpoint,direction,tier,kind,"),
        "{stdout}"
    );
    assert!(has("enforced,false,allow,"), "{stdout}");
    assert!(has("pending,false,deny,"), "{stdout}");
    Ok(())
}

#[test]
fn what_is_wrong_is_said_and_has_its_code() -> anyhow::Result<()> {
    let (code, _, stderr) = palisade(&["status"], "")?;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("systemctl status palisade"), "{stderr}");
    let (code, _, stderr) = palisade(&["flows", "--verdict", "Deny"], "")?;
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = palisade(&["check", "/nonexistent"], "")?;
    assert_eq!(code, 3, "{stderr}");
    let (code, stdout, _) = palisade(&["check", "-o", "json", "-"], "kind: Nonsense\n")?;
    assert_eq!(code, 3);
    let found: Value = serde_json::from_str(&stdout)?;
    assert_eq!(found[0]["severity"], "error", "{found:#}");
    assert_eq!(found[0]["file"], "<stdin>", "{found:#}");
    let (code, stdout, stderr) = palisade(&["check", EXAMPLES], "")?;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    Ok(())
}

#[test]
fn check_shows_the_configurations_problems_beside_the_resources() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("palisade.yaml");
    std::fs::write(&config, "saftyNet: false\n")?;
    let config = config.display().to_string();
    let arguments = ["check", "-o", "json", "--config", &config, "-"];
    let (code, stdout, _) = palisade(&arguments, "kind: Nonsense\n")?;
    assert_eq!(code, 3);
    let found: Vec<Value> = serde_json::from_str(&stdout)?;
    let files: Vec<&Value> = found.iter().map(|record| &record["file"]).collect();
    assert!(files.contains(&&Value::from(config.as_str())), "{found:#?}");
    assert!(files.contains(&&Value::from("<stdin>")), "{found:#?}");
    Ok(())
}
