//! Calico's layout: what Felix renders for one host endpoint in its nftables mode, after its documentation and source.
//!
//! A packet goes through `filter-INPUT`, `cali-INPUT`, the dispatch by interface, the endpoint's chain, the tier's group of
//! policies (all have one selector, so they share a group, with a return on verdict before every fifth) and each policy's chain.
//! A rule that matches sets a mark, and the next returns on it. Every rule has a counter. Marks and chains are named as Felix
//! names them; comments with hashes are left out. Two things favour Calico: its sets of addresses are hashes here, where Felix has interval
//! sets for selectors, which cost about twice as much; and what it has in the raw, mangle and nat tables is left out.

use super::{sets, source};
use crate::estate::{Estate, INTERFACE, RULES_OF_A_POLICY};

const ACCEPT: &str = "0x10000";
const PASS: &str = "0x20000";
const BOTH: &str = "0x30000";

/// What Felix lets through at host endpoints whatever the policies say (`FailsafeInboundHostPorts`).
const FAILSAFES: [(&str, u16); 9] = [
    ("tcp", 22),
    ("udp", 68),
    ("tcp", 179),
    ("tcp", 2379),
    ("tcp", 2380),
    ("tcp", 5473),
    ("tcp", 6443),
    ("tcp", 6666),
    ("tcp", 6667),
];

/// The table; `flow_logs` adds the NFLOG rules of `FlowLogsEnabled`, one for each verdict.
pub(crate) fn calico(estate: &Estate, flow_logs: bool) -> String {
    let policies = 0..estate.policies;
    let chains: String = policies
        .clone()
        .map(|policy| policy_chain(estate, policy, flow_logs, 0))
        .collect();
    let failsafes = FAILSAFES
        .map(|(protocol, port)| format!("meta l4proto {protocol} {protocol} dport {port} counter accept\n"));
    let failsafes = failsafes.concat();
    let group: String = policies
        .map(|policy| match policy % 5 {
            0 if policy == 0 => format!("counter jump cali-pi-{policy}\n"),
            0 => format!("meta mark and {BOTH} != 0 counter return\ncounter jump cali-pi-{policy}\n"),
            _ => format!("meta mark and {BOTH} == 0 counter jump cali-pi-{policy}\n"),
        })
        .collect();
    let log = |prefix: &str| {
        if flow_logs {
            format!("{} counter {}\n", unmarked(PASS), nflog(prefix))
        } else {
            String::new()
        }
    };
    let tier = if estate.policies == 0 {
        // The profile that allows everything.
        format!(
            "counter meta mark set mark or {ACCEPT}\n{} counter return\n",
            marked(ACCEPT)
        )
    } else {
        format!(
            "counter meta mark set mark and 0xfffdffff\n{} counter jump cali-gi\n{} counter return\n{}{} counter drop\n",
            unmarked(PASS),
            marked(ACCEPT),
            log("DPI|default"),
            unmarked(PASS)
        )
    };
    let accepted = marked(ACCEPT);
    format!(
        "table ip calico {{\n{sets}chain cali-failsafe-in {{\n{failsafes}}}\n{chains}chain cali-gi {{\n{group}}}\n\
         chain cali-fh {{\nct state established,related counter accept\nct state invalid counter drop\n\
         counter jump cali-failsafe-in\ncounter meta mark set mark and 0xfffcffff\n{tier}counter drop\n}}\n\
         chain cali-from-host-endpoint {{\niifname \"{INTERFACE}\" counter goto cali-fh\n}}\n\
         chain cali-INPUT {{\niifname \"cali*\" counter accept\n{accepted} counter accept\n\
         counter meta mark set mark and 0xffe4ffff\ncounter jump cali-from-host-endpoint\n{accepted} counter accept\n}}\n\
         chain filter-INPUT {{\ntype filter hook input priority filter; policy accept;\ncounter jump cali-INPUT\n}}\n}}\n",
        sets = sets(estate),
    )
}

/// What Felix loads when one policy has another edition: its chain is flushed, and added whole.
pub(crate) fn calico_policy(estate: &Estate, policy: usize, edition: u16) -> String {
    let chain = policy_chain(estate, policy, false, edition);
    format!("flush chain ip calico cali-pi-{policy}\ntable ip calico {{\n{chain}}}\n")
}

fn policy_chain(estate: &Estate, policy: usize, flow_logs: bool, edition: u16) -> String {
    let protocol = estate.protocol.name();
    let mut text = format!("chain cali-pi-{policy} {{\n");
    for index in 0..RULES_OF_A_POLICY {
        let rule = estate.rule_of(policy, index, edition);
        let source = source(estate, rule.source);
        text += &format!(
            "meta l4proto {protocol} {source} {protocol} dport {} counter meta mark set mark or {ACCEPT}\n",
            rule.port
        );
        if flow_logs {
            text += &format!(
                "{} counter {}\n",
                marked(ACCEPT),
                nflog(&format!("API{index}|gnp/service-{policy:05}"))
            );
        }
        // Felix leaves out the return at the end of a chain.
        if index + 1 < RULES_OF_A_POLICY {
            text += &format!("{} counter return\n", marked(ACCEPT));
        }
    }
    text + "}\n"
}

fn marked(bit: &str) -> String {
    format!("meta mark and {bit} == {bit}")
}

fn unmarked(bit: &str) -> String {
    format!("meta mark and {bit} == 0")
}

fn nflog(prefix: &str) -> String {
    format!("log prefix \"{prefix}\" snaplen 80 group 1")
}
