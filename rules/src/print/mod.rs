//! From resources to text: what [`crate::decode`] reads as the same resources again, places aside.
//!
//! Several selectors of a resource are one after they are read, and are printed as one. So a printed selector can be
//! longer than what was written, and beyond 1024 characters it is too long to be read again.

mod endpoint;
mod kubernetes;
mod policy;

use serde_yaml::{Mapping, Value};

pub use endpoint::{host_endpoint, network_set, profile, service_endpoint, tier, workload_endpoint};
pub use policy::policy;

use crate::resource::{Labels, ObjectName};
use crate::schema::CALICO;
use crate::snapshot::Snapshot;

/// Every resource that is written, each as a document: tiers, policies, sets, profiles, endpoints.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let tiers = snapshot.tiers.values().filter(|tier| tier.position.is_some());
    let profiles = snapshot
        .profiles
        .values()
        .filter(|profile| profile.position.is_some());
    let documents = tiers
        .map(tier)
        .chain(snapshot.policies.iter().map(|it| policy(it)))
        .chain(snapshot.network_sets.values().map(|it| network_set(it)))
        .chain(profiles.map(profile))
        .chain(snapshot.host_endpoints.values().map(|it| host_endpoint(it)))
        .chain(
            snapshot
                .workload_endpoints
                .values()
                .map(|it| workload_endpoint(it)),
        )
        .chain(snapshot.service_endpoints.values().map(service_endpoint));
    documents.collect::<Vec<_>>().join("---\n")
}

/// A mapping in the making, in the order of its fields.
#[derive(Default)]
struct Fields(Mapping);

impl Fields {
    /// With a field.
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// With a field, if it has a value.
    fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a list of texts, unless it is empty.
    fn with_texts(self, name: &str, texts: impl IntoIterator<Item = impl ToString>) -> Self {
        let texts: Vec<Value> = texts.into_iter().map(|text| text.to_string().into()).collect();
        self.with_some(name, (!texts.is_empty()).then_some(texts))
    }

    /// With a list of mappings, unless it is empty.
    fn with_list(self, name: &str, list: impl IntoIterator<Item = Fields>) -> Self {
        let list: Vec<Value> = list.into_iter().map(Value::from).collect();
        self.with_some(name, (!list.is_empty()).then_some(list))
    }

    /// With labels or annotations, unless there are none.
    fn with_pairs<'p>(self, name: &str, pairs: impl IntoIterator<Item = (&'p String, &'p String)>) -> Self {
        let pairs: Mapping = pairs
            .into_iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect();
        self.with_some(name, (!pairs.is_empty()).then_some(pairs))
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Value::Mapping(fields.0)
    }
}

/// The metadata of an object.
fn metadata(id: &ObjectName, labels: &Labels) -> Fields {
    Fields::default()
        .with("name", id.name.as_str())
        .with_some("namespace", id.namespace.as_deref())
        .with_pairs("labels", labels)
}

/// A global object's name.
fn global(name: &str) -> ObjectName {
    ObjectName {
        namespace: None,
        name: name.to_owned(),
    }
}

/// A document of one of Calico's kinds.
fn calico(kind: &str, metadata: Fields, spec: Fields) -> String {
    document(CALICO, kind, metadata, spec)
}

fn document(api_version: &str, kind: &str, metadata: Fields, spec: Fields) -> String {
    let object = Fields::default()
        .with("apiVersion", api_version)
        .with("kind", kind)
        .with("metadata", metadata)
        .with("spec", spec);
    serde_yaml::to_string(&object.0)
        .expect("a mapping of texts, numbers, lists and mappings can always be written")
}

/// A number as a person would write it: without a fraction where it has none.
fn number(value: f64) -> Value {
    value
        .to_string()
        .parse::<i64>()
        .map_or_else(|_| value.into(), Value::from)
}

#[cfg(test)]
mod tests;
