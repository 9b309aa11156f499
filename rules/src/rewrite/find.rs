//! Where in its file each object stands, and in what.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostics;
use crate::source::{FileId, Files, Position, Span};
use crate::yaml::{Documents, Node, Value};

/// An object and what it stands in.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) node: Node,
    pub(super) place: Place,
}

/// What an object stands in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// It is a document.
    Document,
    /// It is an item of a list.
    Item {
        /// The list.
        list: Span,
        /// All items of the list, in order.
        items: Vec<Span>,
        /// Which it is.
        index: usize,
    },
}

/// Objects by where their name is written, which is where policies say that they are.
pub(super) struct Objects(BTreeMap<Position, Object>);

impl Objects {
    /// The objects whose names are at these places.
    pub(super) fn of<'p>(files: &Files, ids: &[FileId], places: impl Iterator<Item = &'p Position>) -> Self {
        let wanted: BTreeSet<&Position> = places.collect();
        let names: BTreeSet<&str> = wanted.iter().map(|place| &*place.file).collect();
        let mut objects = BTreeMap::new();
        // What was decoded before has no problems.
        let mut diagnostics = Diagnostics::default();
        for &id in ids.iter().filter(|&&id| names.contains(&**files.name(id))) {
            let mut documents = Documents::new(files, id);
            while let Some(document) = documents.next(&mut diagnostics) {
                let mut found = Vec::new();
                collect(&document, Place::Document, &mut found);
                for object in found {
                    let Some(name) = object.node.get("metadata").and_then(|data| data.get("name")) else {
                        continue;
                    };
                    let position = files.position(name.span);
                    if wanted.contains(&position) {
                        objects.insert(position, object);
                    }
                }
            }
        }
        Objects(objects)
    }

    /// The object whose name is there.
    pub(super) fn at(&self, position: &Position) -> Option<&Object> {
        self.0.get(position)
    }
}

/// The objects of a document, a list or an item of one.
fn collect(node: &Node, place: Place, found: &mut Vec<Object>) {
    let items = node.get("items").filter(|_| is_list(node));
    let Some(list) = items.or(matches!(node.value, Value::Sequence(_)).then_some(node)) else {
        found.push(Object {
            node: node.clone(),
            place,
        });
        return;
    };
    if let Value::Sequence(items) = &list.value {
        let spans: Vec<Span> = items.iter().map(|item| item.span).collect();
        for (index, item) in items.iter().enumerate() {
            let place = Place::Item {
                list: list.span,
                items: spans.clone(),
                index,
            };
            collect(item, place, found);
        }
    }
}

fn is_list(node: &Node) -> bool {
    let kind = node.get("kind").and_then(Node::text);
    kind.is_some_and(|kind| kind.ends_with("List"))
}
