//! Who is at the other end of a connection, and what they may do.
//!
//! Whoever may open the socket may ask: its mode leaves that to root and the group palisade. Changing what is in force is
//! root's, and the user's that the daemon runs as.

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use tokio::net::UnixListener;

use super::server::fail;

/// The process at the other end of a connection, as the kernel noted it when that was opened (`SO_PEERCRED`).
///
/// Handlers take it as `ConnectInfo<Peer>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id; `None` if it is not of our process namespace.
    pub pid: Option<i32>,
    /// Its effective user; `None` if the kernel does not say.
    pub uid: Option<u32>,
}

/// Why somebody may not change anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} may look, but not change what is in force: that is for root; run the command with sudo")]
pub struct NotAllowed {
    who: String,
}

impl Peer {
    /// Whether the peer may change what is in force.
    ///
    /// # Errors
    /// Names the user who may not.
    pub fn may_change(self) -> Result<(), NotAllowed> {
        match self.uid {
            Some(uid) if uid == 0 || uid == nix::unistd::geteuid().as_raw() => Ok(()),
            uid => Err(NotAllowed { who: name(uid) }),
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred().ok();
        Peer {
            // The kernel says 0 of a process that we cannot see.
            pid: peer.and_then(|peer| peer.pid()).filter(|&pid| pid != 0),
            uid: peer.map(|peer| peer.uid()),
        }
    }
}

/// Lets only those through who may change what is in force; others are told so with 403.
pub(super) async fn only_who_may_change(
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<Peer>>,
    request: Request,
    next: Next,
) -> Response {
    match peer.may_change() {
        Ok(()) => next.run(request).await,
        Err(error) => {
            tracing::warn!(
                pid = peer.pid,
                uid = peer.uid,
                path = request.uri().path(),
                "refused: {error}"
            );
            fail(StatusCode::FORBIDDEN, &error)
        }
    }
}

/// A user in words.
fn name(uid: Option<u32>) -> String {
    let Some(uid) = uid else {
        return "an unknown user".to_owned();
    };
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("user {}", user.name),
        _ => format!("user {uid}"),
    }
}
