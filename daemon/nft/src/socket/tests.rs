//! The real kernel behind a relay that mangles, delays and loses what it says, and sockets with little room.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockProtocol, SockType, sendmsg, shutdown, socket, socketpair,
};
use nix::unistd::dup2_raw;
use palisade_rules::net::Family;
use palisade_rules::ruleset::{
    Chain, Comment, Elements, Hook, HookPoint, Match, Name, Op, Rule, Ruleset, Set, Side, Statement,
};

use super::*;
use crate::dump::{self, KernelTable};
use crate::encode::encode;
use crate::transaction::{Operation, Transaction};
use crate::{counters, diff};

/// Runs `test` in a network namespace of its own.
fn in_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test needs root (CAP_SYS_ADMIN) to make a network namespace");
        test()
    };
    match thread::spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A table with something of everything, and as many rules.
fn ruleset(rules: usize) -> Ruleset {
    let set = Name::new("ip4/clients");
    let rule = |number: usize| Rule {
        matches: vec![
            Match::Family(Family::V4),
            Match::AddressSet(Side::Source, Op::Is, Family::V4, set.clone()),
        ],
        statements: vec![Statement::Counter(counter(number)), Statement::Accept],
        comment: Comment::new("from the clients"),
    };
    Ruleset {
        counters: (0..rules)
            .map(|number| (counter(number), Comment::new("clients")))
            .collect(),
        sets: [(
            set.clone(),
            Arc::new(Set {
                elements: Elements::Ipv4Addresses(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]),
                comment: Comment::default(),
            }),
        )]
        .into(),
        chains: vec![Arc::new(Chain {
            name: Name::new("input"),
            hook: Some(Hook {
                point: HookPoint::Input,
                priority: 0,
            }),
            comment: Comment::default(),
            rules: (0..rules).map(rule).collect(),
        })],
        ..Ruleset::default()
    }
}

fn counter(number: usize) -> Name {
    Name::new(&format!("counter-{number:05}"))
}

/// Brings a ruleset into an empty namespace.
fn put(socket: &mut Socket, ruleset: &Ruleset) {
    let batch = encode(&diff(ruleset, None, &()), 0, socket.next_seq()).unwrap();
    socket.set_next_seq(batch.next_seq());
    assert_eq!(socket.send_batch(&batch.bytes).unwrap(), []);
}

fn table(socket: &mut Socket) -> Result<Option<KernelTable>, RequestError> {
    dump::table(socket)
}

/// What the relay does to the answers, each with its number.
type Mangle = Box<dyn FnMut(usize, &mut Vec<u8>) + Send>;

/// A socket whose every word goes through a thread.
struct Relay {
    thread: Option<JoinHandle<()>>,
    far: Arc<OwnedFd>,
    mangle: Arc<Mutex<(usize, Mangle)>>,
}

impl Relay {
    /// A socket to the kernel, behind a relay. It waits 50 ms for an answer.
    fn new() -> (Socket, Relay) {
        let near_socket = Socket::open().unwrap();
        let (near, far) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        // SAFETY: the number is that of a socket which is ours, and which is from now on the near end of the pair.
        let replaced = unsafe { dup2_raw(&near, near_socket.inner.as_raw_fd()) }.unwrap();
        // libmnl closes it.
        let _ = std::os::fd::IntoRawFd::into_raw_fd(replaced);
        let patience = TimeVal::new(0, 50_000);
        setsockopt(&near_socket, sockopt::ReceiveTimeout, &patience).unwrap();
        let far = Arc::new(far);
        let mangle: Arc<Mutex<(usize, Mangle)>> = Arc::new(Mutex::new((0, Box::new(|_, _| {}))));
        let kernel = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .unwrap();
        let thread = thread::spawn({
            let (far, mangle) = (Arc::clone(&far), Arc::clone(&mangle));
            move || relay(&far, &kernel, &mangle)
        });
        let relay = Relay {
            thread: Some(thread),
            far,
            mangle,
        };
        (near_socket, relay)
    }

