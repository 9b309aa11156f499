//! Counters as `palisade counters -o json` shows them.

use anyhow::{Context, ensure};
use serde::Deserialize;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Counter {
    /// The name in the kernel.
    pub counter: String,
    /// `enforced` or `pending`.
    pub world: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// `untracked`, `pre-dnat`, `normal` or `forward`.
    pub stage: String,
    /// The tier; empty where no tier speaks.
    pub tier: String,
    /// The kind as written, or `EndOfTier`, `Profile`, `Failsafe`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The index of the rule as written; -1 where no rule counts.
    pub rule_index: i64,
    /// `Allow`, `Deny`, `Pass` or `Log`.
    pub action: String,
    /// Whether a safety net had caught these packets before.
    pub without_safety_net: bool,
    /// Packets.
    pub packets_total: u64,
    /// Bytes.
    pub bytes_total: u64,
}

/// All the rows at one moment.
#[derive(Clone, Debug)]
pub struct Counters(pub(crate) Vec<Counter>);

impl Counters {
    /// The rows.
    pub fn rows(&self) -> &[Counter] {
        &self.0
    }

    /// The only row that fits.
    ///
    /// # Errors
    /// If none or several do, with all the rows there are.
    pub fn only(&self, fits: impl Fn(&Counter) -> bool) -> anyhow::Result<&Counter> {
        let mut found = self.0.iter().filter(|row| fits(row));
        let first = found
            .next()
            .with_context(|| format!("no counter fits; there are {self:#?}"))?;
        ensure!(
            found.next().is_none(),
            "several counters fit, the first is {first:?}; there are {self:#?}"
        );
        Ok(first)
    }

    /// The row of a rule, by the policy's name, in one world and direction.
    pub fn rule(
        &self,
        world: &str,
        direction: &str,
        policy: &str,
        rule_index: i64,
    ) -> anyhow::Result<&Counter> {
        self.only(|row| {
            (
                row.world.as_str(),
                row.direction.as_str(),
                row.name.as_str(),
                row.rule_index,
            ) == (world, direction, policy, rule_index)
        })
    }

    /// The row of the end of a tier, in one world and direction.
    pub fn end_of_tier(&self, world: &str, direction: &str, tier: &str) -> anyhow::Result<&Counter> {
        self.only(|row| {
            (
                row.world.as_str(),
                row.direction.as_str(),
                row.kind.as_str(),
                row.tier.as_str(),
            ) == (world, direction, "EndOfTier", tier)
        })
    }
}
