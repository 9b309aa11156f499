//! Names of counters: they are the identity of what they count, and outlive reload, reorder and promotion.
//!
//! A rule is known by its policy (kind after promotion, namespace, name), its direction, and its own name or else its
//! content; never by its place. The pending world's counter has the very name that the enforced one would have, so
//! that its history goes on in the enforced rule's own series when the policy is promoted. Only where the enforced
//! world counts under that name already, the pending one stands under `pending/`. The end of a tier behind a safety net
//! is never reached in the enforced world: there the pending one counts, and its history goes on when the net is removed.

use std::collections::{BTreeMap, BTreeSet};

use super::short;
use crate::net::{Direction, PortRange};
use crate::resource::PolicyKind;
use crate::ruleset::{Name, fnv1a};
use crate::world::{EndpointId, Stage, WorldKind, WorldPolicy, WorldRule, Worlds};

/// The names under which the enforced world counts, but for those of policies' rules.
pub(super) struct CounterNames {
    enforced: BTreeSet<Name>,
}

impl CounterNames {
    /// Gathers the names under which the enforced world will count.
    pub(super) fn new(worlds: &Worlds) -> Self {
        let mut enforced = BTreeSet::new();
        for (id, endpoint, _) in worlds.local() {
            for direction in Direction::BOTH {
                for &stage in endpoint.kind.stages() {
                    enforced.extend(of_stage(worlds, id, direction, stage));
                }
                enforced.extend(of_profiles(worlds, id, direction));
            }
        }
        CounterNames { enforced }
    }

    /// The name of a counter in one world.
    pub(super) fn in_world(&self, world: WorldKind, name: Name) -> Name {
        if world == WorldKind::Pending && self.enforced.contains(&name) {
            pending(&name)
        } else {
            name
        }
    }
}

/// The name of a counter of the pending world, where the enforced one has it already.
pub(super) fn pending(name: &Name) -> Name {
    Name::new(&format!("pending/{name}"))
}

/// The ends of tiers that the enforced world counts at one stage of an endpoint.
fn of_stage(worlds: &Worlds, id: EndpointId, direction: Direction, stage: Stage) -> Vec<Name> {
    let world = &worlds.enforced;
    if stage.is_early() {
        return Vec::new();
    }
    let tiers = world.governing_by_tier(id, direction, stage).tiers.iter();
    tiers
        .filter(|of| !of.has_net)
        .map(|of| tier_counter(&world.tiers[of.tier].name, direction, stage))
        .collect()
}

fn of_profiles(worlds: &Worlds, id: EndpointId, direction: Direction) -> Vec<Name> {
    let mut names = Vec::new();
    for profile in worlds.profiles_of(id) {
        if profile.is_default_allow() {
            names.push(profile_counter(Some(&profile.name), direction));
            return names;
        }
        let rules = rule_names(profile.rules(direction));
        names.extend(
            rules
                .iter()
                .map(|rule| profile_rule_counter(&profile.name, direction, rule)),
        );
    }
    names.push(profile_counter(None, direction));
    names
}

/// The counter of the end of a tier.
pub(super) fn tier_counter(tier: &str, direction: Direction, stage: Stage) -> Name {
    let forward = if stage == Stage::Forward { "forward-" } else { "" };
    Name::new(&format!("tier/{tier}/{forward}{}/end", short(direction)))
}

/// The counter of the built-in profile, or of there being none that decides.
pub(super) fn profile_counter(profile: Option<&str>, direction: Direction) -> Name {
    Name::new(&format!(
        "profile/{}/{}",
        profile.unwrap_or("none"),
        short(direction)
    ))
}

/// The counter of a rule of a profile, by the rule's name among its profile's rules.
pub(super) fn profile_rule_counter(profile: &str, direction: Direction, rule: &str) -> Name {
    Name::new(&format!("profile/{profile}/{}/{rule}", short(direction)))
}

/// The counter of a failsafe.
pub(super) fn failsafe_counter(direction: Direction, text: &str) -> Name {
    let text = text.replace(':', "-").replace(['[', ']'], "");
    Name::new(&format!("failsafe/{}/{text}", short(direction)))
}

/// The counter of packets that conntrack calls invalid.
pub(super) fn invalid_counter(direction: Direction, stage: Stage) -> Name {
    let forward = if stage == Stage::Forward { "forward-" } else { "" };
    Name::new(&format!("invalid/{forward}{}", short(direction)))
}

/// The counter of a rule, by the rule's name among its policy's rules.
pub(super) fn policy_rule_counter(policy: &WorldPolicy, direction: Direction, rule: &str) -> Name {
    policy_counter(
        short_kind(policy.id.kind),
        policy.id.namespace.as_deref(),
        &policy.id.name,
        direction,
        rule,
    )
}

/// The kind in the names of chains and counters; these sort as the kinds themselves do.
pub(super) fn short_kind(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::GlobalNetworkPolicy => "gnp",
        PolicyKind::NetworkPolicy => "np",
        PolicyKind::KubernetesNetworkPolicy => "knp",
    }
}

/// The counter of a rule, by the words it is made of.
pub(super) fn policy_counter(
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    direction: Direction,
    rule: &str,
) -> Name {
    let namespace = namespace
        .map(|namespace| format!("{namespace}/"))
        .unwrap_or_default();
    Name::new(&format!("{kind}/{namespace}{name}/{}/{rule}", short(direction)))
}

/// What each of these rules is called among its fellows, in order: its own name, or what it says. Rules that say the
/// same are told apart by number.
pub(super) fn rule_names(rules: &[WorldRule]) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    rules
        .iter()
        .map(|rule| {
            let name = rule.name.clone().unwrap_or_else(|| content_name(rule));
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            // No rule's own name holds an underscore.
            if *count == 1 {
                name
            } else {
                format!("{name}_{count}")
            }
        })
        .collect()
}

/// `allow-tcp-8080-1a2b3c4d`: what a reader wants to see, then what makes it unique. An unconditional rule needs no
/// more than its action.
fn content_name(rule: &WorldRule) -> String {
    let mut words = vec![rule.action.as_str().to_lowercase()];
    words.extend(rule.protocol.map(|protocol| protocol.to_string()));
    if let Some(ports) = &rule.destination.ports {
        words.extend(ports.ranges.iter().take(3).map(PortRange::to_string));
    }
    if *rule.text != *words[0] {
        words.push(format!("{:08x}", fnv1a(&rule.text) >> 32));
    }
    words.join("-")
}
