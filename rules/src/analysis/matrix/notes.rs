//! What a reader of the matrix should know.

use super::Matrix;
use super::rules::{all_rules, source_port};
use crate::net::Protocol;

impl Matrix<'_> {
    /// What the matrix rests on that is not in its cells, and who is not in it.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.worlds.looks_at_source_ports() {
            let port = source_port(Some(Protocol::TCP));
            notes.push(format!(
                "some rules look at the source port: the matrix is that of source port {port}"
            ));
        }
        if all_rules(self.worlds).any(|rule| rule.icmp.is_some() || rule.not_icmp.is_some()) {
            notes
                .push("some rules look at the ICMP type: icmp and icmpv6 stand for echo requests".to_owned());
        }
        let mute: Vec<&str> = self
            .nodes
            .iter()
            .filter(|node| self.groups[node.group].spots.is_empty())
            .map(|node| node.name.as_str())
            .collect();
        if !mute.is_empty() {
            notes.push(format!(
                "{} without an address: nothing is known of what reaches {}; add expectedIPs",
                mute.join(", "),
                if mute.len() == 1 { "it" } else { "them" }
            ));
        }
        notes
    }
}
