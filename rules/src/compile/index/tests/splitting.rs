//! How regions are told apart.

use super::*;

/// Of these rules, as if each were a policy's.
fn split_of(rules: &[&str], dimension: Dimension, most: usize) -> Option<Split> {
    let worlds = with_rules(rules);
    let policy = &worlds.enforced.policies[0].policy;
    let each = regions(&worlds).into_iter();
    let policies: Vec<Arc<Remembered>> = each
        .map(|(_, region)| {
            Arc::new(Remembered {
                policy: Arc::clone(policy),
                chain: Name::new("p"),
                regions: [region].into(),
                matches_all: false,
                weight: 0,
                is_lasting: true,
                marks: false,
            })
        })
        .collect();
    let regions = Regions {
        policies: &policies,
        sets: &worlds.address_sets,
    };
    let items: Vec<Item> = (0..).take(policies.len()).map(item).collect();
    match dimension {
        Dimension::Ports(protocol) => split_ports(regions, &items, protocol, most),
        _ => split(regions, &Column::of(regions, &items, dimension, most)?, most),
    }
}

fn item(policy: u32) -> Item {
    Item { policy, region: 0 }
}

/// Every class with its rules.
fn words(split: &Split) -> Vec<String> {
    fn each<K: Copy>(classes: &Groups<K>, key: impl Fn(K) -> String) -> Vec<String> {
        let classes = classes.iter();
        classes
            .map(|(of, items)| format!("{}: {:?}", key(of), numbers(items)))
            .collect()
    }
    fn numbers(items: &[Item]) -> Vec<u32> {
        items.iter().map(|item| item.policy).collect()
    }
    let word = |classes: &Classes| match classes {
        Classes::Services(classes) => each(classes, |(protocol, port)| format!("{protocol} {port}")),
        Classes::Protocols(classes) => each(classes, |protocol| protocol.to_string()),
        Classes::Ports(protocol, classes) => each(classes, |range| format!("{protocol} {range}")),
        Classes::Addresses(_, _, classes) => each(classes, |address| address.to_string()),
        Classes::Ranges(_, _, classes) => each(classes, |(first, last)| format!("{first}-{last}")),
    };
    let rest = format!("rest: {:?}", numbers(&split.rest));
    split.lookups.iter().flat_map(word).chain([rest]).collect()
}

const SERVICES: [&str; 5] = [
    "protocol: TCP, destination: {ports: [80]}",
    "protocol: TCP, destination: {ports: [80, 443]}",
    "protocol: UDP",
    "source: {selector: net == 'lan'}",
    "protocol: TCP, destination: {ports: ['100:60000']}",
];

#[test]
fn by_protocol_and_port() {
    let split = split_of(&SERVICES, Dimension::Services, 100).unwrap();
    assert_eq!(
        words(&split),
        [
            "tcp 80: [0, 1]",
            "tcp 443: [1, 4]",
            "tcp: [4]",
            "udp: [2]",
            "rest: [3]"
        ]
    );
    assert_eq!(
        split.below_ports[&Protocol::UDP],
        [item(2), item(3)],
        "of udp's ports, if one were named"
    );
    assert!(
        split_of(&SERVICES, Dimension::Services, 2).is_none(),
        "three ports are named"
    );
}

#[test]
fn by_ranges_of_ports_that_overlap() {
    let ranges = [
        "protocol: TCP, destination: {ports: ['100:300']}",
        "protocol: TCP, destination: {ports: ['200:400']}",
        "protocol: UDP, destination: {ports: ['100:300']}",
        "protocol: TCP",
    ];
    let split = split_of(&ranges, Dimension::Ports(Protocol::TCP), 100).unwrap();
    assert_eq!(
        words(&split),
        [
            "tcp 100-199: [0]",
            "tcp 200-300: [0, 1]",
            "tcp 301-400: [1]",
            "rest: [3]"
        ]
    );
}

#[test]
fn by_addresses_of_both_families() {
    let rules = [
        "source: {nets: [10.0.0.1/32]}",
        "source: {nets: [10.0.0.0/24]}",
        "source: {nets: [10.0.0.128/25]}",
        "source: {nets: ['fd00::/128', 'fd01::/127']}",
        "protocol: TCP",
        "source: {nets: [0.0.0.0/0]}",
    ];
    let split = split_of(&rules, Dimension::Addresses(Side::Source), 100).unwrap();
    assert_eq!(
        words(&split),
        [
            "10.0.0.1: [0, 1]",
            "10.0.0.0-10.0.0.127: [1]",
            "10.0.0.128-10.0.0.255: [1, 2]",
            "fd00::: [3]",
            "fd01::-fd01::1: [3]",
            "rest: [4, 5]"
        ]
    );
}

#[test]
fn the_last_address_of_a_family_has_nothing_behind_it() {
    let rules = [
        "source: {nets: [255.255.255.0/24]}",
        "source: {nets: ['ff00::/8']}",
    ];
    let split = split_of(&rules, Dimension::Addresses(Side::Source), 100).unwrap();
    let last: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    assert_eq!(
        words(&split),
        [
            "255.255.255.0-255.255.255.255: [0]".to_owned(),
            format!("ff00::-{last}: [1]"),
            "rest: []".to_owned()
        ]
    );
}
