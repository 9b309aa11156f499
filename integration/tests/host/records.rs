//! Records are what docs/flow-records.md and its schema say. Needs root.
//!
//! `UPDATE_GOLDEN=1` writes docs/flow-records.sample.jsonl anew, from what a daemon writes.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use boon::{Compiler, SchemaIndex, Schemas};
use palisade_integration::{Daemon, Setup, ThreeHosts, eventually, examples, palisade};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

fn schema() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(docs("flow-records.schema.json"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Says what is wrong with a record.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> anyhow::Result<Self> {
        const URL: &str = "memory:flow-records";
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler
            .add_resource(URL, schema()?)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let index = compiler
            .compile(URL, &mut schemas)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Validator { schemas, index })
    }

    fn check(&self, records: &[Value]) -> anyhow::Result<()> {
        for record in records {
            let valid = self.schemas.validate(record, self.index);
            valid.map_err(|error| anyhow::anyhow!("{error:#}\n{record:#}"))?;
        }
        let types: BTreeSet<&str> = records
            .iter()
            .filter_map(|record| record["type"].as_str())
            .collect();
        ensure!(
            types == ["flow", "interval", "rule"].into(),
            "only {types:?} are there"
        );
        Ok(())
    }
}

#[test]
fn a_daemon_writes_what_the_schema_says() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .config("safetyNet: true")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    let backend = Daemon::start_with_flows(
        hosts.host("backend"),
        &setup,
        "includeAddresses: true, records: all",
    )?;
    hosts.between("frontend", "backend")?;
    hosts.between("backend", "database")?;
    let records = eventually(PATIENCE, || {
        let records = backend.records()?;
        let flows = || records.iter().filter(|record| record["type"] == "flow");
        let has = |field: &'static str| flows().any(move |record| !record[field].is_null());
        ensure!(
            has("source_owners") && has("dest_owners"),
            "no owners: {records:#?}"
        );
        ensure!(
            flows().any(|record| record["packets_out"].as_u64() > Some(1)),
            "no traffic: {records:#?}"
        );
        Ok(records)
    })?;
    Validator::new()?.check(&records)?;
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let mut sample = String::new();
        for of_type in ["flow", "rule", "interval"] {
            let fits = |record: &&Value| {
                record["type"] == of_type && (of_type != "rule" || record["packets_delta"].as_u64() > Some(0))
            };
            for record in records.iter().filter(fits).take(4) {
                sample += &(serde_json::to_string(record)? + "\n");
            }
        }
        std::fs::write(docs("flow-records.sample.jsonl"), sample)?;
    }
    Ok(())
}

#[test]
fn the_sample_is_what_the_schema_says() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(docs("flow-records.sample.jsonl"))?;
    let records = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    let validator = Validator::new()?;
    validator.check(&records)?;
    // A schema that takes anything would be none.
    let mut wrong = records.clone();
    wrong[0]["action"] = "perhaps".into();
    assert!(validator.check(&wrong).is_err());
    wrong[0] = records[0].clone();
    wrong[0]["unheard_of"] = 1.into();
    assert!(validator.check(&wrong).is_err());
    Ok(())
}

#[test]
fn the_schema_is_printed() -> anyhow::Result<()> {
    let printed = std::process::Command::new(palisade()?)
        .args(["schema", "--records", "-o", "json"])
        .output()?;
    let printed: Value = serde_json::from_slice(&printed.stdout)?;
    assert_eq!(printed, schema()?);
    Ok(())
}

#[test]
fn every_field_is_explained() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(docs("flow-records.md"))?;
    let schema = schema()?;
    let definitions = schema["$defs"].as_object().context("no definitions")?;
    for (name, definition) in definitions {
        for (field, is) in definition["properties"].as_object().context("no properties")? {
            let meaning = is["description"]
                .as_str()
                .with_context(|| format!("{name}.{field} is not described"))?;
            let row = text
                .lines()
                .find(|line| line.starts_with(&format!("| `{field}`")) && line.contains(meaning));
            ensure!(
                row.is_some() || field == "type",
                "docs/flow-records.md does not explain {field} of {name}"
            );
        }
    }
    Ok(())
}
