//! Totals never fall: whatever becomes of the table, the daemon, the rule and the disk, counters go on, and nft lists
//! what palisade shows. Needs root.

mod outlived;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use palisade_integration::{Daemon, Setup, ThreeHosts, UDP_PORT, eventually, examples, palisade};
use serde_json::Value;

/// Several flow intervals.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that nothing allows.
const DENIED: u16 = 9999;

/// Allows UDP to the server, which else the end of the tier denies.
const WATCHED: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: watched
spec:
  order: 10
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - action: Allow
      protocol: UDP
      destination: {ports: [5353]}
";

fn staged() -> String {
    WATCHED.replace("kind: Global", "kind: StagedGlobal")
}

fn setup() -> Setup {
    Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-watched.yaml", WATCHED)
}

fn watched(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    Daemon::start(hosts.host("backend"), &setup())
}

/// Sends first packets of connections of their own over UDP, from ports that were not used before.
struct Sender {
    sockets: Vec<UdpSocket>,
    to: SocketAddr,
    /// Whose ports it uses up.
    hosts: usize,
}

impl Sender {
    fn send(hosts: &ThreeHosts, port: u16, count: u16) -> anyhow::Result<()> {
        let mut sender = Sender::new(hosts, port);
        hosts.host("frontend").namespace().run(|| {
            for _ in 0..count {
                sender.one()?;
            }
            Ok(())
        })?
    }

    /// Sends until it is over; gives how many it were.
    fn until(hosts: &ThreeHosts, port: u16, over: &AtomicBool) -> anyhow::Result<u64> {
        let mut sender = Sender::new(hosts, port);
        hosts.host("frontend").namespace().run(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                sender.one()?;
                sent += 1;
                thread::sleep(Duration::from_micros(500));
            }
            Ok(sent)
        })?
    }

    fn new(hosts: &ThreeHosts, port: u16) -> Self {
        Sender {
            sockets: Vec::new(),
            to: (hosts.host("backend").ipv4(), port).into(),
            hosts: std::ptr::from_ref(hosts).addr(),
        }
    }

    fn one(&mut self) -> anyhow::Result<()> {
        static NEXT: Mutex<BTreeMap<usize, u16>> = Mutex::new(BTreeMap::new());
        let port = {
            let mut next = NEXT.lock().expect("nobody panics with it");
            let next = next.entry(self.hosts).or_insert(10_000);
            let port = *next;
            *next = port.checked_add(1).context("all ports are used up")?;
            port
        };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.send_to(b"one", self.to)?;
        // A port that is free again may be asked on by the answer, which nobody should refuse.
        self.sockets.push(socket);
        if self.sockets.len() > 100 {
            self.sockets.remove(0);
        }
        Ok(())
    }
}

/// Packets of the rule, and of the end of the tier that it stands in.
fn totals(daemon: &Daemon) -> anyhow::Result<(u64, u64)> {
    let counters = daemon.counters()?;
    let total = |fits: &dyn Fn(&str, &str) -> bool| {
        let rows = counters.rows().iter();
        let rows = rows.filter(|row| row.direction == "ingress" && fits(&row.kind, &row.name));
        rows.map(|row| row.packets_total).sum()
    };
    let rule = total(&|_, name| name == "watched");
    Ok((rule, total(&|kind, _| kind == "EndOfTier")))
}

/// What is sent is what was counted, and nft says so too.
fn assert_totals(daemon: &Daemon, expected: (u64, u64)) -> anyhow::Result<()> {
    eventually(PATIENCE, || {
        let totals = totals(daemon)?;
        ensure!(totals == expected, "counted {totals:?}, not {expected:?}");
        Ok(())
    })?;
    daemon.agrees_with_nft()
}

/// The sum of the deltas in the rule records of one rule.
fn recorded(daemon: &Daemon) -> anyhow::Result<u64> {
    let records = daemon.records()?;
    let own = records
        .iter()
        .filter(|record| record["type"] == "rule" && record["name"] == "watched");
    Ok(own.filter_map(|record| record["packets_delta"].as_u64()).sum())
}

/// Sends to both ports while `disturb` works, and expects every packet in the counters: exactly where it belongs, or,
/// where the rule is `sometimes` away, in one of the two.
fn assert_exact_under_load(
    hosts: &ThreeHosts,
    daemon: &mut Daemon,
    sometimes: bool,
    mut disturb: impl FnMut(&mut Daemon) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let over = AtomicBool::new(false);
    let (allowed, denied) = thread::scope(|scope| -> anyhow::Result<(u64, u64)> {
        let allowed = scope.spawn(|| Sender::until(hosts, UDP_PORT, &over));
        let denied = scope.spawn(|| Sender::until(hosts, DENIED, &over));
        let disturbed = disturb(daemon);
        over.store(true, Ordering::Relaxed);
        let sent = (
            allowed.join().expect("no panic there")?,
            denied.join().expect("no panic there")?,
        );
        disturbed.map(|()| sent)
    })?;
    ensure!(allowed > 50 && denied > 50, "{allowed} and {denied} are no load");
    if !sometimes {
        return assert_totals(daemon, (allowed, denied));
    }
    eventually(PATIENCE, || {
        let (rule, end) = totals(daemon)?;
        ensure!(
            rule + end == allowed + denied,
            "counted {rule} and {end} of {allowed} and {denied}"
        );
        Ok(())
    })?;
    daemon.agrees_with_nft()
}

