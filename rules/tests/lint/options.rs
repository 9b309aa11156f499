//! What the caller knows and wants.

use std::time::Duration;

use palisade_rules::analysis::lint::{Options, STALE_AFTER, lint};
use palisade_rules::world::{Host, resolve};

use crate::network::network;

const STAGED: &str = "
    staged p selector: role == 'web', ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
    staged parked selector: role == 'web', stagedAction: Ignore, ingress: [{action: Allow, protocol: TCP}]
    policy q selector: role == 'web', egress: [{action: Allow}]
    staged q stagedAction: Delete
";

/// What is said of policies that have been staged so long.
fn said(age: Duration, options: &Options) -> Vec<String> {
    let snapshot = network(STAGED);
    let mut options = options.clone();
    options.staged_for = snapshot
        .policies
        .iter()
        .map(|policy| (policy.id.clone(), age))
        .collect();
    let findings = lint(&snapshot, &resolve(&snapshot, Host::default()), &options);
    findings.into_iter().map(|finding| finding.message).collect()
}

#[test]
fn a_staged_policy_is_stale_behind_the_limit() {
    let hour = Duration::from_hours(1);
    assert_eq!(said(STALE_AFTER, &Options::default()), [""; 0]);
    assert_eq!(
        said(STALE_AFTER + hour, &Options::default()),
        [
            "`p` has been staged for 35 days, longer than 35 days",
            "`q` has been staged for 35 days, longer than 35 days",
        ]
    );
    let sooner = Options {
        stale_after: Some(hour),
        ..Options::default()
    };
    assert_eq!(
        said(47 * hour, &sooner),
        [
            "`p` has been staged for 47 hours, longer than 1 hour",
            "`q` has been staged for 47 hours, longer than 1 hour",
        ]
    );
    let never = Options {
        stale_after: None,
        ..Options::default()
    };
    assert_eq!(said(1000 * STALE_AFTER, &never), [""; 0]);
}

#[test]
fn what_is_allowed_is_not_said() {
    let options = Options {
        allow: ["stale-staged-policy".to_owned()].into(),
        ..Options::default()
    };
    assert_eq!(said(2 * STALE_AFTER, &options), [""; 0]);
}
