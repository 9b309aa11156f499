//! The daemon is killed at random instants of reloads, promotions under a timer and rollbacks, while packets come in. Needs
//! root.
//!
//! Two generations take turns. Whatever both allow must never be lost, and whatever both deny must never pass, to the packet.
//! `make torture` goes on for a thousand reloads; `TORTURE_SEED` repeats one that failed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use palisade::lab::Namespace;
use palisade_integration::{Daemon, Pair, Setup, Witness};

/// The ports that both generations allow, the one, the other, and neither.
const BOTH: u16 = 7001;
const FIRST: u16 = 7002;
const SECOND: u16 = 7003;
const NEITHER: u16 = 7004;
const PORTS: [u16; 4] = [BOTH, FIRST, SECOND, NEITHER];

/// Source ports of the flood: each packet starts a connection, for nobody ever answers.
const SOURCES: u16 = 200;

/// Sockets that the flood sends through before it takes a breath: the daemon is to get on, too.
const BURST: usize = 10;

/// What a round may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Reload.
    Reload,
    /// Reload, and be killed on the way.
    KilledReload,
    /// Reload under a timer, and confirm.
    Confirmed,
    /// Reload under a timer, and let it end.
    Abandoned,
    /// Reload under a timer, and be killed in the window.
    KilledUnconfirmed,
    /// Go back to the generation before.
    Rollback,
    /// The host gets or loses an address.
    Address,
}

/// A generation that allows these ports, at the server's addresses: when it gets another one, the set that every rule looks at
/// changes under the packets.
fn policy(ports: [u16; 2]) -> String {
    let [one, other] = ports;
    format!(
        "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: server-eth0, labels: {{app: server}}}}
spec: {{node: server, interfaceName: eth0}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: some}}
spec:
  selector: app == 'server'
  types: [Ingress]
  ingress:
    - {{action: Allow, protocol: UDP, destination: {{selector: app == 'server', ports: [{one}]}}}}
    - {{action: Allow, protocol: UDP, destination: {{selector: app == 'server', ports: [{other}]}}}}
"
    )
}

#[test]
fn no_packet_gets_a_verdict_that_no_generation_gives() -> anyhow::Result<()> {
    let number = |variable: &str, default: u64| match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(default),
    };
    let rounds = number("TORTURE_ROUNDS", 24)?;
    let seed = number("TORTURE_SEED", 1)?;
    let pair = Pair::new()?;
    let setup = Setup::new("server").resource("policy.yaml", policy([BOTH, FIRST]));
    let mut server = Daemon::start(pair.server(), &setup)?;
    // Nobody reads them: they only keep the host from answering that nobody is there.
    let deaf = pair.server().namespace().run(deaf)??;
    let counted: Vec<(String, String)> = PORTS
        .iter()
        .map(|port| (format!("port{port}"), format!("udp dport {port}")))
        .collect();
    let counted: Vec<(&str, &str)> = counted.iter().map(|(name, what)| (&**name, &**what)).collect();
    let arrived = Witness::new(server.namespace(), "prerouting", &counted)?;
    let passed = Witness::new(server.namespace(), "input", &counted)?;

    let over = AtomicBool::new(false);
    let namespace = server.namespace().clone();
    let targets: Vec<IpAddr> = pair.server().ips().collect();
    let (done, flooded, looks) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(pair.client().namespace(), &targets, &over));
        let counters = scope.spawn(|| never_go_back(&namespace, &over));
        let done = disturb(&pair, &mut server, rounds, seed, &over);
        over.store(true, Ordering::Relaxed);
        let joined = "no panic there";
        (done, flood.join().expect(joined), counters.join().expect(joined))
    });
    drop(deaf);

    let mut counts = BTreeMap::new();
    for port in PORTS {
        let name = format!("port{port}");
        counts.insert(port, (arrived.seen(&name)?, passed.seen(&name)?));
    }
    println!("{rounds} rounds, seed {seed}: {done:?}; port: (arrived, passed) {counts:?}");
    // Whatever has failed, what became of the packets is told above.
    flooded?;
    let looks = looks.with_context(|| format!("TORTURE_SEED={seed}; the log:\n{}", server.log()))?;
    done.with_context(|| format!("TORTURE_SEED={seed}; the log:\n{}", server.log()))?;
    assert!(looks > 3, "the counters were looked at {looks} times only");
    let [both, first, second, neither] = PORTS.map(|port| counts[&port]);
    assert!(both.0 > rounds * 10, "hardly a flood: {counts:?}");
    assert_eq!(both.0, both.1, "lost what both generations allow: {counts:?}");
    assert_eq!(neither.1, 0, "let in what both generations deny: {counts:?}");
    for taking_turns in [first, second] {
        assert!(
            (1..taking_turns.0).contains(&taking_turns.1),
            "the generations did not take turns: {counts:?}"
        );
    }
    Ok(())
}

/// Sockets at every port of the flood, both IP versions.
fn deaf() -> std::io::Result<Vec<UdpSocket>> {
    PORTS
        .iter()
        .map(|&port| UdpSocket::bind(SocketAddr::new(IpAddr::from([0; 16]), port)))
        .collect()
}

