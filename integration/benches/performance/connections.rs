//! What the first packet of a connection costs over conntrack alone, and how fast packets of an established flow go.

use anyhow::ensure;
use palisade_integration::Daemon;

use crate::established::POLICIES;
use crate::estate::{Estate, Place, Protocol, Shape};
use crate::ground::Ground;
use crate::layouts::{CONNTRACK_ONLY, calico, linear};
use crate::load::{datagrams, flood};
use crate::report::{CALICO, CONNTRACK, LINEAR, NO_RULESET, PALISADE, Report};
use crate::rounds::interleaved;
use crate::{Run, peers};

/// With a staged policy on the endpoint.
pub(crate) const STAGED: &str = "palisade, with a staged policy";
/// The same rules without those that copy packets.
const WITHOUT_LOG: &str = "palisade, without flow log";
const CALICO_LOGS: &str = "Calico's layout, with flow logs";

const TOTAL: &str = "new connection, sending it and conntrack";
const DATAGRAMS: &str = "established UDP";

/// What rows are called, over conntrack alone.
pub(crate) fn work(shape: Shape, place: Place) -> String {
    let shape = match shape {
        Shape::Spread => "",
        Shape::OnePort => ", one port",
    };
    format!("new connection{shape}, {}", place.words())
}

/// Measures all sizes.
pub(crate) fn measure(run: &Run, report: &mut Report) {
    for shape in [Shape::Spread, Shape::OnePort] {
        for &policies in run.sizes {
            // Without policies there are no shapes.
            if shape == Shape::Spread || policies > 0 {
                let what = format!("{}, {policies} policies", work(shape, Place::Last));
                report.part(run, &what, |report| size(run, report, shape, policies));
            }
        }
    }
}

fn size(run: &Run, report: &mut Report, shape: Shape, policies: usize) -> anyhow::Result<()> {
    let estate = Estate {
        policies,
        shape,
        protocol: Protocol::Udp,
        staged: false,
    };
    let mut grounds = vec![
        (CONNTRACK, Ground::of_text(CONNTRACK_ONLY)?),
        (PALISADE, Ground::of_palisade(&estate)?),
        (NO_RULESET, Ground::empty()?),
        (CALICO, Ground::of_text(&calico(&estate, false))?),
        (LINEAR, Ground::of_text(&linear(&estate))?),
    ];
    if shape == Shape::Spread {
        let staged = Estate {
            staged: true,
            ..estate
        };
        grounds.push((STAGED, Ground::of_palisade(&staged)?));
        grounds.push((WITHOUT_LOG, without_log(&grounds[1].1)?));
        grounds.push((CALICO_LOGS, Ground::of_text(&calico(&estate, true))?));
        peers::add(run, report, &estate, &mut grounds);
    }
    let places: &[Place] = if policies == 0 {
        &[Place::Last]
    } else {
        &Place::ALL
    };
    for &place in places {
        let port = estate.port_of(place);
        let samples = interleaved(grounds.len(), run.rounds, |ground| {
            let (subject, ground) = &grounds[ground];
            let found = flood(ground, place, port, run.time)?;
            let denies = place == Place::Nothing && ![CONNTRACK, NO_RULESET].contains(subject);
            let expected = if denies { 0 } else { found.sent };
            ensure!(
                found.accepted == expected,
                "{subject}, {policies} policies, {}: of {} first packets, {} were accepted instead of {expected}",
                place.words(),
                found.sent,
                found.accepted,
            );
            Ok(found.cost / 1000.0)
        })?;
        for ((subject, _), own) in grounds.iter().zip(&samples).skip(1) {
            report.add(
                &work(shape, place),
                policies,
                subject,
                "us",
                own.over(&samples[0]),
            );
        }
        if place == Place::Last && shape == Shape::Spread {
            report.add(TOTAL, policies, CONNTRACK, "us", samples[0].clone());
        }
    }
    if policies == POLICIES && shape == Shape::Spread {
        run.say("established UDP");
        let port = estate.port_of(Place::Last);
        let samples = interleaved(grounds.len(), run.rounds, |ground| {
            Ok(datagrams(&grounds[ground].1, port, run.time)? / 1000.0)
        })?;
        for ((subject, _), samples) in grounds.iter().zip(samples) {
            report.add(DATAGRAMS, policies, subject, "1000/s", samples);
        }
    }
    Ok(())
}

/// The same table, loaded with nft, without the rules that copy packets.
fn without_log(ground: &Ground) -> anyhow::Result<Ground> {
    let listing = ground
        .daemon()
        .map(Daemon::listing)
        .transpose()?
        .unwrap_or_default();
    let kept = listing.lines().filter(|line| !line.contains(" log prefix "));
    Ground::of_text(&kept.fold(String::new(), |text, line| text + line + "\n"))
}