    /// Counts answers anew, and does this to them from now on.
    fn mangle(&self, mangle: impl FnMut(usize, &mut Vec<u8>) + Send + 'static) {
        *self.mangle.lock().unwrap() = (0, Box::new(mangle));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = shutdown(self.far.as_raw_fd(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn relay(far: &OwnedFd, kernel: &OwnedFd, mangle: &Mutex<(usize, Mangle)>) {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    while let Ok(length @ 1..) = recv(far.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        send(kernel.as_raw_fd(), &buffer[..length], MsgFlags::empty()).unwrap();
        while let Ok(length) = recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            let mut answer = buffer[..length].to_vec();
            let mut mangle = mangle.lock().unwrap();
            let number = mangle.0;
            mangle.0 += 1;
            (mangle.1)(number, &mut answer);
            // One without bytes is a datagram too.
            let _ = sendmsg::<()>(
                far.as_raw_fd(),
                &[IoSlice::new(&answer)],
                &[],
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
        }
    }
}

/// The answers to one dump of the table, as they are.
fn recorded(socket: &mut Socket, relay: &Relay) -> (KernelTable, Vec<Vec<u8>>) {
    let answers = Arc::new(Mutex::new(Vec::new()));
    relay.mangle({
        let answers = Arc::clone(&answers);
        move |_, answer| answers.lock().unwrap().push(answer.clone())
    });
    let table = table(socket).unwrap().unwrap();
    let answers = answers.lock().unwrap().clone();
    (table, answers)
}

/// Throws away what is left of a dump that ended early.
fn settle(socket: &mut Socket, relay: &Relay) {
    relay.mangle(|_, _| {});
    thread::sleep(Duration::from_micros(200));
    socket.drain();
}

#[test]
fn an_answer_cut_short_is_an_error_and_never_less_of_a_table() {
    in_namespace(|| {
        put(&mut Socket::open().unwrap(), &ruleset(3));
        let (mut socket, relay) = Relay::new();
        // None is waited for in vain.
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(30, 0)).unwrap();
        let (whole, answers) = recorded(&mut socket, &relay);
        assert!(answers.len() > 10, "{}", answers.len());
        for (number, answer) in answers.iter().enumerate() {
            let mut ends = Vec::new();
            let mut at = 0;
            while let Some(length) = answer.get(at..).and_then(u32_ne) {
                at = align(at + usize::try_from(length).unwrap());
                ends.push(at);
            }
            for length in (0..answer.len()).filter(|length| !ends.contains(length)) {
                relay.mangle(move |other, answer| {
                    if other == number {
                        answer.truncate(length);
                    }
                });
                let cut = table(&mut socket);
                match &cut {
                    Err(RequestError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {}
                    _ => panic!(
                        "answer {number} of {} bytes cut to {length}: {cut:?}",
                        answer.len()
                    ),
                }
                settle(&mut socket, &relay);
            }
        }
        assert_eq!(table(&mut socket).unwrap(), Some(whole));
    });
}

#[test]
fn whatever_bits_flip_the_dump_ends() {
    in_namespace(|| {
        put(&mut Socket::open().unwrap(), &ruleset(3));
        let (mut socket, relay) = Relay::new();
        let (whole, answers) = recorded(&mut socket, &relay);
        let patience = TimeVal::new(0, 5_000);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).unwrap();
        let mut refused = 0;
        for (number, answer) in answers.iter().enumerate() {
            // Every third bit: each of a byte's is met in every field.
            for bit in (0..8 * answer.len()).step_by(3) {
                relay.mangle(move |other, answer| {
                    // On a busy machine an answer to the table before may come this late, and may be shorter.
                    if other == number
                        && let Some(byte) = answer.get_mut(bit / 8)
                    {
                        *byte ^= 1 << (bit % 8);
                    }
                });
                // Either is an answer: what a rule says may be anything.
                refused += usize::from(table(&mut socket).is_err());
                settle(&mut socket, &relay);
            }
        }
        assert!(refused > 100, "{refused}");
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(30, 0)).unwrap();
        assert_eq!(table(&mut socket).unwrap(), Some(whole));
    });
}

#[test]
fn an_answer_that_never_comes_is_an_error() {
    in_namespace(|| {
        put(&mut Socket::open().unwrap(), &ruleset(3));
        let (mut socket, relay) = Relay::new();
        // Somebody else's answer is none.
        relay.mangle(|_, answer| answer[8..12].copy_from_slice(&u32::MAX.to_ne_bytes()));
        let error = match table(&mut socket) {
            Err(RequestError::Io(error)) => error,
            answer => panic!("{answer:?}"),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("has not answered"), "{error}");
        // And a socket that is closed is no end of a list.
        drop(relay);
        assert!(matches!(table(&mut socket), Err(RequestError::Io(_))));
    });
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn signals_stop_nothing() {
    in_namespace(|| {
        let action = SigAction::new(
            SigHandler::Handler(count_signal),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler only adds to an atomic number.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let desired = ruleset(50);
        put(&mut Socket::open().unwrap(), &desired);
        let (mut socket, relay) = Relay::new();
        let (whole, _) = recorded(&mut socket, &relay);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(30, 0)).unwrap();
        // While it waits for what is slow to come, it is woken for nothing.
        relay.mangle(|_, _| thread::sleep(Duration::from_millis(2)));
        let is_over = Arc::new(AtomicBool::new(false));
        // SAFETY: the function has no preconditions.
        let waiting = unsafe { libc::pthread_self() };
        let storm = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    // SAFETY: the thread that waits joins this one before it ends.
                    assert_eq!(unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) }, 0);
                    thread::sleep(Duration::from_micros(100));
                }
            }
        });
        let answers: Vec<_> = (0..20).map(|_| table(&mut socket)).collect();
        let names: Vec<String> = desired.counters.keys().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let reading = counters::read(&mut socket, &names);
        let deletion = Transaction::new(vec![Operation::FlushChain("input".to_owned())]);
        let batch = encode(&deletion, 0, socket.next_seq()).unwrap();
        let sent = socket.send_batch(&batch.bytes);
        is_over.store(true, Ordering::Relaxed);
        storm.join().unwrap();
        for answer in answers {
            assert_eq!(answer.unwrap().as_ref(), Some(&whole));
        }
        assert!(reading.is_ok() && sent.unwrap().is_empty());
        assert!(SIGNALS.load(Ordering::Relaxed) > 100, "{SIGNALS:?}");
    });
}

