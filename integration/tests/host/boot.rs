//! What is in force before the daemon is, and what keeps everything out of force. Needs root.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade::lab::Host;
use palisade_integration::{
    DENIED_PORTS, Daemon, Setup, ThreeHosts, Unit, denied, eventually, examples, nft,
};

const PATIENCE: Duration = Duration::from_secs(20);

const LIST: [&str; 5] = ["-s", "list", "table", "inet", "palisade"];

fn setup() -> Setup {
    Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted())
}

/// The chains of our table; counters are listed in the order in which they were made.
fn chains(host: &Host) -> anyhow::Result<String> {
    let listing = nft(host.namespace(), &LIST, "")?;
    let (_, chains) = listing.split_once("\tchain ").context(listing.clone())?;
    Ok(chains.to_owned())
}

/// A daemon whose generation has been kept for the next boot.
fn kept(hosts: &ThreeHosts, setup: &Setup) -> anyhow::Result<Daemon> {
    let daemon = Daemon::start(hosts.host("backend"), setup)?;
    eventually(PATIENCE, || {
        ensure!(daemon.state("boot/ruleset").exists(), "{}", daemon.log());
        Ok(())
    })?;
    Ok(daemon)
}

fn denies_all(hosts: &ThreeHosts) -> anyhow::Result<bool> {
    Ok(denied(&hosts.between("frontend", "backend")?).len() == 2 * DENIED_PORTS.len())
}

#[test]
fn the_last_generation_is_in_force_before_any_policy_is_read() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = kept(&hosts, &setup())?;
    assert!(denies_all(&hosts)?);
    backend.apply("15-other.yaml", examples::ALLOW_7000)?;
    let generation = backend.status()?["generation"].clone();
    let good = chains(hosts.host("backend"))?;
    let totals = backend.nft_counters()?;
    backend.terminate()?;
    // What is wrong with the policies does not matter.
    backend.write("30-broken.yaml", "kind: Nonsense\n")?;

    let rebooted = ThreeHosts::new()?;
    let host = rebooted.host("backend");
    let booted = backend.boot(host)?;
    assert_eq!(booted.code, Some(0), "{booted:?}");
    assert!(
        booted
            .stderr
            .contains(&format!("generation {generation} is in force")),
        "{booted:?}"
    );
    assert_eq!(chains(host)?, good);
    assert!(denies_all(&rebooted)?);
    assert!(backend.start_again_in(host).is_err(), "a policy is broken");
    assert_eq!(chains(host)?, good);

    backend.remove("30-broken.yaml")?;
    backend.start_again_in(host)?;
    assert_eq!(backend.status()?["generation"], generation);
    for (name, (packets, _)) in totals {
        let now = backend.nft_counters()?[&name].0;
        assert!(now >= packets, "{name} has fallen from {packets} to {now}");
    }
    Ok(())
}

#[test]
fn a_boot_leaves_a_table_alone() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = kept(&hosts, &setup())?;
    let held = backend.held()?;
    let booted = backend.boot(hosts.host("backend"))?;
    assert_eq!(booted.code, Some(0), "{booted:?}");
    assert!(booted.stderr.contains("left alone"), "{booted:?}");
    assert_eq!(backend.held()?, held);
    assert_eq!(backend.status()?["foreign_changes"]["total"], 0);
    Ok(())
}

#[test]
fn an_unconfirmed_generation_is_never_what_boots() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = kept(&hosts, &setup())?;
    let good = chains(hosts.host("backend"))?;
    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    let reloaded = backend.cli(&["reload", "--confirm-within", "10m", "--no-wait"])?;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert!(chains(hosts.host("backend"))?.contains("@unconfirmed"));
    backend.kill9()?;

    let rebooted = ThreeHosts::new()?;
    let host = rebooted.host("backend");
    let booted = backend.boot(host)?;
    assert!(booted.stderr.contains("generation 1 is in force"), "{booted:?}");
    assert_eq!(chains(host)?, good);
    backend.start_again_in(host)?;
    assert_eq!(chains(host)?, good);

    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    let reloaded = backend.cli(&["reload", "--confirm-within", "10m", "--no-wait"])?;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let confirmed = backend.cli(&["confirm"])?;
    assert_eq!(confirmed.code, Some(0), "{confirmed:?}");
    let confirmed = chains(host)?;
    backend.terminate()?;
    let again = ThreeHosts::new()?;
    backend.boot(again.host("backend"))?;
    assert_eq!(chains(again.host("backend"))?, confirmed);
    Ok(())
}

