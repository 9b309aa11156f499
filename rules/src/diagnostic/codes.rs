//! Every code that a problem may have: a stable word for programs, what it means, and what is usually done about it.

/// A kind of problem, or of what lint finds.
#[derive(Debug)]
pub struct Code {
    /// The word.
    pub word: &'static str,
    /// What is wrong, in one line.
    pub meaning: &'static str,
    /// What to do about it, where the problem or finding itself does not say it better.
    pub help: &'static str,
}

pub(crate) const fn code(word: &'static str, meaning: &'static str, help: &'static str) -> Code {
    Code { word, meaning, help }
}

/// All codes, sorted.
pub static CODES: [Code; 59] = [
    code(
        "built-in-profile",
        "a profile that exists unwritten is written",
        "remove it",
    ),
    code(
        "built-in-tier",
        "a tier that exists unwritten is written with another order or action",
        "write the values it has, or remove it",
    ),
    code(
        "complex-key",
        "the key of a mapping is a list or a mapping",
        "write text as the key",
    ),
    code(
        "conflicting-fields",
        "two fields rule each other out",
        "remove one of the two",
    ),
    code(
        "duplicate-entry",
        "a list has an entry twice",
        "remove one of the two",
    ),
    code(
        "duplicate-key",
        "a mapping has a key twice",
        "remove one of the two",
    ),
    code(
        "duplicate-object",
        "two objects of one kind have the same name and namespace",
        "remove one of the two, or give it another name",
    ),
    code(
        "empty-list",
        "a list is empty where not given would mean `any`",
        "remove the field to match anything, or the rule to match nothing",
    ),
    code(
        "extra-document",
        "a configuration has more than one document",
        "remove the others",
    ),
    code(
        "icmp-without-protocol",
        "a rule has `icmp` and a protocol that is not ICMP",
        "add `protocol: ICMP` or `protocol: ICMPv6`",
    ),
    code(
        "invalid-address",
        "a value is not an IP address",
        "write an IPv4 or IPv6 address, without a prefix length",
    ),
    code(
        "invalid-annotation",
        "an annotation is not what its key says",
        "correct it, or remove it",
    ),
    code(
        "invalid-cgroup",
        "a value is not a path of a control group",
        "write the path below the root: `system.slice/nginx.service`",
    ),
    code(
        "invalid-endpoint",
        "a value is not the address of a collector",
        "write `http://`, its host and its port: `http://127.0.0.1:4318`",
    ),
    code(
        "invalid-failsafe",
        "a value is not a failsafe",
        "write `proto[:net]:port[-port]`: `tcp:22`",
    ),
    code(
        "invalid-interval",
        "a value is not an interval",
        "write a whole number and ms, s, m or h: `10s`",
    ),
    code(
        "invalid-label",
        "a key or a value is not one of a label",
        "use at most 63 letters, digits, `-`, `_` and `.`",
    ),
    code(
        "invalid-listen",
        "a value is not a loopback address with a port",
        "write `127.0.0.1:9757`",
    ),
    code(
        "invalid-name",
        "a name is not what its kind or field allows",
        "use the characters that the message names",
    ),
    code(
        "invalid-net",
        "a value is not a prefix, or not one that makes sense here",
        "write a prefix without host bits: `10.0.0.0/8`",
    ),
    code(
        "invalid-path",
        "a value is not an absolute path, or too long",
        "write the path from `/` on",
    ),
    code(
        "invalid-port",
        "a value is not a port or a range of ports",
        "write a number from 1 to 65535, or a range: `8000:8059`",
    ),
    code(
        "invalid-probe",
        "a probe is not one connection, and not one program with an absolute path",
        "write `tcp: \"db-1:5432\"` or `command: [/usr/bin/curl, -f, \"http://localhost/\"]`",
    ),
    code(
        "invalid-protocol",
        "a number is not that of a protocol",
        "write a number from 1 to 255",
    ),
    code(
        "invalid-size",
        "a value is not a size, or not one that makes sense here",
        "write a whole number and K, M or G: `100M`",
    ),
    code(
        "invalid-unit",
        "a value is not the name of a systemd unit that has processes",
        "write it with its type: `nginx.service`",
    ),
    code(
        "invalid-value",
        "a word is not one of those that its field allows",
        "write one of those that the message names",
    ),
    code(
        "match-values",
        "an expression of Kubernetes has values it must not have, or lacks them",
        "`In` and `NotIn` need values; the others have none",
    ),
    code(
        "merge-key",
        "a mapping has a merge key (`<<`)",
        "write the fields out",
    ),
    code(
        "missing-field",
        "a field that is needed is missing or empty",
        "add it",
    ),
    code(
        "mixed-families",
        "a rule needs IPv4 and IPv6 at once, and could never match",
        "write one rule for each IP version",
    ),
    code(
        "needs-apply-on-forward",
        "a policy has `preDNAT` or `doNotTrack` without `applyOnForward`",
        "add `applyOnForward: true`: what is decided so early is not yet known to be for the host itself",
    ),
    code(
        "no-identities",
        "a rule is about service accounts, and no WorkloadEndpoint runs as one",
        "select endpoints by their labels",
    ),
    code("not-utf8", "a file is not UTF-8", "save it as UTF-8"),
    code(
        "nul-byte",
        "a file has a NUL byte",
        "remove it: this is probably no text",
    ),
    code(
        "out-of-range",
        "a number is too small or too large",
        "write one from the range that the message names",
    ),
    code(
        "ports-without-protocol",
        "a rule has ports and no protocol that has them",
        "add `protocol: TCP`, `UDP` or `SCTP`",
    ),
    code(
        "reserved-label",
        "an object has a label that only workloads in a namespace may have, or a wrong one",
        "remove the label",
    ),
    code(
        "selector-global",
        "`global()` stands where it has no meaning",
        "use it in the `namespaceSelector` of a rule, alone",
    ),
    code(
        "selector-syntax",
        "a selector is not valid",
        "correct it at the place shown",
    ),
    code(
        "staged-delete",
        "a staged deletion has fields of a policy",
        "leave `stagedAction: Delete` and `tier` only",
    ),
    code(
        "too-deep",
        "values are nested too deeply",
        "write them flatter: no resource needs such depth",
    ),
    code(
        "too-large",
        "a file is too large, or has too many values",
        "split it",
    ),
    code("too-long", "a text is too long", "shorten it"),
    code(
        "too-many",
        "a list has too many entries",
        "split it; many addresses go into a GlobalNetworkSet",
    ),
    code(
        "too-many-aliases",
        "aliases repeat too much",
        "write the values out",
    ),
    code(
        "unexpected-namespace",
        "an object of a global kind has a namespace",
        "remove it",
    ),
    code(
        "unknown-api-version",
        "a kind does not exist in this group and version",
        "write the `apiVersion` that the message names",
    ),
    code(
        "unknown-field",
        "an object has a field that its kind does not have",
        "correct its name, or remove it",
    ),
    code(
        "unknown-kind",
        "there is no such kind",
        "correct it, or remove the object",
    ),
    code(
        "unknown-port",
        "a rule names a port that no endpoint has",
        "correct the name, or write the number",
    ),
    code(
        "unknown-profile",
        "an endpoint names a profile that does not exist",
        "correct the name, or write the profile",
    ),
    code(
        "unknown-tier",
        "a policy names a tier that does not exist",
        "correct the name, or write the tier",
    ),
    code(
        "unsupported",
        "a kind or field is known and cannot be enforced on a host",
        "remove it: left in, it would look like protection",
    ),
    code(
        "unsupported-tag",
        "a value has a tag of YAML that means nothing here",
        "remove the tag",
    ),
    code(
        "unused-rules",
        "a warning: rules stand in a direction that the policy does not govern",
        "add the direction to `types`, or remove the rules",
    ),
    code(
        "workload-name",
        "the name of a WorkloadEndpoint is not the one its fields make",
        "write the name that the message gives",
    ),
    code(
        "wrong-type",
        "a value is of another type than its field",
        "write what the message says was expected",
    ),
    code(
        "yaml-syntax",
        "a file is not valid YAML or JSON",
        "correct it at the place shown",
    ),
];

/// What is known of a code.
pub fn find(word: &str) -> Option<&'static Code> {
    find_among(&CODES, word)
}

/// The code of a word in a sorted table.
pub(crate) fn find_among(codes: &'static [Code], word: &str) -> Option<&'static Code> {
    let index = codes.binary_search_by_key(&word, |code| code.word).ok()?;
    Some(&codes[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_say_something() {
        assert!(CODES.is_sorted_by(|a, b| a.word < b.word));
        for code in &CODES {
            assert!(!code.meaning.is_empty() && !code.help.is_empty(), "{}", code.word);
            assert!(!code.meaning.contains(['\n', '|']) && !code.help.contains(['\n', '|']));
        }
        assert_eq!(find("wrong-type").unwrap().word, "wrong-type");
        assert!(find("wrong").is_none());
    }
}
