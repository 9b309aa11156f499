//! What it costs to look at 100,000 live connections: to read them, and to judge them in both worlds. Needs root.
//!
//! The connections are made over netlink in a network namespace of their own. Under `cargo test` a hundredth of them is
//! swept, to see that it works.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use palisade::kernel::conntrack::connections;
use palisade::lab::Namespace;
use palisade::live::look;
use palisade::source::{SourceFile, decode_files};
use palisade_rules::analysis::Side;
use palisade_rules::world::{Host, WorldKind, Worlds, resolve};

const CONNECTIONS: u32 = 100_000;
const POLICIES: u32 = 200;
const PEERS: u32 = 1_000;
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let count = if is_bench { CONNECTIONS } else { CONNECTIONS / 100 };
    let worlds = worlds()?;
    let namespace = Namespace::new()?;
    let rounds = if is_bench { ROUNDS } else { 1 };
    let (made, timed) = namespace.run(|| -> anyhow::Result<_> {
        fill(count)?;
        let timed = (0..rounds)
            .map(|_| time(&worlds))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok((connections()?.len(), timed))
    })??;
    ensure!(made == count as usize, "{made} connections of {count} are there");
    let median = |of: fn(&Times) -> Duration| {
        let mut times: Vec<Duration> = timed.iter().map(of).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let [read, total] = [median(|times| times.read), median(|times| times.total)];
    let last = timed.last().context("no round")?;
    println!(
        "{count} connections, {POLICIES} policies of 5 rules, {PEERS} endpoints, {} groups affected\n\
         read     {:>8.1} ms\nall of it {:>7.1} ms: read, judged in both worlds, put together (medians of {rounds})",
        last.groups,
        read.as_secs_f64() * 1e3,
        total.as_secs_f64() * 1e3,
    );
    ensure!(
        last.judged == count as usize && last.groups > 0,
        "not all were judged"
    );
    Ok(())
}

/// What one round took and found.
struct Times {
    read: Duration,
    total: Duration,
    judged: usize,
    groups: usize,
}

fn time(worlds: &Worlds) -> anyhow::Result<Times> {
    let started = Instant::now();
    connections()?;
    let read = started.elapsed();
    let side = |world| Side { worlds, world };
    let started = Instant::now();
    let report = look(side(WorldKind::Enforced), side(WorldKind::Pending))?;
    Ok(Times {
        read,
        total: started.elapsed(),
        judged: report.connections,
        groups: report.affected.len(),
    })
}

