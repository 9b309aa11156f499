//! A daemon that is killed at every step of a change: before each of its system calls that changes a directory or
//! makes a file last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;
use palisade::lab::Process;
use palisade_integration::{Daemon, Pair, eventually};

use super::{LONG, PATIENCE, well};

/// The staged policy of [`Pair::lockdown`], and its file.
const NAME: &str = "lockdown";
const FILE: &str = "staged.yaml";

/// What changes a directory, or makes a change last. What is only written into a file that has no name yet changes nothing.
const CALLS: &str =
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync";

/// A system call, and which one of a thread it is.
type Step = (String, u32);

/// What is in force, and the file that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// Chains, sets and counters, in no order: a change leaves what it need not touch where it stands.
    listing: BTreeSet<String>,
    text: String,
}

impl State {
    fn of(server: &Daemon) -> anyhow::Result<Self> {
        let listing = server.nft(&["-s", "list", "table", "inet", "palisade"])?;
        // Behind the table's name and comment.
        let objects = listing.splitn(3, '\n').last().unwrap_or_default();
        let objects = objects.split("\n\t}").map(|object| {
            // The generation's number in the prefixes of flow records: the next one is another.
            let parts = object.trim().split('/');
            let parts = parts.filter(|part| part.parse::<u64>().is_err());
            parts.collect::<Vec<_>>().join("/")
        });
        Ok(State {
            listing: objects.collect(),
            text: super::text(server, FILE)?,
        })
    }

    fn unlike(&self, other: &Self) -> String {
        let objects: Vec<_> = self.listing.symmetric_difference(&other.listing).collect();
        format!("{objects:#?}\n{}\ninstead of\n{}", self.text, other.text)
    }
}

/// Before and after a promotion.
struct Case {
    server: Daemon,
    before: State,
    after: State,
    _pair: Pair,
}

impl Case {
    fn new() -> anyhow::Result<Self> {
        let pair = Pair::new()?;
        let mut server = pair.daemon("")?;
        let before = State::of(&server)?;
        promote(&server)?;
        well(&server, &["confirm"])?;
        server.kill9()?;
        server.start_again()?;
        let after = State::of(&server)?;
        ensure!(before.listing != after.listing && before.text != after.text);
        server.apply(FILE, &before.text)?;
        let again = State::of(&server)?;
        ensure!(again == before, "{}", again.unlike(&before));
        Ok(Case {
            server,
            before,
            after,
            _pair: pair,
        })
    }

    /// Kills the daemon at every step of what `prepare` has made ready for, and looks at what is there after a restart.
    fn at_every_step(
        &mut self,
        prepare: impl Fn(&Daemon) -> anyhow::Result<()>,
        arguments: &[&str],
        becomes: impl Fn(&Case, bool) -> Vec<State>,
    ) -> anyhow::Result<()> {
        // Nothing is done to it the first time, but for counting.
        let mut steps = vec![None];
        let mut next = 0;
        let mut killed = 0;
        while let Some(step) = steps.get(next).cloned() {
            prepare(&self.server)?;
            let tracer = Tracer::attach(&self.server, step.as_ref())?;
            let said = self.server.cli(arguments)?;
            let (got_through, calls) = tracer.end(&self.server)?;
            self.server.start_again()?;
            let is = State::of(&self.server)?;
            let at = format!("{arguments:?}, killed at {step:?}: {said:?}");
            ensure!(
                becomes(self, said.code == Some(0)).contains(&is),
                "{at}: {}\n{}",
                is.unlike(&self.before),
                self.server.log()
            );
            ensure!(!self.server.state("unconfirmed.json").exists(), "{at}");
            let status = self.server.status()?;
            ensure!(status["unconfirmed"].is_null(), "{at}: {status:#}");
            ensure!(status["last_reload"]["ok"] == true, "{at}: {status:#}");
            if is != self.before {
                self.server.apply(FILE, &self.before.text)?;
            }
            if step.is_none() {
                ensure!(got_through && said.code == Some(0), "{at}");
                steps.extend(calls.into_iter().map(Some));
            }
            killed += usize::from(!got_through);
            next += 1;
        }
        println!(
            "{arguments:?}: killed at {killed} of {} steps: {steps:?}",
            steps.len() - 1
        );
        // What the daemon does behind the answer may come too late to be killed at.
        ensure!(killed > 5 && killed * 2 > steps.len(), "{killed}: {steps:?}");
        Ok(())
    }
}

fn promote(server: &Daemon) -> anyhow::Result<()> {
    let said = server.cli(&PROMOTE)?;
    ensure!(said.code == Some(0), "{said:?}\n{}", server.log());
    Ok(())
}

const PROMOTE: [&str; 6] = ["promote", NAME, "--confirm-within", LONG, "--force", "--no-wait"];

/// Kills a process before one of its system calls.
struct Tracer {
    process: Process,
    output: PathBuf,
}

impl Tracer {
    fn attach(server: &Daemon, step: Option<&Step>) -> anyhow::Result<Self> {
        let output = server.configuration().with_file_name("strace");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-p", &server.pid().to_string(), "-e"])
            .arg(format!("trace={CALLS}"))
            .arg("-o")
            .arg(&output);
        if let Some((call, number)) = step {
            command
                .arg("-e")
                .arg(format!("inject={call}:signal=SIGKILL:when={number}"));
        }
        let process = server.namespace().spawn(&command)?;
        eventually(PATIENCE, || {
            let said = process.stderr();
            ensure!(said.contains(" attached"), "strace: {said}");
            Ok(())
        })?;
        Ok(Tracer { process, output })
    }

    /// Kills it now at the latest. Gives whether it was still there, and what it has called.
    fn end(self, server: &Daemon) -> anyhow::Result<(bool, BTreeSet<Step>)> {
        let got_through = server.cli(&["status"])?.code == Some(0);
        server.kill9()?;
        self.process.wait(PATIENCE)?;
        let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut steps = BTreeSet::new();
        for line in std::fs::read_to_string(&self.output)?.lines() {
            let Some((head, _)) = line.split_once('(') else {
                continue;
            };
            let mut words = head.split_whitespace();
            // As strace counts: each call of each thread by itself.
            if let (Some(thread), Some(call), None) = (words.next(), words.next(), words.next()) {
                let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
                *count += 1;
                steps.insert((call.to_owned(), *count));
            }
        }
        Ok((got_through, steps))
    }
}

#[test]
fn promoting_is_undone_from_every_step() -> anyhow::Result<()> {
    let mut case = Case::new()?;
    case.at_every_step(|_| Ok(()), &PROMOTE, |case, _| vec![case.before.clone()])
}

#[test]
fn confirming_is_done_or_not_from_every_step() -> anyhow::Result<()> {
    let mut case = Case::new()?;
    case.at_every_step(promote, &["confirm"], |case, said| {
        if said {
            vec![case.after.clone()]
        } else {
            vec![case.before.clone(), case.after.clone()]
        }
    })
}

#[test]
fn rolling_back_goes_on_from_every_step() -> anyhow::Result<()> {
    let mut case = Case::new()?;
    case.at_every_step(promote, &["rollback"], |case, _| vec![case.before.clone()])
}
