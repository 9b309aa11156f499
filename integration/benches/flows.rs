//! What flow records cost: a flood of new connections with them and without, a million flows in one interval, and a daemon
//! that has nothing to do. Needs root.
//!
//! Offered are 100,000 new connections a second to a host whose ruleset copies each first packet, counts and decides it
//! twice (a staged policy), and to one with the same ruleset but for the copies, in turns. Under `cargo test` a hundredth
//! is sent, to see that it works.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use palisade_integration::{Daemon, Pair, Setup, eventually, nft};
use serde_json::Value;

const RATE: u32 = 100_000;
const SECONDS: u32 = 2;
const ROUNDS: usize = 5;

/// Within this, conntrack has forgotten what was offered before.
const PAUSE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> anyhow::Result<()> {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rate, rounds) = if is_bench { (RATE, ROUNDS) } else { (RATE / 100, 1) };
    flood(rate, rounds)?;
    let (flows, interval) = if is_bench {
        (1_000_000, "60s")
    } else {
        (10_000, "5s")
    };
    many_flows(flows, interval)?;
    idle(if is_bench { 30 } else { 1 })
}

/// A server and a client, and what is sent from one to the other.
struct Load(Pair);

impl Load {
    /// What is offered is more than a table of connections holds: they are forgotten as soon as can be.
    fn new() -> anyhow::Result<Self> {
        let pair = Pair::new()?;
        pair.forget_quickly()?;
        // A cable between them: a switch would cost as much as the host that is looked at.
        let (server, client) = (pair.server(), pair.client());
        server.namespace().connect(CABLE, client.namespace(), CABLE)?;
        server.add_address(CABLE, &format!("{SERVER}/16"))?;
        client.add_address(CABLE, &format!("{CLIENT}/16"))?;
        Ok(Load(pair))
    }

    fn daemon(&self, flows: &str) -> anyhow::Result<Daemon> {
        let policy = Pair::lockdown().replace("interfaceName: eth0", &format!("interfaceName: {CABLE}"));
        let setup = Setup::new("server").resource("staged.yaml", policy);
        Daemon::start_with_flows(self.0.server(), &setup, flows)
    }

    /// The profile's counter, as the kernel has it: connections accepted.
    fn accepted(&self) -> anyhow::Result<u64> {
        let listed = nft(
            self.0.server().namespace(),
            &["-j", "list", "counter", "inet", "palisade", ACCEPTED],
            "",
        )?;
        let listed: Value = serde_json::from_str(&listed)?;
        let objects = listed["nftables"].as_array().context("no list")?;
        let counter = objects
            .iter()
            .find_map(|object| object["counter"]["packets"].as_u64());
        counter.context("no such counter")
    }

    /// Offers so many connections a second for some seconds; gives how many were offered, and accepted.
    fn offer(&self, rate: u32, ports: u16, senders: &[Ipv4Addr]) -> anyhow::Result<(u64, u64)> {
        let before = self.accepted()?;
        let offered = self.send(rate, u64::from(rate * SECONDS), ports, senders)?;
        Ok((offered, self.accepted()? - before))
    }

    /// Sends first packets, at most so many a second: from many sockets, to many ports.
    fn send(&self, rate: u32, most: u64, ports: u16, senders: &[Ipv4Addr]) -> anyhow::Result<u64> {
        let to = |port| Some(SockaddrIn::from(SocketAddrV4::new(SERVER, port)));
        let ports: Vec<Option<SockaddrIn>> = (10_000..10_000 + ports).map(to).collect();
        let slices = [[IoSlice::new(b"x")]; TOGETHER];
        let sent = self.0.client().namespace().run(|| -> std::io::Result<u64> {
            let mut headers = MultiHeaders::preallocate(TOGETHER, None);
            let started = Instant::now();
            let mut sent = 0_u64;
            for &sender in senders.iter().cycle() {
                let socket = UdpSocket::bind(SocketAddrV4::new(sender, 0))?;
                for ports in ports.chunks(TOGETHER) {
                    let slices = slices.iter().take(ports.len());
                    let flags = MsgFlags::empty();
                    let results = sendmmsg(socket.as_raw_fd(), &mut headers, slices, ports, [], flags)?;
                    sent += results.count() as u64;
                    if sent >= most {
                        return Ok(sent);
                    }
                    let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
                    std::thread::sleep(due.saturating_sub(started.elapsed()));
                }
            }
            Ok(sent)
        })?;
        Ok(sent?)
    }
}

/// The interface of the cable, and who is at its ends.
const CABLE: &str = "eth1";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);

/// Packets that are sent with one call.
const TOGETHER: usize = 50;

const ACCEPTED: &str = "profile/projectcalico-default-allow/in";

