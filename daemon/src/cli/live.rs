//! `palisade explain --live`: what the kernel really does with packets, in the words of policies.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_nft::{
    Instruction, KernelRule, Nft, OpenError, TraceError, TraceEvent, TraceFilter, TraceVerdict, Tracer,
};
use palisade_rules::analysis::{StepReport, parse_protocol};
use palisade_rules::ruleset::TABLE;
use palisade_rules::world::EndpointKind;
use serde::Serialize;

use super::args::{ExplainArgs, Format};
use super::{Failure, Outcome, output};
use crate::api::client::Client;
use crate::api::types::EndpointRow;
use crate::exit::Exit;
use crate::flows::packet;
use crate::flows::traced::{TraceReport, Traced, TracedWorld};

/// What one packet met in one hook.
#[derive(Debug, Default)]
struct Walk {
    payload: Vec<u8>,
    prefix: Option<String>,
    enforced: Vec<String>,
    pending: Option<Vec<String>>,
    /// The comments of the rules, in order.
    comments: Vec<String>,
    /// Rules that are not ours.
    foreign: Vec<String>,
}

/// A line of `-o json`.
#[derive(Serialize)]
struct Line {
    /// The packet in a few words.
    packet: String,
    /// `allow` or `deny`: what the kernel did.
    verdict: &'static str,
    /// What policies say; `None` for a packet that meets none.
    report: Option<TraceReport>,
    /// The comments of the rules that it met.
    rules: Vec<String>,
    /// Rules in our table that are not ours.
    foreign_rules: Vec<String>,
    /// Whether the kernel did what policies say.
    agrees: bool,
}

pub(super) async fn run(client: &Client, args: &ExplainArgs, format: Format) -> Outcome {
    if matches!(format, Format::Yaml | Format::Csv) {
        return Err(Failure::new(
            Exit::Usage,
            "packets are shown as they come: use -o table or json with --live",
        ));
    }
    let filters = filters(client, args).await?;
    let mut nft = Nft::open().map_err(|error| failure(&error.into()))?;
    let mut rules = rules(&mut nft)?;
    let mut tracer = Tracer::start(&filters).map_err(|error| failure(&error))?;
    eprintln!(
        "palisade: tracing for {:?}; only the first packets of connections are shown",
        args.duration
    );
    let end = Instant::now() + args.duration;
    let mut buffer = vec![0; Tracer::BUFFER];
    let mut walks: BTreeMap<u32, Walk> = BTreeMap::new();
    let (mut shown, mut exit) = (0, Exit::Fine);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || args.count.is_some_and(|count| shown >= count) {
            if shown == 0 {
                eprintln!("palisade: no first packet of such a connection came by");
            }
            return Ok(exit);
        }
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(
            &mut [PollFd::new(std::os::fd::AsFd::as_fd(&tracer), PollFlags::POLLIN)],
            wait,
        ) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failure(&TraceError::Io(errno.into()))),
        }
        let mut events = Vec::new();
        match tracer.receive(&mut buffer, |event| events.push(event)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                eprintln!(
                    "palisade: too many packets at once, some are not shown; ask for fewer with --from, --to, --port"
                );
                walks.clear();
                continue;
            }
            Err(error) => return Err(failure(&error.into())),
        }
        for event in events.into_iter().filter(|event| event.table == TABLE) {
            let id = event.id;
            if event.handle.is_some_and(|handle| !rules.contains_key(&handle)) {
                rules = self::rules(&mut nft)?;
            }
            let walk = walks.entry(id).or_default();
            let Some(allowed) = walk.meets(&event, &rules) else {
                continue;
            };
            let walk = walks.remove(&id).unwrap_or_default();
            if let Some(line) = line(client, walk, allowed).await? {
                if !allowed || !line.agrees {
                    exit = Exit::Findings;
                }
                shown += 1;
                let text = match format {
                    Format::Json => serde_json::to_string(&line).unwrap_or_default() + "\n",
                    _ => text(&line),
                };
                if output::say_on(&text)?.is_break() {
                    return Ok(exit);
                }
            }
        }
    }
}

