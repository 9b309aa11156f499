//! Input that means harm, and input that means nothing.

use proptest::prelude::*;

use super::{decode_text, problems};
use crate::decode::decode;
use crate::diagnostic::Diagnostics;
use crate::source::Files;
use crate::yaml;

const EXAMPLES: [&str; 4] = [
    include_str!("../../../../examples/00-safety-net.yaml"),
    include_str!("../../../../examples/10-database.yaml"),
    include_str!("../../../../examples/20-backend-lockdown.yaml"),
    include_str!("../../../../examples/hosts.yaml"),
];

#[test]
fn harm_is_one_clear_error() {
    let head = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: ";
    let nested = format!("{head}{}", "[".repeat(1_000_000));
    let huge = format!("{head}{{defaultAction: {}}}\n", "x".repeat(5_000_000));
    let key = format!("{head}{{{}: 1}}\n", "k".repeat(5_000_000));
    for (text, code) in [
        (nested, "too-deep"),
        (huge, "invalid-value"),
        (key, "unknown-field"),
        (format!("{head}{{order: 1\0}}\n"), "yaml-syntax"),
    ] {
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(code), "{}", &found[0][..80.min(found[0].len())]);
        let (_, diagnostics, files) = decode_text(&text);
        assert!(diagnostics.render(&files, false).len() < 2_000);
    }
}

#[test]
fn mistakes_without_number_are_counted() {
    let text = "- {}\n".repeat(3_000);
    let (snapshot, diagnostics, files) = decode_text(&text);
    assert!(snapshot.is_none());
    assert_eq!(
        (diagnostics.len(), diagnostics.error_count()),
        (Diagnostics::LIMIT, 6_000)
    );
    assert!(diagnostics.render(&files, false).ends_with("... and 5000 more\n"));
}

/// Renders everything, so that no place in no file makes the renderer fail.
fn decode_and_show(text: &str) {
    let (snapshot, diagnostics, files) = decode_text(text);
    assert_eq!(snapshot.is_some(), !diagnostics.has_errors());
    diagnostics.render(&files, true);
    diagnostics.records(&files);
}

proptest! {
    #[test]
    fn arbitrary_text(text in "\\PC{0,100}") {
        decode_and_show(&text);
    }

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut files = Files::default();
        match yaml::add(&mut files, "t", &bytes) {
            Ok(file) => drop(decode(&files, &[file])),
            Err(problem) => drop(problem.render(&files, false)),
        }
    }

    #[test]
    fn examples_with_changes(
        example in 0..EXAMPLES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_usize, "[ \\n:\\-\\[\\]{}&*!|>'\"#a-zA-Z0-9é\u{1b}~<]{0,3}"), 1..5),
    ) {
        let mut text: Vec<char> = EXAMPLES[example].chars().collect();
        for (place, removed, inserted) in changes {
            let start = place.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        decode_and_show(&text.into_iter().collect::<String>());
    }
}
