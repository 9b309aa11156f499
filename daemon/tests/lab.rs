//! The throwaway hosts, on the kernel that runs the test. Needs root.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade::lab::Outcome::{NotPermitted, Refused, TimedOut, Unreachable};
use palisade::lab::{
    Connection, DENIED_AFTER, Error, Namespace, Network, Outcome, Probe, TcpServer, UdpServer, probe_all,
};

fn pair() -> Result<Network, Error> {
    Network::builder()
        .host("a", ["10.42.0.1/24", "fd00:42::1/64"])
        .host("b", ["10.42.0.2/24", "fd00:42::2/64"])
        .build()
}

fn nft(namespace: &Namespace, rules: &str) -> Result<(), Error> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    let output = namespace.output(&command, rules)?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn hosts_reach_each_other_at_once_over_both_ip_versions() {
    let started = Instant::now();
    let network = pair().unwrap();
    let (a, b) = (network.host("a"), network.host("b"));
    let _tcp = TcpServer::start(b.namespace(), "b", &[80, 443]).unwrap();
    let _udp = UdpServer::start(b.namespace(), "b", &[53]).unwrap();
    let probes: Vec<_> = b
        .ips()
        .flat_map(|ip| {
            [
                Probe::tcp(a.namespace(), SocketAddr::new(ip, 80)),
                Probe::tcp(a.namespace(), SocketAddr::new(ip, 443)),
                Probe::udp(a.namespace(), SocketAddr::new(ip, 53)),
                Probe::icmp(a.namespace(), ip),
            ]
        })
        .collect();
    let outcomes = probe_all(&probes).unwrap();
    let one_version = ["b:80", "b:443", "b:53", "echo reply"].map(|line| Outcome::Answered(line.to_owned()));
    assert_eq!(outcomes, [one_version.clone(), one_version].concat());
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn a_probe_tells_refused_from_dropped_from_prohibited() {
    let network = pair().unwrap();
    let (a, b) = (network.host("a"), network.host("b"));
    nft(
        b.namespace(),
        "table inet t { counter syn { };
           chain i { type filter hook input priority 0;
             tcp dport 81 counter name syn drop
             udp dport 81 drop
             udp dport 82 reject with icmpx admin-prohibited
             icmp type echo-request drop
             icmpv6 type echo-request drop; }; }",
    )
    .unwrap();
    nft(
        a.namespace(),
        "table inet t { chain o { type filter hook output priority 0; udp dport 83 drop; }; }",
    )
    .unwrap();
    for ip in b.ips() {
        let to = |port| SocketAddr::new(ip, port);
        let outcomes = probe_all(&[
            Probe::tcp(a.namespace(), to(80)),
            Probe::udp(a.namespace(), to(80)),
            Probe::tcp(a.namespace(), to(81)),
            Probe::udp(a.namespace(), to(81)),
            Probe::icmp(a.namespace(), ip),
            Probe::udp(a.namespace(), to(82)),
            Probe::udp(a.namespace(), to(83)),
        ]);
        assert_eq!(
            outcomes.unwrap(),
            [
                Refused,
                Refused,
                TimedOut,
                TimedOut,
                TimedOut,
                Unreachable,
                NotPermitted
            ],
            "{ip}"
        );
    }
    // One SYN for each IP version, as DENIED_AFTER promises.
    let listed = b
        .namespace()
        .output(Command::new("nft").args(["list", "counters"]), "")
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("packets 2 "), "{listed}");
}

