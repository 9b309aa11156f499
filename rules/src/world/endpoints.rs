//! Every endpoint, with its labels and addresses, and where those of this host hang.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Attachment, Cgroup, Endpoint, EndpointKind, Host, labels};
use crate::resource::{
    DEFAULT_ALLOW_PROFILE, HostEndpoint, InterfaceName, Labels, ServiceEndpoint, ServiceUnit,
    WorkloadEndpoint,
};
use crate::snapshot::Snapshot;

/// Where systemd keeps what users start: no unit of the system is there.
const USER_SLICE: &str = "user.slice/";

/// The endpoints of all hosts, in the order of their names.
pub(super) fn endpoints(snapshot: &Snapshot, host: &Host) -> Vec<Endpoint> {
    let maker = Maker {
        snapshot,
        host,
        profiles: snapshot
            .profiles
            .keys()
            .enumerate()
            .map(|(index, name)| (name.as_str(), index))
            .collect(),
    };
    let mut endpoints = maker.host_endpoints();
    endpoints.extend(
        snapshot
            .workload_endpoints
            .values()
            .map(|written| maker.workload(written)),
    );
    endpoints.extend(
        snapshot
            .service_endpoints
            .values()
            .map(|written| maker.service(written)),
    );
    endpoints.sort_by(|a, b| (&a.name, &a.namespace, a.kind).cmp(&(&b.name, &b.namespace, b.kind)));
    endpoints
}

struct Maker<'a> {
    snapshot: &'a Snapshot,
    host: &'a Host,
    /// Where each profile is among all.
    profiles: BTreeMap<&'a str, usize>,
}

impl Maker<'_> {
    fn is_local(&self, node: &str) -> bool {
        self.host.node.as_deref() == Some(node)
    }

    fn profiles(&self, names: &[String]) -> Vec<usize> {
        let known = |name: &String| self.profiles.get(name.as_str()).copied();
        names.iter().filter_map(known).collect()
    }

    fn labels(&self, own: &Labels, profiles: &[String]) -> Labels {
        labels::inherited(self.snapshot, own, profiles.iter().map(String::as_str))
    }

    /// The written ones; and where none names this node, the one made from `host.labels`.
    fn host_endpoints(&self) -> Vec<Endpoint> {
        let written = self.snapshot.host_endpoints.values();
        let local: Vec<&HostEndpoint> = written
            .clone()
            .map(|endpoint| &**endpoint)
            .filter(|endpoint| self.is_local(&endpoint.node))
            .collect();
        let attachments = attachments(&local, self.host);
        let mut endpoints: Vec<Endpoint> = written
            .map(|written| {
                let attachment = attachments.get(written.name.as_str()).cloned();
                let addresses = match &attachment {
                    Some(attachment) if written.expected_ips.is_empty() => {
                        live_addresses(attachment, self.host, &attachments)
                    }
                    _ => written.expected_ips.clone(),
                };
                Endpoint {
                    kind: EndpointKind::Host,
                    namespace: None,
                    name: written.name.clone(),
                    node: written.node.clone(),
                    labels: self.labels(&written.labels, &written.profiles),
                    addresses,
                    ports: written.ports.clone(),
                    profiles: self.profiles(&written.profiles),
                    wildcard: written.interface == Some(InterfaceName::Any),
                    attachment,
                    position: Some(written.position.clone()),
                }
            })
            .collect();
        if let Some(node) = self.host.node.as_deref().filter(|_| local.is_empty()) {
            let profiles = [DEFAULT_ALLOW_PROFILE.to_owned()];
            endpoints.push(Endpoint {
                kind: EndpointKind::Host,
                namespace: None,
                name: format!("{node}-auto-hep"),
                node: node.to_owned(),
                labels: self.host.labels.clone(),
                addresses: live_addresses(&Attachment::Rest, self.host, &BTreeMap::new()),
                ports: Vec::new(),
                profiles: self.profiles(&profiles),
                wildcard: true,
                attachment: Some(Attachment::Rest),
                position: None,
            });
        }
        endpoints
    }

    fn workload(&self, written: &WorkloadEndpoint) -> Endpoint {
        let local = self.is_local(&written.node);
        Endpoint {
            kind: EndpointKind::Workload,
            namespace: written.id.namespace.clone(),
            name: written.id.name.clone(),
            node: written.node.clone(),
            labels: labels::of_workload(self.snapshot, written),
            addresses: written.addresses.clone(),
            ports: written.ports.clone(),
            profiles: self.profiles(&written.profiles),
            wildcard: false,
            attachment: local.then(|| Attachment::Interfaces(vec![written.interface.clone()])),
            position: Some(written.position.clone()),
        }
    }

    fn service(&self, written: &ServiceEndpoint) -> Endpoint {
        let local = self.is_local(&written.node);
        Endpoint {
            kind: EndpointKind::Service,
            namespace: None,
            name: written.name.clone(),
            node: written.node.clone(),
            labels: self.labels(&written.labels, &written.profiles),
            addresses: Vec::new(),
            ports: Vec::new(),
            profiles: self.profiles(&written.profiles),
            wildcard: false,
            attachment: local.then(|| Attachment::Cgroups(cgroups(&written.unit, self.host))),
            position: Some(written.position.clone()),
        }
    }
}

