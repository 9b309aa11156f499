//! `palisade diff`.

use palisade_rules::analysis::{Change, Difference, Side, Witness, diff};
use palisade_rules::world::WorldKind;

use super::args::{DiffArgs, Format, FromFiles, Output};
use super::{Failure, Outcome, offline, output};
use crate::api::client::{Client, ClientError};
use crate::exit::Exit;

/// How many names a cell of a table shows before it says how many more there are.
const NAMES: usize = 6;

pub(super) async fn run(client: &Client, args: &DiffArgs, output: Output) -> Outcome {
    if matches!(
        output,
        Output::Html | Output::Svg | Output::Dot | Output::Tap | Output::Junit
    ) {
        return Err(output.refused("table, json, yaml, csv or markdown"));
    }
    let (difference, [old, new]) = match args.paths.as_slice() {
        _ if let [old, new] = args.generations[..] => {
            let pending = args.world.map(WorldKind::from) == Some(WorldKind::Pending);
            let path = format!("/v1/diff?old={old}&new={new}&pending={pending}");
            let difference = client.get(&path).await.map_err(|error| match error {
                ClientError::Refused(error) => Failure::new(Exit::Usage, error),
                error => error.into(),
            })?;
            (
                difference,
                [old, new].map(|number| format!("generation {number}")),
            )
        }
        [old, new] => {
            let side = |path: &std::path::PathBuf| {
                offline::worlds(&FromFiles {
                    files: vec![path.clone()],
                    config: args.config.clone(),
                    node: args.node.clone(),
                })
            };
            let [old_worlds, new_worlds] = [side(old)?.0, side(new)?.0];
            let world = args.world.map_or(WorldKind::Enforced, WorldKind::from);
            let [one, other] = [&old_worlds, &new_worlds].map(|worlds| Side { worlds, world });
            let names = [old, new].map(|path| path.display().to_string());
            (diff(one, other), names)
        }
        _ if !args.pending => {
            return Err(Failure::new(
                Exit::Usage,
                "what is to be compared? Two paths, OLD and NEW; --generations OLD NEW; or --pending for what promotion changes",
            ));
        }
        _ => {
            let difference = if args.files.is_empty() {
                client.get("/v1/diff").await?
            } else {
                let from = FromFiles {
                    files: args.files.clone(),
                    config: args.config.clone(),
                    node: args.node.clone(),
                };
                let worlds = offline::worlds(&from)?.0;
                let [enforced, pending] = WorldKind::BOTH.map(|world| Side {
                    worlds: &worlds,
                    world,
                });
                diff(enforced, pending)
            };
            (difference, ["enforced", "pending"].map(str::to_owned))
        }
    };
    match output {
        Output::Markdown => output::say(&difference.markdown(&old, &new))?,
        Output::Table => output::say(&text(&difference, [&old, &new]))?,
        Output::Csv => output::rows(Format::Csv, &rows(&difference), &COLUMNS)?,
        other => output::whole(other.usual()?, &difference)?,
    }
    Ok(if difference.is_empty() {
        Exit::Fine
    } else {
        Exit::Findings
    })
}

/// What is added or removed between some ends, for spreadsheets.
#[derive(serde::Serialize)]
struct Row {
    without_safety_net: bool,
    change: &'static str,
    from: String,
    to: String,
    connections: String,
    witness: String,
    old: String,
    new: String,
}

const COLUMNS: [output::Column<Row>; 8] = [
    ("WITHOUT_SAFETY_NET", |row| row.without_safety_net.to_string()),
    ("CHANGE", |row| row.change.to_owned()),
    ("FROM", |row| row.from.clone()),
    ("TO", |row| row.to.clone()),
    ("CONNECTIONS", |row| row.connections.clone()),
    ("WITNESS", |row| row.witness.clone()),
    ("OLD", |row| row.old.clone()),
    ("NEW", |row| row.new.clone()),
];

fn rows(difference: &Difference) -> Vec<Row> {
    let changes = difference.changes.iter();
    let row = |change: &Change, sign: &Sign| {
        let witness = sign.witness(change);
        Some(Row {
            without_safety_net: change.without_safety_net,
            change: sign.word,
            from: change.from.join(" "),
            to: change.to.join(" "),
            connections: sign.words(change)?.to_owned(),
            witness: witness.map(|witness| witness.text.clone()).unwrap_or_default(),
            old: witness
                .map(|witness| witness.verdicts.old.clone())
                .unwrap_or_default(),
            new: witness
                .map(|witness| witness.verdicts.new.clone())
                .unwrap_or_default(),
        })
    };
    changes
        .flat_map(|change| SIGNS.iter().filter_map(move |sign| row(change, sign)))
        .collect()
}

/// Added or removed.
struct Sign {
    mark: &'static str,
    word: &'static str,
    is_added: bool,
}

const SIGNS: [Sign; 2] = [
    Sign {
        mark: "-",
        word: "removed",
        is_added: false,
    },
    Sign {
        mark: "+",
        word: "added",
        is_added: true,
    },
];

impl Sign {
    fn words<'a>(&self, change: &'a Change) -> Option<&'a str> {
        let text = &change.text;
        if self.is_added {
            text.added.as_deref()
        } else {
            text.removed.as_deref()
        }
    }

    fn witness<'a>(&self, change: &'a Change) -> Option<&'a Witness> {
        let mut witnesses = change.witnesses.iter();
        witnesses.find(|witness| witness.is_added == self.is_added)
    }
}

/// A difference for reading.
pub(super) fn text(difference: &Difference, [old, new]: [&str; 2]) -> String {
    let mut text = String::new();
    let views: &[(bool, &str)] = if difference.has_safety_net {
        &[
            (false, "while the safety net stands"),
            (true, "without the safety net"),
        ]
    } else {
        &[(false, "")]
    };
    for &(without_safety_net, when) in views {
        let changes = difference.changes.iter();
        let changes: Vec<&Change> = changes
            .filter(|change| change.without_safety_net == without_safety_net)
            .collect();
        let comma = if when.is_empty() { "" } else { ", " };
        if changes.is_empty() {
            text += &format!("{old} -> {new}{comma}{when}: no connection changes\n");
            continue;
        }
        let pairs: usize = changes.iter().map(|change| change.pairs).sum();
        let pairs = if pairs == 1 {
            "1 pair changes".to_owned()
        } else {
            format!("{pairs} pairs change")
        };
        text += &format!("{old} -> {new}{comma}{when}: {pairs}\n");
        for change in changes {
            text += &format!("  from {} to {}\n", names(&change.from), names(&change.to));
            for sign in &SIGNS {
                let Some(words) = sign.words(change) else { continue };
                text += &format!("    {} {words}\n", sign.mark);
                if let Some(Witness {
                    text: packet,
                    verdicts,
                    ..
                }) = sign.witness(change)
                {
                    text += &format!(
                        "      such as {packet}\n        old: {}\n        new: {}\n",
                        verdicts.old, verdicts.new
                    );
                }
            }
        }
    }
    for note in &difference.notes {
        text += &format!("note: {note}\n");
    }
    text
}

fn names(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join(", ");
    if names.len() > NAMES {
        format!("{shown} and {} more", names.len() - NAMES)
    } else {
        shown
    }
}
