use proptest::prelude::*;

use super::*;
use crate::resource::Labels;
use crate::selector::MAX_DEPTH;
use crate::selector::tests::{any_labels, any_selector};

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

#[test]
fn a_conjunction_is_one_group_without_repetition() {
    for (left, right, both) in [
        ("a == 'b'", "has(c)", r#"(a == "b" && has(c))"#),
        ("all()", "has(c)", "has(c)"),
        ("has(c)", "all()", "has(c)"),
        ("", "", "all()"),
        ("has(a) && has(b)", "has(c)", "(has(a) && has(b) && has(c))"),
        (
            "has(a) && has(b)",
            "has(b) && has(c)",
            "(has(a) && has(b) && has(c))",
        ),
        ("has(a) || has(b)", "has(c)", "((has(a) || has(b)) && has(c))"),
        ("has(c)", "has(c)", "has(c)"),
        (
            "has(a) && (has(b) && has(c))",
            "has(d)",
            "(has(a) && has(b) && has(c) && has(d))",
        ),
        (
            "has(a) && (has(b) && has(c))",
            "has(c)",
            "(has(a) && (has(b) && has(c)))",
        ),
        (
            "!has(a)",
            "!(has(b) && has(c))",
            "(!has(a) && !(has(b) && has(c)))",
        ),
    ] {
        assert_eq!(selector(left).and(&selector(right)).to_string(), both);
    }
}

#[test]
fn of_a_namespace() {
    for (written, composed) in [
        ("all()", "has(member)"),
        ("a == 'b'", r#"pcns.a == "b""#),
        ("!has(a)", "!has(pcns.a)"),
        (
            "a in {'x'} || !(b not in {'y'} && all())",
            r#"(pcns.a in {"x"} || !(pcns.b not in {"y"} && has(member)))"#,
        ),
        ("a starts with 'x'", r#"pcns.a starts with "x""#),
    ] {
        assert_eq!(
            selector(written).of_group("pcns.", "member").to_string(),
            composed
        );
    }
    let long = |length| selector(&format!("has({})", "a".repeat(length))).of_group("pcns.", "m");
    assert!(long(508).has_long_label());
    assert!(!long(507).has_long_label());
}

#[test]
fn what_no_namespace_selector_says() {
    for text in [
        "all()",
        "has(a)",
        "has(pcns.)",
        "has(pcns.a) && has(b)",
        "!has(pcsa.a)",
    ] {
        assert_eq!(selector(text).within_group("pcns.", "member"), None, "{text}");
    }
}

#[test]
fn depth_counts_the_parentheses_of_the_text() {
    for (text, depth) in [
        ("a == '('", 0),
        ("!has(a)", 0),
        ("has(a) && has(b)", 1),
        ("has(a) && !(has(b) || has(c) && has(d))", 3),
    ] {
        assert_eq!(selector(text).depth(), depth, "{text}");
    }
}

#[test]
fn parts_read_back() {
    for (made, text) in [
        (Selector::has("a"), "has(a)"),
        (Selector::equals("a", "b"), r#"a == "b""#),
        (
            Selector::one_of("a", ["c", "b"].map(str::to_owned)),
            r#"a in {"b", "c"}"#,
        ),
        (Selector::none_of("a", ["b".to_owned()]), r#"a not in {"b"}"#),
        (Selector::has("a").negated(), "!has(a)"),
        (Selector::has("a").negated().negated(), "has(a)"),
    ] {
        assert_eq!(made.to_string(), text);
        assert_eq!(selector(text), made);
    }
}

proptest! {
    #[test]
    fn a_conjunction_means_both(left in any_selector(), right in any_selector(), labels in any_labels()) {
        let (left, right) = (selector(&left), selector(&right));
        let both = left.and(&right);
        prop_assert_eq!(both.matches(&labels), left.matches(&labels) && right.matches(&labels));
        prop_assert_eq!(both.and(&right), both.clone());
        prop_assert_eq!(both.and(&left), both.clone());
        prop_assert!(both.depth() <= MAX_DEPTH);
        prop_assert_eq!(Selector::parse(&both.to_string()).unwrap(), both);
    }

    #[test]
    fn of_a_namespace_asks_the_namespace(written in any_selector(), namespace in any_labels()) {
        let written = selector(&written);
        let mut inherited: Labels = namespace
            .iter()
            .map(|(key, value)| (format!("pcns.{key}"), value.clone()))
            .collect();
        inherited.insert("member".to_owned(), String::new());
        inherited.extend(namespace.clone());
        prop_assert_eq!(
            written.of_group("pcns.", "member").within_group("pcns.", "member"),
            Some(written.clone())
        );
        prop_assert_eq!(
            written.of_group("pcns.", "member").matches(&inherited),
            written.matches(&namespace)
        );
    }
}
