//! `palisade status`, `policies`, `counters` and `endpoints`.

use super::args::{CountersArgs, Format, FromFiles};
use super::{Outcome, offline, output, watch};
use crate::api::client::Client;
use crate::api::foreign::{ForeignChanges, Remedy};
use crate::api::types::{EndpointRow, PolicyRow, Status};
use crate::exit::Exit;
use crate::flows::record::CounterRow;
use crate::flows::sinks::SinkStatus;
pub(super) use crate::moment::moment;
use crate::service::{endpoint_rows, policy_rows};

pub(super) async fn status(client: &Client, format: Format) -> Outcome {
    let status: Status = client.get("/v1/status").await?;
    if format != Format::Table {
        output::whole(format, &status)?;
        return Ok(Exit::Fine);
    }
    let reload = match &status.last_reload.error {
        None => format!("fine, at {}", moment(status.last_reload.at)),
        Some(error) => {
            format!(
                "REFUSED at {}, nothing was changed:\n{}",
                moment(status.last_reload.at),
                error.trim_end()
            )
        }
    };
    let missing = status.flows.missing;
    let flows = match (status.flows.reading, missing.is_nothing()) {
        (false, _) => "NOT READ: the NFLOG group cannot be read, see the log".to_owned(),
        (true, true) => "complete".to_owned(),
        (true, false) => format!(
            "{} packets lost, {} unreadable, {} folded together",
            missing.lost, missing.unreadable, missing.folded
        ),
    };
    let table = &status.table;
    output::say(&format!(
        "palisaded {version} on node {node}, since {since}\n\
         generation    {generation}, since {at}{unconfirmed}\n\
         last reload   {reload}{panic}\n\
         policies      {enforced} enforced, {staged} staged, on {endpoints} local endpoints{kinds}\n\
         safety net    {net}\n\
         kernel        {kernel}\n\
         {foreign}flow records  {flows}\n{sinks}{sandbox}",
        unconfirmed = unconfirmed(&status),
        panic = status
            .panic_reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(
                "\nPANIC         NOTHING IS FILTERED: {reason}"
            )),
        version = status.version,
        node = status.node,
        since = moment(status.started_at),
        generation = status.generation,
        at = moment(status.generation_at),
        enforced = status.enforced_policies,
        staged = status.staged_policies,
        endpoints = status.endpoints,
        kinds = kinds(&status),
        net = match (status.panic, status.safety_net) {
            (true, _) => "not in force, as nothing is",
            (false, true) => "in place: what no policy decides is allowed",
            (false, false) => "not in place",
        },
        kernel = if status.panic {
            "no table inet palisade".to_owned()
        } else {
            format!(
                "table inet palisade: {} chains, {} rules, {} sets, {} counters",
                table.chains, table.rules, table.sets, table.counters
            )
        },
        foreign = foreign(&status.foreign_changes),
        sinks = status.flows.sinks.iter().map(sink).collect::<String>(),
        sandbox = status
            .sandbox
            .as_ref()
            .map_or_else(String::new, |sandbox| format!("sandbox       {sandbox}\n")),
    ))?;
    Ok(Exit::Fine)
}

/// What is not confirmed yet, or was rolled back last.
fn unconfirmed(status: &Status) -> String {
    if let Some(unconfirmed) = &status.unconfirmed {
        return format!("\nUNCONFIRMED   {}", unconfirmed.sentence());
    }
    let back = status.rolled_back.as_ref().filter(|back| !back.canary);
    back.map_or_else(String::new, |back| {
        format!(
            "\nrolled back   generation {} ({}) at {}: {}",
            back.generation,
            back.change,
            moment(back.at),
            back.why
        )
    })
}

pub(super) async fn policies(client: &Client, from: &FromFiles, format: Format) -> Outcome {
    let rows: Vec<PolicyRow> = if from.files.is_empty() {
        client.get("/v1/policies").await?
    } else {
        let (snapshot, worlds) = offline::snapshot_and_worlds(from)?;
        policy_rows(&snapshot, &worlds, &[])
    };
    output::telling_rows(
        format,
        &rows,
        &[
            ("TIER", |row| row.tier.clone()),
            ("ORDER", |row| {
                row.order
                    .map_or_else(|| "-".to_owned(), |order| order.to_string())
            }),
            ("KIND", |row| {
                row.kind.strip_prefix("Staged").unwrap_or(&row.kind).to_owned()
            }),
            ("NAMESPACE", |row| or_dash(row.namespace.as_ref())),
            ("NAME", |row| row.name.clone()),
            ("STATE", |row| row.state.clone()),
            ("STAGE", |row| row.stage.clone()),
            ("TYPES", |row| row.types.join(",")),
            ("ENDPOINTS", |row| join_or_dash(&row.endpoints)),
            ("PACKETS", |row| row.packets.to_string()),
            ("SOURCE", |row| row.source.clone()),
        ],
        &[
            ("KIND", "GlobalNetworkPolicy"),
            ("NAMESPACE", "-"),
            ("STAGE", "normal"),
        ],
    )?;
    Ok(Exit::Fine)
}

