//! The command line's side of the API.

use std::convert::Infallible;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::types::Failure;

/// Talks to the daemon behind one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or we may not connect.
    #[error("cannot reach palisaded at {socket}: {source}\nhelp: {help}")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
        /// What to do.
        help: &'static str,
    },
    /// The conversation broke off.
    #[error("palisaded broke off: {0}; its log says why (journalctl -u palisade)")]
    Broken(#[from] hyper::Error),
    /// The daemon answered that it cannot.
    #[error("{0}")]
    Refused(String),
    /// The daemon answers others, but not us.
    #[error("{0}")]
    Forbidden(String),
    /// The answer is of another version.
    #[error("palisaded's answer is not understood ({0}): are palisade and palisaded of one version?")]
    Garbled(#[from] serde_json::Error),
}

impl Client {
    /// A client of the daemon behind this socket.
    pub fn new(socket: &Path) -> Self {
        Client {
            socket: socket.to_owned(),
        }
    }

    /// Asks for a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(serde_json::from_slice(&response.collect().await?.to_bytes())?)
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ClientError> {
        let response = self
            .send(Method::POST, path, serde_json::to_vec(body)?.into())
            .await?;
        Ok(serde_json::from_slice(&response.collect().await?.to_bytes())?)
    }

    /// Asks for a path whose answer may not end, and hands out its lines as they come, until it is told to stop.
    pub async fn follow(
        &self,
        path: &str,
        mut line: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut body = self.send(Method::GET, path, Bytes::new()).await?;
        let mut pending = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            pending.extend_from_slice(&data);
            while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
                let rest = pending.split_off(end + 1);
                if line(String::from_utf8_lossy(&pending).trim_end()).is_break() {
                    return Ok(());
                }
                pending = rest;
            }
        }
        Ok(())
    }

    /// Sends a body as it comes and hands out the answer as it comes, until it is told to stop.
    pub async fn stream(
        &self,
        path: &str,
        body: tokio::sync::mpsc::Receiver<Bytes>,
        mut piece: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        let frames = futures::stream::unfold(body, async |mut body| {
            let piece = body.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(piece)), body))
        });
        let body = StreamBody::new(Box::pin(frames));
        let mut answer = self.send_body(Method::POST, path, body).await?;
        while let Some(frame) = answer.frame().await {
            if let Ok(data) = frame?.into_data()
                && piece(&data).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Asks a question and copies the answer as it comes. The inner error is of writing it.
    pub async fn copy(
        &self,
        path: &str,
        question: &impl serde::Serialize,
        out: &mut impl Write,
    ) -> Result<std::io::Result<()>, ClientError> {
        let mut body = self
            .send(Method::POST, path, serde_json::to_vec(question)?.into())
            .await?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if let Err(error) = out.write_all(&data) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, ClientError> {
        self.send_body(method, path, Full::new(body)).await
    }

    async fn send_body<B>(&self, method: Method, path: &str, body: B) -> Result<Incoming, ClientError>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| self.unreachable(source))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "palisade")
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| ClientError::Refused(format!("the request {path:?} cannot be made: {error}")))?;
        let response: Response<Incoming> = sender.send_request(request).await?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        let bytes = response.into_body().collect().await?.to_bytes();
        let failure = serde_json::from_slice::<Failure>(&bytes).map_or_else(
            |_| format!("palisaded answered {status}: {}", String::from_utf8_lossy(&bytes)),
            |failure| failure.error,
        );
        Err(match status {
            StatusCode::FORBIDDEN => ClientError::Forbidden(failure),
            _ => ClientError::Refused(failure),
        })
    }

    fn unreachable(&self, source: std::io::Error) -> ClientError {
        let help = match source.kind() {
            std::io::ErrorKind::PermissionDenied => "be root, or join the group palisade",
            _ => "is it running? try `systemctl status palisade`; offline commands take -f FILE",
        };
        ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
            help,
        }
    }
}
