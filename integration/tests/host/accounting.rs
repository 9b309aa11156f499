//! What is in the records, what they say is missing, and what the kernel counted: the sums agree. Needs root.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use palisade_integration::{Daemon, Pair, eventually};
use serde_json::Value;

/// Many flow intervals.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one datagram from each of so many sockets to each of these ports of the server.
fn datagrams(pair: &Pair, sockets: usize, ports: Range<u16>) -> anyhow::Result<u64> {
    let to = pair.server().ipv4();
    let sent = pair.client().namespace().run(|| -> std::io::Result<u64> {
        let mut sent = 0;
        for _ in 0..sockets {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for port in ports.clone() {
                socket.send_to(b"x", SocketAddr::new(to, port))?;
                sent += 1;
            }
        }
        Ok(sent)
    })?;
    Ok(sent?)
}

/// What deciding counters say, as the kernel has them: failsafes, rules in force, profiles.
fn counted(daemon: &Daemon) -> anyhow::Result<u64> {
    let counters = daemon.nft_counters()?;
    let decides = |name: &&String| name.starts_with("failsafe/") || name.starts_with("profile/");
    Ok(counters.keys().filter(decides).map(|name| counters[name].0).sum())
}

fn sum(records: &[Value], field: &str) -> u64 {
    let flows = records.iter().filter(|record| record["type"] == "flow");
    flows.filter_map(|record| record[field].as_u64()).sum()
}

fn last_interval(records: &[Value]) -> anyhow::Result<&Value> {
    let last = records.iter().rev().find(|record| record["type"] == "interval");
    last.context("no interval record")
}

/// Waits until records, what they leave out and what they miss add up to what the kernel counted, and gives the records.
fn add_up(daemon: &Daemon) -> anyhow::Result<Vec<Value>> {
    eventually(PATIENCE, || {
        let records = daemon.records()?;
        let missing: u64 = records
            .iter()
            .filter(|record| record["type"] == "interval")
            .map(|record| {
                let status = &record["log_status"];
                let of = |field: &str| status[field].as_u64().unwrap_or(0);
                of("lost") + of("unreadable") + record["suppressed_evaluated"].as_u64().unwrap_or(0)
            })
            .sum();
        let counted = counted(daemon)?;
        let evaluated = sum(&records, "evaluated");
        ensure!(
            evaluated + missing == counted,
            "{evaluated} in records and {missing} missing are not the {counted} that the kernel counted"
        );
        let last = last_interval(&records)?;
        ensure!(
            last["counted_total"].as_u64() == Some(counted),
            "the last interval record has another sum than {counted}: {last:#}"
        );
        Ok(records)
    })
}

#[test]
fn every_first_packet_of_a_flood_is_in_a_record() -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = pair.daemon("records: all")?;
    let sent = datagrams(&pair, 40, 12_000..13_000)?;
    let records = add_up(&daemon)?;
    assert!(sum(&records, "evaluated") >= sent, "{sent} were sent");
    let last = last_interval(&records)?;
    assert_eq!(last["evaluated_total"], last["counted_total"], "{last:#}");
    let would_be_denied =
        |record: &&Value| record["pending_action"] == "deny" && record["dest_port"] == 12_345;
    assert!(records.iter().any(|record| would_be_denied(&record)));
    Ok(())
}

#[test]
fn what_the_kernel_cannot_hand_over_is_counted_as_lost() -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = pair.daemon("records: all")?;
    datagrams(&pair, 1, 7..8)?;
    daemon.signal(Signal::SIGSTOP)?;
    // More than the socket's buffer holds.
    datagrams(&pair, 400, 1_000..1_500)?;
    daemon.signal(Signal::SIGCONT)?;
    // A loss shows when the next packet comes.
    datagrams(&pair, 1, 7..8)?;
    let records = add_up(&daemon)?;
    let lost: u64 = records
        .iter()
        .filter(|record| record["type"] == "interval")
        .filter_map(|record| record["log_status"]["lost"].as_u64())
        .sum();
    assert!(lost > 0, "the buffer held everything: nothing was tested");
    assert_eq!(daemon.status()?["flows"]["missing"]["lost"], lost);
    Ok(())
}

