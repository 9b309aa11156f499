use std::net::{IpAddr, SocketAddr};

use palisade_rules::analysis::Side;
use palisade_rules::failsafe::Failsafes;
use palisade_rules::net::Protocol;
use palisade_rules::world::{Host, WorldKind, Worlds, resolve};

use super::assess::assess;
use super::seen::{Connection, Seen, tracked};
use super::*;
use crate::kernel::sockets::Socket;
use crate::source::{SourceFile, decode_files};

const OWN: [&str; 2] = ["10.0.0.1", "fd00::1"];
const SSH: u16 = 2222;

/// A host with one interface, and these policies.
fn worlds(policies: &str, failsafes: Failsafes) -> Worlds {
    let endpoint = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: here, labels: {role: here}}\n\
                    spec: {node: here, interfaceName: eth0, profiles: [projectcalico-default-allow]}\n";
    let file = |name: &str, text: &str| SourceFile::new(name, text.as_bytes());
    let reading = decode_files(&[file("endpoint.yaml", endpoint), file("policies.yaml", policies)]);
    let snapshot = reading
        .snapshot
        .unwrap_or_else(|| panic!("{}", reading.diagnostics.render(&reading.files, false)));
    let addresses: Vec<IpAddr> = OWN.map(|address| address.parse().unwrap()).into();
    let host = Host {
        node: Some("here".to_owned()),
        interfaces: [("eth0".to_owned(), addresses)].into(),
        failsafes,
        ..Host::default()
    };
    resolve(&snapshot, host)
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {{selector: all(), {spec}}}\n"
    )
}

/// Lets SSH in, from a network if one is given, and nothing else.
fn only_ssh(source: &str) -> String {
    policy(
        "ssh",
        &format!(
            "types: [Ingress], ingress: [{{action: Allow, protocol: TCP, source: {{{source}}}, destination: {{ports: [{SSH}]}}}}]"
        ),
    )
}

fn session(remote: &str, port: u16) -> Session {
    let remote: SocketAddr = remote.parse().unwrap();
    let own = OWN[usize::from(remote.is_ipv6())].parse().unwrap();
    Session {
        remote,
        local: SocketAddr::new(own, port),
    }
}

fn caller(sessions: &[Session]) -> Caller {
    Caller {
        sessions: sessions.to_vec(),
        ..Caller::default()
    }
}

/// Connections there are, an SSH server on its port among them.
fn seen(sessions: &[Session]) -> Seen {
    let connection = |ends: &Session| Connection {
        ends: *ends,
        tracked: tracked(Protocol::TCP, ends.remote, ends.local),
        socket: Socket {
            inode: 1,
            uid: 0,
            cgroup: None,
        },
    };
    Seen {
        connections: sessions.iter().map(connection).collect(),
        ssh_ports: [SSH].into(),
        ..Seen::default()
    }
}

fn between(before: &Worlds, after: &Worlds, seen: &Seen, caller: &Caller) -> GuardReport {
    let side = |worlds| Side {
        worlds,
        world: WorldKind::Enforced,
    };
    assess(side(before), side(after), seen, caller).report
}

/// What the step from no policy at all does.
fn from_nothing(policies: &str, seen: &Seen, caller: &Caller) -> GuardReport {
    let [before, after] = ["", policies].map(|policies| worlds(policies, Failsafes::default()));
    between(&before, &after, seen, caller)
}

#[test]
fn what_cuts_the_callers_own_session_is_refused_and_named() {
    let own = session("10.9.0.7:50000", SSH);
    let report = from_nothing(&only_ssh("nets: [10.8.0.0/16]"), &seen(&[own]), &caller(&[own]));
    let refusal = report.refusal.unwrap();
    assert_eq!(refusal.of, Refused::OwnSession);
    assert_eq!(
        refusal.message,
        "your own session (10.9.0.7:50000 -> 10.0.0.1:2222) could not be opened again: ssh (end of tier default) denies it (policies.yaml:4:18)"
    );
    assert_eq!(report.cut[0].what, What::OwnSession);
    assert_eq!(report.cut[0].when, When::OpenedAgain);
    let fine = from_nothing(&only_ssh("nets: [10.9.0.0/16]"), &seen(&[own]), &caller(&[own]));
    assert_eq!(fine, GuardReport::default());
}

