//! A window that somebody ends, or nobody.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use anyhow::ensure;
use palisade_integration::{ThreeHosts, eventually, examples};

use super::{
    FILE, LONG, NAME, PATIENCE, SHORT, after_the_window, assert_locked_down, assert_open, assert_tidy,
    promote, staged, staged_with, text, well,
};

#[test]
fn what_is_confirmed_stays() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    let before = backend.status()?["generation"].clone();
    let report = promote(&backend, LONG)?;
    assert_eq!(report["unconfirmed"]["previous"], before, "{report:#}");
    assert_locked_down(&hosts)?;
    let enforced = examples::LOCKDOWN_STAGED.replace("kind: Staged", "kind: ");
    assert_eq!(
        text(&backend, FILE)?,
        enforced,
        "a word of the file changes, and nothing else"
    );
    assert!(
        backend.listing()?.contains("unconfirmed"),
        "{}",
        backend.listing()?
    );
    let status = backend.status()?;
    assert_eq!(
        status["unconfirmed"]["generation"], report["generation"],
        "{status:#}"
    );

    let confirmed = well(&backend, &["confirm"])?;
    assert!(confirmed.stdout.contains("is confirmed"), "{confirmed:?}");
    assert_locked_down(&hosts)?;
    assert!(
        !backend.listing()?.contains("unconfirmed"),
        "{}",
        backend.listing()?
    );
    assert_tidy(&backend)?;
    let status = backend.status()?;
    assert_eq!(status["unconfirmed"], serde_json::Value::Null);
    assert_eq!(status["generation"], report["generation"]);
    assert_eq!(status["rolled_back"], serde_json::Value::Null);

    backend.kill9()?;
    backend.start_again()?;
    assert_locked_down(&hosts)?;
    assert_eq!(text(&backend, FILE)?, enforced);
    assert_eq!(
        backend.status()?["generation"],
        report["generation"],
        "the same generation goes on"
    );
    Ok(())
}

#[test]
fn what_nobody_confirms_is_rolled_back_with_its_files() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let before = backend.status()?["generation"].clone();
    let waited = backend.cli(&["promote", NAME, "--confirm-within", SHORT, "--force", "--wait"])?;
    assert_eq!(waited.code, Some(6), "{waited:?}\n{}", backend.log());
    assert!(waited.stderr.contains("was rolled back"), "{waited:?}");
    assert!(waited.stderr.contains("palisade confirm"), "{waited:?}");
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)?;
    let status = backend.status()?;
    assert_eq!(status["generation"], before);
    assert_eq!(status["rolled_back"]["previous"], before, "{status:#}");
    assert!(
        backend.log().contains("nobody confirmed it within 2s"),
        "{}",
        backend.log()
    );
    assert_eq!(status["staged_policies"], 1, "it is staged again");

    let late = backend.cli(&["confirm"])?;
    assert_eq!(late.code, Some(6), "{late:?}");
    assert!(late.stderr.contains("too late"), "{late:?}");
    backend.reload_well()?;
    assert_open(&hosts)
}

#[test]
fn what_is_open_can_be_cut_once_it_is_confirmed() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let address = SocketAddr::from((hosts.host("backend").ipv4(), 8080));
    let frontend = hosts.host("frontend").namespace();
    let mut open = frontend.run(|| TcpStream::connect(address))??;
    let promoted = backend.json(&["promote", NAME, "--confirm-within", LONG, "--cut", "--force"])?;
    assert_eq!(promoted["ok"], true, "{promoted:#}");
    let is_open = || -> anyhow::Result<bool> {
        let sweep = backend.json(&["connections"])?;
        Ok(sweep["affected"].to_string().contains("\"port\":8080"))
    };
    assert!(is_open()?, "nothing is cut before it is confirmed");
    let confirmed = backend.json(&["confirm"])?;
    ensure!(
        confirmed["cut"].as_u64() >= Some(1),
        "{confirmed:#}\n{}",
        backend.log()
    );
    assert!(!is_open()?);
    // What it says next is the first packet of a connection, and denied.
    let denied = || -> anyhow::Result<u64> {
        let rows = backend.counters()?;
        Ok(rows.rows().iter().map(|row| row.packets_total).sum())
    };
    let before = denied()?;
    open.write_all(b"are you there?")?;
    eventually(PATIENCE, || {
        ensure!(denied()? > before);
        Ok(())
    })
}

