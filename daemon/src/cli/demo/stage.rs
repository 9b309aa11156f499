//! The hosts, their daemons, and the directory they all read their policies from.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use palisade_rules::resource::HostEndpoint;
use palisade_rules::snapshot::Snapshot;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::interrupt::Interrupt;
use super::matrix::PORTS;
use super::{broken, during};
use crate::api::client::{Client, ClientError};
use crate::api::types::Status;
use crate::cli::{Failure, fit};
use crate::flows::report::StagedReport;
use crate::lab::{Namespace, Network, Process, TcpServer};
use crate::source;

/// How long a daemon may take to start or reload; usually a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to rest between two looks.
const REST: Duration = Duration::from_millis(10);
/// How far what a command says is indented on the screen.
const INDENT: usize = 3;

/// A file of the examples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Example {
    /// Its name in the policy directory.
    pub(super) file: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
}

impl Example {
    /// Allow everything, consulted last.
    pub(super) const SAFETY_NET: Example = Example {
        file: "00-safety-net.yaml",
        text: include_str!("../../../../examples/00-safety-net.yaml"),
    };
    /// The database accepts the backend on 8080, and nothing else.
    pub(super) const DATABASE: Example = Example {
        file: "10-database.yaml",
        text: include_str!("../../../../examples/10-database.yaml"),
    };
    /// The backend accepts nothing; staged.
    pub(super) const LOCKDOWN: Example = Example {
        file: "20-backend-lockdown.yaml",
        text: include_str!("../../../../examples/20-backend-lockdown.yaml"),
    };
    /// The three hosts.
    pub(super) const HOSTS: Example = Example {
        file: "hosts.yaml",
        text: include_str!("../../../../examples/hosts.yaml"),
    };
}

/// Everything the demo makes. Dropping it takes everything down: daemons and servers first, then the namespaces, then
/// the directory.
#[derive(Debug)]
pub(super) struct Stage {
    hosts: Vec<Host>,
    _network: Network,
    directory: TempDir,
    palisade: PathBuf,
    runtime: Runtime,
    interrupt: Interrupt,
}

/// One host with its daemon and its servers.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    endpoint: HostEndpoint,
    namespace: Namespace,
    socket: PathBuf,
    client: Client,
    daemon: Process,
    _servers: TcpServer,
}

/// What a command said.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its exit code.
    pub(super) code: Option<i32>,
    /// Its output; standard error after it.
    pub(super) text: String,
}

impl Stage {
    /// Builds the hosts, and starts a daemon and the servers on each; all are ready when this returns.
    pub(super) fn build(interrupt: &Interrupt) -> Result<Self, Failure> {
        let (palisade, palisaded) = binaries()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let directory = tempfile::Builder::new().prefix("palisade-demo-").tempdir();
        let directory = directory.map_err(during(|| "make a directory for its files".to_owned()))?;
        let policies = directory.path().join("policy.d");
        fs::create_dir(&policies).map_err(during(|| format!("make {}", policies.display())))?;
        for example in [Example::HOSTS, Example::SAFETY_NET, Example::DATABASE] {
            write(&policies.join(example.file), example.text)?;
        }
        let endpoints: Vec<HostEndpoint> = resources(&policies)?
            .host_endpoints
            .into_values()
            .map(Arc::unwrap_or_clone)
            .collect();
        let addresses = |endpoint: &HostEndpoint| {
            let ips = endpoint.expected_ips.iter().copied();
            ips.map(with_prefix_length).collect::<Vec<_>>()
        };
        let network = endpoints.iter().fold(Network::builder(), |network, endpoint| {
            network.host(&endpoint.node, addresses(endpoint))
        });
        let network = network.build()?;
        let hosts = endpoints.into_iter().map(|endpoint| {
            let namespace = network.host(&endpoint.node).namespace().clone();
            Host::start(endpoint, namespace, directory.path(), &palisaded)
        });
        let stage = Stage {
            hosts: hosts.collect::<Result<_, _>>()?,
            _network: network,
            directory,
            palisade,
            runtime: runtime.map_err(during(|| "start an event loop".to_owned()))?,
            interrupt: interrupt.clone(),
        };
        for host in &stage.hosts {
            stage.wait(host, "start", |_| true)?;
        }
        Ok(stage)
    }

