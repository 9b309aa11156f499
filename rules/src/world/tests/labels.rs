//! Which labels an endpoint or a set has besides its own.

use super::*;

fn labels_of(resources: &[String], name: &str) -> String {
    let worlds = resolve(&read(resources), live());
    let labels = match worlds.endpoints.iter().find(|endpoint| endpoint.name == name) {
        Some(endpoint) => &endpoint.labels,
        None => {
            &worlds
                .networks
                .iter()
                .find(|network| network.name == name)
                .unwrap()
                .labels
        }
    };
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(" ")
}

fn profile(name: &str, labels: &str) -> String {
    object("Profile", name, &format!("labelsToApply: {{{labels}}}"))
}

#[test]
fn own_ones_beat_inherited_ones_and_an_earlier_profile_a_later() {
    let resources = [
        profile("first", "a: first, b: first"),
        profile("second", "a: second, b: second, c: second"),
        profile("unused", "d: unused"),
        host_endpoint(
            "h",
            "a: own",
            "node: one, interfaceName: eth0, profiles: [first, second]",
        ),
        host_endpoint(
            "reversed",
            "",
            "node: one, interfaceName: eth1, profiles: [second, first]",
        ),
        service(
            "s",
            "c: own",
            "node: one, unit: s.service, profiles: [first, second]",
        ),
    ];
    assert_eq!(labels_of(&resources, "h"), "a=own b=first c=second");
    assert_eq!(labels_of(&resources, "reversed"), "a=second b=second c=second");
    assert_eq!(labels_of(&resources, "s"), "a=first b=first c=own");
}

#[test]
fn where_a_workload_is_and_what_it_runs_as_is_forced() {
    let resources = [
        profile("kns.red", "pcns.team: x, pcns.projectcalico.org/name: red"),
        profile("ksa.red.clerk", "pcsa.trusted: 'no'"),
        workload(
            "w",
            "role: pod",
            "interfaceName: cali1, ipNetworks: [10.1.0.1/32], serviceAccountName: clerk, \
             profiles: [kns.red, ksa.red.clerk]",
        ),
    ];
    assert_eq!(
        labels_of(&resources, "one-cni-w-e"),
        "pcns.projectcalico.org/name=red pcns.team=x pcsa.trusted=no projectcalico.org/namespace=red \
         projectcalico.org/orchestrator=cni projectcalico.org/serviceaccount=clerk role=pod"
    );
}

#[test]
fn a_set_in_a_namespace_inherits_the_namespaces() {
    let resources = [
        profile("kns.red", "pcns.team: x, a: inherited"),
        namespaced("NetworkSet", "red", "s", "nets: [10.2.0.0/16]"),
        namespaced("NetworkSet", "blue", "t", "nets: [10.3.0.0/16]"),
        network_set("g", "a: own", "10.4.0.0/16"),
    ];
    assert_eq!(
        labels_of(&resources, "s"),
        "a=inherited pcns.team=x projectcalico.org/namespace=red"
    );
    assert_eq!(labels_of(&resources, "t"), "projectcalico.org/namespace=blue");
    assert_eq!(labels_of(&resources, "g"), "a=own");
}

#[test]
fn policies_select_by_inherited_labels() {
    let worlds = resolve(
        &read(&[
            profile("tagged", "tag: x"),
            host_endpoint("h", "", "node: one, interfaceName: eth0, profiles: [tagged]"),
            host_endpoint("i", "", "node: one, interfaceName: eth1"),
            policy("p", "selector: tag == 'x'"),
        ]),
        live(),
    );
    assert_eq!(
        [0, 1].map(|id| worlds.enforced.selecting(EndpointId(id))),
        [&[0][..], &[]]
    );
}
