//! The socket match on cgroups with real sockets. One test only: it moves its whole process into a cgroup and out again.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use common::{
    at, counting, in_namespace, listing, load, loopback, loopback_up, nft, open, packets, ruleset_of,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use palisade_nft::Nft;
use palisade_rules::net::{Family, Protocol};
use palisade_rules::ruleset::{CtState, HookPoint, Match, Op, Rule, Ruleset};

const HIERARCHY: &str = "/sys/fs/cgroup";

/// A slice with two units in the cgroup2 hierarchy; gone when it is dropped.
struct Slice {
    name: String,
    /// Where this process was before.
    home: PathBuf,
}

impl Slice {
    /// The second as systemd escapes `b-2`.
    const UNITS: [&str; 2] = ["a.service", r"b\x2d2.service"];

    fn new() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let slice = Slice {
            name: format!("palisade-test-{}.slice", std::process::id()),
            home: Path::new(HIERARCHY).join(own),
        };
        for unit in Slice::UNITS {
            fs::create_dir_all(slice.directory().join(unit)).unwrap();
        }
        slice
    }

    fn directory(&self) -> PathBuf {
        Path::new(HIERARCHY).join(&self.name)
    }

    /// Makes sockets as a process of the first unit does.
    fn inside<T>(&self, make: impl FnOnce() -> T) -> T {
        Slice::enter(&self.directory().join(Slice::UNITS[0]));
        let made = make();
        Slice::enter(&self.home);
        made
    }

    fn enter(cgroup: &Path) {
        fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    }

    /// The match on a path below the slice, or on the slice itself, at any level.
    fn at_level(&self, level: u32, below: &str) -> Match {
        let path = Path::new(&self.name).join(below);
        Match::SocketCgroup {
            level,
            id: fs::metadata(Path::new(HIERARCHY).join(&path)).unwrap().ino(),
            path: path.to_str().unwrap().trim_end_matches('/').to_owned(),
        }
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        Slice::enter(&self.home);
        for unit in Slice::UNITS {
            let _ = fs::remove_dir(self.directory().join(unit));
        }
        let _ = fs::remove_dir(self.directory());
    }
}

/// Puts the cgroup2 hierarchy where systemd has it and nft looks for it, in a mount namespace of this thread.
fn mount_hierarchy() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(
        Some("cgroup2"),
        HIERARCHY,
        Some("cgroup2"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
}

/// Counts packets by hook, cgroup and conntrack state.
fn counting_ruleset(slice: &Slice) -> Ruleset {
    let counters = |hook: &str, state: Option<&'static [CtState]>| -> Vec<Rule> {
        let cgroups = [
            ("unit", slice.at_level(2, Slice::UNITS[0])),
            ("slice", slice.at_level(1, "")),
            ("sibling", slice.at_level(2, Slice::UNITS[1])),
            ("wrong-level", slice.at_level(1, Slice::UNITS[0])),
        ];
        let conditions = state.map(Match::CtState);
        let of_cgroup = cgroups.map(|(word, cgroup)| {
            let conditions = conditions.clone().into_iter().chain([cgroup]);
            counting(&format!("{hook}/{word}"), conditions.collect())
        });
        let all = counting(&format!("{hook}/all"), conditions.into_iter().collect());
        std::iter::once(all).chain(of_cgroup).collect()
    };
    let reply = counting(
        "output/replies",
        vec![
            Match::CtState(&[CtState::Established]),
            Match::Protocol(Op::Is, Protocol::TCP),
            slice.at_level(2, Slice::UNITS[0]),
        ],
    );
    let mut output = counters("output", Some(&[CtState::New]));
    output.push(reply);
    ruleset_of(vec![
        at(HookPoint::Prerouting, -300, "raw", counters("raw", None)),
        at(
            HookPoint::Input,
            0,
            "input",
            counters("input", Some(&[CtState::New])),
        ),
        at(HookPoint::Output, 0, "output", output),
    ])
}

/// What the counters gain while `traffic` runs, without those that gain nothing.
fn gained(kernel: &mut Nft, traffic: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = packets(kernel);
    traffic();
    let after = packets(kernel).into_iter();
    after
        .map(|(name, packets)| (packets - before[&name], name))
        .filter(|(packets, _)| *packets > 0)
        .map(|(packets, name)| (name, packets))
        .collect()
}

fn names(counters: &BTreeMap<String, u64>) -> Vec<&str> {
    counters.keys().map(String::as_str).collect()
}

