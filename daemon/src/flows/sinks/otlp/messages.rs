//! Records in OpenTelemetry's own types. Attributes are its semantic conventions where there is one for them, and
//! `palisade.` and the field's name where there is none.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use palisade_rules::resource::Labels;
use time::OffsetDateTime;

use crate::flows::record::{CounterRow, FlowRecord, IntervalRecord, RuleRecord};
use crate::flows::sinks::words::{self, Weight};

/// This host, of that name.
pub(super) fn resource(node: &str) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", "palisaded"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("host.name", node),
        ],
        ..Resource::default()
    }
}

/// Who speaks.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "palisade".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A flow, as the event `palisade.flow`.
pub(super) fn of_flow(flow: &FlowRecord) -> LogRecord {
    let (severity, steps) = match words::weight(flow) {
        Weight::WouldDeny => (SeverityNumber::Warn, &flow.policies.pending),
        Weight::Denied => (SeverityNumber::Info2, &flow.policies.enforced),
        Weight::Allowed => (SeverityNumber::Info, &flow.policies.enforced),
    };
    let net = &flow.safety_net;
    let direction = if flow.direction == "ingress" {
        "receive"
    } else {
        "transmit"
    };
    let mut attributes = vec![
        text("network.io.direction", direction),
        text("network.transport", &flow.proto),
        number("destination.port", flow.dest_port.into()),
        text("palisade.reporter", &flow.reporter),
        text("palisade.direction", &flow.direction),
        text("palisade.action", &flow.action),
        text("palisade.pending_action", &flow.pending_action),
        flag("palisade.safety_net.caught", net.caught),
        text("palisade.safety_net.action", &net.action),
        text("palisade.safety_net.pending_action", &net.pending_action),
        text("palisade.source.name", &flow.source_name),
        text("palisade.source.type", &flow.source_type),
        labels("palisade.source.labels", &flow.source_labels),
        text("palisade.dest.name", &flow.dest_name),
        text("palisade.dest.type", &flow.dest_type),
        labels("palisade.dest.labels", &flow.dest_labels),
        number("palisade.evaluated", flow.evaluated),
        number("palisade.packets_in", flow.packets_in),
        number("palisade.packets_out", flow.packets_out),
        number("palisade.bytes_in", flow.bytes_in),
        number("palisade.bytes_out", flow.bytes_out),
        number("palisade.connections_started", flow.connections_started),
        number("palisade.connections_completed", flow.connections_completed),
        number("palisade.connections_live", flow.connections_live),
        number("palisade.folded_flows", flow.folded_flows),
        flag("palisade.sampled", flow.sampled),
        flag("palisade.log_status.complete", flow.log_status.complete),
    ];
    for (key, value) in [
        ("source.address", flow.source_ip.map(|ip| ip.to_string())),
        ("destination.address", flow.dest_ip.map(|ip| ip.to_string())),
        ("palisade.source.namespace", flow.source_namespace.clone()),
        ("palisade.dest.namespace", flow.dest_namespace.clone()),
        ("palisade.source.unit", words::unit(&flow.source_owners)),
        ("palisade.source.comm", words::comm(&flow.source_owners)),
        ("palisade.dest.unit", words::unit(&flow.dest_owners)),
        ("palisade.dest.comm", words::comm(&flow.dest_owners)),
    ] {
        attributes.extend(value.map(|value| text(key, &value)));
    }
    if let Some(step) = words::decided(steps) {
        let policy = step.trigger.as_ref().map_or(&step.name, |trigger| &trigger.name);
        let index = (step.rule_index >= 0).then(|| step.rule_index.to_string());
        for (key, value) in [
            ("security_rule.ruleset.name", Some(policy.clone())),
            ("security_rule.name", step.rule_name.clone().or(index)),
            ("palisade.tier", Some(step.tier.clone())),
            ("palisade.kind", Some(step.kind.to_string())),
        ] {
            attributes.extend(
                value
                    .filter(|value| !value.is_empty())
                    .map(|value| text(key, &value)),
            );
        }
    }
    event(
        "palisade.flow",
        flow.end_time,
        severity,
        words::flow(flow),
        attributes,
    )
}

