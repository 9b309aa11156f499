//! Values for every field there is: such as it allows, and such as it does not.

use serde_json::{Map, Value, json};

use super::super::*;

/// Tries values in every field of every kind: what is given is the kind, the fields that lead there from the spec, the
/// value, and what is expected of it.
pub(super) fn each(mut tried: impl FnMut(&'static Kind, &[&'static Field], &Value, Expected)) {
    for kind in &KINDS {
        walk(kind, kind.spec, &mut Vec::new(), &mut tried);
    }
}

/// What is expected of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It is allowed.
    Good,
    /// It is not, as can be seen by its form.
    Malformed,
    /// It is not, though its form is right.
    Meaningless,
}

fn walk(
    kind: &'static Kind,
    object: &'static Object,
    way: &mut Vec<&'static Field>,
    tried: &mut impl FnMut(&'static Kind, &[&'static Field], &Value, Expected),
) {
    for field in object.fields {
        way.push(field);
        let mut good = match field.name {
            // Part of the `cidr` beside it.
            "except" => vec![json!(["10.1.0.0/16"]), json!([])],
            _ => good(&field.shape),
        };
        if !field.required && !matches!(field.shape, Shape::List(List { filled: true, .. })) {
            good.push(Value::Null);
        }
        for (values, expected) in [
            (good, Expected::Good),
            (malformed(&field.shape), Expected::Malformed),
            (meaningless(&field.shape), Expected::Meaningless),
        ] {
            for value in values {
                tried(kind, way, &value, expected);
            }
        }
        // One rule is like another: what is inside a field of the same name is not tried again.
        let is_inside_itself = way.iter().filter(|passed| passed.name == field.name).count() > 1;
        if let Some(inner) = inner(&field.shape)
            && !is_inside_itself
        {
            walk(kind, inner, way, tried);
        }
        way.pop();
    }
}

/// An object of a kind with what is needed, and this value in the last of these fields.
pub(super) fn resource(kind: &'static Kind, way: &[&'static Field], value: &Value) -> Value {
    let mut metadata = json!({"name": "a"});
    if kind.namespaced {
        metadata["namespace"] = json!("x");
    }
    json!({
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": metadata,
        "spec": object_with(kind.spec, way, value),
    })
}

fn object_with(object: &'static Object, way: &[&'static Field], value: &Value) -> Value {
    let mut content = Map::new();
    let needed = object.fields.iter().filter(|field| field.required);
    let present = match object.presence {
        Presence::Free => None,
        Presence::AnyOf(names) | Presence::OneOf(names) => {
            let written = way.first().is_some_and(|field| names.contains(&field.name));
            (!written).then(|| object.field(names[0]).unwrap())
        }
    };
    for field in needed.chain(present) {
        content.insert(field.name.to_owned(), good(&field.shape).remove(0));
    }
    if let Some((field, rest)) = way.split_first() {
        if field.name == "endPort" {
            content.insert("port".to_owned(), json!(1));
        }
        let value = match inner(&field.shape) {
            Some(inner) if !rest.is_empty() => {
                let inner = object_with(inner, rest, value);
                match field.shape {
                    Shape::List(_) => json!([inner]),
                    _ => inner,
                }
            }
            _ => value.clone(),
        };
        content.insert(field.name.to_owned(), value);
    }
    Value::Object(content)
}

fn inner(shape: &Shape) -> Option<&'static Object> {
    match *shape {
        Shape::Object(object) => Some(object),
        Shape::List(list) => inner(list.of),
        _ => None,
    }
}

/// Values that a field of this shape allows, the first a plain one.
fn good(shape: &Shape) -> Vec<Value> {
    match *shape {
        Shape::Pattern(form) if form.regex.contains("service") => {
            vec![json!("a.service"), json!("a@b.slice")]
        }
        Shape::Text | Shape::Pattern(_) => vec![json!("a")],
        Shape::Number => vec![json!(1), json!(-1.5), json!(1e300)],
        Shape::Integer(least, most) => vec![json!(least), json!(most)],
        Shape::Numbers(numbers) => numbers.iter().map(|number| json!(number)).collect(),
        Shape::Boolean => vec![json!(true), json!(false)],
        Shape::Choice(words) => words.iter().map(|word| json!(word)).collect(),
        Shape::Selector => vec![json!("has(a)"), json!("a == 'b'")],
        Shape::Protocol => vec![json!("TCP"), json!("UDPLite"), json!(1), json!(255), json!("47")],
        Shape::Port => vec![
            json!(1),
            json!(65535),
            json!("80"),
            json!("8000:8059"),
            json!("http"),
        ],
        Shape::SinglePort => vec![json!(1), json!(65535), json!("http")],
        Shape::Prefix => vec![json!("10.0.0.0/8"), json!("fd00::/8")],
        Shape::LoosePrefix => vec![json!("10.0.0.0/8"), json!("fd00::1/8"), json!("10.0.0.1/8")],
        Shape::PrefixOrAddress => vec![json!("10.0.0.0/8"), json!("fd00::1"), json!("10.0.0.1/8")],
        Shape::Address => vec![json!("10.0.0.1"), json!("fd00::1")],
        Shape::HostPrefix => vec![json!("10.0.0.1/32"), json!("fd00::1/128"), json!("10.0.0.1")],
        Shape::Labels => vec![json!({}), json!({"a": "b", "example.com/a": ""})],
        Shape::Annotations => vec![json!({}), json!({"A/b": "any text", "c": null})],
        Shape::List(list) => {
            let items = good(list.of);
            let mut lists: Vec<Value> = items.iter().map(|item| json!([item])).collect();
            if !list.filled {
                lists.push(json!([]));
            }
            lists
        }
        Shape::Object(object) => vec![object_with(object, &[], &Value::Null)],
        Shape::Refused(_) => vec![json!(null), json!(false), json!(""), json!([])],
        Shape::Any | Shape::Described => vec![json!("a"), json!(5), json!({"a": [1]})],
    }
}

