//! In palisade.yaml.

use super::policy;
use crate::mistake::Edit::{Append, Configure, Write};
use crate::mistake::Expect::{Harmless, Invalid, Refused};
use crate::mistake::{Edit, Mistake, mistake};

/// No failsafe and no policy for the port 22.
const NET: &str = "safetyNet: true\n";

pub(crate) fn all() -> Vec<Mistake> {
    let unlisted = || Edit::Replace("ssh.yaml", "2222", "2200");
    vec![
        mistake(
            "the failsafe of SSH left out of a list",
            [Append("failsafes: {inbound: ['udp:68', 'udp:546']}\n")],
            Refused,
        )
        .at_port_22(),
        mistake("the failsafe of SSH with another port", [Append("failsafes: {inbound: ['tcp:2200']}\n")], Refused)
            .at_port_22()
            .by_hangup(),
        mistake(
            "the failsafe of SSH for a network that the operator is not in",
            [Append("failsafes: {inbound: ['tcp:10.8.0.0/16:22']}\n")],
            Refused,
        )
        .at_port_22(),
        mistake("no failsafes at all", [Append("failsafes: {preset: none}\n")], Refused).at_port_22(),
        mistake(
            "no failsafes at all, neighbour discovery among them, where the operator comes by IPv6",
            [Append("failsafes: {preset: none}\n")],
            Refused,
        )
        .over_ipv6(),
        mistake("no failsafes at all, where a policy lets SSH in", [Append("failsafes: {preset: none}\n")], Harmless),
        mistake("a failsafe that is none", [Append("failsafes: {inbound: [ssh]}\n")], Invalid),
        mistake(
            "a deny of everything, where a failsafe holds SSH open",
            [Write(
                "first.yaml",
                policy("first", "order: 1, selector: all(), types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]"),
            )],
            Harmless,
        )
        .at_port_22(),
        mistake(
            "a deny of ICMPv6, where the operator comes by IPv6",
            [Write(
                "first.yaml",
                policy("first", "order: 1, selector: all(), types: [Ingress, Egress], ingress: [{action: Deny, protocol: ICMPv6}], egress: [{action: Deny, protocol: ICMPv6}]"),
            )],
            Harmless,
        )
        .over_ipv6(),
        mistake("SSH no longer let in, while the safety net stands", [unlisted()], Harmless).configured(NET),
        mistake(
            "SSH no longer let in, and the safety net taken away with it",
            [unlisted(), Configure("safetyNet: true", "safetyNet: false")],
            Refused,
        )
        .configured(NET),
        mistake("the name of the node changed", [Configure("node: server", "node: backend")], Refused),
        mistake("a directory of policies that does not exist", [Configure("/policy.d", "/policies")], Invalid),
        mistake("a key of the configuration mistyped", [Append("failsafe: {preset: none}\n")], Invalid),
        mistake("a configuration that is no YAML", [Append("failsafes: {preset: none\n")], Invalid),
        mistake("denied packets answered instead of dropped", [Append("denyAction: reject\n")], Harmless),
        mistake("loopback filtered", [Append("filterLoopback: true\n")], Harmless),
    ]
}
