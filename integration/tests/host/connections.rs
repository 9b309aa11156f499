//! Live connections are named before a promotion, live on after it, and a plan says what a reload then does. Needs root.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade::lab::{Connection, Host, Probe, TcpServer, probe_all};
use palisade_integration::{Daemon, Setup, Site, ThreeHosts, UDP_PORT, eventually, examples};
use serde_json::Value;

/// How long the daemon may take to say something in its log.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a living connection may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The groups of a report with this effect.
fn groups<'r>(report: &'r Value, effect: &str) -> Vec<&'r Value> {
    let groups = report["affected"].as_array().into_iter().flatten();
    groups.filter(|group| group["effect"] == effect).collect()
}

/// The only group of a report to a port, over one protocol.
fn group<'r>(report: &'r Value, effect: &str, protocol: &str, port: u16) -> anyhow::Result<&'r Value> {
    let groups = groups(report, effect);
    let mut found = groups
        .iter()
        .filter(|group| group["protocol"] == protocol && group["port"] == port);
    let first = found.next();
    let first = first.with_context(|| format!("no {protocol}/{port} that is {effect} in {report:#}"))?;
    ensure!(found.next().is_none(), "several groups in {report:#}");
    Ok(first)
}

fn open(from: &Host, to: SocketAddr) -> anyhow::Result<Connection> {
    let opened = Connection::open(from.namespace(), to)?;
    opened.map_err(|outcome| anyhow::anyhow!("{to} did not answer: {outcome}"))
}

fn assert_lives(connection: &mut Connection) -> anyhow::Result<()> {
    let said = connection.exchange("still there?", ANSWER)?;
    ensure!(said.is_answered(), "{said}");
    Ok(())
}

#[test]
fn a_connection_that_promotion_would_deny_is_named_and_lives_on() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let (frontend, backend) = (hosts.host("frontend"), hosts.host("backend"));
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let daemon = Daemon::start(backend, &setup)?;
    let mut connections: Vec<Connection> = backend
        .sockets(8080)
        .map(|to| open(frontend, to))
        .collect::<anyhow::Result<_>>()?;
    let asked: Vec<Probe> = backend
        .sockets(UDP_PORT)
        .map(|to| Probe::udp(frontend.namespace(), to))
        .collect();
    assert!(probe_all(&asked)?.iter().all(palisade::lab::Outcome::is_answered));

    let staged = daemon.json(&["connections"])?;
    assert_eq!(daemon.cli(&["connections"])?.code, Some(1));
    for (protocol, port) in [("tcp", 8080), ("udp", UDP_PORT)] {
        let group = group(&staged, "denied", protocol, port)?;
        let ends = [&group["from"], &group["to"]];
        assert_eq!(ends, ["frontend-eth0", "backend-eth0"]);
        assert_eq!(group["connections"], 2, "one over each IP version: {group:#}");
        assert_eq!(group["unanswered"], 0);
        assert_eq!(
            (&group["before"]["verdict"], &group["after"]["verdict"]),
            (&"allow".into(), &"deny".into())
        );
        let because = &group["because"];
        assert_eq!(
            (&because["kind"], &because["trigger"]["name"]),
            (&"EndOfTier".into(), &"backend-lockdown-staged".into()),
        );
        let source = because["source"].as_str().unwrap_or_default();
        assert!(source.contains("20-lockdown.yaml:"), "{source}");
        // The servers are threads of this test.
        let owners = group["owners"].as_array().context("no owners")?;
        assert_eq!(owners.len(), 1, "{owners:#?}");
        assert_eq!(owners[0]["pid"], std::process::id());
        assert_eq!(owners[0]["connections"], 2);
    }

    // The next generation is swept by itself, and says so once.
    daemon.apply("30-other.yaml", ANYTHING_OUT)?;
    eventually(PATIENCE, || {
        let log = daemon.log();
        ensure!(log.contains("denied if opened again 4 would be"), "{log}");
        Ok(())
    })?;

    let planned = daemon.json(&["plan", "--promote-all"])?;
    assert_eq!(planned["promoted"][1], "backend-lockdown-staged");
    assert_eq!(
        group(&planned["connections"], "denied", "tcp", 8080)?["connections"],
        2
    );
    assert_eq!(
        daemon.status()?["generation"],
        planned["generation"],
        "nothing is applied"
    );
    connections.iter_mut().try_for_each(assert_lives)?;

    daemon.apply("20-lockdown.yaml", &examples::lockdown_promoted())?;
    connections.iter_mut().try_for_each(assert_lives)?;
    let promoted = daemon.json(&["connections"])?;
    assert_eq!(group(&promoted, "already_denied", "tcp", 8080)?["connections"], 2);
    assert_eq!(groups(&promoted, "denied"), [] as [&Value; 0]);
    let said = daemon.cli(&["connections"])?.stdout;
    assert!(
        said.contains("would be denied if opened again, already"),
        "{said}"
    );
    assert!(!said.contains("is being denied"), "{said}");
    Ok(())
}

