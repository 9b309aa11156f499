//! What each field of policies, rules and endpoints means to real packets. Needs root.
//!
//! Each test sends what must arrive and what must not, over both IP versions, and looks at the counters of the rules that
//! decided.

mod addresses;
mod annotations;
mod deny_action;
mod failsafes;
mod forward;
mod host_endpoints;
mod kubernetes;
mod namespaced;
mod ports;
mod pre_dnat;
mod profiles;
mod protocols;
mod resources;
mod subjects;
mod untracked;
mod workloads;

use std::collections::BTreeSet;

use palisade_integration::{Daemon, Matrix, Witness};

/// Packets that the enforced world has denied, whatever denied them.
fn counted_denials(daemon: &Daemon) -> anyhow::Result<u64> {
    let counters = daemon.counters()?;
    let denials = counters
        .rows()
        .iter()
        .filter(|row| row.world == "enforced" && row.action == "Deny");
    Ok(denials.map(|row| row.packets_total).sum())
}

/// What was answered over both IP versions, which must agree: `tcp 22`.
fn answered(matrix: &Matrix) -> BTreeSet<&str> {
    let over = |version: u8| {
        let end = format!(" over IPv{version}");
        let answered = matrix.iter().filter(|(_, outcome)| outcome.is_answered());
        let of_version = answered.filter_map(|(question, _)| question.strip_suffix(end.as_str()));
        let asked = of_version.filter_map(|question| Some(question.split_once(": ")?.1));
        asked.collect::<BTreeSet<_>>()
    };
    assert_eq!(over(4), over(6), "{matrix:#?}");
    over(4)
}

/// Counts packets that palisade has let through with a mark on them: it uses marks, and must leave none.
struct Marks([Witness; 2]);

impl Marks {
    fn watch(daemon: &Daemon) -> anyhow::Result<Self> {
        let marked = [("marked", "meta mark != 0")];
        let watch = |hook| Witness::new(daemon.namespace(), hook, &marked);
        Ok(Marks([watch("input")?, watch("forward")?]))
    }

    fn seen(&self) -> anyhow::Result<u64> {
        self.0.iter().map(|witness| witness.seen("marked")).sum()
    }
}
