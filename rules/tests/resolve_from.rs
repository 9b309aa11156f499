//! Worlds that go on from the ones before are the worlds that are resolved anew, and share with the ones before what
//! has not changed.
#![allow(clippy::unwrap_used)] // all of this is tests

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_cases::{Case, case};
use palisade_rules::compile::compile;
use palisade_rules::net::Direction;
use palisade_rules::resource::{Order, Policy, StagedAction};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{
    EndpointId, Host, Stage, World, WorldEntity, WorldKind, WorldPolicy, WorldRule, Worlds, resolve,
    resolve_from,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// A step from one snapshot to the next. What comes is taken from another random case.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Nothing,
    Reread,
    PolicyGoes,
    PolicyComes,
    PolicyMoves,
    PolicyChanges,
    PolicyIsStagedOrPromoted,
    PoliciesComeAndGo,
    EndpointsComeAndGo,
    LabelsChange,
    AddressComes,
    AddressGoes,
    SetsChange,
    MemberComes,
    TiersChange,
    ProfilesChange,
    HostChanges,
    InterfaceChanges,
    NodeChanges,
}

fn edit() -> impl Strategy<Value = (Edit, [Index; 2])> {
    let edits = [
        Edit::Nothing,
        Edit::Reread,
        Edit::PolicyGoes,
        Edit::PolicyComes,
        Edit::PolicyMoves,
        Edit::PolicyChanges,
        Edit::PolicyIsStagedOrPromoted,
        Edit::PoliciesComeAndGo,
        Edit::EndpointsComeAndGo,
        Edit::LabelsChange,
        Edit::AddressComes,
        Edit::AddressGoes,
        Edit::SetsChange,
        Edit::MemberComes,
        Edit::TiersChange,
        Edit::ProfilesChange,
        Edit::HostChanges,
        Edit::InterfaceChanges,
        Edit::NodeChanges,
    ];
    (proptest::sample::select(edits.to_vec()), any::<[Index; 2]>())
}

fn apply(edit: Edit, [one, two]: [Index; 2], snapshot: &mut Snapshot, host: &mut Host, other: &Case) {
    let count = snapshot.policies.len();
    match edit {
        Edit::Reread => {
            for policy in &mut snapshot.policies {
                *policy = Arc::new(Policy::clone(policy));
            }
            for set in snapshot.network_sets.values_mut() {
                *set = Arc::new(set.as_ref().clone());
            }
            for endpoint in snapshot.host_endpoints.values_mut() {
                *endpoint = Arc::new(endpoint.as_ref().clone());
            }
        }
        Edit::PolicyGoes if count > 0 => drop(snapshot.policies.remove(one.index(count))),
        Edit::PolicyComes if !other.snapshot.policies.is_empty() => {
            let policy = &other.snapshot.policies[two.index(other.snapshot.policies.len())];
            snapshot
                .policies
                .retain(|present| !is_named_alike(present, policy));
            let place = one.index(snapshot.policies.len() + 1);
            snapshot.policies.insert(place, Arc::clone(policy));
        }
        Edit::PolicyMoves if count > 0 => snapshot.policies.swap(one.index(count), two.index(count)),
        Edit::PolicyChanges if count > 0 => {
            let policy = Arc::make_mut(&mut snapshot.policies[one.index(count)]);
            match two.index(4) {
                0 => policy.order = Some(Order::new(3.0)),
                1 => policy.order = None,
                2 => policy.ingress.reverse(),
                _ => policy.position.line += 1,
            }
        }
        Edit::PolicyIsStagedOrPromoted if count > 0 => {
            let index = one.index(count);
            let mut policy = Policy::clone(&snapshot.policies[index]);
            let actions = [
                StagedAction::Set,
                StagedAction::Delete,
                StagedAction::Learn,
                StagedAction::Ignore,
            ];
            policy.staged = match policy.staged {
                None => Some(actions[two.index(actions.len())]),
                Some(_) => None,
            };
            if !snapshot
                .policies
                .iter()
                .any(|present| is_named_alike(present, &policy))
            {
                snapshot.policies[index] = Arc::new(policy);
            }
        }
        Edit::PoliciesComeAndGo => snapshot.policies.clone_from(&other.snapshot.policies),
        Edit::EndpointsComeAndGo => {
            if two.index(2) == 0 {
                snapshot.host_endpoints.clone_from(&other.snapshot.host_endpoints);
            } else {
                snapshot
                    .workload_endpoints
                    .clone_from(&other.snapshot.workload_endpoints);
                snapshot
                    .service_endpoints
                    .clone_from(&other.snapshot.service_endpoints);
            }
        }
        Edit::LabelsChange => {
            let count = snapshot.host_endpoints.len();
            if let Some(endpoint) = snapshot.host_endpoints.values_mut().nth(one.index(count + 1)) {
                let value = ["x", "y", "z"][two.index(3)];
                Arc::make_mut(endpoint)
                    .labels
                    .insert("a".to_owned(), value.to_owned());
            }
        }
        Edit::AddressComes | Edit::AddressGoes => {
            let count = snapshot.host_endpoints.len();
            if let Some(endpoint) = snapshot.host_endpoints.values_mut().nth(one.index(count + 1)) {
                let addresses = &mut Arc::make_mut(endpoint).expected_ips;
                if matches!(edit, Edit::AddressGoes) {
                    addresses.pop();
                } else {
                    let address = ["10.0.0.2", "10.0.1.0", "11.0.0.0", "fd00::2"][two.index(4)];
                    addresses.push(address.parse().unwrap());
                }
            }
        }
        Edit::SetsChange => snapshot.network_sets.clone_from(&other.snapshot.network_sets),
        Edit::MemberComes => {
            let count = snapshot.network_sets.len();
            if let Some(set) = snapshot.network_sets.values_mut().nth(one.index(count + 1)) {
                let net = ["10.0.0.2/31", "10.0.2.0/23", "9.0.0.0/8", "fd00::2/127"][two.index(4)];
                Arc::make_mut(set).nets.push(net.parse().unwrap());
            }
        }
        Edit::TiersChange => snapshot.tiers.clone_from(&other.snapshot.tiers),
        Edit::ProfilesChange => snapshot.profiles.clone_from(&other.snapshot.profiles),
        Edit::HostChanges => host.clone_from(&other.host),
        Edit::InterfaceChanges => {
            let interface = ["eth0", "eth1", "cali1"][one.index(3)];
            let address = ["10.0.0.9", "10.0.1.0", "fd00::9"][two.index(3)];
            host.interfaces
                .insert(interface.to_owned(), vec![address.parse().unwrap()]);
        }
        Edit::NodeChanges => {
            let nodes = [Some("here"), Some("elsewhere"), None];
            host.node = nodes[one.index(nodes.len())].map(str::to_owned);
        }
        _ => {}
    }
}

