//! A staged policy changes nothing and counts exactly; promotion denies exactly what it said. Needs root.

use std::collections::BTreeSet;

use palisade_integration::{DENIED_PORTS, Daemon, Matrix, Setup, ThreeHosts, denied, differences, examples};

/// First packets towards the backend in one matrix that no failsafe accepts: two hosts, two IP versions.
const ROUND: u64 = 2 * 2 * DENIED_PORTS.len() as u64;

/// What a default deny of ingress to the backend denies.
fn towards_the_backend() -> BTreeSet<String> {
    let mut questions = BTreeSet::new();
    for from in ["database", "frontend"] {
        for what in DENIED_PORTS {
            questions.extend([4, 6].map(|version| ThreeHosts::question(from, "backend", what, version)));
        }
    }
    questions
}

fn assert_all_answered(matrix: &Matrix) {
    assert!(denied(matrix).is_empty(), "{matrix:#?}");
}

#[test]
fn promotion_denies_exactly_what_staging_counted() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let before = hosts.matrix()?;
    assert_all_answered(&before);

    backend.apply("20-lockdown.yaml", examples::LOCKDOWN_STAGED)?;
    assert_eq!(
        backend
            .counters()?
            .end_of_tier("pending", "ingress", "default")?
            .packets_total,
        0
    );
    let staged = hosts.matrix()?;
    assert_eq!(differences(&before, &staged), [] as [String; 0]);
    let counted = backend
        .counters()?
        .end_of_tier("pending", "ingress", "default")?
        .clone();
    assert_eq!(counted.packets_total, ROUND, "{counted:?}");
    assert_eq!(counted.action, "Deny");
    assert_eq!(
        backend.nft_counters()?[&counted.counter],
        (counted.packets_total, counted.bytes_total),
        "nft sees the same counter with the same values"
    );

    backend.apply("20-lockdown.yaml", &examples::lockdown_promoted())?;
    let promoted = hosts.matrix()?;
    let expected = towards_the_backend();
    assert_eq!(denied(&promoted), expected.iter().map(String::as_str).collect());
    let enforced = backend
        .counters()?
        .end_of_tier("enforced", "ingress", "default")?
        .clone();
    assert_eq!(
        enforced.counter, counted.counter,
        "promotion goes on in the same counter"
    );
    assert_eq!(
        enforced.packets_total,
        2 * ROUND,
        "one packet for each denied question, after the history"
    );
    Ok(())
}

#[test]
fn taking_a_staged_policy_away_changes_nothing_either() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("database")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-database.yaml", examples::DATABASE)
        .resource("20-staged.yaml", STAGED_OPENING);
    let database = Daemon::start(hosts.host("database"), &setup)?;
    let with = hosts.matrix()?;
    assert!(!denied(&with).is_empty(), "the enforced policy denies");
    database.remove("20-staged.yaml")?;
    database.reload_well()?;
    assert_eq!(differences(&with, &hosts.matrix()?), [] as [String; 0]);
    Ok(())
}

#[test]
fn a_staged_rule_keeps_its_counter_when_promoted() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("database")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-database.yaml", examples::DATABASE)
        .resource("20-staged.yaml", STAGED_OPENING);
    let database = Daemon::start(hosts.host("database"), &setup)?;
    let staged = hosts.between("frontend", "database")?;
    let counted = database
        .counters()?
        .rule("pending", "ingress", "database-allow-frontend", 0)?
        .clone();
    assert_eq!(
        counted.packets_total, 2,
        "TCP 9090 over both IP versions: {counted:?}"
    );
    assert_eq!(counted.action, "Allow");

    database.apply(
        "20-staged.yaml",
        &STAGED_OPENING.replace("StagedGlobal", "Global"),
    )?;
    let promoted = hosts.between("frontend", "database")?;
    let opened: Vec<_> = denied(&staged)
        .difference(&denied(&promoted))
        .copied()
        .map(str::to_owned)
        .collect();
    let expected = [4, 6].map(|version| ThreeHosts::question("frontend", "database", "tcp 9090", version));
    assert_eq!(opened, expected);
    let enforced = database
        .counters()?
        .rule("enforced", "ingress", "database-allow-frontend", 0)?
        .clone();
    assert_eq!((enforced.counter, enforced.packets_total), (counted.counter, 4));
    Ok(())
}

#[test]
fn the_safety_net_hides_nothing_from_the_counters() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("00-net.yaml", examples::SAFETY_NET)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    assert_all_answered(&hosts.matrix()?);
    let end = backend
        .counters()?
        .end_of_tier("pending", "ingress", "default")?
        .clone();
    assert_eq!(
        (end.packets_total, end.without_safety_net),
        (ROUND, true),
        "{end:?}"
    );

    // Promoted, the net still catches everything.
    backend.apply("20-lockdown.yaml", &examples::lockdown_promoted())?;
    assert_all_answered(&hosts.matrix()?);

    backend.remove("00-net.yaml")?;
    backend.reload_well()?;
    let expected = towards_the_backend();
    assert_eq!(
        denied(&hosts.matrix()?),
        expected.iter().map(String::as_str).collect()
    );
    Ok(())
}

#[test]
fn a_staged_deletion_is_previewed_and_does_nothing() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("database")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-database.yaml", examples::DATABASE);
    let database = Daemon::start(hosts.host("database"), &setup)?;
    let before = hosts.matrix()?;
    assert!(!denied(&before).is_empty());

    database.apply("20-delete.yaml", STAGED_DELETION)?;
    assert_eq!(differences(&before, &hosts.matrix()?), [] as [String; 0]);
    // Without the policy nothing governs the database: its profile lets everything in.
    let counters = database.counters()?;
    let profile = counters.only(|row| {
        (row.world.as_str(), row.kind.as_str(), row.direction.as_str()) == ("pending", "Profile", "ingress")
    })?;
    assert_eq!(
        (profile.packets_total, profile.action.as_str()),
        (ROUND, "Allow"),
        "{counters:#?}"
    );
    Ok(())
}

const STAGED_OPENING: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: database-allow-frontend
spec:
  selector: app == 'database'
  types: [Ingress]
  ingress:
    - action: Allow
      protocol: TCP
      source: {selector: app == 'frontend'}
      destination: {ports: [9090]}
";

const STAGED_DELETION: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: database-allow-from-backend
spec:
  stagedAction: Delete
";
