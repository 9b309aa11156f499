//! `palisade demo`: stage, observe, promote, on three throwaway hosts with real traffic.
//!
//! The story is told here, step by step; every claim in it is checked against what the hosts' connections met.

mod claims;
mod interrupt;
mod matrix;
mod screen;
mod stage;

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use super::args::DemoArgs;
use super::{Failure, Outcome};
use crate::exit::Exit;
use crate::flows::report::{StagedFlow, StagedReport};
use crate::lab;
use claims::Claims;
use interrupt::Interrupt;
use matrix::{Cell, Matrix, Seen};
use screen::Screen;
use stage::{Example, Stage};

/// The host that is locked down.
const BACKEND: &str = "backend";

/// How long flow records may take to reach a report; usually a tenth of a second.
const RECORDS_SETTLE: Duration = Duration::from_secs(2);

pub(super) fn run(args: &DemoArgs) -> Outcome {
    let started = Instant::now();
    let interrupt = Interrupt::watch()?;
    let screen = Screen::new();
    let mut claims = Claims::new(screen);

    screen.say("Stage, observe, promote: a default-deny firewall, put on live hosts without an outage.\n")?;
    let stage = Stage::build(&interrupt)?;
    introduce(&stage, screen)?;
    let told = tell(&stage, screen, &mut claims);
    let took = started.elapsed();
    if told.is_ok() && args.pause {
        look_around(&stage, screen)?;
    }
    let left = stage.leave();
    // What the story broke off with matters more than what it left.
    told?;
    screen.heading("7", "The hosts, their daemons and their files are gone")?;
    claims.exactly(
        "nothing is left of the demo, and this machine's own rules were never touched",
        &BTreeSet::new(),
        &left,
    )?;
    claims.conclude(took)
}

fn introduce(stage: &Stage, screen: Screen) -> Result<(), Failure> {
    screen.say(
        "Three hosts on one switch, each a network namespace with its own palisaded and its own nftables:\n\n",
    )?;
    for host in stage.hosts() {
        let ips: Vec<String> = host.ips().map(|ip| ip.to_string()).collect();
        screen.say(&format!(
            "   {:<10}{:<26}{}\n",
            host.name(),
            ips.join("  "),
            host.labels()
        ))?;
    }
    screen.say(
        "\nEach serves TCP 22, 8080 and 9090. Every cell below is two real connections, one over IPv4 and one over\n\
         IPv6: \"allow\" if both were answered, \"DENY\" if neither was; where they differ, both are shown.\n",
    )
}

fn tell(stage: &Stage, screen: Screen, claims: &mut Claims) -> Result<(), Failure> {
    let open = net_in_place(stage, screen, claims)?;
    let staged = lockdown_staged(stage, screen, claims, &open)?;
    let forecast = forecast(stage, screen, claims, &staged)?;
    let (bare, prediction) = net_removed(stage, screen, claims, &staged)?;
    let promoted = lockdown_promoted(stage, screen, claims, &bare, &prediction, &forecast)?;
    failsafe(screen, claims, &promoted)
}

fn net_in_place(stage: &Stage, screen: Screen, claims: &mut Claims) -> Result<Matrix, Failure> {
    screen.heading("1", "In force: a policy for the database, and the safety net")?;
    screen.say(
        "   The policy: the database accepts TCP 8080 from the backend, and nothing else.\n   \
         The net: allow everything, consulted last. While it stands, nothing is denied.\n\n",
    )?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(None, screen))?;
    claims.every("every connection is allowed", &matrix, &Seen::Allowed, |_| true)?;
    Ok(matrix)
}

fn lockdown_staged(
    stage: &Stage,
    screen: Screen,
    claims: &mut Claims,
    open: &Matrix,
) -> Result<Matrix, Failure> {
    screen.heading("2", "Stage: a lockdown of the backend that only watches")?;
    screen
        .say("   It governs the backend's ingress and allows nothing: promoted, it is a default deny.\n\n")?;
    screen.added(Example::LOCKDOWN.file, Example::LOCKDOWN.text)?;
    stage.add(Example::LOCKDOWN)?;
    stage.reload()?;
    screen.say("   SIGHUP to each palisaded\n\n")?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(Some(open), screen))?;
    claims.same("staging changed nothing, cell by cell", open, &matrix)?;
    Ok(matrix)
}

