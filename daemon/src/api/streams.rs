//! Answers that are sent while they are worked out, for they may be larger than memory.

use std::io::BufWriter;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use palisade_rules::analysis::QueryLines;
use tokio::sync::mpsc;

use super::server::fail;
use crate::matrix::{self, Question};
use crate::service::Daemon;

/// How many bytes are sent at once, and how many pieces may wait for a slow reader.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 4;

/// A query a line, an answer a line, both as they come, and all of one generation.
pub(super) async fn queries(State(daemon): State<Arc<Daemon>>, body: Body) -> Response {
    let (pieces, mut asked) = mpsc::channel(PIECES);
    let (answers, answered) = mpsc::channel::<std::io::Result<Vec<u8>>>(PIECES);
    tokio::spawn(async move {
        let mut body = body.into_data_stream();
        while let Some(Ok(piece)) = body.next().await {
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
    });
    tokio::task::spawn_blocking(move || {
        let generation = daemon.generation();
        let mut queries = QueryLines::new(&generation.worlds);
        let mut is_wanted = true;
        while is_wanted {
            let mut out = Vec::new();
            if let Some(piece) = asked.blocking_recv() {
                queries.piece(&piece, &mut out);
            } else {
                queries.end(&mut out);
                is_wanted = false;
            }
            is_wanted &= answers.blocking_send(Ok(out)).is_ok();
        }
    });
    let answered = futures::stream::unfold(answered, async |mut answered| {
        let answers = answered.recv().await?;
        Some((answers, answered))
    });
    Body::from_stream(Box::pin(answered)).into_response()
}

/// The matrix, as it is worked out: it may be larger than memory.
pub(super) async fn matrix(State(daemon): State<Arc<Daemon>>, Json(question): Json<Question>) -> Response {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES);
    let work = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Pieces(sender));
        let generation = daemon.generation();
        let title = format!("Who reaches whom: generation {}", generation.number);
        matrix::write(&generation.worlds, &question, &title, &mut out)
    });
    let Some(first) = pieces.recv().await else {
        // Nothing is written of a question that has no answer.
        return match work.await {
            Ok(Ok(())) => StatusCode::OK.into_response(),
            Ok(Err(error)) => fail(StatusCode::UNPROCESSABLE_ENTITY, &error),
            Err(bug) => fail(StatusCode::INTERNAL_SERVER_ERROR, &bug),
        };
    };
    let rest = futures::stream::unfold((pieces, Some(work)), |(mut pieces, work)| async {
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), (pieces, work)));
        }
        // What ends too early must not look whole.
        match work?.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((Err(std::io::Error::other(error)), (pieces, None))),
            Err(bug) => Some((Err(std::io::Error::other(bug)), (pieces, None))),
        }
    });
    let first = futures::stream::once(std::future::ready(Ok(first)));
    Body::from_stream(first.chain(rest)).into_response()
}

/// Hands what is written to a reader that may be slow, and fails once it is gone.
struct Pieces(mpsc::Sender<Bytes>);

impl std::io::Write for Pieces {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let piece = Bytes::copy_from_slice(buffer);
        self.0
            .blocking_send(piece)
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
