//! TCP connections accepted a second, and what established connections get through.

use std::time::Duration;

use crate::estate::{Estate, Place, Protocol, Shape};
use crate::ground::Ground;
use crate::layouts::{CONNTRACK_ONLY, calico, linear};
use crate::load::{accepts, throughput};
use crate::report::{CALICO, CONNTRACK, LINEAR, NO_RULESET, PALISADE, Report};
use crate::rounds::interleaved;
use crate::{Run, peers};

/// Plotted.
pub(crate) const ACCEPTS: &str = "TCP accepts, matching last";
/// A target is about it.
pub(crate) const THROUGHPUT: &str = "established TCP";
/// So many policies stand before what is established: enough to see if it mattered.
pub(crate) const POLICIES: usize = 1000;

/// Measures all sizes.
pub(crate) fn measure(run: &Run, report: &mut Report) {
    for &policies in run.sizes {
        let what = format!("{ACCEPTS}, {policies} policies");
        report.part(run, &what, |report| size(run, report, policies));
    }
}

fn size(run: &Run, report: &mut Report, policies: usize) -> anyhow::Result<()> {
    let estate = Estate {
        policies,
        shape: Shape::Spread,
        protocol: Protocol::Tcp,
        staged: false,
    };
    let mut grounds = vec![
        (PALISADE, Ground::of_palisade(&estate)?),
        (NO_RULESET, Ground::empty()?),
        (CONNTRACK, Ground::of_text(CONNTRACK_ONLY)?),
        (CALICO, Ground::of_text(&calico(&estate, false))?),
        (LINEAR, Ground::of_text(&linear(&estate))?),
    ];
    peers::add(run, report, &estate, &mut grounds);
    let port = estate.port_of(Place::Last);
    let mut add = |work, unit, measure: fn(&Ground, u16, Duration) -> anyhow::Result<f64>| {
        let samples = interleaved(grounds.len(), run.rounds, |ground| {
            measure(&grounds[ground].1, port, run.time * 2)
        })?;
        for ((subject, _), samples) in grounds.iter().zip(samples) {
            report.add(work, policies, subject, unit, samples);
        }
        anyhow::Ok(())
    };
    add(ACCEPTS, "/s", accepts)?;
    if policies == POLICIES {
        run.say(THROUGHPUT);
        add(THROUGHPUT, "Gbit/s", throughput)?;
    }
    Ok(())
}
