//! `Tier`.

use super::fields::{Context, Field, Fields};
use super::metadata::Metadata;
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::{Order, Tier, TierAction};
use crate::schema;

/// The order of a tier that is written without one; Calico's.
const DEFAULT_ORDER: f64 = 1_000_000.0;

const ACTIONS: [(&str, TierAction); 2] = [("Deny", TierAction::Deny), ("Pass", TierAction::Pass)];

pub(super) fn tier(context: &mut Context<'_>, metadata: &Metadata<'_>, spec: Option<Field<'_>>) -> Tier {
    let mut tier = Tier {
        name: metadata.name.clone().unwrap_or_default(),
        order: Order::new(DEFAULT_ORDER),
        default_action: TierAction::Deny,
        position: Some(metadata.position.clone()),
    };
    let mut readable = true;
    if let Some(spec) = spec {
        match Fields::of(context, spec.value, &schema::TIER_SPEC, spec.key.span) {
            Some(fields) => readable = read(context, fields, &mut tier),
            None => readable = false,
        }
    }
    if readable {
        check_built_in(context, metadata, &tier);
    }
    tier
}

/// Whether every value could be read.
fn read(context: &mut Context<'_>, mut fields: Fields<'_>, tier: &mut Tier) -> bool {
    let mut readable = true;
    if let Some(order) = fields.optional("order") {
        match context.number(order.value) {
            Some(order) => tier.order = Order::new(order),
            None => readable = false,
        }
    }
    if let Some(action) = fields.optional("defaultAction") {
        match context.choice(action.value, "a default action", &ACTIONS) {
            Some(action) => tier.default_action = action,
            None => readable = false,
        }
    }
    fields.finish(context);
    readable
}

fn check_built_in(context: &mut Context<'_>, metadata: &Metadata<'_>, tier: &Tier) {
    let Some(fixed) = Tier::built_in().into_iter().find(|fixed| fixed.name == tier.name) else {
        return;
    };
    if (fixed.order, fixed.default_action) == (tier.order, tier.default_action) {
        return;
    }
    let action = match fixed.default_action {
        TierAction::Deny => "Deny",
        TierAction::Pass => "Pass",
    };
    context.report(
        Diagnostic::error(
            "built-in-tier",
            format!(
                "the tier {} always has order {} and default action {action}",
                quoted(&tier.name),
                fixed.order
            ),
        )
        .at(metadata.span, "a built-in tier")
        .help(format!(
            "write `order: {}` and `defaultAction: {action}`, or leave the tier out: it exists unwritten",
            fixed.order
        )),
    );
}
