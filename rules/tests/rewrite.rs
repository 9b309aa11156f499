//! Files that are rewritten mean what promotion means, however they are laid out; and what is not promoted keeps every byte.
#![allow(clippy::unwrap_used)] // all of this is tests

use std::sync::Arc;

use palisade_cases::case;
use palisade_rules::decode::decode;
use palisade_rules::print;
use palisade_rules::resource::{Policy, StagedAction};
use palisade_rules::rewrite::promote;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};
use proptest::prelude::*;
use serde_yaml::Value;

/// How policies are laid out.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Documents,
    List,
    Json,
    JsonList,
}

/// The text of each policy, and of the file with all of them.
fn lay_out(policies: &[Arc<Policy>], layout: Layout) -> (Vec<String>, String) {
    let documents = policies.iter().map(|policy| print::policy(policy));
    let json = |document: &String| {
        let value: Value = serde_yaml::from_str(document).unwrap();
        serde_json::to_string(&value).unwrap()
    };
    match layout {
        Layout::Documents => {
            let texts: Vec<String> = documents
                .map(|text| format!("# above\n{text}# below\n"))
                .collect();
            let file = texts.join("---\n");
            (texts, file)
        }
        Layout::List => {
            let item = |text: String| {
                let lines: Vec<String> = text.lines().map(|line| format!("  {line}\n")).collect();
                format!("- {}", lines.concat().trim_start())
            };
            let texts: Vec<String> = documents.map(item).collect();
            let file = format!("apiVersion: v1\nkind: List\nitems:\n{}", texts.concat());
            (texts, file)
        }
        Layout::Json => {
            let texts: Vec<String> = documents.map(|text| json(&text)).collect();
            let file = texts.join("\n---\n");
            (texts, file)
        }
        Layout::JsonList => {
            let texts: Vec<String> = documents.map(|text| json(&text)).collect();
            let file = format!("[\n{}\n]\n", texts.join(",\n"));
            (texts, file)
        }
    }
}

fn read(texts: [&str; 2]) -> Option<(Files, Vec<FileId>, Snapshot)> {
    let mut files = Files::default();
    let ids: Vec<FileId> = ["policies", "others"]
        .into_iter()
        .zip(texts)
        .map(|(name, text)| files.add(name, text))
        .collect();
    let snapshot = decode(&files, &ids).0?;
    Some((files, ids, snapshot))
}

/// Policies by identity and whether they are staged.
fn identities(snapshot: &Snapshot) -> Vec<(String, bool)> {
    let policies = snapshot.policies.iter();
    let mut identities: Vec<_> = policies
        .map(|policy| (policy.id.tie_break(), policy.staged.is_some()))
        .collect();
    identities.sort();
    identities
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewriting_promotes_and_changes_nothing_else(
        case in case(1),
        chosen in prop::collection::vec(any::<bool>(), 64),
        layout in prop_oneof![Just(Layout::Documents), Just(Layout::List), Just(Layout::Json), Just(Layout::JsonList)],
    ) {
        let (texts, file) = lay_out(&case.snapshot.policies, layout);
        let others = print::snapshot(&Snapshot { policies: Vec::new(), ..case.snapshot.clone() });
        // A selector that became too long by being printed cannot be read again.
        let Some((files, ids, snapshot)) = read([&file, &others]) else { return Ok(()) };
        let is_chosen = |policy: &Policy| {
            let index = snapshot.policies.iter().position(|other| other.position == policy.position);
            index.is_some_and(|index| chosen[index % chosen.len()])
        };
        let rewritten = promote(&files, &ids, &snapshot, is_chosen);
        prop_assert!(rewritten.is_ok(), "{:?}\n{file}", rewritten.err().map(|error| error.to_string()));
        let expected = snapshot.promoted(is_chosen);
        let rewritten = rewritten.unwrap_or_default();
        let Some(new) = rewritten.first() else {
            prop_assert_eq!(identities(&expected), identities(&snapshot));
            return Ok(());
        };
        prop_assert_eq!(rewritten.len(), 1, "only the file with policies changes");
        let after = read([&new.text, &others]).map(|(.., after)| after);
        prop_assert!(after.is_some(), "{}", new.text);
        prop_assert_eq!(identities(&after.unwrap_or_default()), identities(&expected));
        for (policy, text) in snapshot.policies.iter().zip(&texts) {
            let is_promoted = policy.staged.is_some_and(|action| action != StagedAction::Ignore) && is_chosen(policy);
            let stays = !is_promoted && expected.policies.iter().any(|other| other.position == policy.position);
            // The blank before the dash of a list stays with whoever follows.
            prop_assert!(!stays || new.text.contains(text.trim()), "{text} is not in\n{}", new.text);
        }
    }
}
