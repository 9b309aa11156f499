//! `palisade doctor` tells what else filters on a host, in which order, and what policies do not reach. Needs root.

use std::fs;
use std::path::Path;

use palisade_integration::{Daemon, Output, Setup, ThreeHosts, examples, nft};
use serde_json::Value;
use tempfile::TempDir;

/// As firewalld makes it, in short.
const FIREWALLD: &str = "
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	}

	chain filter_INPUT_ZONES {
		tcp dport 22 accept
	}

	chain filter_OUTPUT {
		type filter hook output priority filter + 10; policy accept;
	}
}
";

/// As docker makes it with iptables-nft, in short.
const DOCKER: &str = "
table ip nat {
	chain DOCKER {
		iifname != \"docker0\" tcp dport 8080 counter dnat to 172.17.0.2:80
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local counter jump DOCKER
	}
}
table ip filter {
	chain DOCKER-USER {
	}

	chain FORWARD {
		type filter hook forward priority filter - 10; policy drop;
		counter jump DOCKER-USER
	}
}
";

/// Sees what is sent on.
const FORWARD: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: containers}
spec:
  selector: app == 'backend'
  applyOnForward: true
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
";

fn backend(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted());
    Daemon::start(hosts.host("backend"), &setup)
}

/// A root directory with nothing to warn of.
fn healthy() -> anyhow::Result<TempDir> {
    let root = tempfile::tempdir()?;
    for unit in ["palisade.service", "palisade-boot.service"] {
        write(
            root.path(),
            &format!("etc/systemd/system/sysinit.target.wants/{unit}"),
            "",
        )?;
    }
    for (name, value) in [
        ("max", "1000"),
        ("count", "10"),
        ("acct", "1"),
        ("timestamp", "1"),
    ] {
        write(
            root.path(),
            &format!("proc/sys/net/netfilter/nf_conntrack_{name}"),
            &format!("{value}\n"),
        )?;
    }
    Ok(root)
}

fn write(root: &Path, path: &str, text: &str) -> anyhow::Result<()> {
    let path = root.join(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(fs::write(path, text)?)
}

fn doctor(daemon: &Daemon, root: &Path, more: &[&str]) -> anyhow::Result<Output> {
    let configuration = daemon.configuration().display().to_string();
    let root = root.display().to_string();
    let arguments = ["doctor", "--config", &configuration, "--root", &root];
    daemon.cli(&[&arguments, more].concat())
}

fn report(daemon: &Daemon, root: &Path) -> anyhow::Result<Value> {
    let output = doctor(daemon, root, &["-o", "json"])?;
    Ok(serde_json::from_str(&output.stdout)?)
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().into_iter().flatten();
    findings.filter_map(|finding| finding["code"].as_str()).collect()
}

#[test]
fn a_healthy_host_has_nothing_to_warn_of() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = backend(&hosts)?;
    let root = healthy()?;
    let output = doctor(&backend, root.path(), &[])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("nothing to warn of"), "{output:?}");
    let report = report(&backend, root.path())?;
    let hooks = report["hooks"].as_array().into_iter().flatten();
    let hooks: Vec<&str> = hooks.filter_map(|row| row["hook"].as_str()).collect();
    assert_eq!(hooks, ["input", "output"], "{report:#}");
    Ok(())
}

#[test]
fn others_at_the_same_hooks_are_named_in_order() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = backend(&hosts)?;
    let root = healthy()?;
    nft(backend.namespace(), &["-f", "-"], FIREWALLD)?;
    let early = FIREWALLD
        .replace("inet firewalld", "inet theirs")
        .replace("+ 10", "- 10");
    nft(backend.namespace(), &["-f", "-"], &early)?;
    let report = report(&backend, root.path())?;
    let rows = report["hooks"].as_array().into_iter().flatten();
    let input: Vec<(&str, &str, &Value)> = rows
        .filter(|row| row["hook"] == "input")
        .filter_map(|row| Some((row["table"].as_str()?, row["owner"].as_str()?, &row["drops"])))
        .collect();
    let yes = Value::Bool(true);
    assert_eq!(
        input,
        [
            ("theirs", "unknown", &yes),
            ("palisade", "palisade", &yes),
            ("firewalld", "firewalld", &yes)
        ]
    );
    assert_eq!(codes(&report), ["dropped-before", "dropped-after"], "{report:#}");
    let shown = doctor(&backend, root.path(), &[])?;
    assert_eq!(shown.code, Some(0), "notes are no warnings: {shown:?}");
    assert!(shown.stdout.contains("inet firewalld"), "{}", shown.stdout);
    Ok(())
}

#[test]
fn a_published_port_is_warned_of_until_a_policy_reaches_it() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = backend(&hosts)?;
    let root = healthy()?;
    nft(backend.namespace(), &["-f", "-"], DOCKER)?;
    let output = doctor(&backend, root.path(), &[])?;
    assert_eq!(output.code, Some(1), "{output:?}");
    for words in ["tcp port 8080", "docker", "172.17.0.2 port 80", "applyOnForward"] {
        assert!(
            output.stdout.contains(words),
            "{words} is not in {}",
            output.stdout
        );
    }
    backend.apply("30-forward.yaml", FORWARD)?;
    let report = report(&backend, root.path())?;
    assert!(!codes(&report).contains(&"published-port"), "{report:#}");
    assert_eq!(report["published"][0]["policies"][0], "containers", "{report:#}");
    Ok(())
}

#[test]
fn what_the_host_lacks_is_said_with_what_to_type() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = backend(&hosts)?;
    let root = healthy()?;
    let wants = "etc/systemd/system/sysinit.target.wants";
    fs::remove_file(root.path().join(wants).join("palisade-boot.service"))?;
    for (path, text) in [
        (&format!("{wants}/nftables.service"), ""),
        (
            &"etc/nftables.conf".to_owned(),
            "#!/usr/sbin/nft -f\n\nflush ruleset\n",
        ),
        (
            &"etc/systemd/system/multi-user.target.wants/firewalld.service".to_owned(),
            "",
        ),
        (&"proc/sys/net/netfilter/nf_conntrack_count".to_owned(), "801\n"),
        (&"proc/sys/net/netfilter/nf_conntrack_acct".to_owned(), "0\n"),
        (&"proc/net/ip_tables_names".to_owned(), "nat\nfilter\n"),
    ] {
        write(root.path(), path, text)?;
    }
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
    fs::File::create(backend.state("later"))?.set_modified(ahead)?;
    let report = report(&backend, root.path())?;
    assert_eq!(
        codes(&report),
        [
            "legacy-nat",
            "not-enabled",
            "flush-ruleset",
            "conntrack-full",
            "clock-behind",
            "other-firewall",
            "conntrack-accounting"
        ],
        "{report:#}"
    );
    let rows = report["hooks"].as_array().into_iter().flatten();
    let legacy = rows.filter(|row| row["owner"] == "iptables-legacy").count();
    assert_eq!(legacy, 7, "{report:#}");

    backend.kill9()?;
    backend.nft(&["flush", "ruleset"])?;
    let output = doctor(&backend, root.path(), &["-o", "json"])?;
    assert_eq!(output.code, Some(1), "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(codes(&report)[..2], ["no-daemon", "no-table"], "{report:#}");
    Ok(())
}
