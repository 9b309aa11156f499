//! Ports that are sent on to containers before policies for this host see them.

use palisade_nft::SurveyedChain;
use serde::{Deserialize, Serialize};

use super::hooks::Legacy;
use super::{Answers, Finding, owners};

/// A port that somebody sends on by DNAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Who publishes it, as far as names tell.
    pub owner: String,
    /// The protocol; empty where it is not asked.
    pub protocol: String,
    /// The ports of this host; empty where they are not asked, or asked in a way that is not looked into.
    pub ports: String,
    /// Where they are sent, address and port.
    pub to: String,
    /// The policies in force that packets on this way meet; `None` where the daemon does not answer.
    pub policies: Option<Vec<String>>,
}

/// The ports that rules of others send on.
pub(super) fn ports(chains: &[SurveyedChain], answers: Option<&Answers>) -> Vec<Published> {
    let policies = answers.map(on_the_way);
    let mut ports = Vec::new();
    for chain in chains {
        let owner = owners::of_chain(&chain.name).map(str::to_owned);
        let owner = owner.unwrap_or_else(|| owners::of_table(chains, chain));
        for forwarding in &chain.forwards {
            let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" port {port}"));
            ports.push(Published {
                owner: owner.clone(),
                protocol: forwarding
                    .protocol
                    .map_or_else(String::new, |protocol| protocol.to_string()),
                ports: forwarding
                    .ports
                    .map_or_else(String::new, |ports| ports.to_string()),
                to: forwarding.to.map_or_else(
                    || format!("an address that is not looked into{}", port(forwarding.to_port)),
                    |to| format!("{to}{}", port(forwarding.to_port)),
                ),
                policies: policies.clone(),
            });
        }
    }
    ports.dedup();
    ports
}

/// What no policy reaches.
pub(super) fn findings(published: &[Published], legacy: &[Legacy]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in published
        .iter()
        .filter(|port| port.policies.as_ref().is_none_or(Vec::is_empty))
    {
        let Published {
            owner,
            protocol,
            ports,
            to,
            policies,
        } = port;
        let what = match (protocol.as_str(), ports.as_str()) {
            ("", _) => "some of this host's ports are".to_owned(),
            (protocol, "") => format!("some {protocol} ports of this host are"),
            (protocol, ports) => format!("{protocol} port {ports} of this host is"),
        };
        let known = if policies.is_none() {
            "; whether a policy does is not known, for palisaded does not answer"
        } else {
            ", and no policy in force does"
        };
        findings.push(Finding::warning(
            "published-port",
            format!(
                "{what} published by {owner} and sent on to {to}: it passes through forward, where policies for this host's \
                 own services do not reach it{known}"
            ),
            "write a policy for the HostEndpoint with `applyOnForward: true`: with `preDNAT: true` it sees this host's port, \
             without it the container's address and port",
        ));
    }
    if legacy.iter().any(|(_, table)| table == "nat") {
        findings.push(Finding::warning(
            "legacy-nat",
            "iptables-legacy has a nat table, which only `iptables-legacy -t nat -S` shows: ports published there are not \
             listed here",
            "have its owner use iptables-nft (update-alternatives --config iptables), and restart it",
        ));
    }
    findings
}

/// The enforced policies that packets which are sent on meet as they come in.
fn on_the_way(answers: &Answers) -> Vec<String> {
    let policies = answers.policies.iter().filter(|policy| {
        policy.state == "enforced"
            && policy.stage != "normal"
            && !policy.endpoints.is_empty()
            && policy.types.iter().any(|direction| direction == "Ingress")
    });
    policies
        .map(|policy| match &policy.namespace {
            Some(namespace) => format!("{namespace}/{}", policy.name),
            None => policy.name.clone(),
        })
        .collect()
}