fn is_named_alike(a: &Policy, b: &Policy) -> bool {
    a.id == b.id && a.staged.is_some() == b.staged.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_before_the_worlds_are_the_same(
        first in case(1),
        other in case(1),
        edits in prop::collection::vec(edit(), 1..8),
    ) {
        let (mut snapshot, mut host) = (first.snapshot.clone(), first.host.clone());
        let mut worlds = resolve(&snapshot, host.clone());
        for (edit, indices) in edits {
            let (before, was, host_was) = (worlds, snapshot.clone(), host.clone());
            // What was asked for lazily must not stay when it is out of date.
            let _ = compile(&before, &first.options);
            apply(edit, indices, &mut snapshot, &mut host, &other);
            worlds = resolve_from(Some((&was, &before)), &snapshot, host.clone());
            let anew = resolve(&snapshot, host.clone());
            assert_alike(&worlds, &anew);
            let text = |worlds| compile(worlds, &first.options).ruleset.to_string();
            prop_assert_eq!(text(&worlds), text(&anew));
            if was.tiers == snapshot.tiers && host_was.node == host.node {
                assert_shared((&was, &before), (&snapshot, &worlds));
            }
        }
    }
}

/// Whether everything that has a meaning is the same.
fn assert_alike(worlds: &Worlds, anew: &Worlds) {
    assert_eq!(worlds.endpoints, anew.endpoints);
    assert_eq!(worlds.networks, anew.networks);
    assert_eq!(worlds.directory, anew.directory);
    assert_eq!(worlds.profiles.len(), anew.profiles.len());
    for (profile, of_anew) in worlds.profiles.iter().zip(anew.profiles.iter()) {
        assert_eq!(profile.name, of_anew.name);
        for direction in Direction::BOTH {
            assert_rules_alike(
                (worlds, profile.rules(direction)),
                (anew, of_anew.rules(direction)),
            );
        }
    }
    assert_eq!(worlds.looks_at_source_ports(), anew.looks_at_source_ports());
    for kind in WorldKind::BOTH {
        assert_world_alike((worlds, worlds.world(kind)), (anew, anew.world(kind)));
    }
    for id in (0..worlds.endpoints.len()).map(EndpointId) {
        for direction in Direction::BOTH {
            for stage in Stage::ALL {
                let said = |worlds: &Worlds| {
                    (
                        worlds.differs(id, direction, stage),
                        worlds.has_stage(id, direction, stage),
                    )
                };
                assert_eq!(said(worlds), said(anew));
                let [enforced, pending] = WorldKind::BOTH.map(|kind| {
                    let governing = worlds.world(kind).governing(id, direction, stage);
                    governing
                        .map(|policy| (policy.tier, policy.source))
                        .collect::<Vec<_>>()
                });
                let early = stage.early(direction).iter();
                let differs_early = early.clone().any(|&early| worlds.differs(id, direction, early));
                assert_eq!(
                    worlds.differs(id, direction, stage),
                    enforced != pending || differs_early
                );
            }
        }
    }
}

