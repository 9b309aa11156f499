//! Random endpoints: on this host by interface, address and cgroup, and on others.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_rules::net::Protocol;
use palisade_rules::resource::{
    DEFAULT_ALLOW_PROFILE, HostEndpoint, InterfaceName, Labels, NamedPort, ObjectName, ServiceEndpoint,
    ServiceUnit, WorkloadEndpoint,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{NODE, ip, labels, object_name, position};

/// All endpoints of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) hosts: BTreeMap<String, Arc<HostEndpoint>>,
    pub(super) workloads: BTreeMap<ObjectName, Arc<WorkloadEndpoint>>,
    pub(super) services: BTreeMap<String, ServiceEndpoint>,
}

pub(super) fn endpoints() -> impl Strategy<Value = Endpoints> {
    (hosts(), workloads(), services()).prop_map(|(hosts, workloads, services)| Endpoints {
        hosts,
        workloads,
        services,
    })
}

/// What endpoints have that the compiler does not look at one by one.
#[derive(Clone, Debug)]
struct Rest {
    labels: Labels,
    profiles: Vec<String>,
    ports: Vec<NamedPort>,
}

fn rest() -> impl Strategy<Value = Rest> {
    let profiles = prop_oneof![
        2 => Just(vec![]),
        4 => Just(vec![DEFAULT_ALLOW_PROFILE]),
        1 => Just(vec!["one"]),
        1 => Just(vec!["one", DEFAULT_ALLOW_PROFILE, "two"]),
        1 => Just(vec!["two", "kns.red", "one"]),
        1 => Just(vec!["kns.red"]),
    ];
    let protocol = select(vec![Protocol::TCP, Protocol::TCP, Protocol::UDP, Protocol::SCTP]);
    let port = (
        select(vec!["web", "dns"]),
        protocol,
        select(vec![53, 80, 443, 8080]),
    );
    let port = port.prop_map(|(name, protocol, port)| NamedPort {
        name: name.to_owned(),
        protocol,
        port,
    });
    (labels(), profiles, vec(port, 0..3)).prop_map(|(labels, profiles, ports)| Rest {
        labels,
        profiles: profiles.into_iter().map(str::to_owned).collect(),
        ports,
    })
}

/// Some of: three endpoints here (by name, by expected address, all the rest), and two elsewhere.
fn hosts() -> impl Strategy<Value = BTreeMap<String, Arc<HostEndpoint>>> {
    let named = |interface: &str| Some(InterfaceName::Named(interface.to_owned()));
    let written = vec![
        ("by-name", NODE, named("eth0"), vec![]),
        ("by-address", NODE, None, vec![ip("10.0.1.1")]),
        ("rest", NODE, Some(InterfaceName::Any), vec![]),
        ("far", "there", named("eth0"), vec![ip("10.0.0.2"), ip("fd00::2")]),
        (
            "farther",
            "yonder",
            Some(InterfaceName::Any),
            vec![ip("10.0.0.3")],
        ),
    ];
    let all = written.len();
    (subsequence(written, 0..=all), vec(rest(), all)).prop_map(|(written, random)| {
        written
            .into_iter()
            .zip(random)
            .map(|((name, node, interface, expected_ips), rest)| {
                let endpoint = HostEndpoint {
                    name: name.to_owned(),
                    labels: rest.labels,
                    node: node.to_owned(),
                    interface,
                    expected_ips,
                    profiles: rest.profiles,
                    ports: rest.ports,
                    position: position(),
                };
                (name.to_owned(), Arc::new(endpoint))
            })
            .collect()
    })
}

/// Some of: two workloads here and one elsewhere. Two of them may have one name, and two share an address.
fn workloads() -> impl Strategy<Value = BTreeMap<ObjectName, Arc<WorkloadEndpoint>>> {
    let written = vec![
        ("red", "w", NODE, "cali1", vec![ip("10.0.0.4"), ip("fd00::4")]),
        ("blue", "w", NODE, "cali2", vec![ip("10.0.0.5")]),
        ("red", "v", "there", "cali1", vec![ip("10.0.0.4"), ip("10.0.0.6")]),
    ];
    let all = written.len();
    (subsequence(written, 0..=all), vec((rest(), any::<bool>()), all)).prop_map(|(written, random)| {
        written
            .into_iter()
            .zip(random)
            .map(
                |((namespace, name, node, interface, addresses), (rest, is_pod))| {
                    let orchestrator = if is_pod { "k8s" } else { "cni" };
                    let id = object_name(Some(namespace), &format!("{node}-{orchestrator}-{name}-eth0"));
                    let endpoint = WorkloadEndpoint {
                        id: id.clone(),
                        labels: rest.labels,
                        node: node.to_owned(),
                        orchestrator: orchestrator.to_owned(),
                        service_account: is_pod.then(|| "clerk".to_owned()),
                        interface: interface.to_owned(),
                        addresses,
                        profiles: rest.profiles,
                        ports: rest.ports,
                        position: position(),
                    };
                    (id, Arc::new(endpoint))
                },
            )
            .collect()
    })
}

/// Some of: a slice, a unit in it, a part of that unit, one more unit by two names, one that does not run, one elsewhere.
fn services() -> impl Strategy<Value = BTreeMap<String, ServiceEndpoint>> {
    let unit = |name: &str| ServiceUnit::Unit(name.to_owned());
    let cgroup = |path: &str| ServiceUnit::Cgroup(path.to_owned());
    let written = vec![
        ("all-apps", NODE, unit("app.slice")),
        ("web", NODE, unit("web.service")),
        ("worker", NODE, cgroup("app.slice/web.service/worker")),
        ("db", NODE, unit("db.service")),
        ("also-db", NODE, cgroup("system.slice/db.service")),
        ("absent", NODE, unit("absent.service")),
        ("far-web", "there", unit("web.service")),
    ];
    let all = written.len();
    (subsequence(written, 0..=all), vec(rest(), all)).prop_map(|(written, random)| {
        written
            .into_iter()
            .zip(random)
            .map(|((name, node, unit), rest)| {
                let endpoint = ServiceEndpoint {
                    name: name.to_owned(),
                    labels: rest.labels,
                    node: node.to_owned(),
                    unit,
                    profiles: rest.profiles,
                    position: position(),
                };
                (name.to_owned(), endpoint)
            })
            .collect()
    })
}
