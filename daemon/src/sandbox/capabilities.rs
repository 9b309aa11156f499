//! Capabilities: what of root's power is left.

use caps::{CapSet, Capability};
use tracing::warn;

use super::Needs;

/// Gives away all capabilities but those that are needed, and gives those that are left.
///
/// To change the ruleset takes CAP_NET_ADMIN. The process behind a socket is found in /proc/PID/fd: to list that of
/// another user takes CAP_DAC_READ_SEARCH, to look at what is in it CAP_SYS_PTRACE.
pub(super) fn keep(needs: &Needs) -> Vec<Capability> {
    let mut wanted = vec![Capability::CAP_NET_ADMIN];
    if needs.processes {
        wanted.extend([Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH]);
    }
    match give_away(&wanted) {
        Ok(kept) => kept,
        Err(error) => {
            warn!(%error, "capabilities that are not needed could not be given away");
            let held = caps::read(None, CapSet::Effective).unwrap_or_default();
            sorted(held)
        }
    }
}

fn give_away(wanted: &[Capability]) -> Result<Vec<Capability>, caps::errors::CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let kept = held.into_iter().filter(|capability| wanted.contains(capability));
    let kept = sorted(kept);
    // So that no program gets them back. Whoever may not do that has been confined by somebody who may.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            if !kept.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    let set: caps::CapsHashSet = kept.iter().copied().collect();
    for (part, wanted) in [
        (CapSet::Inheritable, caps::CapsHashSet::new()),
        (CapSet::Effective, set.clone()),
        (CapSet::Permitted, set),
    ] {
        // Where nothing is to be given away, nobody need allow it.
        if caps::read(None, part)? != wanted {
            caps::set(None, part, &wanted)?;
        }
    }
    Ok(kept)
}

/// In one order, whatever the order of the set.
fn sorted(capabilities: impl IntoIterator<Item = Capability>) -> Vec<Capability> {
    let mut capabilities: Vec<_> = capabilities.into_iter().collect();
    capabilities.sort_by_key(Capability::index);
    capabilities
}
