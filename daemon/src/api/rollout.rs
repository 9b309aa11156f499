//! Guarded changes over the API: what is asked, and what is said of a generation that is not confirmed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use palisade_rules::ruleset::unconfirmed::Percent;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::peer::Peer;
use super::types::ReloadRequest;
use crate::apply::{Entry, Promote, Standing, Who, Window};
use crate::guard::{Caller, Session};
use crate::service::{Asker, Daemon};

/// An unconfirmed generation, as `status` and whoever made it are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The generation.
    pub generation: u64,
    /// The generation that it goes back to.
    pub previous: u64,
    /// When it goes back, unless somebody sets the clock meanwhile.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// In how many seconds, begun ones counted.
    pub remaining_seconds: u64,
    /// Of a canary, the share of new connections that it governs, in percent.
    pub canary: Option<Percent>,
    /// What made it.
    pub why: String,
    /// Who asked for it.
    pub who: Who,
}

impl From<&Window> for Unconfirmed {
    fn from(window: &Window) -> Self {
        Unconfirmed {
            generation: window.generation,
            previous: window.previous,
            until: window.until,
            remaining_seconds: u64::try_from(window.remaining().as_millis().div_ceil(1000))
                .unwrap_or(u64::MAX),
            canary: window.canary,
            why: window.why.clone(),
            who: window.who.clone(),
        }
    }
}

impl Unconfirmed {
    /// What it is, and what to do about it.
    pub fn sentence(&self) -> String {
        let Unconfirmed {
            generation,
            previous,
            remaining_seconds: seconds,
            why,
            ..
        } = self;
        match self.canary {
            Some(share) => format!(
                "generation {generation} ({why}) is a canary, no security state: it governs {share} of new connections, and ends in \
                 {seconds} s"
            ),
            None => format!(
                "generation {generation} ({why}) is not confirmed: without `palisade confirm` it goes back to generation {previous} in \
                 {seconds} s"
            ),
        }
    }
}

/// What `POST /v1/promote` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteRequest {
    /// Staged policies, by name.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether all of them are promoted.
    #[serde(default)]
    pub all: bool,
    /// How long there is to confirm it, in milliseconds; the configuration says how long if not given.
    #[serde(default)]
    pub confirm_within_ms: Option<u64>,
    /// Only for this share of new connections, in percent, and without a change of files.
    #[serde(default)]
    pub canary: Option<Percent>,
    /// Whether connections that are denied then are cut.
    #[serde(default)]
    pub cut: bool,
    /// Whether the change goes on though the lockout guard refuses it.
    #[serde(default)]
    pub force: bool,
    /// The connections that the caller sits behind.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

impl PromoteRequest {
    /// Which policies.
    pub fn promote(&self) -> Promote {
        if self.all {
            Promote::All
        } else {
            Promote::Named(self.names.clone())
        }
    }
}

/// What `POST /v1/rollback` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRequest {
    /// A stored generation; the one before the unconfirmed one if not given.
    #[serde(default)]
    pub to: Option<u64>,
    /// How long there is to confirm it, in milliseconds; if not given, it need not be.
    #[serde(default)]
    pub confirm_within_ms: Option<u64>,
    /// Whether the change goes on though the lockout guard refuses it.
    #[serde(default)]
    pub force: bool,
    /// The connections that the caller sits behind.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

/// A row of `GET /v1/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The generation.
    pub generation: u64,
    /// Its number after the host's last change: the same resources for other addresses or services.
    pub last: u64,
    /// When it came into force.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What made it.
    pub why: String,
    /// Who asked for it.
    pub who: Who,
    /// What became of it.
    pub state: Standing,
    /// Why it was rolled back.
    pub rolled_back: Option<String>,
    /// Whether the generation in force is made of it.
    pub in_force: bool,
    /// How many resource files it has.
    pub files: usize,
}

impl HistoryRow {
    /// The row of a stored generation.
    pub fn new(entry: &Entry, in_force: bool) -> Self {
        HistoryRow {
            generation: entry.number,
            last: entry.last,
            at: entry.at,
            why: entry.why.clone(),
            who: entry.who.clone(),
            state: entry.state,
            rolled_back: entry.rolled_back.clone(),
            in_force,
            files: entry.files.len(),
        }
    }
}

/// What only asks.
pub(super) fn questions() -> Router<Arc<Daemon>> {
    Router::new().route("/v1/history", get(history))
}

/// What changes what is in force.
pub(super) fn changes() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/reload", post(reload))
        .route("/v1/promote", post(promote))
        .route("/v1/confirm", post(confirm))
        .route("/v1/rollback", post(rollback))
}

async fn history(State(daemon): State<Arc<Daemon>>) -> Response {
    super::server::answer(daemon, |daemon| Ok(daemon.history())).await
}

async fn reload(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<ReloadRequest>,
) -> Response {
    let asker = asker(peer, request.sessions, request.force, request.confirm_within_ms);
    Json(daemon.reload(asker).await).into_response()
}

async fn promote(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<PromoteRequest>,
) -> Response {
    let sessions = request.sessions.clone();
    let asker = asker(peer, sessions, request.force, request.confirm_within_ms);
    Json(daemon.promote(request, asker).await).into_response()
}

async fn confirm(State(daemon): State<Arc<Daemon>>) -> Response {
    Json(daemon.confirm().await).into_response()
}

async fn rollback(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<RollbackRequest>,
) -> Response {
    let asker = asker(peer, request.sessions, request.force, request.confirm_within_ms);
    Json(daemon.rollback(request.to, asker).await).into_response()
}

/// Who asks, and how.
pub(super) fn asker(
    peer: Peer,
    sessions: Vec<Session>,
    force: bool,
    confirm_within_ms: Option<u64>,
) -> Asker {
    let comm = peer.pid.and_then(|pid| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(comm.trim_end().to_owned())
    });
    let user = peer.uid.and_then(|uid| {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
        Some(user.ok().flatten()?.name)
    });
    Asker {
        caller: Caller {
            pid: peer.pid,
            uid: peer.uid.unwrap_or_default(),
            sessions,
        },
        who: Who::Process {
            pid: peer.pid,
            comm,
            uid: peer.uid,
            user,
        },
        force,
        confirm_within: confirm_within_ms.map(Duration::from_millis),
        cut: false,
    }
}
