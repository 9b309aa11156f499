//! What is promised, and whether it is kept.

use crate::change::{ADDRESS, DAEMON, LOAD, OWN_TEXT, POLICY};
use crate::connections::{STAGED, work};
use crate::counters::{COUNTERS, NFT};
use crate::delay::DELAY;
use crate::established::{POLICIES, THROUGHPUT};
use crate::estate::{Place, Shape};
use crate::idle;
use crate::report::{NO_RULESET, PALISADE, Report, figure};

/// The largest estate that targets speak of.
const LARGE: usize = 10_000;

/// A promise and what was found; `None` where it was not measured.
struct Target {
    what: &'static str,
    promised: &'static str,
    found: Option<f64>,
    unit: &'static str,
    met: fn(f64) -> bool,
}

/// The targets as a table in Markdown.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::from("| what | target | found | |\n|---|--:|--:|---|\n");
    for target in targets(report) {
        let found = target.found.map_or_else(
            || "not measured".to_owned(),
            |found| format!("{}{}", figure(found), target.unit),
        );
        let met = target
            .found
            .map_or("", |found| if (target.met)(found) { "met" } else { "**missed**" });
        text += &format!("| {} | {} | {found} | {met} |\n", target.what, target.promised);
    }
    text
}

fn targets(report: &Report) -> Vec<Target> {
    let last = work(Shape::Spread, Place::Last);
    let new = |policies, subject| report.median(&last, policies, subject);
    let ratio = |over: Option<f64>, under: Option<f64>| Some(over? / under?);
    let large = |work| report.median(work, LARGE, PALISADE);
    let counters = |subject| report.median(COUNTERS, 1000, subject);
    vec![
        Target {
            what: "a new connection under 1,000 policies, over conntrack alone",
            promised: "at most 0.7 us",
            found: new(1000, PALISADE),
            unit: " us",
            met: |found| found <= 0.7,
        },
        Target {
            what: "the same with a staged policy on the endpoint",
            promised: "at most 1.5 us",
            found: new(1000, STAGED),
            unit: " us",
            met: |found| found <= 1.5,
        },
        Target {
            what: "growth of that cost from 10 to 10,000 policies",
            promised: "at most 1.3x",
            found: ratio(new(LARGE, PALISADE), new(10, PALISADE)),
            unit: "x",
            met: |found| found <= 1.3,
        },
        Target {
            what: "established TCP under 1,000 policies, of what goes without a ruleset",
            promised: "at least 97 %",
            found: ratio(
                report.median(THROUGHPUT, POLICIES, PALISADE),
                report.median(THROUGHPUT, POLICIES, NO_RULESET),
            )
            .map(|ratio| ratio * 100.0),
            unit: " %",
            met: |found| found >= 97.0,
        },
        Target {
            what: "first load of 10,000 policies and 100,000 set members, of what `nft -f` takes for the same table",
            promised: "at most 0.5x",
            found: ratio(large(LOAD), report.median(LOAD, LARGE, OWN_TEXT)),
            unit: "x",
            met: |found| found <= 0.5,
        },
        Target {
            what: "one policy of 10,000 changed: file saved to kernel committed",
            promised: "at most 50 ms",
            found: large(POLICY),
            unit: " ms",
            met: |found| found <= 50.0,
        },
        Target {
            what: "one endpoint's address added among them: file saved to kernel committed",
            promised: "at most 5 ms",
            found: large(ADDRESS),
            unit: " ms",
            met: |found| found <= 5.0,
        },
        Target {
            what: "longest delay of a packet while one policy of 10,000 changes, over the same without a change",
            promised: "at most 10 ms",
            found: large(DELAY),
            unit: " ms",
            met: |found| found <= 10.0,
        },
        Target {
            what: "100,000 counters read, of what `nft -j list counters` takes",
            promised: "at most 0.2x",
            found: ratio(counters(PALISADE), counters(NFT)),
            unit: "x",
            met: |found| found <= 0.2,
        },
        Target {
            what: "the daemon, idle, with a small policy: 10 policies of 5 rules",
            promised: "at most 15 MB",
            found: report.median(idle::MEMORY, idle::POLICIES, PALISADE),
            unit: " MB",
            met: |found| found <= 15.0,
        },
        Target {
            what: "the daemon with 10,000 policies",
            promised: "at most 250 MB",
            found: large(DAEMON),
            unit: " MB",
            met: |found| found <= 250.0,
        },
    ]
}
