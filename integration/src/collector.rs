//! A collector that takes OTLP over HTTP, and counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use palisade::lab::Namespace;
use prost::Message;

/// A collector on loopback, which decodes with OpenTelemetry's own types. Dead when dropped: nobody listens any more.
#[derive(Debug)]
pub struct Collector {
    taken: Arc<Mutex<Taken>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`Collector`] has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The events, by name, as they came.
    pub events: Vec<String>,
    /// Points of the first metric of each request: one for each counter.
    pub points: usize,
}

impl Collector {
    /// Starts one in a namespace; when this returns, it can be connected to.
    pub fn start(namespace: &Namespace, port: u16) -> anyhow::Result<Self> {
        let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))??;
        listener.set_nonblocking(true)?;
        let (taken, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (shared, stopped) = (Arc::clone(&taken), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A daemon that breaks off is the daemon's affair: what did not come is not counted.
                    Ok((connection, _)) => drop(take(connection, &shared)),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Collector {
            taken,
            stop,
            thread: Some(thread),
        })
    }

    /// What it has taken so far.
    pub fn taken(&self) -> Taken {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

/// Takes one request, and answers it.
fn take(connection: TcpStream, taken: &Mutex<Taken>) -> anyhow::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(connection);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("POST ") {
            rest.split(' ').next().context("no path")?.clone_into(&mut path);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = match note(&path, &body, taken) {
        Ok(()) => "200 OK",
        Err(_) => "400 Bad Request",
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes())?;
    Ok(())
}

fn note(path: &str, body: &[u8], taken: &Mutex<Taken>) -> anyhow::Result<()> {
    let mut all = Taken::default();
    match path {
        "/v1/logs" => {
            let request = ExportLogsServiceRequest::decode(body)?;
            let scopes = request.resource_logs.into_iter().flat_map(|logs| logs.scope_logs);
            let records = scopes.flat_map(|logs| logs.log_records);
            all.events = records.map(|record| record.event_name).collect();
        }
        "/v1/metrics" => {
            let request = ExportMetricsServiceRequest::decode(body)?;
            let resources = request.resource_metrics.into_iter();
            let mut scopes = resources.flat_map(|metrics| metrics.scope_metrics);
            let metric = scopes.next().and_then(|scope| scope.metrics.into_iter().next());
            let Some(Data::Sum(sum)) = metric.and_then(|metric| metric.data) else {
                anyhow::bail!("no sum");
            };
            all.points = sum.data_points.len();
        }
        _ => anyhow::bail!("{path} is nothing that a collector serves"),
    }
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    taken.events.append(&mut all.events);
    taken.points += all.points;
    Ok(())
}
