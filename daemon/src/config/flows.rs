//! `flows`: where flow records go, and how many of them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use palisade_rules::decode::fields::{Context, Field, Fields};
use palisade_rules::diagnostic::quoted;
use palisade_rules::yaml::Node;

use super::{duration, path, set};

/// The intervals between flow records that make sense.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);

/// How often a file may be replaced by time.
const ROTATIONS: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24 * 366);

/// How long a collector may take.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(5);

/// The sizes that make sense: a file holds at least a record, and a disk exists.
const SIZES: RangeInclusive<u64> = (4 << 10)..=(1 << 40);

/// The most files that are kept.
const MAX_KEPT: i64 = 10_000;

/// The word for no file and for no limit.
const NONE: &str = "none";

/// `flows`: what is recorded, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowsConfig {
    /// `interval`.
    pub interval: Duration,
    /// `includeAddresses`.
    pub include_addresses: bool,
    /// `nflogGroup`.
    pub nflog_group: u16,
    /// `accounting`: whether packets, bytes and ends of connections are taken from conntrack.
    pub accounting: bool,
    /// `owners`: whether the processes and units of local sockets are looked for.
    pub owners: bool,
    /// `prometheus.listen`: a loopback address that serves metrics, beside the socket.
    pub prometheus: Option<SocketAddr>,
    /// Where records go.
    pub sinks: SinksConfig,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinksConfig {
    /// `records`: which flow records are taken.
    pub records: Taken,
    /// `file`; `None` for no file.
    pub file: Option<PathBuf>,
    /// `rotate`.
    pub rotate: RotateConfig,
    /// `bytesPerDay`: what the file may grow by between two midnights UTC; `None` for whatever comes.
    pub bytes_per_day: Option<u64>,
    /// `journald`.
    pub journald: bool,
    /// `stdout`.
    pub stdout: bool,
    /// `otlp`.
    pub otlp: Option<OtlpConfig>,
}

/// Which flow records are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// What is denied, what would be, and what was not seen before.
    Notable,
    /// All of them.
    All,
}

/// `rotate`: when a file is full, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateConfig {
    /// `size`: bytes that no file exceeds, save one whose single interval does; `None` for whatever comes.
    pub size: Option<u64>,
    /// `every`: a file holds no more than this, in periods counted from midnight UTC; `None` for no limit.
    pub every: Option<Duration>,
    /// `keep`: how many full files stay.
    pub keep: usize,
    /// `compress`: whether full files are compressed.
    pub compress: bool,
}

/// `otlp`: a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpConfig {
    /// `endpoint`: its base address; `/v1/logs` and `/v1/metrics` are appended.
    pub endpoint: Uri,
    /// `timeout`: how long one delivery may take, with all its attempts.
    pub timeout: Duration,
}

impl FlowsConfig {
    pub(super) fn read(&mut self, context: &mut Context<'_>, field: Field<'_>) {
        let Some(mut fields) = Fields::of(context, field.value, "`flows`", field.key.span) else {
            return;
        };
        set(&mut self.interval, fields.optional("interval"), |node| {
            ranged(context, node, "interval", "10s", &INTERVALS)
        });
        set(
            &mut self.include_addresses,
            fields.optional("includeAddresses"),
            |node| context.boolean(node),
        );
        set(&mut self.nflog_group, fields.optional("nflogGroup"), |node| {
            let group = context.integer(node, 0..=i64::from(u16::MAX))?;
            u16::try_from(group).ok()
        });
        set(&mut self.accounting, fields.optional("accounting"), |node| {
            context.boolean(node)
        });
        set(&mut self.owners, fields.optional("owners"), |node| {
            context.boolean(node)
        });
        let sinks = &mut self.sinks;
        set_or_none(context, &mut sinks.file, fields.optional("file"), path);
        set(&mut sinks.records, fields.optional("records"), |node| {
            let words = [("notable", Taken::Notable), ("all", Taken::All)];
            context.choice(node, "a choice of records", &words)
        });
        set_or_none(
            context,
            &mut sinks.bytes_per_day,
            fields.optional("bytesPerDay"),
            size,
        );
        set(&mut sinks.journald, fields.optional("journald"), |node| {
            context.boolean(node)
        });
        set(&mut sinks.stdout, fields.optional("stdout"), |node| {
            context.boolean(node)
        });
        let (rotate, prometheus, otlp) = (
            fields.optional("rotate"),
            fields.optional("prometheus"),
            fields.optional("otlp"),
        );
        fields.finish(context);
        if let Some(field) = rotate {
            sinks.rotate.read(context, field);
        }
        if let Some(field) = otlp {
            sinks.otlp = OtlpConfig::read(context, field);
        }
        if let Some(field) = prometheus {
            self.prometheus = read_prometheus(context, field);
        }
    }
}

impl Default for FlowsConfig {
    fn default() -> Self {
        FlowsConfig {
            interval: Duration::from_secs(10),
            include_addresses: false,
            nflog_group: 7,
            accounting: true,
            owners: true,
            prometheus: None,
            sinks: SinksConfig::default(),
        }
    }
}

impl Default for SinksConfig {
    fn default() -> Self {
        SinksConfig {
            records: Taken::Notable,
            file: Some("/var/log/palisade/flows.jsonl".into()),
            rotate: RotateConfig::default(),
            bytes_per_day: Some(1 << 30),
            journald: false,
            stdout: false,
            otlp: None,
        }
    }
}

