//! The same policy as somebody writes it by hand: one chain, one rule after the other.

use super::{sets, source};
use crate::estate::{Estate, INTERFACE};

/// The table: established connections first, then every rule with its counter, then a drop.
pub(crate) fn linear(estate: &Estate) -> String {
    let protocol = estate.protocol.name();
    let mut text = format!("table ip by_hand {{\n{}chain by_hand {{\n", sets(estate));
    for number in 0..estate.rules() {
        let rule = estate.rule(number);
        let source = source(estate, rule.source);
        text += &format!("{source} {protocol} dport {} counter accept\n", rule.port);
    }
    let end = if estate.policies == 0 {
        "accept"
    } else {
        "counter drop"
    };
    text + &format!(
        "{end}\n}}\nchain input {{\ntype filter hook input priority 0; policy accept;\nct state established,related accept\n\
         ct state invalid drop\ntcp dport 22 accept\nudp dport 68 accept\niifname \"{INTERFACE}\" goto by_hand\n}}\n}}\n"
    )
}
