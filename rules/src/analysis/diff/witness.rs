//! Packets that show a change.

use serde::{Deserialize, Serialize};

use super::Side;
use super::parties::Party;
use crate::analysis::explain::{Answer, Query, explain};
use crate::analysis::trace::StepReport;
use crate::net::{Family, Protocol};
use crate::world::WorldKind;

/// A packet on which the sides differ, as `explain` answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// What to ask either side.
    #[serde(flatten)]
    pub query: Query,
    /// The connection in words: `web to db, tcp 80`.
    pub text: String,
    /// What they say.
    pub verdicts: Verdicts,
    /// Whether it is the new side that allows it.
    pub is_added: bool,
}

/// What each side says of a packet, and who decides: `deny by web-lockdown (end of tier default)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The old side.
    pub old: String,
    /// The new side.
    pub new: String,
}

/// Finds a packet between two parties that only one side allows, among these protocols and ports.
pub(super) fn find(
    sides: [Side<'_>; 2],
    [from, to]: [&Party; 2],
    samples: &[(Protocol, Option<u16>)],
    is_added: bool,
    without_safety_net: bool,
) -> Option<Witness> {
    let mut asked = Vec::new();
    if from.is_named_on_both && to.is_named_on_both {
        asked.push((from.name.clone(), to.name.clone()));
    }
    for source in from.stands.iter().flatten() {
        for destination in to.stands.iter().flatten() {
            let pair = (source.address.to_string(), destination.address.to_string());
            if Family::of(source.address) == Family::of(destination.address) && !asked.contains(&pair) {
                asked.push(pair);
            }
        }
    }
    let queries = samples.iter().flat_map(|&(protocol, port)| {
        asked.iter().map(move |(from, to)| Query {
            from: from.clone(),
            to: to.clone(),
            protocol,
            port,
            source_port: None,
            icmp_type: None,
            icmp_code: None,
        })
    });
    queries.into_iter().find_map(|query| {
        let [old, new] = sides.map(|side| {
            let answer = explain(side.worlds, &query).ok()?;
            Some(said(&answer, side.world, without_safety_net))
        });
        let ((is_old, old), (is_new, new)) = (old?, new?);
        let shows = is_old != is_added && is_new == is_added;
        shows.then(|| Witness {
            text: text(&query),
            verdicts: Verdicts { old, new },
            is_added,
            query,
        })
    })
}

/// Whether an answer allows, and who decides.
fn said(answer: &Answer, world: WorldKind, without_safety_net: bool) -> (bool, String) {
    let answer = match world {
        WorldKind::Enforced => &answer.enforced,
        WorldKind::Pending => &answer.pending,
    };
    let bare = answer.without_safety_net.as_ref().filter(|_| without_safety_net);
    let (verdict, steps) = bare.map_or((&answer.verdict, &answer.steps), |bare| {
        (&bare.verdict, &bare.steps)
    });
    let by = steps.last().map_or("nobody asked".to_owned(), StepReport::phrase);
    (verdict == "allow", format!("{verdict} by {by}"))
}

fn text(query: &Query) -> String {
    let port = query.port.map(|port| format!(" {port}")).unwrap_or_default();
    format!("{} to {}, {}{port}", query.from, query.to, query.protocol)
}
