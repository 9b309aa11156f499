//! `rollout`: how a change is confirmed, and what must work once it is in force.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use palisade_rules::decode::fields::{Context, Field, Fields};
use palisade_rules::diagnostic::quoted;
use palisade_rules::yaml::Node;

use super::flows::ranged;
use super::set;

/// How long a change may wait for its confirmation.
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// How long a probe may take.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);

/// `rollout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutConfig {
    /// `confirmWithin`: how long a promotion waits for its confirmation before it is rolled back.
    pub confirm_within: Duration,
    /// `probes`: what must work after a change, or it is rolled back at once.
    pub probes: Vec<Probe>,
}

/// Something that must work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `name`: what it is called where it fails.
    pub name: String,
    /// `tcp` or `command`.
    pub check: Check,
    /// `timeout`: how long it may take.
    pub timeout: Duration,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Connects to a port of a host, given by name or address.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Runs a program, which must end with 0: its path and its arguments, no shell.
    Command(Vec<String>),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Tcp { host, port } if host.contains(':') => write!(f, "tcp [{host}]:{port}"),
            Check::Tcp { host, port } => write!(f, "tcp {host}:{port}"),
            Check::Command(words) => write!(f, "{}", words.join(" ")),
        }
    }
}

impl RolloutConfig {
    pub(super) fn read(&mut self, context: &mut Context<'_>, field: Field<'_>) {
        let Some(mut fields) = Fields::of(context, field.value, "`rollout`", field.key.span) else {
            return;
        };
        set(
            &mut self.confirm_within,
            fields.optional("confirmWithin"),
            |node| ranged(context, node, "time to confirm", "60s", &WINDOWS),
        );
        if let Some(probes) = fields.optional("probes") {
            let mut names = BTreeSet::new();
            for node in context.list(probes.value, "a list of probes") {
                let Some(probe) = Probe::read(context, node) else {
                    continue;
                };
                if names.insert(probe.name.clone()) {
                    self.probes.push(probe);
                } else {
                    context.invalid(
                        "duplicate-entry",
                        node,
                        format!("there are two probes called {}", quoted(&probe.name)),
                        "give each a name of its own: it is what a rollback names",
                    );
                }
            }
        }
        fields.finish(context);
    }
}

impl Default for RolloutConfig {
    fn default() -> Self {
        RolloutConfig {
            confirm_within: Duration::from_mins(1),
            probes: Vec::new(),
        }
    }
}

impl Probe {
    fn read(context: &mut Context<'_>, node: &Node) -> Option<Self> {
        let mut fields = Fields::of(context, node, "a probe", node.span)?;
        let mut timeout = Duration::from_secs(5);
        set(&mut timeout, fields.optional("timeout"), |node| {
            ranged(context, node, "timeout", "5s", &TIMEOUTS)
        });
        let name = fields.required(context, "name");
        let (tcp, command) = (fields.optional("tcp"), fields.optional("command"));
        fields.finish(context);
        let name = name.and_then(|field| context.text(field.value, "a name"));
        let check = match (tcp, command) {
            (Some(tcp), None) => tcp_check(context, tcp.value),
            (None, Some(command)) => command_check(context, command.value),
            _ => {
                context.invalid(
                    "invalid-probe",
                    node,
                    "a probe does one thing",
                    "write either `tcp: \"host:port\"` or `command: [/path/to/program, argument]`",
                );
                None
            }
        };
        Some(Probe {
            name: name?.to_owned(),
            check: check?,
            timeout,
        })
    }
}

/// `host:port`, an IPv6 address in brackets.
fn tcp_check(context: &mut Context<'_>, node: &Node) -> Option<Check> {
    let text = context.text(node, "a host and a port such as db-1:5432")?;
    let split = || {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let is_host = !host.is_empty() && (bare.is_some() || !host.contains(':'));
        let port = port.parse().ok().filter(|port| *port > 0)?;
        is_host.then(|| Check::Tcp {
            host: host.to_owned(),
            port,
        })
    };
    let check = split();
    if check.is_none() {
        context.invalid(
            "invalid-probe",
            node,
            format!("{} is not a host and a port", quoted(text)),
            "write db-1:5432, 10.0.0.1:5432 or [fd00::1]:5432",
        );
    }
    check
}

fn command_check(context: &mut Context<'_>, node: &Node) -> Option<Check> {
    let words: Vec<String> = context
        .list(node, "a program and its arguments, as a list")
        .iter()
        .filter_map(|word| context.text(word, "a word of the command").map(str::to_owned))
        .collect();
    if words.first().is_none_or(|program| !program.starts_with('/')) {
        context.invalid(
            "invalid-probe",
            node,
            "the command has no absolute path",
            "write the program from `/` on, and each argument for itself: [/usr/bin/curl, -f, http://localhost/]; there is \
             no shell",
        );
        return None;
    }
    Some(Check::Command(words))
}
