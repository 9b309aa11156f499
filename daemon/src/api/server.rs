//! The daemon's side of the API.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures::StreamExt;
use palisade_rules::analysis;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;

use super::learn::LearnRequest;
use super::metrics;
use super::peer::{self, Peer};
use super::rollout;
use super::safety_net;
use super::streams::{matrix, queries};
use super::types::{DiffQuestion, Failure, FlowLine, PlanRequest, StagedQuestion, TestQuestion};
use crate::flows::reader;
use crate::flows::traced::Traced;
use crate::kernel::KernelError;
use crate::service::Daemon;

/// The group whose members may use the socket, if it exists.
const GROUP: &str = "palisade";

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}: {source}; is another palisaded running, and does the directory exist?")]
pub struct ListenError {
    path: PathBuf,
    source: std::io::Error,
}

/// Binds the socket: mode 0660, owned by root and the group palisade where that exists. A socket that a dead daemon
/// left behind is replaced, a living daemon's is not.
pub async fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let error = |source| ListenError {
        path: path.to_owned(),
        source,
    };
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(error(std::io::ErrorKind::AddrInUse.into()));
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(error(source)),
        _ => {}
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(error)?;
    }
    // Closed to all until mode and group are right.
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(mask);
    let listener = listener.map_err(error)?;
    if let Ok(Some(group)) = nix::unistd::Group::from_name(GROUP)
        && let Err(errno) = nix::unistd::chown(path, None, Some(group.gid))
    {
        tracing::warn!(%errno, socket = %path.display(), "the socket stays root's: it cannot be given to group palisade");
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(error)?;
    Ok(listener)
}

/// Serves the API until the process ends.
pub async fn serve(listener: UnixListener, daemon: Arc<Daemon>) -> std::io::Result<()> {
    let questions = Router::new()
        .route(
            "/v1/status",
            get(async |State(daemon): State<Arc<Daemon>>| Json(daemon.status())),
        )
        .route(
            "/v1/policies",
            get(async |State(daemon): State<Arc<Daemon>>| answer(daemon, Daemon::policies).await),
        )
        .route(
            "/v1/counters",
            get(async |State(daemon): State<Arc<Daemon>>| answer(daemon, Daemon::counters).await),
        )
        .route(
            "/v1/endpoints",
            get(async |State(daemon): State<Arc<Daemon>>| {
                answer(daemon, |daemon| Ok(daemon.endpoints())).await
            }),
        )
        .route("/v1/staged", get(staged))
        .route(
            "/v1/ruleset",
            get(async |State(daemon): State<Arc<Daemon>>| {
                answer(daemon, |daemon| Ok(daemon.ruleset())).await
            }),
        )
        .route("/v1/flows", get(flows))
        .route("/metrics", get(metrics::answer))
        .route("/v1/explain", post(explain))
        .route("/v1/matrix", post(matrix))
        .route("/v1/diff", get(diff))
        .route("/v1/lint", get(lint))
        .route("/v1/test", post(test))
        .route("/v1/explain/queries", post(queries))
        .route("/v1/explain/trace", post(trace))
        .route("/v1/learn", post(learn))
        .route(
            "/v1/connections",
            get(async |State(daemon): State<Arc<Daemon>>| answer(daemon, Daemon::connections).await),
        )
        // Whole directories come in one request, from those who may read our own.
        .route("/v1/plan", post(plan).layer(DefaultBodyLimit::disable()));
    // Every way to change what is in force belongs here.
    let changes = rollout::changes()
        .merge(safety_net::changes())
        .route_layer(middleware::from_fn(peer::only_who_may_change));
    let router = questions
        .merge(rollout::questions())
        .merge(safety_net::questions())
        .merge(changes)
        .with_state(daemon);
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).await
}

async fn staged(State(daemon): State<Arc<Daemon>>, Query(question): Query<StagedQuestion>) -> Response {
    let evidence = question.evidence();
    answer(daemon, move |daemon| daemon.staged(evidence)).await
}