#[test]
fn what_is_damaged_or_missing_leaves_the_safety_net() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = kept(&hosts, &setup())?;
    backend.terminate()?;
    let file = backend.state("boot/ruleset");
    let good = fs::read(&file)?;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, says) in [
        (Some(&good[..good.len() - 5]), "is damaged"),
        (Some(&flipped[..]), "is damaged"),
        (Some(b""), "is damaged"),
        (None, "no generation has been kept"),
    ] {
        match bytes {
            Some(bytes) => fs::write(&file, bytes)?,
            None => fs::remove_file(&file)?,
        }
        let rebooted = ThreeHosts::new()?;
        let booted = backend.boot(rebooted.host("backend"))?;
        assert_eq!(booted.code, Some(0), "{booted:?}");
        assert!(
            booted.stderr.contains(says) && booted.stderr.contains("only the safety net"),
            "{booted:?}"
        );
        let listing = nft(rebooted.host("backend").namespace(), &LIST, "")?;
        assert!(listing.contains("the safety net"), "{listing}");
        assert!(denied(&rebooted.between("frontend", "backend")?).is_empty());
    }
    Ok(())
}

#[test]
fn rules_for_cgroups_wait_for_the_daemon() -> anyhow::Result<()> {
    let unit = Unit::new()?;
    unit.start()?;
    let service = format!(
        "apiVersion: palisade.dev/v1
kind: ServiceEndpoint
metadata: {{name: web, labels: {{service: web}}}}
spec: {{node: backend, unit: {}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: service == 'web'
  types: [Egress]
  egress: [{{action: Allow, protocol: TCP}}]
",
        unit.name()
    );
    let hosts = ThreeHosts::new()?;
    let backend = kept(&hosts, &setup().resource("web.yaml", service))?;
    assert!(backend.listing()?.contains("cgroupv2"), "{}", backend.listing()?);
    backend.terminate()?;
    let rebooted = ThreeHosts::new()?;
    let booted = backend.boot(rebooted.host("backend"))?;
    assert!(booted.stderr.contains("generation 1 is in force"), "{booted:?}");
    let listing = nft(rebooted.host("backend").namespace(), &LIST, "")?;
    assert!(!listing.contains("cgroupv2"), "{listing}");
    assert!(denies_all(&rebooted)?);
    Ok(())
}

#[test]
fn a_panic_outlives_the_boot() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = kept(&hosts, &setup())?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    backend.terminate()?;
    let rebooted = ThreeHosts::new()?;
    let booted = backend.boot(rebooted.host("backend"))?;
    assert_eq!(booted.code, Some(0), "{booted:?}");
    assert!(booted.stderr.contains("palisade resume"), "{booted:?}");
    assert_eq!(
        nft(rebooted.host("backend").namespace(), &["list", "tables"], "")?,
        ""
    );
    Ok(())
}

#[test]
fn a_word_to_the_kernel_keeps_everything_out_until_somebody_resumes() -> anyhow::Result<()> {
    let line = tempfile::NamedTempFile::new()?;
    fs::write(line.path(), "BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet\n")?;
    let hosts = ThreeHosts::new()?;
    let setup = setup().environment("PALISADE_CMDLINE", line.path().display().to_string());
    let mut backend = kept(&hosts, &setup)?;
    backend.terminate()?;

    fs::write(
        line.path(),
        "BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet palisade=off\n",
    )?;
    // With the boot's unit and without it.
    for boots in [true, false] {
        let rebooted = ThreeHosts::new()?;
        if boots {
            let booted = backend.boot(rebooted.host("backend"))?;
            assert!(booted.stderr.contains("palisade=off"), "{booted:?}");
        }
        backend.start_again_in(rebooted.host("backend"))?;
        let status = backend.status()?;
        assert_eq!(status["panic"], true, "{status:#}");
        assert!(
            status["panic_reason"].to_string().contains("palisade=off"),
            "{status:#}"
        );
        let shown = backend.cli(&["status"])?.stdout;
        assert!(
            shown.contains("palisade=off") && shown.contains("palisade resume"),
            "{shown}"
        );
        assert!(denied(&rebooted.between("frontend", "backend")?).is_empty());

        let configuration = backend.configuration().display().to_string();
        let resumed = backend.cli(&["resume", "--config", &configuration])?;
        assert_eq!(resumed.code, Some(0), "{resumed:?}");
        assert!(denies_all(&rebooted)?);
        backend.terminate()?;
        backend.start_again()?;
        assert_eq!(backend.status()?["panic"], false, "resumed is resumed");
        assert!(denies_all(&rebooted)?);
        backend.terminate()?;
        // The next boot has another number.
        fs::write(backend.state("resumed"), "another\n")?;
    }
    Ok(())
}
