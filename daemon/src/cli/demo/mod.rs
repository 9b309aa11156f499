//! `palisade demo`: stage, observe, promote, on three throwaway hosts with real traffic.
//!
//! The story is told here, step by step. Every claim in it is checked against what the hosts' connections met.

mod claims;
mod evidence;
mod interrupt;
mod matrix;
mod pause;
mod screen;
mod stage;

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use palisade_nft::Nft;

use super::args::DemoArgs;
use super::{Failure, Outcome};
use crate::exit::Exit;
use crate::kernel::KernelError;
use crate::lab;
use claims::Claims;
use evidence::{Preview, cells, end_of_tier, hits, packets, run_on_backend, said, settled_report};
use interrupt::Interrupt;
use matrix::{Cell, Matrix, Seen};
use screen::Screen;
use stage::{Example, Stage};

/// The host that is locked down.
const BACKEND: &str = "backend";

pub(super) fn run(args: &DemoArgs) -> Outcome {
    let interrupt = Interrupt::watch()?;
    let outcome = perform(args, &interrupt);
    // Ctrl-C on a terminal reaches the daemons too: whatever broke off, that is why.
    match interrupt.check() {
        Err(interrupted) if outcome.is_err() => Err(interrupted),
        _ => outcome,
    }
}

fn perform(args: &DemoArgs, interrupt: &Interrupt) -> Outcome {
    let started = Instant::now();
    let screen = Screen::new();
    let mut claims = Claims::new(&screen);
    let mut this_machine = Nft::open().map_err(KernelError::from)?;
    let before = this_machine.generation_id().map_err(KernelError::from)?;

    screen.say("Stage, observe, promote: a default-deny firewall on live hosts, without an outage.\n")?;
    let stage = Stage::build(interrupt)?;
    introduce(&stage, &screen)?;
    let told = tell(&stage, &screen, &mut claims);
    let after = this_machine.generation_id().map_err(KernelError::from)?;
    let took = started.elapsed();
    if told.is_ok() && args.pause {
        pause::look_around(&stage, &screen)?;
    }
    let left = stage.leave();
    // What the story broke off with matters more than what it left.
    told?;

    screen.step(7, "Everything is taken down")?;
    claims.exactly(
        "no daemon and no file of the demo is left",
        &BTreeSet::new(),
        &left,
    )?;
    claims.equal(
        "nothing has changed this machine's own nftables: their generation number is the same",
        &before,
        &after,
    )?;
    claims.conclude(took)
}

fn introduce(stage: &Stage, screen: &Screen) -> Result<(), Failure> {
    screen
        .say("Three hosts on one switch, each with its own kernel rules and a palisaded of its own:\n\n")?;
    for host in stage.hosts() {
        let ips: Vec<String> = host.ips().map(|ip| ip.to_string()).collect();
        let (name, ips, labels) = (host.name(), ips.join("  "), host.labels());
        screen.say(&format!("   {name:<10}{ips:<26}{labels}\n"))?;
    }
    screen.say(
        "\nEach serves TCP 22, 8080 and 9090. A cell below is two real connections, over IPv4 and IPv6:\n\
         \"allow\" if both were answered, \"DENY\" if neither was; both verdicts where they differ.\n",
    )
}

fn tell(stage: &Stage, screen: &Screen, claims: &mut Claims<'_>) -> Result<(), Failure> {
    let open = net_in_place(stage, screen, claims)?;
    let staged = lockdown_staged(stage, screen, claims, &open)?;
    let forecast = staged_observed(stage, screen, claims, &staged)?;
    let (bare, prediction) = net_removed(stage, screen, claims, &staged)?;
    let promoted = lockdown_promoted(stage, screen, claims, &bare, &prediction, &forecast)?;
    failsafe(screen, claims, &promoted)
}

fn net_in_place(stage: &Stage, screen: &Screen, claims: &mut Claims<'_>) -> Result<Matrix, Failure> {
    screen.step(1, "In force: a policy for the database, and the safety net")?;
    screen.say(
        "   The policy: the database accepts TCP 8080 from the backend, and nothing else.\n   \
         The safety net: allow everything, consulted last. While it stands, nothing is denied.\n\n",
    )?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(None, screen))?;
    claims.every("everything is allowed", &matrix, &Seen::Allowed, |_| true)?;
    Ok(matrix)
}

