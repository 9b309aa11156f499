use proptest::prelude::*;
use proptest::sample::select;

use super::*;

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn canonical(text: &str) -> String {
    Selector::parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .to_string()
}

/// The error as a person sees it: the offending text between arrows, then the message and the help.
fn refusal(text: &str) -> String {
    let error = match Selector::parse(text) {
        Ok(selector) => panic!("{text:?} was read as {selector}"),
        Err(error) => error,
    };
    let (start, end) = (error.span.start, error.span.end);
    let help = error.help.map(|help| format!("\n  {help}")).unwrap_or_default();
    format!(
        "{}>{}<{}\n  {}{help}",
        &text[..start],
        &text[start..end],
        &text[end..],
        error.message
    )
}

#[test]
fn matching() {
    type Case<'a> = (
        &'a str,
        &'a [&'a [(&'a str, &'a str)]],
        &'a [&'a [(&'a str, &'a str)]],
    );
    let cases: &[Case<'_>] = &[
        // selector, labels it matches, labels it does not
        ("", &[&[], &[("a", "b")]], &[]),
        (" \t ", &[&[], &[("a", "b")]], &[]),
        ("all()", &[&[], &[("a", "b")]], &[]),
        ("all( \t)", &[&[]], &[]),
        ("global()", &[&[], &[("a", "b")]], &[]),
        (
            "a == 'b'",
            &[&[("a", "b")], &[("a", "b"), ("c", "d")]],
            &[&[], &[("a", "B")], &[("A", "b")]],
        ),
        ("a != 'b'", &[&[], &[("a", "c")]], &[&[("a", "b")]]),
        (
            "a in {'b', \"c\"}",
            &[&[("a", "b")], &[("a", "c")]],
            &[&[], &[("a", "")]],
        ),
        ("a in {'b',}", &[&[("a", "b")]], &[&[]]),
        ("a in {}", &[], &[&[], &[("a", "")]]),
        ("a not in {'b'}", &[&[], &[("a", "c")]], &[&[("a", "b")]]),
        ("a notin {'b'}", &[&[]], &[&[("a", "b")]]),
        ("a not in {}", &[&[], &[("a", "")]], &[]),
        ("!a in {'b'}", &[&[], &[("a", "c")]], &[&[("a", "b")]]),
        ("has(a)", &[&[("a", "")]], &[&[], &[("b", "a")]]),
        ("has( a\t)", &[&[("a", "")]], &[&[]]),
        ("!has(a)", &[&[]], &[&[("a", "")]]),
        ("has(a) && a != 'b'", &[&[("a", "c")]], &[&[], &[("a", "b")]]),
        (
            "a contains 'ell'",
            &[&[("a", "hello")]],
            &[&[], &[("a", "hullo")]],
        ),
        ("a contains\"x\"", &[&[("a", "axb")]], &[&[]]),
        ("a contains ''", &[&[("a", "")]], &[&[]]),
        ("a starts with ''", &[&[("a", "x")]], &[&[]]),
        (
            "a starts with 'he'",
            &[&[("a", "hello")]],
            &[&[("a", "she")], &[]],
        ),
        ("a startswith 'he'", &[&[("a", "hello")]], &[&[]]),
        (
            "a ends \t with 'lo'",
            &[&[("a", "hello")]],
            &[&[("a", "lot")], &[]],
        ),
        ("a endswith'lo'", &[&[("a", "hello")]], &[&[]]),
        // Precedence: ! binds to the whole comparison, && before ||.
        ("!a == 'b'", &[&[], &[("a", "c")]], &[&[("a", "b")]]),
        (
            "!a == 'b' || c == 'd'",
            &[&[("a", "b"), ("c", "d")]],
            &[&[("a", "b")]],
        ),
        ("!a != 'b'", &[&[("a", "b")]], &[&[]]),
        ("!!has(a)", &[&[("a", "")]], &[&[]]),
        ("! !!has(a)", &[&[]], &[&[("a", "")]]),
        (
            "has(a) || has(b) && has(c)",
            &[&[("a", "")], &[("b", ""), ("c", "")]],
            &[&[("b", "")]],
        ),
        (
            "(has(a) || has(b)) && has(c)",
            &[&[("a", ""), ("c", "")]],
            &[&[("a", "")], &[("c", "")]],
        ),
        (
            "!(has(b) || !has(a))",
            &[&[("a", "")]],
            &[&[], &[("a", ""), ("b", "")]],
        ),
        // Words are operators only behind a label, and calls only with their parenthesis.
        ("in in {'in'}", &[&[("in", "in")]], &[&[]]),
        (
            "not not in {'x'} && contains contains 'y'",
            &[&[("contains", "y")]],
            &[&[("not", "x")]],
        ),
        ("has == 'x' && has(has)", &[&[("has", "x")]], &[&[("has", "y")]]),
        ("all == 'x' || has(in)", &[&[("all", "x")], &[("in", "")]], &[&[]]),
        ("a=='b'&&c!='d'", &[&[("a", "b")]], &[&[("a", "b"), ("c", "d")]]),
        (
            "projectcalico.org/a_b-c.9 == '1'",
            &[&[("projectcalico.org/a_b-c.9", "1")]],
            &[&[]],
        ),
        (
            "a == '\"' || a == \"'\"",
            &[&[("a", "\"")], &[("a", "'")]],
            &[&[("a", "")]],
        ),
        ("a == 'x\ny\\'", &[&[("a", "x\ny\\")]], &[&[]]),
        ("a == 'é“'", &[&[("a", "é“")]], &[&[]]),
    ];
    for (text, matching, others) in cases {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for pairs in *matching {
            assert!(selector.matches(&labels(pairs)), "{text} must match {pairs:?}");
        }
        for pairs in *others {
            assert!(
                !selector.matches(&labels(pairs)),
                "{text} must not match {pairs:?}"
            );
        }
    }
}

