//! Palisade touches its own table in its own namespace, and nothing else. Needs root.

use palisade::lab::Namespace;
use palisade_integration::{DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, examples, nft};

/// A table of somebody else's, with all that nft can put into one that a careless writer would disturb.
const FOREIGN: &str = "
table inet foreign {
    counter seen { packets 17 bytes 1700 }
    set addresses { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
    chain input {
        type filter hook input priority 10; policy accept;
        ip saddr @addresses counter name seen drop
        tcp dport 7 counter packets 3 bytes 180 drop
    }
}
table ip palisade {
    chain palisade { type filter hook input priority 20; policy accept; }
}
";

fn foreign(namespace: &Namespace) -> anyhow::Result<String> {
    let inet = nft(namespace, &["-a", "list", "table", "inet", "foreign"], "")?;
    Ok(inet + &nft(namespace, &["-a", "list", "table", "ip", "palisade"], "")?)
}

#[test]
fn a_foreign_table_is_never_touched() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let namespace = hosts.host("backend").namespace();
    nft(namespace, &["-f", "-"], FOREIGN)?;
    let before = foreign(namespace)?;

    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let mut backend = Daemon::start(hosts.host("backend"), &setup)?;
    assert_eq!(foreign(namespace)?, before, "after the start");
    backend.apply("20-lockdown.yaml", examples::LOCKDOWN_STAGED)?;
    backend.apply("20-lockdown.yaml", &examples::lockdown_promoted())?;
    hosts.between("frontend", "backend")?;
    assert_eq!(foreign(namespace)?, before, "after reloads and traffic");
    backend.kill9()?;
    backend.start_again()?;
    assert_eq!(foreign(namespace)?, before, "after a crash");
    let configuration = backend.configuration();
    let panicked = backend.cli(&["panic", "--config", &configuration.display().to_string()])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    assert_eq!(foreign(namespace)?, before, "after a panic");
    assert!(
        !backend.nft(&["list", "tables"])?.contains("inet palisade"),
        "panic removes our table"
    );
    assert!(
        denied(&hosts.between("frontend", "backend")?).is_empty(),
        "panic opens the host"
    );
    Ok(())
}

#[test]
fn two_daemons_in_two_namespaces_do_not_meet() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = |node| Setup::new(node).resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start(hosts.host("backend"), &setup("backend"))?;
    let lockdown = examples::lockdown_promoted().replace("app == 'backend'", "app == 'frontend'");
    let frontend_setup = setup("frontend").resource("20-lockdown.yaml", lockdown);
    let frontend = Daemon::start(hosts.host("frontend"), &frontend_setup)?;

    let everything = 2 * DENIED_PORTS.len();
    assert_eq!(denied(&hosts.between("backend", "frontend")?).len(), everything);
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());
    let of_frontend = frontend.held()?;

    backend.apply("20-lockdown.yaml", &examples::lockdown_promoted())?;
    assert_eq!(
        frontend.held()?,
        of_frontend,
        "the other daemon's table is as it was"
    );
    assert_eq!(denied(&hosts.between("frontend", "backend")?).len(), everything);

    backend.kill9()?;
    let own: Vec<_> = frontend
        .counters()?
        .rows()
        .iter()
        .map(|row| row.counter.clone())
        .collect();
    let kernel: Vec<_> = frontend.nft_counters()?.into_keys().collect();
    assert!(
        own.iter().all(|name| kernel.contains(name)),
        "{own:?} are not all in {kernel:?}"
    );
    assert_eq!(frontend.status()?["node"], "frontend");
    Ok(())
}

#[test]
fn the_namespace_of_the_test_is_left_alone() -> anyhow::Result<()> {
    let tables = || -> anyhow::Result<String> {
        let output = std::process::Command::new("nft")
            .args(["list", "tables"])
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let before = tables()?;
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted());
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    assert!(backend.nft(&["list", "tables"])?.contains("table inet palisade"));
    assert_eq!(tables()?, before);
    Ok(())
}
