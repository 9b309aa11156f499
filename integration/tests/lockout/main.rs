//! Nobody is locked out: mistakes, made over a real SSH connection.
//!
//! Each begins in a good state of its own, is made over the operator's session, and ends with that session answering and
//! another one let in. What comes of them all is the table of `docs/lockouts.md`.

mod mistake;
mod mistakes;
mod stand;
mod table;
mod trouble;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palisade_integration::eventually;

use mistake::{Apply, Edit, Expect, Mistake};
use stand::{Files, Stand};
use table::Row;
use trouble::Trouble;

/// Mistakes that are made at the same time.
const AT_ONCE: usize = 12;

/// How long there is to confirm what was forced, in seconds. Where that was over before it could be seen what is in force,
/// for the machine was slow, it is forced again, for longer.
const WINDOWS: [u64; 3] = [2, 8, 30];

/// How long it may take until what happens on other programs' time has happened.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn nobody_is_locked_out() -> anyhow::Result<()> {
    let mistakes = mistakes::all();
    ensure!(mistakes.len() >= 60, "only {} mistakes", mistakes.len());
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, anyhow::Result<Row>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mistake) = mistakes.get(index) else { break };
                    let row =
                        made(mistake).with_context(|| format!("{} ({:?})", mistake.name, mistake.apply));
                    rows.lock().expect("no thread panics with it").push((index, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no thread has panicked with it");
    rows.sort_by_key(|(index, _)| *index);
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|(_, row)| row.as_ref().err())
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n\n")
    );
    let rows: Vec<Row> = rows.into_iter().filter_map(|(_, row)| row.ok()).collect();
    table::check(&rows)
}

#[test]
fn what_could_not_be_undone_for_want_of_room_is_not_done() -> anyhow::Result<()> {
    let ssh = [Edit::Replace("ssh.yaml", "2222", "222")];
    let mistake = mistake::mistake("the port of SSH mistyped", ssh, Expect::Refused);
    let mut stand = Stand::new(mistake.stand, Trouble::DiskFull)?;
    let good = stand.files()?;
    for edit in &mistake.edits {
        write(&stand, edit)?;
    }
    let written = stand.files()?;
    stand.daemon.fill_disk()?;
    let said = stand.palisade(&mistake.apply.forced(WINDOWS[0]))?;
    ensure!(said.code == 5, "it ended with {said:?}");
    stand.answers()?;
    stand.opens_within(PATIENCE)?;
    ensure!(stand.files()? == written, "files have changed");
    let status = stand.daemon.status()?;
    ensure!(status["unconfirmed"].is_null(), "{status:#}");
    stand.daemon.empty_disk()?;
    forced(&mut stand, &good, &mistake.with(Trouble::Nothing)).map(|_| ())
}

/// Makes a mistake, and says what came of it.
fn made(mistake: &Mistake) -> anyhow::Result<Row> {
    let mut stand = Stand::new(mistake.stand, mistake.trouble)?;
    let mut good = stand.files()?;
    for edit in &mistake.edits {
        write(&stand, edit)?;
    }
    let bad = stand.files()?;
    if mistake.apply.is_prepared() {
        let said = stand.palisade("reload")?;
        ensure!(said.code == 0, "it cannot be prepared: {said:?}");
        good.clone_from(&bad);
    }
    let said = apply(&mut stand, mistake.apply)?;
    let came = match said.code {
        0 => Expect::Harmless,
        3 => Expect::Invalid,
        7 => Expect::Refused,
        _ => anyhow::bail!("it ended with {said:?}"),
    };
    ensure!(
        came == mistake.expect,
        "expected was {:?}, and it ended with {said:?}",
        mistake.expect
    );
    stand.answers().context("the session is lost")?;
    stand.opens_within(PATIENCE).with_context(|| said.text.clone())?;
    let back = match came {
        Expect::Refused => {
            ensure!(stand.files()? == bad, "what was refused has changed files");
            Some(forced(&mut stand, &good, mistake)?)
        }
        Expect::Harmless if mistake.apply.is_prepared() => {
            let said = stand.palisade("confirm")?;
            ensure!(said.code == 0, "it cannot be confirmed: {said:?}");
            None
        }
        Expect::Invalid | Expect::Harmless => None,
    };
    Ok(Row {
        mistake: mistake.clone(),
        back,
    })
}

