//! What the backend's daemon and its kernel say of the staged policy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::matrix::Cell;
use super::screen::Screen;
use super::stage::{Answer, Stage};
use super::{BACKEND, broken};
use crate::cli::Failure;
use crate::flows::record::CounterRow;
use crate::flows::report::{StagedFlow, StagedReport};

/// How long flow records may take to reach a report; usually a tenth of a second.
const RECORDS_SETTLE: Duration = Duration::from_secs(2);

/// Runs a command on the backend and shows both, as they would look on its terminal.
pub(super) fn run_on_backend(
    stage: &Stage,
    screen: &Screen,
    program: &str,
    args: &[&str],
) -> Result<Answer, Failure> {
    let answer = stage.command(BACKEND, program, args)?;
    screen.command(BACKEND, &format!("{program} {}", args.join(" ")), &answer.text)?;
    Ok(answer)
}

/// The report of the staged policy, once it knows of as many first packets as were sent; as it is when they do not
/// come.
pub(super) fn settled_report(stage: &Stage, sent: u64) -> Result<StagedReport, Failure> {
    let deadline = Instant::now() + RECORDS_SETTLE;
    loop {
        let report = stage.staged(BACKEND)?;
        let known: u64 = report.flows.iter().map(|flow| flow.packets).sum();
        if known >= sent || Instant::now() > deadline {
            return Ok(report);
        }
        stage.rest()?;
    }
}

/// The cells that some flows of a report are about.
pub(super) fn cells(
    stage: &Stage,
    report: &StagedReport,
    which: impl Fn(&StagedFlow) -> bool,
) -> BTreeSet<Cell> {
    let flows = report.flows.iter().filter(|flow| which(flow));
    flows.map(|flow| cell(stage, flow)).collect()
}

/// How often a report has seen a cell.
pub(super) fn hits(stage: &Stage, report: &StagedReport, which: &Cell) -> u64 {
    let flows = report.flows.iter().filter(|flow| cell(stage, flow) == *which);
    flows.map(|flow| flow.packets).sum()
}

/// The name of the counter at the end of the staged policy's tier.
pub(super) fn end_of_tier(report: &StagedReport) -> Result<&str, Failure> {
    let is_end = |row: &&CounterRow| row.kind == "EndOfTier" && row.direction == "ingress";
    let row = report.counters.iter().find(is_end);
    row.map(|row| row.counter.as_str())
        .ok_or_else(|| broken("the report names no counter for the end of the tier"))
}

/// The packets in nft's listing of one counter.
pub(super) fn packets(listing: &str) -> Result<u64, Failure> {
    let mut words = listing.split_whitespace().skip_while(|word| *word != "packets");
    let packets = words.nth(1).and_then(|number| number.parse().ok());
    packets.ok_or_else(|| broken(format!("nft does not list the counter: {listing}")))
}

/// What `palisade staged` says in two numbers, for comparing.
pub(super) fn said(would_deny: u64, exit: Option<i32>) -> String {
    let exit = exit.map_or("none".to_owned(), |code| code.to_string());
    format!("would deny {would_deny}, exit code {exit}")
}

/// What nft's listing of the table says of the preview.
pub(super) struct Preview {
    /// The preview chain in which a rule counts with the given counter.
    pub(super) chain: String,
    /// Verdicts that end a packet, with the preview chain they are in.
    pub(super) endings: BTreeSet<String>,
}

impl Preview {
    /// Reads it from the backend's kernel.
    pub(super) fn of_counter(stage: &Stage, counter: &str) -> Result<Self, Failure> {
        let listing = stage.command(BACKEND, "nft", &["list", "table", "inet", "palisade"])?;
        let preview = Preview::read(&listing.text, counter);
        preview.ok_or_else(|| broken(format!("nft shows no preview chain with the counter {counter}")))
    }

    fn read(listing: &str, counter: &str) -> Option<Self> {
        const ENDINGS: [&str; 4] = ["accept", "drop", "reject", "queue"];
        let counts = format!("counter name \"{counter}\"");
        let mut found = None;
        let mut endings = BTreeSet::new();
        let mut chain = "";
        for line in listing.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                chain = name.trim_end_matches(" {");
            }
            if chain.contains("preview") {
                let rule = line.split(" comment ").next().unwrap_or_default();
                if rule.contains(&counts) {
                    found = Some(chain.to_owned());
                }
                let verdicts = rule.split_whitespace().filter(|word| ENDINGS.contains(word));
                endings.extend(verdicts.map(|verdict| format!("{verdict} in {chain}")));
            }
        }
        found.map(|chain| Preview { chain, endings })
    }
}

fn cell(stage: &Stage, flow: &StagedFlow) -> Cell {
    Cell::new(stage.host_of(&flow.from), stage.host_of(&flow.to), flow.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_in_the_preview_is_found_and_a_comment_is_none() {
        let listing = |verdict: &str| {
            format!(
                "table inet palisade {{\n\tchain in/eth0/preview/02-default {{\n\t\tcounter name \"end\" {verdict}comment \
                 \"would drop\"\n\t}}\n\n\tchain in/eth0 {{\n\t\tdrop\n\t}}\n}}\n"
            )
        };
        let preview = Preview::read(&listing(""), "end").unwrap();
        assert_eq!(preview.chain, "in/eth0/preview/02-default");
        assert!(preview.endings.is_empty());
        let preview = Preview::read(&listing("drop "), "end").unwrap();
        assert_eq!(
            preview.endings,
            ["drop in in/eth0/preview/02-default".to_owned()].into()
        );
        assert!(Preview::read(&listing(""), "other").is_none());
    }

    #[test]
    fn a_counter_is_read_from_its_listing() {
        let listing =
            "table inet palisade {\n\tcounter a/b {\n\t\tcomment \"x\"\n\t\tpackets 8 bytes 560\n\t}\n}\n";
        assert_eq!(packets(listing).unwrap(), 8);
        assert!(packets("Error: No such file or directory\n").is_err());
    }
}