/// Sends to all ports of all these addresses until it is over.
fn flood(from: &Namespace, targets: &[IpAddr], over: &AtomicBool) -> anyhow::Result<()> {
    from.run(|| -> anyhow::Result<()> {
        let mut sockets = Vec::new();
        for &target in targets {
            for _ in 0..SOURCES {
                let any = if target.is_ipv4() {
                    IpAddr::from([0; 4])
                } else {
                    IpAddr::from([0; 16])
                };
                sockets.push((UdpSocket::bind((any, 0))?, target));
            }
        }
        while !over.load(Ordering::Relaxed) {
            for burst in sockets.chunks(BURST) {
                for (socket, target) in burst {
                    for port in PORTS {
                        // What does not leave does not arrive either, and only what has arrived is looked at.
                        let _ = socket.send_to(b"?", (*target, port));
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    })?
}

/// Looks at every counter, again and again, and says how often; if one has gone back, it is over.
fn never_go_back(namespace: &Namespace, over: &AtomicBool) -> anyhow::Result<usize> {
    let looks = look(namespace, over);
    over.store(true, Ordering::Relaxed);
    looks
}

fn look(namespace: &Namespace, over: &AtomicBool) -> anyhow::Result<usize> {
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        let listed = palisade_integration::nft(
            namespace,
            &["-j", "list", "counters", "table", "inet", "palisade"],
            "",
        )?;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        for object in listed["nftables"].as_array().into_iter().flatten() {
            let counter = &object["counter"];
            let (Some(name), Some(packets)) = (counter["name"].as_str(), counter["packets"].as_u64()) else {
                continue;
            };
            let earlier = before.insert(name.to_owned(), packets).unwrap_or(0);
            ensure!(packets >= earlier, "{name} went back from {earlier} to {packets}");
        }
        looks += 1;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(looks)
}

/// Does something at random so many times, or until it is over, and says what.
fn disturb(
    pair: &Pair,
    server: &mut Daemon,
    rounds: u64,
    seed: u64,
    over: &AtomicBool,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut random = Random(seed);
    let generations = [policy([BOTH, FIRST]), policy([BOTH, SECOND])];
    let mut done = BTreeMap::new();
    let mut has_address = false;
    for number in 0..rounds {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let round = match random.below(16) {
            0..5 => Round::Reload,
            5..8 => Round::KilledReload,
            8..11 => Round::Confirmed,
            11 => Round::Abandoned,
            12..14 => Round::KilledUnconfirmed,
            14 => Round::Rollback,
            _ => Round::Address,
        };
        *done.entry(format!("{round:?}")).or_default() += 1;
        let next = &generations[usize::try_from(number % 2)?];
        play(pair, server, round, next, &mut random, &mut has_address)
            .with_context(|| format!("round {number}, {round:?}"))?;
    }
    server.apply("policy.yaml", &generations[0])?;
    Ok(done)
}

fn play(
    pair: &Pair,
    server: &mut Daemon,
    round: Round,
    next: &str,
    random: &mut Random,
    has_address: &mut bool,
) -> anyhow::Result<()> {
    let under_timer = |server: &Daemon, window: &str| -> anyhow::Result<bool> {
        server.write("policy.yaml", next)?;
        let said = server.cli(&["reload", "--confirm-within", window, "--no-wait"])?;
        ensure!(said.code == Some(0), "{said:?}");
        Ok(server.status()?["unconfirmed"].is_object())
    };
    match round {
        Round::Reload => server.apply("policy.yaml", next)?,
        Round::KilledReload => {
            server.write("policy.yaml", next)?;
            server.signal(Signal::SIGHUP)?;
            thread::sleep(Duration::from_micros(random.below(60_000)));
            server.kill9()?;
            server.start_again()?;
        }
        Round::Confirmed => {
            if under_timer(server, "60s")? {
                let said = server.cli(&["confirm"])?;
                ensure!(said.code == Some(0), "{said:?}");
            }
        }
        Round::Abandoned => {
            if under_timer(server, "1s")? {
                palisade_integration::eventually(Duration::from_secs(10), || {
                    ensure!(server.status()?["unconfirmed"].is_null(), "still unconfirmed");
                    Ok(())
                })?;
            }
        }
        Round::KilledUnconfirmed => {
            under_timer(server, "1s")?;
            thread::sleep(Duration::from_micros(random.below(1_200_000)));
            server.kill9()?;
            if random.below(2) == 0 {
                // The kernel goes back alone.
                thread::sleep(Duration::from_millis(1_100));
            }
            server.start_again()?;
        }
        Round::Rollback => {
            let history = server.json(&["history"])?;
            let entries = history.as_array().context("no history")?;
            let confirmed = entries.iter().filter(|entry| entry["state"] == "confirmed");
            let number = confirmed.filter_map(|entry| entry["number"].as_u64()).next_back();
            if let Some(number) = number {
                let said = server.cli(&["rollback", &number.to_string()])?;
                ensure!(said.code == Some(0), "{said:?}");
            }
        }
        Round::Address => {
            const ANOTHER: &str = "10.9.0.77/16";
            if *has_address {
                pair.server().remove_address("eth0", ANOTHER)?;
            } else {
                pair.server().add_address("eth0", ANOTHER)?;
            }
            *has_address = !*has_address;
        }
    }
    Ok(())
}

/// Numbers at random, the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % limit
    }
}
