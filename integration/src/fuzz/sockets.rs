//! The sockets that packets are made with.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV6;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn6, bind, setsockopt, socket, sockopt,
};
use palisade::lab::Namespace;
use palisade_cases::PORTS;
use palisade_rules::net::{Family, Protocol};

use super::lab::INTERFACES;
use super::services::listener;

/// The interfaces of a namespace by name.
pub(super) fn links(namespace: &Namespace) -> anyhow::Result<BTreeMap<String, LinkAddr>> {
    let links = namespace.run(|| {
        let links =
            getifaddrs()?.filter_map(|link| Some((link.interface_name, *link.address?.as_link_addr()?)));
        nix::Result::Ok(links.collect())
    })??;
    Ok(links)
}

/// A socket for whole frames.
pub(super) fn on_wire(link: &LinkAddr) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), link)?;
    Ok(socket)
}

/// The sockets of one cgroup.
#[derive(Default)]
pub(super) struct Sockets {
    /// What sends from the host.
    pub(super) senders: BTreeMap<Sender, OwnedFd>,
    /// What packets to the host find there. Nothing gets to them.
    pub(super) listeners: Vec<OwnedFd>,
}

/// The interface by which it sends, the family, and the cgroup it belongs to.
pub(super) type Sender = (&'static str, Family, Option<&'static str>);

pub(super) fn sockets(cgroup: Option<&'static str>) -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    for interface in INTERFACES.into_iter().chain(["lo"]) {
        for family in Family::BOTH {
            let sender = sender(interface, family)?;
            sockets.senders.insert((interface, family, cgroup), sender);
        }
        for protocol in [Protocol::TCP, Protocol::UDP] {
            for port in PORTS {
                if cgroup.is_some() && listener(interface, protocol, port) == cgroup {
                    sockets.listeners.push(listening(interface, protocol, port)?);
                }
            }
        }
    }
    Ok(sockets)
}

/// A socket that is there for both IP versions, on one interface.
fn listening(interface: &str, protocol: Protocol, port: u16) -> io::Result<OwnedFd> {
    let kind = if protocol == Protocol::TCP {
        SockType::Stream
    } else {
        SockType::Datagram
    };
    let socket = socket(AddressFamily::Inet6, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
    bind(
        socket.as_raw_fd(),
        &SockaddrIn6::from(SocketAddrV6::new([0; 8].into(), port, 0, 0)),
    )?;
    if protocol == Protocol::TCP {
        nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(1)?)?;
    }
    Ok(socket)
}

/// A socket for whole packets, out of one interface.
fn sender(interface: &str, family: Family) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let socket = socket(domain, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
    setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
    if family == Family::V6 {
        // Else the kernel looks for an address to send from, whatever the packet says.
        let any = SockaddrIn6::from(SocketAddrV6::new(
            [0xfd00, 0xffff, 0, 0, 0, 0, 0, 1].into(),
            0,
            0,
            0,
        ));
        bind(socket.as_raw_fd(), &any)?;
    }
    Ok(socket)
}
