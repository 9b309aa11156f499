//! Workload endpoints.

use super::objects::object;
use super::{good, refused};
use crate::resource::{DEFAULT_ALLOW_PROFILE, ObjectName, WorkloadEndpoint};

const WORKLOAD: &str = "node: n, orchestrator: k8s, pod: web-1, endpoint: eth0, interfaceName: cali1";

fn workload(metadata: &str, spec: &str) -> String {
    object("WorkloadEndpoint", metadata, &format!("{{{spec}}}"))
}

/// A workload endpoint that is right but for these fields more.
fn workload_with(more: &str) -> String {
    workload(
        "{name: n-k8s-web--1-eth0, namespace: x}",
        &format!("{WORKLOAD}, ipNetworks: [10.0.0.1/32], {more}"),
    )
}

#[test]
fn workload_endpoints() {
    let text = workload(
        "{name: n-k8s-web--1-eth0, namespace: x, labels: {app: web, pcns.env: old, pcsa.a: b, \
         projectcalico.org/namespace: x, projectcalico.org/orchestrator: k8s, projectcalico.org/serviceaccount: s}}",
        "orchestrator: k8s, node: n, containerID: 0a1b, pod: web-1, endpoint: eth0, serviceAccountName: s, \
         ipNetworks: [10.0.0.1/32, 'fd00::1/128', 10.0.0.2], ipv4Gateway: 10.0.0.254, ipv6Gateway: 'fd00::fe', \
         profiles: [kns.x, projectcalico-default-allow], interfaceName: cali1, mac: 'ca:fe:00:00:00:01', \
         ports: [{name: http, protocol: TCP, port: 8080, hostPort: 80, hostIP: 192.0.2.1}], \
         ipNATs: [], allowSpoofedSourcePrefixes: [], qosControls: ~",
    );
    let profile = object("Profile", "{name: kns.x}", "{}");
    let snapshot = good(&[text, profile].join("---\n"));
    let id = ObjectName {
        namespace: Some("x".to_owned()),
        name: "n-k8s-web--1-eth0".to_owned(),
    };
    let read: &WorkloadEndpoint = &snapshot.workload_endpoints[&id];
    assert_eq!(read.id, id);
    assert_eq!((read.node.as_str(), read.orchestrator.as_str()), ("n", "k8s"));
    assert_eq!(
        read.labels.iter().collect::<Vec<_>>(),
        [(&"app".to_owned(), &"web".to_owned())]
    );
    assert_eq!(read.service_account.as_deref(), Some("s"));
    assert_eq!(read.interface, "cali1");
    let addresses = read.addresses.iter().map(ToString::to_string);
    assert_eq!(addresses.collect::<Vec<_>>(), ["10.0.0.1", "fd00::1", "10.0.0.2"]);
    assert_eq!(read.profiles, ["kns.x", DEFAULT_ALLOW_PROFILE]);
    assert_eq!(read.ports[0].port, 8080);
    assert_eq!(read.position.to_string(), "t:3:18");

    for (more, code, path, words) in [
        (
            "ipNATs: [{internalIP: 10.0.0.1, externalIP: 192.0.2.1}]",
            "unsupported",
            "spec.ipNATs",
            "translates no addresses",
        ),
        (
            "allowSpoofedSourcePrefixes: [10.0.0.0/8]",
            "unsupported",
            "spec.allowSpoofedSourcePrefixes",
            "source addresses",
        ),
        (
            "qosControls: {ingressBandwidth: 1}",
            "unsupported",
            "spec.qosControls",
            "limits no bandwidth",
        ),
        (
            "serviceAccountName: A",
            "invalid-name",
            "spec.serviceAccountName",
            "a service account",
        ),
        (
            "profiles: [kns.y]",
            "unknown-profile",
            "spec.profiles[0]",
            "no profile `kns.y`",
        ),
        (
            "ports: ~, nodes: n",
            "unknown-field",
            "spec.nodes",
            "did you mean `node`?",
        ),
    ] {
        refused(&workload_with(more), code, path, words);
    }
    for (labels, words) in [
        (
            "{projectcalico.org/namespace: y}",
            "does not say what `metadata.namespace` says",
        ),
        ("{projectcalico.org/orchestrator: cni}", "spec.orchestrator"),
        ("{projectcalico.org/serviceaccount: s}", "spec.serviceAccountName"),
    ] {
        let text = workload(
            &format!("{{name: n-k8s-web--1-eth0, namespace: x, labels: {labels}}}"),
            &format!("{WORKLOAD}, ipNetworks: [10.0.0.1/32]"),
        );
        let path = format!(
            "metadata.labels.{}",
            labels.trim_matches(['{', '}']).split(':').next().unwrap()
        );
        refused(&text, "reserved-label", &path, words);
    }
}

