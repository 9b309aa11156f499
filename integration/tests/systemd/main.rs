//! palisade.service under a systemd that booted for it, as `make install` puts it there.
//!
//! Needs root, and the Debian packages that `make deps` installs.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod large;
mod machine;
mod rollout;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use machine::{Machine, Probe};

/// Denies one port on a host that is labelled `role: database`, whatever the safety net allows.
const CLOSED: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: closed-to-all
spec:
  selector: role == 'database'
  order: 10
  ingress:
    - action: Deny
      protocol: TCP
      destination:
        ports: [9090]
";
const CLOSED_FILE: &str = "/etc/palisade/policy.d/closed.yaml";

/// A machine where the policy [`CLOSED`] is in force.
fn guarded() -> Machine {
    let machine = Machine::boot();
    configure(&machine);
    machine.sh("systemctl start palisade");
    assert_closed(&machine, 9090);
    machine
}

fn configure(machine: &Machine) {
    let labels = "host:\n  labels:\n    role: database\n";
    machine.write("/etc/palisade/palisade.yaml", labels);
    machine.write(CLOSED_FILE, CLOSED);
}

/// The port is denied and others are not; the safety net stays in sight in the listing.
fn assert_closed(machine: &Machine, port: u16) {
    let table = table(machine);
    assert!(table.contains("closed-to-all"), "{table}");
    assert!(table.contains("zzz-final-allow-everything"), "{table}");
    assert_eq!(machine.probe(port), Probe::Silence, "port {port}");
    assert_eq!(machine.probe(8080), Probe::Answered, "port 8080");
}

fn table(machine: &Machine) -> String {
    machine.sh("nft list table inet palisade")
}

#[test]
fn a_fresh_installation_starts_and_denies_nothing() {
    let machine = Machine::boot();
    assert_eq!(machine.run("systemctl is-enabled palisade").stdout, b"disabled\n");

    machine.sh("systemctl start palisade");
    assert_eq!(machine.property("ActiveState"), "active");
    let status = machine.property("StatusText");
    assert!(status.contains("generation"), "{status}");
    assert!(table(&machine).contains("zzz-final-allow-everything"));
    assert_eq!(machine.probe(9090), Probe::Answered);

    let owner = machine.sh("stat --format '%U:%G %a' /run/palisade/palisade.sock");
    assert_eq!(owner, "root:palisade 660");
    machine.sh("palisade status");
    machine.sh("setpriv --reuid 65534 --regid palisade --clear-groups palisade status");
    let warnings = "journalctl --unit palisade --priority warning --quiet --output cat --no-pager";
    assert_eq!(machine.sh(warnings), "", "the confinement must not be in the way");

    let stranger = machine.run("setpriv --reuid 65534 --regid 65534 --clear-groups palisade status");
    assert!(!stranger.status.success());
}

#[test]
fn the_unit_and_the_user_of_a_live_connection_are_known_without_a_privilege_for_it() {
    let machine = Machine::boot();
    configure(&machine);
    let staged = CLOSED.replace("Global", "StagedGlobal").replace("9090", "8080");
    machine.write(CLOSED_FILE, &staged);
    machine.sh("systemctl start palisade");
    hold_a_connection(&machine);
    let started = Instant::now();
    let said = loop {
        let said = machine.run("palisade -o json connections");
        let text = String::from_utf8(said.stdout).unwrap();
        if said.status.code() == Some(1) {
            break text;
        }
        if started.elapsed() > Duration::from_secs(20) {
            let units = machine.run("systemctl status --no-pager holder asker").stdout;
            panic!("{text}\n{}", String::from_utf8_lossy(&units));
        }
        thread::sleep(Duration::from_millis(100));
    };
    for known in [
        "\"effect\": \"denied\"",
        "\"unit\": \"holder.service\"",
        "\"uid\": 65534",
        "\"pid\": null",
        "CAP_SYS_PTRACE",
    ] {
        assert!(said.contains(known), "{known} is not in {said}");
    }
}

/// A service that belongs to nobody serves one connection from the neighbour on port 8080.
fn hold_a_connection(machine: &Machine) {
    machine.sh(
        "systemd-run --quiet --unit holder --property User=nobody perl -MIO::Socket::INET -e \
         '$$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 1) or die; $$c = $$s->accept; sleep 600'",
    );
    machine.sh(
        "systemd-run --quiet --unit asker --property NetworkNamespacePath=/run/netns/peer bash -c \
         'until exec 3<>/dev/tcp/10.42.0.20/8080; do sleep 0.1; done; sleep 600'",
    );
}

#[test]
fn reload_applies_a_good_file() {
    let machine = guarded();
    machine.write(CLOSED_FILE, &CLOSED.replace("9090", "9091"));
    machine.sh("systemctl reload palisade");
    assert_closed(&machine, 9091);
    assert_eq!(machine.probe(9090), Probe::Answered);
}

