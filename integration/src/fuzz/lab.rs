//! A host on which any journey can be made: packets from and to whatever address, by any interface, with any mark.
//!
//! The host has no addresses. Where a packet goes is written in its type of service, and rules of its routing table go by
//! that; with what mark it comes, and whether it is tracked, is written in its hop limit, for a table of nftables that
//! stands before and behind palisade's at every hook:
//!
//! ```text
//! lab: give mark ─▶ palisade: prerouting ─▶ routing ─▶ palisade: input, forward, output ─▶ lab: report, drop
//! ```
//!
//! What has passed palisade is reported to an NFLOG group and dropped before conntrack confirms it, so that every packet
//! is the first of a connection, nobody answers, and nothing leaves. Some connections are opened beforehand.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};
use palisade::lab::Namespace;
use palisade_cases::{CGROUPS, Case, Journey, Way};
use palisade_nft::{CounterValue, NflogOptions, NflogSocket, Nft, ReplaceError};
use palisade_rules::net::Family;
use palisade_rules::ruleset::{CtState, Ruleset, TABLE, unconfirmed};

use super::services::Services;
use super::sockets::{self, Sockets};
use super::{around, wire};
use crate::nft;

/// The interfaces of the host but for loopback.
pub(super) const INTERFACES: [&str; 5] = ["eth0", "eth1", "eth2", "cali1", "cali2"];

/// The NFLOG group of the reports.
pub(super) const GROUP: u16 = 7;

/// The host, and the other ends of its cables.
pub(super) struct Lab {
    host: Namespace,
    _peer: Namespace,
    nft: Nft,
    conntrack: OwnedFd,
    reports: NflogSocket,
    buffer: Vec<u8>,
    /// Interfaces by index.
    names: BTreeMap<u32, &'static str>,
    /// Where frames come in.
    wires: BTreeMap<&'static str, Wire>,
    /// Where packets go out, and what those to the host find.
    sockets: Sockets,
    services: Services,
    sent: u16,
}

/// A socket that puts frames on a cable, and the addresses they begin with.
struct Wire {
    socket: OwnedFd,
    addresses: [u8; 12],
}

/// A packet that has passed palisade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Which it is.
    pub(super) number: u16,
    /// Where it was last seen.
    pub(super) way: Way,
    /// What conntrack calls it.
    pub(super) state: CtState,
    /// The mark that it leaves with.
    pub(super) mark: u32,
}

