//! A real `palisaded` in a throwaway host.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use palisade::lab::{Host, Namespace, Process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Counters, Disk, Setup, eventually, palisade, palisaded};

/// How long the daemon may take for anything it is asked, and to load what is as large as it gets.
const PATIENCE: Duration = Duration::from_mins(1);

/// A daemon in a host, with configuration, resources and state in a directory of its own. Killed when dropped; its
/// rules go with the host.
#[derive(Debug)]
pub struct Daemon {
    namespace: Namespace,
    process: Process,
    environment: BTreeMap<String, OsString>,
    under: Vec<String>,
    disk: Option<Disk>,
    directory: TempDir,
}

/// Packets and bytes of named counters.
pub type CounterValues = BTreeMap<String, (u64, u64)>;

/// What a command said.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Daemon {
    /// Starts one, and waits until it says it is ready.
    ///
    /// # Errors
    /// With the daemon's log, if it ends instead.
    pub fn start(host: &Host, setup: &Setup) -> anyhow::Result<Self> {
        Self::start_with_flows(host, setup, "")
    }

    /// As [`Daemon::start`], with more of `flows` in the configuration: `includeAddresses: true`. The interval is 200 ms
    /// unless it says another.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with_flows(host: &Host, setup: &Setup, flows: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("palisade-test-").tempdir()?;
        let path = directory.path();
        let disk = setup
            .disk
            .map(|kilobytes| Disk::mount(path, kilobytes))
            .transpose()?;
        for part in ["policy.d", "state", "log"] {
            std::fs::create_dir(path.join(part))?;
        }
        let here = path.display();
        let state = setup.state_dir.clone().unwrap_or_else(|| path.join("state"));
        let state = state.display();
        let interval = if flows.contains("interval:") {
            ""
        } else {
            "interval: 200ms, "
        };
        let configuration = format!(
            "node: {}\npolicyDir: {here}/policy.d\nstateDir: {state}\nsocket: {here}/palisade.sock\n\
             flows: {{file: {here}/log/flows.jsonl, {interval}{flows}}}\n{}",
            setup.node, setup.config
        );
        std::fs::write(path.join("palisade.yaml"), configuration)?;
        for (file, text) in &setup.resources {
            std::fs::write(path.join("policy.d").join(file), text)?;
        }
        let namespace = host.namespace().clone();
        let process = start(&namespace, path, &setup.environment, &setup.under)?;
        Ok(Daemon {
            namespace,
            process,
            environment: setup.environment.clone(),
            under: setup.under.clone(),
            disk,
            directory,
        })
    }

    /// Starts it again after [`Daemon::kill9`] or [`Daemon::terminate`], with the same files.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.ended()?.is_some(), "the daemon is still running");
        self.process = start(
            &self.namespace,
            self.directory.path(),
            &self.environment,
            &self.under,
        )?;
        Ok(())
    }

    /// Starts it again in another host with the same files, as after a reboot: the kernel knows nothing any more.
    pub fn start_again_in(&mut self, host: &Host) -> anyhow::Result<()> {
        self.namespace = host.namespace().clone();
        self.start_again()
    }

    /// Runs `palisaded --boot` with its files in a host, as a boot does before the daemon starts.
    pub fn boot(&self, host: &Host) -> anyhow::Result<Output> {
        let mut command = Command::new(palisaded()?);
        command
            .arg("--boot")
            .arg("--config")
            .arg(self.configuration())
            .envs(&self.environment);
        run(host.namespace(), &command, "")
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub fn kill9(&self) -> anyhow::Result<()> {
        Ok(self.process.kill()?)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.process.signal(signal)?)
    }

    /// Ends it with SIGTERM, and waits until it has ended well.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(
            status.success(),
            "palisaded ended with {status} on SIGTERM:\n{}",
            self.log()
        );
        Ok(())
    }

    /// Writes a file into `policy.d`.
    pub fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.policy_file(file), text)?)
    }

    /// Removes a file from `policy.d`.
    pub fn remove(&self, file: &str) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.policy_file(file))?)
    }

    /// Where a file of `policy.d` is.
    pub fn policy_file(&self, file: &str) -> PathBuf {
        self.directory.path().join("policy.d").join(file)
    }

    /// Fills the disk of [`Setup::disk`], to the last byte.
    ///
    /// # Errors
    /// Without such a disk.
    pub fn fill_disk(&self) -> anyhow::Result<()> {
        ensure!(
            self.disk.is_some(),
            "there is no disk of its own, and another one must not be filled"
        );
        let mut file = std::fs::File::create(self.directory.path().join("full"))?;
        for size in [4096, 1] {
            loop {
                match file.write_all(&vec![0; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Makes room again on the disk that [`Daemon::fill_disk`] has filled.
    ///
    /// # Errors
    /// If it was not.
    pub fn empty_disk(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.directory.path().join("full"))?)
    }

    /// Where a file of its state directory is; of no name, where that is.
    pub fn state(&self, file: &str) -> PathBuf {
        self.directory.path().join("state").join(file)
    }

    /// Where its configuration is.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("palisade.yaml")
    }

    /// Sends SIGHUP, and waits until the reload has ended, well or not; gives `last_reload` of the status.
    pub fn reload(&self) -> anyhow::Result<Value> {
        let before = self.status()?["last_reload"]["at"].clone();
        self.process.signal(Signal::SIGHUP)?;
        eventually(PATIENCE, || {
            let last = self.status()?["last_reload"].clone();
            ensure!(
                last["at"] != before,
                "no reload has followed SIGHUP; the log:\n{}",
                self.log()
            );
            Ok(last)
        })
    }

    /// Sends SIGHUP, and waits until the reload has ended well.
    pub fn reload_well(&self) -> anyhow::Result<()> {
        let last = self.reload()?;
        ensure!(last["ok"] == true, "the reload was refused: {last:#}");
        Ok(())
    }

    /// Replaces a file of `policy.d` and reloads.
    pub fn apply(&self, file: &str, text: &str) -> anyhow::Result<()> {
        self.write(file, text)?;
        self.reload_well()
    }

    /// `palisade status`.
    pub fn status(&self) -> anyhow::Result<Value> {
        self.json(&["status"])
    }

    /// `palisade counters`.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let rows = self.json(&["counters"])?;
        Ok(Counters(
            serde_json::from_value(rows).context("`palisade counters -o json` has other fields")?,
        ))
    }

    /// Runs `palisade` with these arguments against this daemon.
    pub fn cli(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.cli_in(&[], arguments)
    }

    /// As [`Daemon::cli`], in an environment with these variables.
    pub fn cli_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(palisade()?);
        command
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .envs(&self.environment)
            .envs(environment.iter().copied());
        run(&self.namespace, &command, "")
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("palisade.sock")
    }

    /// Runs `palisade -o json` with these arguments, which must not fail, and reads what it says.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.cli(&[&["-o", "json"], arguments].concat())?;
        let said = serde_json::from_str(&output.stdout);
        said.with_context(|| {
            format!(
                "palisade {arguments:?} gave no JSON: {output:?}; the log:\n{}",
                self.log()
            )
        })
    }

    /// Runs `nft` in the daemon's host; it must not fail.
    pub fn nft(&self, arguments: &[&str]) -> anyhow::Result<String> {
        nft(&self.namespace, arguments, "")
    }

    /// Our table, as `nft` lists it.
    pub fn listing(&self) -> anyhow::Result<String> {
        self.nft(&["list", "table", "inet", "palisade"])
    }

    /// What the kernel holds of our table: its listing with handles, and the values of its counters.
    ///
    /// Left out are the values of the failsafes for ICMPv6: neighbours ask for each other whenever they like.
    pub fn held(&self) -> anyhow::Result<(String, CounterValues)> {
        let listing = self.nft(&["-a", "-s", "list", "table", "inet", "palisade"])?;
        let mut counters = self.nft_counters()?;
        counters.retain(|name, _| !(name.starts_with("failsafe/") && name.ends_with("/icmpv6")));
        Ok((listing, counters))
    }

    /// Packets and bytes of every named counter, as `nft` reads them from the kernel.
    pub fn nft_counters(&self) -> anyhow::Result<CounterValues> {
        let listed: Value =
            serde_json::from_str(&self.nft(&["-j", "list", "counters", "table", "inet", "palisade"])?)?;
        let objects = listed["nftables"].as_array().context("nft gave no list")?;
        let counter = |object: &Value| {
            let counter = object.get("counter")?;
            let name = counter["name"].as_str()?.to_owned();
            Some((name, (counter["packets"].as_u64()?, counter["bytes"].as_u64()?)))
        };
        Ok(objects.iter().filter_map(counter).collect())
    }

    /// Makes sure that `palisade counters` and `nft list counters` say the same of every counter.
    pub fn agrees_with_nft(&self) -> anyhow::Result<()> {
        // Neighbours may ask for each other between the two.
        eventually(PATIENCE, || {
            let shown = self.counters()?;
            let shown = shown.rows().iter();
            let shown: CounterValues = shown
                .map(|row| (row.counter.clone(), (row.packets_total, row.bytes_total)))
                .collect();
            let listed = self.nft_counters()?;
            ensure!(
                listed == shown,
                "nft lists {listed:#?}\npalisade shows {shown:#?}"
            );
            Ok(())
        })
    }

    /// The flow and rule records written so far.
    pub fn records(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.records_file())?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?)
    }

    /// Where its flow records are.
    pub fn records_file(&self) -> PathBuf {
        self.directory.path().join("log/flows.jsonl")
    }

    /// What the daemon has written to standard output since it was started last.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// Asks the API for a path, and gives the body of the answer.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        let socket = UnixStream::connect(self.directory.path().join("palisade.sock"))?;
        http_get(socket, path)
    }

    /// What the daemon has logged since it was started last.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// The host it runs in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

