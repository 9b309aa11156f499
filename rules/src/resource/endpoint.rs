//! Endpoints: what policies select, and what gives selectors their addresses.

use std::net::IpAddr;

use super::{Labels, ObjectName};
use crate::net::Protocol;
use crate::source::Position;

/// A `HostEndpoint`: one or all interfaces of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// Its own labels.
    pub labels: Labels,
    /// The host it is on.
    pub node: String,
    /// Its interface; `None` means the one that has an expected address.
    pub interface: Option<InterfaceName>,
    /// The addresses it is known by.
    pub expected_ips: Vec<IpAddr>,
    /// Names of profiles, in order.
    pub profiles: Vec<String>,
    /// Ports that rules may name.
    pub ports: Vec<NamedPort>,
    /// Where it was written.
    pub position: Position,
}

/// The interface of a host endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceName {
    /// `*`: every interface that no other endpoint of the host names.
    Any,
    /// One interface, 1 to 15 characters.
    Named(String),
}

/// A `WorkloadEndpoint`: the host's end of a container's or virtual machine's interface.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadEndpoint {
    /// Its namespace and name.
    pub id: ObjectName,
    /// Its own labels, as written.
    pub labels: Labels,
    /// The host it is on.
    pub node: String,
    /// What made it: `k8s`, `cni`, `libnetwork`.
    pub orchestrator: String,
    /// `serviceAccountName`, if it runs as one.
    pub service_account: Option<String>,
    /// Its interface on the host, 1 to 15 characters.
    pub interface: String,
    /// `ipNetworks`: its addresses.
    pub addresses: Vec<IpAddr>,
    /// Names of profiles, in order.
    pub profiles: Vec<String>,
    /// Ports that rules may name.
    pub ports: Vec<NamedPort>,
    /// Where it was written.
    pub position: Position,
}

/// A `ServiceEndpoint` (`palisade.dev/v1`): a systemd unit or slice, known by its cgroup.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEndpoint {
    /// Its name.
    pub name: String,
    /// Its own labels.
    pub labels: Labels,
    /// The host it is on.
    pub node: String,
    /// What it is.
    pub unit: ServiceUnit,
    /// Names of profiles, in order; the built-in default-allow where none is written.
    pub profiles: Vec<String>,
    /// Where it was written.
    pub position: Position,
}

/// How a service endpoint's cgroup is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceUnit {
    /// `unit`: the cgroup of this systemd unit (`nginx.service`, `web.slice`), in whichever slice it runs.
    Unit(String),
    /// `cgroup`: this path below the root of the cgroup v2 hierarchy, without a slash at either end.
    Cgroup(String),
}

/// A port with a name, of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}
