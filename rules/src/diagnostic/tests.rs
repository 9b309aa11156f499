use super::*;
use crate::source::FileId;

const TEXT: &str = "kind: Tier\nmetadata:\n  name: first\nspec:\n  ordre: 5\n";

fn files() -> (Files, FileId) {
    let mut files = Files::default();
    let file = files.add("tier.yaml", TEXT);
    (files, file)
}

fn span(file: FileId, part: &str) -> Span {
    let start = TEXT.find(part).unwrap();
    Span {
        file,
        start,
        end: start + part.len(),
    }
}

fn unknown(file: FileId) -> Diagnostic {
    Diagnostic {
        kind: Some("Tier".to_owned()),
        name: Some("first".to_owned()),
        path: Some("spec.ordre".to_owned()),
        ..Diagnostic::error("unknown-field", "unknown field `ordre`")
            .at(span(file, "ordre"), "not a field of a Tier")
            .help("did you mean `order`?")
    }
}

#[test]
fn renders_like_the_compiler() {
    let (files, file) = files();
    assert_eq!(
        unknown(file).render(&files, false),
        "\
error[unknown-field]: unknown field `ordre`
 --> tier.yaml:5:3
  |
5 |   ordre: 5
  |   ^^^^^ not a field of a Tier
  |
  = help: did you mean `order`?
  = note: in Tier `first`, at `spec.ordre`"
    );
    assert!(unknown(file).render(&files, true).contains("\u{1b}["));
}

#[test]
fn related_places_share_an_excerpt_when_near() {
    let (mut files, file) = files();
    let near = Diagnostic::error("duplicate-key", "the key is there twice")
        .at(span(file, "spec"), "again")
        .related(span(file, "metadata"), "first written here");
    assert_eq!(
        near.render(&files, false),
        "\
error[duplicate-key]: the key is there twice
 --> tier.yaml:4:1
  |
2 | metadata:
  | -------- first written here
3 |   name: first
4 | spec:
  | ^^^^ again"
    );
    let other = files.add("other.yaml", "x: 1\n");
    let far = Diagnostic::error("duplicate-object", "twice")
        .at(span(file, "first"), "again")
        .related(
            Span {
                file: other,
                start: 0,
                end: 1,
            },
            "first written here",
        );
    assert_eq!(
        far.render(&files, false),
        "\
error[duplicate-object]: twice
 --> tier.yaml:3:9
  |
3 |   name: first
  |         ^^^^^ again
  |
 ::: other.yaml:1:1
  |
1 | x: 1
  | - first written here"
    );
}

#[test]
fn odd_places_render_too() {
    let mut files = Files::default();
    let long = files.add("long.json", format!("{{\"a\": \"{}\"}}", "x".repeat(5_000)));
    let at =
        |file, start, end| Diagnostic::error("yaml-syntax", "broken").at(Span { file, start, end }, "here");
    assert_eq!(
        at(long, 4_000, 4_001).render(&files, false),
        "error[yaml-syntax]: broken\n--> long.json:1:4001"
    );
    let empty = files.add("empty.yaml", "");
    assert!(at(empty, 0, 0).render(&files, false).contains("empty.yaml:1:1"));
    let wide = files.add("wide.yaml", "é: \u{1b}[31m\r\nb: |\r\n  text\r\n");
    let text = at(wide, 1, 30).render(&files, false);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for start in 0..40 {
        for end in 0..40 {
            at(wide, start, end).render(&files, false);
        }
    }
}

#[test]
fn one_line_and_record_name_the_place() {
    let (files, file) = files();
    assert_eq!(
        unknown(file).one_line(&files),
        "tier.yaml:5:3: error[unknown-field]: unknown field `ordre`"
    );
    assert_eq!(
        serde_json::to_string(&unknown(file).record(&files)).unwrap(),
        "{\"severity\":\"error\",\"code\":\"unknown-field\",\"message\":\"unknown field `ordre`\",\
         \"file\":\"tier.yaml\",\"line\":5,\"column\":3,\"kind\":\"Tier\",\"name\":\"first\",\
         \"path\":\"spec.ordre\",\"help\":\"did you mean `order`?\"}"
    );
}

#[test]
fn the_collection_sorts_counts_and_has_a_limit() {
    let (files, file) = files();
    let mut all = Diagnostics::default();
    all.push(Diagnostic::warning("unused-rules", "later").at(span(file, "spec"), ""));
    assert!(!all.has_errors());
    all.push(Diagnostic::error("empty-list", "earlier").at(span(file, "kind"), ""));
    let all = all.sorted();
    assert!(all.has_errors());
    let codes: Vec<_> = all.iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(codes, ["empty-list", "unused-rules"]);

    let mut many = Diagnostics::default();
    for _ in 0..Diagnostics::LIMIT {
        many.push(Diagnostic::warning("unused-rules", "warning"));
    }
    many.push(Diagnostic::error("empty-list", "error"));
    assert_eq!((many.len(), many.omitted(), many.error_count()), (1_000, 1, 1));
    assert!(
        many.iter().any(|kept| kept.code == "empty-list"),
        "an error displaces a warning"
    );
    assert!(many.render(&files, false).ends_with("... and 1 more\n"));
    let mut sum = Diagnostics::default();
    sum.append(many.clone());
    sum.append(many);
    assert_eq!((sum.error_count(), sum.warning_count()), (2, 2_000));
}

#[test]
fn quoted_text_is_short_and_printable() {
    assert_eq!(quoted("a\u{1b}[0m\n"), "`a\\u{1b}[0m\\n`");
    assert_eq!(quoted(&"é".repeat(61)), format!("`{}...`", "é".repeat(60)));
}
