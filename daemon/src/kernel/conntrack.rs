//! The connections that the kernel tracks (nfnetlink_conntrack).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

use netlink_packet_core::NlaBuffer;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use palisade_rules::net::Protocol;

use super::netlink::{attribute, attributes, dump, nested, order, value};

/// Connections that are read at most: beyond, the sweep would cost more memory than a firewall's daemon should have.
pub const MOST: usize = 1 << 20;

/// `NFNL_SUBSYS_CTNETLINK`, and in it `IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;

/// `IPCTNL_MSG_CT_DELETE` of the same.
const DELETE: u16 = 1 << 8 | 2;

/// The families, as the header of nfnetlink has them.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of the nfgenmsg header.
const NFGEN_HEADER: usize = 4;

/// What a connection looks like to one side: a tuple of `linux/netfilter/nf_conntrack_tuple_common.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Where from.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: u8,
    /// The source port; 0 where the protocol has none.
    pub source_port: u16,
    /// The destination port; 0 where the protocol has none.
    pub destination_port: u16,
    /// The ICMP type; 0 where the protocol has none.
    pub icmp_type: u8,
    /// The ICMP code; 0 where the protocol has none.
    pub icmp_code: u8,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its first packet as it came, before any translation.
    pub original: Tuple,
    /// A packet of the other direction as it comes: the ends as they are after translation.
    pub reply: Tuple,
    /// `IPS_*`.
    pub status: Status,
    /// `TCP_CONNTRACK_*`; `None` for another protocol.
    pub tcp_state: Option<TcpState>,
    /// The zone; 0 unless a rule says otherwise.
    pub zone: u16,
    /// The connection mark.
    pub mark: u32,
    /// Its number: no two that are alive have the same.
    pub id: u32,
    /// Packets and bytes of both directions, the original first; `None` where conntrack does not account
    /// (`net.netfilter.nf_conntrack_acct`).
    pub counts: Option<[Count; 2]>,
    /// When it began and ended, in nanoseconds since 1970; 0 where conntrack does not know
    /// (`net.netfilter.nf_conntrack_timestamp`), and for the end of one that is alive.
    pub times: [u64; 2],
}

/// What conntrack accounts in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, IP header included.
    pub bytes: u64,
}

/// `IPS_*` of `linux/netfilter/nf_conntrack_common.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// Another connection has announced it: its first packet was related, not new.
    pub fn expected(self) -> bool {
        self.0 & 1 != 0
    }

    /// Packets of both directions have been seen.
    pub fn seen_reply(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// It is not given up early when the table is full.
    pub fn assured(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// Its source is translated.
    pub fn src_nat(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// Its destination is translated.
    pub fn dst_nat(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

/// `TCP_CONNTRACK_*` of `linux/netfilter/nf_conntrack_tcp.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpState(pub u8);

impl TcpState {
    /// Between the first answer and the last FIN: data can still flow.
    pub fn is_alive(self) -> bool {
        const SYN_RECV: u8 = 2;
        const CLOSE_WAIT: u8 = 5;
        (SYN_RECV..=CLOSE_WAIT).contains(&self.0)
    }
}

impl Entry {
    /// Whether packets may still flow: not a TCP connection that is closed, or was never answered.
    pub fn is_alive(&self) -> bool {
        self.tcp_state
            .is_none_or(|state| self.status.seen_reply() && state.is_alive())
    }

    /// The first packet as policies decide about it at its end: its destination translated, its source not yet.
    pub fn translated(&self) -> Tuple {
        Tuple {
            destination: self.reply.source,
            destination_port: self.reply.source_port,
            ..self.original
        }
    }
}

/// Why the connections cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// The process may not.
    #[error(
        "reading the conntrack table needs CAP_NET_ADMIN in this network namespace: run as root, or grant the capability"
    )]
    Privilege,
    /// The kernel cannot.
    #[error(
        "this kernel does not list its connections: load nf_conntrack_netlink with modprobe, or use a kernel built with CONFIG_NF_CT_NETLINK"
    )]
    NoConntrack,
    /// Something else.
    #[error("cannot read the conntrack table: {0}")]
    Io(io::Error),
}

