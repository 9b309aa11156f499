//! A ServiceEndpoint governs what its unit sends and receives, and nothing else, across restarts. Needs root.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use palisade::lab::{Host, Probe, TcpServer, probe_all};
use palisade_integration::{Daemon, Setup, ThreeHosts, Unit, eventually, examples};

/// What the service listens on; nobody else does.
const SERVED: [u16; 2] = [7070, 7071];

/// Until a change of cgroups is in force.
const PATIENCE: Duration = Duration::from_secs(10);

/// A ServiceEndpoint on the backend for the unit.
fn endpoint(unit: &Unit) -> String {
    format!(
        "apiVersion: palisade.dev/v1\nkind: ServiceEndpoint\nmetadata: {{name: web, labels: {{role: web}}}}\n\
         spec: {{node: backend, unit: {}}}\n",
        unit.name()
    )
}

/// The service is reached on one port by the frontend alone, and reaches one port of anybody.
const POLICY: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web-only}
spec:
  selector: role == 'web'
  types: [Ingress, Egress]
  ingress:
    - action: Allow
      protocol: TCP
      source: {selector: app == 'frontend'}
      destination: {ports: [7070]}
  egress:
    - {action: Allow, protocol: TCP, destination: {ports: [9090]}}
";

/// Backend, database and frontend, a started unit on the backend, and the service in it.
struct Scene {
    hosts: ThreeHosts,
    unit: Unit,
    _service: TcpServer,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let hosts = ThreeHosts::new()?;
        let unit = Unit::new()?;
        unit.start()?;
        let service = Scene::serve(&hosts, &unit)?;
        Ok(Scene {
            hosts,
            unit,
            _service: service,
        })
    }

    fn serve(hosts: &ThreeHosts, unit: &Unit) -> anyhow::Result<TcpServer> {
        unit.inside(|| {
            Ok(TcpServer::start(
                hosts.host("backend").namespace(),
                "web",
                &SERVED,
            )?)
        })
    }

    fn daemon(&self, policy: &str) -> anyhow::Result<Daemon> {
        let setup = Setup::new("backend")
            .resource("hosts.yaml", examples::HOSTS)
            .resource("service.yaml", endpoint(&self.unit))
            .resource("web-only.yaml", policy);
        Daemon::start(self.hosts.host("backend"), &setup)
    }

    /// Which of these connections to the backend come through, over both IP versions alike.
    fn received(&self) -> anyhow::Result<Vec<(&'static str, u16, bool)>> {
        let backend = self.hosts.host("backend");
        let asked = ["frontend", "database"]
            .into_iter()
            .flat_map(|from| [7070, 7071, 8080].map(|port| (from, port)));
        let ask = |(from, port)| Ok((from, port, both(self.hosts.host(from), backend, port)?));
        asked.map(ask).collect()
    }

    /// Which of these connections from the service come through.
    fn sent(&self) -> anyhow::Result<Vec<(u16, bool)>> {
        self.unit.inside(|| self.sent_by_host())
    }

    /// Which of these connections from any other process of the backend come through.
    fn sent_by_host(&self) -> anyhow::Result<Vec<(u16, bool)>> {
        let (backend, frontend) = (self.hosts.host("backend"), self.hosts.host("frontend"));
        let ask = |port| Ok((port, both(backend, frontend, port)?));
        [8080, 9090].into_iter().map(ask).collect()
    }
}

/// Whether a connection comes through; it must be the same over both IP versions.
fn both(from: &Host, to: &Host, port: u16) -> anyhow::Result<bool> {
    let probes: Vec<Probe> = to
        .sockets(port)
        .map(|to: SocketAddr| Probe::tcp(from.namespace(), to))
        .collect();
    let outcomes = probe_all(&probes)?;
    let answered = outcomes.iter().filter(|outcome| outcome.is_answered()).count();
    ensure!(
        answered == 0 || answered == outcomes.len(),
        "port {port} of {}: {outcomes:?}",
        to.name()
    );
    Ok(answered > 0)
}

const GOVERNED: [(&str, u16, bool); 6] = [
    ("frontend", 7070, true),
    ("frontend", 7071, false),
    ("frontend", 8080, true),
    ("database", 7070, false),
    ("database", 7071, false),
    ("database", 8080, true),
];

