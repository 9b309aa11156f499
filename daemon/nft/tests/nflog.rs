//! Packets that a rule logs, read over netlink.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::io::ErrorKind;
use std::os::fd::AsFd;

use common::{base_chain, in_namespace, loopback_up, open, send_to_loopback};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_nft::{NflogOptions, NflogSocket};
use palisade_rules::net::Protocol;
use palisade_rules::ruleset::{HookPoint, Log, Match, Op, Rule, Ruleset, Statement};

const GROUP: u16 = 7;

/// Logs and passes UDP to this host.
fn log_udp() {
    let log = Log {
        prefix: "palisade in 3/allow".to_owned(),
        group: GROUP,
        snaplen: 64,
        queue_threshold: 8,
    };
    let rule = Rule {
        matches: vec![Match::Protocol(Op::Is, Protocol::UDP)],
        statements: vec![
            Statement::SetMark {
                mask: 0xff,
                value: 0x42,
            },
            Statement::Log(log),
            Statement::Accept,
        ],
        ..Rule::default()
    };
    let ruleset = Ruleset {
        chains: vec![base_chain("input", HookPoint::Input, vec![rule])],
        ..Ruleset::default()
    };
    open().replace(&ruleset, &mut ()).unwrap();
    loopback_up();
}

/// What a packet said, apart from its payload.
#[derive(Debug, PartialEq)]
struct Seen {
    prefix: String,
    hook: u8,
    interfaces: (u32, u32),
    mark: u32,
    seq: u32,
    payload: Vec<u8>,
}

/// Reads until `wanted` packets have come; fails if none comes for two seconds.
fn read(socket: &mut NflogSocket, wanted: usize) -> Vec<Seen> {
    let mut buffer = vec![0; NflogSocket::BUFFER];
    let mut seen = Vec::new();
    while seen.len() < wanted {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let count = poll(&mut ready, PollTimeout::from(2000u16)).unwrap();
        assert!(count > 0, "only {} packets came", seen.len());
        let packets = socket.receive(&mut buffer, |packet| {
            seen.push(Seen {
                prefix: packet.prefix.to_owned(),
                hook: packet.hook,
                interfaces: (packet.input_ifindex, packet.output_ifindex),
                mark: packet.mark,
                seq: packet.seq,
                payload: packet.payload.to_vec(),
            });
        });
        assert!(packets.unwrap() > 0);
    }
    seen
}

#[test]
fn a_logged_packet_is_read_with_its_prefix() {
    in_namespace(|| {
        log_udp();
        let mut socket = NflogSocket::bind(GROUP, NflogOptions::default()).unwrap();
        let mut buffer = vec![0; NflogSocket::BUFFER];
        let nothing = socket.receive(&mut buffer, |_| {}).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);

        let port = send_to_loopback(&[b"first", &[b'x'; 200]]);
        let seen = read(&mut socket, 2);
        let loopback = 1;
        assert_eq!(seen[0].prefix, "palisade in 3/allow");
        assert_eq!(
            (seen[0].hook, seen[0].interfaces, seen[0].mark),
            (1, (loopback, 0), 0x42)
        );
        assert_eq!((seen[0].seq, seen[1].seq), (0, 1));
        // From the IP header on: version 4, UDP, to the port, with the content.
        let payload = &seen[0].payload;
        assert_eq!((payload[0], payload[9], payload.len()), (0x45, 17, 20 + 8 + 5));
        assert_eq!(payload[22..24], port.to_be_bytes());
        assert_eq!(&payload[28..], b"first");
        assert_eq!(seen[1].payload.len(), 64, "cut to the rule's snaplen");
        assert_eq!(socket.lost(), 0);
    });
}

#[test]
fn what_is_not_read_in_time_is_counted() {
    in_namespace(|| {
        log_udp();
        let options = NflogOptions {
            receive_buffer: 16 * 1024,
            datagram: 4096,
            ..NflogOptions::default()
        };
        let mut socket = NflogSocket::bind(GROUP, options).unwrap();
        let payload = [0u8; 100];
        let first = 2000;
        send_to_loopback(&vec![&payload[..]; first]);
        // What the buffer held comes, and reading makes room for the last.
        let mut buffer = vec![0; NflogSocket::BUFFER];
        let mut came = 0;
        while let Ok(packets) = socket.receive(&mut buffer, |_| {}) {
            came += packets;
        }
        assert!(came > 0 && came < first, "{came} packets fitted into 16 KiB");
        send_to_loopback(&[b"last"]);
        let seen = read(&mut socket, 1);
        came += seen.len();
        let sent = u64::try_from(first + 1).unwrap();
        assert_eq!(seen.last().unwrap().seq + 1, u32::try_from(sent).unwrap());
        assert_eq!(socket.lost(), sent - u64::try_from(came).unwrap());
    });
}

#[test]
fn a_group_has_one_reader() {
    in_namespace(|| {
        let _reader = NflogSocket::bind(GROUP, NflogOptions::default()).unwrap();
        let message = NflogSocket::bind(GROUP, NflogOptions::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("read by another program"), "{message}");
        NflogSocket::bind(GROUP + 1, NflogOptions::default()).unwrap();
    });
}