#[test]
fn addresses_of_workload_endpoints() {
    let with = |networks: &str| {
        workload(
            "{name: n-k8s-web--1-eth0, namespace: x}",
            &format!("{WORKLOAD}{networks}"),
        )
    };
    for (networks, code, path, words) in [
        ("", "missing-field", "spec", "needs `ipNetworks`"),
        (
            ", ipNetworks: []",
            "missing-field",
            "spec.ipNetworks",
            "add its addresses",
        ),
        (
            ", ipNetworks: ~",
            "missing-field",
            "spec.ipNetworks",
            "add its addresses",
        ),
        (
            ", ipNetworks: [10.0.0.1/31]",
            "invalid-net",
            "spec.ipNetworks[0]",
            "write `10.0.0.1/32`",
        ),
        (
            ", ipNetworks: ['fd00::1/64']",
            "invalid-net",
            "spec.ipNetworks[0]",
            "more than one address",
        ),
        (
            ", ipNetworks: [host]",
            "invalid-net",
            "spec.ipNetworks[0]",
            "not a prefix",
        ),
        (
            ", ipNetworks: ['::ffff:10.0.0.1/128']",
            "invalid-net",
            "spec.ipNetworks[0]",
            "IPv6 form",
        ),
        (
            ", ipNetworks: [10.0.0.1/32, 10.0.0.1]",
            "duplicate-entry",
            "spec.ipNetworks[1]",
            "twice",
        ),
    ] {
        refused(&with(networks), code, path, words);
    }
}

#[test]
fn names_of_workload_endpoints() {
    let address = "ipNetworks: [10.0.0.1], interfaceName: cali1";
    for (name, fields) in [
        (
            "a--b-k8s-web--1-eth0",
            "node: a-b, orchestrator: k8s, pod: web-1, endpoint: eth0",
        ),
        (
            "a.b-cni-0a1b-eth0",
            "node: a.b, orchestrator: cni, containerID: 0a1b, endpoint: eth0",
        ),
        (
            "n-libnetwork-libnetwork-ep",
            "node: n, orchestrator: libnetwork, endpoint: ep",
        ),
        (
            "n-kvm-vm--1-tap0",
            "node: n, orchestrator: kvm, workload: vm-1, endpoint: tap0",
        ),
    ] {
        good(&workload(
            &format!("{{name: {name}, namespace: x}}"),
            &format!("{fields}, {address}"),
        ));
        refused(
            &workload("{name: other, namespace: x}", &format!("{fields}, {address}")),
            "workload-name",
            "metadata.name",
            &format!("write `name: {name}`"),
        );
    }
    for (fields, code, path, words) in [
        (
            "node: n, orchestrator: k8s, endpoint: e",
            "missing-field",
            "spec",
            "of `k8s` needs `pod`",
        ),
        (
            "node: n, orchestrator: cni, pod: p, endpoint: e",
            "missing-field",
            "spec",
            "of `cni` needs `containerID`",
        ),
        (
            "node: n, orchestrator: vm, pod: p, endpoint: e",
            "missing-field",
            "spec",
            "of `vm` needs `workload`",
        ),
        (
            "node: n, workload: w, endpoint: e",
            "missing-field",
            "spec",
            "needs `orchestrator`",
        ),
        (
            "node: n, orchestrator: vm, workload: w",
            "missing-field",
            "spec",
            "needs `endpoint`",
        ),
        (
            "orchestrator: vm, workload: w, endpoint: e",
            "missing-field",
            "spec",
            "needs `node`",
        ),
        (
            "node: n, orchestrator: vm, workload: w-, endpoint: e",
            "invalid-name",
            "spec.workload",
            "not begin or end with `-`",
        ),
        (
            "node: n, orchestrator: -vm, workload: w, endpoint: e",
            "invalid-name",
            "spec.orchestrator",
            "not begin or end",
        ),
        (
            "node: n, orchestrator: vm, workload: '', endpoint: e",
            "invalid-name",
            "spec.workload",
            "not be empty",
        ),
    ] {
        refused(
            &workload("{name: a, namespace: x}", &format!("{fields}, {address}")),
            code,
            path,
            words,
        );
    }
    refused(
        &workload(
            "{name: n-vm-5-e, namespace: x}",
            &format!("node: n, orchestrator: vm, workload: 5, endpoint: e, {address}"),
        ),
        "wrong-type",
        "spec.workload",
        "needs quotes",
    );
    // No name is right where the fields cannot be part of one.
    refused(
        &workload(
            "{name: n-vm-W-e, namespace: x}",
            &format!("node: n, orchestrator: vm, workload: W, endpoint: e, {address}"),
        ),
        "invalid-name",
        "metadata.name",
        "lower-case",
    );
    refused(
        &workload(
            "{name: n-vm-w-e, namespace: x}",
            "node: n, orchestrator: vm, workload: w, endpoint: e, ipNetworks: [10.0.0.1]",
        ),
        "missing-field",
        "spec",
        "needs `interfaceName`",
    );
    refused(
        &workload(
            "{name: n-vm-w-e, namespace: x}",
            "node: n, orchestrator: vm, workload: w, endpoint: e, ipNetworks: [10.0.0.1], interfaceName: '*'",
        ),
        "invalid-name",
        "spec.interfaceName",
        "1 to 15 letters",
    );
}
