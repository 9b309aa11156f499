//! What tests of several modules share: resources written short, one small network, and traces in one line.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::decode::decode;
use crate::evaluate::{Decision, Outcome, Packet, Step, StepBy, evaluate, evaluate_forwarded};
use crate::net::{Direction, Protocol};
use crate::resource::DEFAULT_ALLOW_PROFILE;
use crate::snapshot::Snapshot;
use crate::source::Files;
use crate::world::{EndpointId, Host, Stage, WorldKind, Worlds, resolve};

/// Five endpoints on three nodes, and one set.
pub(crate) const NETWORK: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: bare, labels: {role: bare}}
  spec: {node: one, interfaceName: eth1, expectedIPs: [10.0.0.9, "fd00::9"]}
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: cache, labels: {role: cache}}
  spec: {node: three, interfaceName: eth0, expectedIPs: [10.0.0.3, "fd00::3"]}
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: db, labels: {role: db, env: prod}}
  spec: {node: two, interfaceName: eth0, expectedIPs: [10.0.0.2, "fd00::2"]}
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: web, labels: {role: web, env: prod}}
  spec:
    node: one
    interfaceName: eth0
    expectedIPs: [10.0.0.1, "fd00::1"]
    profiles: [projectcalico-default-allow]
- apiVersion: projectcalico.org/v3
  kind: GlobalNetworkSet
  metadata: {name: lan, labels: {net: lan}}
  spec: {nets: [10.9.0.0/16, "fd09::/32"]}
"#;

/// One resource as a document, its spec in flow style.
pub(crate) fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

/// One resource as a document, its labels and its spec in flow style.
pub(crate) fn labelled(kind: &str, name: &str, labels: &str, spec: &str) -> String {
    object(kind, name, spec).replace(
        &format!("{{name: {name}}}"),
        &format!("{{name: {name}, labels: {{{labels}}}}}"),
    )
}

/// One resource in a namespace.
pub(crate) fn namespaced(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    object(kind, name, spec).replace(
        &format!("{{name: {name}}}"),
        &format!("{{name: {name}, namespace: {namespace}}}"),
    )
}

/// A WorkloadEndpoint called `one-cni-CONTAINER-e` on node `one`, in namespace `red`.
pub(crate) fn workload(container: &str, labels: &str, spec: &str) -> String {
    let name = format!("one-cni-{container}-e");
    let spec = format!("node: one, orchestrator: cni, containerID: {container}, endpoint: e, {spec}");
    labelled("WorkloadEndpoint", &name, labels, &spec).replace("{name: ", "{namespace: red, name: ")
}

/// A ServiceEndpoint.
pub(crate) fn service(name: &str, labels: &str, spec: &str) -> String {
    labelled("ServiceEndpoint", name, labels, spec).replace("projectcalico.org/v3", "palisade.dev/v1")
}

/// A GlobalNetworkPolicy.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    object("GlobalNetworkPolicy", name, spec)
}

/// A StagedGlobalNetworkPolicy.
pub(crate) fn staged(name: &str, spec: &str) -> String {
    object("StagedGlobalNetworkPolicy", name, spec)
}

/// A Tier.
pub(crate) fn tier(name: &str, spec: &str) -> String {
    object("Tier", name, spec)
}

/// The safety net as the examples write it.
pub(crate) fn safety_net() -> String {
    policy(
        "net",
        "order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
    )
}

/// The snapshot of these texts, which must be valid.
pub(crate) fn snapshot(texts: &[&str]) -> Snapshot {
    let mut files = Files::default();
    let ids: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| files.add(format!("{index}.yaml"), *text))
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)))
}

/// A host of this name, without interfaces.
pub(crate) fn host(node: &str) -> Host {
    Host {
        node: Some(node.to_owned()),
        ..Host::default()
    }
}

/// The small network with these resources, as node `one` sees it.
pub(crate) fn network(resources: &[String]) -> Worlds {
    resolve(&snapshot(&[NETWORK, &resources.concat()]), host("one"))
}

/// The endpoint of this name.
pub(crate) fn endpoint(worlds: &Worlds, name: &str) -> EndpointId {
    let mut endpoints = worlds.endpoints.iter();
    EndpointId(endpoints.position(|endpoint| endpoint.name == name).unwrap())
}

