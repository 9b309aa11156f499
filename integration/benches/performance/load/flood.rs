//! First packets of flows, as fast as they go.
//!
//! A veth hands a packet to the receiving host within the call that sends it: the whole way through its hooks runs on the sender's core,
//! and on its time. So the time of the call is what the first packet costs, sending included, and the difference between two
//! rulesets is theirs alone.

use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrIn, sendmmsg, socket,
};

use crate::estate::{Place, SERVER, SOURCES};
use crate::ground::{Ground, measuring_core, pin};

/// The most packets of one call.
const TOGETHER: usize = 64;
/// A slice is no shorter than this: shorter ones would be noise of the clock.
const SLICE: Duration = Duration::from_micros(500);
/// Even of very slow rulesets there are so many slices.
const SLICES: usize = 8;

/// An IP header, a UDP header and 12 bytes.
const LENGTH: usize = 20 + 8 + 12;

/// What a flood found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    /// The cost of a first packet, in nanoseconds: that of the fastest tenth of the slices of time the flood is cut into, leaving out
    /// those in which something else had the core.
    pub(crate) cost: f64,
    /// Packets sent.
    pub(crate) sent: u64,
    /// Packets that the ruleset accepted.
    pub(crate) accepted: u64,
}

/// Sends first packets of UDP flows for some time.
pub(crate) fn flood(ground: &Ground, place: Place, port: u16, time: Duration) -> anyhow::Result<Flood> {
    ground.accepted()?;
    let sent = ground.client().run(|| send(ground, place, port, time))??;
    let mut slices = if sent.undisturbed.is_empty() {
        sent.disturbed
    } else {
        sent.undisturbed
    };
    slices.sort_unstable_by(f64::total_cmp);
    Ok(Flood {
        cost: slices
            .get(slices.len() / 10)
            .copied()
            .context("nothing was sent")?,
        sent: sent.packets,
        accepted: ground.accepted()?,
    })
}

/// Packets a second of one established flow, as fast as they go.
pub(crate) fn datagrams(ground: &Ground, port: u16, time: Duration) -> anyhow::Result<f64> {
    let server = SocketAddrV4::new(SERVER, port);
    let receiver = ground.server().run(|| UdpSocket::bind(server))??;
    receiver.set_read_timeout(Some(ANSWER))?;
    ground.client().run(|| -> anyhow::Result<f64> {
        let sender = UdpSocket::bind("0.0.0.0:0")?;
        sender.connect(server)?;
        // One packet each way, and conntrack takes it for established.
        sender.send(b"question")?;
        let (_, from) = receiver
            .recv_from(&mut [0; 16])
            .context("the first packet was denied")?;
        receiver.send_to(b"answer", from)?;
        sender.set_read_timeout(Some(ANSWER))?;
        sender.recv(&mut [0; 16]).context("the answer was denied")?;
        pin(measuring_core())?;
        let mut headers = MultiHeaders::preallocate(TOGETHER, None);
        let slices = [[IoSlice::new(b"sixteen bytes...")]; TOGETHER];
        let none: [Option<SockaddrIn>; TOGETHER] = [None; TOGETHER];
        let (begun, mut sent) = (Instant::now(), 0_u32);
        while begun.elapsed() < time {
            let results = sendmmsg(
                sender.as_raw_fd(),
                &mut headers,
                &slices,
                none,
                [],
                MsgFlags::empty(),
            )?;
            sent += u32::try_from(results.count())?;
        }
        Ok(f64::from(sent) / begun.elapsed().as_secs_f64())
    })?
}

/// How long the one answer may take.
const ANSWER: Duration = Duration::from_secs(2);

struct Sent {
    packets: u64,
    undisturbed: Vec<f64>,
    disturbed: Vec<f64>,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a slice has far fewer than 2^52 packets"
)]
fn send(ground: &Ground, place: Place, port: u16, time: Duration) -> anyhow::Result<Sent> {
    pin(measuring_core())?;
    let raw = raw_socket()?;
    let to = [Some(server()); TOGETHER];
    let mut headers = MultiHeaders::preallocate(TOGETHER, None);
    let mut packets = vec![packet(port); TOGETHER];
    let mut sent = Sent {
        packets: 0,
        undisturbed: Vec::new(),
        disturbed: Vec::new(),
    };
    let mut together = 1;
    let begun = Instant::now();
    while begun.elapsed() < time || sent.undisturbed.len() + sent.disturbed.len() < SLICES {
        let (switches, started, mut count) = (switches()?, Instant::now(), 0);
        let mut elapsed = Duration::ZERO;
        while elapsed < SLICE {
            let packets = &mut packets[..together];
            let first = ground.fresh(together as u64);
            for (packet, flow) in packets.iter_mut().zip(first..) {
                address(packet, place, flow);
            }
            let slices: Vec<_> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
            let to = &to[..together];
            let results = sendmmsg(raw.as_raw_fd(), &mut headers, &slices, to, [], MsgFlags::empty())?;
            count += results.count();
            let before = elapsed;
            elapsed = started.elapsed();
            // As many as go in a fraction of a slice.
            if elapsed.saturating_sub(before) < SLICE / 8 {
                together = (together * 2).min(TOGETHER);
            }
        }
        sent.packets += count as u64;
        let cost = elapsed.as_secs_f64() * 1e9 / count as f64;
        if self::switches()? == switches {
            sent.undisturbed.push(cost);
        } else {
            sent.disturbed.push(cost);
        }
    }
    Ok(sent)
}

/// How often something else had the core while this thread wanted it.
fn switches() -> anyhow::Result<i64> {
    Ok(getrusage(UsageWho::RUSAGE_THREAD)?.involuntary_context_switches())
}

/// A socket to write IP headers on: it needs no address of its own for the sources in them.
pub(super) fn raw_socket() -> anyhow::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )?)
}

/// Where such a socket sends to.
pub(super) fn server() -> SockaddrIn {
    SockaddrIn::from(SocketAddrV4::new(SERVER, 0))
}

/// A datagram without its source. It may do without a checksum.
pub(super) fn packet(port: u16) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = 0x45;
    packet[8] = 64;
    packet[9] = 17;
    packet[16..20].copy_from_slice(&SERVER.octets());
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    packet[25] = 20;
    packet
}

/// Gives a packet the source of a flow.
pub(super) fn address(packet: &mut [u8; LENGTH], place: Place, flow: u64) {
    // [`CONNECTING`] is not among them: real connections come from there.
    let sources = u64::from(SOURCES) - 1;
    let source = place.source(u8::try_from(flow % sources).unwrap_or_default());
    let port = 1024 + u16::try_from(flow / sources % 60_000).unwrap_or_default();
    packet[12..16].copy_from_slice(&source.octets());
    packet[20..22].copy_from_slice(&port.to_be_bytes());
}
