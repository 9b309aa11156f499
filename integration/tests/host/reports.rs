//! `palisade staged` and `palisade flows` tell what the traffic was, to the connection, and what it means. Needs root.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use palisade::lab::{Connection, Probe, probe_all};
use palisade_integration::{Daemon, Setup, ThreeHosts, UDP_PORT, eventually, examples};
use serde_json::Value;

/// Several flow intervals.
const PATIENCE: Duration = Duration::from_secs(10);

fn backend(hosts: &ThreeHosts, policy: &str) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-staged.yaml", policy);
    Daemon::start(hosts.host("backend"), &setup)
}

/// Asks the backend over TCP so many times, and over UDP once.
fn ask(hosts: &ThreeHosts, from: &str, port: u16, times: usize) -> anyhow::Result<()> {
    let to = |port| SocketAddr::new(hosts.host("backend").ipv4(), port);
    let from = hosts.host(from).namespace();
    let probe = match port {
        UDP_PORT => Probe::udp(from, to(port)),
        _ => Probe::tcp(from, to(port)),
    };
    for outcome in probe_all(&vec![probe; times])? {
        ensure!(outcome.is_answered(), "{outcome}");
    }
    Ok(())
}

/// The only report, once it knows of so many evaluations.
fn report(daemon: &Daemon, evidence: &str, evaluated: u64) -> anyhow::Result<Value> {
    eventually(PATIENCE, || {
        let reports = daemon.json(&["staged", "--evidence", evidence])?;
        let report = reports[0].clone();
        ensure!(
            report["evaluated"] == evaluated,
            "not {evaluated} evaluated in {reports:#}"
        );
        Ok(report)
    })
}

/// The reasons, but for whose sockets they are about: that may be found out later.
fn reasons(judgement: &Value) -> Vec<&str> {
    let reasons = judgement["reasons"].as_array().into_iter().flatten();
    reasons
        .filter_map(Value::as_str)
        .filter_map(|reason| reason.split("; ").next())
        .collect()
}

#[test]
fn would_deny_is_told_by_peer_and_port_with_exact_counts() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts, examples::OPEN_8080_STAGED)?;
    ask(&hosts, "frontend", 8080, 5)?;
    ask(&hosts, "frontend", 9090, 3)?;
    ask(&hosts, "frontend", UDP_PORT, 2)?;
    ask(&hosts, "database", 9090, 1)?;
    let report = report(&daemon, "0s", 11)?;
    assert_eq!(
        (&report["would_allow"], &report["would_deny"]),
        (&5.into(), &6.into())
    );
    let flows = report["flows"].as_array().context("no flows")?;
    let told: Vec<(&str, u64, &str, u64)> = flows
        .iter()
        .filter_map(|flow| {
            Some((
                flow["from"].as_str()?,
                flow["port"].as_u64()?,
                flow["pending_action"].as_str()?,
                flow["packets"].as_u64()?,
            ))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("frontend-eth0", 9090, "deny", 3),
            ("frontend-eth0", u64::from(UDP_PORT), "deny", 2),
            ("database-eth0", 9090, "deny", 1),
            ("frontend-eth0", 8080, "allow", 5),
        ]
    );
    for flow in flows {
        let (first, last) = (flow["first_seen"].as_str(), flow["last_seen"].as_str());
        assert!(report["since"].as_str() < first && first <= last, "{flow:#}");
    }
    let times = |field: &str| {
        flows
            .iter()
            .filter_map(|flow| flow[field].as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        report["first_seen"].as_str(),
        times("first_seen").into_iter().min()
    );
    assert_eq!(report["last_seen"].as_str(), times("last_seen").into_iter().max());
    assert_eq!(report["new_in_last_hour"]["would_deny"], 3);
    assert_eq!(
        reasons(&report),
        [
            "would deny 5 connections from frontend-eth0: tcp 9090 (3), udp 5353 (2)",
            "would deny 1 connection from database-eth0: tcp 9090 (1)",
        ]
    );
    Ok(())
}

