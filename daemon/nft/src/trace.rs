//! What the kernel does with single packets, rule by rule (`meta nftrace set 1`, as `nft monitor trace` shows it).
//!
//! The rules that mark packets stand in a table of their own, which belongs to the socket that made it
//! (`NFT_TABLE_F_OWNER`, since Linux 5.12): when the process ends, however it ends, the kernel removes it. Our own table
//! is not touched.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use palisade_rules::net::{Family, Protocol};

use crate::abi::{NFNL_SUBSYS_NFTABLES, chain, expr, msg, rule, table, trace};
use crate::attribute::{Message, Messages};
use crate::error::OpenError;
use crate::message::{MessageBuilder, nest, put};
use crate::nft::Nft;
use crate::socket::{Socket, nft_message, request_flags, set_receive_buffer};

/// The table that marks packets.
pub const TRACE_TABLE: &str = "palisade_trace";

/// Before every chain of ours, and before conntrack.
const PRIORITY: i32 = -400;

/// `NF_INET_PRE_ROUTING` and `NF_INET_LOCAL_OUT`: where packets begin.
const HOOKS: [(&str, u32); 2] = [("incoming", 0), ("outgoing", 3)];

/// Packets marked a second at most, and at once: each makes a dozen messages or more.
const LIMIT: (u64, u32) = (200, 100);

/// Room for messages until they are read, in bytes.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Which packets are traced; what is `None` may be anything. Of TCP only those that open a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Where from.
    pub source: Option<IpAddr>,
    /// Where to; of the same family.
    pub destination: Option<IpAddr>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// The destination port; only with a protocol that has ports.
    pub port: Option<u16>,
}

/// One thing that happened to a traced packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// The packet: the same in all its events, and not used again soon.
    pub id: u32,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule that matched; `None` at the end of a chain.
    pub handle: Option<u64>,
    /// What became of the packet there: of a rule that has no verdict, `None`.
    pub verdict: Option<TraceVerdict>,
    /// The packet from its IP header on, options of TCP replaced by zeros; only in the first event of a hook.
    pub payload: Vec<u8>,
}

/// A verdict of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceVerdict {
    /// The packet passes this hook's chain.
    Accept,
    /// The packet is gone.
    Drop,
    /// It goes on elsewhere in this hook.
    GoesOn,
}

/// Why packets cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// nf_tables cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Somebody else traces.
    #[error(
        "table inet {TRACE_TABLE} belongs to another process: another `palisade explain --live` is running; wait until it ends"
    )]
    Busy,
    /// The kernel refused the table.
    #[error("the kernel refused table inet {TRACE_TABLE}: {0}; tracing needs Linux 5.12 or later")]
    Refused(Errno),
    /// The socket failed.
    #[error("tracing over netlink failed")]
    Io(#[from] io::Error),
}

/// Packets are traced for as long as this lives.
pub struct Tracer {
    /// Owns the table.
    _owner: Socket,
    listener: OwnedFd,
}

impl Tracer {
    /// The size of the buffer that [`Tracer::receive`] needs, in bytes.
    pub const BUFFER: usize = 64 * 1024;

    /// Traces packets that one of the filters takes, in the network namespace of the calling thread.
    pub fn start(filters: &[TraceFilter]) -> Result<Tracer, TraceError> {
        // Says in words what is missing.
        drop(Nft::open()?);
        let listener = listen().map_err(io::Error::from)?;
        let mut owner = Socket::open()?;
        let mut failures = owner.send_batch(&batch(filters))?.into_iter();
        match failures.next() {
            None => Ok(Tracer {
                _owner: owner,
                listener,
            }),
            // Privileged we are.
            Some(failure) if matches!(failure.errno, Errno::EPERM | Errno::EEXIST) => Err(TraceError::Busy),
            Some(failure) => Err(TraceError::Refused(failure.errno)),
        }
    }

    /// Reads one datagram and gives each event in it to `each`. Where there is nothing to read, the error is
    /// [`io::ErrorKind::WouldBlock`]; where events were lost, `ENOBUFS`.
    pub fn receive(&mut self, buffer: &mut [u8], each: impl FnMut(TraceEvent)) -> io::Result<()> {
        let length = recv(self.listener.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        Messages::new(&buffer[..length]).filter_map(event).for_each(each);
        Ok(())
    }
}

impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn listen() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags,
        SockProtocol::NetlinkNetFilter,
    )?;
    bind(
        listener.as_raw_fd(),
        &NetlinkAddr::new(0, 1 << (trace::GROUP - 1)),
    )?;
    set_receive_buffer(&listener, RECEIVE_BUFFER);
    Ok(listener)
}