/// What the staged policy says while the net stands; gives what it would close once the net is gone.
fn forecast(
    stage: &Stage,
    screen: Screen,
    claims: &mut Claims,
    staged: &Matrix,
) -> Result<BTreeSet<Cell>, Failure> {
    screen.heading(
        "3",
        "Observe: what the staged policy would have done to those connections",
    )?;
    let sent = staged.first_packets(locked_down);
    let report = settled_report(stage, sent)?;
    let exit = run_on_backend(stage, screen, "palisade", &["staged"])?.code;
    let counter = end_of_tier(&report)?;
    let preview = preview_chain(stage, counter)?;
    run_on_backend(
        stage,
        screen,
        "nft",
        &["list", "chain", "inet", "palisade", &preview.name],
    )?;
    let in_nft = run_on_backend(
        stage,
        screen,
        "nft",
        &["list", "counter", "inet", "palisade", counter],
    )?;

    claims.equal(
        "while the net stands, promoting it would deny nothing (and palisade staged exits 0)",
        &(0, Some(0)),
        &(report.would_deny, exit),
    )?;
    let without_net = cells(stage, &report, |flow| flow.pending_without_safety_net == "deny");
    claims.exactly(
        "without the net it would close 8080 and 9090 of the backend to both others, and nothing else",
        &staged.cells(locked_down),
        &without_net,
    )?;
    let from_frontend = Cell::new("frontend", BACKEND, 9090);
    claims.equal(
        "frontend to backend:9090 is among them by name, with a hit for each connection made",
        &staged.first_packets(|cell| *cell == from_frontend),
        &hits(stage, &report, &from_frontend),
    )?;
    claims.equal(
        &format!("packets sent by the probes = counted by palisade = counted by nft: {sent}"),
        &(sent, Some(sent)),
        &(report.would_deny_without_safety_net, packets(&in_nft.text)),
    )?;
    claims.exactly(
        "no preview chain in the kernel has a verdict that ends a packet",
        &BTreeSet::new(),
        &preview.verdicts,
    )?;
    Ok(without_net)
}

/// The net goes; gives the matrix and what promotion is predicted to close now.
fn net_removed(
    stage: &Stage,
    screen: Screen,
    claims: &mut Claims,
    staged: &Matrix,
) -> Result<(Matrix, BTreeSet<Cell>), Failure> {
    screen.heading(
        "4",
        "Remove the net: the database policy bites, the staged one still only watches",
    )?;
    stage.remove(Example::SAFETY_NET)?;
    stage.reload()?;
    screen.removed(Example::SAFETY_NET.file)?;
    screen.say("   SIGHUP to each palisaded\n\n")?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(Some(staged), screen))?;
    let sent = staged.first_packets(locked_down) + matrix.first_packets(locked_down);
    let report = settled_report(stage, sent)?;
    let exit = run_on_backend(stage, screen, "palisade", &["staged"])?.code;

    let from_backend = Cell::new(BACKEND, "database", 8080);
    claims.every(
        "database:8080 is open to the backend: the policy allows it",
        &matrix,
        &Seen::Allowed,
        |cell| *cell == from_backend,
    )?;
    claims.every(
        "all else on the database is closed, frontend to database:8080 too: only the net had allowed it",
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
    claims.equal(
        &format!("staged now warns: it WOULD DENY all {sent} packets seen so far (and exits 1)"),
        &(sent, Some(1)),
        &(report.would_deny, exit),
    )?;
    let prediction = cells(stage, &report, |flow| {
        flow.action == "allow" && flow.pending_action == "deny"
    });
    Ok((matrix, prediction))
}