#[test]
fn canonical_text() {
    for (text, expected) in [
        ("", "all()"),
        (" (all() )", "all()"),
        ("global( )", "global()"),
        ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
        ("! (a == \"b\"&&! c != \"d\")", "!(a == \"b\" && !c != \"d\")"),
        ("a == 'b'", "a == \"b\""),
        ("a == \"'\"", "a == \"'\""),
        ("a=='\"'", "a == '\"'"),
        (
            "a startswith 'x' || a endswith 'y'",
            "(a starts with \"x\" || a ends with \"y\")",
        ),
        (
            "a notin {'z', \"'\", 'x', '\"', 'z',}",
            "a not in {'\"', \"'\", \"x\", \"z\"}",
        ),
        ("a in {}", "a in {}"),
        ("has(a) || has(b) && has(c)", "(has(a) || (has(b) && has(c)))"),
        ("(has(a) && has(b)) && has(c)", "((has(a) && has(b)) && has(c))"),
        ("((has(a)))", "has(a)"),
        ("!!has(a)", "has(a)"),
        ("!(!(has(a)))", "has(a)"),
        (
            "!(!(k == 'v' && has(t) || all()) && (a in {'b', 'c'}))",
            "!(!((k == \"v\" && has(t)) || all()) && a in {\"b\", \"c\"})",
        ),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
        assert_eq!(canonical(expected), expected);
    }
}

#[test]
fn composition() {
    let parse = |text| Selector::parse(text).unwrap();
    assert!(parse(" ").is_all() && Selector::all().is_all());
    assert!(!parse("global()").is_all() && !parse("has(a) || !has(a)").is_all());
    assert_eq!(
        parse("has(a)").and_not(&parse("has(b)")),
        parse("has(a) && !has(b)")
    );
    assert_eq!(
        parse("has(a)").and_not(&parse("!has(b)")),
        parse("has(a) && has(b)")
    );
    assert_eq!(
        parse("has(a) && has(b)").and_not(&parse("has(c)")).to_string(),
        "((has(a) && has(b)) && !has(c))"
    );
    assert_eq!(
        parse("a == 'x' && !(b in {'y'} || has(c)) && d notin {} && all() && a != ''")
            .labels()
            .collect::<Vec<_>>(),
        ["a", "b", "c", "d", "a"]
    );
}