#[test]
fn both_directions_of_a_service_are_enforced_and_its_host_is_left_alone() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let backend = scene.daemon(POLICY)?;
    assert_eq!(scene.received()?, GOVERNED, "{}", backend.listing()?);
    assert_eq!(scene.sent()?, [(8080, false), (9090, true)]);
    assert_eq!(scene.sent_by_host()?, [(8080, true), (9090, true)]);

    let endpoints = backend.json(&["endpoints"])?;
    let all = endpoints.as_array().map(Vec::as_slice).unwrap_or_default();
    let service = all.iter().find(|row| row["kind"] == "ServiceEndpoint");
    let cgroups = service.map(|row| row["cgroups"].to_string()).unwrap_or_default();
    assert!(cgroups.contains(scene.unit.name()), "{endpoints:#}");
    let table = backend.cli(&["endpoints"])?.stdout;
    assert!(table.contains("CGROUPS") && table.contains("KIND"), "{table}");
    let status = backend.status()?;
    assert_eq!(status["endpoints_by_kind"]["ServiceEndpoint"], 1, "{status:#}");
    Ok(())
}

#[test]
fn a_service_that_is_restarted_is_still_itself() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let unit = Unit::new()?;
    let scene = |hosts, unit, service| Scene {
        hosts,
        unit,
        _service: service,
    };
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("service.yaml", endpoint(&unit))
        .resource("web-only.yaml", POLICY);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let ways = |expected: usize| {
        eventually(PATIENCE, || {
            let listing = backend.listing()?;
            let found = listing.matches("socket cgroupv2").count();
            ensure!(found == expected, "{found} instead of {expected}:\n{listing}");
            Ok(())
        })
    };
    ways(0)?;
    // It is given a cgroup with each start, and it is another one.
    for _ in 0..2 {
        unit.start()?;
        ways(2)?;
        let service = Scene::serve(&hosts, &unit)?;
        assert!(both(hosts.host("frontend"), hosts.host("backend"), 7070)?);
        assert!(!both(hosts.host("database"), hosts.host("backend"), 7070)?);
        drop(service);
        unit.stop()?;
        ways(0)?;
    }
    unit.start()?;
    ways(2)?;
    let service = Scene::serve(&hosts, &unit)?;
    let scene = scene(hosts, unit, service);
    assert_eq!(scene.received()?, GOVERNED);
    assert_eq!(scene.sent()?, [(8080, false), (9090, true)]);
    Ok(())
}

#[test]
fn a_staged_policy_on_a_service_counts_and_denies_nothing() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let staged = POLICY.replace("kind: Global", "kind: StagedGlobal");
    let backend = scene.daemon(&staged)?;
    let all = scene.received()?;
    assert!(all.iter().all(|(.., answered)| *answered), "{all:?}");
    assert_eq!(scene.sent()?, [(8080, true), (9090, true)]);

    let ends = |world| -> anyhow::Result<[u64; 2]> {
        let counters = backend.counters()?;
        let end = |direction| counters.end_of_tier(world, direction, "default");
        Ok([end("ingress")?.packets_total, end("egress")?.packets_total])
    };
    // Over two IP versions: one port from the frontend, two from the database; one port to the frontend.
    assert_eq!(ends("pending")?, [2 * 3, 2]);
    eventually(PATIENCE, || {
        let records = backend.records()?;
        let denied: Vec<_> = records
            .iter()
            .filter(|record| record["type"] == "flow" && record["pending_action"] == "deny")
            .collect();
        let of = |end: &str, reporter: &str| {
            let mut records = denied.iter();
            records.any(|record| {
                record["reporter"] == reporter
                    && record["action"] == "allow"
                    && record[format!("{end}_name")] == "web"
                    && record[format!("{end}_type")] == "ServiceEndpoint"
                    && record[format!("{end}_labels")]["role"] == "web"
            })
        };
        ensure!(of("dest", "dst") && of("source", "src"), "{denied:#?}");
        Ok(())
    })?;
    let report = backend.json(&["staged", "web-only"])?;
    assert_eq!(report[0]["endpoints"][0], "web", "{report:#}");
    assert_eq!(report[0]["would_deny"], 8, "{report:#}");

    backend.apply("web-only.yaml", POLICY)?;
    assert_eq!(scene.received()?, GOVERNED);
    assert_eq!(scene.sent()?, [(8080, false), (9090, true)]);
    assert_eq!(ends("enforced")?, [2 * 2 * 3, 2 * 2], "the history goes on");
    Ok(())
}