impl Lab {
    /// Builds it.
    ///
    /// # Errors
    /// Without root, saying so.
    pub(super) fn new() -> anyhow::Result<Self> {
        let host = Namespace::new()?;
        let peer = Namespace::new()?;
        for sender in [&host, &peer] {
            // No address, no neighbours and no routers: nobody speaks here but the lab.
            set(sender, "net/ipv6/conf/default/addr_gen_mode", "1")?;
        }
        for interface in INTERFACES {
            host.connect(interface, &peer, interface)?;
        }
        host.forward()?;
        for interface in ["all", "default", "lo"].into_iter().chain(INTERFACES) {
            set(&host, &format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
            set(&host, &format!("net/ipv4/conf/{interface}/accept_local"), "1")?;
            set(&host, &format!("net/ipv4/conf/{interface}/send_redirects"), "0")?;
        }
        set(&host, "net/ipv6/ip_nonlocal_bind", "1")?;
        let reports = host.run(|| NflogSocket::bind(GROUP, NflogOptions::default()))??;
        nft(&host, &["-f", "-"], &around::table())?;
        set(&host, "net/netfilter/nf_conntrack_checksum", "0")?;
        for version in ["-4", "-6"] {
            let mut command = Command::new("ip");
            command.args([version, "-batch", "-"]);
            let output = host.output(&command, &around::routes())?;
            ensure!(
                output.status.success(),
                "ip {version}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let here = sockets::links(&host)?;
        let there = sockets::links(&peer)?;
        let mut wires = BTreeMap::new();
        let mut all = Sockets::default();
        let mut names = BTreeMap::new();
        for interface in INTERFACES.into_iter().chain(["lo"]) {
            let own = here
                .get(interface)
                .with_context(|| format!("{interface} has no address"))?;
            names.insert(u32::try_from(own.ifindex())?, interface);
            let (namespace, end) = match there.get(interface) {
                Some(end) if interface != "lo" => (&peer, end),
                _ => (&host, own),
            };
            let addresses = [own, end].map(|link| link.addr().unwrap_or_default()).concat();
            let socket = namespace.run(|| sockets::on_wire(end))??;
            let addresses = addresses.try_into().unwrap_or_default();
            wires.insert(interface, Wire { socket, addresses });
        }
        let services = Services::new()?;
        let cgroups = CGROUPS.map(|(path, _)| Some(path));
        for cgroup in cgroups.into_iter().chain([None]) {
            let of_cgroup = services.inside(cgroup, || Ok(host.run(|| sockets::sockets(cgroup))??))?;
            all.senders.extend(of_cgroup.senders);
            all.listeners.extend(of_cgroup.listeners);
        }
        Ok(Lab {
            nft: host.run(Nft::open)??,
            conntrack: host.run(|| {
                let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
                socket(
                    AddressFamily::Netlink,
                    kind,
                    flags,
                    SockProtocol::NetlinkNetFilter,
                )
            })??,
            host,
            _peer: peer,
            reports,
            buffer: vec![0; NflogSocket::BUFFER],
            names,
            wires,
            sockets: all,
            services,
            sent: 0,
        })
    }

    /// The case as it can be made here.
    pub(super) fn adapt(&self, case: &Case) -> Case {
        self.services.adapt(case)
    }

    /// Whether there can be such a packet at all: a router never forwards what is link-local.
    pub(super) fn can_carry(journey: &Journey) -> bool {
        let is_link_local =
            |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let packet = &journey.packet;
        !(matches!(journey.way, Way::Through { .. })
            && (is_link_local(packet.source) || is_link_local(packet.destination)))
    }

    /// Takes palisade's table away, and every connection that conntrack knows.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        const DELETE: u16 = 1 << 8 | 2;
        const REQUEST: u16 = 1;
        self.nft.delete_table(&mut ())?;
        // Header and family, and no tuple: all of them.
        let mut request = 20_u32.to_ne_bytes().to_vec();
        request.extend([DELETE, REQUEST].map(u16::to_ne_bytes).concat());
        request.extend([0; 12]);
        nix::sys::socket::send(self.conntrack.as_raw_fd(), &request, MsgFlags::empty())?;
        Ok(())
    }

    /// Makes a journey's packet one of a connection that has seen both directions, while palisade is not there.
    pub(super) fn open(&mut self, journey: &Journey) -> anyhow::Result<()> {
        for packet in wire::opening(journey) {
            self.wires["eth0"].send(&packet, journey.packet.family())?;
        }
        Ok(())
    }

    /// Makes palisade's table this one, in one transaction.
    pub(super) fn put(&mut self, ruleset: &Ruleset) -> Result<(), ReplaceError> {
        self.nft.replace(ruleset, &mut ()).map(|_| ())
    }

    /// Ends the window of an unconfirmed generation, as its time would.
    pub(super) fn end_window(&self) -> anyhow::Result<()> {
        let flush = format!("flush set inet {TABLE} {}", unconfirmed::SET);
        nft(&self.host, &["-f", "-"], &flush).map(drop)
    }

    /// What is in the kernel, as `nft` lists it.
    pub(super) fn listing(&self) -> anyhow::Result<String> {
        // Every table: after a refusal palisade's may be missing.
        nft(&self.host, &["list", "ruleset"], "")
    }

    /// What palisade's counters have counted.
    pub(super) fn counters(&mut self) -> anyhow::Result<BTreeMap<String, CounterValue>> {
        Ok(self.nft.counters()?)
    }

    /// Sends a packet on its way; returns its number, and its length in bytes.
    pub(super) fn send(&mut self, journey: &Journey) -> anyhow::Result<(u16, u64)> {
        // The kernel would choose a number where there is none.
        self.sent = self.sent.wrapping_add(1).max(1);
        let packet = wire::packet(journey, self.sent);
        let sent = match journey.way {
            Way::In { from } | Way::Through { from, .. } => {
                self.wires[from].send(&packet, journey.packet.family())
            }
            Way::Out { to } => {
                let cgroup = self.services.cgroup_of(journey);
                let sender = self.sockets.senders[&(to, journey.packet.family(), cgroup)].as_raw_fd();
                match journey.packet.destination {
                    IpAddr::V4(address) => {
                        let to = SockaddrIn::from(SocketAddrV4::new(address, 0));
                        sendto(sender, &packet, &to, MsgFlags::empty())
                    }
                    IpAddr::V6(address) => {
                        let to = SockaddrIn6::from(SocketAddrV6::new(address, 0, 0, 0));
                        sendto(sender, &packet, &to, MsgFlags::empty())
                    }
                }
            }
        };
        match sent {
            // So the kernel says of a packet that was dropped on its way out.
            Ok(_) | Err(nix::errno::Errno::EPERM) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot send {journey:?}")),
        }
        Ok((self.sent, packet.len() as u64))
    }

    /// What has arrived since the last time.
    pub(super) fn arrivals(&mut self) -> anyhow::Result<Vec<Arrival>> {
        let mut arrivals = Vec::new();
        let names = &self.names;
        loop {
            let received = self.reports.receive(&mut self.buffer, |report| {
                const INPUT: u8 = 1;
                const FORWARD: u8 = 2;
                let from = names.get(&report.input_ifindex).copied().unwrap_or("?");
                let to = names.get(&report.output_ifindex).copied().unwrap_or("?");
                arrivals.push(Arrival {
                    number: wire::number(report.payload).unwrap_or_default(),
                    way: match report.hook {
                        INPUT => Way::In { from },
                        FORWARD => Way::Through { from, to },
                        _ => Way::Out { to },
                    },
                    state: around::STATES
                        .into_iter()
                        .find(|(_, name)| *name == report.prefix)
                        .map_or(CtState::Untracked, |(state, _)| state),
                    mark: report.mark,
                });
            });
            match received {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(arrivals),
                Err(error) => return Err(error).context("cannot read the reports of the lab"),
            }
        }
    }
}

impl Wire {
    fn send(&self, packet: &[u8], family: Family) -> nix::Result<usize> {
        let kind: [u8; 2] = match family {
            Family::V4 => [0x08, 0x00],
            Family::V6 => [0x86, 0xdd],
        };
        let frame = [&self.addresses[..], &kind, packet].concat();
        nix::sys::socket::send(self.socket.as_raw_fd(), &frame, MsgFlags::empty())
    }
}

fn set(namespace: &Namespace, name: &str, value: &str) -> anyhow::Result<()> {
    let path = format!("/proc/sys/{name}");
    namespace
        .run(|| fs::write(&path, value))?
        .with_context(|| format!("cannot set {name} to {value}"))
}