#[test]
fn every_refusal_says_what_to_write() {
    let quotes_around_b = |text: &str| format!("{text}\n  put the value in quotes: \"b\"");
    let label_alone = "  write `has(a)` if any value will do, or `a == \"...\"`";
    let operators =
        "  the operators are `==`, `!=`, `in`, `not in`, `contains`, `starts with` and `ends with`";
    let cases = [
        // A label without a comparison.
        ("a", format!("a><\n  expected an operator after the label `a`, found the end of the selector\n{label_alone}")),
        ("a  ", format!("a><  \n  expected an operator after the label `a`, found the end of the selector\n{label_alone}")),
        ("a && has(b)", format!("a >&&< has(b)\n  expected an operator after the label `a`, found `&&`\n{label_alone}")),
        ("(a)", format!("(a>)<\n  expected an operator after the label `a`, found `)`\n{label_alone}")),
        ("a and b", format!("a >and< b\n  expected an operator after the label `a`, found `and`\n{label_alone}")),
        ("a b", format!("a >b<\n  expected an operator after the label `a`, found `b`\n{operators}")),
        ("a inx {'b'}", format!("a >inx< {{'b'}}\n  expected an operator after the label `a`, found `inx`\n{operators}")),
        ("all", "all><\n  expected an operator after the label `all`, found the end of the selector\n  write `all()`".into()),
        // Operators of other languages.
        ("a = 'b'", "a >=< 'b'\n  expected an operator after the label `a`, found `=`\n  write `==` to compare a label with a value".into()),
        ("a === 'b'", "a ==>=< 'b'\n  expected a string in quotes after `==`, found `=`\n  write `==` to compare a label with a value".into()),
        ("a: 'b'", "a>:< 'b'\n  expected an operator after the label `a`, found `:`\n  write `a == \"...\"`".into()),
        ("a 'b'", "a >'b'<\n  expected an operator after the label `a`, found the string 'b'\n  write `a == \"b\"`".into()),
        ("a is 'b'", "a >is< 'b'\n  expected an operator after the label `a`, found `is`\n  write `a == \"...\"`".into()),
        ("a ~ 'b'", "a >~< 'b'\n  expected an operator after the label `a`, found `~`\n  selectors have no patterns: use `contains`, `starts with` or `ends with` and a string in quotes".into()),
        ("a > '5'", "a >>< '5'\n  expected an operator after the label `a`, found `>`\n  values are strings and have no order: use `==`, `!=`, `in` or `not in`".into()),
        ("a IN {'b'}", "a >IN< {'b'}\n  expected an operator after the label `a`, found `IN`\n  operators are lower case: `in`".into()),
        ("a starts 'b'", "a >starts< 'b'\n  expected an operator after the label `a`, found `starts`\n  write `a starts with \"...\"`".into()),
        ("a not contains 'b'", "a >not< contains 'b'\n  expected an operator after the label `a`, found `not`\n  `not` goes only with `in`; to negate another operator write `!a ...`".into()),
        ("not has(a)", "not >has<(a)\n  expected an operator after the label `not`, found `has`\n  write `!` to negate a condition".into()),
        ("NOT (has(a))", "NOT >(<has(a))\n  expected an operator after the label `NOT`, found `(`\n  write `!` to negate a condition".into()),
        ("has (a)", "has >(<a)\n  expected an operator after the label `has`, found `(`\n  write `has(` in lower case and without a space".into()),
        ("ALL()", "ALL>(<)\n  expected an operator after the label `ALL`, found `(`\n  write `all(` in lower case and without a space".into()),
        ("has(a) and has(b)", "has(a) >and< has(b)\n  expected `&&`, `||` or the end of the selector, found `and`\n  write `&&` for \"and\"".into()),
        ("(has(a) OR has(b))", "(has(a) >OR< has(b))\n  expected `&&`, `||` or `)`, found `OR`\n  write `||` for \"or\"".into()),
        ("a == \"x\" &", "a == \"x\" >&<\n  expected `&&`, `||` or the end of the selector, found `&`\n  write `&&` for \"and\"".into()),
        ("a == \"x\" | has(b)", "a == \"x\" >|< has(b)\n  expected `&&`, `||` or the end of the selector, found `|`\n  write `||` for \"or\"".into()),
        ("a == 'x', b == 'y'", "a == 'x'>,< b == 'y'\n  expected `&&`, `||` or the end of the selector, found `,`\n  join two conditions with `&&` or `||`".into()),
        ("has(a) has(b)", "has(a) >has(<b)\n  expected `&&`, `||` or the end of the selector, found `has(`\n  join two conditions with `&&` or `||`".into()),
        // Values.
        ("b == b", quotes_around_b("b == >b<\n  expected a string in quotes after `==`, found `b`")),
        ("b contains b", quotes_around_b("b contains >b<\n  expected a string in quotes after `contains`, found `b`")),
        ("b startswith b", quotes_around_b("b startswith >b<\n  expected a string in quotes after `starts with`, found `b`")),
        ("a in {b}", quotes_around_b("a in {>b<}\n  expected a string in quotes or `}`, found `b`")),
        ("a in {'b', b}", quotes_around_b("a in {'b', >b<}\n  expected a string in quotes or `}`, found `b`")),
        ("'b' == b", ">'b'< == b\n  expected a condition, found the string 'b'\n  the label comes first and has no quotes, as in `app == \"db\"`".into()),
        ("a == “b”", "a == >“<b”\n  expected a string in quotes after `==`, found `“`\n  write straight quotes: \" or '".into()),
        ("a == {'b'}", "a == >{<'b'}\n  expected a string in quotes after `==`, found `{`\n  a set goes with `in` or `not in`".into()),
        ("a == \"x\\\"y\"", "a == \"x\\\">y<\"\n  expected `&&`, `||` or the end of the selector, found `y`\n  strings have no escapes: put a value that holds \" in single quotes".into()),
        ("a == 'b", "a == >'<b\n  this string is never closed\n  end it with '; strings have no escapes and may hold the other quote".into()),
        ("\"FOO'", ">\"<FOO'\n  this string is never closed\n  end it with \"; strings have no escapes and may hold the other quote".into()),
        ("a in \"\"", "a in >\"\"<\n  expected a set in braces after `in`, found the string \"\"\n  write the set in braces: {\"\"}".into()),
        ("a notin ('b')", "a notin >(<'b')\n  expected a set in braces after `not in`, found `(`\n  write the set in braces, as in {\"db\", \"cache\"}".into()),
        ("a in {'b' 'c'}", "a in {'b' >'c'<}\n  expected `,` or `}`, found the string 'c'\n  put a comma between two values".into()),
        ("a in {,}", "a in {>,<}\n  expected a string in quotes or `}`, found `,`\n  remove the extra comma".into()),
        ("a in {'b', ||", "a in {'b', >||<\n  expected a string in quotes or `}`, found `||`\n  a string is for example \"db\"".into()),
        ("a in {'b'", "a in >{<'b'\n  this `{` is never closed\n  add the missing `}`".into()),
        // Conditions that are missing.
        ("!", "!><\n  expected a condition after `!`, found the end of the selector\n  add a condition here, or remove the operator before it".into()),
        ("has(a) &&", "has(a) &&><\n  expected a condition after `&&`, found the end of the selector\n  add a condition here, or remove the operator before it".into()),
        ("|| has(a)", ">||< has(a)\n  expected a condition, found `||`\n  remove it: it stands between two conditions".into()),
        ("has(a) || && has(b)", "has(a) || >&&< has(b)\n  expected a condition after `||`, found `&&`\n  add a condition here, or remove the operator before it".into()),
        ("== 'b'", ">==< 'b'\n  expected a condition, found `==`\n  the label is missing, as in `app == \"db\"`".into()),
        ("()", "(>)<\n  expected a condition after `(`, found `)`\n  put a condition between the parentheses, or write `all()`".into()),
        (")", ">)<\n  expected a condition, found `)`\n  a condition is for example `app == \"db\"`, `has(app)` or `all()`".into()),
        ("%", ">%<\n  expected a condition, found `%`\n  a condition is for example `app == \"db\"`, `has(app)` or `all()`".into()),
        ("(has(a)", ">(<has(a)\n  this `(` is never closed\n  add the missing `)`".into()),
        ("has(a))", "has(a)>)<\n  expected `&&`, `||` or the end of the selector, found `)`\n  remove it: no `(` is open here".into()),
        ("has()", "has(>)<\n  expected a label name after `has(`, found `)`\n  `has(` takes one label, as in `has(app)`".into()),
        ("has('a')", "has(>'a'<)\n  expected a label name after `has(`, found the string 'a'\n  the label of `has(` has no quotes, as in `has(app)`".into()),
        ("has(a, b)", "has(a>,< b)\n  expected `)` after the label of `has(`, found `,`\n  `has(` takes one label, as in `has(app)`".into()),
        ("all(a)", "all(>a<)\n  expected `)`, as in `all()`, found `a`\n  it takes no argument; to ask for a label write `has(app)`".into()),
        // Characters that only look like space.
        ("has(a)\n&& has(b)", "has(a)>\n<&& has(b)\n  expected `&&`, `||` or the end of the selector, found a line break\n  write the selector on one line, or fold the lines with `>-` in YAML (`|` and `>` keep line breaks)".into()),
        ("has(a)\u{a0}", "has(a)>\u{a0}<\n  expected `&&`, `||` or the end of the selector, found the character U+00A0\n  only space and tab may separate words".into()),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn label_names_have_a_limit() {
    let longest = "l".repeat(MAX_LABEL);
    assert_eq!(canonical(&format!("has({longest})")), format!("has({longest})"));
    let error = Selector::parse(&format!("a == 'b' && {longest}x == 'b'")).unwrap_err();
    assert_eq!(
        (error.span, &*error.message),
        (12..525, "a label name of 513 bytes; at most 512 are allowed")
    );
}

#[test]
fn nesting_has_a_limit_and_the_canonical_text_keeps_it() {
    let nested = |depth: usize| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(canonical(&nested(MAX_DEPTH)), "has(a)");
    let error = Selector::parse(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert_eq!(
        (error.span, &*error.message),
        (100..101, "conditions are nested more than 100 levels deep")
    );

    // Each `||` beside `&&` adds a level to the canonical text that the text does not have.
    let climb = |depth: usize| {
        (0..depth).fold("has(a)".to_owned(), |inner, _| {
            format!("has(a) || has(b) && ({inner})")
        })
    };
    let deepest = canonical(&climb(MAX_DEPTH / 2));
    assert_eq!(canonical(&deepest), deepest);
    assert!(Selector::parse(&climb(MAX_DEPTH / 2 + 1)).is_err());
}

#[test]
fn hostile_megabytes_are_dealt_with_in_one_pass() {
    const MEGABYTE: usize = 1 << 20;
    let repeat = |piece: &str| piece.repeat(MEGABYTE / piece.len());
    assert!(Selector::parse(&repeat("(")).is_err());
    assert!(Selector::parse(&repeat("!(")).is_err());
    assert!(Selector::parse(&repeat("a")).is_err());
    assert!(Selector::parse(&repeat("'")).is_err());
    assert!(Selector::parse(&repeat("\"' ")).is_err());
    assert!(Selector::parse(&repeat("has(")).is_err());
    assert!(Selector::parse(&format!("a not{}", repeat(" "))).is_err());
    for text in [
        format!("{}has(a)", repeat("!")),
        format!("{}has(a)", repeat("has(a)&&")),
        format!("{}has(a)", repeat("has(a)||has(b)&&")),
        format!("a in {{{}}}", repeat("'x',")),
        format!("a == '{}'", repeat("x")),
        repeat(" "),
    ] {
        let selector = Selector::parse(&text).unwrap();
        assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        selector.matches(&labels(&[("a", "x")]));
    }
}

/// Selectors as people might write them: odd spacing, redundant parentheses, either quote.
pub(super) fn any_selector() -> impl Strategy<Value = String> {
    let label = || select(vec!["a", "b", "in", "not", "has", "x.y/z-1"]);
    let string = || {
        select(vec![
            "''", "\"\"", "'a'", "\"b\"", "'ab'", "'\"'", "\"'\"", "'a\nb'", "'é\\'",
        ])
    };
    let blank = || select(vec!["", " ", "\t "]);
    let set = proptest::collection::vec(string(), 0..4)
        .prop_flat_map(|strings| (Just(strings), any::<bool>()))
        .prop_map(|(strings, comma)| {
            let comma = if comma && !strings.is_empty() { "," } else { "" };
            format!("{{{}{comma}}}", strings.join(" ,"))
        });
    let comparison = select(vec![
        "==",
        "!=",
        " contains ",
        " starts with",
        " startswith ",
        " ends\twith ",
        " endswith",
    ]);
    let condition = prop_oneof![
        select(vec!["all()".to_owned(), "global( )".to_owned()]),
        (label(), blank()).prop_map(|(label, blank)| format!("has({blank}{label}{blank})")),
        (label(), comparison, blank(), string())
            .prop_map(|(label, comparison, blank, string)| format!("{label}{comparison}{blank}{string}")),
        (label(), select(vec![" in", " not in", " notin "]), blank(), set)
            .prop_map(|(label, operator, blank, set)| format!("{label}{operator}{blank}{set}")),
    ];
    condition.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            (select(vec!["!", "! !", "!!!"]), inner.clone()).prop_map(|(not, inner)| format!("{not}{inner}")),
            (blank(), inner.clone()).prop_map(|(blank, inner)| format!("({inner}{blank})")),
            (
                proptest::collection::vec(inner, 2..4),
                select(vec!["&&", " && ", "||", " || "])
            )
                .prop_map(|(parts, operator)| parts.join(operator)),
        ]
    })
}

