//! What systemd is told; elsewhere nobody listens, and that is fine.

use sd_notify::NotifyState;
use tracing::warn;

use crate::api::types::Status;

/// Tells systemd something.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd cannot be notified");
    }
}

/// Tells systemd that a reload has begun.
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "systemd is not told of the reload"),
    }
}

/// The line that `systemctl status` shows.
pub(super) fn show(status: &Status) {
    let reload = if status.last_reload.ok {
        ""
    } else {
        "; LAST RELOAD REFUSED, see palisade status"
    };
    let net = if status.safety_net {
        "; safety net in place"
    } else {
        ""
    };
    let fight = if status.foreign_changes.waits_until.is_some() {
        "; ANOTHER PROGRAM KEEPS CHANGING THE RULES, see palisade status"
    } else {
        ""
    };
    let panic = if status.panic {
        "PANIC, NOTHING IS FILTERED (palisade resume); "
    } else {
        ""
    };
    let unconfirmed = match &status.unconfirmed {
        Some(unconfirmed) if unconfirmed.canary.is_some() => "CANARY; ",
        Some(_) => "UNCONFIRMED (palisade confirm); ",
        None => "",
    };
    tell(&[NotifyState::Status(&format!(
        "{panic}{unconfirmed}generation {}: {} enforced, {} staged policies{net}{reload}{fight}",
        status.generation, status.enforced_policies, status.staged_policies
    ))]);
}
