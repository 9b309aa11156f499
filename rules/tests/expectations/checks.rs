//! What comes of expectations.

use palisade_rules::analysis::expectations::Status;

use super::*;

/// Status of the only item, and every case in words.
fn only(item: &str) -> (Status, Vec<String>) {
    let report = run(item);
    let [checked] = report.expectations.as_slice() else {
        panic!("{report:?}");
    };
    (
        checked.status,
        checked.cases.iter().map(ToString::to_string).collect(),
    )
}

/// Status of the only item, and what is wrong.
fn complaints(item: &str) -> (Status, Vec<String>) {
    let report = run(item);
    (report.expectations[0].status, report.expectations[0].complaints())
}

#[test]
fn what_is_allowed_in_both_worlds() {
    let (status, cases) = only("- {from: web1, to: db, protocol: TCP, ports: [5432], expect: allow}");
    assert_eq!(status, Status::Pass);
    let by = "by database (ingress rule 0), resources.yaml:24:7";
    assert_eq!(
        cases,
        [
            format!("web1 to db 5432 is allowed in the enforced world {by}"),
            format!("web1 to db 5432 is allowed in the pending world {by}"),
        ]
    );
}

#[test]
fn the_net_lets_pass_what_is_denied_without_it() {
    let item = "- {from: 192.0.2.1, to: db, ports: [5432], expect: deny, world: enforced}";
    assert_eq!(
        complaints(item),
        (
            Status::Fail,
            vec!["tcp: 192.0.2.1 to db 5432 is allowed in the enforced world by net (ingress rule 0), resources.yaml:38:61".to_owned()]
        )
    );
    let without = item.replace("expect: deny", "expect: deny, withoutSafetyNet: true");
    let (status, cases) = only(&without);
    assert_eq!(status, Status::Pass);
    assert_eq!(
        cases,
        [
            "192.0.2.1 to db 5432 is denied in the enforced world by database (end of tier default), resources.yaml:19:20"
        ]
    );
    // Where the net does not decide, it makes no difference.
    let other = "- {from: web1, to: db, ports: [5432], expect: allow, withoutSafetyNet: true}";
    assert_eq!(only(other).0, Status::Pass);
}

#[test]
fn ranges_are_cut_where_rules_cut_them() {
    let (status, cases) =
        only("- {from: 192.0.2.1, to: db, ports: ['8000:8059', 8070], expect: allow, world: pending}");
    assert_eq!(status, Status::Fail);
    assert_eq!(
        cases,
        [
            "192.0.2.1 to db 8000-8029 is allowed in the pending world by database (ingress rule 1), resources.yaml:25:7",
            "192.0.2.1 to db 8030-8059 is denied in the pending world by shut (ingress rule 0), resources.yaml:34:7",
            "192.0.2.1 to db 8070 is denied in the pending world by shut (ingress rule 0), resources.yaml:34:7",
        ]
    );
}

#[test]
fn no_ports_are_all_ports() {
    let (_, cases) =
        only("- {from: 192.0.2.1, to: db, expect: deny, world: enforced, withoutSafetyNet: true}");
    let ports: Vec<&str> = cases.iter().map(|case| case.split(' ').nth(3).unwrap()).collect();
    assert_eq!(ports, ["1-21", "22", "23-7999", "8000-8059", "8060-65535"]);
    let (status, _) = only(
        "- {from: 192.0.2.1, to: db, protocol: UDP, expect: deny, world: pending, withoutSafetyNet: true}",
    );
    assert_eq!(status, Status::Fail, "DHCP is a failsafe");
}

#[test]
fn a_selector_is_every_endpoint_it_selects() {
    let (status, cases) = only(
        "- {from: {selector: role == 'web'}, to: {selector: has(role)}, ports: [5432], expect: allow, world: enforced}",
    );
    assert_eq!(status, Status::Pass);
    let ends: Vec<String> = cases
        .iter()
        .map(|case| case.split(" 5432").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        ends,
        [
            "HostEndpoint:web1 to HostEndpoint:db",
            "HostEndpoint:web1 to HostEndpoint:web2",
            "HostEndpoint:web2 to HostEndpoint:db",
            "HostEndpoint:web2 to HostEndpoint:web1",
        ]
    );
    let (_, cases) = only(
        "- {from: web1, to: [{selector: role == 'web'}, db], ports: [80], expect: allow, world: enforced}",
    );
    assert_eq!(
        cases.len(),
        2,
        "web1 is not asked whether it reaches itself: {cases:?}"
    );
}

#[test]
fn who_asks_nobody_has_not_passed() {
    let empty = "- {from: {selector: role == 'wbe'}, to: db, ports: [5432], expect: deny}";
    assert_eq!(
        complaints(empty),
        (
            Status::Error,
            vec!["the selector role == \"wbe\" selects no endpoint".to_owned()]
        )
    );
    let itself = "- {from: {selector: role == 'db'}, to: db, ports: [5432], expect: deny}";
    let (status, why) = complaints(itself);
    assert_eq!(status, Status::Error);
    assert_eq!(
        why,
        ["only one endpoint is selected, and it is not asked whether it reaches itself"]
    );
    let (status, why) = complaints("- {from: nobody, to: db, ports: [5432], expect: deny, world: enforced}");
    assert_eq!(status, Status::Error);
    assert!(
        why[0].starts_with(
            "tcp: nobody to db 5432 cannot be told in the enforced world: \"nobody\" is neither"
        ),
        "{why:?}"
    );
    assert!(
        !check(&worlds(RESOURCES), &[]).is_success(),
        "no expectation is no success"
    );
}

#[test]
fn addresses_that_are_decided_by_different_steps_are_asked_one_by_one() {
    let policy = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: families}
spec: {order: 1, selector: role == 'db', ingress: [{action: Deny, ipVersion: 6, protocol: TCP}, \
{action: ACTION, ipVersion: 4, protocol: TCP, destination: {ports: [5432]}}]}
";
    for (action, status) in [("Deny", Status::Pass), ("Allow", Status::Fail)] {
        let resources = format!("{RESOURCES}---{}", policy.replace("ACTION", action));
        let (expectations, ..) = read(&file(
            "- {from: web1, to: db, ports: [5432], expect: deny, world: enforced}",
        ));
        let report = check(&worlds(&resources), &expectations);
        let checked = &report.expectations[0];
        assert_eq!(checked.status, status);
        let asked: Vec<(&str, bool)> = checked
            .cases
            .iter()
            .map(|case| (case.to.as_str(), case.ok))
            .collect();
        assert_eq!(asked, [("10.0.0.3", action == "Deny"), ("fd00::3", true)]);
    }
}

#[test]
fn icmp_and_other_protocols() {
    for (item, expected) in [
        ("protocol: ICMP, expect: allow", Status::Pass),
        (
            "protocol: ICMP, icmp: {type: 8, code: 7}, expect: deny",
            Status::Pass,
        ),
        ("protocol: 47, expect: allow", Status::Pass),
        ("protocol: 47, expect: deny, withoutSafetyNet: true", Status::Pass),
        (
            "protocol: UDP, ports: [53], sourcePort: 53, expect: allow",
            Status::Pass,
        ),
    ] {
        assert_eq!(
            only(&format!("- {{from: web1, to: db, {item}}}")).0,
            expected,
            "{item}"
        );
    }
}
