use ipnet::IpNet;
use palisade_rules::analysis::learn::learn;
use palisade_rules::decode::decode;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, resolve};
use serde_json::{Value, json};

use super::*;

const RESOURCES: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: web}
spec: {node: here, interfaceName: eth0, expectedIPs: [10.0.0.1, 'fd00::1']}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: db}
spec: {node: there, interfaceName: eth0, expectedIPs: [10.0.0.2, 'fd00::2']}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: lan}
spec: {nets: [10.9.0.0/16]}
";

fn worlds() -> Worlds {
    let mut files = Files::default();
    let file = files.add("resources.yaml", RESOURCES);
    let (snapshot, diagnostics) = decode(&files, &[file]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    let host = Host {
        node: Some("here".to_owned()),
        ..Host::default()
    };
    resolve(&snapshot, host)
}

/// A record of two connections to `web`, with these fields besides.
fn record(fields: &Value) -> FlowRecord {
    let traces = json!({"enforced": [], "pending": [], "enforced_without_safety_net": null, "pending_without_safety_net": null});
    let mut record = json!({
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:01:00Z", "reporter": "dst", "direction": "ingress",
        "action": "allow", "pending_action": "allow",
        "safety_net": {"caught": false, "action": "allow", "pending_action": "allow"},
        "source_namespace": null, "source_labels": {}, "dest_namespace": null, "dest_labels": {},
        "dest_name": "web", "dest_type": "HostEndpoint", "dest_port": 80, "proto": "tcp", "policies": traces,
        "evaluated": 2, "packets_in": 2, "packets_out": 0, "bytes_in": 120, "bytes_out": 0, "connections_started": 2,
        "connections_completed": 0, "connections_live": 0, "completed_duration_ms": 0,
        "log_status": {"complete": true, "lost": 0, "unreadable": 0, "folded": 0, "accounting": false, "ends_lost": 0, "ends_unknown": 0},
    });
    record
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    serde_json::from_value(record).unwrap()
}

fn seen(fields: &Value) -> (Vec<(String, String, u64)>, Vec<String>) {
    let worlds = worlds();
    let mut seen = FromRecords::default();
    let record = record(fields);
    seen.add(&worlds, &record);
    seen.add(&worlds, &record);
    let observed = seen.observed(&worlds).into_iter().map(|it| {
        let packet = it.packet;
        (
            packet.source.to_string(),
            packet.destination.to_string(),
            it.connections,
        )
    });
    (observed.collect(), seen.remarks())
}

#[test]
fn a_record_is_of_its_addresses_or_of_those_that_its_names_have() {
    let one = |source: &str, connections| vec![(source.to_owned(), "10.0.0.1".to_owned(), connections)];
    let (observed, remarks) =
        seen(&json!({"source_name": "public", "source_type": "Network", "source_ip": "192.0.2.1"}));
    assert_eq!((observed, remarks.len()), (one("192.0.2.1", 4), 0));
    let (observed, _) = seen(&json!({"source_name": "lan", "source_type": "NetworkSet"}));
    assert_eq!(observed, one("10.9.0.0", 4));
    let (observed, _) = seen(&json!({"source_name": "db", "source_type": "HostEndpoint"}));
    let of_v6 = ("fd00::2".to_owned(), "fd00::1".to_owned(), 0);
    assert_eq!(observed, [one("10.0.0.2", 4), vec![of_v6]].concat());
}

#[test]
fn what_records_say_is_missing_is_said_once_for_each_interval() {
    let worlds = worlds();
    let mut seen = FromRecords::default();
    let status = json!({"complete": false, "lost": 3, "unreadable": 1, "folded": 0, "accounting": false, "ends_lost": 0, "ends_unknown": 0});
    let fields = json!({"source_name": "lan", "source_type": "NetworkSet", "log_status": status});
    seen.add(&worlds, &record(&fields));
    seen.add(&worlds, &record(&fields));
    let times = |minute: u8| [minute, minute + 1].map(|minute| format!("2026-01-01T00:0{minute}:00Z"));
    for (minute, missed) in [(0, 4), (1, 6)] {
        let [start, end] = times(minute);
        let interval = json!({
            "start_time": start, "end_time": end, "generation": 1, "flows": 2, "folded_flows": 0, "evaluated": 4, "sampled": 0,
            "counted": 4, "evaluated_total": 4, "counted_total": 4, "suppressed": 1, "suppressed_evaluated": 5,
            "missed_total": missed, "log_status": status,
        });
        seen.add_interval(&serde_json::from_value(interval).unwrap());
    }
    let remarks = seen.remarks();
    for said in [
        "6 packets were lost, 2 could not be read",
        "records of 10 connections were left out",
        "up to 6 records were never written",
    ] {
        let found = remarks.iter().filter(|remark| remark.contains(said)).count();
        assert_eq!(found, 1, "{said} is not in {remarks:#?}");
    }
}

#[test]
fn of_a_set_without_addresses_all_is_allowed_and_not_the_one_that_stands_for_it() {
    let mut files = Files::default();
    let file = files.add("resources.yaml", RESOURCES);
    let snapshot = decode(&files, &[file]).0.unwrap();
    let worlds = worlds();
    let mut seen = FromRecords::default();
    seen.add(
        &worlds,
        &record(&json!({"source_name": "lan", "source_type": "NetworkSet"})),
    );
    let request = crate::api::learn::LearnRequest {
        name: "learnt".to_owned(),
        endpoint: Some("web".to_owned()),
        include_denied: true,
        ..Default::default()
    };
    let question = request.question(seen.remarks()).unwrap();
    let proposal = learn(&snapshot, &worlds, &question, &seen.observed(&worlds)).unwrap();
    let nets: Vec<IpNet> = vec!["10.9.0.0/16".parse().unwrap()];
    assert_eq!(proposal.policy.ingress[0].source.nets, Some(nets));
    let mut warnings = proposal.warnings.iter();
    assert!(
        warnings.any(|warning| warning.contains("addresses of lan")),
        "{:?}",
        proposal.warnings
    );
    assert!(
        !proposal.text.contains("no other is allowed"),
        "{}",
        proposal.text
    );
}

#[test]
fn what_no_record_says_is_not_learnt_and_counted() {
    for (fields, remark) in [
        (
            json!({"source_name": "public", "source_type": "Network"}),
            "flows.includeAddresses",
        ),
        (
            json!({"source_name": "db", "source_type": "HostEndpoint", "folded_flows": 3}),
            "remainders",
        ),
        (
            json!({"source_name": "db", "source_type": "HostEndpoint", "dest_name": "other"}),
            "--node",
        ),
    ] {
        let (observed, remarks) = seen(&fields);
        assert_eq!(observed, []);
        assert!(
            remarks[0].contains("of 4 connections") && remarks[0].contains(remark),
            "{remarks:?}"
        );
    }
}
