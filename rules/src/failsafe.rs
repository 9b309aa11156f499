//! Failsafes: what stays open on a host endpoint whatever the policies say.
//!
//! The defaults keep the operator's SSH, DHCP, DNS and IPv6 neighbour discovery alive. They hold for host
//! endpoints only, and come before every tier.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::net::{Direction, PortRange, Protocol};

/// The failsafes of both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failsafes {
    /// Ports of this host that stay reachable; a net is where from.
    pub inbound: Vec<Failsafe>,
    /// Ports elsewhere that this host can reach; a net is where to.
    pub outbound: Vec<Failsafe>,
    /// Whether ICMPv6 neighbour discovery, router and multicast listener messages pass: without them IPv6 is dead
    /// under a default deny, for conntrack does not track them.
    pub icmpv6: bool,
}

/// `proto[:net]:port[-port]`, the net in brackets where it is IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failsafe {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Where from, or where to.
    pub net: Option<IpNet>,
    /// The destination ports.
    pub ports: PortRange,
}

/// ICMPv6 types that pass inbound: multicast listener queries and reports, router and neighbour advertisements and
/// solicitations (RFC 4861, RFC 2710, RFC 3810).
pub const ICMPV6_INBOUND: [(u8, u8); 3] = [(130, 132), (134, 136), (143, 143)];

/// ICMPv6 types that pass outbound: as inbound, but this host is no querier and no router.
pub const ICMPV6_OUTBOUND: [(u8, u8); 4] = [(131, 132), (133, 133), (135, 136), (143, 143)];

/// ICMPv6 types that pass between a workload and its host, which is its router: inbound and outbound ones alike.
pub const ICMPV6_TO_WORKLOADS: [(u8, u8); 2] = [(130, 136), (143, 143)];

impl Failsafes {
    /// No failsafes at all.
    pub fn none() -> Self {
        Failsafes {
            inbound: Vec::new(),
            outbound: Vec::new(),
            icmpv6: false,
        }
    }

    /// Calico's defaults besides ours: BGP, etcd, Typha and the Kubernetes API server, both ways.
    pub fn calico() -> Self {
        let mut failsafes = Failsafes::default();
        let ports = [179, 2379, 2380, 5473, 6443, 6666, 6667].map(|port| Failsafe::port(Protocol::TCP, port));
        failsafes.inbound.extend(ports);
        failsafes.outbound.extend(ports);
        failsafes
    }

    /// The port failsafes of one direction.
    pub fn ports(&self, direction: Direction) -> &[Failsafe] {
        match direction {
            Direction::Ingress => &self.inbound,
            Direction::Egress => &self.outbound,
        }
    }

    /// The ICMPv6 types that pass in one direction, as inclusive ranges.
    pub fn icmpv6_types(&self, direction: Direction) -> &'static [(u8, u8)] {
        match (self.icmpv6, direction) {
            (false, _) => &[],
            (true, Direction::Ingress) => &ICMPV6_INBOUND,
            (true, Direction::Egress) => &ICMPV6_OUTBOUND,
        }
    }

    /// The ICMPv6 types that pass between a workload and its host, as inclusive ranges.
    pub fn icmpv6_types_by_workload(&self) -> &'static [(u8, u8)] {
        if self.icmpv6 { &ICMPV6_TO_WORKLOADS } else { &[] }
    }
}

impl Default for Failsafes {
    fn default() -> Self {
        Failsafes {
            inbound: vec![
                Failsafe::port(Protocol::TCP, 22),
                Failsafe::port(Protocol::UDP, 68),
                Failsafe::port(Protocol::UDP, 546),
            ],
            outbound: vec![
                Failsafe::port(Protocol::UDP, 53),
                Failsafe::port(Protocol::TCP, 53),
                Failsafe::port(Protocol::UDP, 67),
                Failsafe::port(Protocol::UDP, 547),
            ],
            icmpv6: true,
        }
    }
}

