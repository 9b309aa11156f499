//! What rules name and endpoints must have: ports, service accounts.

use super::objects::{host_endpoint, object};
use super::policies::{policy, rule};
use super::{good, problems, refused};
use crate::resource::Ports;

fn with_ports(text: &str) -> String {
    let endpoint = host_endpoint(
        "{name: web}",
        "interfaceName: e, ports: [{name: http, protocol: TCP, port: 80}, {name: dns, protocol: UDP, port: 53}, \
         {name: diameter, protocol: SCTP, port: 3868}]",
    );
    format!("{text}---\n{endpoint}")
}

fn destination(protocol: &str, ports: &str) -> String {
    rule(&format!("{protocol}destination: {{ports: {ports}}}"))
}

#[test]
fn ports() {
    for (protocol, ports) in [
        ("protocol: TCP, ", "[http]"),
        ("protocol: 6, ", "[http, 443, 8000:8059]"),
        ("protocol: UDP, ", "[dns]"),
        ("protocol: SCTP, ", "[diameter]"),
        // Without a protocol a name means TCP.
        ("", "[http]"),
        ("notProtocol: UDP, ", "[http]"),
    ] {
        good(&with_ports(&destination(protocol, ports)));
        good(&with_ports(
            &destination(protocol, ports).replace("ports:", "notPorts:"),
        ));
    }
    let snapshot = good(&with_ports(&destination(
        "protocol: TCP, ",
        "[http, 443, 'http']",
    )));
    let rule = &snapshot.policies[0].ingress[0];
    assert_eq!(
        rule.destination.ports.as_ref().unwrap().to_string(),
        "443,http,http"
    );
    assert_eq!(rule.source.ports, None::<Ports>);

    let path = "spec.ingress[0].destination.ports[0]";
    for (protocol, port, words) in [
        ("protocol: TCP, ", "htpp", "did you mean `http`?"),
        ("protocol: TCP, ", "metrics", "exist: http"),
        ("protocol: TCP, ", "dns", "no endpoint has a TCP port named `dns`"),
        ("protocol: TCP, ", "dns", "HostEndpoint `web` has it as UDP"),
        ("", "dns", "`protocol: UDP`"),
        ("protocol: SCTP, ", "http", "HostEndpoint `web` has it as TCP"),
    ] {
        let text = with_ports(&destination(protocol, &format!("[{port}]")));
        refused(&text, "unknown-port", path, words);
        let source = text.replace("destination: {ports:", "source: {notPorts:");
        refused(
            &source,
            "unknown-port",
            "spec.ingress[0].source.notPorts[0]",
            words,
        );
    }
    refused(
        &destination("protocol: TCP, ", "[http]"),
        "unknown-port",
        path,
        "or write its number",
    );
    // The endpoint may be in a later file, and its own mistakes come first.
    let wrong = with_ports(&destination("protocol: TCP, ", "[http]")).replace("port: 80}", "port: 0}");
    let found = problems(&wrong);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("out-of-range"), "{found:?}");
}

#[test]
fn ports_need_a_protocol_that_has_them() {
    let path = "spec.ingress[0].destination.ports";
    for (protocol, ports, words) in [
        ("", "[http, 443]", "add `protocol: TCP`"),
        ("protocol: ICMP, ", "[http]", "the protocol icmp has no ports"),
        ("protocol: 47, ", "[http]", "the protocol 47 has no ports"),
    ] {
        refused(
            &with_ports(&destination(protocol, ports)),
            "ports-without-protocol",
            path,
            words,
        );
    }
    // Of a protocol that cannot be read nothing is known.
    refused(
        &destination("protocol: tcp, ", "[http]"),
        "invalid-value",
        "spec.ingress[0].protocol",
        "",
    );
}

#[test]
fn service_accounts() {
    let workload = |account: &str| {
        object(
            "WorkloadEndpoint",
            "{name: n-k8s-p-eth0, namespace: shop}",
            &format!(
                "{{node: n, orchestrator: k8s, pod: p, endpoint: eth0, interfaceName: c, ipNetworks: [10.0.0.1/32]{account}}}"
            ),
        )
    };
    for field in ["names: [a]", "selector: all()"] {
        let text = policy(&format!(
            "{{ingress: [{{action: Allow}}, {{action: Deny, source: {{serviceAccounts: {{{field}}}}}}}]}}"
        ));
        let path = "spec.ingress[1].source.serviceAccounts";
        refused(
            &text,
            "no-identities",
            path,
            "no WorkloadEndpoint has a `serviceAccountName`",
        );
        refused(
            &format!("{text}---\n{}", workload("")),
            "no-identities",
            path,
            "select endpoints by their labels",
        );
        // Which one it is does not matter: workloads come and go.
        good(&format!("{text}---\n{}", workload(", serviceAccountName: other")));
    }
    let profile = object(
        "Profile",
        "{name: x}",
        "{egress: [{action: Allow, destination: {serviceAccounts: {names: [a]}}}]}",
    );
    refused(
        &profile,
        "no-identities",
        "spec.egress[0].destination.serviceAccounts",
        "",
    );
    // A subject that selects no endpoint is no mistake.
    good(&policy("{serviceAccountSelector: all()}"));
}

#[test]
fn rules_of_profiles() {
    let profile = |rule: &str| object("Profile", "{name: x}", &format!("{{ingress: [{rule}]}}"));
    let text =
        profile("{action: Allow, protocol: TCP, source: {selector: has(a)}, destination: {ports: [http]}}");
    let snapshot = good(&with_ports(&text));
    let rule = &snapshot.profiles["x"].ingress[0];
    assert_eq!(rule.source.selector.as_ref().unwrap().to_string(), "has(a)");
    refused(
        &text,
        "unknown-port",
        "spec.ingress[0].destination.ports[0]",
        "no endpoint has a TCP port named `http`",
    );
    refused(
        &profile("{action: Allow, source: {selector: global()}}"),
        "selector-global",
        "spec.ingress[0].source.selector",
        "",
    );
}
