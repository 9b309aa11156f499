//! `palisade safety-net`: what it holds, taking it away, and bringing it back.

use std::time::Duration;

use anyhow::ensure;
use palisade::lab::{Probe, TcpServer};
use palisade_integration::{Daemon, Pair, Setup, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// Everything but TCP 7 is denied, once the net is gone.
const ONLY_ECHO: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: only-echo}
spec:
  selector: all()
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [7]}}
";

/// Before which the net is never asked.
const TIER: &str = "
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: early}
spec: {order: 1}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early.web}
spec: {tier: early, selector: all(), types: [Ingress], ingress: [{action: Allow, protocol: TCP}]}
";

fn setup() -> Setup {
    Setup::new("server")
        .config("# Kept.\nsafetyNet: true # why\n")
        .resource("only-echo.yaml", ONLY_ECHO)
}

#[test]
fn it_is_told_what_it_holds_and_for_whom() -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = Daemon::start(pair.server(), &setup())?;
    let address = pair
        .server()
        .sockets(8080)
        .next()
        .expect("the server has an address");
    let _server = TcpServer::start(pair.server().namespace(), "web", &[8080])?;
    let probe = Probe::tcp(pair.client().namespace(), address);
    ensure!(probe.run()?.is_answered(), "the net lets nobody in");
    eventually(PATIENCE, || {
        let report = daemon.json(&["safety-net", "status"])?;
        let caught = &report["caught"][0];
        ensure!(
            caught["port"] == 8080 && caught["because"] == "only-echo (end of tier default)",
            "{report:#}"
        );
        ensure!(
            report["nets"][0]["name"] == "zzz-final-allow-everything",
            "{report:#}"
        );
        Ok(())
    })?;
    let text = daemon.cli(&["safety-net", "status"])?;
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(text.stdout.contains("8080"), "{text:?}");
    daemon.apply("early.yaml", TIER)?;
    let report = daemon.json(&["safety-net", "status"])?;
    let before = report["before"][0].as_str().unwrap_or_default();
    assert!(before.contains("early"), "{report:#}");
    Ok(())
}

#[test]
fn it_goes_by_a_word_in_the_configuration_and_comes_back() -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = Daemon::start(pair.server(), &setup())?;
    let before = std::fs::read_to_string(daemon.configuration())?;
    let gone = before.replace("safetyNet: true", "safetyNet: false");
    let removed = daemon.cli(&["safety-net", "remove"])?;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert_eq!(std::fs::read_to_string(daemon.configuration())?, gone);
    assert_eq!(daemon.status()?["safety_net"], false);
    let confirmed = daemon.cli(&["confirm"])?;
    assert_eq!(confirmed.code, Some(0), "{confirmed:?}");
    let again = daemon.cli(&["safety-net", "remove"])?;
    assert_eq!(again.code, Some(2), "{again:?}");
    let restored = daemon.cli(&["safety-net", "restore"])?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(std::fs::read_to_string(daemon.configuration())?, before);
    let status = daemon.status()?;
    assert_eq!(status["safety_net"], true);
    assert!(status["unconfirmed"].is_null(), "{status:#}");
    Ok(())
}
