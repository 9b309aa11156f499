//! What the JSON Schema says, by the word of a validator that knows nothing of palisade.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};

use super::super::{KINDS, Kind, json};
use super::samples::{Expected, each, resource};
use crate::diagnostic::Diagnostics;
use crate::source::Files;
use crate::yaml::{Core, Documents, Node, Value as Yaml};

/// A schema, ready to be asked.
struct Compiled {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Compiled {
    fn new(schema: Value) -> Self {
        let mut compiler = Compiler::new();
        let mut schemas = Schemas::new();
        compiler
            .add_resource("palisade.json", schema)
            .expect("a resource");
        let index = compiler
            .compile("palisade.json", &mut schemas)
            .unwrap_or_else(|error| panic!("{error:#}"));
        Compiled { schemas, index }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        self.schemas
            .validate(value, self.index)
            .map_err(|error| format!("{value}: {error:#}"))
    }
}

#[test]
fn every_field_of_every_kind() {
    let whole = Compiled::new(json::schema());
    let of_kind = KINDS
        .each_ref()
        .map(|kind| (kind.word, Compiled::new(json::schema_of(kind))));
    let mut wrong = Vec::new();
    each(|kind, way, value, expected| {
        let value = resource(kind, way, value);
        let (_, own) = of_kind
            .iter()
            .find(|(word, _)| *word == kind.word)
            .expect("every kind has one");
        for schema in [&whole, own] {
            match (schema.check(&value), expected) {
                (Ok(()), Expected::Malformed) => wrong.push(format!("{value} is valid")),
                (Err(error), Expected::Good | Expected::Meaningless) => wrong.push(error),
                _ => {}
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_of_every_form() {
    let whole = Compiled::new(json::schema());
    let tier = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a"}});
    let item = json!({"metadata": {"name": "a"}});
    let list = |version: &str, kind: &str, items: Value| json!({"apiVersion": version, "kind": kind, "items": items});
    for good in [
        json!(null),
        json!([]),
        tier.clone(),
        json!([tier, tier]),
        list("v1", "List", json!([tier])),
        list("projectcalico.org/v3", "List", json!([])),
        list("projectcalico.org/v3", "TierList", json!([item, tier])),
        list("v1", "TierList", json!([item])),
        list(
            "v1",
            "NetworkPolicyList",
            json!([{"metadata": {"name": "a", "namespace": "b"}, "spec": {"order": 1}}]),
        ),
        list(
            "networking.k8s.io/v1",
            "NetworkPolicyList",
            json!([{"metadata": {"name": "a"}, "spec": {"podSelector": {}}}]),
        ),
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "5"}, "items": []}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}, "spec": {}}),
        json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "status": {"x": 1}, "metadata":
            {"name": "a", "uid": "b", "creationTimestamp": null, "namespace": "", "labels": {"a/b": "c"}}}),
    ] {
        whole.check(&good).unwrap_or_else(|error| panic!("{error}"));
    }
    let with = |field: &str, value: Value| {
        let mut changed = tier.clone();
        changed[field] = value;
        changed
    };
    for bad in [
        json!("text"),
        json!({}),
        item.clone(),
        json!([item]),
        list("v1", "List", json!([item])),
        list("v1", "List", json!({})),
        list("v1", "ConfigMapList", json!([])),
        json!({"apiVersion": "v1", "kind": "List"}),
        with("kind", json!("Teir")),
        with("kind", json!("Node")),
        with("apiVersion", json!("projectcalico.org/v2")),
        with("apiVersion", json!("palisade.dev/v1")),
        with("apiVersion", json!("v1")),
        list(
            "v1",
            "NetworkPolicyList",
            json!([{"metadata": {"name": "a", "namespace": "b"}, "spec": {"podSelector": {}}}]),
        ),
        with("specs", json!({})),
        with("spec", json!([])),
        with("metadata", json!({})),
        with("metadata", json!({"name": "A"})),
        with("metadata", json!({"name": "a.b"})),
        with("metadata", json!({"name": "a", "namespace": "b"})),
        json!({"apiVersion": "projectcalico.org/v3", "kind": "NetworkSet", "metadata": {"name": "a"}}),
        json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "a"}}),
        json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "a"}, "spec": {"node": "n"}}),
        json!({"apiVersion": "palisade.dev/v1", "kind": "ServiceEndpoint", "metadata": {"name": "a"},
            "spec": {"node": "n", "unit": "a.service", "cgroup": "a"}}),
    ] {
        assert!(whole.check(&bad).is_err(), "{bad} is valid");
    }
}

#[test]
fn the_examples() {
    let whole = Compiled::new(json::schema());
    for text in [
        include_str!("../../../../examples/00-safety-net.yaml"),
        include_str!("../../../../examples/10-database.yaml"),
        include_str!("../../../../examples/20-backend-lockdown.yaml"),
        include_str!("../../../../examples/hosts.yaml"),
    ] {
        for document in documents(text) {
            whole.check(&document).unwrap_or_else(|error| panic!("{error}"));
            let misspelt = document
                .to_string()
                .replacen("\"spec\":{", "\"spec\":{\"ordre\":1,", 1);
            let misspelt = serde_json::from_str(&misspelt).expect("JSON");
            assert!(whole.check(&misspelt).is_err(), "{misspelt} is valid");
        }
    }
}

#[test]
fn every_description_says_something() {
    fn descriptions(value: &Value, found: &mut usize) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(description)) = fields.get("description") {
                    assert!(
                        description.ends_with('.') && description.len() > 5,
                        "{description:?}"
                    );
                    *found += 1;
                }
                fields.values().for_each(|value| descriptions(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| descriptions(item, found)),
            _ => {}
        }
    }
    let mut found = 0;
    descriptions(&json::schema(), &mut found);
    assert!(found > 100, "{found}");
    let own = json::schema_of(Kind::parse("hep").expect("a kind"));
    assert_eq!(own["title"], "HostEndpoint of projectcalico.org/v3");
}

fn documents(text: &str) -> Vec<Value> {
    let mut files = Files::default();
    let file = files.add("t", text);
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::new(&files, file);
    std::iter::from_fn(|| documents.next(&mut diagnostics))
        .map(|node| value(&node))
        .collect()
}

/// A YAML value as JSON.
fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Scalar(scalar) => match scalar.core() {
            Core::Null => Value::Null,
            Core::Bool(value) => json!(value),
            Core::Integer(value) => json!(value),
            Core::Float(value) => json!(value),
            Core::Text(text) => json!(text),
        },
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(entries) => {
            let fields = entries.iter().map(|(key, inner)| {
                let key = key.text().unwrap_or_default().to_owned();
                (key, value(inner))
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}
