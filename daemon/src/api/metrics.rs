//! The metrics, in Prometheus's text format.
//!
//! Labels are bounded by what is written in the policies: no address and no name of a peer is among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{info, warn};

use super::server::fail;
use super::types::Status;
use crate::flows::record::CounterRow;
use crate::kernel::KernelError;
use crate::service::{APPLY_SECONDS, Daemon, Tallies};

/// How often it is tried to listen: loopback may come up after the daemon.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// Scrapes at a time over TCP, where anybody on the host may ask; each one reads all counters from the kernel.
const SCRAPES: usize = 1;

/// Connections at a time over TCP, and how long each may last: idle ones must not use up the daemon's descriptors.
const CONNECTIONS: usize = 8;
const CONNECTION: Duration = Duration::from_secs(10);

/// How long to wait after a connection that could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Labels and their values.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Serves `/metrics`, and nothing else, at a loopback address, until the process ends.
pub async fn serve(address: std::net::SocketAddr, daemon: Arc<Daemon>) {
    let listener = listen(address).await;
    info!("metrics are served at http://{address}/metrics");
    let scrapes = Arc::new(Semaphore::new(SCRAPES));
    let scrape = async move |State(daemon): State<Arc<Daemon>>| match Arc::clone(&scrapes).try_acquire_owned()
    {
        Ok(permit) => answered(daemon, Some(permit)).await,
        Err(_) => (StatusCode::TOO_MANY_REQUESTS, "another scrape is running\n").into_response(),
    };
    let router = Router::new().route("/metrics", get(scrape)).with_state(daemon);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Closed only with the semaphore itself.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _permit = permit;
            // Whoever goes away, or is too slow, asks again.
            let _ = timeout(CONNECTION, connection).await;
        });
    }
}

