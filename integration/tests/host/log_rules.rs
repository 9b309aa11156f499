//! What a Log rule logs is in the daemon's log, a line for each packet, and no more than the kernel lets through. Needs
//! root.

use std::time::Duration;

use anyhow::ensure;
use palisade::lab::Probe;
use palisade_integration::{Daemon, Setup, ThreeHosts, denied, eventually, examples};

/// The kernel hands its copies over after a while.
const PATIENCE: Duration = Duration::from_secs(10);

const POLICY: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: watch-9090}
spec:
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: UDP}
    - {action: Log, protocol: TCP, destination: {ports: [9090]}}
    - {action: Allow}
";

#[test]
fn a_logged_packet_is_a_line_in_the_log() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("watch.yaml", POLICY);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let matrix = hosts.between("frontend", "backend")?;
    assert!(denied(&matrix).is_empty(), "logging decides nothing: {matrix:#?}");
    eventually(PATIENCE, || {
        let log = backend.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("log rule 1 of policy watch-9090"))
            .collect();
        let has = |from: &str, to: &str| {
            let mut lines = lines.iter();
            lines.any(|line| line.contains("INFO") && line.contains(from) && line.contains(to))
        };
        ensure!(lines.len() == 2, "{log}");
        ensure!(
            has("tcp 10.42.0.30:", "-> 10.42.0.10:9090, 60 bytes, in by eth0"),
            "{log}"
        );
        ensure!(
            has(
                "tcp [fd00:42::30]:",
                "-> [fd00:42::10]:9090, 80 bytes, in by eth0"
            ),
            "{log}"
        );
        Ok(())
    })
}

#[test]
fn a_flood_is_counted_whole_and_logged_in_part() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("watch.yaml", POLICY);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let (frontend, to) = (hosts.host("frontend"), hosts.host("backend").sockets(9090));
    let to: Vec<_> = to.collect();
    let sent = 300;
    for number in 0..sent {
        Probe::tcp(frontend.namespace(), to[number % to.len()]).run()?;
    }
    let counted = backend
        .counters()?
        .rule("enforced", "ingress", "watch-9090", 1)?
        .packets_total;
    assert_eq!(counted, sent as u64);
    let lines = eventually(PATIENCE, || {
        let lines = backend.log().matches("log rule 1 of policy watch-9090").count();
        ensure!(lines > 0, "nothing logged");
        Ok(lines)
    })?;
    assert!(
        lines < sent,
        "{lines} lines for {sent} packets: nothing is limited"
    );
    Ok(())
}
