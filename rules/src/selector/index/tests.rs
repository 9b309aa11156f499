use proptest::prelude::*;

use super::super::tests::{any_labels, any_selector, labels};
use super::*;

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

fn one_by_one(objects: &[Labels], selector: &Selector) -> Vec<usize> {
    (0..objects.len())
        .filter(|&object| selector.matches(&objects[object]))
        .collect()
}

#[test]
fn finds_what_matches() {
    let objects = [
        labels(&[("app", "web"), ("env", "prod")]),
        labels(&[("app", "web"), ("env", "dev")]),
        labels(&[("app", "webhook"), ("env", "prod")]),
        labels(&[("app", "db"), ("env", "prod")]),
        labels(&[("apple", "web")]),
        labels(&[]),
    ];
    let index = LabelIndex::new(&objects);
    for (text, found) in [
        ("all()", &[0, 1, 2, 3, 4, 5][..]),
        ("!all()", &[]),
        ("app == 'web'", &[0, 1]),
        ("app == 'we'", &[]),
        ("app != 'web'", &[2, 3, 4, 5]),
        ("!app != 'web'", &[0, 1]),
        ("app in {'db', 'web', 'gone'}", &[0, 1, 3]),
        ("app in {}", &[]),
        ("app not in {'db', 'web'}", &[2, 4, 5]),
        ("!app not in {'db', 'web'}", &[0, 1, 3]),
        ("has(app)", &[0, 1, 2, 3]),
        ("!has(app)", &[4, 5]),
        ("app starts with 'web'", &[0, 1, 2]),
        ("app starts with ''", &[0, 1, 2, 3]),
        ("!app starts with 'web'", &[3, 4, 5]),
        ("app ends with 'b'", &[0, 1, 3]),
        ("app contains 'ho'", &[2]),
        ("app == 'web' && env in {'prod', 'test'}", &[0]),
        ("app == 'web' && env != 'prod'", &[1]),
        ("app != 'web' && env != 'prod'", &[4, 5]),
        ("app == 'db' || env == 'dev'", &[1, 3]),
        ("app == 'db' || env != 'prod'", &[1, 3, 4, 5]),
        ("app == 'web' || app == 'web' || env == 'prod'", &[0, 1, 2, 3]),
        ("!(app != 'web' || env != 'prod')", &[0]),
        ("!(app != 'db' && env != 'dev')", &[1, 3]),
    ] {
        assert_eq!(index.matching(&selector(text)), found, "{text}");
    }
}

#[test]
fn nothing_is_found_among_nothing() {
    let index = LabelIndex::new([]);
    assert_eq!(index.matching(&Selector::all()), [0; 0]);
    assert_eq!(index.matching(&selector("app == 'web'")), [0; 0]);
}

/// What makes the index worth its memory: how many objects are looked at.
#[test]
fn only_what_may_match_is_looked_at() {
    let objects: Vec<Labels> = (0..1_000)
        .map(|n| {
            let (app, env) = (format!("web-{}", n % 100), ["prod", "dev"][n % 2]);
            labels(&[("app", &app), ("env", env)])
        })
        .collect();
    let index = LabelIndex::new(&objects);
    for (text, looked_at) in [
        ("app == 'web-17'", Some(10)),
        ("env in {'prod', 'test'}", Some(500)),
        ("env in {'prod', 'test'} && app == 'web-17' && !has(x)", Some(10)),
        ("app == 'web-17' || app starts with 'web-9'", Some(120)),
        ("app == 'web-17' && (has(x) || !has(y))", Some(10)),
        ("!(app != 'web-17' || env != 'dev')", Some(10)),
        ("app == 'nothing has this'", Some(0)),
        ("has(app)", None),
        ("app != 'web-17'", None),
        ("env == 'prod' || app != 'web-17'", None),
        ("env == 'prod' || env == 'dev'", None),
    ] {
        let candidates = index.candidates(&selector(text).0, true);
        assert_eq!(candidates.as_deref().map(size), looked_at, "{text}");
    }
}

proptest! {
    #[test]
    fn finds_what_asking_one_by_one_finds(
        text in any_selector(),
        objects in prop::collection::vec(any_labels(), 0..12),
    ) {
        let selector = selector(&text);
        prop_assert_eq!(LabelIndex::new(&objects).matching(&selector), one_by_one(&objects, &selector));
        let opposite = Selector::parse(&format!("!({text})")).unwrap();
        prop_assert_eq!(LabelIndex::new(&objects).matching(&opposite), one_by_one(&objects, &opposite));
    }
}
