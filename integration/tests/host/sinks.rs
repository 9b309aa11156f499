//! Records go to every sink that is well, whatever becomes of the others, and what is missed is counted. Needs root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use flate2::read::MultiGzDecoder;
use palisade_integration::{Collector, Daemon, Setup, ThreeHosts, eventually, examples, http_get, promtool};
use serde_json::Value;

/// Several flow intervals, and the attempts to reach a collector that is gone.
const PATIENCE: Duration = Duration::from_secs(20);

const METRICS: &str = "127.0.0.1:9757";

/// Addresses of others, in a set.
const WITH_A_SET: &str = "apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: from-the-database}
spec:
  selector: app == 'backend'
  order: 10
  ingress:
    - {action: Allow, protocol: TCP, source: {selector: app == 'database'}, destination: {ports: [7000]}}
";

fn staged_backend(hosts: &ThreeHosts, flows: &str) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    Daemon::start_with_flows(hosts.host("backend"), &setup, flows)
}

/// How a sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sink {
    offered: u64,
    written: u64,
    missed: u64,
    suppressed: u64,
    queued: u64,
}

fn sinks(daemon: &Daemon) -> anyhow::Result<BTreeMap<String, Sink>> {
    let status = daemon.status()?;
    let sinks = status["flows"]["sinks"].as_array().context("no sinks")?;
    let sink = |sink: &Value| {
        let number = |field: &str| {
            sink[field]
                .as_u64()
                .with_context(|| format!("no {field} in {sink}"))
        };
        let numbers = Sink {
            offered: number("offered")?,
            written: number("written")?,
            missed: number("missed")?,
            suppressed: number("suppressed")?,
            queued: number("queued")?,
        };
        let sum = numbers.written + numbers.missed + numbers.suppressed + numbers.queued;
        ensure!(sum == numbers.offered, "{sink} does not add up");
        Ok((sink["name"].as_str().context("no name")?.to_owned(), numbers))
    };
    sinks.iter().map(sink).collect()
}

/// Waits until the sinks have nothing to write and `check` is content with what they have written, and gives that.
fn settled(
    daemon: &Daemon,
    mut check: impl FnMut(&BTreeMap<String, Sink>) -> anyhow::Result<()>,
) -> anyhow::Result<BTreeMap<String, Sink>> {
    eventually(PATIENCE, || {
        let before = sinks(daemon)?;
        check(&before)?;
        let after = sinks(daemon)?;
        ensure!(
            before == after && before.values().all(|sink| sink.queued == 0),
            "{before:#?} and then {after:#?}"
        );
        Ok(before)
    })
}

fn lines(text: &str) -> u64 {
    text.lines().count() as u64
}

#[test]
fn dead_sinks_keep_nobody_waiting_and_every_record_is_accounted_for() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let namespace = hosts.host("backend").namespace();
    let collector = Collector::start(namespace, 4318)?;
    let backend = staged_backend(
        &hosts,
        &format!(
            "records: all, journald: true, stdout: true, prometheus: {{listen: '{METRICS}'}}, \
             otlp: {{endpoint: 'http://127.0.0.1:4318', timeout: 500ms}}"
        ),
    )?;
    hosts.between("frontend", "backend")?;
    let all = settled(&backend, |all| {
        let (file, taken) = (&all["file"], collector.taken());
        let written = lines(&fs::read_to_string(backend.records_file())?);
        ensure!(file.written == written, "{written} lines, {file:?}");
        ensure!(file.missed == 0, "{file:?}");
        let written = lines(&backend.stdout());
        ensure!(all["stdout"].written == written, "{written} lines, {all:#?}");
        let written = (taken.events.len() + taken.points) as u64;
        ensure!(all["otlp"].written == written, "{written} taken, {all:#?}");
        let flows = taken.events.iter().filter(|event| *event == "palisade.flow");
        ensure!(flows.count() > 0, "no flows yet");
        Ok(())
    })?;
    for name in ["stdout", "otlp"] {
        assert_eq!(all[name], all["file"], "{name} takes what the file takes");
    }
    let journal = Path::new("/run/systemd/journal/socket").exists();
    if !journal {
        assert_eq!(all["journald"].missed, all["journald"].offered, "nobody is there");
        assert!(all["journald"].offered > 0);
    }

    // Dead in the middle: the file goes on.
    let before = all["otlp"].clone();
    drop(collector);
    hosts.between("database", "backend")?;
    let all = settled(&backend, |all| {
        ensure!(all["otlp"].missed > 0, "{all:#?}");
        let from_database = backend
            .records()?
            .into_iter()
            .any(|record| record["source_name"] == "database-eth0");
        ensure!(from_database, "the file does not go on");
        Ok(())
    })?;
    assert_eq!(all["otlp"].written, before.written);
    assert_eq!(
        (all["file"].missed, all["file"].written),
        (0, lines(&fs::read_to_string(backend.records_file())?))
    );

    // It is told where one looks for it, and in words.
    let scrape = || -> anyhow::Result<String> {
        let connection = namespace.run(|| TcpStream::connect(METRICS))??;
        http_get(connection, "/metrics")
    };
    let missed = |text: &str| -> Option<u64> {
        let prefix = "palisade_sink_missed_total{sink=\"otlp\"} ";
        text.lines()
            .find_map(|line| line.strip_prefix(prefix))?
            .parse()
            .ok()
    };
    assert_eq!(missed(&scrape()?), Some(all["otlp"].missed));
    let status = backend.cli(&["status"])?.stdout;
    assert!(
        status.contains(&format!("{} MISSED; last trouble at", all["otlp"].missed)),
        "{status}"
    );

    // Nobody reads the FIFO that takes the file's place; nor does that keep the daemon from ending well.
    fs::remove_file(backend.records_file())?;
    nix::unistd::mkfifo(&backend.records_file(), nix::sys::stat::Mode::S_IRWXU)?;
    hosts.between("frontend", "backend")?;
    settled(&backend, |all| {
        let (file, stdout) = (&all["file"], &all["stdout"]);
        ensure!(file.missed > 0 && file.offered == stdout.offered, "{all:#?}");
        ensure!(stdout.missed == 0, "{stdout:?}");
        Ok(())
    })?;
    backend.terminate()
}