pub(super) async fn counters(client: &Client, args: &CountersArgs, format: Format) -> Outcome {
    if let Some(pause) = args.watch {
        return watch::run(client, pause, args.hit, format).await;
    }
    let mut rows: Vec<CounterRow> = client.get("/v1/counters").await?;
    rows.retain(|row| !args.hit || row.packets_total > 0);
    output::telling_rows(
        format,
        &rows,
        &[
            ("WORLD", |row| row.world.clone()),
            ("DIRECTION", |row| row.direction.clone()),
            ("STAGE", |row| row.stage.clone()),
            ("TIER", |row| row.tier.clone()),
            ("KIND", |row| row.kind.clone()),
            ("NAMESPACE", |row| or_dash(row.namespace.as_ref())),
            ("NAME", |row| row.name.clone()),
            ("RULE", |row| match (&row.rule_name, row.rule_index) {
                (Some(name), _) => name.clone(),
                (None, -1) => "-".to_owned(),
                (None, index) => index.to_string(),
            }),
            ("ACTION", |row| action(row)),
            ("PACKETS", |row| row.packets_total.to_string()),
            ("BYTES", |row| row.bytes_total.to_string()),
            ("COUNTER", |row| row.counter.clone()),
        ],
        &[("STAGE", "normal"), ("NAMESPACE", "-")],
    )?;
    Ok(Exit::Fine)
}

pub(super) async fn endpoints(client: &Client, from: &FromFiles, format: Format) -> Outcome {
    let rows: Vec<EndpointRow> = if from.files.is_empty() {
        client.get("/v1/endpoints").await?
    } else {
        endpoint_rows(&offline::worlds(from)?.0)
    };
    output::telling_rows(
        format,
        &rows,
        &[
            ("KIND", |row| row.kind.clone()),
            ("NAMESPACE", |row| or_dash(row.namespace.as_ref())),
            ("NAME", |row| row.name.clone()),
            ("NODE", |row| row.node.clone()),
            ("INTERFACES", |row| join_or_dash(&row.interfaces)),
            ("CGROUPS", |row| join_or_dash(&row.cgroups)),
            ("ADDRESSES", |row| join_or_dash(&row.addresses)),
            ("LABELS", |row| {
                join_or_dash(
                    &row.labels
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect::<Vec<_>>(),
                )
            }),
            ("PREVIEW", |row| if row.preview { "yes" } else { "-" }.to_owned()),
        ],
        &[("KIND", "HostEndpoint"), ("NAMESPACE", "-"), ("CGROUPS", "-")],
    )?;
    Ok(Exit::Fine)
}

/// What a counter's packets met, or would have met.
pub(super) fn action(row: &CounterRow) -> String {
    let action = row.action.to_lowercase();
    match (row.world.as_str(), row.without_safety_net) {
        ("pending", true) => format!("would {action} without the net"),
        ("pending", false) => format!("would {action}"),
        _ => action,
    }
}

/// What others did to the table, if anything.
fn foreign(changes: &ForeignChanges) -> String {
    let Some(last) = changes.recent.first() else {
        return String::new();
    };
    let by = last
        .by
        .as_ref()
        .map_or_else(String::new, |by| format!(" by {by}"));
    let outcome = match &last.outcome {
        Remedy::Repaired { .. } => format!("{}; put right", last.what.join("; ")),
        Remedy::Failed { error } => format!("NOT PUT RIGHT: {error}"),
    };
    let waits = changes.waits_until.map_or_else(String::new, |until| {
        format!(
            "\n  IT KEEPS BEING CHANGED: the next repair is at {}",
            moment(until)
        )
    });
    format!(
        "changed by others  {} times; last at {}{by}: {outcome}{waits}\n",
        changes.total + changes.failed,
        moment(last.at)
    )
}

/// A line on a sink: what it misses is what one looks for.
fn sink(sink: &SinkStatus) -> String {
    let SinkStatus { name, target, .. } = sink;
    let place = if target == "-" {
        String::new()
    } else {
        format!("{target}, ")
    };
    let mut line = format!(
        "  {name:<11} {place}{} records written, {} left out as not notable",
        sink.written, sink.suppressed
    );
    if sink.queued > 0 {
        line += &format!(", {} waiting", sink.queued);
    }
    if sink.missed > 0 {
        line += &format!(", {} MISSED", sink.missed);
    }
    if let Some(error) = &sink.last_error {
        line += &format!("; last trouble at {}: {}", moment(error.at), error.message);
    }
    line + "\n"
}

/// The endpoints by kind, where not all of them are hosts.
fn kinds(status: &Status) -> String {
    if status.endpoints_by_kind.keys().all(|kind| kind == "HostEndpoint") {
        return String::new();
    }
    let kinds = status.endpoints_by_kind.iter();
    let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind}")).collect();
    format!(" ({})", kinds.join(", "))
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn join_or_dash<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        "-".to_owned()
    } else {
        items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cli::flows::clock;

    #[test]
    fn times_are_in_utc_wherever_they_were_taken() {
        let at = datetime!(2026-11-23 01:30:05 +2);
        assert_eq!(
            (moment(at).as_str(), clock(at).as_str()),
            ("2026-11-22 23:30:05 UTC", "23:30:05")
        );
    }
}
