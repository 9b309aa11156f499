//! A generation that nobody confirms ends by itself: the kernel alone sees to it. Needs root.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade_integration::{ThreeHosts, denied, eventually, examples};
use palisade_nft::Nft;
use palisade_rules::compile::{FlowLog, Options, compile};
use palisade_rules::decode::decode;
use palisade_rules::ruleset::Ruleset;
use palisade_rules::ruleset::unconfirmed::{SET, Terms, beside};
use palisade_rules::source::Files;
use palisade_rules::world::{Host, resolve};

/// The longest that a machine may take to ask everything once.
const LONGEST: Duration = Duration::from_mins(2);

/// What the backend has with this policy beside the hosts of the examples.
fn generation(policy: &str, generation: u64) -> anyhow::Result<Ruleset> {
    let mut files = Files::default();
    let ids = [
        files.add("hosts.yaml", examples::HOSTS),
        files.add("20-lockdown.yaml", policy),
    ];
    let (snapshot, diagnostics) = decode(&files, &ids);
    let snapshot = snapshot.with_context(|| diagnostics.render(&files, false))?;
    let host = Host {
        node: Some("backend".to_owned()),
        ..Host::default()
    };
    let flow_log = FlowLog { group: 7, generation };
    let options = Options {
        flow_log: Some(flow_log),
        ..Options::default()
    };
    Ok(compile(&resolve(&snapshot, host), &options).ruleset)
}

#[test]
fn with_nobody_left_the_kernel_goes_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = hosts.host("backend").namespace();
    let previous = generation(examples::LOCKDOWN_STAGED, 11)?;
    let candidate = generation(&examples::lockdown_promoted(), 12)?;
    // Whoever brings it into force is gone when it is asked.
    let put = |ruleset: &Ruleset| {
        backend.run(|| {
            Nft::open()?
                .replace(ruleset, &mut ())
                .map_err(anyhow::Error::from)
        })
    };
    let is_open = || -> anyhow::Result<bool> {
        let table = backend.run(|| Nft::open()?.dump().map_err(anyhow::Error::from))??;
        let set = table.and_then(|mut table| table.sets.remove(SET));
        Ok(set
            .and_then(|set| set.elements)
            .is_some_and(|elements| !elements.is_empty()))
    };
    put(&candidate)??;
    let promoted = hosts.between("frontend", "backend")?;
    assert!(!denied(&promoted).is_empty());
    put(&previous)??;
    let staged = hosts.between("frontend", "backend")?;
    assert_eq!(denied(&staged), BTreeSet::new());

    let mut window = Duration::from_secs(5);
    for number in 13.. {
        let terms = Terms { window, share: None };
        put(&beside(&candidate, &previous, &terms, (number, 11)))??;
        let unconfirmed = hosts.between("frontend", "backend")?;
        // A machine too busy to ask everything in time gets more of it.
        if is_open()? {
            assert_eq!(denied(&unconfirmed), denied(&promoted));
            break;
        }
        window *= 2;
        ensure!(window < LONGEST, "nothing can be asked within {window:?}");
    }
    eventually(LONGEST, || {
        let now = hosts.between("frontend", "backend")?;
        ensure!(denied(&now).is_empty(), "{:?} is denied", denied(&now));
        Ok(())
    })?;
    assert!(!is_open()?);
    Ok(())
}