#[test]
fn reload_reorder_and_promotion_lose_no_packet_and_count_none_twice() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    assert_exact_under_load(&hosts, &mut backend, false, |backend| {
        for _ in 0..3 {
            // Each policy of the endpoint in the same world, so that one end of the tier counts and not two.
            for staged in [true, false] {
                let kind = if staged {
                    "kind: StagedGlobal"
                } else {
                    "kind: Global"
                };
                let late = examples::ALLOW_7000.replace("order: 5", "order: 500");
                for other in [examples::ALLOW_7000, &late, ""] {
                    let both = format!("{WATCHED}\n---\n{other}");
                    backend.apply("10-watched.yaml", &both.replace("kind: Global", kind))?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn restarts_and_kills_lose_no_packet() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    assert_exact_under_load(&hosts, &mut backend, false, |backend| {
        for _ in 0..3 {
            backend.kill9()?;
            backend.start_again()?;
            backend.terminate()?;
            backend.start_again()?;
        }
        Ok(())
    })
}

#[test]
fn a_rule_that_is_removed_and_restored_goes_on_to_the_packet() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    // The end of the tier stays, and takes what the rule does not.
    backend.apply("15-other.yaml", examples::ALLOW_7000)?;
    let mut last = 0;
    assert_exact_under_load(&hosts, &mut backend, true, |backend| {
        for round in 0..6 {
            backend.remove("10-watched.yaml")?;
            backend.reload_well()?;
            if round == 3 {
                backend.kill9()?;
                backend.start_again()?;
            }
            backend.apply("10-watched.yaml", WATCHED)?;
            let (rule, _) = totals(backend)?;
            ensure!(
                rule > last,
                "{rule} after {last}: the total fell, or nothing was counted"
            );
            last = rule;
        }
        Ok(())
    })?;
    let (rule, _) = totals(&backend)?;
    eventually(PATIENCE, || {
        let recorded = recorded(&backend)?;
        // What was counted between a kill and the interval before it is in no record.
        ensure!(
            recorded <= rule && recorded > 0,
            "{recorded} of {rule} are in records"
        );
        Ok(())
    })
}

#[test]
fn records_of_a_rule_that_comes_back_do_not_count_its_past_again() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = watched(&hosts)?;
    backend.apply("15-other.yaml", examples::ALLOW_7000)?;
    for round in 1..=3 {
        Sender::send(&hosts, UDP_PORT, 20)?;
        backend.remove("10-watched.yaml")?;
        backend.reload_well()?;
        let expected = 20 * round;
        // Recorded although the rule is gone already.
        eventually(PATIENCE, || {
            let recorded = recorded(&backend)?;
            ensure!(recorded == expected, "{recorded} of {expected} are in records");
            Ok(())
        })?;
        backend.apply("10-watched.yaml", WATCHED)?;
    }
    assert_totals(&backend, (60, 0))
}

#[test]
fn watching_shows_what_moves_until_it_is_interrupted() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = watched(&hosts)?;
    Sender::send(&hosts, UDP_PORT, 20)?;
    let watch = |arguments: &[&str]| -> anyhow::Result<_> {
        let mut command = Command::new(palisade()?);
        command
            .arg("--socket")
            .arg(backend.configuration().with_file_name("palisade.sock"))
            .args(arguments);
        Ok(backend.namespace().spawn(&command)?)
    };
    let json = watch(&["-o", "json", "counters", "--watch", "0.2"])?;
    let text = watch(&["counters", "--watch", "200ms"])?;
    let moved = || -> anyhow::Result<u64> {
        let said = json.stdout();
        // The last line may be half written.
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let mut sum = 0;
        for line in whole.lines() {
            let sample: Value = serde_json::from_str(line)?;
            ensure!(
                sample["seconds"].as_f64() > Some(0.1) && sample["at"].is_string(),
                "{line}"
            );
            let counters = sample["counters"].as_array().context("no counters")?;
            let own = counters.iter().filter(|counter| counter["name"] == "watched");
            sum += own
                .filter_map(|counter| counter["packets_delta"].as_u64())
                .sum::<u64>();
        }
        Ok(sum)
    };
    // Nothing has moved in the first sample: what was counted before is not counted again.
    eventually(PATIENCE, || {
        ensure!(json.stdout().contains('\n'), "no sample yet: {}", json.stderr());
        Ok(())
    })?;
    Sender::send(&hosts, UDP_PORT, 15)?;
    eventually(PATIENCE, || {
        let moved = moved()?;
        ensure!(moved == 15, "{moved} packets are shown: {}", json.stdout());
        let text = text.stdout();
        ensure!(
            text.contains("ingress watched: rule 0") && text.contains(" 35 "),
            "{text}"
        );
        ensure!(!text.contains('\x1b'), "no terminal: {text}");
        Ok(())
    })?;
    for watch in [json, text] {
        watch.signal(Signal::SIGINT)?;
        let status = watch.wait(PATIENCE)?;
        ensure!(
            status.code() == Some(0),
            "Ctrl-C ends with {status}: {}",
            watch.stderr()
        );
    }
    Ok(())
}
