//! Staged, looked at, and then promoted; and the safety net taken away at the end of it all.

use super::{policy, tier};
use crate::mistake::Edit::{self, Remove, Replace, Write};
use crate::mistake::Expect::{Harmless, Refused};
use crate::mistake::{Mistake, mistake};
use crate::stand::GOOD;

/// The daemon adds the net.
const NET: &str = "safetyNet: true\n";

/// A net as it is written.
const WRITTEN: &str = "order: 100000, selector: all(), types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]";

pub(crate) fn all() -> Vec<Mistake> {
    let shut = "types: [Ingress], ingress: [{action: Deny}]";
    let web = "{action: Allow, protocol: TCP, destination: {ports: [80, 443]}}";
    let all = |name: &str, spec: &str| {
        [staged(&policy(
            name,
            &format!("order: 1, selector: all(), {spec}"),
        ))]
    };
    let ssh = |from: &str, to: &str| [staged(&GOOD[4].1.replace(from, to))];
    let early = || {
        let spec = format!("tier: early, selector: all(), types: [Ingress], ingress: [{web}]");
        [staged(
            &(tier("early", "order: 1") + &policy("early.first", &spec)),
        )]
    };
    vec![
        mistake("a staged deny of everything", all("shut", shut), Refused).promoted("shut"),
        mistake(
            "a staged policy that lets the web in, and denies the rest too early",
            all("web-only", &format!("types: [Ingress], ingress: [{web}, {{action: Deny}}]")),
            Refused,
        )
        .promoted("web-only"),
        mistake(
            "a staged untracked deny, which cuts what is established",
            all("raw", &format!("doNotTrack: true, applyOnForward: true, {shut}")),
            Refused,
        )
        .promoted("raw"),
        mistake("a staged replacement with the port mistyped", ssh("2222", "2221"), Refused).promoted("allow-ssh"),
        mistake(
            "a staged replacement for another network",
            ssh("{selector: net == 'admins'}", "{nets: [10.8.0.0/16]}"),
            Refused,
        )
        .promoted("--all"),
        mistake(
            "the staged deletion of what lets SSH in",
            [staged(
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: allow-ssh}\nspec: {stagedAction: Delete}\n",
            )],
            Refused,
        )
        .promoted("allow-ssh"),
        mistake("a staged policy that is the first of an early tier", early(), Refused).promoted("early.first"),
        mistake("the same while the safety net stands, which is asked too late", early(), Refused)
            .configured(NET)
            .promoted("early.first"),
        mistake(
            "a staged allow of more than before",
            all("more", "types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}]"),
            Harmless,
        )
        .promoted("more"),
        mistake("the safety net removed while it alone lets SSH in", [Remove("ssh.yaml")], Refused)
            .configured(NET)
            .by_safety_net(),
        mistake(
            "the safety net removed, and the rule for SSH is for another port",
            [Replace("ssh.yaml", "2222", "2200")],
            Refused,
        )
        .configured(NET)
        .by_safety_net(),
        mistake(
            "a written safety net removed, which alone lets SSH in",
            [Remove("ssh.yaml"), Write("net.yaml", policy("net", WRITTEN))],
            Refused,
        )
        .by_safety_net(),
        mistake("the safety net removed when nothing needs it", [], Harmless)
            .configured(NET)
            .by_safety_net(),
    ]
}

/// The policy of this text, staged.
fn staged(text: &str) -> Edit {
    Write("staged.yaml", text.replace("kind: Global", "kind: StagedGlobal"))
}