impl Walk {
    /// Takes one event in; says what became of the packet, if this was the end of the hook.
    fn meets(&mut self, event: &TraceEvent, rules: &BTreeMap<u64, KernelRule>) -> Option<bool> {
        if self.payload.is_empty() {
            self.payload.clone_from(&event.payload);
        }
        let is_preview = event.chain.starts_with("preview/") || event.chain.contains("/preview");
        if is_preview {
            self.pending.get_or_insert_default();
        }
        match event.handle.map(|handle| (handle, rules.get(&handle))) {
            Some((_, Some(rule))) if !rule.comment.is_empty() => {
                self.comments.push(rule.comment.clone());
                for instruction in &rule.program {
                    match instruction {
                        Instruction::Log(log)
                            if log.prefix.starts_with("palisade/") && self.prefix.is_none() =>
                        {
                            self.prefix = Some(log.prefix.clone());
                        }
                        Instruction::Counter(name) => match &mut self.pending {
                            Some(pending) if is_preview => pending.push(name.clone()),
                            _ => self.enforced.push(name.clone()),
                        },
                        _ => {}
                    }
                }
            }
            Some((handle, _)) => self
                .foreign
                .push(format!("chain {} handle {handle}", event.chain)),
            None => {}
        }
        match event.verdict? {
            TraceVerdict::Accept => Some(true),
            TraceVerdict::Drop => Some(false),
            TraceVerdict::GoesOn => None,
        }
    }
}

/// What is to be said of a packet, if it can be read.
async fn line(client: &Client, walk: Walk, allowed: bool) -> Result<Option<Line>, Failure> {
    let Some((packet, _)) = packet::parse(&walk.payload) else {
        return Ok(None);
    };
    let report: Option<TraceReport> = match &walk.prefix {
        Some(prefix) => {
            let traced = Traced {
                prefix: prefix.clone(),
                source: packet.source,
                destination: packet.destination,
                protocol: packet.protocol.0,
                source_port: packet.source_port,
                destination_port: packet.destination_port,
                icmp_type: packet.icmp_type,
                icmp_code: packet.icmp_code,
                enforced: walk.enforced,
                pending: walk.pending,
                allowed,
            };
            client.post("/v1/explain/trace", &traced).await?
        }
        None => None,
    };
    let agrees = report.as_ref().is_none_or(|report| {
        report.enforced.agrees && report.pending.as_ref().is_none_or(|pending| pending.agrees)
    });
    // Where no policy was asked, only our own rules may end a packet.
    let is_ours = allowed || report.is_some() || walk.foreign.is_empty();
    Ok(Some(Line {
        packet: packet::phrase(&packet),
        verdict: if allowed { "allow" } else { "deny" },
        report,
        rules: walk.comments,
        foreign_rules: walk.foreign,
        agrees: agrees && is_ours,
    }))
}

fn text(line: &Line) -> String {
    let mut text = match &line.report {
        Some(report) => format!(
            "{}  ({} to {}), {} at {}: {}\n",
            line.packet,
            report.from,
            report.to,
            report.direction,
            report.endpoint,
            line.verdict.to_uppercase()
        ),
        // No policy is asked about it: a known connection, loopback, what is invalid.
        None => format!(
            "{}: {}, no policy asked: {}\n",
            line.packet,
            line.verdict.to_uppercase(),
            line.rules.join("; ")
        ),
    };
    if let Some(report) = &line.report {
        text += &world_text("enforced", &report.enforced);
        if let Some(pending) = &report.pending {
            text += &world_text("preview", pending);
        }
    }
    for rule in &line.foreign_rules {
        text += &format!("    a rule that is not palisade's: {rule}\n");
    }
    text += if !line.agrees && line.foreign_rules.is_empty() {
        "    DISAGREES: this is a bug in palisade, please report it\n"
    } else if !line.agrees {
        "    DISAGREES: somebody else's rule in table inet palisade decides; if nobody put it there, this is a bug in palisade, please report it\n"
    } else if line.report.is_some() {
        "    agrees with the evaluator\n"
    } else {
        ""
    };
    text
}

