//! One small network, and resources in a short notation.

use palisade_rules::decode::decode;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};

/// Two hosts with addresses of both families, one of IPv4 alone, a workload, a service, and a set.
const NETWORK: &str = "\
host web[role=web] node: one, interfaceName: eth0, expectedIPs: [10.0.0.1, 'fd00::1']
host db[role=db] node: two, interfaceName: eth0, expectedIPs: [10.0.0.2, 'fd00::2'], ports: [{name: sql, protocol: TCP, port: 5432}]
host old[role=old] node: three, interfaceName: eth0, expectedIPs: [10.0.0.3]
service nginx[role=nginx] node: one, unit: nginx.service
set lan[net=lan] nets: [10.9.0.0/16, 'fd09::/32']
";

/// The small network with these resources.
pub(crate) fn network(resources: &str) -> Snapshot {
    snapshot(&[self::resources(NETWORK), self::resources(resources)])
}

/// The snapshot of these documents, which must be valid.
pub(crate) fn snapshot(texts: &[String]) -> Snapshot {
    let (files, ids) = files(texts);
    let (snapshot, diagnostics) = decode(&files, &ids);
    snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)))
}

/// Texts as files `0.yaml`, `1.yaml` and so on.
pub(crate) fn files(texts: &[String]) -> (Files, Vec<FileId>) {
    let mut files = Files::default();
    let texts = texts.iter().enumerate();
    let ids = texts
        .map(|(index, text)| files.add(format!("{index}.yaml"), text.as_str()))
        .collect();
    (files, ids)
}

/// Resources, each on one line: `policy NAME SPEC`, `set NAME[KEY=VALUE] SPEC` and the like, the spec in flow style.
pub(crate) fn resources(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(resource)
        .collect()
}

fn resource(line: &str) -> String {
    let (kind, rest) = line.split_once(' ').unwrap();
    let (name, spec) = rest.split_once(' ').unwrap_or((rest, ""));
    let (name, labels) = match name.split_once('[') {
        Some((name, labels)) => (name, labels.trim_end_matches(']').replace('=', ": ")),
        None => (name, String::new()),
    };
    let (name, namespace) = match name.split_once('/') {
        Some((namespace, name)) => (name, format!(", namespace: {namespace}")),
        None => (name, String::new()),
    };
    let kind = match kind {
        "policy" if namespace.is_empty() => "GlobalNetworkPolicy",
        "policy" | "kubernetes" => "NetworkPolicy",
        "staged" => "StagedGlobalNetworkPolicy",
        "tier" => "Tier",
        "set" => "GlobalNetworkSet",
        "host" => "HostEndpoint",
        "workload" => "WorkloadEndpoint",
        "service" => "ServiceEndpoint",
        "profile" => "Profile",
        other => panic!("{other}: no kind"),
    };
    let version = match line.split(' ').next() {
        Some("service") => "palisade.dev/v1",
        Some("kubernetes") => "networking.k8s.io/v1",
        _ => "projectcalico.org/v3",
    };
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}{namespace}, labels: {{{labels}}}}}\nspec: {{{spec}}}\n"
    )
}
