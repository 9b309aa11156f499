//! What packets meet at each hook, in order.

use std::collections::BTreeSet;

use palisade_nft::{KernelBase, SurveyedChain};
use serde::{Deserialize, Serialize};

use super::{Finding, owners};

/// The hooks in the order of their numbers, `NF_INET_*`.
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];

/// Where the tables of iptables-legacy hang: their hooks, and the priority at each.
const LEGACY: [(&str, &[(u32, i32)]); 5] = [
    ("raw", &[(0, -300), (3, -300)]),
    ("mangle", &[(0, -150), (1, -150), (2, -150), (3, -150), (4, -150)]),
    ("nat", &[(0, -100), (1, 100), (3, -100), (4, 100)]),
    ("filter", &[(1, 0), (2, 0), (3, 0)]),
    ("security", &[(1, 50), (2, 50), (3, 50)]),
];

/// A base chain, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRow {
    /// The hook: `prerouting`, `input`, `forward`, `output` or `postrouting`.
    pub hook: String,
    /// The priority: the lower, the earlier. Which of two with the same comes first is not known.
    pub priority: i32,
    /// The family of the table: `inet`, `ip` or `ip6`.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain; empty for a table of iptables-legacy.
    pub chain: String,
    /// Whose it is, as far as names tell.
    pub owner: String,
    /// Whether it can drop packets; `None` where that cannot be read.
    pub drops: Option<bool>,
    /// Whether it is palisade's.
    pub ours: bool,
}

/// A table of iptables-legacy: family and name.
pub(super) type Legacy = (&'static str, String);

/// Everything on the hooks, in the order in which packets meet it.
pub(super) fn rows(chains: &[SurveyedChain], legacy: &[Legacy]) -> Vec<HookRow> {
    let mut rows = Vec::new();
    for chain in chains {
        let Some(base) = &chain.base else {
            continue;
        };
        rows.push((
            (base.hook, base.priority),
            HookRow {
                hook: hook_name(base.hook),
                priority: base.priority,
                family: chain.family.as_str().to_owned(),
                table: chain.table.clone(),
                chain: chain.name.clone(),
                owner: owners::of_table(chains, chain),
                drops: Some(chain.is_ours() || drops(chains, chain, base)),
                ours: chain.is_ours(),
            },
        ));
    }
    for (family, table) in legacy {
        let places = LEGACY.iter().find(|(name, _)| name == table);
        for &(hook, priority) in places.iter().flat_map(|(_, places)| *places) {
            rows.push((
                (hook, priority),
                HookRow {
                    hook: hook_name(hook),
                    priority,
                    family: (*family).to_owned(),
                    table: table.clone(),
                    chain: String::new(),
                    owner: "iptables-legacy".to_owned(),
                    drops: None,
                    ours: false,
                },
            ));
        }
    }
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Who else may drop where palisade filters.
pub(super) fn findings(rows: &[HookRow]) -> Vec<Finding> {
    let ours = rows.iter().filter(|row| row.ours);
    let mut findings = Vec::new();
    for ours in ours {
        for other in rows
            .iter()
            .filter(|row| !row.ours && row.hook == ours.hook && row.drops == Some(true))
        {
            findings.push(drops_too(ours, other));
        }
    }
    findings
}

fn drops_too(ours: &HookRow, other: &HookRow) -> Finding {
    let who = format!(
        "chain {} of table {} {} ({}) can drop packets at {}",
        other.chain, other.family, other.table, other.owner, other.hook
    );
    let HookRow { priority, .. } = other;
    let ours = ours.priority;
    if other.priority < ours {
        Finding::note(
            "dropped-before",
            format!("{who} before palisade sees them (priority {priority}, ours is {ours})"),
            "what it drops is in none of palisade's counters, reports and flow records",
        )
    } else {
        Finding::note(
            "dropped-after",
            format!("{who} that palisade has allowed (priority {priority}, ours is {ours})"),
            "a packet must be allowed by both: what palisade calls allowed may still not arrive",
        )
    }
}

/// Whether packets can end in a base chain, or in what it leads to.
fn drops(chains: &[SurveyedChain], chain: &SurveyedChain, base: &KernelBase) -> bool {
    let mut seen = BTreeSet::new();
    let mut left = vec![chain];
    while let Some(chain) = left.pop() {
        if chain.drops {
            return true;
        }
        let next = chains.iter().filter(|other| {
            other.family == chain.family && other.table == chain.table && chain.leads_to.contains(&other.name)
        });
        left.extend(next.filter(|next| seen.insert(next.name.as_str())));
    }
    !base.accepts
}

fn hook_name(number: u32) -> String {
    let known = usize::try_from(number).ok().and_then(|number| HOOKS.get(number));
    known.map_or_else(|| format!("hook {number}"), |name| (*name).to_owned())
}
