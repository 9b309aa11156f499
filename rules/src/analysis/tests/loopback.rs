//! A host to itself.

use super::*;

#[test]
fn a_host_to_itself_is_allowed() {
    let worlds = network(&[policy("p", "ingress: [{action: Deny}]")]);
    for connection in [
        "web web tcp 80",
        "web bare tcp 80",
        "10.0.0.9 10.0.0.1 tcp 80",
        "fd00::1 fd00::9 udp 1",
    ] {
        let answer = ask(&worlds, connection);
        assert_eq!(answer.enforced.verdict, "allow", "{connection}");
        assert_eq!(answer.enforced.steps.len(), 1, "{connection}");
        assert_eq!(answer.enforced.steps[0].kind, "Loopback", "{connection}");
    }
}

#[test]
fn filtered_it_belongs_to_the_endpoint_that_has_lo() {
    let filtering = Host {
        filter_loopback: true,
        ..host("one")
    };
    let deny = policy("p", "ingress: [{action: Deny}]");
    let rest = object("HostEndpoint", "rest", "node: one, interfaceName: '*'");
    let lo = object("HostEndpoint", "zlo", "node: one, interfaceName: lo");
    let ask_with = |resources: &[&str]| {
        let texts = [&[NETWORK, deny.as_str()], resources].concat();
        let worlds = resolve(&snapshot(&texts), filtering.clone());
        say(&worlds, "web web tcp 80")
    };
    assert_eq!(
        ask_with(&[]),
        "allow: egress web loopback",
        "no endpoint has the interface"
    );
    assert_eq!(ask_with(&[&rest]), "deny: egress rest no profile allows it");
    assert_eq!(ask_with(&[&rest, &lo]), "deny: egress zlo no profile allows it");
}