#[derive(Deserialize)]
struct FlowsQuery {
    #[serde(default)]
    follow: bool,
}

/// The records of the last intervals, then, with `follow`, those to come; one JSON object a line, as in the file.
async fn flows(State(daemon): State<Arc<Daemon>>, Query(query): Query<FlowsQuery>) -> Response {
    let (recent, coming) = daemon.flows();
    let recent = futures::stream::iter(recent).map(|record| line(&FlowLine::Flow(record)));
    if !query.follow {
        return Body::from_stream(recent).into_response();
    }
    let coming = futures::stream::unfold(coming, |mut coming| async {
        match coming.recv().await {
            Ok(record) => Some((line(&FlowLine::Flow(record)), coming)),
            // A reader that is too slow misses records, and is told; it must not make the daemon wait.
            Err(RecvError::Lagged(records)) => Some((line(&FlowLine::Missed { records }), coming)),
            Err(RecvError::Closed) => None,
        }
    });
    Body::from_stream(recent.chain(coming)).into_response()
}

fn line(line: &FlowLine) -> std::io::Result<String> {
    Ok(serde_json::to_string(line)? + "\n")
}

async fn explain(State(daemon): State<Arc<Daemon>>, Json(query): Json<analysis::Query>) -> Response {
    match analysis::explain(&daemon.generation().worlds, &query) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => fail(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn trace(State(daemon): State<Arc<Daemon>>, Json(traced): Json<Traced>) -> Response {
    answer(daemon, move |daemon| Ok(reader::traced(daemon, &traced))).await
}

#[derive(Deserialize)]
struct LintQuery {
    /// As `palisade lint --stale-after`.
    stale_after_days: Option<u16>,
}

/// What lint finds, in the shape of `check -o json`.
async fn lint(State(daemon): State<Arc<Daemon>>, Query(query): Query<LintQuery>) -> Response {
    answer(daemon, move |daemon| Ok(daemon.lint(query.stale_after_days))).await
}

async fn diff(State(daemon): State<Arc<Daemon>>, Query(question): Query<DiffQuestion>) -> Response {
    asked(daemon, move |daemon| daemon.diff(&question)).await
}

async fn learn(State(daemon): State<Arc<Daemon>>, Json(request): Json<LearnRequest>) -> Response {
    answer(daemon, move |daemon| Ok(daemon.learn(&request))).await
}

async fn test(State(daemon): State<Arc<Daemon>>, Json(question): Json<TestQuestion>) -> Response {
    asked(daemon, move |daemon| daemon.test(&question)).await
}

async fn plan(State(daemon): State<Arc<Daemon>>, Json(request): Json<PlanRequest>) -> Response {
    answer(daemon, |daemon| Ok(daemon.plan(request))).await
}

/// Answers away from the event loop: the engine may be busy, the kernel slow, and the evaluation long.
pub(super) async fn answer<T: serde::Serialize + Send + 'static>(
    daemon: Arc<Daemon>,
    ask: impl FnOnce(&Daemon) -> Result<T, KernelError> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || ask(&daemon)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => fail(StatusCode::INTERNAL_SERVER_ERROR, &error),
        Err(bug) => fail(StatusCode::INTERNAL_SERVER_ERROR, &bug),
    }
}

/// As [`answer`], of a question that may have no answer.
async fn asked<T, E>(
    daemon: Arc<Daemon>,
    ask: impl FnOnce(&Daemon) -> Result<T, E> + Send + 'static,
) -> Response
where
    T: serde::Serialize + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    match tokio::task::spawn_blocking(move || ask(&daemon)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => fail(StatusCode::UNPROCESSABLE_ENTITY, &error),
        Err(bug) => fail(StatusCode::INTERNAL_SERVER_ERROR, &bug),
    }
}

pub(super) fn fail(status: StatusCode, error: &dyn std::error::Error) -> Response {
    (
        status,
        Json(Failure {
            error: error.to_string(),
        }),
    )
        .into_response()
}
