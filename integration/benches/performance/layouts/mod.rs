//! What others load into the kernel for the same policy, as text for `nft -f`.

mod calico;
mod linear;

pub(crate) use calico::{calico, calico_policy};
pub(crate) use linear::linear;

use crate::estate::{Estate, Shape, Source};

/// Nothing but conntrack and an accept: what every firewall that keeps state costs.
pub(crate) const CONNTRACK_ONLY: &str = "table ip conntrack_only {\nchain input {\n\
    type filter hook input priority 0; policy accept;\nct state established,related accept\naccept\n}\n}\n";

/// Where the sources of rules are sets: those sets.
fn sets(estate: &Estate) -> String {
    let set = |source: &Source| {
        let name = source.set().unwrap_or_default();
        let members = source.members().join(", ");
        format!("set {name} {{\ntype ipv4_addr\nelements = {{ {members} }}\n}}\n")
    };
    estate.sets().iter().map(set).collect()
}

/// How a rule asks for its source.
fn source(estate: &Estate, source: Source) -> String {
    match source.set() {
        Some(name) if estate.shape == Shape::Spread => format!("ip saddr @{name}"),
        _ => format!("ip saddr {}", source.network()),
    }
}
