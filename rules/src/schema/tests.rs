//! The table is well made, and the decoder reads what it says and nothing else.

mod json;
mod samples;

use serde_json::Value;

use self::samples::{Expected, each, resource};
use super::*;
use crate::decode::decode;
use crate::source::Files;

/// What is said of a value that its field does not allow; other codes are about objects as a whole.
const ABOUT_VALUES: [&str; 21] = [
    "duplicate-entry",
    "empty-list",
    "invalid-address",
    "invalid-annotation",
    "invalid-cgroup",
    "invalid-label",
    "invalid-name",
    "invalid-net",
    "invalid-port",
    "invalid-protocol",
    "invalid-unit",
    "invalid-value",
    "missing-field",
    "out-of-range",
    "selector-global",
    "selector-syntax",
    "too-long",
    "too-many",
    "unknown-field",
    "unsupported",
    "wrong-type",
];

#[test]
fn the_table_is_well_made() {
    let mut objects = Object::all();
    objects.extend(KINDS.iter().map(|kind| kind.spec));
    objects.extend([&RESOURCE, &LIST, &METADATA]);
    for object in objects {
        let mut names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), object.fields.len(), "{}", object.what);
        for field in object.fields {
            assert!(
                !field.meaning.is_empty() && !field.meaning.contains(['\n', '|']),
                "{field:?}"
            );
            assert!(!field.meaning.ends_with('.'), "{field:?}");
        }
        let (Presence::AnyOf(present) | Presence::OneOf(present)) = object.presence else {
            continue;
        };
        assert!(
            present.iter().all(|name| object.field(name).is_some()),
            "{}",
            object.what
        );
    }
    for kind in &KINDS {
        assert!(std::ptr::eq(
            Kind::find(kind.api_version, kind.name).unwrap(),
            kind
        ));
        assert!(std::ptr::eq(Kind::by_word(kind.word).unwrap(), kind));
        for name in kind.short_names.iter().chain([&kind.word]) {
            assert!(std::ptr::eq(Kind::parse(&name.to_uppercase()).unwrap(), kind));
        }
        let others = KINDS.iter().filter(|other| other.word != kind.word);
        let taken: Vec<&str> = others.flat_map(|other| other.short_names).copied().collect();
        assert!(
            kind.short_names.iter().all(|name| !taken.contains(name)),
            "{}",
            kind.word
        );
    }
}

#[test]
fn every_field_of_every_kind_is_read_as_the_table_says() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    each(|kind, way, value, expected| {
        tried += 1;
        let mut found = problems(kind, way, value);
        let shown = || resource(kind, way, value).to_string();
        if expected == Expected::Good {
            found.retain(|(code, _)| ABOUT_VALUES.contains(code));
            if !found.is_empty() {
                wrong.push(format!("{}: {found:?}", shown()));
            }
        } else if found.is_empty() {
            wrong.push(format!("{} is accepted", shown()));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 1_000, "{tried}");
}

/// The problems of a value in the last of these fields: code and path.
fn problems(kind: &'static Kind, way: &[&'static Field], value: &Value) -> Vec<(&'static str, String)> {
    let text = resource(kind, way, value).to_string();
    let mut files = Files::default();
    let file = files.add("t", text);
    let (_, diagnostics) = decode(&files, &[file]);
    let mut path = "spec".to_owned();
    for (index, field) in way.iter().enumerate() {
        path.push('.');
        path.push_str(field.name);
        if index + 1 < way.len() && matches!(field.shape, Shape::List(_)) {
            path.push_str("[0]");
        }
    }
    let problems = diagnostics
        .iter()
        .map(|problem| (problem.code, problem.path.clone().unwrap_or_default()));
    // What the object lacks besides is not the value's fault.
    problems
        .filter(|(code, at)| at.starts_with(&path) && (*code != "missing-field" || *at == path))
        .collect()
}
