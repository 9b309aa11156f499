//! Packets that no ordinary socket sends.

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};
use palisade::lab::Namespace;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// A packet, between two addresses of one family. Where its protocol has ports or identifiers, it begins a connection of
/// its own.
#[derive(Clone, Debug)]
pub struct Packet {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: Vec<u8>,
}

impl Packet {
    /// A packet of any protocol.
    pub fn new(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Self {
        Packet {
            from,
            to,
            protocol,
            payload: payload.to_vec(),
        }
    }

    /// The first packet of an SCTP association.
    pub fn sctp(from: IpAddr, to: IpAddr, port: u16) -> Self {
        // Ports, verification tag (none yet), checksum; then INIT, its flags and length; initiate tag, window, streams
        // each way, first sequence number.
        let mut payload = [fresh(), port.to_be_bytes()].concat();
        payload.extend([0; 8]);
        payload.extend([1, 0, 0, 20]);
        payload.extend([0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
        let checksum = crc32c(&payload).to_le_bytes();
        payload[8..12].copy_from_slice(&checksum);
        Packet::new(from, to, SCTP, &payload)
    }

    /// A datagram of UDP-Lite, its checksum over all of it.
    pub fn udp_lite(from: IpAddr, to: IpAddr, port: u16) -> Self {
        let mut payload = [fresh(), port.to_be_bytes()].concat();
        payload.extend([0, 0, 0, 0, b'p', b'a', b'l', b'i']);
        Packet::new(from, to, UDP_LITE, &payload).with_checksum(6)
    }

    /// A message of the family's ICMP, with room for an identifier and a number.
    pub fn icmp(from: IpAddr, to: IpAddr, icmp_type: u8, code: u8) -> Self {
        let [high, low] = fresh();
        let mut payload = vec![icmp_type, code, 0, 0, high, low, 0, 1];
        payload.extend([0; 16]);
        let protocol = if from.is_ipv4() { ICMP } else { ICMPV6 };
        Packet::new(from, to, protocol, &payload).with_checksum(2)
    }

    /// Sends it.
    pub fn send(&self, sender: &Namespace) -> anyhow::Result<()> {
        let family = if self.to.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let packet = [self.header(), self.payload.clone()].concat();
        sender
            .run(|| {
                // A socket of this protocol takes whole packets, headers and all.
                let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
                let socket = socket.as_raw_fd();
                match self.to {
                    IpAddr::V4(to) => sendto(
                        socket,
                        &packet,
                        &SockaddrIn::from(SocketAddrV4::new(to, 0)),
                        MsgFlags::empty(),
                    ),
                    IpAddr::V6(to) => {
                        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
                        sendto(socket, &packet, &to, MsgFlags::empty())
                    }
                }
            })?
            .with_context(|| format!("cannot send {self:?}"))?;
        Ok(())
    }

    /// The IP header. The kernel fills in the length and checksum of IPv4's.
    fn header(&self) -> Vec<u8> {
        const HOPS: u8 = 64;
        let mut header = if self.to.is_ipv4() {
            vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, self.protocol, 0, 0]
        } else {
            let [high, low] = self.length().to_be_bytes();
            vec![0x60, 0, 0, 0, high, low, self.protocol, HOPS]
        };
        header.extend(octets(self.from));
        header.extend(octets(self.to));
        header
    }

    /// Writes the Internet checksum into the payload: over all of it, and over the addresses, protocol and length, which
    /// IPv4's ICMP leaves out.
    fn with_checksum(mut self, offset: usize) -> Self {
        let mut covered = self.payload.clone();
        if self.protocol != ICMP {
            covered.extend(octets(self.from));
            covered.extend(octets(self.to));
            covered.extend(self.length().to_be_bytes());
            covered.extend([0, self.protocol]);
        }
        let words = covered
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
        let sum: u32 = words.sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let [_, _, high, low] = (!(folded + (folded >> 16))).to_be_bytes();
        self.payload[offset..offset + 2].copy_from_slice(&[high, low]);
        self
    }

    fn length(&self) -> u16 {
        u16::try_from(self.payload.len()).expect("no packet here is long")
    }
}

/// A source port or identifier that no packet before had.
fn fresh() -> [u8; 2] {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// SCTP's checksum (RFC 9260).
fn crc32c(bytes: &[u8]) -> u32 {
    const CASTAGNOLI: u32 = 0x82f6_3b78;
    let shift = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ CASTAGNOLI
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_internet_checksum_completes_its_sum() {
        let packet = Packet::icmp([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 8, 0);
        let sum: u32 = packet
            .payload
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
