//! Every kind and field as tables of Markdown: the reference in `docs/policy.md`.

use std::fmt::Write as _;

use super::{Field, KINDS, Kind, List, METADATA, Object, Presence, Shape};
use crate::net::Protocol;

/// The reference: a table of the kinds, one for the fields of each, and one for every object in those.
pub fn reference() -> String {
    let mut text = overview();
    for kind in &KINDS {
        text.push_str(&self::kind(kind));
    }
    let objects = Object::all();
    for (index, object) in objects.iter().enumerate() {
        let same = |other: &&Object| std::ptr::eq(other.fields, object.fields);
        if !objects[..index].iter().any(same) {
            let _ = writeln!(text, "### {}\n", heading(object));
            text.push_str(&table(object.fields));
            text.push_str(&presence(object));
        }
    }
    let _ = writeln!(text, "### {}\n", heading(&METADATA));
    text.push_str(&table(METADATA.fields));
    text
}

fn overview() -> String {
    let mut text = "| kind | `apiVersion` | short names | what it is |\n|---|---|---|---|\n".to_owned();
    for kind in &KINDS {
        let short: Vec<String> = kind.short_names.iter().map(|name| format!("`{name}`")).collect();
        let place = if kind.namespaced { "; in a namespace" } else { "" };
        // Writing to a string cannot fail, here and elsewhere.
        let _ = writeln!(
            text,
            "| [{}](#{}) | `{}` | {} | {}{place} |",
            kind.name,
            anchor(&title(kind)),
            kind.api_version,
            short.join(", "),
            kind.meaning,
        );
    }
    text + "\n"
}

fn kind(kind: &'static Kind) -> String {
    let mut text = format!("### {}\n\n", title(kind));
    match kind.word.strip_prefix("Staged").and_then(Kind::by_word) {
        Some(enforced) => {
            let title = title(enforced);
            let _ = writeln!(text, "Every field of [{title}](#{}), and:\n", anchor(&title));
            let own = kind.spec.fields.iter();
            text.push_str(&table(
                own.filter(|field| enforced.spec.field(field.name).is_none()),
            ));
        }
        None => text.push_str(&table(kind.spec.fields)),
    }
    text + &presence(kind.spec)
}

/// The heading of a kind: with its group, where another kind has the same name.
fn title(kind: &Kind) -> String {
    if kind.name == kind.word {
        kind.name.to_owned()
    } else {
        format!("{} of {}", kind.name, kind.api_version)
    }
}

fn table<'f>(fields: impl IntoIterator<Item = &'f Field>) -> String {
    let mut rows: Vec<(String, String, String)> = Vec::new();
    for field in fields {
        let required = if field.required { ", needed" } else { "" };
        let value = value(&field.shape, false) + required;
        let meaning = match field.shape {
            Shape::Refused(why) => format!("{}; refused: {why}", field.meaning),
            _ => field.meaning.to_owned(),
        };
        let name = format!("`{}`", field.name);
        match rows.last_mut() {
            // What servers write is not worth a line each.
            Some((names, value_before, before)) if (&*value_before, &*before) == (&value, &meaning) => {
                let _ = write!(names, ", {name}");
            }
            _ => rows.push((name, value, meaning)),
        }
    }
    let mut text = "| field | value | meaning |\n|---|---|---|\n".to_owned();
    for (names, value, meaning) in rows {
        let _ = writeln!(text, "| {names} | {value} | {meaning} |");
    }
    text + "\n"
}

fn presence(object: &Object) -> String {
    let listed = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match object.presence {
        Presence::Free => String::new(),
        Presence::AnyOf(names) => format!("At least one of {} is needed.\n\n", listed(names)),
        Presence::OneOf(names) => format!("Exactly one of {} is needed.\n\n", listed(names)),
    }
}

/// What a value is, or what several of them in a list are.
fn value(shape: &Shape, many: bool) -> String {
    let either = |one: &str, several: &str| if many { several.to_owned() } else { one.to_owned() };
    let words = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(", ");
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Pattern(form) => either(
            form.what,
            &form
                .what
                .replacen("a name of a", "names of", 1)
                .replacen("a value of a", "values of", 1),
        ),
        Shape::Number => "a number".to_owned(),
        Shape::Integer(least, most) => format!("{least} to {most}"),
        Shape::Numbers(numbers) => words(&mut numbers.iter().map(ToString::to_string)),
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::Choice(choices) => words(&mut choices.iter().map(|word| format!("`{word}`"))),
        Shape::Selector => "a selector".to_owned(),
        Shape::Protocol => {
            let names = words(&mut Protocol::NAMES.iter().map(|(name, _)| format!("`{name}`")));
            format!("{names}, or 1 to 255")
        }
        Shape::Port => either("a port", "ports: `80`, `8000:8059`, or a name"),
        Shape::SinglePort => "1 to 65535, or a name".to_owned(),
        Shape::Prefix | Shape::LoosePrefix => either("a prefix: `10.0.0.0/8`", "prefixes: `10.0.0.0/8`"),
        Shape::PrefixOrAddress => either("an address or a prefix", "addresses and prefixes"),
        Shape::Address => either("an address", "addresses"),
        Shape::HostPrefix => either("an address: `10.0.0.1/32`", "addresses: `10.0.0.1/32`"),
        Shape::Labels => "labels".to_owned(),
        Shape::Annotations => "annotations".to_owned(),
        Shape::List(list) => self::list(list),
        Shape::Object(object) => {
            let plural = format!("{}s", object.noun());
            let shown = either(object.what, &plural);
            format!("[{shown}](#{})", anchor(&heading(object)))
        }
        Shape::Refused(_) => "not enforced".to_owned(),
        Shape::Any | Shape::Described => "anything".to_owned(),
    }
}

fn list(list: &List) -> String {
    let of = value(list.of, true);
    match (list.of, list.most) {
        (Shape::Choice(_), _) => format!("list of {of}"),
        (_, usize::MAX) if list.filled => format!("list of {of}, not empty"),
        (_, usize::MAX) => format!("list of {of}"),
        (_, most) if list.filled => format!("list of 1 to {most} {of}"),
        (_, most) => format!("list of up to {most} {of}"),
    }
}

/// The heading of the table that an object is in: of all objects with the very same fields.
fn heading(object: &Object) -> String {
    let all = Object::all();
    let same = all
        .iter()
        .filter(|other| std::ptr::eq(other.fields, object.fields));
    let mut nouns: Vec<&str> = same.map(|other| other.noun()).collect();
    if nouns.is_empty() {
        nouns.push(object.noun());
    }
    capital(&nouns.join(" and "))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// The anchor that GitHub and GitLab give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
