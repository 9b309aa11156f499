//! A collector, over OTLP: flows and intervals as logs, counters as metrics.
//!
//! The messages are OpenTelemetry's own, the sending is done here: its SDK batches, retries and drops by itself, and
//! does not say how much, which is what has to be counted.

mod client;
mod messages;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use self::client::Client;
use super::part::Part;
use super::{Outcome, Sink};
use crate::config::OtlpConfig;
use crate::flows::record::RuleRecord;

/// Records in one request: far below the 4 MiB that a collector takes by default.
const CHUNK: usize = 512;

/// A collector.
pub(super) struct OtlpSink {
    client: Client,
    resource: Resource,
}

/// What became of one request.
struct Delivery {
    /// Records that were not taken.
    missed: u64,
    error: Option<String>,
}

impl OtlpSink {
    pub(super) fn new(config: &OtlpConfig, node: &str) -> Self {
        OtlpSink {
            client: Client::new(&config.endpoint, config.timeout),
            resource: messages::resource(node),
        }
    }

    fn send_rules(&mut self, rules: &[RuleRecord]) -> Result<Delivery, String> {
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(messages::scope()),
                    metrics: messages::of_rules(rules),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        let answer = self.client.post("/v1/metrics", request.encode_to_vec())?;
        let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
        let partial = answer.partial_success.unwrap_or_default();
        // Two points a record.
        let rejected = partial.rejected_data_points / 2 + partial.rejected_data_points % 2;
        Ok(Delivery::partial(rejected, &partial.error_message, rules.len()))
    }

    fn send_logs(&mut self, log_records: Vec<LogRecord>) -> Result<Delivery, String> {
        let sent = log_records.len();
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(messages::scope()),
                    log_records,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let answer = self.client.post("/v1/logs", request.encode_to_vec())?;
        let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
        let partial = answer.partial_success.unwrap_or_default();
        Ok(Delivery::partial(
            partial.rejected_log_records,
            &partial.error_message,
            sent,
        ))
    }
}

impl Delivery {
    fn partial(rejected: i64, error: &str, sent: usize) -> Self {
        let missed = u64::try_from(rejected).unwrap_or(0).min(sent as u64);
        Delivery {
            missed,
            error: (missed > 0 || !error.is_empty()).then(|| format!("the collector rejected some: {error}")),
        }
    }
}

impl Sink for OtlpSink {
    /// What comes after a request that fails is missed too: a dead collector is asked once a batch.
    fn write(&mut self, part: &Part<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut sent = 0;
        let mut note = |records: usize, result: Result<Delivery, String>| {
            sent += records as u64;
            match result {
                Ok(delivery) => {
                    outcome.missed += delivery.missed;
                    outcome.error = delivery.error.or(outcome.error.take());
                    true
                }
                Err(error) => {
                    outcome.missed += records as u64 + part.records() - sent;
                    outcome.error = Some(error);
                    false
                }
            }
        };
        let rules_sent = part.rules.chunks(CHUNK).all(|chunk| {
            let result = self.send_rules(chunk);
            note(chunk.len(), result)
        });
        let interval = part.interval(0);
        let flows = part.flows.iter().map(|flow| messages::of_flow(flow));
        let mut logs = flows.chain(interval.iter().map(messages::of_interval));
        let mut going_on = rules_sent;
        while going_on {
            let chunk: Vec<LogRecord> = logs.by_ref().take(CHUNK).collect();
            let records = chunk.len();
            going_on = records > 0 && note(records, self.send_logs(chunk));
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
