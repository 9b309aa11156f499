//! The safety net over the API.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::peer::Peer;
use super::rollout::asker;
use crate::guard::Session;
use crate::live::LiveReport;
use crate::service::Daemon;

/// `GET /v1/safety-net`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SafetyNetReport {
    /// The nets in force, each with where it is written.
    pub nets: Vec<Net>,
    /// What the nets have let in and out, ever, by direction.
    pub counted: Vec<Counted>,
    /// What was seen, and would be denied today without them: as policies are now, not as they were then.
    pub caught: Vec<Caught>,
    /// When the first connection was seen; `None` if none was.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// First packets that could not be seen.
    #[serde(default)]
    pub missing: u64,
    /// The live connections that only a net would let in again; `None` if they cannot be read.
    pub connections: Option<LiveReport>,
    /// What keeps packets from a net: tiers that end in Deny before it is asked, and rules that leave nothing for it.
    pub before: Vec<String>,
}

/// A net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// The policy's name.
    pub name: String,
    /// Where it is written, `file:line:column`; `None` for the one of the configuration.
    pub source: Option<String>,
}

/// What the rules of nets have counted in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The policy's name.
    pub name: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// First packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Connections that only a net lets in, those alike together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caught {
    /// `ingress` or `egress`.
    pub direction: String,
    /// Where from, by name.
    pub from: String,
    /// Where to, by name.
    pub to: String,
    /// The protocol.
    pub protocol: String,
    /// The destination port; 0 for protocols without.
    pub port: u16,
    /// First packets.
    pub packets: u64,
    /// When the last of them was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
    /// What would deny them.
    pub because: String,
}

/// What `POST /v1/safety-net/remove` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetyNetRequest {
    /// How long there is to confirm it, in milliseconds; the configuration says how long if not given.
    #[serde(default)]
    pub confirm_within_ms: Option<u64>,
    /// Whether it goes on though the lockout guard refuses it.
    #[serde(default)]
    pub force: bool,
    /// The connections that the caller sits behind.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

/// What only asks.
pub(super) fn questions() -> Router<Arc<Daemon>> {
    Router::new().route("/v1/safety-net", get(status))
}

/// What changes what is in force.
pub(super) fn changes() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/safety-net/remove", post(remove))
        .route("/v1/safety-net/restore", post(restore))
}

async fn status(State(daemon): State<Arc<Daemon>>) -> Response {
    super::server::answer(daemon, Daemon::safety_net).await
}

async fn remove(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<SafetyNetRequest>,
) -> Response {
    let asker = asker(peer, request.sessions, request.force, request.confirm_within_ms);
    Json(daemon.remove_safety_net(asker).await).into_response()
}

async fn restore(State(daemon): State<Arc<Daemon>>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    Json(
        daemon
            .restore_safety_net(asker(peer, Vec::new(), false, None))
            .await,
    )
    .into_response()
}
