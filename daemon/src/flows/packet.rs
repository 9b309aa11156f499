//! The first bytes of a packet, as policies see them.

use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use palisade_rules::evaluate::Packet;
use palisade_rules::net::Protocol;

/// What NFLOG copied, read; `None` if it is not an IP packet or cut off before its ports.
pub fn parse(payload: &[u8]) -> Option<(Packet, u64)> {
    let sliced = LaxSlicedPacket::from_ip(payload).ok()?;
    let (source, destination, protocol, length): (IpAddr, IpAddr, u8, u64) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let length = u64::from(header.total_len());
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                ip.payload().ip_number.0,
                length,
            )
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let length = u64::from(header.payload_length()) + 40;
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                ip.payload().ip_number.0,
                length,
            )
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let mut packet = Packet {
        source,
        destination,
        protocol: Protocol(protocol),
        source_port: 0,
        destination_port: 0,
        icmp_type: 0,
        icmp_code: 0,
    };
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (packet.source_port, packet.destination_port) = (tcp.source_port(), tcp.destination_port());
        }
        Some(TransportSlice::Udp(udp)) => {
            (packet.source_port, packet.destination_port) = (udp.source_port(), udp.destination_port());
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            (packet.icmp_type, packet.icmp_code) = (icmp.type_u8(), icmp.code_u8());
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            (packet.icmp_type, packet.icmp_code) = (icmp.type_u8(), icmp.code_u8());
        }
        None if packet.protocol == Protocol::SCTP => {
            // etherparse knows no SCTP; its ports stand where those of TCP do (RFC 9260, section 3.1).
            let rest = match sliced.net.as_ref()? {
                LaxNetSlice::Ipv4(ip) => ip.payload().payload,
                LaxNetSlice::Ipv6(ip) => ip.payload().payload,
                LaxNetSlice::Arp(_) => return None,
            };
            let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
            (packet.source_port, packet.destination_port) = (port(0)?, port(2)?);
        }
        None if packet.protocol.has_ports() => return None,
        Some(TransportSlice::Igmp(_)) | None => {}
    }
    Some((packet, length))
}

/// A packet in a few words, such as `tcp 10.0.0.1:49152 -> 10.0.0.2:80` or `icmp 10.0.0.1 -> 10.0.0.2 type 8 code 0`.
pub fn phrase(packet: &Packet) -> String {
    let Packet {
        source,
        destination,
        protocol,
        ..
    } = *packet;
    if protocol.has_ports() {
        let source = SocketAddr::new(source, packet.source_port);
        let destination = SocketAddr::new(destination, packet.destination_port);
        return format!("{protocol} {source} -> {destination}");
    }
    let icmp = if protocol == Protocol::icmp_of(packet.family()) {
        format!(" type {} code {}", packet.icmp_type, packet.icmp_code)
    } else {
        String::new()
    };
    format!("{protocol} {source} -> {destination}{icmp}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcp_syn_over_ipv4_is_read() {
        let mut bytes = vec![
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        bytes.extend([
            0xc0, 0, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
        ]);
        let (packet, length) = parse(&bytes).unwrap();
        assert_eq!(
            (packet.source_port, packet.destination_port, length),
            (49152, 8080, 40)
        );
        assert_eq!(packet.source, "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn icmp_and_sctp_are_read_over_ipv6() {
        let header = |next: u8, length: u8| {
            let mut bytes = vec![0x60, 0, 0, 0, 0, length, next, 64];
            bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
            bytes
        };
        let mut echo = header(58, 8);
        echo.extend([128, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(parse(&echo).unwrap().0.icmp_type, 128);
        let mut sctp = header(132, 12);
        sctp.extend([0, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        let (packet, length) = parse(&sctp).unwrap();
        assert_eq!((packet.source_port, packet.destination_port, length), (7, 9, 52));
    }

    #[test]
    fn a_packet_is_told_in_a_few_words() {
        let packet = |protocol, source: &str, destination: &str| Packet {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            source_port: 1024,
            destination_port: 53,
            icmp_type: 8,
            icmp_code: 0,
        };
        for (packet, words) in [
            (
                packet(Protocol::UDP, "fd00::1", "fd00::2"),
                "udp [fd00::1]:1024 -> [fd00::2]:53",
            ),
            (
                packet(Protocol::ICMP, "10.0.0.1", "10.0.0.2"),
                "icmp 10.0.0.1 -> 10.0.0.2 type 8 code 0",
            ),
            (
                packet(Protocol(47), "10.0.0.1", "10.0.0.2"),
                "47 10.0.0.1 -> 10.0.0.2",
            ),
        ] {
            assert_eq!(phrase(&packet), words);
        }
    }

    #[test]
    fn what_is_cut_off_before_its_ports_is_not_guessed() {
        assert_eq!(
            parse(&[
                0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0xc0
            ]),
            None
        );
        assert_eq!(parse(&[]), None);
    }
}
