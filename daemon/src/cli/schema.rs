//! `palisade schema`.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use palisade_rules::schema::{KINDS, Kind, json};

use super::args::{Format, SchemaArgs};
use super::{Failure, Outcome, output};
use crate::exit::Exit;

/// The schema of what palisaded writes; docs/flow-records.md says the same in words.
const RECORDS: &str = include_str!("../../../docs/flow-records.schema.json");

pub(super) fn run(args: &SchemaArgs, format: Format) -> Outcome {
    if args.records {
        let schema: serde_json::Value = serde_json::from_str(RECORDS).map_err(|error| {
            Failure::new(
                Exit::ApplyFailed,
                format!("a bug: the schema is no JSON: {error}"),
            )
        })?;
        output::whole(format, &schema)?;
        return Ok(Exit::Fine);
    }
    let schema = match args.kind {
        Some(kind) => json::schema_of(kind),
        None => json::schema(),
    };
    output::whole(format, &schema)?;
    Ok(Exit::Fine)
}

/// The kinds there are, by name or short name.
pub(super) fn kinds() -> impl TypedValueParser<Value = &'static Kind> {
    let kinds = KINDS.each_ref().map(|kind| {
        PossibleValue::new(kind.word)
            .aliases(kind.short_names)
            .help(kind.meaning)
    });
    PossibleValuesParser::new(kinds).try_map(|word| Kind::parse(&word).ok_or("no such kind"))
}