fn flood(rate: u32, rounds: usize) -> anyhow::Result<()> {
    let (with, without) = (Load::new()?, Load::new()?);
    let daemon = with.daemon("")?;
    let mut listing = daemon.listing()?;
    listing = listing
        .lines()
        .filter(|line| !line.contains(" log prefix "))
        .fold(String::new(), |text, line| text + line + "\n");
    nft(without.0.server().namespace(), &["-f", "-"], &listing)?;
    let mut rates: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (rates, load) in rates.iter_mut().zip([&without, &with]) {
            // The table of connections is empty again: full, it would be what is measured.
            std::thread::sleep(if rate == RATE { PAUSE } else { Duration::ZERO });
            let started = Instant::now();
            let (_, accepted) = load.offer(rate, 500, &[CLIENT])?;
            rates.push(accepted as f64 / started.elapsed().as_secs_f64());
        }
    }
    let [without_records, with_records] = rates.each_ref().map(|rates| median(rates));
    println!(
        "new connections accepted a second, {rate} offered (medians of {rounds})\n\
         without flow records {without_records:>9.0}\nwith flow records    {with_records:>9.0}   {:.3} of it",
        with_records / without_records
    );
    let last = account(&daemon, with.accepted()?)?;
    println!(
        "of {} counted by the kernel, {} are in records and {} are lost; the daemon used {:.2} s of a core",
        last["counted_total"],
        last["evaluated_total"],
        lost(&daemon)?,
        cpu_seconds(&daemon)?,
    );
    Ok(())
}

/// Waits until everything is accounted for, and gives the last record of an interval.
fn account(daemon: &Daemon, accepted: u64) -> anyhow::Result<Value> {
    eventually(PATIENCE, || {
        let records = daemon.records()?;
        let last = records.iter().rev().find(|record| record["type"] == "interval");
        let last = last.context("no interval record")?.clone();
        let [counted, evaluated] =
            ["counted_total", "evaluated_total"].map(|field| last[field].as_u64().unwrap_or(0));
        let lost = lost(daemon)?;
        ensure!(
            counted >= accepted && counted == evaluated + lost,
            "{counted} counted, {evaluated} in records, {lost} lost"
        );
        Ok(last)
    })
}

fn lost(daemon: &Daemon) -> anyhow::Result<u64> {
    let missing = &daemon.status()?["flows"]["missing"];
    Ok(missing["lost"].as_u64().unwrap_or(0) + missing["unreadable"].as_u64().unwrap_or(0))
}

fn many_flows(flows: u64, interval: &str) -> anyhow::Result<()> {
    let load = Load::new()?;
    let ports = 50_000;
    let mut senders = vec![CLIENT];
    for last in 1..flows.div_ceil(u64::from(ports)) {
        let address = format!("10.10.1.{last}");
        load.0.client().add_address(CABLE, &format!("{address}/16"))?;
        senders.push(address.parse()?);
    }
    let daemon = load.daemon(&format!("includeAddresses: true, interval: {interval}"))?;
    let before = resident(&daemon, "VmRSS")?;
    load.send(RATE, flows, ports, &senders)?;
    let last = eventually(PATIENCE, || {
        let records = daemon.records()?;
        let intervals = || records.iter().filter(|record| record["type"] == "interval");
        let total = intervals()
            .filter_map(|record| record["evaluated_total"].as_u64())
            .max();
        let most = intervals().max_by_key(|record| record["evaluated"].as_u64());
        let most = most.context("no interval record")?.clone();
        ensure!(
            total >= Some(flows),
            "not all of them yet: {total:?}, at most {most}"
        );
        Ok(most)
    })?;
    println!(
        "{flows} flows offered in one interval: {} kept apart, {} folded, {} packets lost; resident {before:.1} MB before, \
         {:.1} MB at most",
        last["flows"],
        last["folded_flows"],
        last["log_status"]["lost"],
        resident(&daemon, "VmHWM")?,
    );
    Ok(())
}

fn idle(seconds: u64) -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = pair.daemon("interval: 10s")?;
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu_seconds(&daemon)?;
    std::thread::sleep(Duration::from_secs(seconds));
    let used = cpu_seconds(&daemon)? - before;
    println!(
        "idle: {:.1} MB resident, {:.3} % of a core over {seconds} s",
        resident(&daemon, "VmRSS")?,
        100.0 * used / seconds as f64
    );
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A field of `/proc/PID/status` that is given in kB, in MB.
fn resident(daemon: &Daemon, field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    Ok(kilobytes.context("no such field")?.parse::<f64>()? / 1000.0)
}

/// The time that the daemon has run on any core: the sum of its user and system time, in clock ticks of 10 ms
/// (`/proc/PID/stat`, proc(5)).
fn cpu_seconds(daemon: &Daemon) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    // The name of the process may hold anything; what follows it is numbers.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
