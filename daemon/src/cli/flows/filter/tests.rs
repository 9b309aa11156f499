use super::*;
use clap::Parser;
use time::macros::datetime;

use crate::cli::args::{Cli, Command};

fn args(line: &str) -> Box<FlowsArgs> {
    let words = ["palisade", "flows"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(words).unwrap().command {
        Command::Flows(args) => args,
        other => panic!("{other:?}"),
    }
}

fn record() -> FlowRecord {
    let mut record = full();
    record.end_time = datetime!(2026-11-23 04:05:06 UTC);
    record.start_time = datetime!(2026-11-23 04:05:05 UTC);
    "allow".clone_into(&mut record.action);
    "deny".clone_into(&mut record.pending_action);
    "frontend".clone_into(&mut record.source_name);
    record.source_namespace = Some("red".to_owned());
    let labels = [("app.kubernetes.io/name".to_owned(), "web".to_owned())];
    record.source_labels = Arc::new(labels.into());
    "backend".clone_into(&mut record.dest_name);
    record.dest_port = 9090;
    "tcp".clone_into(&mut record.proto);
    record.source_owners.clear();
    record.dest_owners[0].unit = Some("nginx.service".to_owned());
    record.dest_owners[0].comm = Some("nginx".to_owned());
    let traces = Arc::make_mut(&mut record.policies);
    for (steps, name) in [(&mut traces.enforced, "old"), (&mut traces.pending, "lockdown")] {
        "default".clone_into(&mut steps[0].tier);
        name.clone_into(&mut steps[0].name);
        steps[0].rule_index = 3;
    }
    record
}

#[track_caller]
fn check(line: &str, wants: bool) {
    let args = args(line);
    let filter = Filter::new(&args, datetime!(2026-11-23 05:00:00 UTC));
    assert_eq!(filter.unwrap().wants(&record()), wants, "{line}");
}

#[test]
fn every_filter_lets_the_right_ones_through() {
    for line in [
        "",
        "--endpoint frontend --port 9090 --proto tcp",
        "--endpoint backend",
        "--source red/frontend --dest backend --source-namespace red",
        "--source-label app.kubernetes.io/name=web",
        "--action allow --pending-action deny --would-deny",
        "--verdict allow --pending deny",
        "--policy lockdown --rule 3 --tier default",
        "--unit nginx --process nginx",
        "--unit nginx.service",
        "--safety-net not-caught",
        "--remainders",
        "--since 1h",
        "--since today --until 2026-11-23T04:06:00Z",
        "--since 2026-11-23",
        "--where dest_port=9090 --where proto!=udp",
        "--where policies.pending.name=lockdown --where policies.pending.trigger.kind!=x",
        "--where source_labels.app.kubernetes.io/name=web",
        "--where source_namespace=red --where dest_namespace=null",
        "--where dest_owners.unit=nginx.service --where source_owners.unit=null",
        "--where log_status.complete=true --where folded_flows=1",
    ] {
        check(line, true);
    }
    for line in [
        "--endpoint database",
        "--source backend",
        "--port 80",
        "--source-label app.kubernetes.io/name=db",
        "--dest-label app=web",
        "--action deny",
        "--policy lockdown --tier other",
        "--policy other",
        "--rule 4",
        "--unit ssh",
        "--process nginx --unit ssh",
        "--safety-net caught",
        "--since 10m",
        "--until 2026-11-23T04:00:00Z",
        "--where dest_port!=9090",
        "--where policies.pending.name!=lockdown",
        "--where source_owners.unit=nginx.service",
    ] {
        check(line, false);
    }
}

#[test]
fn what_is_no_field_is_told_with_all_that_are() {
    let args = args("--where sourcename=x");
    let error = Filter::new(&args, OffsetDateTime::UNIX_EPOCH).unwrap_err();
    assert!(
        error.message.contains("no field \"sourcename\""),
        "{}",
        error.message
    );
    assert!(error.message.contains("  source_name\n"), "{}", error.message);
    assert!(
        error.message.contains("  source_labels.KEY\n"),
        "{}",
        error.message
    );
    assert!(
        error.message.contains("  policies.pending.trigger.name\n"),
        "{}",
        error.message
    );
}

#[test]
fn every_field_can_be_asked_for() {
    let record = serde_json::to_value(full()).unwrap();
    for field in fields().into_iter().filter(|field| !field.contains("KEY")) {
        let mut found = Vec::new();
        values(&record, &path(&field).unwrap(), &mut found);
        assert!(!found.is_empty(), "{field}");
    }
}

#[test]
fn a_time_that_is_none_says_how_it_is_written() {
    let error = moment("noon", OffsetDateTime::UNIX_EPOCH).unwrap_err();
    assert!(error.message.contains("10m, 2h, 3d"), "{}", error.message);
}

#[test]
fn no_records_at_all_are_not_to_be_asked_for() {
    for (limit, is_taken) in [("0", false), ("1", true)] {
        let parsed = Cli::try_parse_from(["palisade", "flows", "-f", "--limit", limit]);
        assert_eq!(parsed.is_ok(), is_taken, "{limit}");
    }
}
