//! A canary: a share of new connections, for a while.

use anyhow::ensure;
use palisade::lab::{Probe, probe_all};
use palisade_integration::{ThreeHosts, UDP_PORT, examples};

use super::{
    FILE, LONG, NAME, after_the_window, assert_locked_down, assert_open, assert_tidy, promote, staged, text,
    well,
};

/// Connections that are tried, each from a port of its own.
const TRIED: usize = 400;

/// How many of them were not answered.
fn refused(hosts: &ThreeHosts) -> anyhow::Result<usize> {
    let target = (hosts.host("backend").ipv4(), UDP_PORT).into();
    let from = hosts.host("frontend").namespace();
    let probes: Vec<Probe> = (0..TRIED).map(|_| Probe::udp(from, target)).collect();
    let outcomes = probe_all(&probes)?;
    Ok(outcomes.iter().filter(|outcome| !outcome.is_answered()).count())
}

#[test]
fn a_canary_governs_its_share_and_ends_by_itself() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let before = backend.status()?["generation"].clone();
    let canary = |share: &str, window: &str| {
        backend.json(&[
            "promote",
            NAME,
            "--canary",
            share,
            "--confirm-within",
            window,
            "--force",
        ])
    };
    let report = canary("50", LONG)?;
    assert_eq!(
        report["unconfirmed"]["canary"],
        50,
        "{report:#}\n{}",
        backend.log()
    );
    let share = refused(&hosts)?;
    ensure!((TRIED / 4..TRIED * 3 / 4).contains(&share), "{share} of {TRIED}");
    assert_eq!(
        text(&backend, FILE)?,
        examples::LOCKDOWN_STAGED,
        "no file is changed"
    );
    let status = backend.status()?;
    assert_eq!(
        status["generation"], before,
        "what governs the most is in force: {status:#}"
    );
    assert_eq!(status["staged_policies"], 1);

    let confirm = backend.cli(&["confirm"])?;
    assert_eq!(confirm.code, Some(2), "{confirm:?}");
    assert!(confirm.stderr.contains("palisade promote"), "{confirm:?}");

    let more = canary("90", "3s")?;
    assert_eq!(more["ok"], true, "another share follows: {more:#}");
    let share = refused(&hosts)?;
    ensure!(share > TRIED * 3 / 4, "{share} of {TRIED}");
    after_the_window(&backend)?;
    assert_open(&hosts)?;
    assert_tidy(&backend)?;
    let history = backend.json(&["history"])?;
    assert_eq!(history[0]["state"], "ended", "{history:#}");
    Ok(())
}

#[test]
fn a_canary_is_followed_by_its_promotion() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    well(&backend, &["promote", NAME, "--canary", "10%", "--force"])?;
    let report = promote(&backend, LONG)?;
    assert_eq!(report["unconfirmed"]["previous"], 1, "{report:#}");
    assert_locked_down(&hosts)?;
    well(&backend, &["confirm"])?;
    assert_locked_down(&hosts)?;
    assert_tidy(&backend)
}