#[test]
fn a_rule_that_denies_is_named_with_its_place() {
    let own = session("10.9.0.7:50000", SSH);
    let deny = policy(
        "shut",
        "types: [Ingress], ingress: [{action: Deny, protocol: TCP}]",
    );
    let report = from_nothing(&deny, &seen(&[own]), &caller(&[own]));
    let message = report.refusal.unwrap().message;
    assert!(
        message.ends_with("shut (ingress rule 0) denies it (policies.yaml:5:53)"),
        "{message}"
    );
}

#[test]
fn a_session_that_is_not_among_the_sockets_is_looked_at_all_the_same() {
    let own = session("10.9.0.7:50000", SSH);
    let report = from_nothing(
        &only_ssh("nets: [10.8.0.0/16]"),
        &Seen::default(),
        &caller(&[own]),
    );
    assert_eq!(report.refusal.unwrap().of, Refused::OwnSession);
}

#[test]
fn what_the_safety_net_holds_is_said_and_not_cut() {
    let own = session("10.9.0.7:50000", SSH);
    let net = policy(
        "zzz-net",
        "order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
    );
    let policies = only_ssh("nets: [10.8.0.0/16]") + &net;
    let report = from_nothing(&policies, &seen(&[own]), &caller(&[own]));
    assert_eq!(report.refusal, None);
    assert_eq!(report.cut, []);
    assert_eq!(
        report.notes,
        [
            "1 connections pass by the safety net alone, your own session among them: removing it would cut them"
        ]
    );
    let [before, after] =
        [&policies, &only_ssh("nets: [10.8.0.0/16]")].map(|policies| worlds(policies, Failsafes::default()));
    let report = between(&before, &after, &seen(&[own]), &caller(&[own]));
    assert_eq!(report.refusal.unwrap().of, Refused::OwnSession);
}

#[test]
fn a_signal_is_refused_only_where_no_management_session_is_left() {
    let [one, other] = [session("10.9.0.7:50000", SSH), session("10.8.0.7:50000", SSH)];
    let nobody = Caller::default();
    let policies = only_ssh("nets: [10.8.0.0/16]");
    let report = from_nothing(&policies, &seen(&[one, other]), &nobody);
    assert_eq!(report.refusal, None);
    assert_eq!(report.cut.len(), 1);
    assert_eq!(report.cut[0].what, What::Management);
    let report = from_nothing(&policies, &seen(&[one]), &nobody);
    assert_eq!(report.refusal.unwrap().of, Refused::ManagementAccess);
    // A web server's connections are nobody's way in.
    let report = from_nothing(&policies, &seen(&[session("10.9.0.7:50000", 80)]), &nobody);
    assert_eq!(report.refusal, None);
    assert_eq!(report.cut[0].what, What::Service);
}

#[test]
fn what_was_denied_before_is_not_cut_by_the_change() {
    let own = session("10.9.0.7:50000", SSH);
    let [before, after] = ["nets: [10.8.0.0/16]", "nets: [10.7.0.0/16]"]
        .map(|nets| worlds(&only_ssh(nets), Failsafes::default()));
    let report = between(&before, &after, &seen(&[own]), &caller(&[own]));
    assert_eq!(report, GuardReport::default());
}

#[test]
fn an_untracked_deny_cuts_what_is_established() {
    let own = session("10.9.0.7:50000", SSH);
    let untracked = |direction: &str, rule: &str| {
        policy(
            "raw",
            &format!(
                "doNotTrack: true, applyOnForward: true, types: [{direction}], {}: [{rule}]",
                direction.to_lowercase()
            ),
        )
    };
    for (direction, port) in [("Ingress", "destination"), ("Egress", "source")] {
        let rule = format!("{{action: Deny, protocol: TCP, {port}: {{ports: [{SSH}]}}}}");
        let report = from_nothing(&untracked(direction, &rule), &seen(&[own]), &caller(&[own]));
        assert_eq!(report.cut[0].when, When::Now, "{direction}");
        assert!(
            report.refusal.unwrap().message.contains("would be cut: raw"),
            "{direction}"
        );
    }
}

