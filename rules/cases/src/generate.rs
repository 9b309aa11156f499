//! Random resources, hosts and packets: small, and made to get in each other's way.

mod endpoints;
mod journeys;
mod policies;
mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use palisade_rules::compile::{DenyAction, FlowLog, Limits, Options};
use palisade_rules::failsafe::Failsafes;
use palisade_rules::resource::{
    DEFAULT_TIER, Labels, NetworkSet, ObjectName, Order, Policy, Profile, Tier, TierAction,
};
use palisade_rules::selector::Selector;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::Position;
use palisade_rules::world::Host;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::journey::Journey;
pub use journeys::PORTS;

/// One host and what comes and goes there.
#[derive(Clone, Debug)]
pub struct Case {
    /// The resources.
    pub snapshot: Snapshot,
    /// The host.
    pub host: Host,
    /// What the compiler needs besides.
    pub options: Options,
    /// What comes and goes.
    pub journeys: Vec<Journey>,
}

const NODE: &str = "here";

const SELECTORS: [&str; 11] = [
    "all()",
    "a == 'x'",
    "a != 'x'",
    "has(b)",
    "!has(b) && has(a)",
    "a in {'x', 'y'}",
    "a == 'nobody'",
    "has(inherited)",
    "projectcalico.org/namespace == 'red'",
    "has(projectcalico.org/namespace)",
    "pcns.team == 'x' || a == 'y'",
];

const NETS_V4: [&str; 6] = [
    "10.0.0.0/24",
    "10.0.0.1/32",
    "10.0.1.0/24",
    "10.0.0.0/8",
    "0.0.0.0/1",
    "128.0.0.0/1",
];

const NETS_V6: [&str; 5] = ["fd00::/64", "fd00::1/128", "fd00:1::/64", "::/1", "8000::/1"];

/// The cgroups of the host, in a way that has services inside of services.
pub const CGROUPS: [(&str, u64); 6] = [
    ("app.slice", 101),
    ("app.slice/web.service", 102),
    ("app.slice/web.service/worker", 103),
    ("system.slice", 201),
    ("system.slice/db.service", 202),
    ("user.slice/web.service", 301),
];

/// Cases of up to that many journeys.
pub fn case(journeys: usize) -> impl Strategy<Value = Case> {
    (
        snapshot(),
        host(),
        options(),
        vec(journeys::journey(), 1..=journeys),
    )
        .prop_map(|(snapshot, host, options, journeys)| Case {
            snapshot,
            host,
            options,
            journeys,
        })
}

fn host() -> impl Strategy<Value = Host> {
    let failsafe = |text: &str| text.parse().unwrap();
    let failsafes = prop_oneof![
        3 => Just(Failsafes::default()),
        1 => Just(Failsafes::none()),
        1 => Just(Failsafes {
            inbound: vec![failsafe("tcp:10.0.0.0/24:80-443")],
            outbound: vec![failsafe("udp:[fd00::/64]:53"), failsafe("tcp:0.0.0.0/0:8080")],
            icmpv6: true,
        }),
        1 => Just(Failsafes {
            inbound: Vec::new(),
            outbound: vec![failsafe("tcp:80"), failsafe("udp:10.0.0.0/24:53")],
            icmpv6: false,
        }),
    ];
    (failsafes, prop::bool::weighted(0.2), labels()).prop_map(|(failsafes, filter_loopback, labels)| Host {
        node: Some(NODE.to_owned()),
        interfaces: [
            ("cali1", vec![ip("fe80::1")]),
            ("eth0", vec![ip("10.0.0.1"), ip("fd00::1")]),
            ("eth1", vec![ip("10.0.1.1"), ip("fe80::1")]),
            ("eth2", vec![ip("fd00:1::1")]),
            ("lo", vec![ip("127.0.0.1")]),
        ]
        .into_iter()
        .map(|(name, addresses)| (name.to_owned(), addresses))
        .collect(),
        cgroups: CGROUPS
            .into_iter()
            .map(|(path, id)| (path.to_owned(), id))
            .collect(),
        labels,
        failsafes,
        filter_loopback,
    })
}

