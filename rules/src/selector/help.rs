//! What to write instead: the usual mistakes, by the place where they are made.

use super::lex::{Lexeme, Token};
use super::node::Quoted;

/// Advice from the token before and the offending one.
pub(super) type Advise = fn(previous: &Lexeme<'_>, offending: &Lexeme<'_>) -> String;

/// The longest piece of the selector that a message repeats, in characters.
const MAX_SHOWN: usize = 40;

/// A token as messages name it.
pub(super) fn found(text: &str, lexeme: &Lexeme<'_>) -> String {
    let written = &text[lexeme.span.clone()];
    match lexeme.token {
        Token::End => "the end of the selector".to_owned(),
        Token::Unknown('\n' | '\r') => "a line break".to_owned(),
        Token::Unknown(c) if c.is_control() || c.is_whitespace() || is_invisible(c) => {
            format!("the character U+{:04X}", u32::from(c))
        }
        Token::String(_) => format!("the string {}", on_one_line(written)),
        _ => format!("`{}`", on_one_line(written)),
    }
}

/// Advice that depends on the character alone.
pub(super) fn with_character(token: Token<'_>) -> Option<String> {
    let Token::Unknown(c) = token else { return None };
    let advice = match c {
        '\n' | '\r' => {
            "write the selector on one line, or fold the lines with `>-` in YAML (`|` and `>` keep line breaks)"
        }
        '=' => "write `==` to compare a label with a value",
        '&' => "write `&&` for \"and\"",
        '|' => "write `||` for \"or\"",
        '“' | '”' | '„' | '‘' | '’' | '`' | '´' => "write straight quotes: \" or '",
        '~' | '*' | '^' => {
            "selectors have no patterns: use `contains`, `starts with` or `ends with` and a string in quotes"
        }
        '<' | '>' => "values are strings and have no order: use `==`, `!=`, `in` or `not in`",
        '\\' => "strings have no escapes: put a value that holds \" in single quotes",
        c if c.is_whitespace() || is_invisible(c) => "only space and tab may separate words",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// Where a condition has to begin.
pub(super) fn at_condition(previous: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    let advice = match (previous.token, offending.token) {
        (Token::LeftParen, Token::RightParen) => "put a condition between the parentheses, or write `all()`",
        (_, Token::String(_)) => "the label comes first and has no quotes, as in `app == \"db\"`",
        (_, Token::Operator(_)) => "the label is missing, as in `app == \"db\"`",
        (Token::And | Token::Or | Token::Not, _) => "add a condition here, or remove the operator before it",
        (Token::End, Token::And | Token::Or) => "remove it: it stands between two conditions",
        _ => "a condition is for example `app == \"db\"`, `has(app)` or `all()`",
    };
    advice.to_owned()
}

/// Behind a label, where an operator has to stand.
pub(super) fn at_operator(previous: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    const OPERATORS: &str =
        "the operators are `==`, `!=`, `in`, `not in`, `contains`, `starts with` and `ends with`";
    let Token::Label(label) = previous.token else {
        return OPERATORS.to_owned();
    };
    // The label's length has been checked, but 512 bytes are still too many to repeat.
    let shown = if label.len() > MAX_SHOWN { "label" } else { label };
    match (label.to_ascii_lowercase().as_str(), offending.token) {
        ("not", Token::Label(_) | Token::LeftParen) => "write `!` to negate a condition".to_owned(),
        (call @ ("has" | "all" | "global"), Token::LeftParen) => {
            format!("write `{call}(` in lower case and without a space")
        }
        (call @ ("all" | "global"), Token::End | Token::And | Token::Or | Token::RightParen) => {
            format!("write `{call}()`")
        }
        (_, Token::Label(word)) => match word.to_ascii_lowercase().as_str() {
            "not" if word == "not" => {
                format!("`not` goes only with `in`; to negate another operator write `!{shown} ...`")
            }
            "starts" | "starts-with" | "starts_with" => format!("write `{shown} starts with \"...\"`"),
            "ends" | "ends-with" | "ends_with" => format!("write `{shown} ends with \"...\"`"),
            operator @ ("in" | "notin" | "not" | "contains" | "startswith" | "endswith") => {
                format!("operators are lower case: `{operator}`")
            }
            "is" | "eq" | "equals" => format!("write `{shown} == \"...\"`"),
            "and" | "or" => has_label(shown),
            _ => OPERATORS.to_owned(),
        },
        (_, Token::String(value)) if value.len() <= MAX_SHOWN => {
            format!("write `{shown} == {}`", Quoted(value))
        }
        (_, Token::Unknown(':')) => format!("write `{shown} == \"...\"`"),
        (_, Token::End | Token::And | Token::Or | Token::RightParen) => has_label(shown),
        _ => OPERATORS.to_owned(),
    }
}

/// Where a string has to stand.
pub(super) fn at_value(_: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    match offending.token {
        Token::Label(word) if word.len() <= MAX_SHOWN => {
            format!("put the value in quotes: {}", Quoted(word))
        }
        Token::Label(_) => "put the value in quotes".to_owned(),
        Token::LeftBrace => "a set goes with `in` or `not in`".to_owned(),
        Token::Comma => "remove the extra comma".to_owned(),
        _ => "a string is for example \"db\"".to_owned(),
    }
}

/// Where a set has to begin.
pub(super) fn at_set(_: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    match offending.token {
        Token::String(word) | Token::Label(word) if word.len() <= MAX_SHOWN => {
            format!("write the set in braces: {{{}}}", Quoted(word))
        }
        _ => "write the set in braces, as in {\"db\", \"cache\"}".to_owned(),
    }
}

/// Behind a string of a set.
pub(super) fn behind_value(previous: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    if let Some(advice) = escape(previous) {
        return advice;
    }
    match offending.token {
        Token::String(_) | Token::Label(_) => "put a comma between two values".to_owned(),
        _ => "end the set with `}`".to_owned(),
    }
}

/// Behind a whole condition.
pub(super) fn behind_condition(previous: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    if let Some(advice) = escape(previous) {
        return advice;
    }
    let advice = match offending.token {
        Token::Label(word) if word.eq_ignore_ascii_case("and") => "write `&&` for \"and\"",
        Token::Label(word) if word.eq_ignore_ascii_case("or") => "write `||` for \"or\"",
        Token::RightParen => "remove it: no `(` is open here",
        Token::Operator(_) | Token::RightBrace => {
            "a condition has one label, one operator and one value or set"
        }
        _ => "join two conditions with `&&` or `||`",
    };
    advice.to_owned()
}

/// Inside `has(...)`.
pub(super) fn in_has(_: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    match offending.token {
        Token::String(_) => "the label of `has(` has no quotes, as in `has(app)`".to_owned(),
        _ => "`has(` takes one label, as in `has(app)`".to_owned(),
    }
}

/// Inside `all()` and `global()`.
pub(super) fn in_call(_: &Lexeme<'_>, offending: &Lexeme<'_>) -> String {
    match offending.token {
        Token::Label(_) | Token::String(_) => {
            "it takes no argument; to ask for a label write `has(app)`".to_owned()
        }
        _ => "nothing may stand between its parentheses".to_owned(),
    }
}

/// `"a\"b"` reads as the string `a\`, and then something that makes no sense.
fn escape(previous: &Lexeme<'_>) -> Option<String> {
    match previous.token {
        Token::String(value) if value.ends_with('\\') => with_character(Token::Unknown('\\')),
        _ => None,
    }
}

fn has_label(label: &str) -> String {
    format!("write `has({label})` if any value will do, or `{label} == \"...\"`")
}

fn on_one_line(written: &str) -> String {
    let mut characters = written.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = characters.by_ref().take(MAX_SHOWN).collect();
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}
