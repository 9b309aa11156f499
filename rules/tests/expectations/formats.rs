//! Reports for other programs.

use super::*;

const ITEMS: &str = "- {name: 'web & db', from: web1, to: db, ports: [5432], expect: allow, world: enforced}
- {name: 'shut #1', from: 192.0.2.1, to: db, ports: [8040], expect: allow, world: pending}
- {name: nobody, from: {selector: role == 'wbe'}, to: db, expect: deny}";

#[test]
fn as_json() {
    let report = run(ITEMS);
    assert_eq!(
        (report.passed, report.failed, report.errors, report.is_success()),
        (1, 1, 1, false)
    );
    let json = serde_json::to_value(&report).unwrap();
    let expected = serde_json::json!({
        "suite": "suite", "name": "shut #1", "source": "expected.yaml:6:3", "status": "fail", "expect": "allow",
        "protocol": "tcp", "without_safety_net": false, "error": null,
        "cases": [{
            "from": "192.0.2.1", "to": "db", "ports": [8040, 8040], "world": "pending", "verdict": "deny", "ok": false,
            "step": {
                "endpoint": "db", "direction": "ingress", "tier": "default", "kind": "StagedGlobalNetworkPolicy",
                "namespace": null, "name": "shut", "rule_index": 0, "rule_name": null, "action": "Deny", "trigger": null,
                "source": "resources.yaml:34:7",
            },
            "error": null,
        }],
    });
    assert_eq!(json["expectations"][1], expected);
    assert_eq!(
        json["expectations"][2]["error"],
        "the selector role == \"wbe\" selects no endpoint"
    );
}

#[test]
fn as_tap() {
    assert_eq!(
        run(ITEMS).tap(),
        "\
TAP version 13
1..3
ok 1 - web & db
not ok 2 - shut \\#1
# allow expected at expected.yaml:6:3
# tcp: 192.0.2.1 to db 8040 is denied in the pending world by shut (ingress rule 0), resources.yaml:34:7
not ok 3 - nobody
# deny expected at expected.yaml:7:3
# the selector role == \"wbe\" selects no endpoint
"
    );
}

#[test]
fn as_junit() {
    assert_eq!(
        run(ITEMS).junit(),
        "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites>
<testsuite name=\"palisade\" tests=\"3\" failures=\"1\" errors=\"1\">
<testcase classname=\"suite\" name=\"web &amp; db\" file=\"expected.yaml\" line=\"5\"/>
<testcase classname=\"suite\" name=\"shut #1\" file=\"expected.yaml\" line=\"6\">
<failure message=\"tcp: 192.0.2.1 to db 8040 is denied in the pending world by shut (ingress rule 0), resources.yaml:34:7\">\
tcp: 192.0.2.1 to db 8040 is denied in the pending world by shut (ingress rule 0), resources.yaml:34:7</failure>
</testcase>
<testcase classname=\"suite\" name=\"nobody\" file=\"expected.yaml\" line=\"7\">
<error message=\"the selector role == &quot;wbe&quot; selects no endpoint\">\
the selector role == &quot;wbe&quot; selects no endpoint</error>
</testcase>
</testsuite>
</testsuites>
"
    );
}