#[test]
fn what_only_the_net_allows_is_told_apart() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("00-net.yaml", examples::SAFETY_NET)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    let _connection = open(
        hosts.host("frontend"),
        (hosts.host("backend").ipv6(), 9090).into(),
    )?;
    let report = daemon.json(&["connections"])?;
    let group = group(&report, "denied_without_safety_net", "tcp", 9090)?;
    assert_eq!(group["after"]["verdict"], "allow");
    assert_eq!(group["after"]["without_safety_net"], "deny");
    Ok(())
}

#[test]
fn a_translated_connection_is_judged_by_where_it_goes() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let (frontend, backend) = (hosts.host("frontend"), hosts.host("backend"));
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-staged.yaml", DENY_9090);
    let daemon = Daemon::start(backend, &setup)?;
    palisade_integration::nft(daemon.namespace(), &["-f", "-"], REDIRECT)?;
    let _connections: Vec<Connection> = backend
        .sockets(7000)
        .map(|to| open(frontend, to))
        .collect::<anyhow::Result<_>>()?;
    let report = daemon.json(&["connections"])?;
    let group = group(&report, "denied", "tcp", 9090)?;
    assert_eq!(
        (&group["connections"], &group["to"]),
        (&2.into(), &"backend-eth0".into())
    );
    let example = group["example"].as_str().unwrap_or_default();
    assert!(example.contains(":7000, translated to "), "{example}");
    assert_eq!(group["owners"][0]["pid"], std::process::id());
    Ok(())
}

#[test]
fn what_goes_through_the_host_is_judged_there() -> anyhow::Result<()> {
    let site = Site::new()?;
    let setup = Setup::new("router")
        .resource("hosts.yaml", ROUTER)
        .resource("20-staged.yaml", NOBODY_THROUGH);
    let daemon = Daemon::start(site.router(), &setup)?;
    let mut connections = Vec::new();
    for version in [4, 6] {
        let to = SocketAddr::new(site.address("friend", "web", version), 8080);
        let opened = Connection::open(site.namespace("friend"), to)?;
        connections.push(opened.map_err(|outcome| anyhow::anyhow!("{outcome}"))?);
    }
    let report = daemon.json(&["connections"])?;
    let group = group(&report, "denied", "tcp", 8080)?;
    assert_eq!(group["connections"], 2, "{group:#}");
    assert_eq!(group["because"]["stage"], "forward");
    assert_eq!(
        group["owners"],
        Value::Array(Vec::new()),
        "its sockets are elsewhere"
    );
    daemon.apply(
        "20-staged.yaml",
        &NOBODY_THROUGH.replace("StagedGlobal", "Global"),
    )?;
    connections.iter_mut().try_for_each(assert_lives)?;
    let promoted = daemon.json(&["connections"])?;
    assert_eq!(groups(&promoted, "already_denied").len(), 1, "{promoted:#}");
    Ok(())
}

#[test]
fn a_plan_says_what_the_reload_then_does() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    let nothing = daemon.cli(&["plan"])?;
    assert_eq!(nothing.code, Some(0), "{nothing:?}");
    assert!(nothing.stdout.contains("kernel: no change"), "{nothing:?}");

    let promoted = examples::lockdown_promoted();
    let steps = [
        ("30-other.yaml", Some(DENY_9090)),
        ("20-lockdown.yaml", Some(promoted.as_str())),
        ("10-set.yaml", Some(FROM_THE_DATABASE)),
        ("30-other.yaml", None),
    ];
    for (file, text) in steps {
        match text {
            Some(text) => daemon.write(file, text)?,
            None => daemon.remove(file)?,
        }
        let held = daemon.held()?;
        let said = daemon.cli(&["plan"])?;
        assert_eq!(said.code, Some(1), "{said:?}");
        let planned = daemon.json(&["plan"])?;
        assert_eq!(daemon.held()?, held, "nothing is applied");
        let reloaded = daemon.json(&["reload"])?;
        assert_eq!(
            reloaded["changes"], planned["kernel"]["operations"],
            "{file}: {planned:#}"
        );
        assert_eq!(reloaded["generation"], planned["next_generation"], "{file}");
        assert_eq!(daemon.cli(&["plan"])?.code, Some(0), "{file}");
        // Chains come and go as the plan has it.
        let listing = daemon.listing()?;
        for chain in planned["kernel"]["chains"].as_array().context("no chains")? {
            let name = chain["name"].as_str().unwrap_or_default();
            let is_there = listing.contains(&format!("\tchain {name} {{"));
            assert_eq!(is_there, chain["change"] != "removed", "{file}: {chain:#}");
        }
    }
    Ok(())
}

