use std::time::Duration;

use serde_json::{Value, json};

use super::verdict::{judge, span};
use super::{Alone, EVIDENCE, StagedReport, Verdict};

/// A policy that was observed for two days, and would deny nothing.
fn report() -> StagedReport {
    let report = json!({
        "kind": "StagedGlobalNetworkPolicy", "tier": "default", "namespace": null, "name": "web",
        "verdict": "ready", "reasons": [], "without_safety_net": null, "staged_action": "Set", "source": "web.yaml:1:1",
        "since": "2026-11-21T00:00:00Z", "observed_seconds": 172_800, "observing": true, "endpoints": ["web-1"],
        "safety_net": true, "evaluated": 1000, "would_allow": 1000, "would_deny": 0, "would_deny_without_safety_net": 0,
        "alone": null, "first_seen": null, "last_seen": null,
        "new_in_last_hour": {"would_deny": 0, "would_deny_without_safety_net": 0},
        "live": {"connections": 100, "is_complete": true, "never_evaluated": 10, "would_deny": 0, "would_deny_without_safety_net": 0, "flows": []},
        "flows": [], "counters": [], "missing": {"lost": 10, "unreadable": 0, "folded": 0}, "notes": [],
    });
    serde_json::from_value(report).unwrap()
}

fn flow(from: &str, port: u16, verdicts: [&str; 3], packets: u64) -> Value {
    let [action, pending, without] = verdicts;
    json!({
        "direction": "ingress", "from": from, "to": "web-1", "proto": "tcp", "port": port, "action": action,
        "pending_action": pending, "pending_without_safety_net": without, "because": "web (end of tier default)",
        "packets": packets, "first_seen": "2026-11-22T00:00:00Z", "last_seen": "2026-11-22T00:00:00Z",
        "owners": [{"unit": "nginx.service", "pid": 812, "comm": "nginx", "uid": 0, "connections": packets}],
    })
}

fn with_flows(flows: &[Value]) -> StagedReport {
    StagedReport {
        flows: serde_json::from_value(json!(flows)).unwrap(),
        ..report()
    }
}

#[track_caller]
fn lacks(report: &StagedReport, reason: &str) {
    let (with, without) = judge(report, EVIDENCE);
    assert_eq!(
        (with.verdict, with.reasons.as_slice()),
        (Verdict::TooLittleEvidence, [reason.to_owned()].as_slice())
    );
    assert_eq!(without, Some(with), "it is the same observation");
}

#[test]
fn at_the_thresholds_it_is_ready() {
    let mut report = report();
    report.observed_seconds = 86_400;
    let (with, without) = judge(&report, EVIDENCE);
    assert_eq!((with.verdict, with.reasons.len()), (Verdict::Ready, 0));
    assert_eq!(without.map(|judgement| judgement.verdict), Some(Verdict::Ready));
    report.safety_net = false;
    assert_eq!(judge(&report, EVIDENCE).1, None, "there is no net to remove");
}

#[test]
fn beyond_each_threshold_it_is_not() {
    let mut short = report();
    short.observed_seconds = 86_399;
    lacks(&short, "it has been observed for 23h 59m only, not for 1d");
    assert_eq!(judge(&short, Duration::from_hours(1)).0.verdict, Verdict::Ready);

    let mut unheard = report();
    unheard.evaluated = 0;
    unheard.missing.lost = 0;
    lacks(&unheard, "no connection has met it yet");

    let mut lossy = report();
    lossy.missing.folded = 1;
    lacks(&lossy, "11 first packets are missing from the observations");

    let mut old = report();
    let live = old.live.as_mut().unwrap();
    live.never_evaluated = 11;
    lacks(
        &old,
        "nothing like 11 of 100 live connections was evaluated since it is staged",
    );
    old.live = None;
    lacks(&old, "its live connections cannot be looked at");

    let mut cut = report();
    cut.live.as_mut().unwrap().is_complete = false;
    lacks(&cut, "only the first 1048576 live connections were looked at");

    let mut many = report();
    many.alone = Some(Alone {
        others: vec!["metrics".to_owned()],
        would_deny: None,
        would_deny_without_safety_net: None,
    });
    lacks(
        &many,
        "more than 16 policies are staged, too many to look at each as if it alone were promoted: `palisade plan --promote web` \
         does",
    );

    let mut deaf = report();
    deaf.observing = false;
    lacks(
        &deaf,
        "first packets are not being observed: `palisade status` and the log say why",
    );

    let mut elsewhere = report();
    elsewhere.endpoints.clear();
    lacks(&elsewhere, "it applies to no endpoint of this host");
}

#[test]
fn what_would_be_denied_comes_before_what_is_lacking() {
    let mut report = with_flows(&[
        flow("a", 80, ["allow", "allow", "deny"], 9),
        flow("b", 1, ["allow", "deny", "deny"], 1),
        flow("b", 2, ["allow", "deny", "deny"], 2),
        flow("c", 80, ["allow", "deny", "deny"], 1),
        flow("d", 80, ["deny", "deny", "deny"], 100),
        flow("e", 80, ["allow", "allow", "allow"], 100),
    ]);
    report.observed_seconds = 60;
    let live = report.live.as_mut().unwrap();
    (live.would_deny, live.would_deny_without_safety_net) = (1, 2);
    let (with, without) = judge(&report, EVIDENCE);
    assert_eq!(with.verdict, Verdict::NotReady);
    let b = "would deny 3 connections from b: tcp 2 (2), tcp 1 (1); nginx[812] (nginx.service)";
    let c = "would deny 1 connection from c: tcp 80 (1); nginx[812] (nginx.service)";
    let short = "it has been observed for 1m only, not for 1d";
    assert_eq!(
        with.reasons,
        [
            b,
            c,
            "1 live connection would be denied if opened again, and nothing like it was evaluated",
            short
        ]
    );
    assert_eq!(
        without.unwrap().reasons,
        [
            "would deny 9 connections from a: tcp 80 (9); nginx[812] (nginx.service)",
            b,
            c,
            "2 live connections would be denied if opened again, and nothing like them was evaluated",
            short
        ]
    );
}

#[test]
fn a_verdict_is_one_word_in_json() {
    for (verdict, word) in [
        (Verdict::Ready, "ready"),
        (Verdict::NotReady, "not-ready"),
        (Verdict::TooLittleEvidence, "too-little-evidence"),
    ] {
        assert_eq!(serde_json::to_value(verdict).unwrap(), word);
    }
}

#[test]
fn times_are_told_in_two_units() {
    let spans = [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3_725, "1h 2m"),
        (86_400, "1d"),
        (90_000, "1d 1h"),
    ];
    for (seconds, text) in spans {
        assert_eq!(span(seconds), text);
    }
}
