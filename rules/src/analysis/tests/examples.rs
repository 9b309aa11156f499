//! The table of `examples/README.md`, and one answer of it as JSON.

use std::sync::Arc;

use super::*;

const FILES: [&str; 4] = [
    include_str!("../../../../examples/00-safety-net.yaml"),
    include_str!("../../../../examples/10-database.yaml"),
    include_str!("../../../../examples/20-backend-lockdown.yaml"),
    include_str!("../../../../examples/hosts.yaml"),
];

const BY_DATABASE: &str = "database-allow-from-backend (ingress rule 0)";
const BY_NET: &str = "zzz-final-allow-everything (ingress rule 0)";
const BY_PROFILE: &str = "profile projectcalico-default-allow";
const BY_FAILSAFE: &str = "failsafe tcp:22";
const BY_END_OF_DATABASE: &str = "database-allow-from-backend (end of tier default)";
const BY_END_OF_LOCKDOWN: &str = "backend-lockdown-staged (end of tier default)";

/// The world of one column of the table, as host `frontend` or any other sees it.
fn column(promoted: bool, net: bool) -> Worlds {
    let mut snapshot: Snapshot = snapshot(&FILES);
    if promoted {
        for policy in snapshot.policies.iter_mut().map(Arc::make_mut) {
            policy.staged = None;
        }
    }
    if !net {
        snapshot
            .policies
            .retain(|policy| policy.id.name != "zzz-final-allow-everything");
    }
    resolve(&snapshot, Host::default())
}

/// Who decides in a world, last: `allow BY`.
fn decided(answer: &WorldAnswer) -> String {
    format!("{} {}", answer.verdict, answer.steps.last().unwrap().phrase())
}

#[test]
fn the_table_of_the_readme() {
    let columns = [(false, true), (true, true), (false, false), (true, false)]
        .map(|(promoted, net)| (promoted, net, column(promoted, net)));
    let allow = |by: &str| format!("allow {by}");
    let deny = |by: &str| format!("deny {by}");
    let caught = allow(BY_NET);
    for (connection, expected) in [
        (
            "backend-eth0 database-eth0 tcp 8080",
            [(); 4].map(|()| allow(BY_DATABASE)),
        ),
        (
            "frontend-eth0 database-eth0 tcp 8080",
            [
                caught.clone(),
                caught.clone(),
                deny(BY_END_OF_DATABASE),
                deny(BY_END_OF_DATABASE),
            ],
        ),
        (
            "frontend-eth0 backend-eth0 tcp 9090",
            [
                caught.clone(),
                caught.clone(),
                allow(BY_PROFILE),
                deny(BY_END_OF_LOCKDOWN),
            ],
        ),
        (
            "backend-eth0 frontend-eth0 tcp 9090",
            [
                caught.clone(),
                caught.clone(),
                allow(BY_PROFILE),
                allow(BY_PROFILE),
            ],
        ),
        (
            "frontend-eth0 backend-eth0 tcp 22",
            [(); 4].map(|()| allow(BY_FAILSAFE)),
        ),
        (
            "backend-eth0 database-eth0 tcp 22",
            [(); 4].map(|()| allow(BY_FAILSAFE)),
        ),
        (
            "192.0.2.1 frontend-eth0 tcp 22",
            [(); 4].map(|()| allow(BY_FAILSAFE)),
        ),
    ] {
        for ((promoted, net, worlds), expected) in columns.iter().zip(expected) {
            let answer = ask(worlds, connection);
            let place = format!("{connection}, promoted {promoted}, net {net}");
            assert_eq!(decided(&answer.enforced), expected, "{place}");
        }
    }
}

#[test]
fn the_staged_lockdown_says_what_it_would_deny_in_both_columns() {
    let connection = "frontend-eth0 backend-eth0 tcp 9090";
    let with_net = ask(&column(false, true), connection);
    assert_eq!(decided(&with_net.pending), format!("allow {BY_NET}"));
    let without = with_net.pending.without_safety_net.unwrap();
    assert_eq!(without.verdict, "deny");
    assert_eq!(without.steps.last().unwrap().phrase(), BY_END_OF_LOCKDOWN);
    let enforced = with_net.enforced.without_safety_net.unwrap();
    assert_eq!(enforced.verdict, "allow");

    let net_removed = ask(&column(false, false), connection);
    assert_eq!(
        decided(&net_removed.pending),
        format!("deny {BY_END_OF_LOCKDOWN}")
    );
    assert_eq!(net_removed.pending.without_safety_net, None);
}

#[test]
fn as_json() {
    let answer = ask(&column(false, true), "frontend-eth0 backend-eth0 tcp 9090");
    let net = |direction: &str, endpoint: &str, source: &str| {
        json!({
            "endpoint": endpoint, "direction": direction, "tier": "default",
            "kind": "GlobalNetworkPolicy", "namespace": null, "name": "zzz-final-allow-everything",
            "rule_index": 0, "rule_name": null, "action": "Allow", "trigger": null, "source": source,
        })
    };
    let profile = |direction: &str, endpoint: &str| {
        json!({
            "endpoint": endpoint, "direction": direction, "tier": "", "kind": "Profile",
            "namespace": null, "name": "projectcalico-default-allow", "rule_index": 0,
            "rule_name": null, "action": "Allow", "trigger": null, "source": null,
        })
    };
    let end = json!({
        "endpoint": "backend-eth0", "direction": "ingress", "tier": "default", "kind": "EndOfTier",
        "namespace": null, "name": "", "rule_index": -1, "rule_name": null, "action": "Deny",
        "trigger": {
            "kind": "StagedGlobalNetworkPolicy", "tier": "default", "namespace": null,
            "name": "backend-lockdown-staged",
        },
        "source": "2.yaml:4:9",
    });
    let caught = [
        net("egress", "frontend-eth0", "0.yaml:11:7"),
        net("ingress", "backend-eth0", "0.yaml:9:7"),
    ];
    let expected = json!({
        "from": "frontend-eth0", "to": "backend-eth0", "protocol": "tcp", "port": 9090,
        "enforced": {
            "verdict": "allow", "steps": caught,
            "without_safety_net": {
                "verdict": "allow",
                "steps": [profile("egress", "frontend-eth0"), profile("ingress", "backend-eth0")],
            },
        },
        "pending": {
            "verdict": "allow", "steps": caught,
            "without_safety_net": {
                "verdict": "deny", "steps": [profile("egress", "frontend-eth0"), end],
            },
        },
    });
    let written = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected);
    // The keys stand in the order of the contract, and the text is read back as the same.
    assert_eq!(written, expected.to_string());
    assert_eq!(serde_json::from_str::<Answer>(&written).unwrap(), answer);
}