fn world_text(world: &str, said: &TracedWorld) -> String {
    let mut text = format!("  {world}: {}\n", said.verdict.to_uppercase());
    text += &steps_text(&said.steps);
    if !said.agrees {
        text += &format!(
            "  {world}, as the evaluator says: {}\n",
            said.expected_verdict.to_uppercase()
        );
        text += &steps_text(&said.expected_steps);
    }
    text
}

fn steps_text(steps: &[StepReport]) -> String {
    let line = |step: &StepReport| {
        let source = step.source.as_ref().map(|source| format!("  {source}"));
        let tier = if step.tier.is_empty() { "" } else { ", tier " };
        format!(
            "    {}{tier}{}: {}{}\n",
            step.phrase(),
            step.tier,
            step.action.to_lowercase(),
            source.unwrap_or_default()
        )
    };
    steps.iter().map(line).collect()
}

/// The rules of our table by their handles.
fn rules(nft: &mut Nft) -> Result<BTreeMap<u64, KernelRule>, Failure> {
    let table = nft.dump();
    let table = table.map_err(|error| Failure::new(Exit::ApplyFailed, error.to_string()))?;
    let table = table.ok_or_else(|| {
        Failure::new(
            Exit::ApplyFailed,
            format!("there is no table inet {TABLE}, so nothing is filtered: is palisaded running?"),
        )
    })?;
    let rules = table.chains.into_iter().flat_map(|chain| chain.rules);
    Ok(rules.map(|rule| (rule.handle, rule)).collect())
}

/// One filter for each pair of addresses of one family.
async fn filters(client: &Client, args: &ExplainArgs) -> Result<Vec<TraceFilter>, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let protocol = args.proto.as_deref().map(parse_protocol).transpose();
    let protocol = protocol.map_err(usage)?;
    if args.port.is_some() && !protocol.is_some_and(palisade_rules::net::Protocol::has_ports) {
        return Err(usage("--port needs --proto tcp, udp or sctp".to_owned()));
    }
    let sources = addresses(client, args.from.as_deref()).await?;
    let destinations = addresses(client, args.to.as_deref()).await?;
    let mut filters = Vec::new();
    for &source in &sources {
        for &destination in &destinations {
            let same = source
                .zip(destination)
                .is_none_or(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
            if same {
                filters.push(TraceFilter {
                    source,
                    destination,
                    protocol,
                    port: args.port,
                });
            }
        }
    }
    if filters.is_empty() {
        return Err(usage(
            "--from and --to have no addresses of the same family".to_owned(),
        ));
    }
    Ok(filters)
}

/// The addresses of an end; `None` is any.
async fn addresses(client: &Client, name: Option<&str>) -> Result<Vec<Option<IpAddr>>, Failure> {
    let Some(name) = name else {
        return Ok(vec![None]);
    };
    if let Ok(address) = name.parse() {
        return Ok(vec![Some(address)]);
    }
    let endpoints: Vec<EndpointRow> = client.get("/v1/endpoints").await?;
    let (kind, name) = match name
        .split_once(':')
        .map(|(kind, name)| (EndpointKind::parse(kind), name))
    {
        Some((Some(kind), name)) => (Some(kind), name),
        _ => (None, name),
    };
    let is_meant = |endpoint: &&EndpointRow| {
        let full = match &endpoint.namespace {
            Some(namespace) => format!("{namespace}/{}", endpoint.name),
            None => endpoint.name.clone(),
        };
        kind.is_none_or(|kind| endpoint.kind == kind.as_str()) && (name == endpoint.name || name == full)
    };
    let found = endpoints
        .iter()
        .filter(is_meant)
        .flat_map(|endpoint| &endpoint.addresses);
    let found: Vec<Option<IpAddr>> = found.copied().map(Some).collect();
    if found.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{name:?} is neither an address nor the name of an endpoint with addresses: see `palisade endpoints`"
            ),
        ));
    }
    Ok(found)
}

fn failure(error: &TraceError) -> Failure {
    let exit = match error {
        TraceError::Open(OpenError::Privilege) => Exit::NoPrivilege,
        _ => Exit::ApplyFailed,
    };
    Failure::new(exit, error.to_string())
}
