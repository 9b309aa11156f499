//! JSON Schema, draft 07, of what can be written: for editors.
//!
//! It is a little more generous than [`crate::decode`]: whatever that accepts is valid here, and what no schema can say
//! (a tier that does not exist, a prefix with host bits) is left to `palisade check`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    ANNOTATION_KEY, KINDS, Kind, LABEL_KEY, LABEL_VALUE, LIST, METADATA, Names, Object, Pattern, Presence,
    Shape,
};
use crate::net::Protocol;

/// The schema of a whole file: nothing, one resource, a list of them in any form.
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let mut by_kind: Vec<Value> = KINDS.iter().map(|kind| definitions.when(kind)).collect();
    by_kind.extend(KINDS.iter().map(|kind| definitions.when_list_of(kind)));
    by_kind.push(json!({
        "if": {"properties": {"kind": {"const": "List"}}, "required": ["kind"]},
        "then": {"$ref": "#/definitions/List"},
    }));
    for kind in KINDS.iter().filter(|kind| kind.is_first_of_its_name()) {
        let versions: Vec<&str> = Kind::api_versions(kind.name).collect();
        by_kind.push(json!({
            "if": {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]},
            "then": {"properties": {"apiVersion": {"enum": versions}}},
        }));
    }
    let mut names: Vec<String> = KINDS.iter().map(|kind| kind.name.to_owned()).collect();
    names.extend(KINDS.iter().map(|kind| format!("{}List", kind.name)));
    names.push("List".to_owned());
    names.sort_unstable();
    names.dedup();
    let resource = json!({
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"description": "The group and version of the kind.", "enum": api_versions()},
            "kind": {"description": "What it is.", "enum": names},
        },
        "allOf": by_kind,
    });
    definitions.add("resource", resource);
    let list = list_of(
        &json!({"$ref": "#/definitions/resource"}),
        &json!(api_versions()),
        &json!("List"),
    );
    definitions.add("List", list);
    root(
        "palisade: policies and what they are about",
        json!({
            "if": {"type": "array"},
            "then": {"items": {"$ref": "#/definitions/resource"}},
            "else": {"if": {"not": {"type": "null"}}, "then": {"$ref": "#/definitions/resource"}},
        }),
        definitions,
    )
}

/// The schema of one object of a kind.
pub fn schema_of(kind: &Kind) -> Value {
    let mut definitions = Definitions::default();
    let reference = definitions.kind(kind);
    root(
        &format!("{} of {}", kind.name, kind.api_version),
        json!({"type": "object", "required": ["apiVersion", "kind"], "allOf": [reference]}),
        definitions,
    )
}

fn root(title: &str, content: Value, definitions: Definitions) -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!(title));
    if let Value::Object(content) = content {
        schema.extend(content);
    }
    let all = definitions.all.into_iter().collect::<Map<_, _>>();
    schema.insert("definitions".to_owned(), Value::Object(all));
    Value::Object(schema)
}

fn api_versions() -> Vec<&'static str> {
    let mut versions: Vec<&str> = KINDS.iter().map(|kind| kind.api_version).collect();
    versions.push("v1");
    versions.sort_unstable();
    versions.dedup();
    versions
}

fn list_of(item: &Value, api_versions: &Value, kind: &Value) -> Value {
    let items = LIST.field("items").map(|field| sentence(field.meaning));
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "items"],
        "properties": {
            "apiVersion": {"enum": api_versions},
            "kind": {"const": kind},
            "items": {"description": items, "type": "array", "items": item},
            "metadata": {},
        },
        "additionalProperties": false,
    })
}

/// Schemas that others refer to, by name.
#[derive(Default)]
struct Definitions {
    all: BTreeMap<String, Value>,
}

impl Definitions {
    fn add(&mut self, name: &str, schema: Value) {
        self.all.insert(name.to_owned(), schema);
    }

    /// What holds for an object of a kind.
    fn when(&mut self, kind: &Kind) -> Value {
        json!({
            "if": {
                "properties": {"apiVersion": {"const": kind.api_version}, "kind": {"const": kind.name}},
                "required": ["apiVersion", "kind"],
            },
            "then": self.kind(kind),
        })
    }

    /// What holds for a list of objects of a kind, which need not repeat what the list says.
    fn when_list_of(&mut self, kind: &Kind) -> Value {
        let name = format!("{}List", kind.name);
        let item = json!({"type": "object", "allOf": [self.kind(kind)]});
        let mut versions = vec![kind.api_version];
        if kind.is_first_of_its_name() {
            versions.push("v1");
        }
        let versions = json!(versions);
        let list = list_of(&item, &versions, &json!(name));
        json!({
            "if": {
                "properties": {"apiVersion": {"enum": versions}, "kind": {"const": name}},
                "required": ["apiVersion", "kind"],
            },
            "then": list,
        })
    }