#[test]
fn reload_refuses_a_bad_file_and_the_rules_stay() {
    let machine = guarded();
    let before = machine.sh("nft --stateless list table inet palisade");
    machine.write(CLOSED_FILE, &CLOSED.replace("Deny", "Denny"));

    let reload = machine.run("systemctl reload palisade");
    assert!(!reload.status.success(), "the reload job must fail");
    let journal = machine.journal();
    assert!(journal.contains(&format!("{CLOSED_FILE}:9:15")), "{journal}");
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.sh("nft --stateless list table inet palisade"), before);
    assert_closed(&machine, 9090);

    machine.write(CLOSED_FILE, CLOSED);
    machine.sh("systemctl reload palisade");
    assert_closed(&machine, 9090);
}

#[test]
fn stop_leaves_the_rules_in_force() {
    let machine = guarded();
    machine.sh("systemctl stop palisade");
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(machine.property("Result"), "success");
    machine.sh("test -s /var/log/palisade/flows.jsonl");
    assert_closed(&machine, 9090);

    machine.sh("systemctl start palisade");
    assert_closed(&machine, 9090);
}

#[test]
fn a_daemon_that_hangs_is_restarted_and_the_rules_stay() {
    let machine = Machine::boot();
    machine.sh("mkdir -p /run/systemd/system/palisade.service.d");
    machine.write(
        "/run/systemd/system/palisade.service.d/soon.conf",
        "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n",
    );
    configure(&machine);
    machine.sh("systemctl daemon-reload; systemctl start palisade");
    // It must feed the watchdog by itself before it may be said to have stopped.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(machine.property("NRestarts"), "0");

    let hung = machine.property("MainPID");
    machine.sh(&format!("kill -STOP {hung}"));
    let started = Instant::now();
    while machine.property("ActiveState") != "active" || machine.property("MainPID") == hung {
        assert!(started.elapsed() < Duration::from_secs(30), "not restarted");
        assert_closed(&machine, 9090);
    }
    assert_closed(&machine, 9090);
    assert_eq!(machine.property("NRestarts"), "1");
    let journal = machine.journal();
    assert!(journal.contains("Watchdog timeout"), "{journal}");
}

#[test]
fn at_boot_it_is_in_force_before_the_network() {
    let mut machine = guarded();
    machine.sh("systemctl enable palisade");
    // Nothing in so small a system asks for the network by itself.
    machine.write(
        "/etc/systemd/system/interfaces.service",
        "[Unit]\nWants=network-pre.target\nAfter=network-pre.target\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
    );
    machine.sh("systemctl enable interfaces");
    machine.reboot();

    assert_closed(&machine, 9090);
    let times = machine.sh(
        "systemctl show --value --property ActiveEnterTimestampMonotonic palisade
         systemctl show --value --property ActiveEnterTimestampMonotonic network-pre.target
         systemctl show --value --property ExecMainStartTimestampMonotonic interfaces",
    );
    let times: Vec<u64> = times
        .split_whitespace()
        .map(|time| time.parse().unwrap())
        .collect();
    assert!(times.is_sorted() && times.len() == 3 && times[0] > 0, "{times:?}");
    let cycles = machine
        .run("journalctl --boot --no-pager | grep 'ordering cycle'")
        .stdout;
    assert_eq!(String::from_utf8_lossy(&cycles), "");
}

/// A service that may talk to the neighbour's port 8080 and to nothing else.
const WEB: &str = "apiVersion: palisade.dev/v1
kind: ServiceEndpoint
metadata: {name: web, labels: {role: web}}
spec: {node: machine, unit: web.service}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web-out}
spec:
  selector: role == 'web'
  types: [Egress]
  egress:
    - {action: Allow, protocol: TCP, destination: {ports: [8080]}}
";

#[test]
fn a_unit_is_found_by_its_name_at_each_start() {
    let machine = Machine::boot();
    machine.write("/etc/palisade/palisade.yaml", "node: machine\nsafetyNet: false\n");
    machine.write("/etc/palisade/policy.d/web.yaml", WEB);
    machine.sh("systemctl start palisade");
    // Nothing listens there: what is sent is refused.
    let connect = "until nft list chain inet palisade output-service | grep --quiet 'socket cgroupv2'; do sleep 0.05; done
         for port in 8080 9090; do
             timeout 1 bash -c \"exec 3<>/dev/tcp/10.42.0.30/$port\" 2>&1 | grep --quiet refused && echo sent || echo kept
         done";
    machine.write("/root/connect", connect);
    for _ in 0..2 {
        let output = machine.sh(
            "timeout 30 systemd-run --quiet --wait --pipe --collect --unit web.service bash /root/connect",
        );
        assert_eq!(output, "sent\nkept", "{}", table(&machine));
        // The unit is gone, and with it the way to its chains.
        machine.sh("timeout 10 bash -c \"while nft list table inet palisade | grep --quiet 'socket cgroupv2'; do sleep 0.05; done\"");
    }
    let others = machine
        .sh("timeout 1 bash -c 'exec 3<>/dev/tcp/10.42.0.30/9090' 2>&1 | grep --quiet refused && echo sent");
    assert_eq!(others, "sent", "another process may");
}

