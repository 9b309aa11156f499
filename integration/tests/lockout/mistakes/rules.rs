//! In the rule that lets SSH in, and in the addresses that it names.

use crate::mistake::Edit::{Remove, Replace};
use crate::mistake::Expect::{Harmless, Invalid, Refused};
use crate::mistake::{Mistake, mistake};

pub(crate) fn all() -> Vec<Mistake> {
    let ssh = |from, to| [Replace("ssh.yaml", from, to)];
    let admins = |from, to| [Replace("admins.yaml", from, to)];
    vec![
        mistake("the port of SSH mistyped", ssh("2222", "222"), Refused),
        mistake(
            "the usual port of SSH, where nobody listens",
            ssh("2222", "22"),
            Refused,
        )
        .by_hangup(),
        mistake(
            "a range of ports that ends before SSH",
            ssh("[2222]", "['2200:2221']"),
            Refused,
        ),
        mistake(
            "a range of ports the wrong way round",
            ssh("[2222]", "['2230:2220']"),
            Invalid,
        ),
        mistake(
            "every port but SSH's (`notPorts`)",
            ssh("ports", "notPorts"),
            Refused,
        ),
        mistake(
            "the port at the source instead of the destination",
            ssh(
                "source: {selector: net == 'admins'}\n      destination: {ports: [2222]}",
                "source: {selector: net == 'admins', ports: [2222]}",
            ),
            Refused,
        ),
        mistake("UDP instead of TCP", ssh("TCP", "UDP"), Refused),
        mistake(
            "no protocol where there are ports",
            ssh("protocol: TCP", "ipVersion: 4"),
            Invalid,
        ),
        mistake("Deny instead of Allow", ssh("Allow", "Deny"), Refused),
        mistake("Pass instead of Allow", ssh("Allow", "Pass"), Refused),
        mistake("only a Log left of the rule", ssh("Allow", "Log"), Refused),
        mistake(
            "a label of the policy mistyped",
            ssh("role == 'server'", "role == 'sever'"),
            Refused,
        ),
        mistake(
            "an inverted selector of the policy",
            ssh("role == 'server'", "role != 'server'"),
            Refused,
        ),
        mistake(
            "an inverted selector of the source",
            ssh("net == 'admins'", "net != 'admins'"),
            Refused,
        ),
        mistake(
            "a label of the source mistyped",
            ssh("net == 'admins'", "net == 'admin'"),
            Refused,
        ),
        mistake(
            "a selector that does not parse",
            ssh("net == 'admins'", "net = 'admins'"),
            Invalid,
        ),
        mistake(
            "the address of the server as the source",
            ssh("{selector: net == 'admins'}", "{nets: [10.9.0.1/32]}"),
            Refused,
        ),
        mistake(
            "yesterday's address of the operator",
            ssh("{selector: net == 'admins'}", "{nets: [10.9.0.20/32]}"),
            Refused,
        ),
        mistake(
            "a prefix with host bits",
            ssh("{selector: net == 'admins'}", "{nets: [10.9.0.2/24]}"),
            Invalid,
        ),
        mistake(
            "IPv4 alone in the rule, and the operator comes by IPv6",
            ssh("TCP", "TCP\n      ipVersion: 4"),
            Refused,
        )
        .over_ipv6(),
        mistake(
            "IPv4 alone in the rule, and the operator comes by IPv4",
            ssh("TCP", "TCP\n      ipVersion: 4"),
            Harmless,
        ),
        mistake(
            "the network of the admins mistyped",
            admins("10.9.0.0/24", "10.90.0.0/24"),
            Refused,
        ),
        mistake(
            "IPv6 forgotten in the set of the admins",
            admins(", \"fd00:9::/64\"", ""),
            Refused,
        )
        .over_ipv6(),
        mistake(
            "the label of the set renamed",
            admins("net: admins", "net: operators"),
            Refused,
        ),
        mistake(
            "the set of the admins emptied",
            admins("[10.9.0.0/24, \"fd00:9::/64\"]", "[]"),
            Refused,
        ),
        mistake("the set of the admins deleted", [Remove("admins.yaml")], Refused).by_hangup(),
        mistake(
            "the policy for the wrong direction",
            ssh("[Ingress]", "[Egress]"),
            Refused,
        ),
        mistake(
            "its rules emptied",
            ssh(
                "ingress:\n    - action: Allow\n      protocol: TCP\n      source: {selector: net == 'admins'}\n      destination: {ports: [2222]}",
                "ingress: []",
            ),
            Refused,
        ),
    ]
}