#[test]
fn a_plan_of_other_resources_and_of_one_promotion() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED)
        .resource("30-other.yaml", DENY_9090);
    let daemon = Daemon::start(hosts.host("backend"), &setup)?;
    let one = daemon.json(&["plan", "--promote", "deny-9090"])?;
    assert_eq!(one["promoted"], Value::Array(vec!["deny-9090".into()]));
    let changes = one["connectivity"]["changes"]
        .as_array()
        .context("no connectivity")?;
    let removed = changes.iter().map(|change| &change["text"]["removed"]);
    assert_eq!(removed.collect::<Vec<_>>(), ["tcp 9090"], "{one:#}");
    assert_eq!(changes[0]["to"], serde_json::json!(["backend-eth0"]));
    assert!(
        one["connectivity"]["changes"][0]["witnesses"][0]["verdicts"]["new"]
            .as_str()
            .is_some_and(|verdict| verdict.contains("deny-9090"))
    );
    let without = daemon.json(&["plan", "--promote", "deny-9090", "--without-connectivity"])?;
    assert_eq!(without["connectivity"], Value::Null);
    let unknown = daemon.cli(&["plan", "--promote", "nobody"])?;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(
        unknown.stderr.contains("deny-9090"),
        "it says what is staged: {unknown:?}"
    );

    let elsewhere = tempfile::tempdir()?;
    let path = elsewhere.path().to_str().context("no path")?;
    std::fs::write(elsewhere.path().join("hosts.yaml"), examples::HOSTS)?;
    let fewer = daemon.json(&["plan", path])?;
    let removed = fewer["kernel"]["chains"].as_array().into_iter().flatten();
    assert!(
        removed.filter(|chain| chain["change"] == "removed").count() > 0,
        "{fewer:#}"
    );
    std::fs::write(elsewhere.path().join("broken.yaml"), "kind: Nonsense\n")?;
    let broken = daemon.cli(&["plan", path])?;
    assert_eq!(broken.code, Some(3), "{broken:?}");
    assert!(broken.stderr.contains("broken.yaml:1:"), "{broken:?}");

    daemon.write("40-broken.yaml", "kind: Nonsense\n")?;
    let refused = daemon.cli(&["plan"])?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("40-broken.yaml:1:"), "{refused:?}");
    Ok(())
}

#[test]
fn a_server_of_another_process_is_named_by_its_own() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let (frontend, backend) = (hosts.host("frontend"), hosts.host("backend"));
    let setup = Setup::new("frontend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-staged.yaml", FRONTEND_OUT);
    let daemon = Daemon::start(frontend, &setup)?;
    let _server = TcpServer::start(backend.namespace(), "late", &[4000])?;
    let to = SocketAddr::new(backend.ipv4(), 4000);
    let mut command = std::process::Command::new("bash");
    command.args([
        "-c",
        &format!(
            "exec 3<>/dev/tcp/{}/{}; read -r line <&3; sleep 60 & wait",
            to.ip(),
            to.port()
        ),
    ]);
    let client = frontend.namespace().spawn(&command)?;
    eventually(PATIENCE, || {
        let report = daemon.json(&["connections"])?;
        let group = group(&report, "denied", "tcp", 4000)?;
        let owner = &group["owners"][0];
        ensure!(
            owner["comm"] == "bash" && owner["pid"] == client.id(),
            "{group:#}"
        );
        Ok(())
    })
}

/// What comes to port 7000 is for port 9090.
const REDIRECT: &str = "table inet elsewhere {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        tcp dport 7000 redirect to :9090
    }
}";

const DENY_9090: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: deny-9090
spec:
  order: 1
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - action: Deny
      protocol: TCP
      destination: {ports: [9090]}
    - action: Allow
";

const ANYTHING_OUT: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: anything-out
spec:
  selector: app == 'backend'
  types: [Egress]
  egress:
    - action: Allow
";

const FROM_THE_DATABASE: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: from-the-database
spec:
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - action: Allow
      source: {selector: app == 'database'}
";

const FRONTEND_OUT: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: frontend-out
spec:
  selector: app == 'frontend'
  types: [Egress]
";

const ROUTER: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: router
  labels: {role: router}
spec:
  node: router
  interfaceName: '*'
";

const NOBODY_THROUGH: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: nobody-through
spec:
  selector: role == 'router'
  applyOnForward: true
  types: [Ingress]
  ingress:
    - action: Deny
      protocol: TCP
      destination: {ports: [8080]}
    - action: Allow
";
