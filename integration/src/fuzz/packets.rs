//! One packet against one ruleset in the kernel: how it ended and what was counted, and whether that was expected.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use palisade_cases::{Expected, Journey, event, expected};
use palisade_nft::CounterValue;
use palisade_rules::compile::{Compiled, Counted, MARK_ALL};
use palisade_rules::evaluate::Verdict;
use palisade_rules::ruleset::Name;
use palisade_rules::world::{WorldKind, Worlds};

use super::lab::{Arrival, Lab};

/// A busy machine delivers a packet a moment after it was sent: before a difference counts, it is looked at again so often.
const LOOKS: u32 = 8;

/// A ruleset in the kernel, and what it is to do.
pub(super) struct InForce<'a> {
    pub(super) lab: &'a mut Lab,
    pub(super) worlds: &'a Worlds,
    pub(super) compiled: &'a Compiled,
    /// The counters after the last packet.
    counters: BTreeMap<String, CounterValue>,
}

/// What became of a packet.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// What was counted, each as often as it was.
    pub(super) counted: Vec<Counted>,
}

impl Outcome {
    /// What one world counted, in words and in their order.
    pub(super) fn events(&self, world: WorldKind) -> Vec<String> {
        let counted = self.counted.iter().filter(|counted| counted.world == world);
        let mut events: Vec<String> = counted.map(event).collect();
        events.sort_unstable();
        events
    }
}

/// What the kernel shows of a packet.
struct Seen {
    arrivals: Vec<Arrival>,
    /// Counters that moved, and by how much.
    moved: Vec<(String, CounterValue)>,
}

impl<'a> InForce<'a> {
    /// Brings a ruleset into force. The inner error says why the kernel did not take it.
    pub(super) fn new(
        lab: &'a mut Lab,
        worlds: &'a Worlds,
        compiled: &'a Compiled,
    ) -> anyhow::Result<Result<Self, String>> {
        if let Err(error) = lab.put(&compiled.ruleset) {
            return Ok(Err(error.to_string()));
        }
        let counters = lab.counters()?;
        Ok(Ok(InForce {
            lab,
            worlds,
            compiled,
            counters,
        }))
    }

    /// Sends a packet. The inner error says what was not as expected.
    pub(super) fn send(&mut self, journey: &Journey) -> anyhow::Result<Result<Outcome, String>> {
        let expected = expected(self.worlds, journey);
        let (number, bytes) = self.lab.send(journey)?;
        let mut arrivals = Vec::new();
        let mut look = 0;
        let result = loop {
            let counters = self.lab.counters()?;
            arrivals.extend(self.lab.arrivals()?);
            let seen = Seen {
                arrivals: arrivals.clone(),
                moved: moved(&self.counters, &counters),
            };
            let result = self.compare(journey, &expected, &seen, (number, bytes));
            look += 1;
            if result.is_ok() || look == LOOKS {
                self.counters = counters;
                break result;
            }
            thread::sleep(Duration::from_millis(1 << look));
        };
        Ok(result)
    }

    fn compare(
        &self,
        journey: &Journey,
        expected: &Expected,
        seen: &Seen,
        (number, bytes): (u16, u64),
    ) -> Result<Outcome, String> {
        let mut wrong = String::new();
        let verdict = match seen.arrivals.first() {
            Some(_) => Verdict::Allow,
            None => Verdict::Deny,
        };
        if verdict != expected.verdict {
            let _ = writeln!(
                wrong,
                "verdict: {}, expected {}",
                verdict.as_str(),
                expected.verdict.as_str()
            );
        }
        for arrival in &seen.arrivals {
            let as_sent = arrival.number == number && arrival.way == journey.way;
            let may_stay = if expected.is_cleared { 0 } else { journey.mark };
            let marked = arrival.mark & !MARK_ALL != journey.mark & !MARK_ALL
                || arrival.mark & MARK_ALL & !may_stay != 0;
            if !as_sent || marked || seen.arrivals.len() > 1 {
                let _ = writeln!(wrong, "arrived: {arrival:?}, sent as number {number}");
            }
        }
        let mut outcome = Outcome {
            verdict,
            counted: Vec::new(),
        };
        for (name, value) in &seen.moved {
            if value.bytes != value.packets * bytes {
                let _ = writeln!(wrong, "{name} counted {value:?} of packets of {bytes} bytes");
            }
            match self.compiled.counters.get(&Name::new(name)) {
                Some(counted) => {
                    outcome
                        .counted
                        .extend((0..value.packets).map(|_| counted.clone()));
                    if !may_say(counted, expected) {
                        let _ = writeln!(wrong, "{name} says wrongly whether a safety net stands before it");
                    }
                }
                None => {
                    let _ = writeln!(wrong, "{name} counted {value:?}, and means nothing");
                }
            }
        }
        let mut enforced = expected.enforced.clone();
        let mut preview: Vec<String> = expected
            .preview
            .iter()
            .map(|passed| passed.event.clone())
            .collect();
        enforced.sort_unstable();
        preview.sort_unstable();
        for (world, expected) in [(WorldKind::Enforced, enforced), (WorldKind::Pending, preview)] {
            let counted = outcome.events(world);
            if counted != expected {
                let world = world.as_str();
                let _ = writeln!(
                    wrong,
                    "{world} counted:  {counted:#?}\n{world} expected: {expected:#?}"
                );
            }
        }
        if wrong.is_empty() { Ok(outcome) } else { Err(wrong) }
    }
}

/// Whether what a counter says of safety nets is so of this packet.
fn may_say(counted: &Counted, expected: &Expected) -> bool {
    let event = event(counted);
    let mut passed = expected.preview.iter().filter(|passed| passed.event == event);
    counted.world == WorldKind::Enforced
        || passed.clone().next().is_none()
        || passed.any(|passed| {
            passed.is_net
                || counted.without_safety_net == passed.caught
                || counted.without_safety_net && passed.may_be_caught
        })
}

fn moved(
    before: &BTreeMap<String, CounterValue>,
    after: &BTreeMap<String, CounterValue>,
) -> Vec<(String, CounterValue)> {
    let moved = after.iter().filter_map(|(name, after)| {
        let before = before.get(name).copied().unwrap_or_default();
        let moved = CounterValue {
            packets: after.packets.wrapping_sub(before.packets),
            bytes: after.bytes.wrapping_sub(before.bytes),
        };
        (after.packets != before.packets || after.bytes != before.bytes).then(|| (name.clone(), moved))
    });
    moved.collect()
}
