//! A reload brings everything into force or nothing, and says why. Needs root.

use palisade_integration::{DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, examples};

/// An unknown field in line 6, column 3.
const BROKEN: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: broken
spec:
  selektor: all()
";

fn locked_down(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted());
    Daemon::start(hosts.host("backend"), &setup)
}

#[test]
fn a_broken_file_keeps_the_generation_and_status_says_where() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    let generation = backend.status()?["generation"].clone();
    let held = backend.held()?;

    backend.write("30-broken.yaml", BROKEN)?;
    // A good change beside the broken file must not come into force either.
    backend.remove("20-lockdown.yaml")?;
    let last = backend.reload()?;
    assert_eq!(last["ok"], false, "{last:#}");
    let error = last["error"].as_str().unwrap_or_default();
    let place = format!("{}:6:3", backend.policy_file("30-broken.yaml").display());
    assert!(
        error.contains(&place) && error.contains("selektor"),
        "{place} is not in:\n{error}"
    );
    assert!(
        backend.log().contains(&place),
        "{place} is not in the log:\n{}",
        backend.log()
    );
    assert_eq!(backend.status()?["generation"], generation);
    assert_eq!(
        backend.held()?,
        held,
        "the kernel holds what it held, counters included"
    );
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );

    backend.remove("30-broken.yaml")?;
    backend.reload_well()?;
    assert_eq!(backend.status()?["last_reload"]["error"], serde_json::Value::Null);
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());
    Ok(())
}

/// inotify tells of what is done in the directory by name. A file that has got another name elsewhere since can be written by
/// that without its telling.
#[test]
fn what_the_kernel_does_not_tell_of_is_in_force_too() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    let lockdown = backend.policy_file("20-lockdown.yaml");
    let elsewhere = tempfile::tempdir_in(lockdown.parent().expect("it is in the policy directory"))?;
    let other_name = elsewhere.path().join("lockdown");
    std::fs::hard_link(&lockdown, &other_name)?;
    let text = std::fs::read_to_string(&lockdown)?;
    let staged = text.replace("kind: GlobalNetworkPolicy", "kind: StagedGlobalNetworkPolicy");
    assert_ne!(staged, text);
    std::fs::write(&other_name, staged)?;
    backend.reload_well()?;
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());
    let log = backend.log();
    assert!(
        log.contains("the kernel has not told of a change to") && log.contains("20-lockdown.yaml"),
        "{log}"
    );
    Ok(())
}

#[test]
fn the_reload_command_waits_and_tells_by_its_exit_code() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    backend.remove("20-lockdown.yaml")?;
    let reloaded = backend.cli(&["reload"])?;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert!(
        denied(&hosts.between("frontend", "backend")?).is_empty(),
        "in force when the command ends"
    );

    backend.write("30-broken.yaml", BROKEN)?;
    let refused = backend.cli(&["reload"])?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let place = format!("{}:6:3", backend.policy_file("30-broken.yaml").display());
    assert!(refused.stderr.contains(&place), "{refused:?}");
    Ok(())
}

#[test]
fn counters_survive_edits_elsewhere() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    hosts.between("frontend", "backend")?;
    let (_, before) = backend.held()?;
    assert!(before.values().any(|(packets, _)| *packets > 0), "{before:?}");
    backend.apply("10-database.yaml", examples::DATABASE)?;
    backend.apply("15-other.yaml", examples::ALLOW_7000)?;
    let after = backend.nft_counters()?;
    for (name, value) in &before {
        assert_eq!(after.get(name), Some(value), "{name}");
    }
    Ok(())
}

#[test]
fn a_reload_that_changes_nothing_touches_nothing() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let (held, generation) = (backend.held()?, backend.status()?);
    backend.reload_well()?;
    assert_eq!(backend.held()?, held, "handles included");
    assert_eq!(backend.status()?["generation"], generation["generation"]);
    Ok(())
}
