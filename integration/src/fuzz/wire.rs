//! The bytes of a journey's packet, and the tags that tell the lab where it is to go.

use std::net::IpAddr;

use palisade_cases::{Journey, Way};
use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Family, Protocol};
use palisade_rules::ruleset::CtState;

use super::lab::INTERFACES;

/// The type of service of what is for the host, but for what comes in by loopback.
pub(super) const TO_HOST: u8 = 0x04;

/// The type of service of what is for the host and comes in by loopback.
pub(super) const TO_HOST_BY_LOOPBACK: u8 = 0x1c;

/// The hop limit of packets of the lab is this, or a few more: nobody else's are near it.
pub(super) const HOPS: u8 = 200;

/// The hop limit of packets that the lab neither reports nor drops.
pub(super) const OPENING: u8 = HOPS + 12;

/// The marks that journeys come with, each with a hop limit of its own.
pub(super) const MARKS: [u32; 6] = [0, 7, 0x0800_0000, 0x1000_0000, 0x4000_0000, u32::MAX];

/// The type of service of what is forwarded out of an interface.
pub(super) fn forwarded(index: usize) -> u8 {
    let index = u8::try_from(index).unwrap_or(u8::MAX / 4);
    TO_HOST + 4 * (index + 1)
}

/// The hop limit that stands for a mark, and for not being tracked.
pub(super) fn hops(mark: usize, is_untracked: bool) -> u8 {
    let marks = u8::try_from(MARKS.len()).unwrap_or(0);
    let mark = u8::try_from(mark).unwrap_or(0);
    HOPS + mark + if is_untracked { marks } else { 0 }
}

/// The first packet of a journey's connection and its answer, both to the host; none where conntrack would ask for more, or
/// knows no connections.
pub(super) fn opening(journey: &Journey) -> Vec<Vec<u8>> {
    let mut there = Journey {
        way: Way::In { from: "eth0" },
        state: CtState::New,
        mark: 0,
        ..journey.clone()
    };
    let packet = &mut there.packet;
    let answer = match (packet.protocol, packet.icmp_type) {
        (Protocol::ICMP, 8) if packet.family() == Family::V4 => 0,
        (Protocol::ICMPV6, 128) if packet.family() == Family::V6 => 129,
        (Protocol::UDP | Protocol(47), other) => other,
        _ => return Vec::new(),
    };
    let back = Journey {
        packet: Packet {
            source: packet.destination,
            destination: packet.source,
            source_port: packet.destination_port,
            destination_port: packet.source_port,
            icmp_type: answer,
            ..*packet
        },
        ..there.clone()
    };
    [there, back].map(|journey| bytes(&journey, 1, OPENING)).to_vec()
}

/// A packet, from its IP header on. `number` is how it is known again.
///
/// Checksums but that of IPv4's header are left out: the lab does not look at them.
pub(super) fn packet(journey: &Journey, number: u16) -> Vec<u8> {
    let mark = MARKS.iter().position(|mark| *mark == journey.mark).unwrap_or(0);
    bytes(journey, number, hops(mark, journey.state == CtState::Untracked))
}

fn bytes(journey: &Journey, number: u16, hops: u8) -> Vec<u8> {
    let payload = payload(journey);
    let service = match journey.way {
        Way::In { from: "lo" } => TO_HOST_BY_LOOPBACK,
        Way::In { .. } => TO_HOST,
        Way::Out { .. } => 0,
        Way::Through { to, .. } => forwarded(INTERFACES.iter().position(|name| *name == to).unwrap_or(0)),
    };
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let protocol = journey.packet.protocol.0;
    let number = number.to_be_bytes();
    let mut packet = match (journey.packet.source, journey.packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = (length + 20).to_be_bytes();
            let mut header = vec![
                0x45, service, high, low, number[0], number[1], 0, 0, hops, protocol, 0, 0,
            ];
            header.extend(source.octets());
            header.extend(destination.octets());
            let checksum = checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
            header
        }
        (source, destination) => {
            let [high, low] = length.to_be_bytes();
            let mut header = vec![
                0x60 | service >> 4,
                service << 4,
                number[0],
                number[1],
                high,
                low,
                protocol,
                hops,
            ];
            for address in [source, destination] {
                match address {
                    IpAddr::V4(address) => header.extend(address.to_ipv6_mapped().octets()),
                    IpAddr::V6(address) => header.extend(address.octets()),
                }
            }
            header
        }
    };
    packet.extend(payload);
    packet
}

/// The number of a packet that came back, from its IP header.
pub(super) fn number(packet: &[u8]) -> Option<u16> {
    let bytes = match packet.first()? >> 4 {
        4 => packet.get(4..6)?,
        _ => packet.get(2..4)?,
    };
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// What makes conntrack call it new, or invalid where its protocol knows such a thing.
fn payload(journey: &Journey) -> Vec<u8> {
    let packet = &journey.packet;
    let is_invalid = journey.state == CtState::Invalid;
    let mut bytes = Vec::new();
    if packet.protocol.has_ports() {
        bytes.extend(packet.source_port.to_be_bytes());
        bytes.extend(packet.destination_port.to_be_bytes());
    }
    match packet.protocol {
        Protocol::TCP => {
            const SYN: u8 = 2;
            let flags = if is_invalid { 0 } else { SYN };
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        Protocol::UDP => {
            let length = if is_invalid { 0xff } else { 12 };
            bytes.extend([0, length, 0, 0, 0, 0, 0, 0]);
        }
        Protocol::SCTP => {
            // Verification tag and checksum; then INIT, or DATA out of nowhere.
            let kind = u8::from(!is_invalid);
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, kind, 3, 0, 20]);
            bytes.extend([0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            bytes.extend([packet.icmp_type, packet.icmp_code, 0, 0, 0, 1, 0, 1]);
            bytes.extend([0; 16]);
        }
        _ => bytes.extend([0, 0, 8, 0, 0, 0, 0, 0]),
    }
    bytes
}

fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!(folded + (folded >> 16))).to_be_bytes();
    u16::from_be_bytes([high, low])
}
