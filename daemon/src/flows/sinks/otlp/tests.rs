use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};

use super::*;
use crate::flows::sinks::tests::{ALL, batch};

/// What a collector has decoded, and what it answers next.
#[derive(Default)]
struct Taken {
    logs: Vec<ExportLogsServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    refusals: Vec<StatusCode>,
    rejected: i64,
}

type Shared = Arc<Mutex<Taken>>;

/// A collector that decodes with OpenTelemetry's own types.
fn collector() -> (String, Shared) {
    let taken = Shared::default();
    let state = Arc::clone(&taken);
    let (told, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let router = Router::new()
                .route("/v1/logs", post(logs))
                .route("/v1/metrics", post(metrics))
                .with_state(state);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    let address = address.recv().unwrap();
    (format!("http://{address}"), taken)
}

async fn logs(State(taken): State<Shared>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let mut taken = taken.lock().unwrap();
    if let Some(refusal) = taken.refusals.pop() {
        return (refusal, Vec::new());
    }
    taken.logs.push(ExportLogsServiceRequest::decode(body).unwrap());
    let rejected = std::mem::take(&mut taken.rejected);
    let partial_success = (rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: rejected,
        error_message: "too long ago".to_owned(),
    });
    let answer = ExportLogsServiceResponse { partial_success };
    (StatusCode::OK, answer.encode_to_vec())
}

async fn metrics(State(taken): State<Shared>, body: Bytes) -> StatusCode {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    taken.lock().unwrap().metrics.push(request);
    StatusCode::OK
}

fn sink(endpoint: &str, timeout: Duration) -> OtlpSink {
    let config = OtlpConfig {
        endpoint: endpoint.parse().unwrap(),
        timeout,
    };
    OtlpSink::new(&config, "db-1")
}

fn value(attributes: &[KeyValue], key: &str) -> Value {
    let found = attributes.iter().find(|pair| pair.key == key);
    let found = found.unwrap_or_else(|| panic!("no {key} in {attributes:#?}"));
    found.value.clone().unwrap().value.unwrap()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_collector_decodes_flows_and_counters() {
    let (endpoint, taken) = collector();
    let mut sink = sink(&endpoint, LONG);
    let batch = batch(1, 2);
    assert_eq!(sink.write(&ALL.part(&batch, 3)), Outcome::default());
    let taken = taken.lock().unwrap();

    let resource = &taken.logs[0].resource_logs[0];
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(value(attributes, "host.name"), text("db-1"));
    assert_eq!(value(attributes, "service.name"), text("palisaded"));
    let [flow, interval] = &resource.scope_logs[0].log_records[..] else {
        panic!("{resource:#?}")
    };
    assert_eq!(flow.event_name, "palisade.flow");
    assert_eq!(flow.severity_text, "WARN");
    for (key, expected) in [
        ("network.transport", text("tcp")),
        ("network.io.direction", text("receive")),
        ("destination.port", Value::IntValue(0)),
        ("source.address", text("10.0.0.1")),
        ("palisade.pending_action", text("deny")),
        ("palisade.evaluated", Value::IntValue(3)),
    ] {
        assert_eq!(value(&flow.attributes, key), expected, "{key}");
    }
    assert!(
        flow.attributes
            .iter()
            .all(|pair| pair.key != "destination.address")
    );
    assert_eq!(
        value(&interval.attributes, "palisade.missed_total"),
        Value::IntValue(3)
    );

    let metrics = &taken.metrics[0].resource_metrics[0].scope_metrics[0].metrics;
    let [packets, bytes] = &metrics[..] else {
        panic!("{metrics:#?}")
    };
    assert_eq!(
        (packets.name.as_str(), bytes.unit.as_str()),
        ("palisade.rule.packets", "By")
    );
    let Some(metric::Data::Sum(sum)) = &bytes.data else {
        panic!("{bytes:#?}")
    };
    assert!(sum.is_monotonic && sum.data_points.len() == 2);
    let point = &sum.data_points[1];
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(60)));
    assert_eq!(value(&point.attributes, "palisade.counter"), text("c1"));
    assert_eq!(
        value(&point.attributes, "security_rule.ruleset.name"),
        text("web")
    );
}

#[test]
fn what_may_be_better_the_next_time_is_tried_again() {
    let (endpoint, taken) = collector();
    let mut sink = sink(&endpoint, LONG);
    taken.lock().unwrap().refusals = vec![StatusCode::SERVICE_UNAVAILABLE; 2];
    let batch = batch(600, 0);
    assert_eq!(sink.write(&ALL.part(&batch, 0)), Outcome::default());
    let mut taken = taken.lock().unwrap();
    assert_eq!(taken.logs.len(), 2, "601 records are more than one request");
    taken.logs.clear();
    taken.refusals = vec![StatusCode::BAD_REQUEST];
    drop(taken);
    let outcome = sink.write(&ALL.part(&batch, 0));
    assert_eq!(outcome.missed, 601);
    assert!(outcome.error.unwrap().contains("400"));
}

#[test]
fn what_the_collector_rejects_is_missed() {
    let (endpoint, taken) = collector();
    let mut sink = sink(&endpoint, LONG);
    taken.lock().unwrap().rejected = 4;
    let batch = batch(9, 1);
    let outcome = sink.write(&ALL.part(&batch, 0));
    assert_eq!(outcome.missed, 4);
    assert!(outcome.error.unwrap().contains("too long ago"));
}

#[test]
fn a_collector_that_is_gone_or_says_nothing_costs_records_and_an_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let batch = batch(3, 2);
    let mut silent = sink(&endpoint, Duration::from_millis(300));
    let outcome = silent.write(&ALL.part(&batch, 0));
    assert_eq!(outcome.missed, 6);
    assert!(outcome.error.unwrap().contains("no answer within"));
    drop(listener);
    let mut gone = sink(&endpoint, Duration::from_millis(300));
    let outcome = gone.write(&ALL.part(&batch, 0));
    assert_eq!(outcome.missed, 6);
    assert!(outcome.error.unwrap().contains("refused"));
}
