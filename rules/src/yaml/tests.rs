use proptest::prelude::*;

use super::*;
use crate::diagnostic::Diagnostics;
use crate::source::Files;

fn read(text: &str) -> (Vec<Node>, Vec<String>) {
    let mut files = Files::default();
    let file = files.add("t", text);
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::new(&files, file);
    let mut nodes = Vec::new();
    while let Some(node) = documents.next(&mut diagnostics) {
        nodes.push(node);
    }
    let problems = diagnostics.iter().map(|problem| problem.one_line(&files));
    (nodes, problems.collect())
}

fn one(text: &str) -> Node {
    let (mut nodes, problems) = read(text);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    nodes.remove(0)
}

/// The tree without places, plain text bare and quoted text in quotes.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(scalar) if scalar.plain => scalar.text.clone(),
        Value::Scalar(scalar) => format!("{:?}", scalar.text),
        Value::Sequence(items) => {
            let items: Vec<_> = items.iter().map(shape).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{}:{}", shape(key), shape(value)))
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
    }
}

#[test]
fn trees() {
    for (text, expected) in [
        ("a: b\nc:\n- d\n- 'e'\n", "{a:b c:[d \"e\"]}"),
        ("a:\nb: ~\nc: null\nd: ''\n", "{a:null b:null c:null d:\"\"}"),
        (
            "{\n\t\"a\": 1,\n\t\"b\": [true, null]\n}\n",
            "{\"a\":1 \"b\":[true null]}",
        ),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{a:\"x\\ny\\n\" b:\"x y\"}"),
        ("ports: [8000:8059, 80]", "{ports:[8000:8059 80]}"),
        (
            "a: !!str 5\nb: !!seq [1]\nc: !!map {d: 1}",
            "{a:\"5\" b:[1] c:{d:1}}",
        ),
        (
            "a: &x {b: [1]}\nc: *x\nd: [*x, *x]",
            "{a:{b:[1]} c:{b:[1]} d:[{b:[1]} {b:[1]}]}",
        ),
        ("\u{feff}a: b\r\nc: d\r\n", "{a:b c:d}"),
        ("8080: a\ntrue: b\n", "{8080:a true:b}"),
        ("- - - x\n", "[[[x]]]"),
    ] {
        assert_eq!(shape(&one(text)), expected, "{text:?}");
    }
}

#[test]
fn documents_come_one_by_one() {
    for (text, count) in [
        ("", 0),
        ("# only a comment\n", 0),
        ("a: 1\n---\nb: 2\n", 2),
        ("---\n---\na: 1\n", 2),
        ("a: 1\n...\nb: 2\n", 2),
    ] {
        assert_eq!(read(text).0.len(), count, "{text:?}");
    }
    // An anchor ends with its document.
    assert!(read("a: &x 1\n---\nb: *x\n").1[0].starts_with("t:3:4: error[yaml-syntax]"));
    // What comes before a syntax error is still there.
    let (nodes, problems) = read("a: 1\n---\nb: [1\n");
    assert_eq!((nodes.len(), problems.len()), (1, 1));
}

#[test]
fn every_node_knows_its_place() {
    let text = "é: 'ü'\nlist:\n  - one\n  - {k: [v]}\n\n# end\nlast:\n";
    let root = one(text);
    let slice = |node: &Node| &text[node.span.start..node.span.end];
    assert_eq!(slice(root.get("é").unwrap()), "'ü'");
    let Value::Sequence(items) = &root.get("list").unwrap().value else {
        panic!("not a list")
    };
    assert_eq!(slice(&items[0]), "one");
    assert_eq!(slice(&items[1]), "{k: [v]}");
    assert_eq!(slice(root.get("list").unwrap()), "one\n  - {k: [v]}");
    assert_eq!(slice(&root), text.trim_end().trim_end_matches(':'));

    let place = |part: &str| {
        let start = text.find(part).unwrap();
        Span {
            start,
            end: start + part.len(),
            ..root.span
        }
    };
    assert_eq!(root.path_to(place("v]")), "list[1].k");
    assert_eq!(root.path_to(place("v")), "list[1].k[0]");
    assert_eq!(root.path_to(place("one")), "list[0]");
    assert_eq!(root.path_to(place("last")), "last");
    assert_eq!(root.path_to(place("# end")), "");
}