/// The connections in the network namespace of the calling thread, of both families. Of more than a million, some.
pub fn connections() -> Result<Vec<Entry>, ConntrackError> {
    // Family unspecified is all of them; version and resource are 0.
    let mut entries = Vec::new();
    let listed = dump(
        SockProtocol::NetlinkNetFilter,
        GET,
        &[0; NFGEN_HEADER],
        |payload| {
            entries.extend(entry(payload.get(NFGEN_HEADER..).unwrap_or_default()));
            if entries.len() < MOST {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    );
    listed.map_err(as_conntrack_error)?;
    Ok(entries)
}

/// Whether there is no connection in the network namespace of the calling thread, as far as can be told at no cost: to list
/// them, the kernel goes through the places for all that there may be on the host, some ten milliseconds for 262,144.
pub fn is_empty() -> bool {
    let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    count.is_ok_and(|count| count.trim_end() == "0")
}

fn as_conntrack_error(error: io::Error) -> ConntrackError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => ConntrackError::Privilege,
        Some(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT) => ConntrackError::NoConntrack,
        _ => ConntrackError::Io(error),
    }
}

/// Forgets these connections of the network namespace of the calling thread: their next packet is a first one, which
/// policy decides. Says how many there still were. Of a protocol without ports, all between two addresses are one; echo
/// requests are left, for they end by themselves.
pub fn forget<'e>(entries: impl Iterator<Item = &'e Entry>) -> Result<usize, ConntrackError> {
    let requests = entries
        .filter(|entry| !is_icmp(entry.original.protocol))
        .map(|entry| {
            let mut request = vec![0; NFGEN_HEADER];
            request[0] = if entry.original.source.is_ipv4() {
                AF_INET
            } else {
                AF_INET6
            };
            request.extend(nested(1, &tuple_attributes(entry.original)));
            request.extend(attribute(12, &entry.id.to_be_bytes()));
            if entry.zone != 0 {
                request.extend(attribute(18, &entry.zone.to_be_bytes()));
            }
            request
        });
    order(SockProtocol::NetlinkNetFilter, DELETE, requests).map_err(as_conntrack_error)
}

fn is_icmp(protocol: u8) -> bool {
    [Protocol::ICMP.0, Protocol::ICMPV6.0].contains(&protocol)
}

/// `CTA_TUPLE_*`, as [`tuple`] reads it.
fn tuple_attributes(tuple: Tuple) -> [Vec<u8>; 2] {
    let address = |v4: u16, address: IpAddr| match address {
        IpAddr::V4(address) => attribute(v4, &address.octets()),
        IpAddr::V6(address) => attribute(v4 + 2, &address.octets()),
    };
    let ends = [address(1, tuple.source), address(2, tuple.destination)];
    let of_protocol = [
        attribute(1, &[tuple.protocol]),
        attribute(2, &tuple.source_port.to_be_bytes()),
        attribute(3, &tuple.destination_port.to_be_bytes()),
    ];
    [nested(1, &ends), nested(2, &of_protocol)]
}

/// Decodes one entry: `CTA_*` of `linux/netfilter/nfnetlink_conntrack.h`.
pub(super) fn entry(bytes: &[u8]) -> Option<Entry> {
    let (mut original, mut reply) = (None, None);
    let mut status = Status::default();
    let (mut tcp_state, mut zone, mut mark, mut id) = (None, 0, 0, 0);
    let (mut counts, mut times) = ([None, None], [0; 2]);
    for attribute in attributes(bytes) {
        match attribute.kind() {
            1 => original = tuple(attribute.value()),
            2 => reply = tuple(attribute.value()),
            3 => status = Status(u32(&attribute)),
            4 => tcp_state = protocol_info(attribute.value()),
            8 => mark = u32(&attribute),
            9 => counts[0] = count(attribute.value()),
            10 => counts[1] = count(attribute.value()),
            12 => id = u32(&attribute),
            20 => times = timestamps(attribute.value()),
            18 => zone = u16(&attribute),
            _ => {}
        }
    }
    Some(Entry {
        original: original?,
        reply: reply?,
        status,
        tcp_state,
        zone,
        mark,
        id,
        counts: counts[0]
            .zip(counts[1])
            .map(|(original, reply)| [original, reply]),
        times,
    })
}

