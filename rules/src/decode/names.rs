//! What names may be made of: Kubernetes' rules, which Calico shares.

/// A DNS label of RFC 1123, lower case, at most 63 characters.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_any_label(text)
}

/// A DNS subdomain of RFC 1123, lower case, at most 253 characters.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_any_label)
}

/// A DNS subdomain of at most two labels.
pub(super) fn is_two_labels(text: &str) -> bool {
    is_subdomain(text) && text.matches('.').count() <= 1
}

/// A label key: an optional prefix that is a subdomain, a slash, and a name.
pub(super) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label_part(name),
        None => is_label_part(text),
    }
}

/// A label value: empty, or like the name in a label key.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_part(text)
}

/// A name of a rule: lower case letters, digits, `-` and `.`, a letter or digit at both ends, at most 63.
pub(super) fn is_rule_name(text: &str) -> bool {
    text.len() <= 63 && is_subdomain(text)
}

/// A name of a host: letters, digits, `-`, `_` and `.`, at most 253.
pub(super) fn is_node(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A name of an interface: 1 to 15 letters, digits, `-`, `_` and `.`.
pub(super) fn is_interface(text: &str) -> bool {
    text.len() <= 15 && is_node(text) && !matches!(text, "." | "..")
}

/// A name of a port (RFC 6335): at most 15 lower-case letters, digits and `-`, at least one letter.
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_any_label(text)
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// A name of a policy in a namespace: one or two labels, or any subdomain behind a prefix that tells what it was
/// copied from.
pub(super) fn is_namespaced_policy(text: &str) -> bool {
    let copied = ["knp.default.", "ossg.default."]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    is_two_labels(text) || (text.len() <= 253 && copied.is_some_and(is_subdomain))
}

/// A name of a systemd unit (systemd.unit(5)), whatever its type.
pub(super) fn is_unit(text: &str) -> bool {
    let inner =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    (1..=255).contains(&text.len()) && text.bytes().all(inner)
}

/// A path of a control group: names with one slash between them, none of them `.` or `..`.
pub(super) fn is_cgroup(text: &str) -> bool {
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..")
            && name.len() <= 255
            && !name.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    text.len() <= 4095 && text.split('/').all(is_name)
}

fn is_any_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label_part(text: &str) -> bool {
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = text.as_bytes();
    bytes.len() <= 63 && outer(bytes.first()) && outer(bytes.last()) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kubernetes() {
        let long = |n: usize| "a".repeat(n);
        let check = |is: fn(&str) -> bool, good: &[&str], bad: &[&str]| {
            for text in good {
                assert!(is(text), "{text:?}");
            }
            for text in bad {
                assert!(!is(text), "{text:?}");
            }
        };
        check(
            is_label,
            &["a", "0", "a-b", &long(63)],
            &["", "-a", "a-", "A", "a.b", "a_b", "é", &long(64)],
        );
        check(
            is_subdomain,
            &["a.b.c", "a", &long(253)],
            &["", "a..b", ".a", "a.", "a/b", &long(254)],
        );
        check(
            is_qualified,
            &["a", "App", "a_b.c-d", "example.com/App", &long(63)],
            &["", "-a", "a-", "a/b/c", "/a", "a/", "EX.com/a", "a b", &long(64)],
        );
        check(
            is_label_value,
            &["", "A", "1.2", "a_b", &long(63)],
            &["-", "a b", "a/b", &long(64)],
        );
        check(
            is_node,
            &["host", "Host_1.lan", &long(253)],
            &["", "a b", "a/b", &long(254)],
        );
        check(
            is_interface,
            &["eth0", "br-1.2_x", &long(15)],
            &["", "*", "eth0:1", "..", &long(16)],
        );
        check(
            is_port_name,
            &["http", "a1", "1a"],
            &["", "80", "HTTP", "a--b", "a_b", &long(16)],
        );
        check(is_rule_name, &["ssh", "a.b-c"], &["", "a b", "A", &long(64)]);
    }
}