#[test]
fn refusals_name_place_and_reason() {
    let deep = format!("{}x", "- ".repeat(MAX_DEPTH + 1));
    let flow = "[".repeat(100_000);
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        text + &format!("a{n}: &a{n} [*a{before}, *a{before}]\n")
    });
    let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a, ".repeat(1_000));
    for (text, code, place, words) in [
        ("a: [1\nb: 2\n", "yaml-syntax", "2:2", "':'"),
        ("a:\n\tb: c\n", "yaml-syntax", "2:2", "tabs disallowed"),
        ("a: 'x\n", "yaml-syntax", "1:4", "unexpected end of stream"),
        ("a: @x\n", "yaml-syntax", "1:4", "unexpected character"),
        ("a: *x\n", "yaml-syntax", "1:4", "unknown anchor"),
        ("a: &x [*x]\n", "yaml-syntax", "1:8", "inside the value"),
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", "3:1", "`a` is there twice"),
        ("{\"a\": 1, \"a\": 2}", "duplicate-key", "1:10", "twice"),
        ("a: !secret x\n", "unsupported-tag", "1:4", "`!secret`"),
        ("a: !!binary x\n", "unsupported-tag", "1:4", "`!!binary`"),
        ("a: !!str [x]\n", "unsupported-tag", "1:4", "`!!str`"),
        ("b: &b {}\n<<: *b\n", "merge-key", "2:1", "merge keys"),
        ("? [a]\n: b\n", "complex-key", "1:3", "a list cannot be a key"),
        (deep.as_str(), "too-deep", "1:129", "64 deep"),
        (flow.as_str(), "too-deep", "1:", "64 deep"),
        (bomb.as_str(), "too-many-aliases", "", "repeat more than"),
        (wide.as_str(), "too-many-aliases", "", "repeat more than"),
        ("a: x\0y\n", "yaml-syntax", "1:5", "unprintable"),
    ] {
        let shown: String = text.chars().take(40).collect();
        let problems = read(text).1;
        assert_eq!(problems.len(), 1, "{shown:?}: {problems:?}");
        let expected = format!("t:{place}");
        assert!(problems[0].starts_with(&expected), "{shown:?}: {problems:?}");
        assert!(
            problems[0].contains(&format!("error[{code}]: ")),
            "{shown:?}: {problems:?}"
        );
        assert!(problems[0].contains(words), "{shown:?}: {problems:?}");
    }
}

#[test]
fn the_number_of_values_is_bounded() {
    let mut files = Files::default();
    let file = files.add("t", "- 1\n".repeat(20));
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::new(&files, file);
    documents.max_nodes = 10;
    assert_eq!(documents.next(&mut diagnostics), None);
    assert!(documents.is_broken());
    let problem = diagnostics.iter().next().unwrap().one_line(&files);
    assert_eq!(
        problem,
        "t:10:3: error[too-large]: the file holds more than 10 values"
    );
}

#[test]
fn bytes_that_are_not_text() {
    assert_eq!(text(b"a: b\n"), Ok("a: b\n"));
    assert_eq!(text(b"a\n\xff"), Err(NotText::Utf8 { offset: 2, line: 2 }));
    assert_eq!(text(b"a\n\0"), Err(NotText::Nul { offset: 2, line: 2 }));
    let large = vec![b'a'; MAX_BYTES + 1];
    assert_eq!(text(&large), Err(NotText::TooLarge { bytes: MAX_BYTES + 1 }));

    let mut files = Files::default();
    assert!(add(&mut files, "good", b"a: b\n").is_ok());
    let shown = |files: &mut Files, bytes: &[u8]| {
        let problem = add(files, "bad.yaml", bytes).unwrap_err();
        problem.render(files, false)
    };
    assert_eq!(
        shown(&mut files, b"a: b\nc: caf\xe9\n"),
        "\
error[not-utf8]: line 2 holds a byte that is not UTF-8: save the file as UTF-8
 --> bad.yaml:2:7
  |
2 | c: caf\u{fffd}
  |       ^ from here"
    );
    assert!(shown(&mut files, b"a\0").contains("bad.yaml:1:2"));
    assert!(shown(&mut files, &large).contains("split it"));
}

proptest! {
    #[test]
    fn any_text_gives_trees_or_problems(text in "\\PC{0,80}|([-a:? \\[\\]{},&*!|>'\"#%\n\t~<é]{0,60})") {
        let (nodes, _) = read(&text);
        for node in &nodes {
            check_spans(node, &text);
        }
    }
}

fn check_spans(node: &Node, text: &str) {
    assert!(
        text.get(node.span.start..node.span.end).is_some(),
        "{node:?} in {text:?}"
    );
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| check_spans(item, text)),
        Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            check_spans(key, text);
            check_spans(value, text);
        }),
        Value::Null | Value::Scalar(_) => {}
    }
}
