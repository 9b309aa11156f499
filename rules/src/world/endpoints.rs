//! Every endpoint, with its labels and addresses, and where those of this host hang.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::resolve::Previous;
use super::{Attachment, Cgroup, Endpoint, EndpointKind, Host, labels};
use crate::resource::{
    DEFAULT_ALLOW_PROFILE, HostEndpoint, InterfaceName, Labels, ServiceEndpoint, ServiceUnit,
    WorkloadEndpoint,
};
use crate::snapshot::Snapshot;

/// Where systemd keeps what users start: no unit of the system is there.
const USER_SLICE: &str = "user.slice/";

/// The endpoints of all hosts, in the order of their names. Those that are what they were are shared with the ones
/// before.
pub(super) fn endpoints(
    previous: Option<&Previous<'_>>,
    snapshot: &Snapshot,
    host: &Host,
) -> Arc<[Arc<Endpoint>]> {
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
    let known = Known { previous };
    let mut endpoints = maker.host_endpoints(&known);
    endpoints.extend(snapshot.workload_endpoints.values().map(|written| {
        known
            .workload(written)
            .unwrap_or_else(|| Arc::new(maker.workload(written)))
    }));
    endpoints.extend(
        snapshot
            .service_endpoints
            .values()
            .map(|written| Arc::new(maker.service(written))),
    );
    endpoints.sort_by(|a, b| order(a, b));
    known.shared(endpoints)
}

fn order(a: &Endpoint, b: &Endpoint) -> Ordering {
    (&a.name, &a.namespace, a.kind).cmp(&(&b.name, &b.namespace, b.kind))
}

/// The endpoints before.
struct Known<'p> {
    previous: Option<&'p Previous<'p>>,
}

impl Known<'_> {
    /// The endpoint that a host endpoint of another host was, if it is as it was.
    fn host(&self, written: &Arc<HostEndpoint>) -> Option<Arc<Endpoint>> {
        let previous = self.previous.filter(|previous| previous.profiles_stay)?;
        let before = previous.snapshot.host_endpoints.get(&written.name)?;
        let endpoint = self.endpoint(EndpointKind::Host, None, &written.name)?;
        // One that was made from the host's labels can have the name too.
        let is_it = Arc::ptr_eq(before, written) && endpoint.position.as_ref() == Some(&written.position);
        is_it.then_some(endpoint)
    }

    /// The endpoint that a workload was, if it is as it was.
    fn workload(&self, written: &Arc<WorkloadEndpoint>) -> Option<Arc<Endpoint>> {
        let previous = self.previous.filter(|previous| previous.profiles_stay)?;
        let before = previous.snapshot.workload_endpoints.get(&written.id)?;
        self.endpoint(
            EndpointKind::Workload,
            written.id.namespace.as_ref(),
            &written.id.name,
        )
        .filter(|_| Arc::ptr_eq(before, written))
    }

    fn endpoint(
        &self,
        kind: EndpointKind,
        namespace: Option<&String>,
        name: &String,
    ) -> Option<Arc<Endpoint>> {
        let endpoints = &self.previous?.worlds.endpoints;
        let found = endpoints.binary_search_by(|endpoint| {
            (&endpoint.name, endpoint.namespace.as_ref(), endpoint.kind).cmp(&(name, namespace, kind))
        });
        found.ok().map(|index| Arc::clone(&endpoints[index]))
    }

    /// These endpoints, with the ones before in the place of those that equal them; all of them, if all do.
    fn shared(&self, mut endpoints: Vec<Arc<Endpoint>>) -> Arc<[Arc<Endpoint>]> {
        let Some(Previous { worlds, .. }) = self.previous else {
            return endpoints.into();
        };
        let before = &worlds.endpoints;
        let mut all_stay = before.len() == endpoints.len();
        let mut place = 0;
        for (index, endpoint) in endpoints.iter_mut().enumerate() {
            while place < before.len() && !Arc::ptr_eq(&before[place], endpoint) {
                match order(&before[place], endpoint) {
                    Ordering::Less => place += 1,
                    Ordering::Equal if before[place] == *endpoint => *endpoint = Arc::clone(&before[place]),
                    Ordering::Equal | Ordering::Greater => break,
                }
            }
            all_stay &= before
                .get(index)
                .is_some_and(|before| Arc::ptr_eq(before, endpoint));
        }
        if all_stay {
            return Arc::clone(before);
        }
        endpoints.into()
    }
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
    fn host_endpoints(&self, known: &Known<'_>) -> Vec<Arc<Endpoint>> {
        let written = self.snapshot.host_endpoints.values();
        let local: Vec<&HostEndpoint> = written
            .clone()
            .map(AsRef::as_ref)
            .filter(|endpoint| self.is_local(&endpoint.node))
            .collect();
        let attachments = attachments(&local, self.host);
        let mut endpoints: Vec<Arc<Endpoint>> = written
            .map(|written| {
                if !self.is_local(&written.node)
                    && let Some(endpoint) = known.host(written)
                {
                    return endpoint;
                }
                let attachment = attachments.get(written.name.as_str()).cloned();
                let addresses = match &attachment {
                    Some(attachment) if written.expected_ips.is_empty() => {
                        live_addresses(attachment, self.host, &attachments)
                    }
                    _ => written.expected_ips.clone(),
                };
                Arc::new(Endpoint {
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
                })
            })
            .collect();
        if let Some(node) = self.host.node.as_deref().filter(|_| local.is_empty()) {
            let profiles = [DEFAULT_ALLOW_PROFILE.to_owned()];
            endpoints.push(Arc::new(Endpoint {
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
            }));
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
