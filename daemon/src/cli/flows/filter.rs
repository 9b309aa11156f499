//! Which records are asked for.
//!
//! All of it is decided here and nothing in the daemon: it holds a few thousand records, handing them over costs less
//! than a second language of filters over its socket would, and a file is read without it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use palisade_rules::analysis::{StepReport, Trigger};
use serde_json::Value;
use time::OffsetDateTime;

use crate::cli::Failure;
use crate::cli::args::{FlowsArgs, SafetyNetFilter};
use crate::cli::since::moment;
use crate::exit::Exit;
use crate::flows::observe::Missing;
use crate::flows::record::{FlowRecord, LogStatus, SafetyNet, Traces};
use crate::live::Owner;

/// Fields under which anything may be written.
const MAPS: [&str; 2] = ["source_labels", "dest_labels"];

/// Everything a record must be.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    args: &'a FlowsArgs,
    conditions: Vec<Condition>,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

/// `field=value` or `field!=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    path: Vec<String>,
    equal: bool,
    value: String,
}

impl<'a> Filter<'a> {
    /// What the arguments ask for.
    pub(super) fn new(args: &'a FlowsArgs, now: OffsetDateTime) -> Result<Self, Failure> {
        let mut conditions: Vec<Condition> = args
            .conditions
            .iter()
            .map(|text| Condition::parse(text))
            .collect::<Result<_, _>>()?;
        let labels = [
            ("source_labels", &args.source_label),
            ("dest_labels", &args.dest_label),
        ];
        for (field, wanted) in labels {
            for label in wanted {
                conditions.push(Condition::label(field, label)?);
            }
        }
        let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
        Ok(Filter {
            args,
            conditions,
            since: moment(&args.since)?,
            until: moment(&args.until)?,
        })
    }

    /// Whether a record is asked for.
    pub(super) fn wants(&self, record: &FlowRecord) -> bool {
        self.in_time(record) && self.is_named(record) && self.speaks(record) && self.holds(record)
    }

    /// Whether all that comes after this record is too late.
    pub(super) fn is_over(&self, record: &FlowRecord) -> bool {
        self.until.is_some_and(|until| record.start_time > until)
    }

    fn in_time(&self, record: &FlowRecord) -> bool {
        self.since.is_none_or(|since| record.end_time >= since)
            && self.until.is_none_or(|until| record.start_time <= until)
    }

    fn is_named(&self, record: &FlowRecord) -> bool {
        let args = self.args;
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let source = (record.source_namespace.as_deref(), record.source_name.as_str());
        let dest = (record.dest_namespace.as_deref(), record.dest_name.as_str());
        let named = |wanted: &Option<String>, parties: &[(Option<&str>, &str)]| {
            wanted.as_deref().is_none_or(|wanted| {
                parties.iter().any(|&(namespace, name)| {
                    wanted == name
                        || namespace.is_some_and(|namespace| wanted == format!("{namespace}/{name}"))
                })
            })
        };
        let would_deny = record.action == "allow"
            && (record.pending_action == "deny" || record.safety_net.pending_action == "deny");
        let net = match args.safety_net {
            None => true,
            Some(SafetyNetFilter::Caught) => record.safety_net.caught,
            Some(SafetyNetFilter::NotCaught) => !record.safety_net.caught,
        };
        named(&args.endpoint, &[source, dest])
            && named(&args.source, &[source])
            && named(&args.dest, &[dest])
            && is(&args.source_namespace, source.0.unwrap_or_default())
            && is(&args.dest_namespace, dest.0.unwrap_or_default())
            && is(&args.source_type, &record.source_type)
            && is(&args.dest_type, &record.dest_type)
            && args.port.is_none_or(|port| port == record.dest_port)
            && is(&args.proto, &record.proto)
            && is(&args.action, &record.action)
            && is(&args.pending_action, &record.pending_action)
            && is(&args.reporter, &record.reporter)
            && is(&args.direction, &record.direction)
            && (!args.would_deny || would_deny)
            && (!args.remainders || record.folded_flows > 0)
            && net
            && self.is_owned(record)
    }

    fn is_owned(&self, record: &FlowRecord) -> bool {
        let args = self.args;
        if args.unit.is_none() && args.process.is_none() {
            return true;
        }
        let is_it = |owner: &Owner| {
            let unit = args.unit.as_deref().is_none_or(|wanted| {
                let is = |unit: &str| unit == wanted || unit.strip_suffix(".service") == Some(wanted);
                owner.unit.as_deref().is_some_and(is)
            });
            let process = args.process.as_deref().is_none_or(|wanted| {
                owner.comm.as_deref() == Some(wanted)
                    || owner.pid.is_some_and(|pid| pid.to_string() == wanted)
            });
            unit && process
        };
        record.source_owners.iter().chain(&record.dest_owners).any(is_it)
    }

    /// Whether one step of a trace is of the tier, the policy and the rule.
    fn speaks(&self, record: &FlowRecord) -> bool {
        let args = self.args;
        if args.policy.is_none() && args.rule.is_none() && args.tier.is_none() {
            return true;
        }
        let is_it = |step: &StepReport| {
            let policy = args.policy.as_deref().is_none_or(|wanted| {
                step.name == wanted
                    || step
                        .trigger
                        .as_ref()
                        .is_some_and(|trigger| trigger.name == wanted)
            });
            let rule = args.rule.as_deref().is_none_or(|wanted| {
                step.rule_name.as_deref() == Some(wanted)
                    || step.rule_index >= 0 && step.rule_index.to_string() == wanted
            });
            policy && rule && args.tier.as_deref().is_none_or(|wanted| step.tier == wanted)
        };
        let traces = &record.policies;
        let without = [
            &traces.enforced_without_safety_net,
            &traces.pending_without_safety_net,
        ];
        let mut steps = [&traces.enforced, &traces.pending]
            .into_iter()
            .chain(without.into_iter().flatten())
            .flatten();
        steps.any(is_it)
    }

