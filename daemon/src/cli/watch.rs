//! `palisade counters --watch`: what counters count, as they count it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::args::Format;
use super::show::{action, moment};
use super::{Failure, Outcome, fit, output};
use crate::api::client::Client;
use crate::exit::Exit;
use crate::flows::record::CounterRow;

/// What has been counted since the sample before.
struct Sample {
    at: OffsetDateTime,
    /// The time since the sample before.
    seconds: f64,
    /// Those that have moved, most first; then the others, as they are listed.
    counters: Vec<Moved>,
    /// How many have moved.
    moving: usize,
}

/// A sample as a line of JSON.
#[derive(Serialize)]
struct Line<'s> {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    seconds: f64,
    counters: &'s [Moved],
}

#[derive(Debug, Serialize)]
struct Moved {
    /// When: the line says it for all of them.
    #[serde(skip)]
    at: OffsetDateTime,
    #[serde(flatten)]
    row: CounterRow,
    packets_delta: u64,
    bytes_delta: u64,
    packets_per_second: f64,
}

/// Shows a sample after each pause until Ctrl-C, or until nobody reads it any more: on a terminal the whole screen anew,
/// else lines of what has moved.
pub(super) async fn run(client: &Client, pause: Duration, hit: bool, format: Format) -> Outcome {
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(Exit::ApplyFailed, format!("cannot watch for Ctrl-C: {error}")))?;
    let is_screen = format == Format::Table && std::io::stdout().is_terminal();
    let mut watch = Watch::default();
    let mut heading = true;
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = async {
            ticks.tick().await;
            client.get("/v1/counters").await
        };
        let rows = tokio::select! {
            _ = interrupt.recv() => return Ok(Exit::Fine),
            rows = next => rows?,
        };
        // The first is what the others are compared with; a screen shows it at once.
        let Some(sample) = watch.sample(rows, hit, is_screen) else {
            continue;
        };
        let text = if is_screen {
            screen(&sample, pause)
        } else {
            lines(&sample, format, std::mem::take(&mut heading))?
        };
        if output::say_on(&text)? == ControlFlow::Break(()) {
            return Ok(Exit::Fine);
        }
    }
}

/// Packets and bytes by counter.
type Totals = BTreeMap<String, (u64, u64)>;

/// What the sample before said.
#[derive(Default)]
struct Watch {
    before: Option<(Instant, Totals)>,
}

