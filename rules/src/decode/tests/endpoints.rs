//! Host endpoints, their named ports, and service endpoints.

use super::objects::{host_endpoint, object};
use super::{good, problems, refused};
use crate::net::Protocol;
use crate::resource::{DEFAULT_ALLOW_PROFILE, InterfaceName, NamedPort, ServiceUnit};

#[test]
fn host_endpoints() {
    for spec in [
        "interfaceName: eth0",
        "interfaceName: '*'",
        "interfaceName: br-lan.10_x",
        "expectedIPs: [10.0.0.1, 'fd00::1']",
        "interfaceName: '', expectedIPs: [10.0.0.1]",
        "interfaceName: e, profiles: [], ports: []",
        "interfaceName: e, profiles: [projectcalico-default-allow]",
    ] {
        good(&host_endpoint("{name: a}", spec));
    }
    let any = good(&host_endpoint("{name: a}", "interfaceName: '*'"));
    assert_eq!(any.host_endpoints["a"].interface, Some(InterfaceName::Any));
    for (spec, code, path, words) in [
        (
            "profiles: []",
            "missing-field",
            "spec",
            "`interfaceName` or `expectedIPs`",
        ),
        (
            "expectedIPs: []",
            "missing-field",
            "spec",
            "`interfaceName` or `expectedIPs`",
        ),
        (
            "interfaceName: waytoolongforlinux",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        (
            "interfaceName: 'eth 0'",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        (
            "interfaceName: eth*",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        ("interfaceName: 0", "wrong-type", "spec.interfaceName", "quotes"),
        (
            "expectedIPs: [10.0.0.1/24]",
            "invalid-address",
            "spec.expectedIPs[0]",
            "write `10.0.0.1`",
        ),
        (
            "expectedIPs: [host]",
            "invalid-address",
            "spec.expectedIPs[0]",
            "not an IP address",
        ),
        (
            "expectedIPs: [10.0.0.1, 10.0.0.1]",
            "duplicate-entry",
            "spec.expectedIPs[1]",
            "twice",
        ),
        (
            "expectedIPs: ['fd00::1', 'fd00:0::1']",
            "duplicate-entry",
            "spec.expectedIPs[1]",
            "twice",
        ),
        (
            "interfaceName: e, profiles: [mine]",
            "unknown-profile",
            "spec.profiles[0]",
            "these profiles exist: projectcalico-default-allow",
        ),
        (
            "interfaceName: e, profiles: [projectcalico-default-allow, projectcalico-default-allow]",
            "duplicate-entry",
            "spec.profiles[1]",
            "twice",
        ),
        (
            "interfaceName: e, profiles: [projectcalico-default-alow]",
            "unknown-profile",
            "spec.profiles[0]",
            "did you mean `projectcalico-default-allow`?",
        ),
        (
            "interfacename: e, expectedIPs: [10.0.0.1]",
            "unknown-field",
            "spec.interfacename",
            "did you mean `interfaceName`?",
        ),
    ] {
        refused(&host_endpoint("{name: a}", spec), code, path, words);
    }
    let with_node = |node: &str| {
        object(
            "HostEndpoint",
            "{name: a}",
            &format!("{{node: {node}, interfaceName: e}}"),
        )
    };
    good(&with_node("Host_1.example.com"));
    refused(
        &with_node("'a b'"),
        "invalid-name",
        "spec.node",
        "not a name of a host",
    );
    refused(&with_node(&"n".repeat(254)), "invalid-name", "spec.node", "253");
    refused(&with_node("''"), "invalid-name", "spec.node", "1 to 253");
    refused(&with_node("~"), "missing-field", "spec.node", "no value");
    refused(
        &object("HostEndpoint", "{name: a}", "~"),
        "missing-field",
        "spec",
        "no value",
    );
}

#[test]
fn ports_with_names() {
    let with_ports = |ports: &str| host_endpoint("{name: a}", &format!("interfaceName: e, ports: {ports}"));
    let snapshot = good(&with_ports(
        "[{name: dns, protocol: TCP, port: 53}, {name: dns, protocol: UDP, port: 53}, {name: x-1, protocol: SCTP, port: 65535}]",
    ));
    let port = |name: &str, protocol, port| NamedPort {
        name: name.to_owned(),
        protocol,
        port,
    };
    assert_eq!(
        snapshot.host_endpoints["a"].ports,
        [
            port("dns", Protocol::TCP, 53),
            port("dns", Protocol::UDP, 53),
            port("x-1", Protocol::SCTP, 65535)
        ]
    );
    for (ports, code, path, words) in [
        (
            "[{name: a, protocol: TCP}]",
            "missing-field",
            "spec.ports[0]",
            "needs `port`",
        ),
        (
            "[{name: a, port: 1}]",
            "missing-field",
            "spec.ports[0]",
            "needs `protocol`",
        ),
        (
            "[{protocol: TCP, port: 1}]",
            "missing-field",
            "spec.ports[0]",
            "needs `name`",
        ),
        (
            "[{name: a, protocol: TCP, port: 0}]",
            "out-of-range",
            "spec.ports[0].port",
            "1 to 65535",
        ),
        (
            "[{name: a, protocol: TCP, port: 65536}]",
            "out-of-range",
            "spec.ports[0].port",
            "1 to 65535",
        ),
        (
            "[{name: a, protocol: TCP, port: '80'}]",
            "wrong-type",
            "spec.ports[0].port",
            "a whole number",
        ),
        (
            "[{name: a, protocol: tcp, port: 1}]",
            "invalid-value",
            "spec.ports[0].protocol",
            "did you mean `TCP`",
        ),
        (
            "[{name: a, protocol: UDPLite, port: 1}]",
            "invalid-value",
            "spec.ports[0].protocol",
            "SCTP",
        ),
        (
            "[{name: '80', protocol: TCP, port: 1}]",
            "invalid-name",
            "spec.ports[0].name",
            "at least one letter",
        ),
        (
            "[{name: HTTP, protocol: TCP, port: 1}]",
            "invalid-name",
            "spec.ports[0].name",
            "lower-case",
        ),
        (
            "[{name: waytoolongforaport, protocol: TCP, port: 1}]",
            "invalid-name",
            "spec.ports[0].name",
            "at most 15",
        ),
        (
            "[{name: a, protocol: TCP, port: 1}, {name: a, protocol: TCP, port: 2}]",
            "duplicate-entry",
            "spec.ports[1].name",
            "the tcp port `a` is there twice",
        ),
        (
            "[{name: a, protocol: TCP, port: 1, hostPort: 2}]",
            "unknown-field",
            "spec.ports[0].hostPort",
            "name, port, protocol",
        ),
        ("{}", "wrong-type", "spec.ports", "a list of named ports"),
    ] {
        refused(&with_ports(ports), code, path, words);
    }
}

#[test]
fn ports_that_rules_name() {
    let rule = |fields: &str| {
        object(
            "GlobalNetworkPolicy",
            "{name: p}",
            &format!("{{ingress: [{{action: Allow, {fields}}}]}}"),
        )
    };
    let endpoint = host_endpoint(
        "{name: a}",
        "interfaceName: e, ports: [{name: http, protocol: TCP, port: 80}]",
    );
    let with = |fields: &str| [rule(fields), endpoint.clone()].join("---\n");
    good(&with("protocol: TCP, destination: {ports: [http]}"));
    good(&with("destination: {ports: [http]}"));
    for (fields, words) in [
        (
            "protocol: TCP, destination: {ports: [htp]}",
            "did you mean `http`?",
        ),
        (
            "protocol: UDP, destination: {ports: [http]}",
            "HostEndpoint `a` has it as TCP: write `protocol: TCP`",
        ),
        ("destination: {ports: [grpc]}", "these named ports exist: http"),
    ] {
        refused(
            &with(fields),
            "unknown-port",
            "spec.ingress[0].destination.ports[0]",
            words,
        );
    }
    refused(
        &rule("protocol: TCP, source: {notPorts: [http]}"),
        "unknown-port",
        "spec.ingress[0].source.notPorts[0]",
        "name the port in `ports` of its endpoints, or write its number",
    );
}

fn service(spec: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1\nkind: ServiceEndpoint\nmetadata: {{name: a, labels: {{app: web}}}}\nspec: {{{spec}}}\n"
    )
}

#[test]
fn service_endpoints() {
    let snapshot = good(&service("node: n, unit: nginx.service"));
    let read = &snapshot.service_endpoints["a"];
    assert_eq!((read.node.as_str(), read.labels["app"].as_str()), ("n", "web"));
    assert_eq!(read.profiles, [DEFAULT_ALLOW_PROFILE]);
    assert_eq!(read.position.to_string(), "t:3:18");
    for (spec, unit) in [
        (
            "unit: nginx.service",
            ServiceUnit::Unit("nginx.service".to_owned()),
        ),
        (
            "unit: 'getty@tty1.service'",
            ServiceUnit::Unit("getty@tty1.service".to_owned()),
        ),
        (
            "unit: 'a\\x2db.scope'",
            ServiceUnit::Unit("a\\x2db.scope".to_owned()),
        ),
        ("unit: web.slice", ServiceUnit::Unit("web.slice".to_owned())),
        ("unit: '-.slice'", ServiceUnit::Unit("-.slice".to_owned())),
        (
            "unit: sshd.socket, cgroup: ~",
            ServiceUnit::Unit("sshd.socket".to_owned()),
        ),
        (
            "cgroup: system.slice/nginx.service",
            ServiceUnit::Cgroup("system.slice/nginx.service".to_owned()),
        ),
        ("cgroup: web, unit: ''", ServiceUnit::Cgroup("web".to_owned())),
    ] {
        assert_eq!(
            good(&service(&format!("node: n, {spec}"))).service_endpoints["a"].unit,
            unit
        );
    }
    let named = good(&service("node: n, unit: a.service, profiles: []"));
    assert!(named.service_endpoints["a"].profiles.is_empty());
    for (spec, code, path, words) in [
        ("unit: a.service", "missing-field", "spec", "needs `node`"),
        ("node: n", "missing-field", "spec", "needs `unit` or `cgroup`"),
        (
            "node: n, unit: a.service, cgroup: a",
            "conflicting-fields",
            "spec.cgroup",
            "not both",
        ),
        (
            "node: n, unit: nginx",
            "invalid-unit",
            "spec.unit",
            "it ends in one of .service",
        ),
        (
            "node: n, unit: .service",
            "invalid-unit",
            "spec.unit",
            "it ends in one of",
        ),
        (
            "node: n, unit: a.timer",
            "invalid-unit",
            "spec.unit",
            "has processes",
        ),
        (
            "node: n, unit: a.slice/b.service",
            "invalid-unit",
            "spec.unit",
            "write the path as `cgroup`",
        ),
        (
            "node: n, unit: 'a b.service'",
            "invalid-unit",
            "spec.unit",
            "systemd-escape",
        ),
        (
            "node: n, cgroup: /a/b",
            "invalid-cgroup",
            "spec.cgroup",
            "either end: `a/b`",
        ),
        (
            "node: n, cgroup: a/",
            "invalid-cgroup",
            "spec.cgroup",
            "either end: `a`",
        ),
        (
            "node: n, cgroup: /sys/fs/cgroup/a",
            "invalid-cgroup",
            "spec.cgroup",
            "either end: `a`",
        ),
        (
            "node: n, cgroup: /",
            "invalid-cgroup",
            "spec.cgroup",
            "every process of the host",
        ),
        ("node: n, cgroup: a/../b", "invalid-cgroup", "spec.cgroup", "`..`"),
        (
            "node: n, cgroup: a//b",
            "invalid-cgroup",
            "spec.cgroup",
            "one `/`",
        ),
        ("node: n, cgroup: a/./b", "invalid-cgroup", "spec.cgroup", "`.`"),
        (
            "node: n, unit: a.service, profiles: [x]",
            "unknown-profile",
            "spec.profiles[0]",
            "no profile `x`",
        ),
        (
            "node: n, unti: a.service",
            "unknown-field",
            "spec.unti",
            "did you mean `unit`?",
        ),
    ] {
        let text = service(spec);
        if spec.contains("unti") {
            assert_eq!(problems(&text).len(), 2, "the field is missing too");
        } else {
            refused(&text, code, path, words);
        }
    }
    refused(
        &service("node: n, unit: a.service").replace("app: web", "pcns.x: y"),
        "reserved-label",
        "metadata.labels.pcns.x",
        "ServiceEndpoint must not",
    );
}