    fn holds(&self, record: &FlowRecord) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        // A record always has a form in JSON: that is how it came.
        let record = serde_json::to_value(record).unwrap_or_default();
        self.conditions.iter().all(|condition| condition.holds(&record))
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, Failure> {
        let split = text.split_once('=').filter(|(field, _)| !field.is_empty());
        let Some((field, value)) = split else {
            return Err(Failure::new(
                Exit::Usage,
                format!("{text:?} is no condition: write --where field=value, or field!=value"),
            ));
        };
        let (field, equal) = match field.strip_suffix('!') {
            Some(field) => (field, false),
            None => (field, true),
        };
        Ok(Condition {
            path: path(field)?,
            equal,
            value: value.to_owned(),
        })
    }

    fn label(field: &str, text: &str) -> Result<Self, Failure> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Failure::new(
                Exit::Usage,
                format!("{text:?} is no label: write it as key=value"),
            ));
        };
        Ok(Condition {
            path: vec![field.to_owned(), key.to_owned()],
            equal: true,
            value: value.to_owned(),
        })
    }

    /// Of a list, one element is enough to be equal, and none may be to be unequal.
    fn holds(&self, record: &Value) -> bool {
        let mut found = Vec::new();
        values(record, &self.path, &mut found);
        let is_equal = match found.as_slice() {
            // What is not there is as good as null.
            [] => self.value == "null" || self.value.is_empty(),
            found => found
                .iter()
                .any(|value| value.as_deref().unwrap_or("null") == self.value),
        };
        is_equal == self.equal
    }
}

/// The path of a field that records have.
fn path(field: &str) -> Result<Vec<String>, Failure> {
    if let Some((map, key)) = field.split_once('.').filter(|(map, _)| MAPS.contains(map)) {
        return Ok(vec![map.to_owned(), key.to_owned()]);
    }
    let known = fields();
    if !known.contains(field) {
        let mut message = format!("records have no field {field:?}; they have:\n");
        for field in known {
            message += &format!("  {field}\n");
        }
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(field.split('.').map(str::to_owned).collect())
}

/// The values at a path; those of all elements, where it leads through lists.
fn values(value: &Value, path: &[String], found: &mut Vec<Option<String>>) {
    match (value, path) {
        (Value::Array(elements), path) => elements.iter().for_each(|element| values(element, path, found)),
        (Value::Object(object), [first, rest @ ..]) => {
            if let Some(value) = object.get(first) {
                values(value, rest, found);
            }
        }
        (Value::Object(_), []) | (_, [_, ..]) => {}
        (Value::Null, []) => found.push(None),
        (Value::String(text), []) => found.push(Some(text.clone())),
        (other, []) => found.push(Some(other.to_string())),
    }
}

/// Every field that a record may have, by its name in JSON.
pub(super) fn fields() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    // It always has a form in JSON.
    leaves(&serde_json::to_value(full()).unwrap_or_default(), "", &mut fields);
    fields.extend(MAPS.iter().map(|map| format!("{map}.KEY")));
    fields
}

fn leaves(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if !MAPS.contains(&path) => {
            for (key, value) in object {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(value, &path, fields);
            }
        }
        Value::Object(_) => {}
        Value::Array(elements) => elements.iter().for_each(|element| leaves(element, path, fields)),
        _ => {
            fields.insert(path.to_owned());
        }
    }
}

/// A record in which nothing is left out.
fn full() -> FlowRecord {
    let owner = Owner {
        unit: None,
        pid: None,
        comm: None,
        uid: 0,
        connections: 0,
    };
    let step = StepReport {
        endpoint: String::new(),
        direction: "ingress".into(),
        stage: Some("forward".into()),
        tier: String::new(),
        kind: "EndOfTier".into(),
        namespace: None,
        name: String::new(),
        rule_index: -1,
        rule_name: None,
        action: "Deny".into(),
        trigger: Some(Trigger {
            kind: "GlobalNetworkPolicy".into(),
            tier: String::new(),
            namespace: None,
            name: String::new(),
        }),
        source: None,
    };
    let address = std::net::Ipv4Addr::UNSPECIFIED.into();
    let word = String::new;
    FlowRecord {
        start_time: OffsetDateTime::UNIX_EPOCH,
        end_time: OffsetDateTime::UNIX_EPOCH,
        reporter: word(),
        direction: word(),
        action: word(),
        pending_action: word(),
        safety_net: SafetyNet {
            caught: false,
            action: word(),
            pending_action: word(),
        },
        source_name: word(),
        source_namespace: None,
        source_type: word(),
        source_labels: Arc::default(),
        source_ip: Some(address),
        dest_name: word(),
        dest_namespace: None,
        dest_type: word(),
        dest_labels: Arc::default(),
        dest_ip: Some(address),
        dest_port: 0,
        proto: word(),
        source_owners: vec![owner.clone()],
        dest_owners: vec![owner],
        policies: Arc::new(Traces {
            enforced: vec![step.clone()],
            pending: vec![step.clone()],
            enforced_without_safety_net: Some(vec![step.clone()]),
            pending_without_safety_net: Some(vec![step]),
        }),
        evaluated: 0,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        connections_started: 0,
        connections_completed: 0,
        connections_live: 0,
        completed_duration_ms: 0,
        folded_flows: 1,
        sampled: true,
        log_status: LogStatus {
            complete: true,
            missing: Missing::default(),
            accounting: false,
            ends_lost: 0,
            ends_unknown: 0,
        },
    }
}
