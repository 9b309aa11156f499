//! The daemon is killed before each of the calls that a change is made of, one after the other, and started again: files
//! and kernel are wholly before the change or wholly after it, and nothing unconfirmed is in force. Needs root.
//!
//! `strace` kills, at the entry of a call that changes files, and at the calls before and after a transaction: each is once the
//! last one of the daemon's life.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use palisade::lab::Process;
use palisade_integration::{Daemon, Pair, Setup, eventually, nft};

const PATIENCE: Duration = Duration::from_secs(20);

/// A window that no test waits for.
const LONG: &str = "10m";

/// Calls that change which files there are, and what is in them: whatever is written is written aside, and renamed.
const FILES: [&str; 8] = [
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
];

/// The call that talks to the kernel, and what it says when it changes something.
const KERNEL: &str = "sendto";
const TRANSACTION: &str = "NFNL_MSG_BATCH_BEGIN";

/// A host whose two staged policies are in a file each, so that there is something between two files.
fn setup() -> Setup {
    let staged = |port: u16| {
        format!(
            "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {{name: only-{port}}}
spec:
  order: {port}
  selector: app == 'server'
  types: [Ingress]
  ingress:
    - {{action: Deny, protocol: UDP, destination: {{ports: [{port}]}}}}
"
        )
    };
    Setup::new("server")
        .resource("host.yaml", HOST)
        .resource("one.yaml", staged(7001))
        .resource("two.yaml", staged(7002))
}

const HOST: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: server-eth0, labels: {app: server}}
spec: {node: server, interfaceName: eth0, profiles: [projectcalico-default-allow]}
";

const PROMOTE: &[&str] = &["promote", "--all", "--confirm-within", LONG, "--force"];

/// A change, and what comes before it.
struct Change {
    before: &'static [&'static [&'static str]],
    command: &'static [&'static str],
}

/// What there is of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// The chains and sets of our table, in no order, without numbers of generations.
    rules: Vec<String>,
    /// The files that are read.
    files: BTreeMap<String, String>,
}

impl Seen {
    fn of(daemon: &Daemon) -> anyhow::Result<Self> {
        let listing = daemon.nft(&["-s", "list", "table", "inet", "palisade"])?;
        let mut rules: Vec<String> = listing
            .trim_start_matches("table inet palisade {")
            .trim_end()
            .trim_end_matches('}')
            .split("\n\n")
            .map(|block| block.trim().lines().map(unnumbered).collect())
            .collect();
        rules.sort();
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(daemon.policy_file(""))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                files.insert(name, std::fs::read_to_string(entry.path())?);
            }
        }
        Ok(Seen { rules, files })
    }

    /// All but counters: one that no rule names decides nothing.
    fn deciding(&self) -> impl Iterator<Item = &String> {
        self.rules
            .iter()
            .filter(|block| block.starts_with("chain ") || block.starts_with("set "))
    }
}

/// A line of a listing without the number of a generation.
fn unnumbered(line: &str) -> String {
    let has_number = line.contains("log prefix") || line.contains("generation");
    let kept = line.chars().filter(|char| !has_number || !char.is_ascii_digit());
    kept.chain(['\n']).collect()
}

/// Starts a daemon on a host that knows nothing, and lets happen what comes before the change.
fn prepared(pair: &Pair, change: &Change) -> anyhow::Result<Daemon> {
    let server = pair.server();
    nft(server.namespace(), &["flush", "ruleset"], "")?;
    let daemon = Daemon::start_with_flows(server, &setup(), "interval: 1h")?;
    for command in change.before {
        well(&daemon, command)?;
    }
    Ok(daemon)
}

/// A call of that name, and the how manieth of that name in its thread it is, counted from one.
type Call = (String, usize);

/// Traces the daemon; kills it before that call.
fn trace(daemon: &Daemon, call: Option<&Call>) -> anyhow::Result<Process> {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "256", "-p", &daemon.pid().to_string()]);
    command.args(["-e", &format!("trace={},{KERNEL}", FILES.join(","))]);
    if let Some((name, number)) = call {
        command.args(["-e", &format!("inject={name}:signal=SIGKILL:when={number}")]);
    }
    let strace = daemon
        .namespace()
        .spawn(&command)
        .context("strace cannot be started: install Debian's package strace")?;
    eventually(PATIENCE, || {
        let said = strace.stderr();
        ensure!(said.contains("attached"), "strace: {said}");
        Ok(())
    })?;
    Ok(strace)
}

/// The calls to be killed before: those that change files, and those around a transaction.
fn calls(trace: &str) -> BTreeSet<Call> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut calls = BTreeSet::new();
    for line in trace.lines() {
        // `[pid 1234] rename("/...`
        let Some((thread, call)) = line.split_once("] ") else {
            continue;
        };
        let Some((name, _)) = call.split_once('(') else {
            continue;
        };
        let number = counts.entry((thread, name)).or_default();
        *number += 1;
        if FILES.contains(&name) {
            calls.insert((name.to_owned(), *number));
        } else if name == KERNEL && call.contains(TRANSACTION) {
            calls.extend([*number, *number + 1].map(|number| (name.to_owned(), number)));
        }
    }
    calls
}

/// What there may be when the daemon is killed on the way, and what a restart may make of that.
struct Expected {
    meanwhile: [Seen; 2],
    back: Seen,
    there: Seen,
}

