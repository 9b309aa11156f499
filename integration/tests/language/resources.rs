//! Resources as text, without what every one of them has in common.

/// A policy without a namespace, with this in its `spec`.
pub(crate) fn global(kind: &str, name: &str, spec: &str) -> String {
    resource(kind, &format!("name: {name}"), spec)
}

/// An enforced one.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    global("GlobalNetworkPolicy", name, spec)
}

/// A host endpoint. `rest` is what else is in its `spec`.
pub(crate) fn host_endpoint(
    node: &str,
    interface: &str,
    labels: &str,
    addresses: &[&str],
    rest: &str,
) -> String {
    let addresses = quoted(addresses);
    let name = interface.replace('*', "rest");
    resource(
        "HostEndpoint",
        &format!("name: {node}-{name}, labels: {{{labels}}}"),
        &format!(
            "node: {node}, interfaceName: '{interface}', expectedIPs: [{addresses}]{}",
            and(rest)
        ),
    )
}

/// What every host endpoint here has unless a test says otherwise.
pub(crate) const ALLOW: &str = "profiles: [projectcalico-default-allow]";

/// A workload endpoint, with the profiles of its namespace and service account, which must exist. Those decide what no
/// policy does.
pub(crate) fn workload(
    (namespace, name): (&str, &str),
    (node, interface): (&str, &str),
    labels: &str,
    addresses: &[&str],
    rest: &str,
) -> String {
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| format!("{address}/{}", if address.contains(':') { 128 } else { 32 }))
        .collect();
    let addresses = quoted(&addresses);
    resource(
        "WorkloadEndpoint",
        &format!("namespace: {namespace}, name: {node}-k8s-{name}-eth0, labels: {{{labels}}}"),
        &format!(
            "node: {node}, orchestrator: k8s, pod: {name}, endpoint: eth0, interfaceName: {interface}, \
             ipNetworks: [{addresses}]{}",
            and(rest)
        ),
    )
}

/// The profile of a namespace: it allows everything, and gives its workloads the namespace's labels.
pub(crate) fn namespace(name: &str, labels: &str) -> String {
    let spec = format!(
        "labelsToApply: {{pcns.projectcalico.org/name: {name}, {labels}}}, ingress: [{{action: Allow}}], \
         egress: [{{action: Allow}}]"
    );
    resource("Profile", &format!("name: kns.{name}"), &spec)
}

/// A document of Calico's.
pub(crate) fn resource(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n"
    )
}

fn and(rest: &str) -> String {
    if rest.is_empty() {
        String::new()
    } else {
        format!(", {rest}")
    }
}

fn quoted(texts: &[impl AsRef<str>]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("'{}'", text.as_ref())).collect();
    texts.join(", ")
}

/// The hosts of [`palisade_integration::Site`] as endpoints: the router's `eth0`, its neighbours, and the workloads `web`
/// in the namespace `shop`, which runs as `cashier`, and `api` in the namespace `blog`.
pub(crate) fn site() -> String {
    let cashier = "labelsToApply: {pcsa.rank: junior}";
    [
        host_endpoint(
            "router",
            "eth0",
            "role: router",
            &["10.42.0.1", "fd00:42::1"],
            ALLOW,
        ),
        neighbours(),
        namespace("shop", "pcns.stage: live"),
        namespace("blog", "pcns.stage: test"),
        resource("Profile", "name: ksa.shop.cashier", cashier),
        workload(
            ("shop", "web"),
            ("router", "web"),
            "app: web",
            &["10.44.1.2", "fd00:44:1::2"],
            "serviceAccountName: cashier, profiles: [kns.shop, ksa.shop.cashier], \
             ports: [{name: http, protocol: TCP, port: 8080}]",
        ),
        workload(
            ("blog", "api"),
            ("router", "api"),
            "app: api",
            &["10.44.2.2", "fd00:44:2::2"],
            "profiles: [kns.blog], ports: [{name: http, protocol: TCP, port: 9090}]",
        ),
    ]
    .concat()
}

/// The hosts outside, which palisade only knows by their addresses.
pub(crate) fn neighbours() -> String {
    [
        host_endpoint(
            "friend",
            "eth0",
            "role: friend",
            &["10.42.0.20", "fd00:42::20"],
            "",
        ),
        host_endpoint(
            "stranger",
            "eth0",
            "role: stranger",
            &["10.42.0.30", "fd00:42::30"],
            "",
        ),
    ]
    .concat()
}