#[test]
fn probes_in_parallel_take_one_timeout() {
    let network = pair().unwrap();
    let nobody: IpAddr = "10.42.0.99".parse().unwrap();
    nft(
        network.host("a").namespace(),
        "table inet t { chain i { type filter hook output priority 0; tcp dport 9 drop; }; }",
    )
    .unwrap();
    let probe = Probe::tcp(network.host("a").namespace(), SocketAddr::new(nobody, 9));
    let started = Instant::now();
    let outcomes = probe_all(&vec![probe; 40]).unwrap();
    assert!(
        outcomes.iter().all(|outcome| *outcome == TimedOut),
        "{outcomes:?}"
    );
    assert!(
        started.elapsed() < 3 * DENIED_AFTER,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn an_open_connection_can_be_asked_again() {
    let network = pair().unwrap();
    let server = TcpServer::start(network.host("b").namespace(), "b", &[80]).unwrap();
    let to = network.host("b").sockets(80).next().unwrap();
    let mut connection = Connection::open(network.host("a").namespace(), to)
        .unwrap()
        .unwrap();
    for line in ["once", "again"] {
        assert_eq!(
            connection.exchange(line, DENIED_AFTER).unwrap(),
            Outcome::Answered(line.to_owned())
        );
    }
    drop(server);
    assert_eq!(
        connection.exchange("gone", DENIED_AFTER).unwrap(),
        Outcome::Answered(String::new())
    );
}

#[test]
fn addresses_and_interfaces_come_and_go() {
    let network = pair().unwrap();
    let (a, b) = (network.host("a"), network.host("b"));
    for (address, ip) in [("10.42.0.7/24", "10.42.0.7"), ("fd00:42::7/64", "fd00:42::7")] {
        let probe = Probe::icmp(a.namespace(), ip.parse().unwrap());
        b.add_address("eth0", address).unwrap();
        assert!(probe.run().unwrap().is_answered(), "{ip}");
        b.remove_address("eth0", address).unwrap();
        assert!(!probe.run().unwrap().is_answered(), "{ip}");
    }
    b.add_interface("eth1").unwrap();
    b.add_address("eth1", "10.43.0.2/24").unwrap();
    a.add_address("eth0", "10.43.0.1/24").unwrap();
    let probe = Probe::icmp(a.namespace(), "10.43.0.2".parse().unwrap());
    assert!(probe.run().unwrap().is_answered());
    let error = b.add_address("eth0", "10.42.0.300/24").unwrap_err();
    assert!(
        matches!(&error, Error::Address(text) if text == "10.42.0.300/24"),
        "{error}"
    );
}

#[test]
fn a_process_runs_inside_with_its_output_and_dies_with_its_guard() {
    let namespace = Namespace::new().unwrap();
    let mut command = Command::new("sh");
    command
        .env("WHO", "me")
        .args(["-c", "readlink /proc/self/ns/net; echo $WHO >&2; exec sleep 1000"]);
    let process = namespace.spawn(&command).unwrap();
    let inside = namespace
        .run(|| std::fs::read_link("/proc/thread-self/ns/net"))
        .unwrap()
        .unwrap();
    let started = Instant::now();
    while (process.stdout().is_empty() || process.stderr().is_empty())
        && started.elapsed() < Duration::from_secs(5)
    {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        (process.stdout().trim(), process.stderr().trim()),
        (inside.to_str().unwrap(), "me")
    );
    assert_eq!(process.ended().unwrap(), None);
    let running = format!("/proc/{}", process.id());
    assert!(Path::new(&running).exists());
    drop(process);
    assert!(!Path::new(&running).exists());
}

#[test]
fn nsenter_takes_the_path() {
    let namespace = Namespace::new().unwrap();
    let inside = namespace
        .run(|| std::fs::read_link("/proc/thread-self/ns/net"))
        .unwrap()
        .unwrap();
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", namespace.path().display()))
        .args(["readlink", "/proc/self/ns/net"]);
    let output = command.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        inside.to_str().unwrap()
    );
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let output = Namespace::new()
        .unwrap()
        .output(&Command::new("no-such-program"), "")
        .unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-program"));
}

/// Set for the copy of this test that is killed.
const VICTIM: &str = "PALISADE_LAB_VICTIM";

#[test]
fn kill_9_leaves_nothing_behind() {
    if std::env::var_os(VICTIM).is_some() {
        be_killed().unwrap();
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_9_leaves_nothing_behind", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let told: Vec<_> = told.skip_while(|line| line != "built").skip(1).take(3).collect();
    let [program, first, second] = told.as_slice() else {
        panic!("the victim said {told:?}")
    };
    assert!(
        users_of(first) >= 2 && users_of(second) >= 1,
        "the victim was not alive"
    );

    kill(Pid::from_raw(victim.id().cast_signed()), Signal::SIGKILL).unwrap();
    victim.wait().unwrap();
    let gone = || !Path::new(&format!("/proc/{program}")).exists() && users_of(first) + users_of(second) == 0;
    let killed = Instant::now();
    while !gone() && killed.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(gone(), "process {program} or its namespaces outlived the kill");
}

/// Builds a network with a program in it, tells of it, and waits for the end.
fn be_killed() -> anyhow::Result<()> {
    let network = pair()?;
    let process = network
        .host("a")
        .namespace()
        .spawn(Command::new("sleep").arg("1000"))?;
    // setpriv must have said whom to die with.
    while std::fs::read_to_string(format!("/proc/{}/comm", process.id()))? != "sleep\n" {
        thread::sleep(Duration::from_millis(5));
    }
    println!("\nbuilt\n{}", process.id());
    for host in network.hosts() {
        let link = host
            .namespace()
            .run(|| std::fs::read_link("/proc/thread-self/ns/net"))??;
        println!("{}", link.display());
    }
    thread::sleep(Duration::from_mins(1));
    anyhow::bail!("nobody has killed this process")
}

/// How many threads on this machine are in a network namespace.
fn users_of(namespace: &str) -> usize {
    let entries = |path: &Path| {
        std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
    };
    entries(Path::new("/proc"))
        .flat_map(|process| entries(&process.join("task")).collect::<Vec<_>>())
        .filter(|thread| {
            std::fs::read_link(thread.join("ns/net")).is_ok_and(|it| it.as_os_str() == namespace)
        })
        .count()
}
