//! What becomes of the operator's files.

use palisade_integration::{Daemon, Setup, ThreeHosts, examples};

use super::{
    FILE, LONG, NAME, SHORT, after_the_window, assert_locked_down, assert_open, assert_tidy, promote, staged,
    text, well,
};

#[test]
fn what_is_edited_in_the_window_is_kept_beside() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    promote(&backend, SHORT)?;
    let edited = text(&backend, FILE)? + "# what I was about to write\n";
    backend.write(FILE, &edited)?;
    let status = after_the_window(&backend)?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    let aside = format!("{FILE}.edited-in-2");
    assert_eq!(text(&backend, &aside)?, edited);
    let told = status["rolled_back"]["notes"].to_string();
    assert!(
        told.contains(&aside) && backend.log().contains(&aside),
        "{status:#}"
    );
    assert_tidy(&backend)?;
    // It is not read as a resource.
    backend.reload_well()?;
    assert_open(&hosts)
}

#[test]
fn what_is_not_in_force_yet_is_not_promoted_along() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    let refused = backend.cli(&["promote", NAME, "--force"])?;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("15-other.yaml"), "{refused:?}");
    backend.reload_well()?;
    promote(&backend, LONG)?;
    well(&backend, &["rollback"])?;
    Ok(())
}

/// Everything that is promoted stands in a file with others: documents, a list, JSON; one is replaced, one deleted.
#[test]
fn promotion_in_files_that_hold_more() -> anyhow::Result<()> {
    let documents = "# Ours.\n\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: gone}\n\
                     spec: {selector: app == 'backend', types: [Ingress], ingress: [{action: Allow}]}\n---\n\
                     apiVersion: projectcalico.org/v3\nkind: \"StagedGlobalNetworkPolicy\"   # to go\nmetadata: {name: gone}\n\
                     spec: {stagedAction: Delete}\n---\n# The lockdown.\napiVersion: projectcalico.org/v3\nkind: \
                     StagedGlobalNetworkPolicy\nmetadata:\n  name: lockdown\nspec:\n  stagedAction: Set # for now\n  selector: app == 'backend'\n  \
                     types: [Ingress]\n";
    let list = "apiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicyList\nitems:\n- metadata: {name: first}\n  spec: {order: 1, \
                selector: app == 'nobody'}\n";
    let json = "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"StagedGlobalNetworkPolicy\",\n \"metadata\": {\"name\": \"other\"}, \
                \"spec\": {\"stagedAction\": \"Set\", \"selector\": \"app == 'nobody'\"}}\n";
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-documents.yaml", documents)
        .resource("20-list.yml", list)
        .resource("30-object.json", json);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    assert_open(&hosts)?;
    let promoted = well(
        &backend,
        &["promote", "--all", "--confirm-within", LONG, "--force"],
    )?;
    assert!(
        promoted.stdout.contains("StagedGlobalNetworkPolicy lockdown"),
        "{promoted:?}"
    );
    assert_locked_down(&hosts)?;
    let (_, rest) = documents.split_once("# The lockdown.").unwrap_or_default();
    let rest = rest
        .replace("Staged", "")
        .replace("  stagedAction: Set # for now\n", "");
    assert_eq!(
        text(&backend, "10-documents.yaml")?,
        format!("# Ours.\n\n---\n# The lockdown.{rest}")
    );
    assert_eq!(
        text(&backend, "20-list.yml")?,
        list.replace("- metadata", "- kind: GlobalNetworkPolicy\n  metadata")
    );
    assert_eq!(
        text(&backend, "30-object.json")?,
        json.replace("Staged", "")
            .replace("\"stagedAction\": \"Set\", ", "")
    );
    assert_eq!(backend.status()?["staged_policies"], 0);
    well(&backend, &["rollback"])?;
    for (file, before) in [
        ("10-documents.yaml", documents),
        ("20-list.yml", list),
        ("30-object.json", json),
    ] {
        assert_eq!(text(&backend, file)?, before);
    }
    assert_open(&hosts)
}

#[test]
fn the_mode_stays_and_an_owner_that_cannot_be_kept_is_told() -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let path = backend.policy_file(FILE);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))?;
    chown(&path, Some(0), Some(4))?;
    promote(&backend, LONG)?;
    let promoted = std::fs::metadata(&path)?;
    assert_eq!((promoted.mode() & 0o777, promoted.uid()), (0o640, 0));
    let told = format!("{} is root's now", path.display());
    assert_eq!(
        promoted.gid() == 4,
        !backend.log().contains(&told),
        "{}",
        backend.log()
    );
    well(&backend, &["rollback"])?;
    let back = std::fs::metadata(&path)?;
    assert_eq!((back.mode() & 0o777, back.gid()), (0o640, 4));
    Ok(())
}
