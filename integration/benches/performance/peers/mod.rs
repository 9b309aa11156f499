//! firewalld and ufw, as Debian has them, each with its own rules for the same policy, in namespaces of its own.
//!
//! Neither is installed: that would start it. `make bench` unpacks their packages, and here they are laid over `/usr` and `/etc`
//! where nobody else sees it (`private.sh`). They die with this process, and leave nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use palisade::lab::Process;
use palisade_integration::{eventually, nft};
use tempfile::TempDir;

use crate::Run;
use crate::estate::{Estate, Place, Shape, Source};
use crate::ground::Ground;
use crate::report::Report;

/// Rich rules of a zone, their sources in ipsets.
pub(crate) const FIREWALLD: &str = "firewalld, rich rules";
/// It knows no sets: of each, its rules have the first address alone.
pub(crate) const UFW: &str = "ufw";
/// The most policies either is given: more take them minutes to load.
pub(crate) const MOST: usize = 1000;

const PRIVATE: &str = include_str!("private.sh");

/// Where the packages are unpacked.
const DIRECTORY: &str = "BENCH_PEERS";
/// How long one may take to load its rules: firewalld with large ipsets takes its time.
const PATIENCE: Duration = Duration::from_mins(4);

/// A firewall that runs, with its files.
#[derive(Debug)]
pub(crate) struct Peer {
    _process: Process,
    _files: TempDir,
}

/// Adds both, where they are unpacked; without policies they have nothing to say.
pub(crate) fn add(
    run: &Run,
    report: &mut Report,
    estate: &Estate,
    grounds: &mut Vec<(&'static str, Ground)>,
) {
    let Some(unpacked) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    if !(1..=MOST).contains(&estate.policies) {
        return;
    }
    let policies = estate.policies;
    report.part(run, &format!("{FIREWALLD}, loads {policies} policies"), |_| {
        let table = ["inet", "firewalld"];
        grounds.push((
            FIREWALLD,
            start(&unpacked, "firewalld", &firewalld(estate), table, estate)?,
        ));
        Ok(())
    });
    report.part(run, &format!("{UFW} loads {policies} policies"), |_| {
        grounds.push((
            UFW,
            start(&unpacked, "ufw", &ufw(estate), ["ip", "filter"], estate)?,
        ));
        Ok(())
    });
}

/// Starts one with these files below `/etc`, and waits until the last of its rules is in its table.
fn start(
    unpacked: &Path,
    name: &str,
    files: &[(String, String)],
    table: [&str; 2],
    estate: &Estate,
) -> anyhow::Result<Ground> {
    let directory = tempfile::Builder::new().prefix("palisade-peer-").tempdir()?;
    for (file, text) in files {
        let path = directory.path().join("etc").join(file);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(path, text)?;
    }
    let mut ground = Ground::empty()?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["bash", "-c", PRIVATE, "private.sh"])
        .args([unpacked, directory.path()])
        .arg(name);
    let process = ground.server().spawn(&command)?;
    let last = format!("dport {} ", estate.port_of(Place::Last));
    eventually(PATIENCE, || {
        let ended = process.ended()?;
        let said = process.stderr();
        ensure!(ended.is_none(), "{name} has ended with {ended:?}: {said}");
        let [family, table] = table;
        let listing = nft(ground.server(), &["--terse", "list", "table", family, table], "")?;
        ensure!(listing.contains(&last), "{name} has not loaded its rules: {said}");
        Ok(())
    })?;
    ground.adopt(Peer {
        _process: process,
        _files: directory,
    })?;
    Ok(ground)
}

/// The zone that every interface is in, with a rich rule for each rule, and an ipset for each set.
fn firewalld(estate: &Estate) -> Vec<(String, String)> {
    let protocol = estate.protocol.name();
    let mut zone = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone target=\"DROP\">\n");
    for number in 0..estate.rules() {
        let rule = estate.rule(number);
        let source = match rule.source.set() {
            Some(name) if estate.shape == Shape::Spread => format!("ipset=\"{name}\""),
            _ => format!("address=\"{}\"", rule.source.network()),
        };
        zone += &format!(
            "<rule family=\"ipv4\"><source {source}/><port port=\"{}\" protocol=\"{protocol}\"/><accept/></rule>\n",
            rule.port
        );
    }
    zone += "</zone>\n";
    let mut files = vec![("firewalld/zones/public.xml".to_owned(), zone)];
    for source in estate.sets() {
        let name = source.set().unwrap_or_default();
        let entries = source.members().join("</entry>\n<entry>");
        let set = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ipset type=\"hash:ip\">\n<entry>{entries}</entry>\n</ipset>\n"
        );
        files.push((format!("firewalld/ipsets/{name}.xml"), set));
    }
    files
}

/// Its own file of rules, with the lines that `ufw allow` adds.
fn ufw(estate: &Estate) -> Vec<(String, String)> {
    let protocol = estate.protocol.name();
    let mut rules = String::from("*filter\n");
    for chain in ["input", "output", "forward", "limit", "limit-accept"] {
        rules += &format!(":ufw-user-{chain} - [0:0]\n");
    }
    rules += "### RULES ###\n";
    for number in 0..estate.rules() {
        let rule = estate.rule(number);
        let source = match rule.source {
            Source::Set(_) => rule.source.members().swap_remove(0),
            Source::Place(_) | Source::Network(_) => rule.source.network(),
        };
        let port = rule.port;
        rules += &format!(
            "\n### tuple ### allow {protocol} {port} 0.0.0.0/0 any {source} in\n\
             -A ufw-user-input -p {protocol} --dport {port} -s {source} -j ACCEPT\n"
        );
    }
    rules += "\n### END RULES ###\nCOMMIT\n";
    vec![("ufw/user.rules".to_owned(), rules)]
}
