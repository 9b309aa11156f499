//! `Profile`.

use super::fields::{Context, Field, Fields};
use super::metadata::Metadata;
use super::{Found, metadata, rule};
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::{DEFAULT_ALLOW_PROFILE, Labels, Profile};
use crate::schema;

pub(super) fn profile(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    found: &mut Found,
) -> Profile {
    let mut profile = Profile {
        name: metadata.name.clone().unwrap_or_default(),
        labels_to_apply: Labels::new(),
        ingress: Vec::new(),
        egress: Vec::new(),
        position: Some(metadata.position.clone()),
    };
    if profile.name == DEFAULT_ALLOW_PROFILE {
        context.report(
            Diagnostic::error(
                "built-in-profile",
                format!("the profile {} cannot be written", quoted(DEFAULT_ALLOW_PROFILE)),
            )
            .at(metadata.span, "a built-in profile")
            .help(
                "remove it: it exists unwritten, and allows everything both ways; or give yours another name",
            ),
        );
    }
    let fields = spec.and_then(|spec| Fields::of(context, spec.value, &schema::PROFILE_SPEC, spec.key.span));
    let Some(mut fields) = fields else {
        return profile;
    };
    let labels = fields.optional("labelsToApply");
    let ingress = fields.optional("ingress");
    let egress = fields.optional("egress");
    fields.finish(context);

    if let Some(labels) = labels {
        profile.labels_to_apply = metadata::labels(context, labels.value).0;
    }
    if let Some(ingress) = ingress {
        profile.ingress = rule::rules(context, ingress, None, found);
    }
    if let Some(egress) = egress {
        profile.egress = rule::rules(context, egress, None, found);
    }
    profile
}