#[test]
fn what_is_untracked_in_one_direction_alone_cannot_be_opened() {
    let own = session("10.9.0.7:50000", SSH);
    let raw = |types: &str, egress: &str| {
        let ingress = format!("ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [{SSH}]}}}}]");
        policy(
            "raw",
            &format!("doNotTrack: true, applyOnForward: true, types: [{types}], {ingress}{egress}"),
        )
    };
    let out = policy("out", "types: [Egress], egress: [{action: Allow, protocol: UDP}]");
    let report = from_nothing(&(raw("Ingress", "") + &out), &seen(&[own]), &caller(&[own]));
    assert!(
        report
            .refusal
            .unwrap()
            .message
            .contains("belong to no connection")
    );
    let both = raw(
        "Ingress, Egress",
        &format!(", egress: [{{action: Allow, protocol: TCP, source: {{ports: [{SSH}]}}}}]"),
    );
    let report = from_nothing(&(both + &out), &seen(&[own]), &caller(&[own]));
    assert_eq!(report.refusal, None);
}

#[test]
fn a_failsafe_that_goes_is_said_and_what_it_held() {
    let own = session("10.9.0.7:50000", 22);
    let shut = policy("shut", "types: [Ingress]");
    let held = from_nothing(&shut, &seen(&[own]), &caller(&[own]));
    assert_eq!(held, GuardReport::default());
    let [before, after] = [Failsafes::default(), Failsafes::none()].map(|failsafes| worlds(&shut, failsafes));
    let report = between(&before, &after, &seen(&[own]), &caller(&[own]));
    assert_eq!(report.refusal.unwrap().of, Refused::OwnSession);
    let failsafes: Vec<_> = report
        .cut
        .iter()
        .filter(|cut| cut.what == What::Failsafe)
        .collect();
    let ports: Vec<_> = failsafes.iter().filter_map(|cut| cut.port).collect();
    assert_eq!(ports, [22, 68, 546]);
    assert!(
        failsafes
            .iter()
            .all(|cut| cut.peers == ["anybody"] && cut.connections == 1)
    );
}

#[test]
fn dns_is_looked_at_with_the_address_that_asks() {
    let mut there = seen(&[]);
    let [server, from] = ["192.0.2.53", "10.0.0.1"].map(|address| address.parse().unwrap());
    there.resolvers.insert(server, from);
    let shut = policy(
        "shut",
        "types: [Egress], egress: [{action: Allow, protocol: TCP}]",
    );
    let [before, after] = ["", &shut].map(|policies| worlds(policies, Failsafes::none()));
    let report = between(&before, &after, &there, &Caller::default());
    assert_eq!(report.refusal, None);
    let dns = &report.cut[0];
    assert_eq!(
        (dns.what, dns.protocol.as_str(), dns.port),
        (What::Dns, "udp", Some(53))
    );
    assert_eq!(dns.peers, ["DNS server 192.0.2.53"]);
}

#[test]
fn an_ipv6_session_needs_its_neighbours() {
    let own = session("[fd00::7]:50000", SSH);
    let [before, after] = ["", &only_ssh("")].map(|policies| worlds(policies, Failsafes::none()));
    let report = between(&before, &after, &seen(&[own]), &caller(&[own]));
    assert_eq!(report.cut[0].what, What::OwnSession);
    assert!(
        report
            .refusal
            .unwrap()
            .message
            .contains("neighbours are not found")
    );
    let v4 = session("10.9.0.7:50000", SSH);
    let report = between(&before, &after, &seen(&[v4]), &caller(&[v4]));
    assert_eq!(report.refusal, None);
}

#[test]
fn the_report_reads_as_sentences() {
    let own = session("10.9.0.7:50000", SSH);
    let web = session("10.9.0.8:50000", 80);
    let report = from_nothing(
        &policy("shut", "types: [Ingress]"),
        &seen(&[own, web]),
        &caller(&[own]),
    );
    assert_eq!(
        report.text(),
        "what it cuts:\n  \
         your own session, tcp 2222 from 10.9.0.7, if opened again: shut (end of tier default) denies it (policies.yaml:4:18)\n  \
         1 connection, tcp 80 from 10.9.0.8, if opened again: shut (end of tier default) denies it (policies.yaml:4:18)\n"
    );
}
