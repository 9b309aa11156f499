//! A large table under the unit as it is shipped: its time limits, its watchdog and what its confinement allows.
//!
//! `make test-large` makes it 100,000 rules, of optimised programs, and says what they took; otherwise it is small, to see
//! that it works.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::machine::{Machine, Probe};

/// Rules that each policy has.
const RULES_OF_A_POLICY: usize = 100;

/// How many rules there are unless `LARGE_RULES` says otherwise.
const RULES: usize = 1_000;

/// Longer than the unit's `WatchdogSec`.
const WATCHED: Duration = Duration::from_secs(35);

/// Rules that each file has.
const RULES_OF_A_FILE: usize = 10_000;

/// So many rules after the one that closes a port, in files. `changed` is the port of the very first of them.
fn policies(rules: usize, changed: u16) -> Vec<String> {
    let mut files = Vec::new();
    for index in 0..rules {
        if index % RULES_OF_A_FILE == 0 {
            files.push(String::new());
        }
        let Some(text) = files.last_mut() else { continue };
        if index % RULES_OF_A_POLICY == 0 {
            let (side, kind) = [("ingress", "Ingress"), ("egress", "Egress")][index / RULES_OF_A_POLICY % 2];
            write!(
                text,
                "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: policy-{index}}}\n\
                 spec:\n  order: {}\n  selector: role == 'database'\n  types: [{kind}]\n  {side}:\n",
                100 + index
            )
            .unwrap();
        }
        let net = format!("172.{}.{}.0/24", 16 + index / 256 % 16, index % 256);
        let port = if index == 0 {
            usize::from(changed)
        } else {
            1 + index % 60_000
        };
        let ends = if (index / RULES_OF_A_POLICY).is_multiple_of(2) {
            format!("source: {{nets: [{net}]}}, destination: {{ports: [{port}]}}")
        } else {
            format!("destination: {{nets: [{net}], ports: [{port}]}}")
        };
        writeln!(text, "  - {{action: Allow, protocol: TCP, {ends}}}").unwrap();
    }
    files
}

fn write_policies(machine: &Machine, rules: usize, changed: u16) {
    for (number, text) in policies(rules, changed).iter().enumerate() {
        machine.write(&format!("/etc/palisade/policy.d/large-{number:02}.yaml"), text);
    }
}

/// Runs a script, and says what it took and what memory the daemon takes then.
fn timed(machine: &Machine, what: &str, script: &str) -> String {
    let started = Instant::now();
    let said = machine.sh(script);
    let took = started.elapsed();
    let memory = memory(machine).unwrap_or_default();
    println!("{what:<40} {:>7.1} s   {memory}", took.as_secs_f64());
    said
}

/// The memory that the daemon has resident, and the most that it has had; `None` while there is none.
fn memory(machine: &Machine) -> Option<String> {
    let script = format!("cat /proc/{}/status", machine.property("MainPID"));
    let status = String::from_utf8(machine.run(&script).stdout).unwrap();
    let of = |field: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes / 1024)
    };
    Some(format!(
        "{} MB, at most {} MB so far",
        of("VmRSS:")?,
        of("VmHWM:")?
    ))
}

#[test]
fn a_large_table_is_loaded_changed_counted_and_watched_under_the_shipped_unit() {
    let rules = std::env::var("LARGE_RULES").map_or(RULES, |rules| rules.parse().unwrap());
    let is_large = rules > RULES;
    let machine = Machine::boot();
    super::configure(&machine);
    write_policies(&machine, rules, 7000);
    println!("{rules} rules");
    timed(&machine, "first start", "systemctl start palisade");
    assert_closed_in_large(&machine);
    let pid = machine.property("MainPID");

    let counters = timed(
        &machine,
        "palisade counters",
        "palisade -o json counters | wc --bytes",
    );
    assert!(counters.parse::<usize>().unwrap() > rules, "{counters} bytes");
    timed(&machine, "reload of nothing", "systemctl reload palisade");
    write_policies(&machine, rules, 7001);
    timed(
        &machine,
        "reload of one changed policy",
        "systemctl reload palisade",
    );
    let chain = machine.sh("nft list table inet palisade | grep --count 'dport 7001 '");
    assert_ne!(chain, "0");
    timed(
        &machine,
        "repair of a deleted table",
        "nft delete table inet palisade
         until palisade -o json status | grep --quiet '\"total\": 1'; do sleep 0.1; done",
    );
    assert_closed_in_large(&machine);
    timed(&machine, "palisade status", "palisade status");
    if is_large {
        // The watchdog must have had its chance while nothing and while something goes on.
        let until = Instant::now() + WATCHED;
        while Instant::now() < until {
            machine.sh("palisade reload");
            thread::sleep(Duration::from_secs(1));
        }
    }
    assert_eq!(machine.property("MainPID"), pid);
    assert_eq!(machine.property("NRestarts"), "0", "{}", machine.journal());
    timed(
        &machine,
        "restart with the table there",
        "systemctl restart palisade",
    );
    assert_closed_in_large(&machine);
    timed(&machine, "stop", "systemctl stop palisade");
    assert_eq!(machine.property("Result"), "success", "{}", machine.journal());
    machine.sh("nft delete table inet palisade");
    timed(&machine, "boot unit", "systemctl restart palisade-boot");
    assert_eq!(machine.probe(9090), Probe::Silence);
    timed(&machine, "start after the boot unit", "systemctl start palisade");
    assert_closed_in_large(&machine);
    assert_eq!(machine.property("NRestarts"), "0", "{}", machine.journal());
}

/// As [`super::assert_closed`], without a listing of everything in what it says.
fn assert_closed_in_large(machine: &Machine) {
    assert_eq!(machine.probe(9090), Probe::Silence, "{}", machine.journal());
    assert_eq!(machine.probe(8080), Probe::Answered, "{}", machine.journal());
}
