use std::collections::BTreeMap;

use super::*;
use crate::flows::sinks::tests::{ALL, batch};

/// Decodes an entry as journald does: by the protocol's own description.
fn decode(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            entry = rest;
        } else {
            let (length, rest) = rest.split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            assert_eq!(rest[length], b'\n');
            entry = &rest[length + 1..];
        }
    }
    fields
}

fn journald() -> (tempfile::TempDir, PathBuf, UnixDatagram) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    (directory, path, socket)
}

fn receive(socket: &UnixDatagram) -> BTreeMap<String, String> {
    let mut bytes = vec![0; 64 << 10];
    let length = socket.recv(&mut bytes).unwrap();
    decode(&bytes[..length])
}

#[test]
fn a_flow_is_an_entry_with_fields() {
    let (_directory, path, socket) = journald();
    let mut sink = JournaldSink::new(path);
    let batch = batch(1, 0);
    assert_eq!(sink.write(&ALL.part(&batch, 5)), Outcome::default());
    let flow = receive(&socket);
    for (name, value) in [
        (
            "MESSAGE",
            "would be denied: frontend to shop/backend tcp, ingress, 3 connections",
        ),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "palisaded"),
        ("PALISADE_TYPE", "flow"),
        ("PALISADE_ACTION", "allow"),
        ("PALISADE_PENDING_ACTION", "deny"),
        ("PALISADE_SOURCE_NAME", "frontend"),
        ("PALISADE_SOURCE_IP", "10.0.0.1"),
        ("PALISADE_DEST_NAMESPACE", "shop"),
        ("PALISADE_DEST_PORT", "0"),
        ("PALISADE_EVALUATED", "3"),
        ("PALISADE_COMPLETE", "true"),
        ("PALISADE_END_TIME", "1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(flow[name], value, "{name} of {flow:#?}");
    }
    let interval = receive(&socket);
    assert_eq!(interval["PALISADE_TYPE"], "interval");
    assert_eq!(interval["PALISADE_MISSED_TOTAL"], "5");
    assert_eq!(interval["PRIORITY"], "6");
}

#[test]
fn who_decided_has_fields_of_its_own() {
    let step = StepReport {
        endpoint: "eth0".to_owned(),
        direction: "ingress".into(),
        stage: None,
        tier: "security".to_owned(),
        kind: "StagedGlobalNetworkPolicy".into(),
        namespace: None,
        name: "lockdown".to_owned(),
        rule_index: 2,
        rule_name: Some("no\ntelnet".to_owned()),
        action: "Deny".into(),
        trigger: None,
        source: None,
    };
    let mut entry = Entry::default();
    entry.decided("PENDING_", &[step]);
    let fields = decode(&entry.0);
    assert_eq!(fields["PALISADE_PENDING_POLICY"], "lockdown");
    assert_eq!(fields["PALISADE_PENDING_TIER"], "security");
    assert_eq!(
        fields["PALISADE_PENDING_RULE"], "no\ntelnet",
        "more than one line"
    );
}

#[test]
fn without_journald_all_is_missed() {
    let mut sink = JournaldSink::new("/nowhere/socket".into());
    let batch = batch(4, 0);
    let outcome = sink.write(&ALL.part(&batch, 0));
    assert_eq!(outcome.missed, 5);
    assert!(outcome.error.is_some());
    let (_directory, path, socket) = journald();
    sink.path = path;
    assert_eq!(sink.write(&ALL.part(&batch, 0)), Outcome::default());
    assert_eq!(receive(&socket)["PALISADE_TYPE"], "flow");
}

/// A journald that does not read fills its socket; what does not fit is missed, without waiting for each entry.
#[test]
fn a_journald_that_hangs_is_waited_for_once() {
    let (_directory, path, _socket) = journald();
    let mut sink = JournaldSink::new(path);
    let batch = batch(2_000, 0);
    let outcome = sink.write(&ALL.part(&batch, 0));
    assert!(outcome.missed > 0 && outcome.missed < 2_001, "{outcome:?}");
    assert_eq!(outcome.error.as_deref(), Some("journald does not read"));
}
