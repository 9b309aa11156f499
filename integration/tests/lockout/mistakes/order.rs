//! In what comes before the rule that lets SSH in.

use super::{policy, tier};
use crate::mistake::Edit::{Replace, Write};
use crate::mistake::Expect::{Harmless, Invalid, Refused};
use crate::mistake::{Mistake, mistake};

pub(crate) fn all() -> Vec<Mistake> {
    let ssh = |from, to| [Replace("ssh.yaml", from, to)];
    let early = |spec: &str, rest: &str| {
        let text = tier("early", "order: 1") + &policy("early.first", &format!("tier: early, {spec}")) + rest;
        [Write("early.yaml", text)]
    };
    let first = |spec: &str| {
        [Write(
            "first.yaml",
            policy("first", &format!("order: 1, selector: all(), {spec}")),
        )]
    };
    vec![
        mistake("a deny of everything, ordered first", first("types: [Ingress], ingress: [{action: Deny}]"), Refused),
        mistake("the same, applied by SIGHUP", first("types: [Ingress], ingress: [{action: Deny}]"), Refused)
            .by_hangup(),
        mistake(
            "a deny of TCP from the network that the operator is in",
            first("types: [Ingress], ingress: [{action: Deny, protocol: TCP, source: {nets: [10.9.0.0/16]}}]"),
            Refused,
        ),
        mistake(
            "a block list that holds everybody",
            [Write(
                "block.yaml",
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: block, labels: {net: block}}\nspec: {nets: [0.0.0.0/0]}\n---\n"
                    .to_owned()
                    + &policy(
                        "first",
                        "order: 1, selector: all(), types: [Ingress], ingress: [{action: Deny, source: {selector: net == 'block'}}]",
                    ),
            )],
            Refused,
        ),
        mistake(
            "a deny of all but one network, which is the wrong one",
            first("types: [Ingress], ingress: [{action: Deny, source: {notNets: [10.8.0.0/16]}}]"),
            Refused,
        ),
        mistake(
            "a deny that was meant for another host (`all()`)",
            [Write(
                "other.yaml",
                policy("other", "order: 5, selector: all(), types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {notPorts: [5432]}}]"),
            )],
            Refused,
        ),
        mistake(
            "the lockdown before what it is to catch the rest of",
            [Replace(
                "lockdown.yaml",
                "{order: 1000, selector: all(), types: [Ingress, Egress]}",
                "{order: 1, selector: all(), types: [Ingress], ingress: [{action: Deny}]}",
            )],
            Refused,
        ),
        mistake("a deny of everything in an early tier", early("selector: all(), types: [Ingress], ingress: [{action: Deny}]", ""), Refused),
        mistake(
            "an early tier that lets the web in, and ends in Deny",
            early(
                "selector: all(), types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
                "",
            ),
            Refused,
        ),
        mistake(
            "an early tier that only looks, and ends in Deny",
            early("selector: all(), types: [Ingress], ingress: [{action: Log}]", ""),
            Refused,
        ),
        mistake(
            "an early tier that passes the web on, and ends in Deny",
            early(
                "selector: role == 'server', types: [Ingress], ingress: [{action: Pass, protocol: TCP, destination: {ports: [80, 443]}}]",
                "",
            ),
            Refused,
        ),
        mistake(
            "an early tier for endpoints that are not here",
            early("selector: role == 'database', types: [Ingress], ingress: [{action: Deny}]", ""),
            Harmless,
        ),
        mistake(
            "the policy moved into a tier behind the one that denies",
            [
                Write("tier.yaml", tier("late", "order: 2000000")),
                Replace("ssh.yaml", "name: allow-ssh", "name: late.allow-ssh"),
                Replace("ssh.yaml", "order: 10\n", "order: 10\n  tier: late\n"),
            ],
            Refused,
        ),
        mistake("the policy moved into a tier that is called otherwise", ssh("order: 10\n", "order: 10\n  tier: platfrom\n"), Invalid),
        mistake("the policy staged, to try it, while it was in force", ssh("kind: Global", "kind: StagedGlobal"), Refused),
        mistake(
            "an egress without an end",
            [Replace("out.yaml", "order: 30", "order: 2000")],
            Harmless,
        ),
        mistake(
            "a deny of everything that goes out",
            [Write(
                "first.yaml",
                policy("first", "order: 1, selector: all(), types: [Egress], egress: [{action: Deny}]"),
            )],
            Harmless,
        ),
        mistake(
            "five thousand rules, and the last one denies everybody",
            [Write("huge.yaml", huge())],
            Refused,
        ),
    ]
}

/// Policies of a thousand rules each for many addresses, and at their end a rule for all.
fn huge() -> String {
    let rule = |number: u32| {
        let [high, low] = [number / 250, number % 250];
        let port = number % 60_000 + 1;
        format!(
            "{{action: Deny, protocol: TCP, source: {{nets: [10.77.{high}.{low}/32]}}, destination: {{ports: [{port}]}}}}"
        )
    };
    let many = (0..5).map(|part| {
        let rules: Vec<String> = (part * 1_000..(part + 1) * 1_000).map(rule).collect();
        let spec = format!(
            "order: 1, selector: all(), types: [Ingress], ingress: [{}]",
            rules.join(",\n  ")
        );
        policy(&format!("huge-{part}"), &spec)
    });
    let last = policy(
        "huge-last",
        "order: 2, selector: all(), types: [Ingress], ingress: [{action: Deny, protocol: TCP}]",
    );
    many.chain([last]).collect::<Vec<_>>().join("---\n")
}