fn lockdown_promoted(
    stage: &Stage,
    screen: Screen,
    claims: &mut Claims,
    bare: &Matrix,
    prediction: &BTreeSet<Cell>,
    forecast: &BTreeSet<Cell>,
) -> Result<Matrix, Failure> {
    screen.heading(
        "5",
        "Promote: one word in the file, and the outcome is the one predicted",
    )?;
    let counter = end_of_tier(&stage.staged(BACKEND)?)?.to_owned();
    let list = ["list", "counter", "inet", "palisade", &counter];
    let before = packets(&stage.command(BACKEND, "nft", &list)?.text);
    let (old, new) = stage.promote(Example::LOCKDOWN)?;
    stage.reload()?;
    screen.changed(Example::LOCKDOWN.file, &old, &new)?;
    screen.say("   SIGHUP to each palisaded\n\n")?;
    let matrix = Matrix::probe(stage)?;
    screen.say(&matrix.render(Some(bare), screen))?;
    let after = run_on_backend(stage, screen, "nft", &list)?;

    claims.exactly(
        "prediction = outcome: the cells that changed are those that staged said would be denied",
        prediction,
        &matrix.changed_since(bare),
    )?;
    claims.exactly(
        "the same cells as foretold in step 3, while the net still stood",
        forecast,
        &matrix.changed_since(bare),
    )?;
    claims.every(
        "8080 and 9090 of the backend are closed to everybody",
        &matrix,
        &Seen::Denied,
        locked_down,
    )?;
    let denied = matrix.first_packets(locked_down);
    claims.equal(
        &format!(
            "the counter went on through promotion: {} in preview and {denied} denied",
            before.unwrap_or_default()
        ),
        &before.map(|before| before + denied),
        &packets(&after.text),
    )?;
    Ok(matrix)
}

fn failsafe(screen: Screen, claims: &mut Claims, promoted: &Matrix) -> Result<(), Failure> {
    screen.heading(
        "6",
        "Nobody is locked out: port 22 is a failsafe, before every policy",
    )?;
    claims.every(
        "port 22 answers on every host, from every host, under default deny",
        promoted,
        &Seen::Allowed,
        |cell| cell.port == 22,
    )
}

/// What the lockdown denies when nothing stands behind it: everything on the backend but the failsafe.
fn locked_down(cell: &Cell) -> bool {
    cell.to == BACKEND && cell.port != 22
}

/// The backend's report of the staged policy, once it knows of as many first packets as were sent; as it is when they
/// do not come.
fn settled_report(stage: &Stage, sent: u64) -> Result<StagedReport, Failure> {
    let deadline = Instant::now() + RECORDS_SETTLE;
    loop {
        let report = stage.staged(BACKEND)?;
        let known: u64 = report.flows.iter().map(|flow| flow.packets).sum();
        if known >= sent || Instant::now() > deadline {
            return Ok(report);
        }
        stage.rest()?;
    }
}

/// The cells that these flows of a report are about.
fn cells(stage: &Stage, report: &StagedReport, which: impl Fn(&StagedFlow) -> bool) -> BTreeSet<Cell> {
    let flows = report.flows.iter().filter(|flow| which(flow));
    flows.map(|flow| cell(stage, flow)).collect()
}

fn cell(stage: &Stage, flow: &StagedFlow) -> Cell {
    Cell::new(stage.host_of(&flow.from), stage.host_of(&flow.to), flow.port)
}

/// How often a report has seen a cell.
fn hits(stage: &Stage, report: &StagedReport, which: &Cell) -> u64 {
    let flows = report.flows.iter().filter(|flow| cell(stage, flow) == *which);
    flows.map(|flow| flow.packets).sum()
}

/// The name of the counter at the end of the staged policy's tier.
fn end_of_tier(report: &StagedReport) -> Result<&str, Failure> {
    let ends =
        |row: &&crate::flows::record::CounterRow| row.kind == "EndOfTier" && row.direction == "ingress";
    let row = report.counters.iter().find(ends);
    row.map(|row| row.counter.as_str())
        .ok_or_else(|| broken("the report names no counter for the end of the tier"))
}

