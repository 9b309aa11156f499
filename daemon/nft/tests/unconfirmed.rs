//! An unconfirmed generation in the kernel: it goes back by itself, and nothing that palisade does makes it stay.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use common::{
    at, base_chain, chain, counting, in_namespace, listing, load, loopback, loopback_up, nft, open, packets,
    ruleset_of,
};
use palisade_nft::{Nft, Operation, diff};
use palisade_rules::net::Family;
use palisade_rules::ruleset::unconfirmed::{Percent, SET, Terms, beside};
use palisade_rules::ruleset::{Comment, Elements, HookPoint, Match, Op, Rule, Ruleset, Statement};

/// The candidate and the previous generation.
const NUMBERS: (u64, u64) = (12, 11);

/// Long enough for whatever a test does before it ends.
const LONG: Duration = Duration::from_hours(1);

fn terms(window: Duration) -> Terms {
    Terms { window, share: None }
}

/// Counts what comes in by loopback under one name, and then does one thing.
fn generation(counter: &str, verdict: Statement) -> Ruleset {
    let mut rule = counting(counter, vec![Match::InputInterface(Op::Is, "lo".into())]);
    rule.statements.push(verdict);
    ruleset_of(vec![base_chain("input", HookPoint::Input, vec![rule])])
}

fn both(window: Duration) -> Ruleset {
    beside(
        &generation("candidate", Statement::Drop),
        &generation("previous", Statement::Accept),
        &terms(window),
        NUMBERS,
    )
}

/// Sends a datagram over loopback, and says which generation has counted it.
fn governs(kernel: &mut Nft, family: Family) -> String {
    let before = packets(kernel);
    let socket = UdpSocket::bind(SocketAddr::new(loopback(family), 0)).unwrap();
    socket
        .send_to(b"x", SocketAddr::new(loopback(family), 9))
        .unwrap();
    loop {
        let after = packets(kernel);
        let mut counted = after.iter().filter(|(name, count)| before[*name] < **count);
        if let Some((name, _)) = counted.next() {
            return name.clone();
        }
    }
}

