//! What named ports stand for.

use super::*;
use crate::resource::Action;

/// Two hosts with a port called `http` of their own, and one that has it over UDP.
fn hosts() -> Vec<String> {
    let host = |name: &str, role: &str, address: &str, ports: &str| {
        let spec = format!("node: two, interfaceName: {name}, expectedIPs: [{address}], ports: [{ports}]");
        host_endpoint(name, &format!("role: {role}"), &spec)
    };
    vec![
        host(
            "a",
            "web",
            "10.0.0.1, 'fd00::1'",
            "{name: http, protocol: TCP, port: 80}",
        ),
        host(
            "b",
            "web",
            "10.0.0.2",
            "{name: http, protocol: TCP, port: 8080}, {name: admin, protocol: TCP, port: 9000}",
        ),
        host(
            "c",
            "dns",
            "10.0.0.3",
            "{name: http, protocol: UDP, port: 443}, {name: admin, protocol: TCP, port: 22}",
        ),
    ]
}

/// What the ports of a rule's destination stand for: `text: members`.
fn stands_for(rule: &str, field: impl Fn(&WorldEntity) -> Option<&WorldPorts>) -> String {
    let mut resources = hosts();
    resources.push(policy("p", &format!("ingress: [{{{rule}}}]")));
    let worlds = resolve(&read(&resources), live());
    let rule = &worlds.enforced.policies[0].ingress.as_ref().unwrap()[0];
    assert_eq!(rule.action, Action::Allow);
    let ports = field(&rule.destination).unwrap();
    let set = worlds.named_ports.get(ports.named.unwrap());
    let members: Vec<String> = set
        .members
        .iter()
        .map(|(address, port)| format!("{address} {port}"))
        .collect();
    format!("{}: {}", set.text, members.join(", "))
}

fn ports(rule: &str) -> String {
    stands_for(rule, |entity| entity.ports.as_ref())
}

#[test]
fn each_endpoint_has_its_own_of_the_rules_protocol() {
    let http = |protocol: &str| {
        ports(&format!(
            "action: Allow, {protocol}destination: {{ports: [http]}}"
        ))
    };
    assert_eq!(
        http("protocol: TCP, "),
        "tcp http: 10.0.0.1 80, 10.0.0.2 8080, fd00::1 80"
    );
    assert_eq!(http("protocol: UDP, "), "udp http: 10.0.0.3 443");
    assert_eq!(http("protocol: 17, "), "udp http: 10.0.0.3 443");
    assert_eq!(
        http(""),
        http("protocol: TCP, "),
        "without a protocol it is TCP's"
    );
}

#[test]
fn the_selectors_say_of_which_endpoints() {
    let of = |selectors: &str| {
        ports(&format!(
            "action: Allow, protocol: TCP, destination: {{ports: [http, admin], {selectors}}}"
        ))
    };
    assert_eq!(
        of("selector: role == 'web'"),
        "tcp admin,http of role == \"web\": 10.0.0.1 80, 10.0.0.2 8080, 10.0.0.2 9000, fd00::1 80"
    );
    assert_eq!(
        of("notSelector: role == 'web'"),
        "tcp admin,http but not of role == \"web\": 10.0.0.3 22"
    );
    assert_eq!(
        of("selector: has(role), notSelector: role == 'dns'"),
        "tcp admin,http of has(role) but not of role == \"dns\": \
         10.0.0.1 80, 10.0.0.2 8080, 10.0.0.2 9000, fd00::1 80"
    );
}

#[test]
fn not_ports_mean_the_ports_of_the_same_endpoints() {
    let rule = "action: Allow, protocol: TCP, destination: {selector: role == 'dns', notPorts: [admin]}";
    assert_eq!(
        stands_for(rule, |entity| entity.not_ports.as_ref()),
        "tcp admin of role == \"dns\": 10.0.0.3 22"
    );
}

#[test]
fn the_order_of_names_makes_no_other_set() {
    let mut resources = hosts();
    let rule = |names: &str| {
        format!("{{action: Allow, protocol: TCP, destination: {{selector: has(role), ports: [{names}]}}}}")
    };
    resources.push(policy(
        "p",
        &format!("ingress: [{}, {}]", rule("http, admin"), rule("admin, http")),
    ));
    let worlds = resolve(&read(&resources), live());
    let rules = worlds.enforced.policies[0].ingress.as_ref().unwrap();
    let named = |rule: &WorldRule| rule.destination.ports.as_ref().unwrap().named;
    assert_eq!(named(&rules[0]), named(&rules[1]));
}
