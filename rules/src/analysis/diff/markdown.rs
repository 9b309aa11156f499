//! A difference as markdown, fit for a pull request.

use std::fmt::Write as _;

use super::{BlockNets, Change, Difference};

/// How many names a list shows before it says how many more there are.
const NAMES: usize = 6;

impl Difference {
    /// The difference as markdown, with these words for the sides.
    pub fn markdown(&self, old: &str, new: &str) -> String {
        let mut text = format!("### Connectivity: {old} → {new}\n");
        let with = self.of_view(false);
        let without = self.of_view(true);
        if self.has_safety_net {
            section(&mut text, "While the safety net stands", &with);
            section(&mut text, "Once the safety net is removed", &without);
        } else {
            section(&mut text, "", &with);
        }
        let is_named = |block: &&BlockNets| {
            let mut named = self
                .changes
                .iter()
                .flat_map(|change| change.from.iter().chain(&change.to));
            named.any(|name| *name == block.name)
        };
        let long = self
            .blocks
            .iter()
            .filter(|block| block.nets.len() > 1)
            .filter(is_named);
        let long: Vec<String> = long
            .map(|block| format!("- {}: {}", code(&block.name), block.nets.join(", ")))
            .collect();
        if !long.is_empty() {
            let _ = write!(
                text,
                "\n<details><summary>Blocks of addresses</summary>\n\n{}\n\n</details>\n",
                long.join("\n")
            );
        }
        for note in &self.notes {
            let _ = write!(text, "\n> {note}\n");
        }
        text
    }

    fn of_view(&self, without_safety_net: bool) -> Vec<&Change> {
        let changes = self.changes.iter();
        changes
            .filter(|change| change.without_safety_net == without_safety_net)
            .collect()
    }
}

fn section(text: &mut String, title: &str, changes: &[&Change]) {
    let pairs = |is_meant: fn(&Change) -> bool| -> usize {
        let meant = changes.iter().filter(|change| is_meant(change));
        meant.map(|change| change.pairs).sum()
    };
    let lost = pairs(|change| change.text.removed.is_some());
    let gained = pairs(|change| change.text.added.is_some());
    let heading = if title.is_empty() {
        String::new()
    } else {
        format!("**{title}:** ")
    };
    let summary = match (lost, gained) {
        (0, 0) => "no connection changes.".to_owned(),
        (lost, 0) => format!("{} lost.", of_pairs(lost)),
        (0, gained) => format!("{} gained.", of_pairs(gained)),
        (lost, gained) => format!("{} lost, {} gained.", of_pairs(lost), of_pairs(gained)),
    };
    let _ = write!(text, "\n{heading}{summary}\n");
    if changes.is_empty() {
        return;
    }
    text.push_str("\n| | from | to | connections | for example |\n|---|---|---|---|---|\n");
    for change in changes {
        for (sign, words, is_added) in [
            ("➖ denied", &change.text.removed, false),
            ("➕ allowed", &change.text.added, true),
        ] {
            let Some(words) = words else { continue };
            let example = change
                .witnesses
                .iter()
                .find(|witness| witness.is_added == is_added)
                .map(|witness| {
                    format!(
                        "{}: {} → {}",
                        code(&witness.text),
                        cell(&witness.verdicts.old),
                        cell(&witness.verdicts.new)
                    )
                })
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "| {sign} | {} | {} | {} | {example} |",
                names(&change.from),
                names(&change.to),
                cell(words)
            );
        }
    }
}

fn of_pairs(pairs: usize) -> String {
    if pairs == 1 {
        "connections of 1 pair".to_owned()
    } else {
        format!("connections of {pairs} pairs")
    }
}

fn names(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMES).map(|name| code(name)).collect();
    if names.len() > NAMES {
        shown.push(format!("and {} more", names.len() - NAMES));
    }
    shown.join(", ")
}

/// A word that markdown must leave alone.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
