//! Where packets meet a ruleset: a server and a client joined by a cable, in network namespaces of their own.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use palisade::lab::{Host, Namespace, Network};
use palisade_integration::{Daemon, Setup, nft};
use serde_json::Value;

use crate::estate::{Estate, INTERFACE, SERVER};
use crate::peers::Peer;

/// The address of the client that real connections come from; rules take it for one of [`Place::Last`].
pub(crate) const CONNECTING: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 250);

/// Behind every ruleset, before conntrack takes a flow in: what was accepted of the flood is counted and dropped there, so that
/// each packet of it is the first of its flow, and no table of connections grows. It asks conntrack for nothing: where no ruleset does,
/// no connection is tracked.
const COUNT_AND_DROP: &str = "table ip behind {\ncounter accepted {\n}\nchain input {\n\
    type filter hook input priority 300; policy accept;\n\
    ip saddr 10.77.1.0/24 ip saddr != 10.77.1.250 counter name accepted drop\n\
    ip saddr { 10.77.2.0/24, 10.77.3.0/24 } counter name accepted drop\n}\n}\n";

/// A server with a ruleset, and a client.
#[derive(Debug)]
pub(crate) struct Ground {
    network: Network,
    daemon: Option<Daemon>,
    peer: Option<Peer>,
    /// How many flows have been sent: no two are alike.
    pub(crate) flows: AtomicU64,
}

impl Ground {
    /// A server without a ruleset.
    pub(crate) fn empty() -> anyhow::Result<Self> {
        let none: [&str; 0] = [];
        let network = Network::builder()
            .host("server", ["192.0.2.1/24"])
            .host("client", none)
            .build()?;
        let (server, client) = (network.host("server"), network.host("client"));
        // A cable between them: a switch would cost as much as what is measured.
        server
            .namespace()
            .connect(INTERFACE, client.namespace(), INTERFACE)?;
        server.add_address(INTERFACE, &format!("{SERVER}/16"))?;
        client.add_address(INTERFACE, &format!("{CONNECTING}/16"))?;
        client
            .namespace()
            .run(|| std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 64999"))??;
        nft(server.namespace(), &["-f", "-"], COUNT_AND_DROP)?;
        Ok(Ground {
            network,
            daemon: None,
            peer: None,
            flows: AtomicU64::new(0),
        })
    }

    /// A server with what nft is given.
    pub(crate) fn of_text(text: &str) -> anyhow::Result<Self> {
        let ground = Ground::empty()?;
        nft(ground.server(), &["-f", "-"], text)?;
        ground.forget_quickly()?;
        Ok(ground)
    }

    /// A server with a daemon that has an estate's files.
    pub(crate) fn of_palisade(estate: &Estate) -> anyhow::Result<Self> {
        let mut ground = Ground::empty()?;
        let daemon = Daemon::start_with_flows(ground.server_host(), &setup(estate), "interval: 10s")?;
        keep_off(daemon.pid())?;
        ground.daemon = Some(daemon);
        ground.forget_quickly()?;
        Ok(ground)
    }

    /// Keeps a firewall that runs on the server, for as long as the server is there.
    pub(crate) fn adopt(&mut self, peer: Peer) -> anyhow::Result<()> {
        self.peer = Some(peer);
        self.forget_quickly()
    }

    /// The daemon, where there is one.
    pub(crate) fn daemon(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    /// The server's namespace.
    pub(crate) fn server(&self) -> &Namespace {
        self.server_host().namespace()
    }

    /// The client's namespace.
    pub(crate) fn client(&self) -> &Namespace {
        self.network.host("client").namespace()
    }

    /// The server.
    pub(crate) fn server_host(&self) -> &Host {
        self.network.host("server")
    }

    /// How many packets of floods the ruleset has accepted since this was asked last.
    pub(crate) fn accepted(&self) -> anyhow::Result<u64> {
        let said = nft(
            self.server(),
            &["-j", "reset", "counter", "ip", "behind", "accepted"],
            "",
        )?;
        let said: Value = serde_json::from_str(&said)?;
        let objects = said["nftables"].as_array().into_iter().flatten();
        Ok(objects
            .filter_map(|object| object["counter"]["packets"].as_u64())
            .sum())
    }

    /// The numbers of so many flows that have not been sent.
    pub(crate) fn fresh(&self, count: u64) -> u64 {
        self.flows.fetch_add(count, Ordering::Relaxed)
    }

    /// Closed connections make room at once: thousands a second are made.
    fn forget_quickly(&self) -> anyhow::Result<()> {
        self.server().run(|| {
            ["tcp_timeout_close", "tcp_timeout_time_wait", "udp_timeout"]
                .iter()
                .try_for_each(|name| {
                    std::fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"), "1")
                })
        })??;
        Ok(())
    }
}

/// What a daemon starts with.
pub(crate) fn setup(estate: &Estate) -> Setup {
    estate
        .files()
        .into_iter()
        .fold(Setup::new("server"), |setup, (file, text)| {
            setup.resource(&file, text)
        })
}

/// The core that packets are sent from, and with them the whole way of receiving them; everything else runs on others.
pub(crate) fn measuring_core() -> usize {
    std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1)
}

/// Keeps the calling thread on a core.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Keeps the calling thread off the measuring core, where there is another.
pub(crate) fn pin_off() -> anyhow::Result<()> {
    Ok(sched_setaffinity(Pid::from_raw(0), &others()?)?)
}

fn others() -> anyhow::Result<CpuSet> {
    let mut set = CpuSet::new();
    for core in 0..measuring_core().max(1) {
        set.set(core)?;
    }
    Ok(set)
}

/// Keeps a process, and every thread it has now, off the measuring core, where there is another.
fn keep_off(pid: u32) -> anyhow::Result<()> {
    keep(pid, &others()?)
}

/// Keeps a process, and every thread it has now, on a core.
pub(crate) fn keep_on(pid: u32, core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    keep(pid, &set)
}

fn keep(pid: u32, set: &CpuSet) -> anyhow::Result<()> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let id: i32 = task?.file_name().to_string_lossy().parse()?;
        // A thread may have ended meanwhile.
        let _ = sched_setaffinity(Pid::from_raw(id), set);
    }
    Ok(())
}