fn assert_world_alike((worlds, world): (&Worlds, &World), (anew, of_anew): (&Worlds, &World)) {
    assert_eq!(world.tiers, of_anew.tiers);
    assert_eq!(world.policies.len(), of_anew.policies.len());
    for (policy, other) in world.policies.iter().zip(of_anew.policies.iter()) {
        assert_eq!((policy.source, policy.place), (other.source, other.place));
        let head = |policy: &WorldPolicy| {
            let mut head = policy.clone();
            (head.ingress, head.egress) = (None, None);
            let WorldPolicy {
                id,
                written_kind,
                named,
                tier,
                stage,
                order,
                staged,
                safety_net,
                position,
                ..
            } = head;
            (
                id,
                written_kind,
                named,
                tier,
                stage,
                order,
                staged,
                safety_net,
                position,
            )
        };
        assert_eq!(head(policy), head(other));
        for direction in Direction::BOTH {
            assert_eq!(
                policy.rules(direction).is_some(),
                other.rules(direction).is_some()
            );
            let rules = policy.rules(direction).unwrap_or_default();
            assert_rules_alike(
                (worlds, rules),
                (anew, other.rules(direction).unwrap_or_default()),
            );
        }
    }
    for id in (0..worlds.endpoints.len()).map(EndpointId) {
        assert_eq!(world.selecting(id), of_anew.selecting(id));
    }
}

/// Whether rules are the same but for the numbers of their sets, which must hold the same.
fn assert_rules_alike((worlds, rules): (&Worlds, &[WorldRule]), (anew, of_anew): (&Worlds, &[WorldRule])) {
    assert_eq!(rules.len(), of_anew.len());
    for (rule, other) in rules.iter().zip(of_anew) {
        let bare = |rule: &WorldRule| WorldRule {
            source: bare(&rule.source),
            destination: bare(&rule.destination),
            ..rule.clone()
        };
        assert_eq!(bare(rule), bare(other));
        for (side, of_other) in [
            (&rule.source, &other.source),
            (&rule.destination, &other.destination),
        ] {
            for (set, of_other) in [(side.set, of_other.set), (side.not_set, of_other.not_set)] {
                let set = set.map(|set| worlds.address_sets.get(set));
                assert_eq!(set, of_other.map(|set| anew.address_sets.get(set)));
            }
            for (ports, of_other) in [
                (&side.ports, &of_other.ports),
                (&side.not_ports, &of_other.not_ports),
            ] {
                let named = ports.as_ref().and_then(|ports| ports.named);
                let of_other = of_other.as_ref().and_then(|ports| ports.named);
                let named = named.map(|named| worlds.named_ports.get(named));
                assert_eq!(named, of_other.map(|named| anew.named_ports.get(named)));
            }
        }
    }
}

/// A side without its sets.
fn bare(side: &WorldEntity) -> WorldEntity {
    let mut bare = side.clone();
    for (set, number) in [(&mut bare.set, side.set), (&mut bare.not_set, side.not_set)] {
        assert_eq!(set.is_some(), number.is_some());
        *set = None;
    }
    for ports in [&mut bare.ports, &mut bare.not_ports].into_iter().flatten() {
        ports.named = None;
    }
    bare
}

/// Whether what says the same is the same: policies, endpoints, networks and sets.
fn assert_shared((was, before): (&Snapshot, &Worlds), (snapshot, worlds): (&Snapshot, &Worlds)) {
    let by_source = |worlds: &Worlds| -> BTreeMap<usize, Arc<WorldPolicy>> {
        let policies = WorldKind::BOTH
            .into_iter()
            .flat_map(|kind| worlds.world(kind).policies.to_vec());
        policies.map(|policy| (policy.source, policy.policy)).collect()
    };
    let (old, new) = (by_source(before), by_source(worlds));
    for (index, policy) in snapshot.policies.iter().enumerate() {
        let unchanged = was.policies.iter().position(|other| Arc::ptr_eq(other, policy));
        let resolved = unchanged.and_then(|unchanged| Some((old.get(&unchanged)?, new.get(&index)?)));
        if let Some((old, new)) = resolved {
            assert!(Arc::ptr_eq(old, new), "{} is resolved again", policy.id);
        }
    }
    let same_endpoints = worlds.endpoints.iter().zip(before.endpoints.iter());
    for (endpoint, before) in same_endpoints.filter(|(endpoint, before)| endpoint == before) {
        assert!(Arc::ptr_eq(endpoint, before), "{endpoint} is made again");
    }
    if worlds.networks == before.networks {
        assert!(Arc::ptr_eq(&worlds.networks, &before.networks));
    }
    for (set, before) in worlds.address_sets.iter().zip(before.address_sets.iter()) {
        assert_eq!(set.selector, before.selector, "a set keeps its number");
        assert!(
            set != before || Arc::ptr_eq(set, before),
            "{} is made again",
            set.selector
        );
    }
    for (set, before) in worlds.named_ports.iter().zip(before.named_ports.iter()) {
        assert_eq!(set.text, before.text, "a set keeps its number");
        assert!(
            set != before || Arc::ptr_eq(set, before),
            "{} is made again",
            set.text
        );
    }
}
