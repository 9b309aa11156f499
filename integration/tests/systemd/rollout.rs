//! What an upgrade and a reboot leave in force, with `systemctl` alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::machine::{Machine, Probe};
use super::{CLOSED, CLOSED_FILE, assert_closed, configure, guarded, table, until};

/// Our table as an earlier palisade put it there for [`CLOSED`], listed by `nft`. Its chains had other names.
const EARLIER: &str = include_str!("earlier.nft");

/// Starts a unit while the neighbour tries both ports, one attempt after the other.
fn start_under_probes(machine: &Machine) {
    let stop = AtomicBool::new(false);
    let tried = thread::scope(|scope| {
        let tries = [(9090, Probe::Silence), (8080, Probe::Answered)].map(|(port, expected)| {
            let stop = &stop;
            scope.spawn(move || {
                let mut tries = 0;
                while tries == 0 || !stop.load(Ordering::Relaxed) {
                    assert_eq!(
                        machine.probe(port),
                        expected,
                        "port {port} after {tries} attempts"
                    );
                    tries += 1;
                }
                tries
            })
        });
        let started = machine.run("systemctl start palisade");
        stop.store(true, Ordering::Relaxed);
        assert!(started.status.success(), "{}", machine.journal());
        tries.map(|tries| tries.join().unwrap())
    });
    assert!(tried.iter().all(|&tries| tries > 0), "{tried:?}");
}

#[test]
fn an_upgrade_replaces_the_table_of_an_earlier_palisade_in_one_step() {
    let machine = Machine::boot();
    configure(&machine);
    machine.write("/root/earlier.nft", EARLIER);
    machine.sh("nft -f /root/earlier.nft");
    assert_eq!(machine.probe(9090), Probe::Silence);
    assert_eq!(machine.probe(8080), Probe::Answered);
    let before = table(&machine);

    start_under_probes(&machine);

    assert_closed(&machine, 9090);
    assert_ne!(before, table(&machine));
    assert_eq!(
        listed(&machine),
        listed(&guarded()),
        "nothing of the earlier one is left"
    );
}

/// Our table without what differs between two machines that hold the same.
fn listed(machine: &Machine) -> String {
    let listed = machine.sh("nft --stateless list table inet palisade");
    listed.replace(&machine.sh("hostname"), "machine")
}

/// A machine where [`CLOSED`] is staged, and promoted but not confirmed.
fn promoted() -> Machine {
    let machine = Machine::boot();
    configure(&machine);
    machine.write(CLOSED_FILE, &staged());
    machine.sh("systemctl enable --quiet --now palisade
         palisade promote --all --confirm-within 1h --no-wait");
    assert_closed(&machine, 9090);
    machine
}

fn staged() -> String {
    CLOSED.replace("Global", "StagedGlobal")
}

/// The policy is staged again, in its file too, nothing waits to be confirmed, and the history says what happened.
fn assert_rolled_back(machine: &Machine) {
    until(machine, "palisade -o json status", |said| {
        said.contains("\"unconfirmed\": null")
    });
    assert_eq!(machine.probe(9090), Probe::Answered);
    assert_eq!(machine.sh(&format!("cat {CLOSED_FILE}")), staged().trim_end());
    let history = machine.sh("palisade history");
    assert!(history.contains("rolled back"), "{history}");
}

#[test]
fn a_reboot_within_the_window_goes_back() {
    let mut machine = promoted();
    machine.reboot();
    assert_rolled_back(&machine);
}

#[test]
fn a_power_cut_within_the_window_goes_back() {
    let mut machine = promoted();
    machine.cut_power();
    assert_rolled_back(&machine);
}

#[test]
fn what_is_confirmed_outlives_a_power_cut() {
    let mut machine = promoted();
    machine.sh("palisade confirm");
    machine.cut_power();
    assert_closed(&machine, 9090);
}

#[test]
fn a_stop_within_the_window_goes_back() {
    let machine = promoted();
    machine.sh("systemctl stop palisade");
    assert_eq!(machine.property("Result"), "success");
    assert_eq!(machine.probe(9090), Probe::Answered);
    assert_eq!(machine.sh(&format!("cat {CLOSED_FILE}")), staged().trim_end());
    machine.sh("systemctl start palisade");
    assert_rolled_back(&machine);
}