impl RotateConfig {
    fn read(&mut self, context: &mut Context<'_>, field: Field<'_>) {
        let Some(mut fields) = Fields::of(context, field.value, "`rotate`", field.key.span) else {
            return;
        };
        set_or_none(context, &mut self.size, fields.optional("size"), size);
        set_or_none(
            context,
            &mut self.every,
            fields.optional("every"),
            |context, node| ranged(context, node, "time between two files", "24h", &ROTATIONS),
        );
        set(&mut self.keep, fields.optional("keep"), |node| {
            usize::try_from(context.integer(node, 1..=MAX_KEPT)?).ok()
        });
        set(&mut self.compress, fields.optional("compress"), |node| {
            context.boolean(node)
        });
        fields.finish(context);
    }
}

impl Default for RotateConfig {
    fn default() -> Self {
        RotateConfig {
            size: Some(100 << 20),
            every: Some(Duration::from_hours(24)),
            keep: 7,
            compress: true,
        }
    }
}

impl OtlpConfig {
    fn read(context: &mut Context<'_>, field: Field<'_>) -> Option<Self> {
        let mut fields = Fields::of(context, field.value, "`otlp`", field.key.span)?;
        let mut timeout = Duration::from_secs(10);
        set(&mut timeout, fields.optional("timeout"), |node| {
            ranged(context, node, "timeout", "10s", &TIMEOUTS)
        });
        let endpoint = fields.required(context, "endpoint");
        fields.finish(context);
        let endpoint = endpoint.and_then(|field| endpoint_of(context, field.value))?;
        Some(OtlpConfig { endpoint, timeout })
    }
}

fn endpoint_of(context: &mut Context<'_>, node: &Node) -> Option<Uri> {
    let text = context.text(node, "an address such as http://127.0.0.1:4318")?;
    let uri: Option<Uri> = text.parse().ok();
    let (message, help) = match &uri {
        Some(uri) if uri.scheme_str() == Some("https") => (
            format!("{} asks for TLS, which palisaded does not speak", quoted(text)),
            "send to a collector on this host, http://127.0.0.1:4318, and let that one speak TLS to the next",
        ),
        Some(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none() => {
            if uri.authority().is_some_and(|part| part.as_str().contains('@')) {
                (
                    format!("{} has a user, which would be sent in clear", quoted(text)),
                    "leave it away: let a collector on this host know the password",
                )
            } else {
                return Some(uri.clone());
            }
        }
        _ => (
            format!("{} is not the address of a collector", quoted(text)),
            "write http://, the host and the port of its OTLP over HTTP: http://127.0.0.1:4318",
        ),
    };
    context.invalid("invalid-endpoint", node, message, help);
    None
}

fn read_prometheus(context: &mut Context<'_>, field: Field<'_>) -> Option<SocketAddr> {
    let mut fields = Fields::of(context, field.value, "`prometheus`", field.key.span)?;
    let listen = fields.required(context, "listen");
    fields.finish(context);
    let node = listen?.value;
    let text = context.text(node, "an address such as 127.0.0.1:9757")?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Some(address),
        Ok(_) => {
            context.invalid(
                "invalid-listen",
                node,
                format!(
                    "{} is not a loopback address, and the metrics, which name every policy, are given to whoever asks",
                    quoted(text)
                ),
                "listen on 127.0.0.1 or [::1], and let a reverse proxy or an agent carry them further",
            );
            None
        }
        Err(_) => {
            context.invalid(
                "invalid-listen",
                node,
                format!("{} is not an address with a port", quoted(text)),
                "write 127.0.0.1:9757 or [::1]:9757",
            );
            None
        }
    }
}

/// Replaces a default that may be none where the field is there and can be read.
fn set_or_none<T>(
    context: &mut Context<'_>,
    target: &mut Option<T>,
    field: Option<Field<'_>>,
    read: impl FnOnce(&mut Context<'_>, &Node) -> Option<T>,
) {
    let Some(Field { value, .. }) = field else {
        return;
    };
    if value.text() == Some(NONE) {
        *target = None;
    } else if let Some(value) = read(context, value) {
        *target = Some(value);
    }
}

/// A number of bytes with its unit, in powers of 1024 as logrotate and systemd count: `64K`, `100M`, `1G`.
fn size(context: &mut Context<'_>, node: &Node) -> Option<u64> {
    let Some(text) = node.text() else {
        context.wrong_type(node, "a size such as 100M");
        return None;
    };
    let bytes = bytes(text).filter(|bytes| SIZES.contains(bytes));
    if bytes.is_none() {
        context.invalid(
            "invalid-size",
            node,
            format!("{} is not a size", quoted(text)),
            "write a whole number and K, M or G, from 4K to 1024G, or none: 100M",
        );
    }
    bytes
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A duration with its unit, within bounds.
pub(super) fn ranged(
    context: &mut Context<'_>,
    node: &Node,
    what: &str,
    example: &str,
    range: &RangeInclusive<Duration>,
) -> Option<Duration> {
    let Some(text) = node.text() else {
        context.wrong_type(node, &format!("a duration such as {example}"));
        return None;
    };
    let duration = duration(text).filter(|duration| range.contains(duration));
    if duration.is_none() {
        let message = format!("{} is not {} {what}", quoted(text), article(what));
        let help = format!(
            "write a whole number and ms, s, m or h, from {} to {}: {example}",
            written(*range.start()),
            written(*range.end())
        );
        context.invalid("invalid-interval", node, message, help);
    }
    duration
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    }
}

/// A duration as it is written, in the largest unit that divides it.
fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match [(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit, _)| milliseconds.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}