#[test]
fn the_verdict_follows_the_traffic() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts, examples::OPEN_8080_STAGED)?;
    let nothing = report(&daemon, "0s", 0)?;
    assert_eq!(nothing["verdict"], "too-little-evidence");
    assert_eq!(reasons(&nothing), ["no connection has met it yet"]);

    ask(&hosts, "frontend", 8080, 1)?;
    let short = report(&daemon, "24h", 1)?;
    assert_eq!(short["verdict"], "too-little-evidence");
    assert!(reasons(&short)[0].ends_with("only, not for 1d"), "{short:#}");
    assert_eq!(report(&daemon, "0s", 1)?["verdict"], "ready");

    ask(&hosts, "frontend", 9090, 2)?;
    let denied = report(&daemon, "0s", 3)?;
    assert_eq!(denied["verdict"], "not-ready");
    assert_eq!(
        reasons(&denied),
        ["would deny 2 connections from frontend-eth0: tcp 9090 (2)"]
    );
    let told = daemon.cli(&["staged", "--evidence", "0s"])?;
    assert_eq!(told.code, Some(1));
    assert!(
        told.stdout
            .contains("to promote it: NOT READY, because\n    - would deny 2 connections"),
        "{told:?}"
    );

    // The policy is mended; what it was before is forgotten, and it must be observed anew.
    daemon.apply(
        "20-staged.yaml",
        &examples::OPEN_8080_STAGED.replace("[8080]", "[8080, 9090]"),
    )?;
    assert_eq!(report(&daemon, "0s", 0)?["verdict"], "too-little-evidence");
    ask(&hosts, "frontend", 9090, 2)?;
    let ready = report(&daemon, "0s", 2)?;
    assert_eq!((&ready["verdict"], reasons(&ready).len()), (&"ready".into(), 0));
    assert_eq!(ready["without_safety_net"], Value::Null);
    let told = daemon.cli(&["staged", "--evidence", "0s"])?;
    assert_eq!(told.code, Some(0));
    assert!(told.stdout.contains("to promote it: READY\n"), "{told:?}");
    Ok(())
}

#[test]
fn both_worlds_have_their_verdict() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("00-net.yaml", examples::SAFETY_NET)
        .resource("20-staged.yaml", examples::OPEN_8080_STAGED);
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    ask(&hosts, "frontend", 9090, 2)?;
    let report = report(&daemon, "0s", 2)?;
    assert_eq!(
        (&report["verdict"], &report["would_deny"]),
        (&"ready".into(), &0.into())
    );
    assert_eq!(report["without_safety_net"]["verdict"], "not-ready");
    assert_eq!(
        reasons(&report["without_safety_net"]),
        ["would deny 2 connections from frontend-eth0: tcp 9090 (2)"]
    );
    let told = daemon.cli(&["staged", "--evidence", "0s"])?;
    assert_eq!(
        told.code,
        Some(0),
        "promotion denies nothing while the net stands"
    );
    Ok(())
}

#[test]
fn a_connection_older_than_the_policy_is_told_as_never_evaluated() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    let open = |port| -> anyhow::Result<Connection> {
        let to = SocketAddr::new(hosts.host("backend").ipv4(), port);
        let opened = Connection::open(hosts.host("frontend").namespace(), to)?;
        opened.map_err(|outcome| anyhow::anyhow!("{to} did not answer: {outcome}"))
    };
    // The last one comes in by a failsafe: no policy will ever be asked about it.
    let _old = [open(9090)?, open(9090)?, open(22)?];
    daemon.apply("20-staged.yaml", examples::OPEN_8080_STAGED)?;
    let _alike = open(8080)?;
    let report = report(&daemon, "0s", 1)?;
    let live = &report["live"];
    assert_eq!(
        [
            &live["connections"],
            &live["never_evaluated"],
            &live["would_deny"]
        ],
        [3, 2, 2],
        "{live:#}"
    );
    let flow = &live["flows"][0];
    assert_eq!(
        (&flow["from"], &flow["port"], &flow["connections"]),
        (&"frontend-eth0".into(), &9090.into(), &2.into())
    );
    assert_eq!(
        (&report["would_deny"], &report["verdict"]),
        (&0.into(), &"not-ready".into())
    );
    assert_eq!(
        reasons(&report),
        [
            "2 live connections would be denied if opened again, and nothing like them was evaluated",
            "nothing like 2 of 3 live connections was evaluated since it is staged",
        ]
    );

    // Opened again, they are seen.
    let _again = open(9090)?;
    eventually(PATIENCE, || {
        let report = daemon.json(&["staged", "--evidence", "0s"])?[0].clone();
        ensure!(report["live"]["never_evaluated"] == 0, "{report:#}");
        ensure!(report["would_deny"] == 1, "{report:#}");
        Ok(())
    })
}

#[test]
fn a_policy_that_leans_on_another_is_told_what_it_would_do_alone() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-staged.yaml", examples::OPEN_8080_STAGED)
        .resource(
            "30-other.yaml",
            examples::OPEN_8080_STAGED
                .replace("name: backend", "name: metrics")
                .replace("8080", "9090"),
        );
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    ask(&hosts, "frontend", 9090, 2)?;
    ask(&hosts, "frontend", UDP_PORT, 1)?;
    let report = report(&daemon, "0s", 3)?;
    assert_eq!(report["name"], "backend");
    assert_eq!(
        report["would_deny"], 1,
        "the end of the tier is also its own: {report:#}"
    );
    assert_eq!(report["alone"]["would_deny"], 3);
    assert_eq!(
        reasons(&report),
        [
            "would deny 1 connection from frontend-eth0: udp 5353 (1)",
            "promoted without metrics, it would deny 3 connections",
        ]
    );
    Ok(())
}