/// The packets in nft's listing of one counter.
fn packets(listing: &str) -> Option<u64> {
    let mut words = listing.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1)?.parse().ok()
}

/// What the kernel's own listing says of the preview.
struct Preview {
    /// The chain with the given counter.
    name: String,
    /// Verdicts that end a packet, in any preview chain.
    verdicts: BTreeSet<String>,
}

fn preview_chain(stage: &Stage, counter: &str) -> Result<Preview, Failure> {
    let listing = stage
        .command(BACKEND, "nft", &["list", "table", "inet", "palisade"])?
        .text;
    let mut preview = Preview {
        name: String::new(),
        verdicts: BTreeSet::new(),
    };
    let mut chain = "";
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix("chain ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            chain = name;
        }
        if !chain.contains("preview") {
            continue;
        }
        let rule = line.split(" comment ").next().unwrap_or_default();
        if rule.contains(&format!("counter name \"{counter}\"")) {
            chain.clone_into(&mut preview.name);
        }
        let ends = |word: &&str| ["accept", "drop", "reject", "queue"].contains(word);
        let verdicts = rule.split_whitespace().filter(ends);
        preview
            .verdicts
            .extend(verdicts.map(|verdict| format!("{verdict} in {chain}")));
    }
    if preview.name.is_empty() {
        return Err(broken(format!(
            "nft shows no preview chain with the counter {counter}"
        )));
    }
    Ok(preview)
}

/// Runs a command on the backend and shows both, as they would look on its terminal.
fn run_on_backend(
    stage: &Stage,
    screen: Screen,
    program: &str,
    args: &[&str],
) -> Result<stage::Answer, Failure> {
    let answer = stage.command(BACKEND, program, args)?;
    screen.command(BACKEND, program, args, &answer.text)?;
    Ok(answer)
}

/// Keeps the hosts until Enter, and says what can be done with them.
fn look_around(stage: &Stage, screen: Screen) -> Result<(), Failure> {
    screen.heading(
        "",
        "The hosts stay until you press Enter. In another terminal, as root:",
    )?;
    for host in stage.hosts() {
        screen.say(&format!("   # {}\n", host.name()))?;
        let enter = format!("nsenter --net={}", host.namespace().path().display());
        let palisade = format!(
            "{} --socket {}",
            stage.palisade().display(),
            host.socket().display()
        );
        for command in [
            format!("{enter} nft list table inet palisade"),
            format!("{palisade} staged"),
            format!("{palisade} policies"),
        ] {
            screen.say(&format!("   {command}\n"))?;
        }
    }
    let (from, to) = (stage.host("frontend")?, stage.host(BACKEND)?);
    for ip in to.ips() {
        screen.say(&format!(
            "   # {} to {}:9090, by hand\n   nsenter --net={} timeout 1 bash -c '</dev/tcp/{ip}/9090 && echo open' || echo closed\n",
            from.name(),
            to.name(),
            from.namespace().path().display(),
        ))?;
    }
    screen.say(&format!(
        "   # the policies of all three; edit them, then `palisade --socket ... reload`\n   {}\n",
        stage.policies().display()
    ))?;
    stage.wait_for_enter()
}

/// A failure of the demo itself, not of a claim.
fn broken(message: impl ToString) -> Failure {
    Failure::new(Exit::Findings, message.to_string())
}

impl From<lab::Error> for Failure {
    fn from(error: lab::Error) -> Self {
        match error {
            lab::Error::Privilege => Failure::new(
                Exit::NoPrivilege,
                "the demo makes network namespaces, which needs root: sudo palisade demo",
            ),
            other => broken(format!("the demo broke off: {other}")),
        }
    }
}

/// Says what was being done when a file of the demo could not be used.
fn during(action: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Failure {
    move |error| broken(format!("the demo could not {}: {error}", action()))
}
