//! Fresh network namespaces, the nft binary as a witness, and small rulesets.

#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use palisade_nft::Nft;
use palisade_rules::net::Family;
use palisade_rules::ruleset::{
    Chain, Comment, Elements, Hook, HookPoint, Match, Name, Rule, Ruleset, Set, Statement,
};

/// Runs `test` in a network namespace of its own, which is gone afterwards.
pub(crate) fn in_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let outcome = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test needs root (CAP_SYS_ADMIN) to make a network namespace");
        test()
    })
    .join();
    match outcome {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub(crate) fn open() -> Nft {
    Nft::open().expect("nf_tables can be used in a fresh namespace")
}

/// Runs nft in the namespace of this thread, with `input` as its file, and returns what it prints.
pub(crate) fn nft(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the nft binary is installed: apt install nftables");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

pub(crate) fn load(text: &str) {
    nft(&["-f", "-"], text).unwrap();
}

pub(crate) fn listing() -> String {
    nft(&["list", "table", "inet", "palisade"], "").unwrap()
}

/// The names of the chains in the order in which nft lists them.
pub(crate) fn listed_chains() -> Vec<String> {
    listing()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("chain ")?.strip_suffix(" {"))
        .map(str::to_owned)
        .collect()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text)
}

pub(crate) fn base_chain(text: &str, point: HookPoint, rules: Vec<Rule>) -> Arc<Chain> {
    at(point, 0, text, rules)
}

pub(crate) fn at(point: HookPoint, priority: i32, text: &str, rules: Vec<Rule>) -> Arc<Chain> {
    Arc::new(Chain {
        hook: Some(Hook { point, priority }),
        ..Arc::unwrap_or_clone(chain(text, rules))
    })
}

pub(crate) fn chain(text: &str, rules: Vec<Rule>) -> Arc<Chain> {
    Arc::new(Chain {
        name: name(text),
        hook: None,
        comment: Comment::default(),
        rules,
    })
}

pub(crate) fn rule(statements: Vec<Statement>) -> Rule {
    Rule {
        statements,
        ..Rule::default()
    }
}

pub(crate) fn jump(to: &str) -> Rule {
    rule(vec![Statement::Jump(name(to))])
}

pub(crate) fn set(elements: Elements) -> Arc<Set> {
    Arc::new(Set {
        elements,
        comment: Comment::default(),
    })
}

/// Base chain `input`, which jumps to these chains in order; each accepts.
pub(crate) fn ruleset_of_chains(names: &[&str]) -> Ruleset {
    let input = base_chain(
        "input",
        HookPoint::Input,
        names.iter().map(|name| jump(name)).collect(),
    );
    let others = names
        .iter()
        .map(|name| chain(name, vec![rule(vec![Statement::Accept])]));
    Ruleset {
        chains: std::iter::once(input).chain(others).collect(),
        ..Ruleset::default()
    }
}

pub(crate) fn loopback_up() {
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(
        status
            .expect("the ip binary is installed: apt install iproute2")
            .success()
    );
}

/// A rule that counts what matches.
pub(crate) fn counting(counter: &str, matches: Vec<Match>) -> Rule {
    Rule {
        matches,
        statements: vec![Statement::Counter(name(counter))],
        ..Rule::default()
    }
}

/// A ruleset of these chains, with the counters that their rules name.
pub(crate) fn ruleset_of(chains: Vec<Arc<Chain>>) -> Ruleset {
    let statements = chains
        .iter()
        .flat_map(|chain| &chain.rules)
        .flat_map(|rule| &rule.statements);
    let counters = statements
        .filter_map(|statement| match statement {
            Statement::Counter(name) => Some((name.clone(), Comment::default())),
            _ => None,
        })
        .collect();
    Ruleset {
        counters,
        chains,
        ..Ruleset::default()
    }
}

/// What each counter has counted.
pub(crate) fn packets(kernel: &mut Nft) -> BTreeMap<String, u64> {
    let counters = kernel.counters().unwrap();
    counters
        .into_iter()
        .map(|(name, value)| (name, value.packets))
        .collect()
}

/// The loopback address of a family.
pub(crate) fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Sends UDP datagrams from one port of 127.0.0.1 to another; returns the port they went to.
pub(crate) fn send_to_loopback(payloads: &[&[u8]]) -> u16 {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for payload in payloads {
        sender.send_to(payload, receiver.local_addr().unwrap()).unwrap();
    }
    receiver.local_addr().unwrap().port()
}
