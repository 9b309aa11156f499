//! In what comes before conntrack, and before the destination is translated.

use super::policy;
use crate::mistake::Edit::Write;
use crate::mistake::Expect::{Harmless, Invalid, Refused};
use crate::mistake::{Mistake, mistake};

pub(crate) fn all() -> Vec<Mistake> {
    let raw = |spec: &str| {
        [Write(
            "raw.yaml",
            policy("raw", &format!("selector: all(), order: 1, {spec}")),
        )]
    };
    let untracked = "doNotTrack: true, applyOnForward: true";
    let translated = "preDNAT: true, applyOnForward: true";
    vec![
        mistake(
            "an untracked deny of everything, which cuts what is established",
            raw(&format!("{untracked}, types: [Ingress], ingress: [{{action: Deny}}]")),
            Refused,
        ),
        mistake(
            "an untracked deny of the answers alone",
            raw(&format!("{untracked}, types: [Egress], egress: [{{action: Deny, protocol: TCP, source: {{ports: [2222]}}}}]")),
            Refused,
        ),
        mistake(
            "SSH untracked on its way in, and its answers forgotten",
            raw(&format!("{untracked}, types: [Ingress], ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [2222]}}}}]")),
            Refused,
        ),
        mistake(
            "an untracked deny, where a failsafe holds SSH open",
            raw(&format!("{untracked}, types: [Ingress], ingress: [{{action: Deny}}]")),
            Harmless,
        )
        .at_port_22(),
        mistake(
            "an untracked policy that is not for forwarded packets",
            raw("doNotTrack: true, types: [Ingress], ingress: [{action: Deny}]"),
            Invalid,
        ),
        mistake(
            "a deny of everything before DNAT",
            raw(&format!("{translated}, types: [Ingress], ingress: [{{action: Deny}}]")),
            Refused,
        ),
        mistake(
            "a deny before DNAT of all but the web",
            raw(&format!("{translated}, types: [Ingress], ingress: [{{action: Deny, protocol: TCP, destination: {{notPorts: [80, 443]}}}}]")),
            Refused,
        )
        .by_hangup(),
    ]
}