/// Asks for a path over HTTP, and gives the body of the answer, which must be a good one.
pub fn http_get(mut connection: impl Read + Write, path: &str) -> anyhow::Result<String> {
    write!(connection, "GET {path} HTTP/1.0\r\nHost: palisade\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer in HTTP")?;
    ensure!(head.contains(" 200 "), "{path}: {answer}");
    Ok(body.to_owned())
}

/// Runs `nft` in a namespace with `input` on standard input; it must not fail.
pub fn nft(namespace: &Namespace, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let output = run(namespace, Command::new("nft").args(arguments), input)?;
    ensure!(
        output.code == Some(0),
        "nft {arguments:?} failed: {}\nits input was:\n{input}",
        output.stderr
    );
    Ok(output.stdout)
}

fn run(namespace: &Namespace, command: &Command, input: &str) -> anyhow::Result<Output> {
    let output = namespace.output(command, input)?;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn start(
    namespace: &Namespace,
    directory: &Path,
    environment: &BTreeMap<String, OsString>,
    under: &[String],
) -> anyhow::Result<Process> {
    let notify = directory.join("notify.sock");
    // Left by the daemon's last start.
    let _ = std::fs::remove_file(&notify);
    let ready = UnixDatagram::bind(&notify)?;
    ready.set_read_timeout(Some(Duration::from_millis(20)))?;
    let words = under.iter().map(OsString::from);
    let mut words = words.chain([palisaded()?.into_os_string()]);
    let mut command = Command::new(words.next().context("no program")?);
    command
        .args(words)
        .arg("--config")
        .arg(directory.join("palisade.yaml"))
        .env("NOTIFY_SOCKET", &notify)
        .envs(environment);
    let process = namespace.spawn(&command)?;
    let started = Instant::now();
    let mut message = [0; 4096];
    loop {
        let length = ready.recv(&mut message).unwrap_or(0);
        if String::from_utf8_lossy(&message[..length])
            .lines()
            .any(|line| line == "READY=1")
        {
            return Ok(process);
        }
        if let Some(status) = process.ended()? {
            // What it said last may still be in the pipe.
            std::thread::sleep(Duration::from_millis(100));
            return Err(anyhow!(
                "palisaded ended with {status} before it was ready:\n{}",
                process.stderr()
            ));
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "palisaded was not ready after {PATIENCE:?}:\n{}",
                process.stderr()
            );
        }
    }
}
