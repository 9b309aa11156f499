//! Tiers, sets, profiles and endpoints.

use super::policy::rule;
use super::{Fields, calico, document, global, metadata, number};
use crate::resource::{
    HostEndpoint, InterfaceName, Labels, NamedPort, NetworkSet, Profile, ServiceEndpoint, ServiceUnit, Tier,
    TierAction, WorkloadEndpoint,
};
use crate::schema::PALISADE;

/// A tier as a document.
pub fn tier(tier: &Tier) -> String {
    let action = match tier.default_action {
        TierAction::Deny => "Deny",
        TierAction::Pass => "Pass",
    };
    let spec = Fields::default()
        .with("order", number(tier.order.value()))
        .with("defaultAction", action);
    calico("Tier", metadata(&global(&tier.name), &Labels::new()), spec)
}

/// A network set as a document.
pub fn network_set(set: &NetworkSet) -> String {
    let kind = match set.id.namespace {
        Some(_) => "NetworkSet",
        None => "GlobalNetworkSet",
    };
    let spec = Fields::default().with_texts("nets", &set.nets);
    calico(kind, metadata(&set.id, &set.labels), spec)
}

/// A profile as a document.
pub fn profile(profile: &Profile) -> String {
    let spec = Fields::default()
        .with_pairs("labelsToApply", &profile.labels_to_apply)
        .with_list("ingress", profile.ingress.iter().map(|it| rule(it, None)))
        .with_list("egress", profile.egress.iter().map(|it| rule(it, None)));
    calico("Profile", metadata(&global(&profile.name), &Labels::new()), spec)
}

/// A host endpoint as a document.
pub fn host_endpoint(endpoint: &HostEndpoint) -> String {
    let interface = endpoint.interface.as_ref().map(|interface| match interface {
        InterfaceName::Any => "*",
        InterfaceName::Named(name) => name,
    });
    let spec = Fields::default()
        .with("node", endpoint.node.as_str())
        .with_some("interfaceName", interface)
        .with_texts("expectedIPs", &endpoint.expected_ips)
        .with_texts("profiles", &endpoint.profiles)
        .with_list("ports", endpoint.ports.iter().map(port));
    calico(
        "HostEndpoint",
        metadata(&global(&endpoint.name), &endpoint.labels),
        spec,
    )
}

/// A workload endpoint as a document.
pub fn workload_endpoint(endpoint: &WorkloadEndpoint) -> String {
    let (middle, last) = parts(&endpoint.id.name);
    let field = match endpoint.orchestrator.as_str() {
        "k8s" => Some("pod"),
        "cni" => Some("containerID"),
        "libnetwork" => None,
        _ => Some("workload"),
    };
    let mut spec = Fields::default()
        .with("node", endpoint.node.as_str())
        .with("orchestrator", endpoint.orchestrator.as_str());
    if let Some(field) = field {
        spec = spec.with(field, middle);
    }
    let networks = endpoint
        .addresses
        .iter()
        .map(|&address| ipnet::IpNet::from(address));
    let spec = spec
        .with("endpoint", last)
        .with("interfaceName", endpoint.interface.as_str())
        .with_texts("ipNetworks", networks)
        .with_some("serviceAccountName", endpoint.service_account.as_deref())
        .with_texts("profiles", &endpoint.profiles)
        .with_list("ports", endpoint.ports.iter().map(port));
    calico("WorkloadEndpoint", metadata(&endpoint.id, &endpoint.labels), spec)
}

/// A service endpoint as a document.
pub fn service_endpoint(endpoint: &ServiceEndpoint) -> String {
    let (field, unit) = match &endpoint.unit {
        ServiceUnit::Unit(unit) => ("unit", unit),
        ServiceUnit::Cgroup(path) => ("cgroup", path),
    };
    let profiles: Vec<serde_yaml::Value> = endpoint
        .profiles
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    let spec = Fields::default()
        .with("node", endpoint.node.as_str())
        .with(field, unit.as_str())
        // Not given, it would be the built-in one.
        .with("profiles", profiles);
    document(
        PALISADE,
        "ServiceEndpoint",
        metadata(&global(&endpoint.name), &endpoint.labels),
        spec,
    )
}

fn port(port: &NamedPort) -> Fields {
    let protocol = super::policy::protocol_name(port.protocol);
    Fields::default()
        .with("name", port.name.as_str())
        .with_some("protocol", protocol)
        .with("port", port.port)
}

/// The workload and the endpoint in the name of a workload endpoint: its last two parts. They stand apart by one `-`,
/// and a `-` of their own is doubled (reference 1.6).
fn parts(name: &str) -> (String, String) {
    // A space is in no name, so it can stand for a doubled `-` meanwhile.
    let shortened = name.replace("--", " ");
    let mut parts = shortened.rsplit('-').map(|part| part.replace(' ', "-"));
    let last = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), last)
}