/// The table, its two chains, and a rule in each for each filter.
fn batch(filters: &[TraceFilter]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut seq = 1;
    let mut message = |kind: u16, flags: libc::c_int, write: &dyn Fn(MessageBuilder<'_>)| {
        let flags = request_flags(flags);
        write(MessageBuilder::new(&mut bytes, nft_message(kind), flags, seq));
        seq += 1;
    };
    let new = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    message(msg::NEW_TABLE, new, &|message| {
        message
            .put_text(table::NAME, TRACE_TABLE)
            .put(table::FLAGS, &table::F_OWNER.to_be_bytes())
            .finish();
    });
    for (name, hook) in HOOKS {
        message(msg::NEW_CHAIN, new, &|message| {
            message
                .put_text(chain::TABLE, TRACE_TABLE)
                .put_text(chain::NAME, name)
                .nest(chain::HOOK, |hooks| {
                    put(hooks, chain::HOOK_HOOKNUM, &hook.to_be_bytes());
                    put(hooks, chain::HOOK_PRIORITY, &PRIORITY.to_be_bytes());
                })
                .put_text(chain::TYPE, "filter")
                .finish();
        });
        for expressions in filters.iter().flat_map(rules_of) {
            message(
                msg::NEW_RULE,
                libc::NLM_F_CREATE | libc::NLM_F_APPEND,
                &|message| {
                    message
                        .put_text(rule::TABLE, TRACE_TABLE)
                        .put_text(rule::CHAIN, name)
                        .nest(rule::EXPRESSIONS, |list| list.extend_from_slice(&expressions.0))
                        .finish();
                },
            );
        }
    }
    let mut whole = Vec::new();
    let edge = |whole: &mut Vec<u8>, kind: libc::c_int, seq| {
        // NFNL_MSG_BATCH_BEGIN and _END are below the first subsystem.
        let kind = u16::try_from(kind).unwrap_or_default();
        MessageBuilder::with_resource(whole, kind, request_flags(0), seq, 0, NFNL_SUBSYS_NFTABLES).finish();
    };
    edge(&mut whole, libc::NFNL_MSG_BATCH_BEGIN, 0);
    whole.extend_from_slice(&bytes);
    edge(&mut whole, libc::NFNL_MSG_BATCH_END, seq);
    whole
}

/// The rules of a filter: TCP is asked for the packets that open a connection, everything else is not.
fn rules_of(filter: &TraceFilter) -> Vec<Expressions> {
    let rule = |of_tcp: Option<bool>| {
        let mut list = Expressions::default();
        let family = filter.source.or(filter.destination).map(Family::of);
        if let Some(family) = family {
            list.meta(expr::META_NFPROTO);
            list.compare(expr::CMP_EQ, &[if family == Family::V4 { 2 } else { 10 }]);
        }
        let offsets = if family == Some(Family::V6) {
            [8, 24]
        } else {
            [12, 16]
        };
        for (address, offset) in [filter.source, filter.destination].into_iter().zip(offsets) {
            let bytes = match address {
                Some(IpAddr::V4(address)) => address.octets().to_vec(),
                Some(IpAddr::V6(address)) => address.octets().to_vec(),
                None => continue,
            };
            list.payload(expr::NETWORK_HEADER, offset, bytes.len());
            list.compare(expr::CMP_EQ, &bytes);
        }
        let protocol = match of_tcp {
            Some(true) => Some((expr::CMP_EQ, Protocol::TCP)),
            Some(false) => Some((expr::CMP_NEQ, Protocol::TCP)),
            None => filter.protocol.map(|protocol| (expr::CMP_EQ, protocol)),
        };
        if let Some((op, protocol)) = protocol {
            list.meta(expr::META_L4PROTO);
            list.compare(op, &[protocol.0]);
        }
        if let Some(port) = filter.port {
            list.payload(expr::TRANSPORT_HEADER, 2, 2);
            list.compare(expr::CMP_EQ, &port.to_be_bytes());
        }
        if of_tcp == Some(true) {
            // The flags: SYN, and none of FIN, RST and ACK.
            list.payload(expr::TRANSPORT_HEADER, 13, 1);
            list.bitwise(0x17);
            list.compare(expr::CMP_EQ, &[0x02]);
        }
        list.limit();
        list.set_nftrace();
        list
    };
    match filter.protocol {
        Some(Protocol::TCP) => vec![rule(Some(true))],
        Some(_) => vec![rule(None)],
        None => vec![rule(Some(true)), rule(Some(false))],
    }
}

/// Expressions of one rule, which all work on the first register.
#[derive(Default)]
struct Expressions(Vec<u8>);

impl Expressions {
    fn add(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        nest(&mut self.0, expr::LIST_ELEM, |element| {
            put(element, rule::EXPR_NAME, &[name.as_bytes(), &[0]].concat());
            nest(element, rule::EXPR_DATA, write);
        });
    }