/// A socket with room for hardly one answer.
fn narrow() -> Socket {
    let socket = Socket::open().unwrap();
    setsockopt(&socket, sockopt::RcvBuf, &1).unwrap();
    socket
}

#[test]
fn a_small_receive_buffer_loses_no_part_of_an_answer() {
    in_namespace(|| {
        let mut wide = Socket::open().unwrap();
        let desired = ruleset(2000);
        put(&mut wide, &desired);
        let mut socket = narrow();
        assert_eq!(table(&mut socket).unwrap(), table(&mut wide).unwrap());
        let names: Vec<String> = desired.counters.keys().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut found = 0;
        socket
            .requests(
                names.len(),
                |number, buffer, seq| {
                    crate::message::MessageBuilder::new(
                        buffer,
                        nft_message(crate::abi::msg::GET_OBJ),
                        request_flags(0),
                        seq,
                    )
                    .put_text(crate::abi::obj::TABLE, palisade_rules::ruleset::TABLE)
                    .put_text(crate::abi::obj::NAME, names[number])
                    .put(crate::abi::obj::TYPE, &crate::abi::obj::COUNTER.to_be_bytes())
                    .finish();
                },
                |_, answer| found += usize::from(answer.is_ok()),
            )
            .unwrap();
        assert!(found >= names.len(), "{found}");
    });
}

#[test]
fn refusals_that_do_not_fit_are_refusals() {
    in_namespace(|| {
        put(&mut Socket::open().unwrap(), &ruleset(1));
        let missing = |number| Operation::FlushChain(format!("missing-{number}"));
        let transaction = Transaction::new((0..5000).map(missing).collect());
        let mut socket = narrow();
        let batch = encode(&transaction, 0, socket.next_seq()).unwrap();
        match socket.send_batch(&batch.bytes) {
            // Those that there is room for, or the news that there was none.
            Ok(failures) => assert!(!failures.is_empty() && failures.len() < 5000),
            Err(error) => assert!(is_overrun(&error), "{error}"),
        }
    });
}
