//! Random policies of every kind, stage and staged action.

use palisade_rules::resource::{
    NAMESPACE_LABEL, Order, Policy, PolicyId, PolicyKind, PolicyStage, PolicyTypes, StagedAction,
};
use palisade_rules::selector::Selector;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::rules::rules;
use super::{position, selector, tier_name};

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let action = prop_oneof![
        6 => Just(StagedAction::Set),
        1 => Just(StagedAction::Learn),
        2 => Just(StagedAction::Delete),
        1 => Just(StagedAction::Ignore),
    ];
    (
        id(),
        of(action),
        tier_name(),
        of(select(vec![-1.0, 1.0, 2.0, 100_000.0])),
        prop_oneof![selector(), Just(Selector::all())],
        stage(),
        [rules(), rules()],
        select(vec![(true, false), (false, true), (true, true), (true, true)]),
    )
        .prop_map(
            |(id, staged, tier, order, selector, stage, [ingress, egress], (is_ingress, is_egress))| {
                let mut policy = Policy {
                    id,
                    staged,
                    tier: tier.to_owned(),
                    order: order.map(Order::new),
                    selector,
                    stage,
                    types: PolicyTypes {
                        ingress: is_ingress,
                        egress: is_egress,
                    },
                    ingress,
                    egress,
                    position: position(),
                };
                make_valid(&mut policy);
                policy
            },
        )
}

/// What the decoder sees to: a policy in a namespace is about what is in it, and only the global kind has stages; nothing
/// leaves before its destination is translated.
fn make_valid(policy: &mut Policy) {
    if let Some(namespace) = &policy.id.namespace {
        let own = Selector::equals(NAMESPACE_LABEL, namespace);
        policy.selector = policy.selector.and(&own);
        policy.stage = PolicyStage::Normal {
            apply_on_forward: false,
        };
    }
    if policy.stage == PolicyStage::PreDnat {
        policy.types = PolicyTypes {
            ingress: true,
            egress: false,
        };
        policy.egress.clear();
    }
}

/// Mostly global; two policies may differ in their kind alone.
fn id() -> impl Strategy<Value = PolicyId> {
    let place = prop_oneof![
        6 => Just((PolicyKind::GlobalNetworkPolicy, None)),
        2 => Just((PolicyKind::NetworkPolicy, Some("red"))),
        1 => Just((PolicyKind::NetworkPolicy, Some("blue"))),
        1 => Just((PolicyKind::KubernetesNetworkPolicy, Some("red"))),
    ];
    (select(vec!["a", "b", "c", "d", "e", "f"]), place).prop_map(|(name, (kind, namespace))| PolicyId {
        kind,
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    })
}

fn stage() -> impl Strategy<Value = PolicyStage> {
    prop_oneof![
        3 => Just(PolicyStage::Normal { apply_on_forward: false }),
        3 => Just(PolicyStage::Normal { apply_on_forward: true }),
        2 => Just(PolicyStage::PreDnat),
        2 => Just(PolicyStage::Untracked),
    ]
}

/// A safety net, of one direction or both, in any tier, with or without what is forwarded.
pub(super) fn safety_net() -> impl Strategy<Value = Policy> {
    (
        select(vec!["m", "n"]),
        of(Just(StagedAction::Set)),
        tier_name(),
        select(vec![(true, false), (true, true), (true, true)]),
        any::<bool>(),
    )
        .prop_map(|(name, staged, tier, (ingress, egress), apply_on_forward)| {
            let net = Policy::safety_net(name);
            Policy {
                staged,
                tier: tier.to_owned(),
                types: PolicyTypes { ingress, egress },
                stage: PolicyStage::Normal { apply_on_forward },
                ..net
            }
        })
}