    fn meta(&mut self, key: u32) {
        self.add("meta", |data| {
            put(data, expr::META_DREG, &expr::REG_1.to_be_bytes());
            put(data, expr::META_KEY, &key.to_be_bytes());
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: usize) {
        let length = u32::try_from(length).unwrap_or_default();
        self.add("payload", |data| {
            put(data, expr::PAYLOAD_DREG, &expr::REG_1.to_be_bytes());
            put(data, expr::PAYLOAD_BASE, &base.to_be_bytes());
            put(data, expr::PAYLOAD_OFFSET, &offset.to_be_bytes());
            put(data, expr::PAYLOAD_LEN, &length.to_be_bytes());
        });
    }

    fn compare(&mut self, op: u32, value: &[u8]) {
        self.add("cmp", |data| {
            put(data, expr::CMP_SREG, &expr::REG_1.to_be_bytes());
            put(data, expr::CMP_OP, &op.to_be_bytes());
            nest(data, expr::CMP_DATA, |data| {
                put(data, expr::DATA_VALUE, value);
            });
        });
    }

    fn bitwise(&mut self, mask: u8) {
        self.add("bitwise", |data| {
            put(data, expr::BITWISE_SREG, &expr::REG_1.to_be_bytes());
            put(data, expr::BITWISE_DREG, &expr::REG_1.to_be_bytes());
            put(data, expr::BITWISE_LEN, &1u32.to_be_bytes());
            nest(data, expr::BITWISE_MASK, |data| {
                put(data, expr::DATA_VALUE, &[mask]);
            });
            nest(data, expr::BITWISE_XOR, |data| {
                put(data, expr::DATA_VALUE, &[0]);
            });
        });
    }

    fn limit(&mut self) {
        let (rate, burst) = LIMIT;
        self.add("limit", |data| {
            put(data, expr::LIMIT_RATE, &rate.to_be_bytes());
            put(data, expr::LIMIT_UNIT, &expr::LIMIT_PER_SECOND.to_be_bytes());
            put(data, expr::LIMIT_BURST, &burst.to_be_bytes());
            put(data, expr::LIMIT_TYPE, &expr::LIMIT_TYPE_PACKETS.to_be_bytes());
        });
    }

    fn set_nftrace(&mut self) {
        self.add("immediate", |data| {
            put(data, expr::IMMEDIATE_DREG, &expr::REG_1.to_be_bytes());
            nest(data, expr::IMMEDIATE_DATA, |data| {
                put(data, expr::DATA_VALUE, &[1]);
            });
        });
        self.add("meta", |data| {
            put(data, expr::META_SREG, &expr::REG_1.to_be_bytes());
            put(data, expr::META_KEY, &expr::META_NFTRACE.to_be_bytes());
        });
    }
}

fn event(message: Message<'_>) -> Option<TraceEvent> {
    if message.kind != nft_message(msg::TRACE) {
        return None;
    }
    let attributes = message.attributes();
    let text = |kind| attributes.get(kind).map(|attribute| attribute.text().to_owned());
    let bytes = |kind| {
        attributes
            .get(kind)
            .map_or(&[][..], |attribute| attribute.payload)
    };
    let code = |verdict: crate::attribute::Attribute<'_>| {
        let code = verdict.nested().get(expr::VERDICT_CODE)?.i32();
        match code {
            crate::abi::verdict::ACCEPT => Some(TraceVerdict::Accept),
            crate::abi::verdict::DROP => Some(TraceVerdict::Drop),
            crate::abi::verdict::JUMP | crate::abi::verdict::GOTO | crate::abi::verdict::RETURN => {
                Some(TraceVerdict::GoesOn)
            }
            _ => None,
        }
    };
    // The chain's policy is a verdict without the usual clothes.
    let policy = attributes.get(trace::POLICY).map(|policy| match policy.u32() {
        0 => TraceVerdict::Drop,
        _ => TraceVerdict::Accept,
    });
    Some(TraceEvent {
        id: attributes.get(trace::ID)?.u32(),
        table: text(trace::TABLE)?,
        chain: text(trace::CHAIN)?,
        handle: attributes.get(trace::RULE_HANDLE).map(|handle| handle.u64()),
        verdict: attributes.get(trace::VERDICT).and_then(code).or(policy),
        payload: payload(bytes(trace::NETWORK_HEADER), bytes(trace::TRANSPORT_HEADER)),
    })
}

/// Both headers. The kernel gives 20 bytes of the transport header; a reader wants the options that it announces.
fn payload(network: &[u8], transport: &[u8]) -> Vec<u8> {
    const MOST_OPTIONS: usize = 40;
    if network.is_empty() {
        return Vec::new();
    }
    [network, transport, &[0; MOST_OPTIONS]].concat()
}