#[test]
fn records_reach_the_journal_as_it_is_and_metrics_a_port_with_the_drop_in() {
    let machine = Machine::boot();
    let configuration = "host: {labels: {role: database}}
flows: {interval: 200ms, journald: true, prometheus: {listen: '127.0.0.1:9757'}}
";
    machine.write("/etc/palisade/palisade.yaml", configuration);
    machine.write(CLOSED_FILE, CLOSED);
    machine.sh("systemctl start palisade");
    assert_closed(&machine, 9090);
    let entries = until(
        &machine,
        "journalctl --output json --no-pager PALISADE_ACTION=deny",
        |said| said.contains("\"PALISADE_DEST_PORT\":\"9090\""),
    );
    for field in [
        "\"PALISADE_TYPE\":\"flow\"",
        "\"PALISADE_POLICY\":\"closed-to-all\"",
        "\"PRIORITY\":\"5\"",
        "\"SYSLOG_IDENTIFIER\":\"palisaded\"",
        "\"_SYSTEMD_UNIT\":\"palisade.service\"",
        "\"MESSAGE\":\"denied: private to ",
    ] {
        assert!(entries.contains(field), "{field} is not in {entries}");
    }
    let warnings = "journalctl --unit palisade --grep 'metrics cannot be served' --output cat --no-pager";
    until(&machine, warnings, |said| said.contains("network.conf"));

    machine.sh(
        "install -D --mode 644 /usr/share/doc/palisade/examples/network.conf \
            /etc/systemd/system/palisade.service.d/network.conf
        systemctl daemon-reload
        systemctl restart palisade",
    );
    let scrape = "exec 3<>/dev/tcp/127.0.0.1/9757
        printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3
        cat <&3";
    until(&machine, scrape, |said| {
        said.contains("palisade_sink_missed_total{sink=\"journald\"} 0")
    });
}

/// Runs a shell script until its output is right, and gives that.
fn until(machine: &Machine, script: &str, right: impl Fn(&str) -> bool) -> String {
    let started = Instant::now();
    loop {
        let said = String::from_utf8(machine.run(script).stdout).unwrap();
        if right(&said) {
            return said;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{script}\n{said}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_service_is_confined() {
    let machine = Machine::boot();
    let report = machine.sh("systemd-analyze security --no-pager palisade.service");
    let exposure: f64 = report
        .rsplit_once("Overall exposure level for palisade.service: ")
        .and_then(|(_, level)| level.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no exposure level in:\n{report}"));
    assert!(exposure <= 2.0, "{report}");
}

#[test]
fn the_daemon_confines_itself_within_its_unit() {
    let machine = Machine::boot();
    configure(&machine);
    machine.sh("systemctl start palisade");
    let pid = machine.property("MainPID");
    let status = machine.sh(&format!("cat /proc/{pid}/task/*/status"));
    for (field, value) in [
        ("CapPrm", "0000000000001000"),
        ("CapEff", "0000000000001000"),
        ("CapBnd", "0000000000001000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let held = status
            .lines()
            .filter_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        let held: BTreeSet<_> = held.collect();
        assert_eq!(held, BTreeSet::from([value]), "{field}");
    }
    let said = machine.sh("palisade status");
    assert!(
        said.contains("CAP_NET_ADMIN, no new privileges, seccomp, landlock"),
        "{said}"
    );
    // What a change that is rolled back needs: policies that can be written.
    let writable = machine.sh(&format!(
        "nsenter --mount --target {pid} findmnt --noheadings --output TARGET,OPTIONS --target /etc/palisade/policy.d"
    ));
    assert!(
        writable.contains("/etc/palisade") && writable.contains("rw"),
        "{writable}"
    );
}

#[test]
fn processes_are_named_with_the_drop_in() {
    let machine = Machine::boot();
    configure(&machine);
    let staged = CLOSED.replace("Global", "StagedGlobal").replace("9090", "8080");
    machine.write(CLOSED_FILE, &staged);
    machine.sh(
        "install -D --mode 644 /usr/share/doc/palisade/examples/processes.conf \
            /etc/systemd/system/palisade.service.d/processes.conf
        systemctl daemon-reload
        systemctl start palisade",
    );
    hold_a_connection(&machine);
    let said = until(&machine, "palisade -o json connections", |said| {
        said.contains("\"effect\": \"denied\"")
    });
    assert!(!said.contains("\"pid\": null"), "{said}");
    assert!(said.contains("perl"), "{said}");
}

#[test]
fn installing_again_keeps_the_configuration() {
    let root = tempfile::tempdir().unwrap();
    let install = || {
        let output = machine::install(root.path());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    };
    install();
    let configuration = root.path().join("etc/palisade/palisade.yaml");
    std::fs::write(&configuration, "node: kept\n").unwrap();
    install();
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), "node: kept\n");
    let policies = std::fs::read_dir(root.path().join("etc/palisade/policy.d")).unwrap();
    assert_eq!(policies.count(), 0, "a new installation must not bring policies");
    for made in [
        "usr/share/man/man1/palisade.1",
        "usr/share/bash-completion/completions/palisade",
    ] {
        let made = root.path().join(made);
        assert!(std::fs::metadata(&made).unwrap().len() > 0, "{}", made.display());
    }
}