impl Failsafe {
    /// One port, from or to anywhere.
    pub fn port(protocol: Protocol, port: u16) -> Self {
        Failsafe {
            protocol,
            net: None,
            ports: PortRange::one(port),
        }
    }

    /// Whether it lets a packet pass, `peer` being the far end.
    pub fn matches(&self, protocol: Protocol, peer: IpAddr, destination_port: u16) -> bool {
        self.protocol == protocol
            && self.ports.contains(destination_port)
            && self.net.is_none_or(|net| net.contains(&peer))
    }
}

impl fmt::Display for Failsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.protocol)?;
        match self.net {
            Some(net @ IpNet::V4(_)) => write!(f, "{net}:")?,
            Some(net @ IpNet::V6(_)) => write!(f, "[{net}]:")?,
            None => {}
        }
        write!(f, "{}", self.ports)
    }
}

/// Why a failsafe could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailsafeError {
    /// The parts are not three at most, or fewer than two.
    #[error(
        "a failsafe is written proto[:net]:port[-port], such as tcp:22 or tcp:10.0.0.0/8:22 or tcp:[fd00::/8]:22"
    )]
    Shape,
    /// Not a protocol with ports.
    #[error("{0:?} is no protocol with ports: use tcp, udp or sctp")]
    Protocol(String),
    /// Not a network.
    #[error("{0:?} is no network: write it as 10.0.0.0/8, or as [fd00::/8] for IPv6")]
    Net(String),
    /// Not a port or a range.
    #[error("{0:?} is no port from 1 to 65535, nor a range such as 8000-8100")]
    Port(String),
}

impl FromStr for Failsafe {
    type Err = FailsafeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (protocol, rest) = text.split_once(':').ok_or(FailsafeError::Shape)?;
        let protocol = match protocol {
            "tcp" | "TCP" => Protocol::TCP,
            "udp" | "UDP" => Protocol::UDP,
            "sctp" | "SCTP" => Protocol::SCTP,
            other => return Err(FailsafeError::Protocol(other.to_owned())),
        };
        let (net, ports) = match rest.rsplit_once(':') {
            Some((net, ports)) => (Some(parse_net(net)?), ports),
            None => (None, rest),
        };
        Ok(Failsafe {
            protocol,
            net,
            ports: parse_ports(ports)?,
        })
    }
}

fn parse_net(text: &str) -> Result<IpNet, FailsafeError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpNet>()
        .or_else(|_| bare.parse::<IpAddr>().map(IpNet::from))
        .map(|net| net.trunc())
        .map_err(|_| FailsafeError::Net(text.to_owned()))
}

fn parse_ports(text: &str) -> Result<PortRange, FailsafeError> {
    let error = || FailsafeError::Port(text.to_owned());
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|&port| port > 0)
            .ok_or_else(error)
    };
    let range = match text.split_once('-') {
        Some((first, last)) => PortRange {
            first: port(first)?,
            last: port(last)?,
        },
        None => PortRange::one(port(text)?),
    };
    if range.first > range.last {
        Err(error())
    } else {
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_prints_the_same() {
        for text in [
            "tcp:22",
            "udp:10.0.0.0/8:53",
            "tcp:[fd00::/8]:8000-8100",
            "sctp:1",
        ] {
            assert_eq!(text.parse::<Failsafe>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp:[fd00::1]:22".parse::<Failsafe>().unwrap().to_string(),
            "tcp:[fd00::1/128]:22"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("22", FailsafeError::Shape),
            ("icmp:1", FailsafeError::Protocol("icmp".into())),
            ("tcp:lan:22", FailsafeError::Net("lan".into())),
            ("tcp:0", FailsafeError::Port("0".into())),
            ("tcp:90-80", FailsafeError::Port("90-80".into())),
        ] {
            assert_eq!(text.parse::<Failsafe>(), Err(error), "{text}");
        }
    }
}
