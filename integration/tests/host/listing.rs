//! What an administrator reads with `nft list table inet palisade`. Needs root.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use palisade::lab::Namespace;
use palisade_integration::{Daemon, Setup, ThreeHosts, examples, nft};
use serde_json::Value;

/// Resources that use every kind of match there is.
const EVERYTHING: &str = "
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 100}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: partners, labels: {role: partner}}
spec: {nets: [192.0.2.0/24, 198.51.100.7/32, 'fd00:99::/32']}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.partners}
spec:
  tier: security
  order: 1
  selector: env == 'prod'
  types: [Ingress, Egress]
  ingress:
    - {action: Log, protocol: UDP}
    - action: Deny
      source: {selector: role == 'partner'}
      protocol: TCP
      destination: {ports: [1, '8000:8059', 9000]}
    - action: Pass
  egress:
    - {action: Pass, notProtocol: SCTP}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: security.strict}
spec:
  tier: security
  order: 2
  selector: app == 'backend'
  types: [Ingress, Egress]
  ingress:
    - {action: Allow, protocol: ICMP}
    - action: Allow
      protocol: TCP
      source: {notNets: [10.0.0.0/8], notSelector: app == 'database'}
      destination: {notPorts: [25]}
    - action: Pass
      source: {nets: ['fd00:42::/64', 'fd00:43::1/128']}
  egress:
    - {action: Deny, destination: {nets: [203.0.113.0/24]}}
    - {action: Log}
    - {action: Pass}
";

fn busy_backend(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("00-net.yaml", examples::SAFETY_NET)
        .resource("10-everything.yaml", EVERYTHING)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    hosts.matrix()?;
    Ok(backend)
}

#[test]
fn the_listing_loads_again() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let listing = busy_backend(&hosts)?.listing()?;
    let elsewhere = Namespace::new()?;
    nft(&elsewhere, &["-c", "-f", "-"], &listing)?;
    nft(&elsewhere, &["-f", "-"], &listing)?;
    let again = nft(&elsewhere, &["list", "table", "inet", "palisade"], "")?;
    assert_eq!(
        again, listing,
        "loaded again, it reads the same, counter values included"
    );
    Ok(())
}

/// Read back from the kernel, not from what was meant to be there.
#[test]
fn no_preview_chain_can_end_a_packet() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = busy_backend(&hosts)?;
    let rules = rules(&backend)?;
    let mut to_see: Vec<&str> = rules
        .keys()
        .map(String::as_str)
        .filter(|chain| chain.contains("preview"))
        .collect();
    assert!(!to_see.is_empty(), "there is no preview: {:?}", rules.keys());
    let (mut seen, mut counters) = (BTreeSet::new(), 0);
    while let Some(chain) = to_see.pop() {
        if !seen.insert(chain) {
            continue;
        }
        for expression in rules.get(chain).with_context(|| format!("no chain {chain}"))? {
            let statement = expression
                .as_object()
                .and_then(|object| object.keys().next())
                .map(String::as_str);
            match statement.with_context(|| format!("{chain} holds {expression}"))? {
                "jump" | "goto" => {
                    let target = expression
                        .pointer("/jump/target")
                        .or(expression.pointer("/goto/target"));
                    to_see.push(target.and_then(Value::as_str).context("a jump to nowhere")?);
                }
                "counter" => counters += 1,
                "match" | "mangle" | "log" | "return" => {}
                other => panic!("the preview chain {chain} holds `{other}`: {expression}"),
            }
        }
    }
    assert!(counters >= 5, "the preview counts at only {counters} places");
    Ok(())
}

#[test]
fn every_rule_says_what_it_is() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = busy_backend(&hosts)?;
    let objects = objects(&backend)?;
    let rules: Vec<_> = objects.iter().filter_map(|object| object.get("rule")).collect();
    let silent: Vec<_> = rules
        .iter()
        .filter(|rule| rule.get("comment").is_none())
        .collect();
    assert!(
        rules.len() > 20 && silent.is_empty(),
        "of {} rules without a comment: {silent:#?}",
        rules.len()
    );
    let listing = backend.listing()?;
    for name in [
        "backend-lockdown-staged",
        "security.strict",
        "security.partners",
        "zzz-final-allow-everything",
    ] {
        assert!(
            listing.contains(name),
            "{name} is nowhere in the listing:\n{listing}"
        );
    }
    Ok(())
}

/// The expressions of all rules of our table, by chain; chains without rules too.
fn rules(daemon: &Daemon) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let mut rules: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for object in objects(daemon)? {
        if let Some(name) = object.pointer("/chain/name").and_then(Value::as_str) {
            rules.entry(name.to_owned()).or_default();
        }
        if let Some(chain) = object.pointer("/rule/chain").and_then(Value::as_str) {
            let expressions = object.pointer("/rule/expr").and_then(Value::as_array);
            rules
                .entry(chain.to_owned())
                .or_default()
                .extend(expressions.into_iter().flatten().cloned());
        }
    }
    Ok(rules)
}

/// Our table as nft prints it for programs.
fn objects(daemon: &Daemon) -> anyhow::Result<Vec<Value>> {
    let mut listed: Value = serde_json::from_str(&daemon.nft(&["-j", "list", "table", "inet", "palisade"])?)?;
    match listed["nftables"].take() {
        Value::Array(objects) => Ok(objects),
        other => anyhow::bail!("nft gave no list but {other}"),
    }
}