/// The cgroups of a unit that exist now. A user's own unit of the same name is another one.
fn cgroups(unit: &ServiceUnit, host: &Host) -> Vec<Cgroup> {
    let is_it = |path: &str| match unit {
        ServiceUnit::Cgroup(cgroup) => path == cgroup,
        ServiceUnit::Unit(unit) => {
            !path.starts_with(USER_SLICE) && path.rsplit('/').next() == Some(unit.as_str())
        }
    };
    let found = host.cgroups.iter().filter(|(path, _)| is_it(path));
    found
        .map(|(path, &id)| Cgroup {
            path: path.clone(),
            id,
        })
        .collect()
}

/// Which local endpoint has which interface: the one it names, or without a name those that have an expected address.
/// Where several claim one, the lowest name wins; an endpoint that loses every claim hangs nowhere.
fn attachments<'a>(local: &[&'a HostEndpoint], host: &Host) -> BTreeMap<&'a str, Attachment> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for endpoint in local {
        let is_expected = |ip: &IpAddr| endpoint.expected_ips.contains(ip);
        let claims: Vec<&str> = match &endpoint.interface {
            Some(InterfaceName::Any) => Vec::new(),
            Some(InterfaceName::Named(interface)) => vec![interface.as_str()],
            None => {
                let interfaces = host.interfaces.iter();
                interfaces
                    .filter(|(_, addresses)| addresses.iter().any(is_expected))
                    .map(|(interface, _)| interface.as_str())
                    .collect()
            }
        };
        for interface in claims {
            owners.entry(interface).or_insert(&endpoint.name);
        }
    }
    let mut attachments: BTreeMap<&str, Attachment> = BTreeMap::new();
    for endpoint in local {
        let interfaces: Vec<String> = owners
            .iter()
            .filter(|(_, owner)| **owner == endpoint.name)
            .map(|(interface, _)| (*interface).to_owned())
            .collect();
        if !interfaces.is_empty() {
            attachments.insert(&endpoint.name, Attachment::Interfaces(interfaces));
        }
    }
    if let Some(rest) = local
        .iter()
        .find(|endpoint| endpoint.interface == Some(InterfaceName::Any))
    {
        attachments.insert(&rest.name, Attachment::Rest);
    }
    attachments
}

/// The addresses of an endpoint's interfaces at the moment, without loopback and link-local ones, which say nothing
/// about who it is.
fn live_addresses(
    attachment: &Attachment,
    host: &Host,
    attachments: &BTreeMap<&str, Attachment>,
) -> Vec<IpAddr> {
    let named: BTreeSet<&str> = attachments
        .values()
        .filter_map(|attachment| match attachment {
            Attachment::Interfaces(interfaces) => Some(interfaces.iter().map(String::as_str)),
            Attachment::Rest | Attachment::Cgroups(_) => None,
        })
        .flatten()
        .collect();
    let has = |interface: &str| match attachment {
        Attachment::Interfaces(interfaces) => interfaces.iter().any(|name| name == interface),
        Attachment::Rest => !named.contains(interface),
        Attachment::Cgroups(_) => false,
    };
    let identifies = |address: &IpAddr| {
        !address.is_loopback() && !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
    };
    let addresses: BTreeSet<IpAddr> = host
        .interfaces
        .iter()
        .filter(|(interface, _)| has(interface))
        .flat_map(|(_, addresses)| addresses.iter().copied().filter(identifies))
        .collect();
    addresses.into_iter().collect()
}