impl Watch {
    /// The next sample; of the first one there is none, unless it is wanted `at_once`.
    fn sample(&mut self, rows: Vec<CounterRow>, hit: bool, at_once: bool) -> Option<Sample> {
        let now = Instant::now();
        let totals = rows.iter();
        let totals = totals.map(|row| (row.counter.clone(), (row.packets_total, row.bytes_total)));
        let before = self.before.replace((now, totals.collect()));
        if before.is_none() && !at_once {
            return None;
        }
        let (then, before) = before.unwrap_or((now, Totals::new()));
        let seconds = (now - then).as_secs_f64();
        let at = OffsetDateTime::now_utc();
        let moved = |row: CounterRow| {
            // One that was not there before has counted nothing that was seen.
            let total = (row.packets_total, row.bytes_total);
            let (packets, bytes) = before.get(&row.counter).copied().unwrap_or(total);
            let packets_delta = total.0.saturating_sub(packets);
            Moved {
                at,
                packets_delta,
                bytes_delta: total.1.saturating_sub(bytes),
                packets_per_second: rate(packets_delta, seconds),
                row,
            }
        };
        let rows = rows.into_iter().filter(|row| !hit || row.packets_total > 0);
        let mut counters: Vec<Moved> = rows.map(moved).collect();
        counters.sort_by_key(|moved| std::cmp::Reverse(moved.packets_delta));
        Some(Sample {
            at,
            seconds,
            moving: counters.partition_point(|moved| moved.packets_delta > 0),
            counters,
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts 2^53 packets in a sample"
)]
fn rate(packets: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        (packets as f64 / seconds * 10.0).round() / 10.0
    } else {
        0.0
    }
}

const COLUMNS: [output::Column<Moved>; 6] = [
    ("PACKETS/S", |moved| format!("{:.1}", moved.packets_per_second)),
    ("NEW", |moved| moved.packets_delta.to_string()),
    ("NEW BYTES", |moved| moved.bytes_delta.to_string()),
    ("PACKETS", |moved| moved.row.packets_total.to_string()),
    ("ACTION", |moved| action(&moved.row)),
    ("COUNTED BY", |moved| counted_by(&moved.row)),
];

/// Lines of CSV say when.
const CSV: [output::Column<Moved>; 7] = [
    ("TIME", |moved| moment(moved.at)),
    COLUMNS[0],
    COLUMNS[1],
    COLUMNS[2],
    COLUMNS[3],
    COLUMNS[4],
    COLUMNS[5],
];

/// As many counters as the terminal has lines for.
fn screen(sample: &Sample, pause: Duration) -> String {
    let (width, height) = fit::screen();
    let Sample { counters, moving, .. } = sample;
    let total: f64 = counters.iter().map(|moved| moved.packets_per_second).sum();
    // The headline, an empty line and the headings are above them; the last line stays empty.
    let shown = counters.len().min(height.saturating_sub(4));
    let text = format!(
        "{}  every {pause:?}: {moving} of {} move, {total:.1} packets/s; Ctrl-C ends\n\n{}",
        moment(sample.at),
        counters.len(),
        output::table(&counters[..shown], &COLUMNS),
    );
    // From the top, each line over the one before, and nothing of what was below.
    let mut screen = "\x1b[H".to_owned();
    for line in text.lines() {
        screen += &fit::cut(&fit::clean(line), width);
        screen += "\x1b[K\n";
    }
    screen + "\x1b[J"
}

/// What has moved: a line of JSON, or one for each counter.
fn lines(sample: &Sample, format: Format, heading: bool) -> Result<String, Failure> {
    let moved = &sample.counters[..sample.moving];
    let line = Line {
        at: sample.at,
        seconds: sample.seconds,
        counters: moved,
    };
    Ok(match format {
        Format::Json => {
            serde_json::to_string(&line).map_err(|error| {
                Failure::new(Exit::ApplyFailed, format!("cannot write the answer: {error}"))
            })? + "\n"
        }
        Format::Yaml => output::yaml(&[line])?,
        Format::Csv => output::csv(moved, &CSV, heading)?,
        Format::Table => {
            let heading =
                heading.then(|| aligned(["TIME", "PACKETS/S", "NEW", "PACKETS", "ACTION", "COUNTED BY"]));
            let moved = moved.iter().map(|moved| {
                aligned([
                    &moment(sample.at),
                    &format!("{:.1}", moved.packets_per_second),
                    &moved.packets_delta.to_string(),
                    &moved.row.packets_total.to_string(),
                    &action(&moved.row),
                    &counted_by(&moved.row),
                ])
            });
            heading.into_iter().chain(moved).collect()
        }
    })
}

/// Columns of fixed width, for what comes later is not known yet.
fn aligned([time, rate, new, total, action, by]: [&str; 6]) -> String {
    format!("{time:<23}  {rate:>9}  {new:>8}  {total:>10}  {action:<12}  {by}\n")
}

/// What counts, and in which direction. Names are those of resources, which may hold anything that a name may.
fn counted_by(row: &CounterRow) -> String {
    fit::clean(&format!("{} {}", row.direction, row.what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(counter: &str, packets: u64) -> CounterRow {
        CounterRow {
            counter: counter.to_owned(),
            world: "enforced".to_owned(),
            direction: "ingress".to_owned(),
            stage: "normal".to_owned(),
            tier: "default".to_owned(),
            kind: "GlobalNetworkPolicy".to_owned(),
            namespace: None,
            name: counter.to_owned(),
            rule_index: 0,
            rule_name: None,
            action: "Allow".to_owned(),
            without_safety_net: false,
            packets_total: packets,
            bytes_total: packets * 100,
        }
    }

    fn watched(samples: &[&[(&str, u64)]], hit: bool) -> Option<Sample> {
        let mut watch = Watch::default();
        let rows =
            |sample: &&[(&str, u64)]| sample.iter().map(|(name, packets)| row(name, *packets)).collect();
        let samples = samples
            .iter()
            .map(|sample| watch.sample(rows(sample), hit, false));
        samples.last().flatten()
    }

    #[test]
    fn what_moves_most_comes_first() {
        let before = [("still", 7), ("some", 1), ("most", 1), ("none", 0)];
        assert!(watched(&[&before], false).is_none(), "nothing to compare with");
        let after = [("still", 7), ("some", 3), ("most", 9), ("none", 0), ("came", 5)];
        let sample = watched(&[&before, &after], true).unwrap();
        let shown: Vec<(&str, u64)> = sample
            .counters
            .iter()
            .map(|moved| (moved.row.counter.as_str(), moved.packets_delta))
            .collect();
        assert_eq!(shown, [("most", 8), ("some", 2), ("still", 0), ("came", 0)]);
        assert_eq!(sample.moving, 2);

        let lines = lines(&sample, Format::Table, true).unwrap();
        let last = lines.lines().last().unwrap();
        assert_eq!(lines.lines().count(), 3, "{lines}");
        assert!(
            last.ends_with("2           3  allow         ingress some: rule 0"),
            "{lines}"
        );

        let csv = super::lines(&sample, Format::Csv, true).unwrap();
        let [heading, most, _] = csv.lines().collect::<Vec<_>>()[..] else {
            panic!("{csv}");
        };
        assert_eq!(heading, "time,packets/s,new,new bytes,packets,action,counted by");
        assert!(most.starts_with(&moment(sample.at)), "{csv}");
        assert!(most.ends_with("8,800,9,allow,ingress most: rule 0"), "{csv}");
    }

    #[test]
    fn nothing_on_the_screen_speaks_to_the_terminal_but_the_screen_itself() {
        let mut watch = Watch::default();
        let sample = watch
            .sample(vec![row("\u{1b}]0;x\u{7}", 1)], false, true)
            .unwrap();
        let screen = screen(&sample, Duration::from_secs(1));
        assert!(screen.contains("ingress ?]0;x?: rule 0"), "{screen:?}");
    }

    #[test]
    fn rates_are_of_the_time_that_passed() {
        assert_eq!(rate(30, 2.0).to_string(), "15");
        assert_eq!(rate(1, 3.0).to_string(), "0.3");
        assert_eq!(rate(1, 0.0).to_string(), "0");
    }
}
