//! A case's promotion as an unconfirmed generation: while its window is open, and once it is over.

use std::time::Duration;

use palisade_cases::Journey;
use palisade_rules::compile::{Compiled, Options, compile};
use palisade_rules::ruleset::unconfirmed::{Terms, beside, confirmed};
use palisade_rules::world::Worlds;

use super::lab::Lab;
use super::packets::InForce;

/// Not over before it is ended.
const WINDOW: Duration = Duration::from_hours(24);

/// What was not as expected: the step, the packet, if it was one, and what.
pub(super) type Wrong<'a> = (&'static str, Option<&'a Journey>, String);

/// Puts the candidate beside the previous generation, and sends every packet with the window open, over, and confirmed.
/// The inner error is the first packet that did not meet exactly one of them.
pub(super) fn check<'a>(
    lab: &mut Lab,
    candidate: &Worlds,
    previous: &Worlds,
    options: &Options,
    journeys: &'a [Journey],
) -> anyhow::Result<Result<(), Wrong<'a>>> {
    let terms = Terms {
        window: WINDOW,
        share: None,
    };
    let [new, old] = [candidate, previous].map(|worlds| compile(worlds, options));
    let both = beside(&new.ruleset, &old.ruleset, &terms, (2, 1));
    let alone = confirmed(&new.ruleset, &old.ruleset);
    let steps = [
        ("unconfirmed", candidate, &new, &both),
        ("unconfirmed, and the window over", previous, &old, &both),
        ("confirmed", candidate, &new, &alone),
    ];
    for (step, worlds, compiled, ruleset) in steps {
        if std::ptr::eq(worlds, previous) {
            lab.end_window()?;
        }
        let compiled = Compiled::new(ruleset.clone(), compiled.counters.clone());
        let mut in_force = match InForce::new(lab, worlds, &compiled)? {
            Ok(in_force) => in_force,
            Err(what) => return Ok(Err((step, None, what))),
        };
        for journey in journeys {
            if let Err(what) = in_force.send(journey)? {
                return Ok(Err((step, Some(journey), what)));
            }
        }
    }
    Ok(Ok(()))
}
