//! `palisade selector eval`.

use palisade_rules::resource::Labels;
use palisade_rules::selector::Selector;

use super::args::{Format, SelectorArgs, SelectorCommand};
use super::{Failure, Outcome, output};
use crate::exit::Exit;

pub(super) fn run(args: &SelectorArgs, format: Format) -> Outcome {
    let SelectorCommand::Eval { expression, labels } = &args.command;
    let selector = Selector::parse(expression).map_err(|error| {
        let before = expression[..error.span.start].chars().count();
        let width = expression[error.span.clone()].chars().count().max(1);
        let help = error
            .help
            .map(|help| format!("\nhelp: {help}"))
            .unwrap_or_default();
        let caret = format!("{}{}", " ".repeat(before), "^".repeat(width));
        Failure::new(
            Exit::Invalid,
            format!("{}\n  {expression}\n  {caret}{help}", error.message),
        )
    })?;
    let labels = labels
        .iter()
        .map(|label| {
            label
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or(label)
        })
        .collect::<Result<Labels, _>>()
        .map_err(|label| Failure::new(Exit::Usage, format!("--label {label:?} is not KEY=VALUE")))?;
    let selected = selector.matches(&labels);
    match format {
        Format::Table | Format::Csv => output::say(&format!("{selected}\n"))?,
        Format::Json | Format::Yaml => output::whole(
            format,
            &serde_json::json!({"selector": selector.to_string(), "labels": labels, "selected": selected}),
        )?,
    }
    Ok(if selected { Exit::Fine } else { Exit::Findings })
}
