use std::collections::BTreeMap;
use std::time::Duration;

use palisade_rules::compile::{Options, compile};
use palisade_rules::decode::decode;
use palisade_rules::evaluate::Packet;
use palisade_rules::net::Protocol;
use palisade_rules::source::Files;
use palisade_rules::world::{EndpointKind, Host, resolve};
use time::OffsetDateTime;

use super::*;
use crate::flows::observe::{Kept, Tally};
use crate::flows::report::{Observed, StagedReport, Verdict, staged_reports};

/// What is enforced: `web` lets two ports in from outside, and out; behind it everything is denied.
const ENFORCED: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: inside, labels: {app: web}}
spec: {node: here, interfaceName: eth0, expectedIPs: [10.0.0.1]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: outside, labels: {app: web, side: out}}
spec: {node: here, interfaceName: eth1, expectedIPs: [10.0.1.1]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: app == 'web'
  order: 1
  applyOnForward: true
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80, 9100]}}]
  egress: [{action: Allow}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: deny-rest}
spec:
  selector: all()
  order: 2
  applyOnForward: true
  types: [Ingress, Egress]
  ingress: [{action: Deny}]
  egress: [{action: Deny}]
";

/// The report on `web`, staged with this specification, after one connection at each port of both endpoints, one out of
/// each, and one through each. One more comes in by a failsafe.
fn report(action: &str, spec: &str) -> StagedReport {
    let staged = format!(
        "---\napiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicy\nmetadata: {{name: web}}\n\
         spec: {{stagedAction: {action}{spec}}}\n"
    );
    let mut files = Files::default();
    let file = files.add("resources.yaml", ENFORCED.to_owned() + &staged);
    let (snapshot, diagnostics) = decode(&files, &[file]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    let interface = |name: &str, address: &str| (name.to_owned(), vec![address.parse().unwrap()]);
    let host = Host {
        node: Some("here".to_owned()),
        interfaces: [interface("eth0", "10.0.0.1"), interface("eth1", "10.0.1.1")].into(),
        ..Host::default()
    };
    let worlds = resolve(&snapshot, host);
    let compiled = compile(&worlds, &Options::default());
    let then = OffsetDateTime::UNIX_EPOCH;
    let known = BTreeMap::new();
    let generation = Generation::new(1, then, then, Arc::new(snapshot), worlds, compiled, &known);
    let mut kept = Kept::default();
    for (name, address) in [("inside", "10.0.0.1"), ("outside", "10.0.1.1")] {
        for (direction, forwarded, port) in [
            (Direction::Ingress, false, 80),
            (Direction::Ingress, false, 9_100),
            (Direction::Ingress, false, 22),
            (Direction::Egress, false, 443),
            (Direction::Ingress, true, 80),
        ] {
            let [far, near] = ["192.0.2.1", address].map(|address| address.parse().unwrap());
            let (source, destination) = match direction {
                Direction::Ingress => (far, near),
                Direction::Egress => (near, far),
            };
            let connection = Connection {
                endpoint: Arc::new(EndpointKey {
                    kind: EndpointKind::Host,
                    namespace: None,
                    name: name.to_owned(),
                }),
                direction,
                forwarded,
                packet: Packet {
                    source,
                    destination: if forwarded {
                        "192.0.2.2".parse().unwrap()
                    } else {
                        destination
                    },
                    protocol: Protocol::TCP,
                    source_port: 0,
                    destination_port: port,
                    icmp_type: 0,
                    icmp_code: 0,
                },
            };
            kept.keep(1, &connection, kept.len() as u64, Tally::one(60, then));
        }
    }
    let observed = Observed {
        generation: &generation,
        kept: &kept,
        counters: &BTreeMap::new(),
        alive: Ok(&crate::live::Alive {
            connections: Vec::new(),
            is_complete: true,
            notes: Vec::new(),
        }),
        reading: true,
        now: then,
    };
    let mut reports = staged_reports(&observed, Duration::ZERO);
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

/// The flows that would be denied: where, direction, port, and by what.
fn denied(report: &StagedReport) -> Vec<(&str, &str, u16, &str)> {
    let denied = report.flows.iter().filter(|flow| flow.would_be_denied());
    let mut denied: Vec<_> = denied
        .map(|flow| {
            let here = if flow.direction == "ingress" {
                &flow.to
            } else {
                &flow.from
            };
            (
                here.as_str(),
                flow.direction.as_str(),
                flow.port,
                flow.because.as_str(),
            )
        })
        .collect();
    denied.sort_unstable();
    denied
}

const ALL_OF_IT: &str = ", order: 1, selector: app == 'web', applyOnForward: true, types: [Ingress, Egress],
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80, 9100]}}], egress: [{action: Allow}]";

#[test]
fn a_copy_that_changes_nothing_is_ready() {
    let report = report("Set", ALL_OF_IT);
    assert_eq!(
        (report.evaluated, report.would_allow, report.would_deny),
        (8, 8, 0)
    );
    assert_eq!(report.judgement.verdict, Verdict::Ready, "{:?}", report.judgement);
}

#[test]
fn a_policy_speaks_for_what_it_no_longer_allows() {
    for (action, spec, expected) in [
        ("Set", ALL_OF_IT.replace(", 9100", ""), 2),
        ("Learn", ALL_OF_IT.replace(", 9100", ""), 2),
        ("Set", ALL_OF_IT.replace("app == 'web'", "side == 'out'"), 4),
        ("Set", ALL_OF_IT.replace("app == 'web'", "app == 'nothing'"), 8),
        (
            "Set",
            ALL_OF_IT
                .replace("Ingress, Egress", "Ingress")
                .replace(", egress: [{action: Allow}]", ""),
            2,
        ),
        ("Set", ALL_OF_IT.replace("applyOnForward: true, ", ""), 2),
        ("Delete", String::new(), 8),
    ] {
        let report = report(action, &spec);
        assert_eq!(
            (report.evaluated, report.would_deny),
            (8, expected),
            "{action} {spec}"
        );
        assert_eq!(report.judgement.verdict, Verdict::NotReady, "{action} {spec}");
        assert_eq!(report.endpoints, ["inside", "outside"], "{action} {spec}");
    }
}

#[test]
fn what_denies_instead_is_named() {
    let narrowed = report("Set", &ALL_OF_IT.replace(", 9100", ""));
    let denies = "deny-rest (ingress rule 0)";
    assert_eq!(
        denied(&narrowed),
        [
            ("inside", "ingress", 9_100, denies),
            ("outside", "ingress", 9_100, denies)
        ]
    );
    assert_eq!(
        narrowed.judgement.reasons,
        ["would deny 2 connections from public: tcp 9100 (2)"]
    );
}
