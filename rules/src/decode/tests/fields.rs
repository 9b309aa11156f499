//! Decoders and the schema cannot drift apart.

use super::super::fields::{Context, Fields};
use super::*;
use crate::schema;
use crate::yaml::Documents;

/// Reads the fields of an empty object with this.
fn read(with: impl Fn(&mut Context<'_>, Fields<'_>)) {
    let mut files = Files::default();
    let file = files.add("t", "{}");
    let mut context = Context::new(&files);
    let node = Documents::new(&files, file)
        .next(&mut context.diagnostics)
        .expect("a document");
    let fields = Fields::of(&mut context, &node, &schema::TIER_SPEC, node.span).expect("a mapping");
    with(&mut context, fields);
}

#[test]
fn every_field_of_the_schema_is_asked_for_and_no_other() {
    read(|context, mut fields| {
        assert!(fields.optional("order").is_none());
        assert!(fields.rest().is_empty());
        fields.finish(context);
    });
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "the schema of the spec of a Tier has no `oder` to be read")]
fn a_field_that_is_not_in_the_schema() {
    read(|_, mut fields| {
        fields.optional("oder");
    });
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "`defaultAction` of the spec of a Tier is in the schema, and is not read")]
fn a_field_of_the_schema_that_is_forgotten() {
    read(|context, mut fields| {
        fields.optional("order");
        fields.finish(context);
    });
}