pub(super) fn any_labels() -> impl Strategy<Value = Labels> {
    let value = select(vec!["", "a", "b", "ab", "\"", "'", "a\nb", "é\\"]).prop_map(str::to_owned);
    let label = select(vec!["a", "b", "in", "not", "has", "x.y/z-1"]).prop_map(str::to_owned);
    proptest::collection::btree_map(label, value, 0..5)
}

/// Texts that get far into the parser before they fail, if they do.
fn almost_a_selector() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a",
        "b",
        " ",
        " ",
        "\t",
        "\n",
        "==",
        "!=",
        "=",
        "!",
        "&&",
        "||",
        "&",
        "(",
        ")",
        "{",
        "}",
        ",",
        "'x'",
        "\"y\"",
        "'",
        "\"",
        "has(",
        "has(a)",
        "all()",
        "global(",
        "in",
        "not",
        " not in ",
        "starts",
        "with",
        " contains ",
        "é",
        "“",
        "\u{a0}",
        "\\",
        "%",
    ];
    proptest::collection::vec(select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

fn never_panics(text: &str) -> Result<(), TestCaseError> {
    match Selector::parse(text) {
        Ok(selector) => prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector),
        Err(error) => {
            prop_assert!(
                text.get(error.span.clone()).is_some(),
                "{:?} of {:?}",
                error,
                text
            );
            prop_assert!(!error.message.is_empty() && !error.message.contains('\n'));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_canonical_text_parses_to_the_same_selector(text in any_selector()) {
        let selector = Selector::parse(&text).unwrap();
        let again = Selector::parse(&selector.to_string()).unwrap();
        prop_assert_eq!(&again, &selector);
        prop_assert_eq!(again.to_string(), selector.to_string());
    }

    #[test]
    fn parts_combine_as_booleans(left in any_selector(), right in any_selector(), labels in any_labels()) {
        let matches = |text: &str| Selector::parse(text).unwrap().matches(&labels);
        let (l, r) = (matches(&left), matches(&right));
        prop_assert_eq!(matches(&format!("({left}) && ({right})")), l && r);
        prop_assert_eq!(matches(&format!("({left}) || ({right})")), l || r);
        prop_assert_eq!(matches(&format!("!({left})")), !l);
        prop_assert_eq!(matches(&Selector::parse(&left).unwrap().to_string()), l);
        let and_not = Selector::parse(&left).unwrap().and_not(&Selector::parse(&right).unwrap());
        prop_assert_eq!(and_not.matches(&labels), l && !r);
    }

    #[test]
    fn comparisons_are_those_of_strings(value in "[ab]{0,3}", wanted in "[ab]{0,2}", present: bool) {
        let object = if present { labels(&[("k", &value)]) } else { Labels::new() };
        let matches = |operator: &str, wanted: &str| {
            Selector::parse(&format!("k {operator} {wanted}")).unwrap().matches(&object)
        };
        let quoted = format!("'{wanted}'");
        prop_assert_eq!(matches("==", &quoted), present && value == wanted);
        prop_assert_eq!(matches("!=", &quoted), !(present && value == wanted));
        prop_assert_eq!(matches("contains", &quoted), present && value.contains(&wanted));
        prop_assert_eq!(matches("starts with", &quoted), present && value.starts_with(&wanted));
        prop_assert_eq!(matches("ends with", &quoted), present && value.ends_with(&wanted));
        let set = format!("{{'aa', {quoted}, 'b'}}");
        let is_in = present && (value == wanted || value == "aa" || value == "b");
        prop_assert_eq!(matches("in", &set), is_in);
        prop_assert_eq!(matches("not in", &set), !is_in);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,60}") {
        never_panics(&text)?;
    }

    #[test]
    fn any_tokens_are_read_or_refused(text in almost_a_selector()) {
        never_panics(&text)?;
    }
}