fn options() -> impl Strategy<Value = Options> {
    let deny = select(vec![DenyAction::Drop, DenyAction::Reject]);
    let flow_log = of(Just(FlowLog {
        group: 77,
        generation: 5,
    }));
    let limits = |walked, entries_per_region| Limits {
        walked,
        entries_per_region,
    };
    // Off, as it is, and with hardly anything walked, with much room and with hardly any.
    let index = select(vec![
        Limits::off(),
        Limits::default(),
        limits(0, 1_000),
        limits(1, 4),
    ]);
    (deny, flow_log, index).prop_map(|(deny, flow_log, index)| Options {
        deny,
        flow_log,
        index,
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (
        tiers(),
        vec(policies::policy(), 0..10),
        vec(policies::safety_net(), 0..3),
        network_sets(),
        profiles(),
        endpoints::endpoints(),
    )
        .prop_map(|(tiers, policies, nets, network_sets, profiles, endpoints)| {
            let mut snapshot = Snapshot {
                host_endpoints: endpoints.hosts,
                workload_endpoints: endpoints.workloads,
                service_endpoints: endpoints.services,
                network_sets,
                ..Snapshot::empty()
            };
            snapshot.tiers.extend(tiers);
            snapshot.profiles.extend(profiles);
            for policy in policies.into_iter().chain(nets) {
                let same = |other: &Arc<Policy>| {
                    other.id == policy.id && other.staged.is_some() == policy.staged.is_some()
                };
                if !snapshot.policies.iter().any(same) {
                    snapshot.policies.push(Arc::new(policy));
                }
            }
            snapshot
        })
}

/// Sets for everyone, and one in a namespace.
fn network_sets() -> impl Strategy<Value = BTreeMap<ObjectName, Arc<NetworkSet>>> {
    let name = prop_oneof![
        Just(object_name(None, "s")),
        Just(object_name(None, "t")),
        Just(object_name(Some("red"), "s")),
    ];
    let nets = vec(prop_oneof![net(&NETS_V4), net(&NETS_V6)], 1..4);
    btree_map(name, (labels(), nets), 0..4).prop_map(|sets| {
        let set = |(id, (labels, nets)): (ObjectName, (Labels, Vec<IpNet>))| {
            let set = NetworkSet {
                id: id.clone(),
                labels,
                nets,
                position: position(),
            };
            (id, Arc::new(set))
        };
        sets.into_iter().map(set).collect()
    })
}

/// Tiers `p` and `q` around the built-in ones.
fn tiers() -> impl Strategy<Value = BTreeMap<String, Tier>> {
    let tier = (
        select(vec![1.0, 5.0, 999_999.0, 1_000_000.0, 2_000_000.0]),
        select(vec![TierAction::Deny, TierAction::Pass]),
    );
    [tier.clone(), tier].prop_map(|tiers| {
        ["p", "q"]
            .into_iter()
            .zip(tiers)
            .map(|(name, (order, default_action))| {
                let tier = Tier {
                    name: name.to_owned(),
                    order: Order::new(order),
                    default_action,
                    position: Some(position()),
                };
                (name.to_owned(), tier)
            })
            .collect()
    })
}

fn tier_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(DEFAULT_TIER), 2 => Just("p"), 1 => Just("q"), 1 => Just("kube-baseline")]
}

/// Three profiles besides the built-in one: two for endpoints to name, and that of the namespace `red`.
fn profiles() -> impl Strategy<Value = BTreeMap<String, Profile>> {
    let inherited = |key: &'static str| {
        select(vec!["x", "y"]).prop_map(move |value| Labels::from([(key.to_owned(), value.to_owned())]))
    };
    let rules = || [rules::rules(), rules::rules()];
    let written = (
        [rules(), rules(), rules()],
        [inherited("inherited"), inherited("a"), inherited("pcns.team")],
    );
    written.prop_map(|(rules, labels)| {
        ["kns.red", "one", "two"]
            .into_iter()
            .zip(rules)
            .zip(labels.into_iter().rev())
            .map(|((name, [ingress, egress]), labels_to_apply)| {
                let profile = Profile {
                    name: name.to_owned(),
                    labels_to_apply,
                    ingress,
                    egress,
                    position: Some(position()),
                };
                (name.to_owned(), profile)
            })
            .collect()
    })
}

fn selector() -> impl Strategy<Value = Selector> {
    select(SELECTORS.to_vec()).prop_map(|text| Selector::parse(text).unwrap())
}

fn labels() -> impl Strategy<Value = Labels> {
    let label = prop_oneof![Just(("a", "x")), Just(("a", "y")), Just(("b", "x"))];
    vec(label, 0..3).prop_map(|labels| {
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    })
}

fn net(nets: &'static [&'static str]) -> impl Strategy<Value = IpNet> {
    select(nets).prop_map(|net| net.parse().unwrap())
}

fn object_name(namespace: Option<&str>, name: &str) -> ObjectName {
    ObjectName {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn position() -> Position {
    Position {
        file: "random".into(),
        line: 1,
        column: 1,
    }
}