impl Expected {
    /// Of a change that nothing happens to.
    fn of(pair: &Pair, change: &Change) -> anyhow::Result<Self> {
        let restarted = |mut daemon: Daemon| {
            daemon.kill9()?;
            daemon.start_again()?;
            Seen::of(&daemon)
        };
        let daemon = prepared(pair, change)?;
        let before = Seen::of(&daemon)?;
        let back = restarted(daemon)?;
        let daemon = prepared(pair, change)?;
        well(&daemon, change.command)?;
        let after = Seen::of(&daemon)?;
        assert_ne!(before, after);
        Ok(Expected {
            meanwhile: [before, after],
            back,
            there: restarted(daemon)?,
        })
    }
}

/// Kills before each call of the change, and gives how many times that was.
fn kill_everywhere(change: &Change) -> anyhow::Result<usize> {
    let pair = Pair::new()?;
    let expected = Expected::of(&pair, change)?;
    let undisturbed = kill_before(&pair, change, None, &expected)?;
    let mut killed = 0;
    for call in calls(&undisturbed.context("killed by nobody")?) {
        // What another thread has done this time, later than it, may have no such call.
        killed += usize::from(kill_before(&pair, change, Some(&call), &expected)?.is_none());
    }
    Ok(killed)
}

/// Kills before one call; gives the trace if there is no such call.
fn kill_before(
    pair: &Pair,
    change: &Change,
    call: Option<&Call>,
    expected: &Expected,
) -> anyhow::Result<Option<String>> {
    let mut daemon = prepared(pair, change)?;
    let strace = trace(&daemon, call)?;
    let said = daemon.cli(change.command)?;
    let is_done = said.code == Some(0);
    // What is only noted is noted after the answer.
    let mut traced = 0;
    while is_done && strace.ended()?.is_none() && traced < strace.stderr().len() {
        traced = strace.stderr().len();
        thread::sleep(Duration::from_millis(300));
    }
    if is_done && strace.ended()?.is_none() {
        return Ok(Some(strace.stderr()));
    }
    daemon.kill9()?;
    let checked = check(&mut daemon, expected, is_done);
    checked.with_context(|| {
        let trace = strace.stderr();
        let is_change = |line: &&str| !line.contains(KERNEL) || line.contains(TRANSACTION);
        let steps: Vec<&str> = trace.lines().filter(is_change).collect();
        format!("{:?} before call {call:?}: {said:?}\n{steps:#?}", change.command)
    })?;
    Ok(None)
}

/// Looks at what a killed daemon has left, and at what a restart makes of it.
fn check(daemon: &mut Daemon, expected: &Expected, is_done: bool) -> anyhow::Result<()> {
    let left = Seen::of(daemon)?;
    ensure!(
        expected
            .meanwhile
            .iter()
            .any(|whole| whole.deciding().eq(left.deciding())),
        "the kernel holds a part: {left:#?}"
    );
    daemon.start_again()?;
    let log = daemon.log();
    let now = Seen::of(daemon)?;
    ensure!(
        now == expected.there || !is_done && now == expected.back,
        "neither before nor after: {now:#?}\n{log}"
    );
    let status = daemon.status()?;
    ensure!(status["unconfirmed"].is_null(), "{status:#}");
    ensure!(status["last_reload"]["ok"] == true, "{status:#}");
    let history = daemon.json(&["history"])?;
    let rows = history.as_array().context("no history")?;
    ensure!(
        rows.iter().all(|row| row["state"] != "unconfirmed"),
        "{history:#}"
    );
    ensure!(
        !daemon.state("unconfirmed.json").exists(),
        "the note is still there"
    );
    nothing_is_left(daemon)
}

/// Makes sure that nothing is stored but whole generations, and what they are made of.
fn nothing_is_left(daemon: &Daemon) -> anyhow::Result<()> {
    let mut named = String::new();
    for entry in std::fs::read_dir(daemon.state("generations"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "files" {
            continue;
        }
        let number = name
            .strip_suffix(".json")
            .and_then(|name| name.parse::<u64>().ok());
        ensure!(number.is_some(), "{name} is left");
        named += &std::fs::read_to_string(entry.path())?;
    }
    for entry in std::fs::read_dir(daemon.state("generations/files"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(
            named.contains(&name),
            "files/{name} is left, and no generation has it"
        );
    }
    Ok(())
}

fn well(daemon: &Daemon, command: &[&str]) -> anyhow::Result<()> {
    let said = daemon.cli(command)?;
    ensure!(said.code == Some(0), "{command:?}: {said:?}\n{}", daemon.log());
    Ok(())
}

#[test]
fn promote() -> anyhow::Result<()> {
    let change = Change {
        before: &[],
        command: PROMOTE,
    };
    let killed = kill_everywhere(&change)?;
    println!("killed {killed} times");
    ensure!(killed > 6, "killed {killed} times only");
    Ok(())
}

#[test]
fn confirm() -> anyhow::Result<()> {
    let change = Change {
        before: &[PROMOTE],
        command: &["confirm"],
    };
    let killed = kill_everywhere(&change)?;
    println!("killed {killed} times");
    ensure!(killed > 6, "killed {killed} times only");
    Ok(())
}

#[test]
fn roll_back() -> anyhow::Result<()> {
    let change = Change {
        before: &[PROMOTE],
        command: &["rollback"],
    };
    let killed = kill_everywhere(&change)?;
    println!("killed {killed} times");
    ensure!(killed > 6, "killed {killed} times only");
    Ok(())
}

#[test]
fn go_back_to_a_stored_generation() -> anyhow::Result<()> {
    let change = Change {
        before: &[PROMOTE, &["confirm"]],
        command: &["rollback", "1", "--force"],
    };
    let killed = kill_everywhere(&change)?;
    println!("killed {killed} times");
    ensure!(killed > 6, "killed {killed} times only");
    Ok(())
}
