//! `palisade learn`: a policy proposed from what was observed.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use palisade_rules::analysis::learn::learn;
use time::OffsetDateTime;

use super::args::{Format, LearnArgs};
use super::since::moment;
use super::{Failure, Outcome, offline, output, records};
use crate::api::client::Client;
use crate::api::learn::{LearnAnswer, LearnRequest, ProposalReport};
use crate::exit::Exit;
use crate::flows::learn::FromRecords;
use crate::flows::record::Record;

pub(super) async fn run(client: &Client, args: &LearnArgs, format: Format) -> Outcome {
    if format == Format::Csv {
        return Err(Failure::new(
            Exit::Usage,
            "a policy is no list, and CSV is for lists: use -o json, or no -o for YAML",
        ));
    }
    let request = request(args, OffsetDateTime::now_utc())?;
    let answer: LearnAnswer = match (&args.from, args.from_files.files.is_empty()) {
        (Some(records), _) => from_records(args, records, &request)?,
        (None, true) => client.post("/v1/learn", &request).await?,
        (None, false) => {
            return Err(Failure::new(
                Exit::Usage,
                "with -f, --from says which flow records to learn from: the daemon has observed nothing for these resources",
            ));
        }
    };
    let Some(proposal) = answer.proposal else {
        let exit = match answer.exit {
            2 => Exit::Usage,
            3 => Exit::Invalid,
            _ => Exit::Findings,
        };
        return Err(Failure::new(exit, answer.error.unwrap_or_default()));
    };
    match (format, &args.write) {
        (Format::Json, None) => output::whole(format, &proposal)?,
        (_, None) => output::say(&proposal.text)?,
        (_, Some(path)) => write(path, &proposal.text)?,
    }
    eprint!("{}", advice(&proposal, args));
    Ok(Exit::Fine)
}

fn request(args: &LearnArgs, now: OffsetDateTime) -> Result<LearnRequest, Failure> {
    let since = args.since.as_deref().map(|text| moment(text, now)).transpose()?;
    let seconds = |since: OffsetDateTime| {
        let ago = now - since;
        // A second that has begun is asked for whole.
        let seconds = ago.whole_seconds() + i64::from(ago.subsec_nanoseconds() > 0);
        seconds.max(0).unsigned_abs()
    };
    Ok(LearnRequest {
        name: args.name.clone(),
        endpoint: args.endpoint.clone(),
        selector: args.selector.clone(),
        direction: args.direction.clone(),
        since_seconds: since.map(seconds),
        tier: args.tier.clone(),
        order: args.order,
        forward: args.forward,
        include_denied: args.include_denied,
        exclude: args.exclude.clone(),
        max_rules: Some(args.max_rules),
        max_nets: Some(args.max_nets),
    })
}

/// Learns offline.
fn from_records(args: &LearnArgs, path: &Path, request: &LearnRequest) -> Result<LearnAnswer, Failure> {
    let (snapshot, worlds) = offline::snapshot_and_worlds(&args.from_files)?;
    let since = request.since(OffsetDateTime::now_utc());
    let is_asked_for = |end: OffsetDateTime| since.is_none_or(|since| end >= since);
    let mut seen = FromRecords::default();
    let mut flows = 0;
    for file in records::meant(&[path.to_owned()])? {
        let (said, _) = records::read(&file, |record| {
            match record {
                Record::Flow(flow) if is_asked_for(flow.end_time) => seen.add(&worlds, &flow),
                Record::Interval(interval) if is_asked_for(interval.end_time) => seen.add_interval(&interval),
                Record::Flow(_) | Record::Interval(_) | Record::Rule(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        flows += said.flows;
        if let Some(remark) = said.remark(&file) {
            seen.note(format!("WARNING: {remark}"));
        }
    }
    if flows == 0 {
        seen.note(format!("there are no flow records in {}", path.display()));
    }
    let question = request
        .question(seen.remarks())
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let mut answer = LearnAnswer::of(learn(&snapshot, &worlds, &question, &seen.observed(&worlds)));
    if let Some(error) = &mut answer.error {
        // What could not be used may be why there is nothing.
        for remark in seen.remarks() {
            *error += &format!("\n{remark}");
        }
    }
    Ok(answer)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "; nothing is overwritten: take another name, or remove it",
            _ => "",
        };
        Failure::new(
            Exit::Usage,
            format!("cannot write {}: {error}{help}", path.display()),
        )
    };
    let mut file = std::fs::File::create_new(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}

/// What to do next.
fn advice(proposal: &ProposalReport, args: &LearnArgs) -> String {
    let ProposalReport {
        name,
        rules,
        replayed,
        connections,
        ..
    } = proposal;
    let mut text = format!(
        "palisade: {} rules from {replayed} flows ({connections} connections), of which it would deny none\n",
        rules.len()
    );
    for warning in &proposal.warnings {
        text += &format!("warning: {warning}\n");
    }
    let place = match (&proposal.replaces, &args.write) {
        (Some(position), _) => format!("put it in place of the one at {position}"),
        (None, Some(path)) => format!("put {} into the policy directory", path.display()),
        (None, None) => "read it, and put it into the policy directory".to_owned(),
    };
    text + &format!(
        "next: {place}; `palisade plan` and `palisade reload` stage it, which changes nothing;\n      then watch `palisade staged \
         {name}`: what it would deny was not seen before. Learn again, or promote it\n"
    )
}