    /// The hosts, by name.
    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of that name.
    pub(super) fn host(&self, name: &str) -> Result<&Host, Failure> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.ok_or_else(|| broken(format!("the examples have no host {name}")))
    }

    /// The name of the host that an endpoint is on; an endpoint that is not known stands for itself.
    pub(super) fn host_of<'a>(&'a self, endpoint: &'a str) -> &'a str {
        let found = self.hosts.iter().find(|host| host.endpoint.name == endpoint);
        found.map_or(endpoint, Host::name)
    }

    /// The policy directory.
    pub(super) fn policies(&self) -> PathBuf {
        self.directory.path().join("policy.d")
    }

    /// The command line that is running.
    pub(super) fn palisade(&self) -> &Path {
        &self.palisade
    }

    /// Puts a file into the policy directory.
    pub(super) fn add(&self, example: Example) -> Result<(), Failure> {
        write(&self.policies().join(example.file), example.text)
    }

    /// Takes a file out of the policy directory.
    pub(super) fn remove(&self, example: Example) -> Result<(), Failure> {
        let path = self.policies().join(example.file);
        fs::remove_file(&path).map_err(during(|| format!("remove {}", path.display())))
    }

    /// Makes the staged policy in a file an enforced one, and gives the changed line before and after.
    pub(super) fn promote(&self, example: Example) -> Result<(String, String), Failure> {
        let path = self.policies().join(example.file);
        let text = fs::read_to_string(&path).map_err(during(|| format!("read {}", path.display())))?;
        let promoted = text.replacen("StagedGlobalNetworkPolicy", "GlobalNetworkPolicy", 1);
        write(&path, &promoted)?;
        let mut lines = text.lines().zip(promoted.lines());
        let (old, new) = lines
            .find(|(old, new)| old != new)
            .ok_or_else(|| broken(format!("{} holds no staged policy", path.display())))?;
        Ok((old.to_owned(), new.to_owned()))
    }

    /// Sends every daemon SIGHUP, and waits until each has what is in the policy directory in force.
    pub(super) fn reload(&self) -> Result<(), Failure> {
        let policies = resources(&self.policies())?.policies;
        let staged = policies.iter().filter(|policy| policy.staged.is_some()).count();
        let enforced = policies.len() - staged;
        let mut before = Vec::new();
        for host in &self.hosts {
            before.push(
                self.status(host)
                    .map_err(|error| broken(error.to_string()))?
                    .last_reload
                    .at,
            );
            host.daemon.signal(Signal::SIGHUP)?;
        }
        for (host, before) in self.hosts.iter().zip(before) {
            self.wait(host, "reload", |status| {
                // A change of addresses counts as a reload too, of the policies read before.
                let reload = &status.last_reload;
                let read = (status.enforced_policies, status.staged_policies) == (enforced, staged);
                reload.at != before && (read || !reload.ok)
            })?;
        }
        Ok(())
    }

    /// A host's report of the one policy that is staged on it.
    pub(super) fn staged(&self, host: &str) -> Result<StagedReport, Failure> {
        self.check()?;
        let client = &self.host(host)?.client;
        let reports: Vec<StagedReport> = self
            .runtime
            .block_on(client.get("/v1/staged"))
            .map_err(|error| broken(error.to_string()))?;
        let report = reports.into_iter().next();
        report.ok_or_else(|| broken(format!("the daemon of {host} knows of no staged policy")))
    }

    /// Runs a command on a host; `palisade` is the one that is running, with the host's own daemon.
    pub(super) fn command(&self, host: &str, program: &str, args: &[&str]) -> Result<Answer, Failure> {
        self.check()?;
        let host = self.host(host)?;
        let path = match program {
            "palisade" => self.palisade.as_path(),
            other => Path::new(other),
        };
        let mut command = Command::new(path);
        command.args(args).env("PALISADE_SOCKET", &host.socket);
        // What it says is shown indented, on the terminal that is ours and not its own.
        if let Some(width) = fit::width() {
            command.env("COLUMNS", width.saturating_sub(INDENT).to_string());
        }
        let output = host.namespace.output(&command, "")?;
        self.check()?;
        if output.status.code() == Some(127) {
            return Err(broken(format!("the demo needs {program}: is it installed?")));
        }
        let text = [output.stdout, output.stderr].concat();
        Ok(Answer {
            code: output.status.code(),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Takes everything down, and gives what is left all the same.
    pub(super) fn leave(self) -> BTreeSet<String> {
        let daemons = self
            .hosts
            .iter()
            .map(|host| format!("/proc/{}", host.daemon.id()));
        let mut traces: Vec<PathBuf> = daemons.map(PathBuf::from).collect();
        traces.push(self.directory.path().to_owned());
        drop(self);
        let left = traces.into_iter().filter(|trace| trace.exists());
        left.map(|trace| trace.display().to_string()).collect()
    }

    /// Waits for the Enter key, or the end of the input.
    pub(super) fn wait_for_enter(&self) -> Result<(), Failure> {
        const LOOK_UP: u16 = 100;
        let mut input = std::io::stdin();
        loop {
            self.check()?;
            let mut watched = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
            // Interrupted by a signal or not, the next look tells.
            if poll(&mut watched, LOOK_UP).is_ok_and(|ready| ready > 0) {
                // A whole line, or nothing at the end of the input.
                let _ = input.read(&mut [0; 1024]);
                return Ok(());
            }
        }
    }

    /// Rests a moment before the next look.
    pub(super) fn rest(&self) -> Result<(), Failure> {
        self.check()?;
        thread::sleep(REST);
        Ok(())
    }

    /// Fails if the demo was asked to end.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.interrupt.check()
    }

    fn status(&self, host: &Host) -> Result<Status, ClientError> {
        self.runtime.block_on(host.client.get("/v1/status"))
    }

    /// Waits until a daemon is as it should be.
    fn wait(&self, host: &Host, what: &str, is_so: impl Fn(&Status) -> bool) -> Result<(), Failure> {
        let started = Instant::now();
        let trouble = |why: &str| {
            broken(format!(
                "palisaded on {} did not {what}: {why}\n{}",
                host.name(),
                host.daemon.stderr()
            ))
        };
        loop {
            match self.status(host) {
                Ok(status) if is_so(&status) => {
                    return match status.last_reload.error {
                        None => Ok(()),
                        Some(error) => Err(trouble(&error)),
                    };
                }
                Ok(_) | Err(ClientError::Unreachable { .. }) => {}
                Err(other) => return Err(trouble(&other.to_string())),
            }
            self.rest()?;
            if let Some(status) = host.daemon.ended()? {
                return Err(trouble(&format!("it ended with {status}")));
            }
            if started.elapsed() > PATIENCE {
                return Err(trouble("it takes too long"));
            }
        }
    }
}

impl Host {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses: one of each IP version, IPv4 first.
    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.endpoint.expected_ips.iter().copied()
    }

    /// Its labels, for reading.
    pub(super) fn labels(&self) -> String {
        let labels = self.endpoint.labels.iter();
        let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(" ")
    }

    /// Where its programs run.
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its daemon's socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn start(
        endpoint: HostEndpoint,
        namespace: Namespace,
        directory: &Path,
        palisaded: &Path,
    ) -> Result<Self, Failure> {
        let name = endpoint.node.as_str();
        let here = directory.display();
        let socket = directory.join(format!("{name}.sock"));
        let config = directory.join(format!("{name}.yaml"));
        // The net is one of the example files here, so that it can be seen to come and go.
        write(
            &config,
            &format!(
                "node: {name}\nsafetyNet: false\npolicyDir: {here}/policy.d\nstateDir: {here}/{name}.state\n\
                 socket: {}\nflows: {{file: {here}/{name}.jsonl, interval: 200ms}}\n",
                socket.display()
            ),
        )?;
        let mut command = Command::new(palisaded);
        command.arg("--config").arg(&config);
        // The demo may itself run under systemd, which these daemons are none of.
        for variable in [
            "NOTIFY_SOCKET",
            "WATCHDOG_PID",
            "WATCHDOG_USEC",
            "JOURNAL_STREAM",
            "RUST_LOG",
        ] {
            command.env_remove(variable);
        }
        Ok(Host {
            _servers: TcpServer::start(&namespace, name, &PORTS)?,
            daemon: namespace.spawn(&command)?,
            client: Client::new(&socket),
            socket,
            namespace,
            name: endpoint.node.clone(),
            endpoint,
        })
    }
}