/// An interval, as the event `palisade.interval`.
pub(super) fn of_interval(interval: &IntervalRecord) -> LogRecord {
    let status = &interval.log_status;
    let severity = if status.complete {
        SeverityNumber::Info
    } else {
        SeverityNumber::Warn
    };
    let numbers = [
        ("palisade.generation", interval.generation),
        ("palisade.flows", interval.flows),
        ("palisade.folded_flows", interval.folded_flows),
        ("palisade.evaluated", interval.evaluated),
        ("palisade.sampled", interval.sampled),
        ("palisade.counted", interval.counted),
        ("palisade.evaluated_total", interval.evaluated_total),
        ("palisade.counted_total", interval.counted_total),
        ("palisade.suppressed", interval.suppressed),
        ("palisade.suppressed_evaluated", interval.suppressed_evaluated),
        ("palisade.missed_total", interval.missed_total),
        ("palisade.log_status.lost", status.missing.lost),
        ("palisade.log_status.unreadable", status.missing.unreadable),
        ("palisade.log_status.folded", status.missing.folded),
    ];
    let mut attributes: Vec<KeyValue> = numbers.map(|(key, value)| number(key, value)).into();
    attributes.push(flag("palisade.log_status.complete", status.complete));
    let body = words::interval(interval);
    event("palisade.interval", interval.end_time, severity, body, attributes)
}

/// Counters, as sums since ever: what one delivery misses, the next one makes up for.
pub(super) fn of_rules(rules: &[RuleRecord]) -> Vec<Metric> {
    let sum = |name: &str, description: &str, unit: &str, value: fn(&CounterRow) -> u64| Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        data: Some(metric::Data::Sum(Sum {
            data_points: rules
                .iter()
                .map(|rule| point(rule, value(&rule.counter)))
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative as i32,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    vec![
        sum(
            "palisade.rule.packets",
            "First packets that a rule has decided",
            "{packet}",
            |row| row.packets_total,
        ),
        sum(
            "palisade.rule.bytes",
            "Bytes of the first packets that a rule has decided",
            "By",
            |row| row.bytes_total,
        ),
    ]
}

fn point(rule: &RuleRecord, value: u64) -> NumberDataPoint {
    let row = &rule.counter;
    let mut attributes = vec![
        text("palisade.counter", &row.counter),
        text("palisade.world", &row.world),
        text("palisade.stage", &row.stage),
        text("palisade.direction", &row.direction),
        text("palisade.tier", &row.tier),
        text("palisade.kind", &row.kind),
        text("security_rule.ruleset.name", &row.name),
        text("palisade.action", &row.action),
        flag("palisade.without_safety_net", row.without_safety_net),
    ];
    let index = (row.rule_index >= 0).then(|| row.rule_index.to_string());
    let rule_name = row.rule_name.clone().or(index);
    attributes.extend(rule_name.map(|name| text("security_rule.name", &name)));
    attributes.extend(
        row.namespace
            .as_deref()
            .map(|name| text("palisade.namespace", name)),
    );
    NumberDataPoint {
        attributes,
        // Since when it counts is not known: counters outlive the daemon.
        start_time_unix_nano: 0,
        time_unix_nano: nanoseconds(rule.end_time),
        value: Some(number_data_point::Value::AsInt(signed(value))),
        ..NumberDataPoint::default()
    }
}

fn event(
    name: &str,
    at: OffsetDateTime,
    severity: SeverityNumber,
    body: String,
    attributes: Vec<KeyValue>,
) -> LogRecord {
    LogRecord {
        time_unix_nano: nanoseconds(at),
        observed_time_unix_nano: nanoseconds(at),
        severity_number: severity as i32,
        severity_text: severity
            .as_str_name()
            .trim_start_matches("SEVERITY_NUMBER_")
            .to_owned(),
        body: Some(any(Value::StringValue(body))),
        attributes,
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

fn nanoseconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos()).unwrap_or(0)
}

/// OTLP's numbers have a sign; no counter gets where that matters.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    pair(key, Value::IntValue(signed(value)))
}

fn flag(key: &str, value: bool) -> KeyValue {
    pair(key, Value::BoolValue(value))
}

fn labels(key: &str, labels: &Labels) -> KeyValue {
    let values = labels.iter().map(|(key, value)| text(key, value)).collect();
    pair(key, Value::KvlistValue(KeyValueList { values }))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