#[test]
fn a_policy_that_allows_less_than_the_one_it_replaces_answers_for_it() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let enforced = examples::OPEN_8080_STAGED
        .replace("kind: Staged", "kind: ")
        .replace("[8080]", "[8080, 9090]")
        .replace("spec:", "spec:\n  order: 1");
    let denies = enforced
        .replace("name: backend", "name: deny-rest")
        .replace("order: 1", "order: 2")
        .replace(
            "Allow, protocol: TCP, destination: {ports: [8080, 9090]}",
            "Deny, protocol: TCP, destination: {notPorts: [22]}",
        );
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-enforced.yaml", &enforced)
        .resource("15-denies.yaml", &denies)
        .resource(
            "20-staged.yaml",
            examples::OPEN_8080_STAGED.replace("spec:", "spec:\n  order: 1"),
        );
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    ask(&hosts, "frontend", 8080, 1)?;
    ask(&hosts, "frontend", 9090, 2)?;
    let report = report(&daemon, "0s", 3)?;
    assert_eq!(
        (&report["verdict"], &report["would_deny"]),
        (&"not-ready".into(), &2.into())
    );
    assert_eq!(report["flows"][0]["because"], "deny-rest (ingress rule 0)");
    Ok(())
}

#[test]
fn too_many_to_look_at_each_alone_is_too_little_evidence() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    for number in 10..27 {
        let staged = examples::OPEN_8080_STAGED.replace("name: backend", &format!("name: web-{number}"));
        setup = setup.resource(&format!("{number}.yaml"), &staged);
    }
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    ask(&hosts, "frontend", 8080, 1)?;
    let report = report(&daemon, "0s", 1)?;
    assert_eq!(report["verdict"], "too-little-evidence", "{report:#}");
    assert!(
        reasons(&report)[0].starts_with("more than 16 policies are staged"),
        "{report:#}"
    );
    assert_eq!(report["alone"]["would_deny"], Value::Null);
    Ok(())
}

#[test]
fn a_report_fits_a_terminal_of_80_columns() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts, examples::OPEN_8080_STAGED)?;
    ask(&hosts, "frontend", 9090, 1)?;
    report(&daemon, "0s", 1)?;
    for command in ["staged", "flows"] {
        let said = eventually(PATIENCE, || {
            let said = daemon.cli_in(&[("COLUMNS", "80")], &[command])?.stdout;
            ensure!(said.contains("frontend-eth0"), "{said}");
            Ok(said)
        })?;
        let widest = said.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{said}");
    }
    Ok(())
}

#[test]
fn flows_are_filtered_and_read_from_files_too() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts, examples::OPEN_8080_STAGED)?;
    ask(&hosts, "frontend", 8080, 1)?;
    ask(&hosts, "database", 9090, 1)?;
    let count = |arguments: &[&str]| -> anyhow::Result<usize> {
        let lines = daemon.json(&[&["flows"], arguments].concat())?;
        Ok(lines.as_array().context("no list")?.len())
    };
    eventually(PATIENCE, || {
        ensure!(count(&["--direction", "ingress"])? == 2);
        Ok(())
    })?;
    let filters: [(&[&str], usize); 8] = [
        (&["--source", "frontend-eth0"], 1),
        (&["--source-label", "app=database"], 1),
        (&["--would-deny"], 1),
        (&["--port", "8080", "--policy", "backend", "--rule", "0"], 1),
        (
            &[
                "--where",
                "dest_port=9090",
                "--where",
                "policies.pending.kind=EndOfTier",
            ],
            1,
        ),
        (&["--where", "pending_action!=deny"], 1),
        (&["--until", "1h"], 0),
        (&["--limit", "1"], 1),
    ];
    for (arguments, expected) in filters {
        // What the host sends by itself, for its neighbours, goes out.
        let arguments = [&["--direction", "ingress"], arguments].concat();
        assert_eq!(count(&arguments)?, expected, "{arguments:?}");
    }
    let unknown = daemon.cli(&["flows", "--where", "port=1"])?;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("  dest_port\n"), "{unknown:?}");

    // The same from a file that was rotated and compressed, with a line that is spoiled, and one half written.
    let directory = tempfile::tempdir()?;
    let written: Vec<String> = daemon.records()?.iter().map(Value::to_string).collect();
    let text = written.join("\n") + "\nspoiled\n{\"type\":";
    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    compressed.write_all(text.as_bytes())?;
    std::fs::write(directory.path().join("flows.jsonl.1.gz"), compressed.finish()?)?;
    daemon.terminate()?;
    for path in [
        directory.path().to_owned(),
        directory.path().join("flows.jsonl.1.gz"),
    ] {
        let path = path.display().to_string();
        let read = daemon.cli(&["-o", "csv", "flows", "--file", &path, "--direction", "ingress"])?;
        assert_eq!((read.code, read.stdout.lines().count()), (Some(0), 3), "{read:?}");
        assert!(read.stderr.contains("1 lines of"), "{read:?}");
    }
    Ok(())
}