/// Forces what was refused into force, under a timer and with some trouble meanwhile: nobody is let in any more, so that
/// the guard was right, and then everything is back. Says how long that took.
fn forced(stand: &mut Stand, good: &Files, mistake: &Mistake) -> anyhow::Result<Duration> {
    for window in WINDOWS {
        if let Some(took) = forced_for(stand, good, mistake, window)? {
            return Ok(took);
        }
        if !mistake.apply.is_prepared() {
            for edit in &mistake.edits {
                write(stand, edit)?;
            }
        }
    }
    anyhow::bail!("this machine is too slow: every window was over before anything could be seen of it")
}

/// As [`forced`], for so many seconds; `None` if they were over too early.
fn forced_for(
    stand: &mut Stand,
    good: &Files,
    mistake: &Mistake,
    window: u64,
) -> anyhow::Result<Option<Duration>> {
    let started = Instant::now();
    // In the background: it may cut the session itself.
    stand.palisade_later(&mistake.apply.forced(window))?;
    eventually(PATIENCE, || {
        let status = stand.daemon.status()?;
        ensure!(
            !status["unconfirmed"].is_null(),
            "nothing is unconfirmed: {status:#}\n{}",
            stand.daemon.log()
        );
        Ok(())
    })?;
    stand.forget_neighbours()?;
    let lets_in = stand.lets_in()?;
    let remaining = stand.daemon.status()?["unconfirmed"]["remaining_seconds"].as_u64();
    let was_open = remaining.is_some_and(|seconds| seconds > 0);
    ensure!(!lets_in || !was_open, "what the guard has refused cuts nobody");
    if was_open {
        mistake.trouble.happens(stand)?;
    }
    stand.opens_within(PATIENCE)?;
    let took = started.elapsed();
    stand.answers().context("the session is lost")?;
    eventually(PATIENCE, || {
        let status = stand.daemon.status()?;
        ensure!(status["unconfirmed"].is_null(), "still unconfirmed: {status:#}");
        Ok(())
    })?;
    if was_open {
        mistake.trouble.has_happened(&stand.daemon.status()?)?;
    }
    let files = stand.files()?;
    ensure!(files == *good, "the files are not back: {files:#?}");
    Ok(was_open.then_some(took))
}

fn write(stand: &Stand, edit: &Edit) -> anyhow::Result<()> {
    let replace = |file: &std::path::Path, from: &str, to: &str| -> anyhow::Result<()> {
        let text = std::fs::read_to_string(file)?;
        ensure!(text.contains(from), "{} has no {from:?}", file.display());
        Ok(std::fs::write(file, text.replacen(from, to, 1))?)
    };
    let daemon = &stand.daemon;
    match edit {
        Edit::Write(file, text) => daemon.write(file, text),
        Edit::Replace(file, from, to) => replace(&daemon.policy_file(file), from, to),
        Edit::Remove(file) => daemon.remove(file),
        Edit::Configure(from, to) => replace(&daemon.configuration(), from, to),
        Edit::Append(lines) => {
            let text = std::fs::read_to_string(daemon.configuration())?;
            Ok(std::fs::write(daemon.configuration(), text + lines)?)
        }
    }
}

/// What a command said, or would have.
struct Came {
    code: i32,
    text: String,
}

impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:\n{}", self.code, self.text)
    }
}

/// Applies what is written, over the session.
fn apply(stand: &mut Stand, apply: Apply) -> anyhow::Result<Came> {
    match apply {
        Apply::Reload | Apply::Promote(_) | Apply::SafetyNetRemove => {
            let command = match apply {
                Apply::Promote(names) => format!("promote {names} --no-wait"),
                Apply::SafetyNetRemove => "safety-net remove --no-wait".to_owned(),
                Apply::Reload | Apply::Hangup => "reload".to_owned(),
            };
            let said = stand.palisade(&command)?;
            Ok(Came {
                code: said.code,
                text: said.text,
            })
        }
        Apply::Hangup => {
            let before = stand.daemon.status()?["last_reload"]["at"].clone();
            let signal = format!("kill -HUP {}", stand.daemon.pid());
            stand.session.run(&signal, PATIENCE)?;
            let last = eventually(PATIENCE, || {
                let last = stand.daemon.status()?["last_reload"].clone();
                ensure!(last["at"] != before, "no reload has followed SIGHUP");
                Ok(last)
            })?;
            let error = last["error"].as_str().unwrap_or_default().to_owned();
            let code = match last["ok"].as_bool() {
                Some(true) => 0,
                _ if error.contains("lockout guard") => 7,
                _ => 3,
            };
            Ok(Came { code, text: error })
        }
    }
}