#[test]
fn somebody_may_go_back_at_once() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let (held, _) = backend.held()?;
    promote(&backend, LONG)?;
    well(&backend, &["rollback"])?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)?;
    // Handles of what was shared are the same.
    let count = |listing: &str| listing.lines().count();
    assert_eq!(count(&backend.held()?.0), count(&held));
    let nothing = backend.cli(&["rollback"])?;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(nothing.stderr.contains("palisade history"), "{nothing:?}");
    Ok(())
}

#[test]
fn one_change_at_a_time() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    promote(&backend, LONG)?;
    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    let refused = [
        backend.cli(&["promote", "--all", "--force"])?,
        backend.cli(&["reload"])?,
        backend.cli(&["rollback", "1"])?,
    ];
    for refused in refused {
        assert_eq!(refused.code, Some(5), "{refused:?}");
        assert!(refused.stderr.contains("not confirmed yet"), "{refused:?}");
    }
    assert_eq!(backend.reload()?["ok"], false, "SIGHUP is refused too");
    assert!(!backend.listing()?.contains("7000"));
    well(&backend, &["confirm"])?;
    backend.reload_well()?;
    assert!(backend.listing()?.contains("7000"));
    assert_locked_down(&hosts)
}

#[test]
fn a_reload_can_be_guarded_as_well() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let before = std::fs::read(backend.configuration())?;
    backend.write(FILE, &examples::LOCKDOWN_STAGED.replace("Staged", ""))?;
    backend.write("30-more.yaml", examples::ALLOW_7000)?;
    let mut after = before.clone();
    after.extend(b"denyAction: reject\n");
    std::fs::write(backend.configuration(), &after)?;
    well(&backend, &["reload", "--confirm-within", SHORT, "--force"])?;
    assert!(backend.status()?["unconfirmed"].is_object());
    after_the_window(&backend)?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert!(!backend.policy_file("30-more.yaml").exists());
    assert_eq!(std::fs::read(backend.configuration())?, before);
    assert_tidy(&backend)?;
    // Nothing is lost.
    let kept = std::fs::read(backend.state("generations/2.json"))?;
    let kept: serde_json::Value = serde_json::from_slice(&kept)?;
    let files = kept["files"].as_array().into_iter().flatten();
    let is_it = |file: &&serde_json::Value| {
        file["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("/30-more.yaml"))
    };
    let sum = files.clone().find(is_it).and_then(|file| file["sha256"].as_str());
    let kept = backend.state(&format!("generations/files/{}", sum.unwrap_or("30-more.yaml")));
    assert_eq!(std::fs::read_to_string(kept)?, examples::ALLOW_7000);
    Ok(())
}

#[test]
fn a_probe_that_fails_rolls_back_at_once() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let directory = tempfile::tempdir()?;
    let flag = directory.path().join("fine");
    let config = format!(
        "safetyNet: false\nrollout: {{probes: [{{name: web, command: [/usr/bin/test, -e, {}]}}]}}\n",
        flag.display()
    );
    let backend = staged_with(&hosts, &config)?;
    let promoted = backend.cli(&["promote", NAME, "--confirm-within", LONG, "--force"])?;
    assert_eq!(promoted.code, Some(6), "{promoted:?}");
    assert!(promoted.stderr.contains("probe web"), "{promoted:?}");
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);

    // A reload without a window is probed as well, and confirms itself.
    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    let reloaded = backend.cli(&["reload", "--force"])?;
    assert_eq!(reloaded.code, Some(6), "{reloaded:?}");
    assert!(!backend.policy_file("15-other.yaml").exists());
    std::fs::write(&flag, "")?;
    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    well(&backend, &["reload", "--force"])?;
    assert!(backend.status()?["unconfirmed"].is_null());
    ensure!(backend.listing()?.contains("7000"), "{}", backend.listing()?);
    assert_tidy(&backend)
}
