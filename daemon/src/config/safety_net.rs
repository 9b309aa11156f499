//! `safetyNet` changed in the text of a configuration, every other byte as it was.

use palisade_rules::diagnostic::Diagnostics;
use palisade_rules::source::Files;
use palisade_rules::yaml::{Documents, Node, Value};

/// The key.
const KEY: &str = "safetyNet";

/// The text with `safetyNet` as it is to be: where it is written, or else below its own line of the shipped comments, or
/// else at the end. Whoever asks must decode what comes of it: a text that is no configuration is not noticed here.
pub fn with_safety_net(text: &str, safety_net: bool) -> String {
    let mut files = Files::default();
    let file = files.add("palisade.yaml", text);
    let root = Documents::new(&files, file).next(&mut Diagnostics::default());
    let line = format!("{KEY}: {safety_net}");
    match root.as_ref().map(|root| (root, &root.value)) {
        Some((_, Value::Mapping(entries))) if !entries.is_empty() => {
            match entries.iter().find(|(key, _)| key.text() == Some(KEY)) {
                Some((_, value)) if value.span.start < value.span.end => {
                    let mut changed = text.to_owned();
                    changed.replace_range(value.span.start..value.span.end, &safety_net.to_string());
                    changed
                }
                // A key without a value.
                Some((key, _)) => {
                    let mut changed = text.to_owned();
                    let end = text[key.span.end..]
                        .find(':')
                        .map_or(key.span.end, |colon| key.span.end + colon + 1);
                    changed.insert_str(end, &format!(" {safety_net}"));
                    changed
                }
                None => with_line(text, &entries[0].0, &line),
            }
        }
        Some((root, Value::Mapping(_))) => {
            let mut changed = text.to_owned();
            changed.replace_range(root.span.start..root.span.end, &format!("{{{line}}}"));
            changed
        }
        _ => below_comment_or_last(text, &line),
    }
}

/// The text with a line more, beside a first entry that is there.
fn with_line(text: &str, first: &Node, line: &str) -> String {
    let begins = text[..first.span.start].rfind('\n').map_or(0, |end| end + 1);
    if begins == first.span.start {
        return below_comment_or_last(text, line);
    }
    // `{node: a}`, or everything indented: before the first entry, as that is written.
    let before = &text[begins..first.span.start];
    let separator = if before.trim().is_empty() {
        format!("\n{before}")
    } else {
        ", ".to_owned()
    };
    let mut changed = text.to_owned();
    changed.insert_str(first.span.start, &format!("{line}{separator}"));
    changed
}

/// The text with a line more: below `#safetyNet: true`, or else at the end.
fn below_comment_or_last(text: &str, line: &str) -> String {
    let mut changed = String::with_capacity(text.len() + line.len() + 1);
    let mut is_in = false;
    for old in text.split_inclusive('\n') {
        changed += old;
        if !is_in && old.starts_with(&format!("#{KEY}:")) && old.ends_with('\n') {
            changed += line;
            changed += if old.ends_with("\r\n") { "\r\n" } else { "\n" };
            is_in = true;
        }
    }
    if !is_in {
        if !changed.is_empty() && !changed.ends_with('\n') {
            changed += "\n";
        }
        changed += line;
        changed += "\n";
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn safety_net(text: &str) -> bool {
        let mut files = Files::default();
        let file = files.add("palisade.yaml", text);
        let (config, diagnostics) = Config::parse(&files, file);
        config
            .unwrap_or_else(|| panic!("{text:?}: {}", diagnostics.render(&files, false)))
            .safety_net
    }

    #[test]
    fn only_the_value_changes_where_it_is_written() {
        for (text, changed) in [
            ("safetyNet: true\n", "safetyNet: false\n"),
            (
                "node: a # b\nsafetyNet:   true # why\nflows: {}",
                "node: a # b\nsafetyNet:   false # why\nflows: {}",
            ),
            ("{node: a, safetyNet: true}", "{node: a, safetyNet: false}"),
            ("safetyNet: ~\nnode: a\n", "safetyNet: false\nnode: a\n"),
            ("safetyNet:\nnode: a\n", "safetyNet: false\nnode: a\n"),
        ] {
            assert_eq!(with_safety_net(text, false), changed);
            assert!(!safety_net(changed));
            assert!(safety_net(&with_safety_net(changed, true)));
        }
    }

    #[test]
    fn it_is_added_where_it_is_not_written() {
        for (text, changed) in [
            ("", "safetyNet: false\n"),
            ("# nothing", "# nothing\nsafetyNet: false\n"),
            ("node: a", "node: a\nsafetyNet: false\n"),
            ("{node: a}\n", "{safetyNet: false, node: a}\n"),
            ("{}\n", "{safetyNet: false}\n"),
            ("---\n  node: a\n", "---\n  safetyNet: false\n  node: a\n"),
            (
                "node: a\n\n# Why.\n#safetyNet: true\n\n#flows: {}\n",
                "node: a\n\n# Why.\n#safetyNet: true\nsafetyNet: false\n\n#flows: {}\n",
            ),
        ] {
            assert_eq!(with_safety_net(text, false), changed);
            assert!(!safety_net(changed), "{changed:?}");
        }
    }

    #[test]
    fn the_shipped_configuration_keeps_its_comments() {
        let text = include_str!("../../../systemd/palisade.yaml");
        let changed = with_safety_net(text, false);
        assert_eq!(
            changed,
            text.replace("#safetyNet: true\n", "#safetyNet: true\nsafetyNet: false\n")
        );
        assert!(!safety_net(&changed));
    }
}
