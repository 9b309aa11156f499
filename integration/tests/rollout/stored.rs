//! Generations that are kept: listed, compared, and gone back to, after a restart as before.

use palisade_integration::{DENIED_PORTS, ThreeHosts, denied, examples};

use super::{FILE, LONG, assert_locked_down, assert_open, promote, staged, text, well};

#[test]
fn history_tells_what_made_each_and_what_became_of_it() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    promote(&backend, LONG)?;
    well(&backend, &["rollback"])?;
    promote(&backend, LONG)?;
    well(&backend, &["confirm"])?;
    backend.apply("10-other.yaml", examples::ALLOW_7000)?;
    backend.kill9()?;
    backend.start_again()?;
    let rows = backend.json(&["history"])?;
    let told = |row: usize, field: &str| rows[row][field].as_str().unwrap_or_default().to_owned();
    let told: Vec<(u64, String, String)> = (0..rows.as_array().map_or(0, Vec::len))
        .map(|row| {
            let number = rows[row]["generation"].as_u64().unwrap_or_default();
            (number, told(row, "why"), told(row, "state"))
        })
        .collect();
    let row = |number, why: &str, state: &str| (number, why.to_owned(), state.to_owned());
    let promotion = format!("promote {}", super::NAME);
    assert_eq!(
        told,
        [
            row(4, "reload", "confirmed"),
            row(3, &promotion, "confirmed"),
            row(2, &promotion, "rolled-back"),
            row(1, "start", "confirmed"),
        ],
        "{rows:#}"
    );
    assert_eq!(rows[0]["in_force"], true);
    assert_eq!(rows[0]["who"]["by"], "signal");
    assert_eq!(rows[1]["who"]["comm"], "palisade");
    assert_eq!(rows[1]["who"]["user"], "root");
    let table = well(&backend, &["history"])?;
    assert!(
        table.stdout.contains("rolled back: palisade rollback"),
        "{table:?}"
    );

    // Of a generation that this daemon has never had.
    let diff = backend.cli(&["diff", "--generations", "1", "3"])?;
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.stdout.contains("generation 1 -> generation 3"), "{diff:?}");
    let same = backend.cli(&["diff", "--generations", "3", "3"])?;
    assert_eq!(same.code, Some(0), "{same:?}");
    Ok(())
}

#[test]
fn any_kept_generation_can_be_gone_back_to() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    promote(&backend, LONG)?;
    well(&backend, &["confirm"])?;
    backend.apply("10-other.yaml", examples::ALLOW_7000)?;
    let enforced = text(&backend, FILE)?;
    backend.kill9()?;
    backend.start_again()?;

    backend.write("10-other.yaml", "# edited, and not read yet\n")?;
    let back = well(&backend, &["rollback", "1"])?;
    assert!(back.stdout.contains("generation 4 is in force"), "{back:?}");
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert!(!backend.policy_file("10-other.yaml").exists());
    assert_eq!(
        text(&backend, "10-other.yaml.edited-in-4")?,
        "# edited, and not read yet\n"
    );

    // And forth again, under a timer that is let end.
    let forth = backend.cli(&["rollback", "3", "--confirm-within", "2s", "--force", "--wait"])?;
    assert_eq!(forth.code, Some(6), "{forth:?}\n{}", backend.log());
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_open(&hosts)?;
    well(&backend, &["rollback", "3", "--force"])?;
    assert_locked_down(&hosts)?;
    assert_eq!(text(&backend, FILE)?, enforced);
    assert_eq!(text(&backend, "10-other.yaml")?, examples::ALLOW_7000);

    let unknown = backend.cli(&["rollback", "99"])?;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("is not kept"), "{unknown:?}");
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    Ok(())
}