fn lockdown_staged(
    stage: &Stage,
    screen: &Screen,
    claims: &mut Claims<'_>,
    open: &Matrix,
) -> Result<Matrix, Failure> {
    screen.step(2, "Stage: a lockdown of the backend, which for now only watches")?;
    screen.say("   It governs what comes in and allows none of it: promoted, it is a default deny.\n")?;
    stage.add(Example::LOCKDOWN)?;
    screen.added(Example::LOCKDOWN.file, Example::LOCKDOWN.text)?;
    reload(stage, screen)?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(Some(open), screen))?;
    claims.same("staging has changed nothing, cell by cell", open, &matrix)?;
    Ok(matrix)
}

/// What the staged policy says while the net stands; gives what it would close once the net is gone.
fn staged_observed(
    stage: &Stage,
    screen: &Screen,
    claims: &mut Claims<'_>,
    staged: &Matrix,
) -> Result<BTreeSet<Cell>, Failure> {
    screen.step(3, "Observe: what it would have done to the connections just made")?;
    let sent = staged.first_packets(locked_down);
    let report = settled_report(stage, sent)?;
    let exit = run_on_backend(stage, screen, "palisade", &["staged"])?.code;
    claims.equal(
        "while the net stands, promoting it would deny nothing: exit code 0",
        &said(0, Some(0)),
        &said(report.would_deny, exit),
    )?;
    let without_net = cells(stage, &report, |flow| flow.pending_without_safety_net == "deny");
    claims.exactly(
        "without the net it would close 8080 and 9090 of the backend, and nothing else",
        &staged.cells(locked_down),
        &without_net,
    )?;
    let from_frontend = Cell::new("frontend", BACKEND, 9090);
    claims.equal(
        &format!("{from_frontend} is reported by name, with a hit for each connection made"),
        &staged.first_packets(|cell| *cell == from_frontend),
        &hits(stage, &report, &from_frontend),
    )?;

    screen.say(
        "\n   The same in the kernel. The preview's rules count and mark, and leave the packet alone:\n",
    )?;
    let counter = end_of_tier(&report)?;
    let preview = Preview::of_counter(stage, counter)?;
    let list = |kind, name| run_on_backend(stage, screen, "nft", &["list", kind, "inet", "palisade", name]);
    list("chain", &preview.chain)?;
    let in_nft = list("counter", counter)?;
    claims.exactly(
        "no preview chain in the kernel has a verdict that ends a packet",
        &BTreeSet::new(),
        &preview.endings,
    )?;
    claims.equal(
        &format!("sent by the probes = counted by palisade = counted by nft: {sent} first packets"),
        &format!("palisade {sent}, nft {sent}"),
        &format!(
            "palisade {}, nft {}",
            report.would_deny_without_safety_net,
            packets(&in_nft.text)?
        ),
    )?;
    Ok(without_net)
}

/// The net goes; gives the matrix, and what promotion is predicted to close.
fn net_removed(
    stage: &Stage,
    screen: &Screen,
    claims: &mut Claims<'_>,
    staged: &Matrix,
) -> Result<(Matrix, BTreeSet<Cell>), Failure> {
    screen.step(
        4,
        "Remove the net: the database policy bites, the staged one still only watches",
    )?;
    stage.remove(Example::SAFETY_NET)?;
    screen.removed(Example::SAFETY_NET.file)?;
    reload(stage, screen)?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(Some(staged), screen))?;
    let from_backend = Cell::new(BACKEND, "database", 8080);
    claims.every(
        &format!("{from_backend} is allowed by the policy"),
        &matrix,
        &Seen::Allowed,
        |cell| *cell == from_backend,
    )?;
    claims.every(
        "8080 and 9090 of the database are closed to everybody else: only the net had allowed it",
        &matrix,
        &Seen::Denied,
        |cell| cell.to == "database" && cell.port != 22 && *cell != from_backend,
    )?;
    claims.every(
        "the backend and the frontend are as open as before: staged is not enforced",
        &matrix,
        &Seen::Allowed,
        |cell| cell.to != "database",
    )?;

    let sent = staged.first_packets(locked_down) + matrix.first_packets(locked_down);
    let report = settled_report(stage, sent)?;
    let exit = run_on_backend(stage, screen, "palisade", &["staged"])?.code;
    claims.equal(
        &format!("now it WOULD DENY all {sent} first packets seen since it was staged: exit code 1"),
        &said(sent, Some(1)),
        &said(report.would_deny, exit),
    )?;
    let prediction = cells(stage, &report, |flow| {
        flow.action == "allow" && flow.pending_action == "deny"
    });
    Ok((matrix, prediction))
}

