//! Every code that a finding may have: one table, from which `docs/lint.md` is printed.

use std::fmt::Write as _;

pub use crate::diagnostic::codes::Code;
use crate::diagnostic::codes::{code, find_among};

/// All codes, sorted.
pub static CODES: [Code; 24] = [
    code(
        "behind-net-in-calico",
        "a policy without an order, or with one above the safety net's, in the tier of a safety net: here the net is asked last \
         all the same, in Calico the policy would come behind it and never be asked",
        "give the policy an order below the net's if the file is shared with Calico",
    ),
    code(
        "broad-allow",
        "a rule lets anyone reach every port, and is no safety net",
        "name the ports, or who may come; to stay reachable meanwhile, write a safety net",
    ),
    code(
        "denies-everything",
        "a policy without Allow or Pass governs endpoints at which its tier allows nothing else either: everything but \
         failsafes is denied there",
        "add the rules that are meant to allow something, or leave it so if nothing is meant to pass",
    ),
    code(
        "duplicate-rule",
        "a rule says what an earlier rule of the same policy says",
        "remove one of the two",
    ),
    code(
        "empty-network-set",
        "a network set has no members",
        "add `nets`, or remove the set",
    ),
    code(
        "failsafe-wins",
        "a rule denies by name what a failsafe lets pass at host endpoints: the failsafe is asked first",
        "change `failsafes` in the configuration if the port is meant to be shut",
    ),
    code(
        "icmp-never-new",
        "a rule is about a type of ICMP that never opens a connection for conntrack: answers and errors pass with the \
         connection they belong to, and the rest is invalid, before any policy",
        "remove the rule; types that policy decides about are 8, 13, 15 and 17 of ICMP, 128 and 139 of ICMPv6",
    ),
    code(
        "never-matching-rule",
        "the conditions of a rule rule each other out: no packet matches",
        "correct the conditions, or remove the rule",
    ),
    code(
        "no-endpoints",
        "there are no endpoints, so nothing could be said about what policies select",
        "add HostEndpoints, or name the host with `--node` or `--config`",
    ),
    code(
        "no-forward-effect",
        "`applyOnForward`, `preDNAT` or `doNotTrack` in a policy that selects no host endpoint: only those have traffic that \
         goes through",
        "remove the field, or select host endpoints",
    ),
    code(
        "one-family-peer",
        "a selector of a rule stands for addresses of one family only, and the rule governs endpoints that have the other \
         family too",
        "add the missing addresses, or write `ipVersion` if one family is meant",
    ),
    code(
        "one-family-rule",
        "a rule with `nets` or `notNets` of one family is absent for the other, and no rule beside it is there for that",
        "write the rule once more with prefixes of the other family, or add `ipVersion` if one family is meant",
    ),
    code(
        "partly-unreachable-rule",
        "at some of the endpoints that a rule governs, no packet can reach it",
        "fine if the earlier policy is meant as the exception; else reorder, or select fewer endpoints",
    ),
    code(
        "pass-in-profile",
        "Pass in a profile goes to the next profile; there is no tier to skip",
        "write Allow or Deny, or leave the rule out",
    ),
    code(
        "peer-selects-nothing",
        "a selector of a rule selects nothing that has an address",
        "correct the selector, or label the endpoints and sets that are meant",
    ),
    code(
        "safety-net-cut-off",
        "packets are denied before they get to the safety net: by the end of an earlier tier, or by rules before it",
        "give the tier `defaultAction: Pass`, or move the safety net into the first tier that can deny",
    ),
    code(
        "safety-net-not-on-forward",
        "a policy with `applyOnForward` denies at the end of its tier, and the safety net is about the hosts themselves only: what goes through them is denied though the net stands",
        "write the safety net with `applyOnForward: true`; a resource of its name takes the place of the one that is added unwritten",
    ),
    code(
        "selects-nothing",
        "a policy selects no endpoint",
        "correct the selector, or label the endpoints that are meant",
    ),
    code(
        "shadowed-rule",
        "one earlier rule matches every packet that a rule matches, wherever the rule governs",
        "remove the rule if both do the same; else move it before the other one",
    ),
    code(
        "staged-delete-of-nothing",
        "a staged deletion names a policy that does not exist, and does nothing",
        "correct kind, name and namespace, or remove it",
    ),
    code(
        "stale-staged-policy",
        "a policy has been staged for longer than the limit",
        "look at `palisade staged`, then promote it or remove it",
    ),
    code(
        "unreachable-rule",
        "no packet can reach a rule, at any endpoint that it governs: several rules or the end of a tier take all before",
        "remove the rule, or move it before those that cover it",
    ),
    code(
        "unresolved-port-name",
        "a rule names a port that none of the endpoints it is about has for that protocol",
        "name the port in `ports` of those endpoints, or write its number",
    ),
    code(
        "untracked-one-way",
        "a `doNotTrack` policy allows packets and none allows their answers: untracked, they belong to no connection, and \
         are invalid",
        "add the rule of the other direction, with source and destination exchanged",
    ),
];

/// What is known of a code.
pub fn find(word: &str) -> Option<&'static Code> {
    find_among(&CODES, word)
}

/// All codes as a table of Markdown.
pub fn markdown() -> String {
    let mut text = "| code | what is found | what to do |\n|---|---|---|\n".to_owned();
    for Code { word, meaning, help } in &CODES {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{word}` | {meaning} | {help} |");
    }
    text
}