async fn listen(address: std::net::SocketAddr) -> TcpListener {
    let mut complained = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                if !complained {
                    warn!(
                        %error,
                        "metrics cannot be served at {address} yet: does palisade.service have its drop-in network.conf, and is the port free?"
                    );
                    complained = true;
                }
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// `GET /metrics`.
pub(super) async fn answer(State(daemon): State<Arc<Daemon>>) -> Response {
    answered(daemon, None).await
}

/// Reading goes on if nobody waits for the answer any longer, and the permit with it.
async fn answered(daemon: Arc<Daemon>, permit: Option<OwnedSemaphorePermit>) -> Response {
    let read = move || {
        let _permit = permit;
        text(&daemon)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => fail(StatusCode::INTERNAL_SERVER_ERROR, &error),
        Err(bug) => fail(StatusCode::INTERNAL_SERVER_ERROR, &bug),
    }
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
enum MetricsError {
    #[error(transparent)]
    Counters(#[from] KernelError),
    #[error("the metrics cannot be written down: {0}: a bug in palisaded")]
    Encode(#[from] prometheus::Error),
}

fn text(daemon: &Daemon) -> Result<String, MetricsError> {
    let generation = daemon.generation();
    let sets = generation.compiled.ruleset.sets.iter();
    let sets: Vec<(&str, usize)> = sets
        .map(|(name, set)| (name.as_str(), set.elements.len()))
        .collect();
    let mut families = of_status(&daemon.status(), &sets);
    families.extend(of_tallies(&daemon.tallies()));
    families.extend(of_counters(&daemon.counters()?));
    // A family without a metric has nothing to say, and the format has no way to say it.
    families.retain(|family| !family.get_metric().is_empty());
    Ok(TextEncoder::new().encode_to_string(&families)?)
}

fn of_status(status: &Status, sets: &[(&str, usize)]) -> Vec<MetricFamily> {
    let missing = status.flows.missing;
    let flag = |flag: bool| u64::from(flag);
    let one = |value| vec![(Vec::new(), value)];
    let sinks = |value: fn(&crate::flows::sinks::SinkStatus) -> u64| {
        let sinks = status.flows.sinks.iter();
        let values = sinks.map(|sink| (vec![("sink", sink.name.as_str())], value(sink)));
        values.collect::<Vec<_>>()
    };
    vec![
        gauge(
            "palisade_build_info",
            "The version of palisaded; always 1.",
            vec![(vec![("version", status.version.as_str())], 1)],
        ),
        gauge(
            "palisade_generation",
            "The generation in force.",
            one(status.generation),
        ),
        gauge(
            "palisade_last_apply_timestamp_seconds",
            "When the generation in force came into force.",
            one(u64::try_from(status.generation_at.unix_timestamp()).unwrap_or(0)),
        ),
        gauge(
            "palisade_last_reload_successful",
            "Whether the last reload was accepted.",
            one(flag(status.last_reload.ok)),
        ),
        gauge(
            "palisade_panic",
            "Whether palisade panic keeps everything out of force.",
            one(flag(status.panic)),
        ),
        gauge(
            "palisade_safety_net",
            "Whether the safety net stands in the enforced world.",
            one(flag(status.safety_net)),
        ),
        gauge(
            "palisade_endpoints",
            "Local endpoints.",
            one(status.endpoints as u64),
        ),
        gauge(
            "palisade_policies",
            "Policies, enforced and staged.",
            vec![
                (vec![("state", "enforced")], status.enforced_policies as u64),
                (vec![("state", "staged")], status.staged_policies as u64),
            ],
        ),
        gauge(
            "palisade_set_elements",
            "Elements of each named set in the kernel.",
            sets.iter()
                .map(|(name, elements)| (vec![("set", *name)], *elements as u64))
                .collect(),
        ),
        counter(
            "palisade_foreign_changes_total",
            "Changes of our table by others that were put right.",
            one(status.foreign_changes.total),
        ),
        counter(
            "palisade_foreign_repair_failures_total",
            "Attempts to put such a change right that failed.",
            one(status.foreign_changes.failed),
        ),
        gauge(
            "palisade_nflog_reading",
            "Whether the NFLOG group is being read.",
            one(flag(status.flows.reading)),
        ),
        counter(
            "palisade_nflog_lost_total",
            "First packets that the kernel could not hand over.",
            one(missing.lost),
        ),
        counter(
            "palisade_nflog_unreadable_total",
            "First packets of which nothing could be said.",
            one(missing.unreadable),
        ),
        counter(
            "palisade_flows_folded_total",
            "First packets that were counted without being told apart.",
            one(missing.folded),
        ),
        counter(
            "palisade_sink_written_total",
            "Records that a sink has written.",
            sinks(|sink| sink.written),
        ),
        counter(
            "palisade_sink_missed_total",
            "Records that a sink has missed.",
            sinks(|sink| sink.missed),
        ),
        counter(
            "palisade_log_suppressed_total",
            "Flow records that a sink left out as not notable.",
            sinks(|sink| sink.suppressed),
        ),
        gauge(
            "palisade_sink_queued_records",
            "Records that wait for a sink.",
            sinks(|sink| sink.queued),
        ),
    ]
}

fn of_tallies(tallies: &Tallies) -> Vec<MetricFamily> {
    let mut histogram = Histogram::default();
    let mut sum = 0;
    let buckets = APPLY_SECONDS
        .iter()
        .zip(&tallies.apply_classes)
        .map(|(bound, class)| {
            sum += class;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(sum);
            bucket
        });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(tallies.apply_classes.iter().sum());
    histogram.set_sample_sum(tallies.apply_seconds);
    let mut applied = Metric::default();
    applied.set_histogram(histogram);
    let would_deny = tallies.would_deny.iter().map(|(decider, connections)| {
        let labels = vec![
            ("direction", decider.direction.as_str()),
            ("tier", &decider.tier),
            ("namespace", decider.namespace.as_deref().unwrap_or_default()),
            ("policy", &decider.policy),
        ];
        (labels, *connections)
    });
    vec![
        family(
            MetricType::HISTOGRAM,
            "palisade_apply_duration_seconds",
            "How long it took to bring a change into force, from reading the files to comparing the kernel.",
            vec![applied],
        ),
        counter(
            "palisade_apply_failures_total",
            "Changes that failed or were refused.",
            vec![(Vec::new(), tallies.apply_failures)],
        ),
        counter(
            "palisade_would_deny_connections_total",
            "First packets that are allowed and that what is staged would deny, by the policy that would.",
            would_deny.collect(),
        ),
    ]
}

fn of_counters(rows: &[CounterRow]) -> Vec<MetricFamily> {
    let mut failsafes: BTreeMap<Labels<'_>, u64> = BTreeMap::new();
    let mut rules: BTreeMap<Labels<'_>, (u64, u64)> = BTreeMap::new();
    let indices: Vec<String> = rows.iter().map(|row| row.rule_index.to_string()).collect();
    for (row, index) in rows.iter().zip(&indices) {
        if row.kind == "Failsafe" {
            let labels = vec![("direction", row.direction.as_str()), ("failsafe", &row.name)];
            *failsafes.entry(labels).or_default() += row.packets_total;
            continue;
        }
        let rule = match &row.rule_name {
            Some(name) => name,
            None if row.rule_index < 0 => "",
            None => index,
        };
        let labels = vec![
            ("world", row.world.as_str()),
            ("stage", &row.stage),
            ("direction", &row.direction),
            ("tier", &row.tier),
            ("kind", &row.kind),
            ("namespace", row.namespace.as_deref().unwrap_or_default()),
            ("policy", &row.name),
            ("rule", rule),
            ("action", &row.action),
            (
                "without_safety_net",
                if row.without_safety_net { "true" } else { "false" },
            ),
        ];
        // Two rules of one name are one series: Prometheus would refuse the second.
        let sum = rules.entry(labels).or_default();
        sum.0 += row.packets_total;
        sum.1 += row.bytes_total;
    }
    let packets = rules.iter().map(|(labels, sum)| (labels.clone(), sum.0));
    let bytes = rules.iter().map(|(labels, sum)| (labels.clone(), sum.1));
    vec![
        counter(
            "palisade_rule_packets_total",
            "First packets that a rule, an end of tier or a profile has decided or logged.",
            packets.collect(),
        ),
        counter(
            "palisade_rule_bytes_total",
            "Bytes of the first packets that a rule, an end of tier or a profile has decided or logged.",
            bytes.collect(),
        ),
        counter(
            "palisade_failsafe_packets_total",
            "First packets that a failsafe has accepted.",
            failsafes.into_iter().collect(),
        ),
    ]
}

fn counter(name: &str, help: &str, values: Vec<(Labels<'_>, u64)>) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(float(value));
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        metric
    });
    family(MetricType::COUNTER, name, help, metrics.collect())
}

fn gauge(name: &str, help: &str, values: Vec<(Labels<'_>, u64)>) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(float(value));
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        metric
    });
    family(MetricType::GAUGE, name, help, metrics.collect())
}

fn labelled(labels: Labels<'_>) -> Metric {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

fn family(kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// The format's numbers are floating point: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the format has nothing better")]
fn float(value: u64) -> f64 {
    value as f64
}