/// Values that a field of this shape does not allow, as can be seen by their form.
fn malformed(shape: &Shape) -> Vec<Value> {
    match *shape {
        Shape::Text => vec![json!(5), json!([])],
        Shape::Pattern(form) => vec![json!(5), json!("a b"), json!("a".repeat(form.longest + 1))],
        Shape::Number => vec![json!("1"), json!([])],
        Shape::Integer(least, most) => vec![json!(least - 1), json!(most + 1), json!("1"), json!(1.5)],
        Shape::Numbers(numbers) => vec![json!(numbers[0] + 1), json!(numbers[0].to_string())],
        Shape::Boolean => vec![json!("true"), json!("yes"), json!(1)],
        Shape::Choice(words) => vec![json!(words[0].to_lowercase()), json!(true), json!([words[0]])],
        Shape::Selector => vec![json!(5), json!(format!("has({})", "a".repeat(MAX_SELECTOR)))],
        Shape::Protocol => vec![json!("tcp"), json!(0), json!(256), json!(true)],
        Shape::Port => vec![json!(0), json!(65536), json!("1-2"), json!("HTTP"), json!(true)],
        Shape::SinglePort => vec![json!(0), json!(65536), json!("1:2"), json!("HTTP"), json!(true)],
        Shape::Prefix | Shape::LoosePrefix => vec![json!("10.0.0.1"), json!("a"), json!(10)],
        Shape::PrefixOrAddress | Shape::HostPrefix => vec![json!("a"), json!(10)],
        Shape::Address => vec![json!("10.0.0.1/32"), json!("a"), json!(10)],
        Shape::Labels => vec![
            json!({"a b": "c"}),
            json!({"a": "b c"}),
            json!({"a": 5}),
            json!([]),
        ],
        Shape::Annotations => vec![json!({"a b": "c"}), json!({"a": 5}), json!([])],
        Shape::List(list) => {
            let item = good(list.of).remove(0);
            let mut lists: Vec<Value> = malformed(list.of).iter().map(|item| json!([item])).collect();
            lists.push(json!({"a": item}));
            if list.filled {
                lists.extend([json!([]), Value::Null]);
            }
            if list.unique {
                lists.push(json!([item, item]));
            }
            if list.most < usize::MAX {
                lists.push(json!(vec![item; list.most + 1]));
            }
            lists
        }
        Shape::Object(_) => vec![json!("a"), json!([]), json!({"no such field": 1})],
        Shape::Refused(_) => vec![json!(true), json!("a"), json!([1]), json!({"a": 1})],
        Shape::Any | Shape::Described => Vec::new(),
    }
}

/// Values that a field of this shape does not allow, though their form is right.
fn meaningless(shape: &Shape) -> Vec<Value> {
    match *shape {
        Shape::Selector => vec![json!("a"), json!("a ==")],
        Shape::Protocol => vec![json!("0"), json!("256")],
        Shape::Port => vec![json!("2:1"), json!("65536"), json!("0:1")],
        Shape::Prefix => vec![
            json!("10.0.0.1/8"),
            json!("10.0.0.0/33"),
            json!("300.0.0.0/8"),
            json!(":/8"),
        ],
        Shape::LoosePrefix | Shape::PrefixOrAddress => vec![json!("10.0.0.0/33"), json!("300.0.0.0/8")],
        Shape::Address => vec![json!("300.0.0.1"), json!("::1::"), json!("::ffff:10.0.0.1")],
        Shape::HostPrefix => vec![json!("10.0.0.0/31"), json!("fd00::/64")],
        Shape::List(list) => meaningless(list.of).iter().map(|item| json!([item])).collect(),
        _ => Vec::new(),
    }
}
