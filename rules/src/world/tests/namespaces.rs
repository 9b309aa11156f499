//! Policies in a namespace, and what global ones say of namespaces.

use super::*;

/// Two namespaces with a workload in each, one of which runs as somebody, and a host.
fn resources() -> Vec<String> {
    let workload_in = |namespace: &str, container: &str, interface: &str, account: &str| {
        let spec = format!(
            "interfaceName: {interface}, ipNetworks: [10.1.0.1/32], profiles: [kns.{namespace}]{account}"
        );
        workload(container, "role: pod", &spec).replace("namespace: red", &format!("namespace: {namespace}"))
    };
    vec![
        object("Profile", "kns.red", "labelsToApply: {pcns.team: x}"),
        object("Profile", "kns.blue", "labelsToApply: {pcns.team: y}"),
        workload_in("red", "r", "cali1", ", serviceAccountName: clerk"),
        workload_in("blue", "b", "cali2", ""),
        host_endpoint("h", "role: pod", "node: one, interfaceName: eth0"),
    ]
}

/// The endpoints that a policy selects.
fn selected(policy: String) -> String {
    let mut resources = resources();
    resources.push(policy);
    let worlds = resolve(&read(&resources), live());
    let selected =
        |(index, _): &(usize, &Arc<Endpoint>)| !worlds.enforced.selecting(EndpointId(*index)).is_empty();
    let endpoints = worlds.endpoints.iter().enumerate().filter(selected);
    let names: Vec<String> = endpoints.map(|(_, endpoint)| endpoint.to_string()).collect();
    names.join(" ")
}

#[test]
fn a_policy_in_one_is_about_what_is_in_it() {
    let in_red = |spec: &str| selected(namespaced("NetworkPolicy", "red", "p", spec));
    assert_eq!(in_red(""), "red/one-cni-r-e");
    assert_eq!(in_red("selector: role == 'pod'"), "red/one-cni-r-e");
    assert_eq!(in_red("selector: role == 'host'"), "");
    assert_eq!(
        selected(namespaced("NetworkPolicy", "blue", "p", "")),
        "blue/one-cni-b-e"
    );
}

#[test]
fn a_global_one_asks_for_namespaces_and_service_accounts() {
    let global = |spec: &str| selected(policy("p", spec));
    assert_eq!(
        global("selector: role == 'pod'"),
        "h blue/one-cni-b-e red/one-cni-r-e"
    );
    assert_eq!(global("namespaceSelector: team == 'x'"), "red/one-cni-r-e");
    assert_eq!(
        global("namespaceSelector: all()"),
        "blue/one-cni-b-e red/one-cni-r-e"
    );
    assert_eq!(global("serviceAccountSelector: all()"), "red/one-cni-r-e");
}

#[test]
fn endpoints_say_their_namespace() {
    let worlds = resolve(&read(&resources()), live());
    let place = |endpoint: &Arc<Endpoint>| format!("{} {endpoint}", endpoint.kind);
    let endpoints: Vec<String> = worlds.endpoints.iter().map(place).collect();
    assert_eq!(
        endpoints,
        [
            "HostEndpoint h",
            "WorkloadEndpoint blue/one-cni-b-e",
            "WorkloadEndpoint red/one-cni-r-e"
        ]
    );
    assert_eq!(
        attached(&worlds)[1..],
        ["one-cni-b-e: cali2, 10.1.0.1", "one-cni-r-e: cali1, 10.1.0.1"]
    );
}
