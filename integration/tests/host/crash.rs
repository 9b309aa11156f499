//! Whatever happens to the daemon, the rules stay in force. Needs root.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use palisade::lab::{Outcome, Probe};
use palisade_integration::{DENIED_PORTS, Daemon, ICMP, Setup, ThreeHosts, UDP_PORT, denied, examples};

fn locked_down(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted())
        .resource("15-echo.yaml", ALLOW_ECHO);
    Daemon::start(hosts.host("backend"), &setup)
}

/// All that the lockdown denies but ICMP over IPv4.
fn assert_locked_down(hosts: &ThreeHosts) -> anyhow::Result<()> {
    let matrix = hosts.between("frontend", "backend")?;
    assert_eq!(denied(&matrix).len(), 2 * DENIED_PORTS.len() - 1, "{matrix:#?}");
    let echo = ThreeHosts::question("frontend", "backend", ICMP, 4);
    assert!(matrix[&echo].is_answered(), "{matrix:#?}");
    Ok(())
}

#[test]
fn kill_9_and_restart_leave_the_table_in_force_with_its_counters() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = locked_down(&hosts)?;
    assert_locked_down(&hosts)?;
    let held = backend.held()?;
    assert!(backend.nft_counters()?.values().any(|(packets, _)| *packets > 0));

    backend.kill9()?;
    assert_eq!(backend.held()?, held);
    assert_locked_down(&hosts)?;
    let (_, counters) = backend.held()?;

    backend.start_again()?;
    assert_eq!(backend.held()?.1, counters, "a restart changes no counter");
    assert_locked_down(&hosts)?;
    let status = backend.status()?;
    assert_eq!(status["last_reload"]["ok"], true, "{status:#}");
    Ok(())
}

#[test]
fn sigterm_leaves_the_rules() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let held = backend.held()?;
    backend.terminate()?;
    assert_eq!(backend.held()?, held);
    assert_locked_down(&hosts)
}

#[test]
fn a_restart_with_broken_resources_leaves_the_old_rules() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = locked_down(&hosts)?;
    let held = backend.held()?;
    backend.kill9()?;
    backend.write("30-broken.yaml", "kind: Nonsense\n")?;
    let Err(error) = backend.start_again() else {
        // A daemon that starts all the same must say what is wrong, and have kept the rules too.
        assert_eq!(backend.status()?["last_reload"]["ok"], false);
        assert_eq!(backend.held()?, held);
        return assert_locked_down(&hosts);
    };
    assert!(format!("{error:#}").contains("30-broken.yaml"), "{error:#}");
    assert_eq!(backend.held()?, held);
    assert_locked_down(&hosts)
}

/// Packets that are denied stay denied, and those that are allowed stay allowed, at every moment of kills, restarts
/// and reloads.
#[test]
fn nothing_leaks_and_nothing_is_lost_meanwhile() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = locked_down(&hosts)?;
    let target = hosts.host("backend");
    let from = hosts.host("frontend").namespace();
    let denied = Probe::udp(from, (target.ipv4(), UDP_PORT).into()).within(Duration::from_millis(5));
    let allowed = Probe::icmp(from, target.ipv4()).within(Duration::from_secs(2));
    let over = AtomicBool::new(false);
    let asked = [AtomicU32::new(0), AtomicU32::new(0)];
    let ask = |probe: Probe, what: &'static str, count, expected: fn(&Outcome) -> bool| {
        let over = &over;
        let count: &AtomicU32 = count;
        move || -> anyhow::Result<()> {
            while !over.load(Ordering::Relaxed) {
                let outcome = probe.run()?;
                let number = count.fetch_add(1, Ordering::Relaxed);
                anyhow::ensure!(expected(&outcome), "{what}, question {number}: {outcome}");
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
    };
    thread::scope(|scope| {
        let [denials, answers] = &asked;
        let denied = scope.spawn(ask(denied, "denied", denials, |outcome| !outcome.is_answered()));
        let allowed = scope.spawn(ask(allowed, "allowed", answers, Outcome::is_answered));
        // However fast that is, a good many questions fall between.
        let is_enough = || asked.iter().all(|asked| asked.load(Ordering::Relaxed) > 50);
        let is_asking = || !denied.is_finished() && !allowed.is_finished();
        let disturbed = (|| -> anyhow::Result<()> {
            let mut rounds = 0;
            while is_asking() && (rounds < 10 || !is_enough()) {
                rounds += 1;
                backend.kill9()?;
                backend.start_again()?;
                backend.apply("25-more.yaml", &ALLOW_ECHO.replace("allow-echo", "more"))?;
                backend.remove("25-more.yaml")?;
                backend.reload_well()?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        denied.join().expect("no panic there")?;
        allowed.join().expect("no panic there")?;
        disturbed
    })
}

const ALLOW_ECHO: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: allow-echo
spec:
  order: 10
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - action: Allow
      protocol: ICMP
";
