//! The journal, with a field for each thing that one may want to filter by.
//!
//! The [native protocol](https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) is spoken here and not by a crate: those there are
//! log through the facade of a logging crate, and swallow the error that has to be counted.

use std::borrow::Cow;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use palisade_rules::analysis::StepReport;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::part::Part;
use super::words::{self, Weight};
use super::{Outcome, Sink};
use crate::flows::record::{FlowRecord, IntervalRecord};

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// How long journald may leave its socket alone.
const PATIENCE: Duration = Duration::from_secs(5);

/// What journald calls these entries (`MESSAGE_ID`): of a flow, and of an interval.
const MESSAGE_IDS: [&str; 2] = [
    "6d1f3c1c7c0f4d6b9a3e52f8b7d04e11",
    "b0c2a9e45f6b4a0d8f17c3d26e9a5b72",
];

/// The priorities of syslog(3) that are used.
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
const INFO: u8 = 6;

/// The journal.
pub(super) struct JournaldSink {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

/// One entry, as it is sent.
#[derive(Default)]
struct Entry(Vec<u8>);

impl JournaldSink {
    /// A sink that sends to the socket at that path.
    pub(super) fn new(path: PathBuf) -> Self {
        JournaldSink { path, socket: None }
    }

    fn send(&mut self, entry: &Entry) -> io::Result<()> {
        let socket = if let Some(socket) = &self.socket {
            socket
        } else {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            self.socket.insert(socket)
        };
        // By its path each time: a journald that was started again listens there.
        match socket.send_to(&entry.0, &self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "journald does not read"))
            }
            Err(error) => Err(error),
        }
    }
}

impl Sink for JournaldSink {
    /// What comes after an entry that cannot be sent is missed too: journald is not asked a thousand times whether it
    /// has recovered.
    fn write(&mut self, part: &Part<'_>) -> Outcome {
        let flows = part.flows.iter().map(|flow| Entry::of_flow(flow));
        let interval = part.interval(0);
        let interval = interval.iter().map(Entry::of_interval);
        for (written, entry) in (0..).zip(flows.chain(interval)) {
            if let Err(error) = self.send(&entry) {
                return Outcome {
                    missed: part.records() - written,
                    error: Some(error.to_string()),
                };
            }
        }
        Outcome::default()
    }
}

impl Entry {
    fn of_flow(flow: &FlowRecord) -> Self {
        let priority = match words::weight(flow) {
            Weight::WouldDeny => WARNING,
            Weight::Denied => NOTICE,
            Weight::Allowed => INFO,
        };
        let mut entry = Entry::new(&words::flow(flow), priority, MESSAGE_IDS[0], "flow");
        entry.times(flow.start_time, flow.end_time);
        let net = &flow.safety_net;
        for (name, value) in [
            ("REPORTER", &flow.reporter),
            ("DIRECTION", &flow.direction),
            ("ACTION", &flow.action),
            ("PENDING_ACTION", &flow.pending_action),
            ("ACTION_WITHOUT_SAFETY_NET", &net.action),
            ("PENDING_ACTION_WITHOUT_SAFETY_NET", &net.pending_action),
            ("SOURCE_NAME", &flow.source_name),
            ("SOURCE_TYPE", &flow.source_type),
            ("DEST_NAME", &flow.dest_name),
            ("DEST_TYPE", &flow.dest_type),
            ("PROTO", &flow.proto),
        ] {
            entry.push(name, value);
        }
        for (name, value) in [
            ("SOURCE_NAMESPACE", flow.source_namespace.clone()),
            ("SOURCE_IP", flow.source_ip.map(|ip| ip.to_string())),
            ("DEST_NAMESPACE", flow.dest_namespace.clone()),
            ("DEST_IP", flow.dest_ip.map(|ip| ip.to_string())),
            ("SOURCE_UNIT", words::unit(&flow.source_owners)),
            ("SOURCE_COMM", words::comm(&flow.source_owners)),
            ("DEST_UNIT", words::unit(&flow.dest_owners)),
            ("DEST_COMM", words::comm(&flow.dest_owners)),
        ] {
            if let Some(value) = value {
                entry.push(name, &value);
            }
        }
        for (name, value) in [
            ("DEST_PORT", flow.dest_port.into()),
            ("EVALUATED", flow.evaluated),
            ("PACKETS_IN", flow.packets_in),
            ("PACKETS_OUT", flow.packets_out),
            ("BYTES_IN", flow.bytes_in),
            ("BYTES_OUT", flow.bytes_out),
            ("CONNECTIONS_STARTED", flow.connections_started),
            ("CONNECTIONS_COMPLETED", flow.connections_completed),
            ("CONNECTIONS_LIVE", flow.connections_live),
            ("FOLDED_FLOWS", flow.folded_flows),
        ] {
            entry.push(name, &value.to_string());
        }
        entry.push("SAFETY_NET", flag(net.caught));
        entry.push("SAMPLED", flag(flow.sampled));
        entry.push("COMPLETE", flag(flow.log_status.complete));
        entry.decided("", &flow.policies.enforced);
        entry.decided("PENDING_", &flow.policies.pending);
        entry
    }

