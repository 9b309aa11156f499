//! Ports, source ports and ICMP types.

use super::*;

#[test]
fn a_port_goes_with_a_protocol_that_has_ports() {
    let worlds = network(&[]);
    assert_eq!(
        problem(&worlds, "db web tcp"),
        "a port is needed for tcp, udp and sctp: add --port"
    );
    assert_eq!(
        problem(&worlds, "db web icmp 8"),
        "only tcp, udp and sctp have ports: leave --port out"
    );
    assert_eq!(ask(&worlds, "db web 47").protocol, "47");
    assert_eq!(ask(&worlds, "db web 47").port, None);
}

#[test]
fn a_source_port_is_ephemeral_unless_it_is_given() {
    let worlds = network(&[policy(
        "p",
        "selector: role == 'web', \
         ingress: [{action: Allow, protocol: UDP, source: {ports: [123]}, destination: {ports: [123]}}]",
    )]);
    let mut query = query("192.0.2.1 web udp 123");
    let answer = explain(&worlds, &query).unwrap();
    assert_eq!(answer.enforced.verdict, "deny");
    assert_eq!(
        answer.note.as_deref(),
        Some("some rules look at the source port; 49152 was taken: ask with --source-port")
    );
    query.source_port = Some(123);
    let answer = explain(&worlds, &query).unwrap();
    assert_eq!((answer.enforced.verdict.as_ref(), answer.note), ("allow", None));
    // Where no rule looks, there is nothing to note.
    assert_eq!(ask(&network(&[]), "db web tcp 80").note, None);
}

#[test]
fn icmp_that_conntrack_never_calls_new_is_noted() {
    let worlds = network(&[]);
    for (text, icmp_type, noted) in [
        ("db web icmp", None, false),
        ("db web icmp", Some(8), false),
        ("db web icmp", Some(13), false),
        ("db web icmp", Some(3), true),
        ("db web icmp", Some(0), true),
        ("db web icmpv6", None, false),
        ("db web icmpv6", Some(128), false),
        ("db web icmpv6", Some(139), false),
        ("db web icmpv6", Some(1), true),
    ] {
        let query = Query {
            icmp_type,
            ..query(text)
        };
        let note = explain(&worlds, &query).unwrap().note;
        assert_eq!(note.is_some(), noted, "{text} {icmp_type:?}: {note:?}");
    }
}