fn lockdown_promoted(
    stage: &Stage,
    screen: &Screen,
    claims: &mut Claims<'_>,
    bare: &Matrix,
    prediction: &BTreeSet<Cell>,
    forecast: &BTreeSet<Cell>,
) -> Result<Matrix, Failure> {
    screen.step(
        5,
        "Promote: one word in the file, and the outcome is the one predicted",
    )?;
    let counter = end_of_tier(&stage.staged(BACKEND)?)?.to_owned();
    let list = ["list", "counter", "inet", "palisade", &counter];
    let previewed = packets(&stage.command(BACKEND, "nft", &list)?.text)?;
    let (old, new) = stage.promote(Example::LOCKDOWN)?;
    screen.changed(Example::LOCKDOWN.file, &old, &new)?;
    reload(stage, screen)?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(Some(bare), screen))?;
    claims.every(
        "8080 and 9090 of the backend are closed to everybody",
        &matrix,
        &Seen::Denied,
        locked_down,
    )?;
    let changed = matrix.changed_since(bare);
    claims.exactly(
        &format!(
            "prediction = outcome: what has changed is what staged warned of in step 4: {} cells",
            prediction.len()
        ),
        prediction,
        &changed,
    )?;
    claims.exactly(
        "and what it foretold in step 3, while the net still stood",
        forecast,
        &changed,
    )?;

    let counted = run_on_backend(stage, screen, "nft", &list)?;
    let denied = matrix.first_packets(locked_down);
    claims.equal(
        &format!("the counter goes on through promotion: {previewed} in the preview, then {denied} denied"),
        &(previewed + denied),
        &packets(&counted.text)?,
    )?;
    Ok(matrix)
}

fn failsafe(screen: &Screen, claims: &mut Claims<'_>, promoted: &Matrix) -> Result<(), Failure> {
    screen.step(
        6,
        "Nobody is locked out: port 22 is a failsafe, consulted before every policy",
    )?;
    claims.every(
        "port 22 answers on every host, from every host",
        promoted,
        &Seen::Allowed,
        |cell| cell.port == 22,
    )
}

fn reload(stage: &Stage, screen: &Screen) -> Result<(), Failure> {
    stage.reload()?;
    screen.say("   SIGHUP to each palisaded: in force\n\n")
}

/// What the lockdown denies when nothing stands behind it: everything on the backend but the failsafe.
fn locked_down(cell: &Cell) -> bool {
    cell.to == BACKEND && cell.port != 22
}

/// A failure of the demo itself, not of a claim.
fn broken(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Findings, message)
}

/// Says what was being done when a file or the system refused.
fn during(action: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Failure {
    move |error| broken(format!("the demo could not {}: {error}", action()))
}

fn no_privilege() -> Failure {
    Failure::new(
        Exit::NoPrivilege,
        "the demo makes network namespaces, which needs root: sudo palisade demo",
    )
}

impl From<lab::Error> for Failure {
    fn from(error: lab::Error) -> Self {
        match error {
            lab::Error::Privilege => no_privilege(),
            other => broken(format!("the demo broke off: {other}")),
        }
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        if error.is_privilege() {
            no_privilege()
        } else {
            broken(error.to_string())
        }
    }
}
