//! OTLP over HTTP: one request at a time, with an end.

use std::io;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Attempts for one request.
const ATTEMPTS: usize = 4;

/// The pause before the second attempt; it doubles with each.
const PAUSE: Duration = Duration::from_millis(200);

/// What is read of an answer.
const ANSWER: usize = 64 << 10;

/// A collector.
pub(super) struct Client {
    host: String,
    port: u16,
    authority: String,
    base: String,
    timeout: Duration,
    runtime: Option<Runtime>,
}

/// Why a request was in vain.
struct Failure {
    message: String,
    /// Whether it may be better the next time.
    temporary: bool,
}

impl Client {
    pub(super) fn new(endpoint: &Uri, timeout: Duration) -> Self {
        let host = endpoint.host().unwrap_or_default();
        Client {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: endpoint.port_u16().unwrap_or(80),
            authority: endpoint.authority().map(ToString::to_string).unwrap_or_default(),
            base: endpoint.path().trim_end_matches('/').to_owned(),
            timeout,
            runtime: None,
        }
    }

    /// Posts a message until it is taken, refused, or the time is up; gives the answer.
    pub(super) fn post(&mut self, path: &str, message: Vec<u8>) -> Result<Bytes, String> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()
                .map_err(|error| error.to_string())?,
        };
        let result = runtime.block_on(self.attempts(path, message.into()));
        self.runtime = Some(runtime);
        result
    }

    async fn attempts(&self, path: &str, message: Bytes) -> Result<Bytes, String> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let result = tokio::time::timeout(left, self.attempt(path, message.clone())).await;
            let failure = match result {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    return Err(format!(
                        "no answer within {:?} (flows.otlp.timeout)",
                        self.timeout
                    ));
                }
            };
            if !failure.temporary || attempt == ATTEMPTS || Instant::now() + pause >= deadline {
                return Err(failure.message);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    async fn attempt(&self, path: &str, message: Bytes) -> Result<Bytes, Failure> {
        let connection = TcpStream::connect((self.host.as_str(), self.port)).await;
        let connection = connection.map_err(|error| Failure::connecting(&error))?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection))
            .await
            .map_err(Failure::temporary)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(message))
            .map_err(|error| Failure {
                message: error.to_string(),
                temporary: false,
            })?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(Failure::temporary)?;
            let status = response.status();
            if !status.is_success() {
                return Err(Failure::refused(status));
            }
            let body = Limited::new(response.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| Failure::temporary(error.as_ref()))?;
            Ok(body.to_bytes())
        };
        // The driver ends with the sender, or when the connection breaks, which the sender then says.
        tokio::pin!(exchange, driver);
        tokio::select! {
            biased;
            result = &mut exchange => result,
            _ = &mut driver => exchange.await,
        }
    }
}

impl Failure {
    fn temporary(error: impl std::fmt::Display) -> Self {
        Failure {
            message: error.to_string(),
            temporary: true,
        }
    }

    fn connecting(error: &io::Error) -> Self {
        let confined = [Errno::EAFNOSUPPORT, Errno::EPERM, Errno::EACCES]
            .iter()
            .any(|errno| error.raw_os_error() == Some(*errno as i32));
        if confined {
            return Failure {
                message: format!(
                    "{error}: palisade.service lets palisaded speak IP to nobody; its drop-in network.conf says how to let it"
                ),
                temporary: false,
            };
        }
        Failure::temporary(error)
    }

    fn refused(status: StatusCode) -> Self {
        Failure {
            message: format!("the collector answered {status}"),
            // What OTLP calls retryable.
            temporary: matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
        }
    }
}