#[test]
fn only_what_is_notable_is_written_and_the_rest_is_said() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged_backend(&hosts, "records: notable")?;
    eventually(PATIENCE, || {
        // What is seen again, and is neither denied nor would be, is left out.
        hosts.between("frontend", "backend")?;
        let file = &sinks(&backend)?["file"];
        ensure!(file.suppressed > 0 && file.missed == 0, "{file:?}");
        Ok(())
    })?;
    settled(&backend, |_| Ok(()))?;
    let records = backend.records()?;
    let intervals = records.iter().filter(|record| record["type"] == "interval");
    let of = |field: &str| -> u64 {
        intervals
            .clone()
            .filter_map(|record| record[field].as_u64())
            .sum()
    };
    let flows: u64 = records
        .iter()
        .filter(|record| record["type"] == "flow")
        .filter_map(|record| record["evaluated"].as_u64())
        .sum();
    assert!(
        of("suppressed") > 0 && of("suppressed_evaluated") > 0,
        "{records:#?}"
    );
    assert_eq!(of("evaluated"), flows + of("suppressed_evaluated"));
    Ok(())
}

#[test]
fn rotation_under_load_loses_no_record() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged_backend(
        &hosts,
        "records: all, rotate: {size: 16K, every: none, keep: 1000}",
    )?;
    let file = backend.records_file();
    let directory = file.parent().context("no directory")?;
    let full = || -> anyhow::Result<Vec<_>> {
        let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
        let paths = entries.into_iter().map(|entry| entry.path());
        Ok(paths.filter(|path| *path != file).collect())
    };
    eventually(PATIENCE, || {
        hosts.matrix()?;
        let full = full()?;
        ensure!(full.len() >= 5, "{full:?}");
        Ok(())
    })?;
    settled(&backend, |all| {
        let mut written = lines(&fs::read_to_string(&file)?);
        for path in full()? {
            ensure!(
                path.extension().is_some_and(|end| end == "gz"),
                "{}",
                path.display()
            );
            let mut text = String::new();
            MultiGzDecoder::new(BufReader::new(File::open(&path)?)).read_to_string(&mut text)?;
            for line in text.lines() {
                serde_json::from_str::<Value>(line).with_context(|| path.display().to_string())?;
            }
            written += lines(&text);
        }
        let sink = &all["file"];
        ensure!(
            (sink.written, sink.missed) == (written, 0) && sink.offered == written,
            "{written} lines are in the files: {sink:?}"
        );
        Ok(())
    })?;
    Ok(())
}

#[test]
fn prometheus_reads_the_metrics_and_they_name_no_address() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED)
        .resource("30-set.yaml", WITH_A_SET);
    let backend = Daemon::start_with_flows(hosts.host("backend"), &setup, "includeAddresses: true")?;
    hosts.between("frontend", "backend")?;
    let would_deny = "palisade_would_deny_connections_total{direction=\"ingress\",tier=\"default\",namespace=\"\",\
                      policy=\"backend-lockdown-staged\"} 8";
    let text = eventually(PATIENCE, || {
        let text = backend.get("/metrics")?;
        ensure!(text.lines().any(|line| line == would_deny), "{text}");
        Ok(text)
    })?;
    let mut check = Command::new(promtool()?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = check.stdin.take().context("no standard input")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = check.wait_with_output()?;
    assert!(
        output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
        "{}{}\n{text}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for address in ["10.42.0", "fd00:42"] {
        assert!(!text.contains(address), "{text}");
    }
    for name in [
        "palisade_build_info",
        "palisade_generation",
        "palisade_apply_duration_seconds_bucket",
        "palisade_rule_packets_total",
        "palisade_rule_bytes_total",
        "palisade_failsafe_packets_total",
        "palisade_set_elements",
        "palisade_nflog_lost_total",
        "palisade_sink_written_total",
    ] {
        assert!(text.contains(&format!("\n{name}")), "{name} is missing:\n{text}");
    }
    Ok(())
}

/// The alert rules are valid, and ask for nothing that is not there.
#[test]
fn prometheus_takes_the_alert_rules() -> anyhow::Result<()> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/prometheus/alerts.yaml");
    let output = Command::new(promtool()?)
        .args(["check", "rules"])
        .arg(&rules)
        .output()?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/src/api/metrics.rs"))?;
    let text = fs::read_to_string(rules)?;
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let asked = text.split(word).filter(|word| word.starts_with("palisade_"));
    for name in asked {
        ensure!(source.contains(&format!("\"{name}\"")), "nothing serves {name}");
    }
    Ok(())
}
