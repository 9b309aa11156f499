//! Who is who.

use super::*;

#[test]
fn an_endpoint_may_be_named_with_its_kind() {
    let worlds = network(&[]);
    for from in ["db", "HostEndpoint:db", "hep:db", "HEP:db", "10.0.0.2", "fd00::2"] {
        let answer = ask(&worlds, &format!("{from} web tcp 80"));
        assert_eq!(answer.from, from, "as asked");
        assert_eq!(answer.enforced.steps[0].endpoint, "db");
    }
}

#[test]
fn who_is_not_known_is_said_with_who_is() {
    assert_eq!(
        problem(&network(&[]), "dbb web tcp 80"),
        "\"dbb\" is neither an address nor the name of an endpoint; there are bare, cache, db, web"
    );
    let empty = resolve(&Snapshot::empty(), Host::default());
    assert_eq!(
        problem(&empty, "a b tcp 80"),
        "\"a\" is neither an address nor the name of an endpoint; there are no endpoints"
    );
}

#[test]
fn an_address_of_two_endpoints_is_ambiguous_and_a_name_is_not() {
    let twin = object(
        "HostEndpoint",
        "twin",
        "node: four, interfaceName: e, expectedIPs: [10.0.0.2]",
    );
    let worlds = network(&[twin]);
    assert_eq!(
        problem(&worlds, "10.0.0.2 web tcp 80"),
        "10.0.0.2 belongs to db and twin: ask by name"
    );
    assert_eq!(ask(&worlds, "twin web tcp 80").enforced.verdict, "deny");
}

#[test]
fn an_endpoint_without_addresses_can_only_be_asked_by_address() {
    let bare = object("HostEndpoint", "mute", "node: four, interfaceName: e");
    assert_eq!(
        problem(&network(&[bare]), "mute web tcp 80"),
        "endpoint \"mute\" has no address: add expectedIPs, or ask by address"
    );
}

#[test]
fn addresses_have_names() {
    let nested = "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\n\
                  metadata: {name: office}\nspec: {nets: [10.9.8.0/24, 10.0.0.2]}\n";
    let worlds = network(&[nested.to_owned()]);
    for (address, kind, name) in [
        ("10.0.0.2", "HostEndpoint", "db"),
        ("fd00::3", "HostEndpoint", "cache"),
        ("10.9.8.7", "NetworkSet", "office"),
        ("10.9.7.7", "NetworkSet", "lan"),
        ("fd09::1", "NetworkSet", "lan"),
        ("192.168.1.1", "Network", "private"),
        ("fd77::1", "Network", "private"),
        ("fe80::1", "Network", "private"),
        ("127.0.0.1", "Network", "private"),
        ("192.0.2.1", "Network", "public"),
        ("2001:db8::1", "Network", "public"),
    ] {
        let named = name_of(&worlds, address.parse().unwrap());
        assert_eq!((named.kind.as_str(), named.name), (kind, name), "{address}");
        assert_eq!(named.labels.is_some(), kind != "Network", "{address}");
    }
}
