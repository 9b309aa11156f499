//! Another firewall's view: packets counted in a table that is not palisade's.

use std::fmt::Write;

use palisade::lab::Namespace;
use serde_json::Value;

use crate::nft;

/// Counts, at the end of a hook, what palisade has let through there.
#[derive(Debug)]
pub struct Witness {
    namespace: Namespace,
    table: String,
}

impl Witness {
    /// Counts on a hook (`input`, `forward`, `output`), one witness for each, what matches each expression of nft's.
    ///
    /// # Errors
    /// With what nft says of them.
    pub fn new(namespace: &Namespace, hook: &str, counted: &[(&str, &str)]) -> anyhow::Result<Self> {
        let table = format!("witness-{hook}");
        let mut text = format!("table inet {table} {{\n");
        for (name, _) in counted {
            writeln!(text, "counter {name} {{}}")?;
        }
        writeln!(text, "chain seen {{ type filter hook {hook} priority 300;")?;
        for (name, expression) in counted {
            writeln!(text, "{expression} counter name {name}")?;
        }
        writeln!(text, "}}\n}}")?;
        nft(namespace, &["-f", "-"], &text)?;
        Ok(Witness {
            namespace: namespace.clone(),
            table,
        })
    }

    /// Packets counted under a name since the last time it was asked for.
    ///
    /// # Errors
    /// If there is no such counter.
    pub fn seen(&self, name: &str) -> anyhow::Result<u64> {
        let said = nft(
            &self.namespace,
            &["-j", "reset", "counter", "inet", &self.table, name],
            "",
        )?;
        let said: Value = serde_json::from_str(&said)?;
        let objects = said["nftables"].as_array().into_iter().flatten();
        let packets = objects.filter_map(|object| object["counter"]["packets"].as_u64());
        Ok(packets.sum())
    }
}
