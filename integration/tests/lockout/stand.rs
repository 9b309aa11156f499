//! A server that is managed over SSH, in a good state: nothing but what it needs is let in, and there is no safety net.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palisade::lab::Network;
use palisade_integration::{Clock, Daemon, Said, Setup, SshServer, SshSession, palisade};

use crate::mistake::Standing;
use crate::trouble::Trouble;

/// Where SSH listens: no failsafe holds this port open.
pub(crate) const SSH: u16 = 2222;

/// How long an answer over a session may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who gets no answer for so long gets none. On a slow machine that is too short, and then a test says too little.
const SILENCE: Duration = Duration::from_millis(400);

/// The files of the good state.
pub(crate) const GOOD: [(&str, &str); 6] = [
    ("admins.yaml", include_str!("good/admins.yaml")),
    ("endpoint.yaml", include_str!("good/endpoint.yaml")),
    ("lockdown.yaml", include_str!("good/lockdown.yaml")),
    ("out.yaml", include_str!("good/out.yaml")),
    ("ssh.yaml", include_str!("good/ssh.yaml")),
    ("web.yaml", include_str!("good/web.yaml")),
];

/// Files by name.
pub(crate) type Files = BTreeMap<String, String>;

/// The server, its daemon, and the operator's session.
pub(crate) struct Stand {
    network: Network,
    pub daemon: Daemon,
    server: SshServer,
    pub session: SshSession,
    address: IpAddr,
    port: u16,
    clock: Option<Clock>,
}

impl Stand {
    /// In the good state, ready for what is to happen.
    pub(crate) fn new(standing: Standing, trouble: Trouble) -> anyhow::Result<Self> {
        let network = Network::builder()
            .host("server", ["10.9.0.1/16", "fd00:9::1/64"])
            .host("operator", ["10.9.0.2/16", "fd00:9::2/64"])
            .build()?;
        let host = network.host("server");
        let setup = GOOD.iter().fold(
            Setup::new("server").config(standing.config),
            |setup, (file, text)| setup.resource(file, *text),
        );
        let (setup, clock) = trouble.ready(setup)?;
        let daemon = Daemon::start(host, &setup)?;
        let server = SshServer::start(host.namespace(), standing.port)?;
        let address = if standing.over_ipv6 {
            host.ipv6()
        } else {
            host.ipv4()
        };
        let operator = network.host("operator").namespace();
        let session = server
            .session(operator, address)
            .with_context(|| format!("the good state is none; palisaded's log:\n{}", daemon.log()))?;
        Ok(Stand {
            network,
            daemon,
            server,
            session,
            address,
            port: standing.port,
            clock,
        })
    }

    /// The clock that the daemon goes by.
    pub(crate) fn clock(&self) -> anyhow::Result<&Clock> {
        self.clock
            .as_ref()
            .context("the daemon goes by the clock of this machine")
    }

    /// Runs `palisade` in the operator's session.
    pub(crate) fn palisade(&mut self, arguments: &str) -> anyhow::Result<Said> {
        let command = format!(
            "{} --socket {} {arguments}",
            palisade()?.display(),
            self.daemon.socket().display()
        );
        self.session.run(&command, PATIENCE)
    }

    /// Runs `palisade` in the operator's session, which does not wait for it.
    pub(crate) fn palisade_later(&mut self, arguments: &str) -> anyhow::Result<()> {
        let command = format!(
            "(sleep 0.1; {} --socket {} {arguments}) >/dev/null 2>&1 &",
            palisade()?.display(),
            self.daemon.socket().display()
        );
        let said = self.session.run(&command, PATIENCE)?;
        ensure!(said.code == 0, "the shell says {said:?}");
        Ok(())
    }

    /// The configuration, and every file of the policy directory.
    pub(crate) fn files(&self) -> anyhow::Result<Files> {
        let configuration = self.daemon.configuration();
        let mut files = Files::new();
        files.insert(
            "palisade.yaml".to_owned(),
            std::fs::read_to_string(configuration)?,
        );
        for entry in std::fs::read_dir(self.daemon.policy_file(""))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What somebody has edited meanwhile is kept beside the file, under a name that is not read.
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                files.insert(name, std::fs::read_to_string(entry.path())?);
            }
        }
        Ok(files)
    }

    /// Makes sure that the session answers.
    pub(crate) fn answers(&mut self) -> anyhow::Result<()> {
        self.session.answers(PATIENCE)
    }

    /// Whether anybody gets an answer at the port of SSH, at this moment.
    pub(crate) fn lets_in(&self) -> anyhow::Result<bool> {
        let operator = self.network.host("operator").namespace();
        let to = SocketAddr::new(self.address, self.port);
        Ok(operator.run(|| TcpStream::connect_timeout(&to, SILENCE).is_ok())?)
    }

    /// Makes both hosts forget where their neighbours are, as they do by themselves after a while.
    pub(crate) fn forget_neighbours(&self) -> anyhow::Result<()> {
        for host in ["server", "operator"] {
            let mut flush = Command::new("ip");
            flush.args(["-6", "neigh", "flush", "dev", "eth0"]);
            let flushed = self.network.host(host).namespace().output(&flush, "")?;
            ensure!(flushed.status.success(), "ip ended with {flushed:?}");
        }
        Ok(())
    }

    /// Opens another session, however often that takes, and says how long it took.
    pub(crate) fn opens_within(&self, patience: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let entered = self.enter();
            if entered.is_ok() {
                return Ok(started.elapsed());
            }
            ensure!(
                started.elapsed() < patience,
                "no new session within {patience:?}: {entered:?}; sshd's log:\n{}\npalisaded's log:\n{}",
                self.server.log(),
                self.daemon.log()
            );
        }
    }

    fn enter(&self) -> anyhow::Result<()> {
        self.server
            .enter(self.network.host("operator").namespace(), self.address)
    }
}