/// The running `palisade`, and the `palisaded` that was built or installed with it.
fn binaries() -> Result<(PathBuf, PathBuf), Failure> {
    let palisade = std::env::current_exe().map_err(during(|| "find its own program".to_owned()))?;
    let directory = palisade.parent().unwrap_or(Path::new("/"));
    // Where an installation keeps what only root runs.
    let places = [directory.join("palisaded"), directory.join("../sbin/palisaded")];
    let Some(palisaded) = places.iter().find(|path| path.is_file()) else {
        return Err(broken(format!(
            "the demo runs the palisaded beside {}, and there is none: build both (cargo build -p palisade)",
            palisade.display()
        )));
    };
    let palisaded = palisaded.clone();
    Ok((palisade, palisaded))
}

/// What is in the policy directory.
fn resources(directory: &Path) -> Result<Snapshot, Failure> {
    let reading = source::read(&[directory.to_owned()]).map_err(|error| broken(error.to_string()))?;
    let diagnostics = &reading.diagnostics;
    reading
        .snapshot
        .ok_or_else(|| broken(diagnostics.render(&reading.files, false)))
}

/// All hosts are in one network of each IP version.
fn with_prefix_length(ip: IpAddr) -> String {
    let length = if ip.is_ipv4() { 24 } else { 64 };
    // Both are within what the IP version allows.
    IpNet::new_assert(ip, length).to_string()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(during(|| format!("write {}", path.display())))
}