#[test]
fn a_reload_under_load_loses_no_packet_of_the_account() -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = pair.daemon("records: all")?;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let load = scope.spawn(|| -> anyhow::Result<()> {
            for _ in 0..20 {
                datagrams(&pair, 10, 10_000..10_200)?;
            }
            Ok(())
        });
        for order in 1..=5 {
            let text = Pair::lockdown().replace("selector: app", &format!("order: {order}\n  selector: app"));
            daemon.apply("staged.yaml", &text)?;
        }
        load.join().expect("the load panicked")
    })?;
    add_up(&daemon)?;
    Ok(())
}

#[test]
fn flows_have_the_traffic_the_end_and_the_owners_of_their_connections() -> anyhow::Result<()> {
    const SENT: usize = 300_000;
    let pair = Pair::new()?;
    pair.forget_quickly()?;
    let daemon = pair.daemon("records: all")?;
    let to = SocketAddr::new(pair.server().ipv4(), 7);
    let listener = pair.server().namespace().run(|| TcpListener::bind(to))??;
    let mut outgoing = pair.client().namespace().run(|| TcpStream::connect(to))??;
    let (mut incoming, _) = listener.accept()?;
    let is_ours = |record: &&Value| record["type"] == "flow" && record["dest_port"] == 7;

    // It is alive, and somebody holds it.
    eventually(PATIENCE, || {
        let records = daemon.records()?;
        let all: Vec<&Value> = records.iter().filter(is_ours).collect();
        ensure!(
            all.iter().any(|record| record["connections_live"] == 1),
            "{all:#?}"
        );
        let owner = all.iter().find_map(|record| record["dest_owners"].get(0));
        let owner = owner.with_context(|| format!("no owner: {all:#?}"))?;
        ensure!(owner["comm"].is_string() && owner["uid"] == 0, "{owner}");
        Ok(())
    })?;
    let writer = std::thread::spawn(move || outgoing.write_all(&vec![0; SENT]).map(|()| outgoing));
    incoming.read_exact(&mut vec![0; SENT])?;
    let outgoing = writer.join().expect("the writer panicked")?;
    drop((outgoing, incoming));

    let records = eventually(PATIENCE, || {
        let records = daemon.records()?;
        let completed: u64 = records
            .iter()
            .filter(is_ours)
            .filter_map(|record| record["connections_completed"].as_u64())
            .sum();
        ensure!(completed == 1, "{completed} connections have ended: {records:#?}");
        Ok(records)
    })?;
    let all: Vec<&Value> = records.iter().filter(is_ours).collect();
    let total = |field: &str| {
        all.iter()
            .filter_map(|record| record[field].as_u64())
            .sum::<u64>()
    };
    assert!(total("bytes_in") > SENT as u64, "{all:#?}");
    assert!(total("bytes_in") < 2 * SENT as u64, "counted twice: {all:#?}");
    assert!(total("packets_out") > 0, "{all:#?}");
    assert!(total("completed_duration_ms") > 0, "{all:#?}");
    assert_eq!((total("evaluated"), total("connections_started")), (1, 1));
    Ok(())
}

#[test]
fn addresses_are_recorded_on_request() -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let daemon = pair.daemon("includeAddresses: true, records: all")?;
    datagrams(&pair, 1, 9..10)?;
    let from: IpAddr = pair.client().ipv4();
    eventually(PATIENCE, || {
        let records = daemon.records()?;
        let found = records
            .iter()
            .any(|record| record["source_ip"] == from.to_string());
        ensure!(found, "{records:#?}");
        Ok(())
    })
}