/// `CTA_COUNTERS_*`, in 64 bits each.
fn count(bytes: &[u8]) -> Option<Count> {
    let (mut packets, mut of_bytes) = (None, None);
    for attribute in attributes(bytes) {
        match attribute.kind() {
            1 => packets = value(&attribute).map(u64::from_be_bytes),
            2 => of_bytes = value(&attribute).map(u64::from_be_bytes),
            _ => {}
        }
    }
    Some(Count {
        packets: packets?,
        bytes: of_bytes?,
    })
}

/// `CTA_TIMESTAMP_*`.
fn timestamps(bytes: &[u8]) -> [u64; 2] {
    let mut times = [0; 2];
    for attribute in attributes(bytes) {
        if let 1 | 2 = attribute.kind() {
            let time = value(&attribute).map_or(0, u64::from_be_bytes);
            times[usize::from(attribute.kind() == 2)] = time;
        }
    }
    times
}

/// `CTA_TUPLE_*`.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut ends, mut of_protocol) = ((None, None), None);
    for attribute in attributes(bytes) {
        match attribute.kind() {
            1 => ends = addresses(attribute.value()),
            2 => of_protocol = Some(attribute),
            _ => {}
        }
    }
    let (Some(source), Some(destination)) = ends else {
        return None;
    };
    let mut tuple = Tuple {
        source,
        destination,
        protocol: 0,
        source_port: 0,
        destination_port: 0,
        icmp_type: 0,
        icmp_code: 0,
    };
    // CTA_PROTO_*, of which ICMP and ICMPv6 have their own.
    for attribute in attributes(of_protocol?.value()) {
        match attribute.kind() {
            1 => tuple.protocol = u8(&attribute),
            2 => tuple.source_port = u16(&attribute),
            3 => tuple.destination_port = u16(&attribute),
            5 | 8 => tuple.icmp_type = u8(&attribute),
            6 | 9 => tuple.icmp_code = u8(&attribute),
            _ => {}
        }
    }
    Some(tuple)
}

/// `CTA_IP_*`.
fn addresses(bytes: &[u8]) -> (Option<IpAddr>, Option<IpAddr>) {
    let v4 = |attribute: &NlaBuffer<&[u8]>| value::<4>(attribute).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = |attribute: &NlaBuffer<&[u8]>| value::<16>(attribute).map(|bytes| Ipv6Addr::from(bytes).into());
    let (mut source, mut destination) = (None, None);
    for attribute in attributes(bytes) {
        match attribute.kind() {
            1 => source = v4(&attribute),
            2 => destination = v4(&attribute),
            3 => source = v6(&attribute),
            4 => destination = v6(&attribute),
            _ => {}
        }
    }
    (source, destination)
}

/// `CTA_PROTOINFO_TCP`, and in it `CTA_PROTOINFO_TCP_STATE`.
fn protocol_info(bytes: &[u8]) -> Option<TcpState> {
    let tcp = attributes(bytes).find(|attribute| attribute.kind() == 1)?;
    let state = attributes(tcp.value()).find(|attribute| attribute.kind() == 1)?;
    Some(TcpState(u8(&state)))
}

fn u8(attribute: &NlaBuffer<&[u8]>) -> u8 {
    value(attribute).map_or(0, u8::from_be_bytes)
}

fn u16(attribute: &NlaBuffer<&[u8]>) -> u16 {
    value(attribute).map_or(0, u16::from_be_bytes)
}

fn u32(attribute: &NlaBuffer<&[u8]>) -> u32 {
    value(attribute).map_or(0, u32::from_be_bytes)
}