#[test]
fn sockets_belong_to_the_cgroup_that_made_them() {
    in_namespace(|| {
        loopback_up();
        mount_hierarchy();
        let slice = Slice::new();
        let desired = counting_ruleset(&slice);
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();

        for family in Family::BOTH {
            udp(family, &slice, &mut kernel);
            tcp(family, &slice, &mut kernel);
        }
        listed_and_loaded(&slice, &desired, &mut kernel);
    });
}

fn udp(family: Family, slice: &Slice, kernel: &mut Nft) {
    let make = || UdpSocket::bind((loopback(family), 0)).unwrap();
    let (inside, outside) = (slice.inside(make), make());
    let address = |socket: &UdpSocket| socket.local_addr().unwrap();
    let gain = gained(kernel, || {
        outside.send_to(b"x", address(&inside)).unwrap();
    });
    assert_eq!(
        names(&gain),
        [
            "input/all",
            "input/slice",
            "input/unit",
            "output/all",
            "raw/all",
            "raw/slice",
            "raw/unit"
        ]
    );
    assert!(gain.values().all(|&packets| packets == 1), "{gain:?}");

    // From another port, so that it starts a connection of its own.
    let inside = slice.inside(make);
    let gain = gained(kernel, || {
        inside.send_to(b"x", address(&outside)).unwrap();
    });
    assert_eq!(
        names(&gain),
        [
            "input/all",
            "output/all",
            "output/slice",
            "output/unit",
            "raw/all"
        ]
    );
    assert!(gain.values().all(|&packets| packets == 1), "{gain:?}");
}

fn tcp(family: Family, slice: &Slice, kernel: &mut Nft) {
    let listen = || TcpListener::bind((loopback(family), 0)).unwrap();
    let (inside, outside) = (slice.inside(listen), listen());
    let mut client = None;
    let gain = gained(kernel, || {
        client = Some(TcpStream::connect(inside.local_addr().unwrap()).unwrap());
    });
    // The SYN goes to the listening socket. Its answer comes from no socket yet, and the ACK goes to none.
    assert_eq!((gain["input/unit"], gain["input/slice"]), (1, 1));
    assert_eq!((gain["input/all"], gain["output/all"]), (1, 1));
    assert_eq!((gain["raw/unit"], gain["raw/all"]), (1, 3));
    let absent = [
        "output/unit",
        "output/replies",
        "input/sibling",
        "input/wrong-level",
    ];
    assert!(!absent.iter().any(|name| gain.contains_key(*name)), "{gain:?}");

    // What it accepts is in its cgroup, wherever the process that accepts is.
    let (mut accepted, _) = inside.accept().unwrap();
    let gain = gained(kernel, || {
        accepted.write_all(b"x").unwrap();
        client.take().unwrap().read_exact(&mut [0]).unwrap();
    });
    assert!(gain["output/replies"] >= 1, "{gain:?}");

    let gain = gained(kernel, || {
        slice.inside(|| drop(TcpStream::connect(outside.local_addr().unwrap()).unwrap()));
    });
    assert_eq!((gain["output/unit"], gain["output/slice"]), (1, 1));
    let absent = ["input/unit", "output/sibling", "output/wrong-level"];
    assert!(!absent.iter().any(|name| gain.contains_key(*name)), "{gain:?}");
}

fn listed_and_loaded(slice: &Slice, desired: &Ruleset, kernel: &mut Nft) {
    kernel.verify(desired).unwrap();
    let zeroed: String = listing()
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("packets ") {
                "\t\tpackets 0 bytes 0\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    assert_eq!(zeroed, desired.to_string(), "the pure text is what nft lists");
    nft(&["delete", "table", "inet", "palisade"], "").unwrap();
    load(&zeroed);
    kernel.verify(desired).unwrap();

    // The path is for people: what is compared is level and id.
    let with = |cgroup: Match| {
        ruleset_of(vec![at(
            HookPoint::Input,
            0,
            "input",
            vec![counting("c", vec![cgroup])],
        )])
    };
    let Match::SocketCgroup { level, id, path } = slice.at_level(2, Slice::UNITS[0]) else {
        unreachable!("it makes no other");
    };
    let other = |level, id, path: &str| {
        with(Match::SocketCgroup {
            level,
            id,
            path: path.to_owned(),
        })
    };
    kernel.replace(&other(level, id, &path), &mut ()).unwrap();
    kernel.verify(&other(level, id, "renamed")).unwrap();
    kernel.verify(&other(level + 1, id, &path)).unwrap_err();
    kernel.verify(&other(level, id | 1 << 40, &path)).unwrap_err();
}