/// A server among a thousand known peers, with policies for its ports, half of them staged.
fn worlds() -> anyhow::Result<Worlds> {
    let mut text = String::from(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: server, labels: {role: server}}\n\
         spec: {node: server, interfaceName: eth0, profiles: [projectcalico-default-allow]}\n",
    );
    for index in 0..PEERS {
        text += &format!(
            "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
             metadata: {{name: peer-{index}, labels: {{role: peer, team: team-{}}}}}\n\
             spec: {{node: peer-{index}, interfaceName: eth0, expectedIPs: [\"{}\", \"{}\"]}}\n",
            index % 40,
            peer(index, false),
            peer(index, true),
        );
    }
    for index in 0..POLICIES {
        let kind = if index % 2 == 0 { "" } else { "Staged" };
        let port = 8_000 + index;
        text += &format!(
            "---\napiVersion: projectcalico.org/v3\nkind: {kind}GlobalNetworkPolicy\nmetadata: {{name: p-{index}}}\n\
             spec:\n  order: {index}\n  selector: role == 'server'\n  types: [Ingress]\n  ingress:\n\
             \x20 - {{action: Allow, protocol: TCP, source: {{selector: team == 'team-{team}'}}, destination: {{ports: [{port}]}}}}\n\
             \x20 - {{action: Allow, protocol: TCP, source: {{nets: [198.18.{net}.0/24]}}, destination: {{ports: [{port}]}}}}\n\
             \x20 - {{action: Allow, protocol: UDP, source: {{notNets: [198.19.{net}.0/24]}}, destination: {{ports: [{port}]}}}}\n\
             \x20 - {{action: Deny, protocol: TCP, source: {{nets: [198.19.{net}.0/24]}}, destination: {{ports: [{port}]}}}}\n\
             \x20 - {{action: Allow, protocol: TCP, source: {{nets: [198.18.0.0/16]}}, destination: {{ports: [{port}, 9000]}}}}\n",
            team = index % 40,
            net = index % 256,
        );
    }
    let file = SourceFile::new("bench.yaml", text.as_bytes());
    let reading = decode_files(&[file]);
    let shown = reading.diagnostics.render(&reading.files, false);
    let snapshot = reading.snapshot.with_context(|| shown)?;
    let own = [false, true].map(|v6| peer(u32::MAX, v6));
    let host = Host {
        node: Some("server".to_owned()),
        interfaces: BTreeMap::from([("eth0".to_owned(), own.to_vec())]),
        ..Host::default()
    };
    Ok(resolve(&snapshot, host))
}

/// The address of a peer; the server is the last of them.
fn peer(index: u32, v6: bool) -> IpAddr {
    let [.., high, low] = index.to_be_bytes();
    if v6 {
        [0xfd00, 0, 0, 0, 0, 0, high.into(), low.into()].into()
    } else {
        [10, 0, high, low].into()
    }
}

/// Makes connections to the server: one in four from a known peer over IPv6, as many over IPv4, the rest each from a
/// client of its own.
fn fill(count: u32) -> anyhow::Result<()> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    let all: Vec<u32> = (0..count).collect();
    for some in all.chunks(100) {
        let datagram: Vec<u8> = some.iter().flat_map(|&index| connection(index)).collect();
        send(netlink.as_raw_fd(), &datagram, MsgFlags::empty())?;
        let mut answer = [0; 4096];
        match recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => {}
            answered => {
                answered?;
                let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
                return Err(Errno::from_raw(-code)).context("the kernel makes no connection");
            }
        }
    }
    Ok(())
}

/// `IPCTNL_MSG_CT_NEW`: an established TCP connection.
fn connection(index: u32) -> Vec<u8> {
    let v6 = index.is_multiple_of(4);
    let client = match index % 4 {
        0 | 1 => peer(index / 4 % PEERS, v6),
        _ => IpAddr::from((0xc612_0000 + index).to_be_bytes()),
    };
    let server = peer(u32::MAX, v6);
    let [.., high, low] = index.to_be_bytes();
    let client_port = u16::from_be_bytes([high, low]) | 0x8000;
    let server_port = 8_000 + u16::try_from(index % POLICIES).unwrap_or_default();
    let tuple = |kind, from: IpAddr, to: IpAddr, from_port: u16, to_port: u16| {
        let bytes = |address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let [source, destination] = if v6 { [3, 4] } else { [1, 2] };
        let ends = [
            attribute(source, &bytes(from)),
            attribute(destination, &bytes(to)),
        ];
        let ports = [
            attribute(1, &[6]),
            attribute(2, &from_port.to_be_bytes()),
            attribute(3, &to_port.to_be_bytes()),
        ];
        let tuple = [
            attribute(NESTED | 1, &ends.concat()),
            attribute(NESTED | 2, &ports.concat()),
        ];
        attribute(NESTED | kind, &tuple.concat())
    };
    // Seen in both directions, assured, confirmed; established; for an hour.
    let state = attribute(NESTED | 1, &attribute(1, &[3]));
    let body = [
        vec![if v6 { 10 } else { 2 }, 0, 0, 0],
        tuple(1, client, server, client_port, server_port),
        tuple(2, server, client, server_port, client_port),
        attribute(3, &14u32.to_be_bytes()),
        attribute(NESTED | 4, &state),
        attribute(7, &3600u32.to_be_bytes()),
    ]
    .concat();
    // Request, create, and nothing that is there already.
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend((1u16 << 8).to_ne_bytes());
    message.extend((0x1u16 | 0x200 | 0x400).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

const NESTED: u16 = 0x8000;

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap_or_default();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