/// What `web` says in one world to a packet such as `in tcp 10.0.0.2 80`, `out udp fd00::2 53 from 68` or
/// `in icmp 10.0.0.2 type 3 code 1`: direction, protocol, far end, destination port.
pub(crate) fn ask(worlds: &Worlds, world: WorldKind, packet: &str) -> String {
    ask_at(worlds, "web", world, packet)
}

/// As [`ask`], of another endpoint; the packet's near end is still `web`.
pub(crate) fn ask_at(worlds: &Worlds, name: &str, world: WorldKind, packet: &str) -> String {
    let (direction, packet) = parse(packet);
    let id = endpoint(worlds, name);
    describe(&evaluate(worlds, worlds.world(world), id, direction, &packet))
}

/// As [`ask`], of a packet that only goes through the host of `web`.
pub(crate) fn ask_forwarded(worlds: &Worlds, world: WorldKind, packet: &str) -> String {
    let (direction, packet) = parse(packet);
    let id = endpoint(worlds, "web");
    describe(&evaluate_forwarded(
        worlds,
        worlds.world(world),
        id,
        direction,
        &packet,
    ))
}

fn parse(text: &str) -> (Direction, Packet) {
    let words: Vec<&str> = text.split(' ').collect();
    let peer: IpAddr = words[2].parse().unwrap();
    let near: IpAddr = if peer.is_ipv4() { "10.0.0.1" } else { "fd00::1" }
        .parse()
        .unwrap();
    let after = |word: &str| {
        let index = words.iter().position(|other| *other == word)?;
        words[index + 1].parse::<u16>().ok()
    };
    let (direction, source, destination) = match words[0] {
        "in" => (Direction::Ingress, peer, near),
        "out" => (Direction::Egress, near, peer),
        other => panic!("{other}: in or out"),
    };
    let packet = Packet {
        source,
        destination,
        protocol: Protocol::parse(words[1]).unwrap(),
        source_port: after("from").unwrap_or(40_000),
        destination_port: words.get(3).and_then(|port| port.parse().ok()).unwrap_or(0),
        icmp_type: after("type").map_or(0, |icmp_type| u8::try_from(icmp_type).unwrap()),
        icmp_code: after("code").map_or(0, |icmp_code| u8::try_from(icmp_code).unwrap()),
    };
    (direction, packet)
}

/// `allow: Log a/0, Allow net/0 | deny: Log a/0, Deny end of default (a)`: the verdict and its steps, and behind the bar
/// those without the safety net.
pub(crate) fn describe(decision: &Decision) -> String {
    let mut text = outcome(&decision.outcome);
    if let Some(without) = &decision.without_safety_net {
        write!(text, " | {}", outcome(without)).unwrap();
    }
    text
}

fn outcome(outcome: &Outcome) -> String {
    let steps: Vec<String> = outcome.steps.iter().map(step).collect();
    format!("{}: {}", outcome.verdict.as_str(), steps.join(", "))
}

fn step(step: &Step) -> String {
    let staged = |kind: &str| if kind.starts_with("Staged") { "staged " } else { "" };
    let by = match &step.by {
        StepBy::Loopback => "loopback".to_owned(),
        StepBy::Failsafe(text) => format!("failsafe {text}"),
        StepBy::Rule {
            policy,
            rule_index,
            rule_name,
            ..
        } => {
            let name = rule_name
                .as_ref()
                .map(|name| format!(" ({name})"))
                .unwrap_or_default();
            format!("{}{}/{rule_index}{name}", staged(policy.kind), policy.name)
        }
        StepBy::EndOfTier { tier, trigger } => {
            format!("end of {tier} ({}{})", staged(trigger.kind), trigger.name)
        }
        StepBy::Profile { name, .. } if name == DEFAULT_ALLOW_PROFILE => "profile".to_owned(),
        StepBy::Profile { name, rule_index, .. } => format!("profile {name}/{rule_index}"),
        StepBy::NoProfile => "no profile".to_owned(),
    };
    let stage = match step.stage {
        Stage::Normal => String::new(),
        stage => format!(" at {}", stage.as_str()),
    };
    format!("{} {by}{stage}", step.action)
}
