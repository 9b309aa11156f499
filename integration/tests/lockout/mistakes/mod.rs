//! The mistakes, by where they are made.

mod configuration;
mod early;
mod endpoints;
mod files;
mod order;
mod promoted;
mod rules;
mod troubles;

use crate::mistake::Mistake;

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Mistake> {
    let parts = [
        rules::all(),
        order::all(),
        early::all(),
        endpoints::all(),
        configuration::all(),
        files::all(),
        promoted::all(),
        troubles::all(),
    ];
    parts.into_iter().flatten().collect()
}

/// A GlobalNetworkPolicy, its spec in flow style.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

/// A Tier.
fn tier(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
    )
}