    fn of_interval(interval: &IntervalRecord) -> Self {
        let complete = interval.log_status.complete;
        let priority = if complete { INFO } else { WARNING };
        let mut entry = Entry::new(&words::interval(interval), priority, MESSAGE_IDS[1], "interval");
        entry.times(interval.start_time, interval.end_time);
        let missing = &interval.log_status.missing;
        for (name, value) in [
            ("GENERATION", interval.generation),
            ("FLOWS", interval.flows),
            ("FOLDED_FLOWS", interval.folded_flows),
            ("EVALUATED", interval.evaluated),
            ("SAMPLED", interval.sampled),
            ("COUNTED", interval.counted),
            ("SUPPRESSED", interval.suppressed),
            ("SUPPRESSED_EVALUATED", interval.suppressed_evaluated),
            ("MISSED_TOTAL", interval.missed_total),
            ("LOST", missing.lost),
            ("UNREADABLE", missing.unreadable),
            ("FOLDED", missing.folded),
        ] {
            entry.push(name, &value.to_string());
        }
        entry.push("COMPLETE", flag(complete));
        entry
    }

    fn new(message: &str, priority: u8, id: &str, kind: &str) -> Self {
        let mut entry = Entry::default();
        entry.field("MESSAGE", message);
        entry.field("PRIORITY", &priority.to_string());
        entry.field("MESSAGE_ID", id);
        entry.field("SYSLOG_IDENTIFIER", "palisaded");
        entry.push("TYPE", kind);
        entry
    }

    fn times(&mut self, start: OffsetDateTime, end: OffsetDateTime) {
        for (name, time) in [("START_TIME", start), ("END_TIME", end)] {
            if let Ok(time) = time.format(&Rfc3339) {
                self.push(name, &time);
            }
        }
    }

    /// Who decided, in one of the worlds.
    fn decided(&mut self, world: &str, steps: &[StepReport]) {
        let Some(step) = words::decided(steps) else {
            return;
        };
        // The end of a tier speaks for the policy that brought it into play.
        let policy = step.trigger.as_ref().map_or(&step.name, |trigger| &trigger.name);
        let rule: Cow<'_, str> = match &step.rule_name {
            Some(name) => name.into(),
            None if step.rule_index >= 0 => step.rule_index.to_string().into(),
            None => "".into(),
        };
        for (name, value) in [
            ("TIER", step.tier.as_str()),
            ("KIND", &step.kind),
            ("POLICY", policy),
            ("RULE", &rule),
        ] {
            if !value.is_empty() {
                self.push(&format!("{world}{name}"), value);
            }
        }
    }

    /// A field of ours.
    fn push(&mut self, name: &str, value: &str) {
        self.field(&format!("PALISADE_{name}"), value);
    }

    /// `NAME=value`, or, where the value has more than one line, the name alone, its length and then the value.
    fn field(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

fn flag(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