    /// A reference to the definition of a kind.
    fn kind(&mut self, kind: &Kind) -> Value {
        let mut required = vec!["metadata"];
        if kind.spec_required {
            required.push("spec");
        }
        let mut spec = self.object(kind.spec);
        if kind.spec_required {
            spec = json!({"type": "object", "allOf": [spec]});
        }
        let schema = json!({
            "description": sentence(kind.meaning),
            "properties": {
                "apiVersion": {"const": kind.api_version},
                "kind": {"const": kind.name},
                "metadata": self.metadata(kind),
                "spec": described("what it says", spec),
                "status": {},
            },
            "required": required,
            "additionalProperties": false,
        });
        self.add(kind.word, schema);
        json!({"$ref": format!("#/definitions/{}", kind.word)})
    }

    fn metadata(&mut self, kind: &Kind) -> Value {
        let mut properties = self.properties(&METADATA);
        let mut required = vec!["name"];
        let meaning = METADATA.field("name").map_or("", |field| field.meaning);
        properties.insert(
            "name".to_owned(),
            described(meaning, pattern(kind.names.pattern(), true)),
        );
        if !kind.namespaced {
            properties.insert(
                "namespace".to_owned(),
                json!({"enum": [null, ""], "description": "This kind has none."}),
            );
        } else if kind.api_version != super::KUBERNETES {
            required.push("namespace");
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// A reference to the definition of an object; `null` is valid, as where it is left out.
    fn object(&mut self, object: &'static Object) -> Value {
        let name = slug(object.what);
        if !self.all.contains_key(&name) {
            let required: Vec<&str> = object
                .fields
                .iter()
                .filter(|field| field.required)
                .map(|field| field.name)
                .collect();
            let mut schema = json!({
                "type": ["object", "null"],
                "properties": self.properties(object),
                "required": required,
                "additionalProperties": false,
            });
            let each = |names: &[&str]| -> Vec<Value> {
                names.iter().map(|name| json!({"required": [name]})).collect()
            };
            match object.presence {
                Presence::Free => {}
                Presence::AnyOf(names) => schema["anyOf"] = json!(each(names)),
                Presence::OneOf(names) => {
                    schema["anyOf"] = json!(each(names));
                    schema["not"] = json!({"required": names});
                }
            }
            self.add(&name, schema);
        }
        json!({"$ref": format!("#/definitions/{name}")})
    }

    fn properties(&mut self, object: &'static Object) -> Map<String, Value> {
        let fields = object.fields.iter().map(|field| {
            let meaning = match field.shape {
                Shape::Refused(why) => format!("not enforced: {why}"),
                _ => field.meaning.to_owned(),
            };
            let schema = described(&meaning, self.shape(&field.shape, field.required));
            (field.name.to_owned(), schema)
        });
        fields.collect()
    }

    /// The schema of a value; one that is not needed may also be `null`.
    fn shape(&mut self, shape: &Shape, required: bool) -> Value {
        let one_of = |mut values: Vec<Value>| {
            if !required {
                values.push(Value::Null);
            }
            json!({"enum": values})
        };
        let typed = |name: &str| {
            if required {
                json!(name)
            } else {
                json!([name, "null"])
            }
        };
        match *shape {
            Shape::Text => json!({"type": typed("string")}),
            Shape::Pattern(form) => pattern(form, required),
            Shape::Number => json!({"type": typed("number")}),
            Shape::Integer(least, most) => {
                json!({"type": typed("integer"), "minimum": least, "maximum": most})
            }
            Shape::Numbers(numbers) => one_of(numbers.iter().map(|number| json!(number)).collect()),
            Shape::Boolean => json!({"type": typed("boolean")}),
            Shape::Choice(words) => one_of(words.iter().map(|word| json!(word)).collect()),
            Shape::Selector => json!({"type": typed("string"), "maxLength": super::MAX_SELECTOR}),
            Shape::Protocol => any_of(
                vec![
                    json!({"enum": Protocol::NAMES.map(|(name, _)| name)}),
                    json!({"type": "integer", "minimum": 1, "maximum": 255}),
                    json!({"type": "string", "pattern": "^[0-9]{1,3}$"}),
                ],
                required,
            ),
            Shape::Port => port(
                &format!("[0-9]{{1,5}}(:[0-9]{{1,5}})?|{}", super::PORT_NAME.regex),
                required,
            ),
            Shape::SinglePort => port(super::PORT_NAME.regex, required),
            Shape::Prefix | Shape::LoosePrefix => {
                json!({"type": typed("string"), "pattern": format!("^({PREFIX})$")})
            }
            Shape::PrefixOrAddress | Shape::HostPrefix => {
                json!({"type": typed("string"), "pattern": format!("^({PREFIX}|{ADDRESS})$")})
            }
            Shape::Address => json!({"type": typed("string"), "pattern": format!("^({ADDRESS})$")}),
            Shape::Labels => json!({
                "type": typed("object"),
                "propertyNames": pattern(&LABEL_KEY, true),
                "additionalProperties": pattern(&LABEL_VALUE, true),
            }),
            Shape::Annotations => json!({
                "type": typed("object"),
                "propertyNames": pattern(&ANNOTATION_KEY, true),
                "additionalProperties": {"type": ["string", "null"]},
            }),
            Shape::List(list) => {
                let mut schema = json!({"items": self.shape(list.of, true)});
                schema["type"] = if list.filled {
                    json!("array")
                } else {
                    typed("array")
                };
                if list.filled {
                    schema["minItems"] = json!(1);
                }
                if list.most < usize::MAX {
                    schema["maxItems"] = json!(list.most);
                }
                if list.unique {
                    schema["uniqueItems"] = json!(true);
                }
                schema
            }
            Shape::Object(object) => {
                let reference = self.object(object);
                if required {
                    json!({"type": "object", "allOf": [reference]})
                } else {
                    json!({"allOf": [reference]})
                }
            }
            Shape::Refused(_) => json!({"enum": [null, false, "", []]}),
            Shape::Any | Shape::Described => json!({}),
        }
    }
}

/// An address: its characters only, for what they mean is not a matter of form.
const ADDRESS: &str = r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*";

/// A prefix, likewise.
const PREFIX: &str = r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/[0-9]{1,3}";

fn port(text: &str, required: bool) -> Value {
    any_of(
        vec![
            json!({"type": "integer", "minimum": 1, "maximum": 65535}),
            json!({"type": "string", "pattern": format!("^({text})$")}),
        ],
        required,
    )
}

fn any_of(mut schemas: Vec<Value>, required: bool) -> Value {
    if !required {
        schemas.push(json!({"type": "null"}));
    }
    json!({"anyOf": schemas})
}

/// Text of this form; where it is not needed, empty text is as good as none.
fn pattern(form: &Pattern, required: bool) -> Value {
    let (types, optional) = if required {
        (json!("string"), "")
    } else {
        (json!(["string", "null"]), "?")
    };
    json!({"type": types, "pattern": format!("^({}){optional}$", form.regex), "maxLength": form.longest})
}

fn described(meaning: &str, schema: Value) -> Value {
    let mut described = Map::new();
    described.insert("description".to_owned(), json!(sentence(meaning)));
    match schema {
        // Beside a reference, draft 07 ignores all else.
        Value::Object(fields) if fields.contains_key("$ref") => {
            described.insert("allOf".to_owned(), json!([fields]));
        }
        Value::Object(fields) => described.extend(fields),
        _ => {}
    }
    Value::Object(described)
}

/// A meaning as a sentence of its own.
fn sentence(meaning: &str) -> String {
    let mut characters = meaning.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    let text: String = first.into_iter().chain(characters).collect();
    format!("{}.", text.trim_end_matches('.'))
}

/// What an object is, as a name: `a rule` is `rule`.
fn slug(what: &str) -> String {
    let words = what
        .split(' ')
        .filter(|word| !matches!(*word, "a" | "an" | "the"));
    let words: Vec<String> = words
        .map(|word| word.chars().filter(char::is_ascii_alphanumeric).collect())
        .collect();
    words.join("-")
}

impl Kind {
    /// Whether it is what its name means where no group says otherwise.
    fn is_first_of_its_name(&self) -> bool {
        Kind::api_versions(self.name).next() == Some(self.api_version)
    }
}

impl Names {
    fn pattern(self) -> &'static Pattern {
        use super::common::{NAMESPACED_POLICY, SUBDOMAIN, TIER_NAME, TWO_LABELS};
        match self {
            Names::Label => &TIER_NAME,
            Names::TwoLabels => &TWO_LABELS,
            Names::NamespacedPolicy => &NAMESPACED_POLICY,
            Names::Subdomain | Names::Workload => &SUBDOMAIN,
        }
    }
}