/// Waits until the window is over.
fn wait_for_the_end(kernel: &mut Nft) {
    while governs(kernel, Family::V4) == "candidate" || governs(kernel, Family::V6) == "candidate" {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a datagram over loopback arrives.
fn arrives(family: Family) -> bool {
    let receiver = UdpSocket::bind(SocketAddr::new(loopback(family), 0)).unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let sender = UdpSocket::bind(SocketAddr::new(loopback(family), 0)).unwrap();
    sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    receiver.recv(&mut [0]).is_ok()
}

#[test]
fn the_kernel_goes_back_by_itself() {
    in_namespace(|| {
        loopback_up();
        open().replace(&both(Duration::from_secs(5)), &mut ()).unwrap();
        // From here on there is nobody but the kernel.
        for family in Family::BOTH {
            assert!(!arrives(family), "{family}: the candidate drops it");
        }
        while Family::BOTH.into_iter().any(|family| !arrives(family)) {
            thread::sleep(Duration::from_millis(10));
        }
        let mut kernel = open();
        for family in Family::BOTH {
            assert_eq!(governs(&mut kernel, family), "previous");
        }
    });
}

#[test]
fn a_window_that_ticks_or_is_over_is_nobody_elses_change() {
    in_namespace(|| {
        loopback_up();
        let desired = both(Duration::from_secs(2));
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();
        // Whoever computes it anew says what is left.
        for desired in [&desired, &both(Duration::from_secs(1)), &both(LONG)] {
            kernel.verify(desired).unwrap();
            assert_eq!(kernel.replace(desired, &mut ()).unwrap().changes, 0);
            assert_eq!(kernel.update(desired, &mut ()).unwrap().changes, 0);
        }
        wait_for_the_end(&mut kernel);
        for desired in [&desired, &both(LONG)] {
            kernel.verify(desired).unwrap();
            assert_eq!(kernel.replace(desired, &mut ()).unwrap().changes, 0);
            assert_eq!(governs(&mut kernel, Family::V4), "previous");
        }
        // A change elsewhere in the table does not begin the time anew either, nor does a repair.
        let mut more = both(LONG);
        more.chains.push(chain("more", vec![]));
        kernel.update(&more, &mut ()).unwrap();
        load("flush chain inet palisade input");
        kernel.replace(&more, &mut ()).unwrap();
        kernel.verify(&more).unwrap();
        assert_eq!(governs(&mut kernel, Family::V4), "previous");
    });
}

#[test]
fn the_next_generation_has_a_window_of_its_own() {
    in_namespace(|| {
        loopback_up();
        let mut kernel = open();
        kernel
            .replace(&both(Duration::from_millis(200)), &mut ())
            .unwrap();
        wait_for_the_end(&mut kernel);
        let next = beside(
            &generation("candidate", Statement::Drop),
            &generation("previous", Statement::Accept),
            &terms(LONG),
            (13, 11),
        );
        let transaction = diff(&next, kernel.dump().unwrap().as_ref(), &());
        let filled = transaction.operations().iter().position(
            |operation| matches!(operation, Operation::AddElements { set, elements } if set == SET && elements.len() == 2),
        );
        let made = transaction
            .operations()
            .iter()
            .position(|operation| matches!(operation, Operation::AddSet { name, .. } if name == SET));
        assert!(made.is_some() && made < filled, "{transaction:?}");
        kernel.replace(&next, &mut ()).unwrap();
        assert_eq!(governs(&mut kernel, Family::V4), "candidate");
        assert_eq!(governs(&mut kernel, Family::V6), "candidate");
        // Confirmed: the candidate alone, and no set.
        let confirmed = generation("candidate", Statement::Drop);
        kernel.replace(&confirmed, &mut ()).unwrap();
        assert!(kernel.dump().unwrap().unwrap().sets.is_empty());
    });
}

#[test]
fn a_window_that_somebody_made_endless_is_over() {
    in_namespace(|| {
        loopback_up();
        let desired = both(LONG);
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();
        // Without a time of its own it would never go.
        load(
            "delete element inet palisade unconfirmed { ipv4 }\nadd element inet palisade unconfirmed { ipv4 }",
        );
        let mismatch = kernel.verify(&desired).unwrap_err().to_string();
        assert!(mismatch.contains("set unconfirmed holds elements"), "{mismatch}");
        kernel.replace(&desired, &mut ()).unwrap();
        for family in Family::BOTH {
            assert_eq!(governs(&mut kernel, family), "previous");
        }
        // Somebody may end it early, too.
        let next = beside(
            &desired,
            &generation("previous", Statement::Accept),
            &terms(LONG),
            (13, 11),
        );
        kernel.replace(&next, &mut ()).unwrap();
        load("flush set inet palisade unconfirmed");
        kernel.verify(&next).unwrap();
        assert_eq!(governs(&mut kernel, Family::V4), "previous");
    });
}

/// Base chains at every hook, which all think differently in the two.
fn everywhere(verdict: &Statement) -> Ruleset {
    let rules = || {
        vec![Rule {
            statements: vec![verdict.clone()],
            comment: Comment::new("a policy"),
            ..Rule::default()
        }]
    };
    let places = [
        (HookPoint::Prerouting, -300, "untracked-in"),
        (HookPoint::Prerouting, -150, "pre-dnat-in"),
        (HookPoint::Input, 0, "input"),
        (HookPoint::Forward, 0, "forward-from"),
        (HookPoint::Output, -300, "untracked-out"),
        (HookPoint::Output, 0, "output"),
    ];
    ruleset_of(
        places
            .into_iter()
            .map(|(point, priority, name)| at(point, priority, name, rules()))
            .collect(),
    )
}

/// A listing without how much time is left.
fn without_expiry(listing: &str) -> String {
    let mut parts = listing.split(" expires ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text.push_str(&part[part.find([',', ' ']).unwrap()..]);
    }
    text
}

#[test]
fn it_lists_as_it_is_written_and_loads_again() {
    for window in ["1m", "1h", "100ms", "2d3h4m5s6ms"] {
        let milliseconds = match window {
            "1m" => 60_000,
            "1h" => 3_600_000,
            "100ms" => 100,
            _ => (((2 * 24 + 3) * 60 + 4) * 60 + 5) * 1000 + 6,
        };
        let terms = Terms {
            window: Duration::from_millis(milliseconds),
            share: Some(Percent::try_from(10).unwrap()),
        };
        let (candidate, previous) = (everywhere(&Statement::Drop), everywhere(&Statement::Accept));
        let desired = beside(&candidate, &previous, &terms, NUMBERS);
        let text = desired.to_string();
        assert!(
            text.contains(&format!("ipv4 timeout {window}, ipv6 timeout {window} }}")),
            "{text}"
        );
        if window == "100ms" || window.ends_with("6ms") {
            // It is over before it is listed, or the kernel's ticks do not divide it.
            in_namespace(move || load(&text));
            continue;
        }
        let listed = in_namespace({
            let desired = desired.clone();
            move || {
                open().replace(&desired, &mut ()).unwrap();
                listing()
            }
        });
        assert!(listed.contains(" expires "), "{listed}");
        assert_eq!(without_expiry(&listed), text);
        in_namespace(move || {
            load(&listed);
            open().verify(&desired).unwrap();
            nft(&["-c", "-f", "-"], &desired.to_string()).unwrap();
        });
    }
}

/// What a datagram over loopback meets: its destination is translated after the first.
const WAY: [(HookPoint, i32, &str); 4] = [
    (HookPoint::Output, -300, "untracked-out"),
    (HookPoint::Output, 0, "output"),
    (HookPoint::Prerouting, -300, "untracked-in"),
    (HookPoint::Input, 0, "input"),
];

/// How many of three datagrams of each sender get through to a receiver, which is not where they were sent to.
fn received(senders: &[UdpSocket], receiver: &UdpSocket) -> BTreeMap<SocketAddr, usize> {
    let receives_at = receiver.local_addr().unwrap();
    load(&format!(
        "table inet nat
         delete table inet nat
         table inet nat {{
             chain output {{
                 type nat hook output priority -100
                 udp dport 9 redirect to :{}
             }}
         }}",
        receives_at.port()
    ));
    receiver.set_nonblocking(true).unwrap();
    let mut received = BTreeMap::new();
    let mut take = || {
        while let Ok((_, from)) = receiver.recv_from(&mut [0]) {
            *received.entry(from).or_default() += 1;
        }
    };
    for _ in 0..3 {
        for sender in senders {
            sender.send_to(b"x", (receives_at.ip(), 9)).unwrap();
            take();
        }
    }
    thread::sleep(Duration::from_millis(100));
    take();
    received
}

#[test]
fn a_canary_keeps_to_its_share_and_to_its_connections() {
    in_namespace(|| {
        const SENDERS: usize = 3000;
        loopback_up();
        let mut kernel = open();
        let mut smaller: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        let addresses: [IpAddr; 2] = [Ipv4Addr::new(127, 0, 0, 7).into(), Ipv6Addr::LOCALHOST.into()];
        let senders: Vec<Vec<UdpSocket>> = addresses
            .iter()
            .map(|&address| {
                let bind = |port| UdpSocket::bind((address, 10_000 + port)).unwrap();
                (0..u16::try_from(SENDERS / 2).unwrap()).map(bind).collect()
            })
            .collect();
        // Where a redirection leads to. Conntrack remembers it.
        let receivers = addresses.map(|address| UdpSocket::bind((loopback(Family::of(address)), 0)).unwrap());
        for (number, percent) in (12..).zip([10, 40]) {
            let out_and_in = |generation: &str, verdict: &Statement| {
                let chains = WAY.map(|(point, priority, hook)| {
                    let mut rule = counting(&format!("{hook}/{generation}"), vec![]);
                    if hook == "input" {
                        rule.statements.push(verdict.clone());
                    }
                    at(point, priority, hook, vec![rule])
                });
                ruleset_of(chains.to_vec())
            };
            let terms = Terms {
                window: LONG,
                share: Some(Percent::try_from(percent).unwrap()),
            };
            let candidate = out_and_in("candidate", &Statement::Drop);
            let previous = out_and_in("previous", &Statement::Accept);
            let before = kernel.counters().unwrap();
            kernel
                .replace(&beside(&candidate, &previous, &terms, (number, 11)), &mut ())
                .unwrap();
            let mut governed = BTreeMap::new();
            for (senders, receiver) in senders.iter().zip(&receivers) {
                let received = received(senders, receiver);
                // Either all packets of a connection got through, or none did.
                assert!(received.values().all(|&count| count == 3), "{received:?}");
                for sender in senders {
                    let from = sender.local_addr().unwrap();
                    if !received.contains_key(&from) {
                        governed.insert(from, 3);
                    }
                }
            }
            let (share, percent) = (governed.len() * 100, usize::from(percent));
            assert!(
                share.abs_diff(percent * SENDERS) < 4 * SENDERS,
                "{} of {SENDERS} connections",
                governed.len()
            );
            // Each packet meets the same generation in every hook, and one larger share holds all of a smaller one.
            let after = packets(&mut kernel);
            let counted =
                |counter: &str| after[counter] - before.get(counter).map_or(0, |value| value.packets);
            for (_, _, hook) in WAY {
                let of = |generation| counted(&format!("{hook}/{generation}"));
                let of_candidate = u64::try_from(3 * governed.len()).unwrap();
                let of_previous = u64::try_from(3 * SENDERS).unwrap() - of_candidate;
                assert_eq!(
                    (of("candidate"), of("previous")),
                    (of_candidate, of_previous),
                    "{hook}"
                );
            }
            assert!(smaller.keys().all(|sender| governed.contains_key(sender)));
            smaller = governed;
        }
    });
}

#[test]
fn the_set_is_read_back_with_its_time() {
    in_namespace(|| {
        let terms = Terms {
            share: Some(Percent::try_from(1).unwrap()),
            ..terms(LONG)
        };
        let (candidate, previous) = (everywhere(&Statement::Drop), everywhere(&Statement::Accept));
        let mut kernel = open();
        kernel
            .replace(&beside(&candidate, &previous, &terms, NUMBERS), &mut ())
            .unwrap();
        let set = kernel.dump().unwrap().unwrap().sets.remove(SET).unwrap();
        assert_eq!(
            set.elements,
            Some(Elements::Families(Family::BOTH.to_vec(), LONG))
        );
        assert_eq!(
            set.comment,
            "canary, no security state: generation 12 for 1 %, until this set is empty"
        );
    });
}
