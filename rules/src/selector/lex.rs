//! A selector's text to tokens. Every text has tokens: what cannot be one becomes [`Token::Unknown`] or
//! [`Token::Unclosed`], and the parser, which knows what it expected there, says what is wrong.

use std::ops::Range;

use super::node::Comparison;

/// One word or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `,`
    Comma,
    /// `!`
    Not,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `has(`: no space before the parenthesis, or else it is a label.
    Has,
    /// `all(`
    All,
    /// `global(`
    Global,
    /// `==`, `!=`, or an operator word behind a label.
    Operator(Operator),
    /// A label's name, of any length.
    Label(&'a str),
    /// A string, without its quotes.
    String(&'a str),
    /// A string that no second quote ends.
    Unclosed(char),
    /// A character that no token begins with.
    Unknown(char),
    /// The end of the text.
    End,
}

/// What stands between a label and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Compare(Comparison),
    In,
    NotIn,
}

/// A token and its bytes in the text; [`Token::End`] stands right behind the last token, with no bytes.
#[derive(Clone, Debug)]
pub(super) struct Lexeme<'a> {
    pub(super) token: Token<'a>,
    pub(super) span: Range<usize>,
}

/// Reads one token after the other.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    after_label: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer {
            text,
            at: 0,
            after_label: false,
        }
    }

    /// The next token; at the end always [`Token::End`].
    pub(super) fn read(&mut self) -> Lexeme<'a> {
        let rest = skip_blanks(&self.text[self.at..]);
        if rest.is_empty() {
            return Lexeme {
                token: Token::End,
                span: self.at..self.at,
            };
        }
        let (token, length) = first_token(rest, self.after_label);
        let start = self.text.len() - rest.len();
        self.at = start + length;
        self.after_label = matches!(token, Token::Label(_));
        Lexeme {
            token,
            span: start..self.at,
        }
    }
}

/// Longer ones first where one begins another.
const SIGNS: [(&str, Token<'static>); 10] = [
    ("(", Token::LeftParen),
    (")", Token::RightParen),
    ("{", Token::LeftBrace),
    ("}", Token::RightBrace),
    (",", Token::Comma),
    ("==", Token::Operator(Operator::Compare(Comparison::Is))),
    ("!=", Token::Operator(Operator::Compare(Comparison::IsNot))),
    ("!", Token::Not),
    ("&&", Token::And),
    ("||", Token::Or),
];

const CALLS: [(&str, Token<'static>); 3] = [
    ("has(", Token::Has),
    ("all(", Token::All),
    ("global(", Token::Global),
];

/// The token that `rest`, which begins with no blank, begins with, and its length.
fn first_token(rest: &str, after_label: bool) -> (Token<'_>, usize) {
    let begins =
        |(text, token): &(&str, Token<'static>)| rest.starts_with(text).then_some((*token, text.len()));
    if let Some(sign) = SIGNS.iter().find_map(begins) {
        return sign;
    }
    let call = || CALLS.iter().find_map(begins);
    if let Some(word) = if after_label { operator_word(rest) } else { call() } {
        return word;
    }
    let name = leading_word(rest);
    if !name.is_empty() {
        return (Token::Label(name), name.len());
    }
    match rest.chars().next() {
        None => (Token::End, 0),
        Some(quote @ ('"' | '\'')) => match rest[1..].find(quote) {
            Some(length) => (Token::String(&rest[1..=length]), length + 2),
            None => (Token::Unclosed(quote), 1),
        },
        Some(other) => (Token::Unknown(other), other.len_utf8()),
    }
}

fn operator_word(rest: &str) -> Option<(Token<'_>, usize)> {
    let first = leading_word(rest);
    let (operator, second) = match first {
        "in" => (Operator::In, None),
        "notin" => (Operator::NotIn, None),
        "not" => (Operator::NotIn, Some("in")),
        "contains" => (Operator::Compare(Comparison::Contains), None),
        "startswith" => (Operator::Compare(Comparison::StartsWith), None),
        "starts" => (Operator::Compare(Comparison::StartsWith), Some("with")),
        "endswith" => (Operator::Compare(Comparison::EndsWith), None),
        "ends" => (Operator::Compare(Comparison::EndsWith), Some("with")),
        _ => return None,
    };
    let token = Token::Operator(operator);
    let Some(second) = second else {
        return Some((token, first.len()));
    };
    let behind = skip_blanks(&rest[first.len()..]);
    (leading_word(behind) == second).then(|| (token, rest.len() - behind.len() + second.len()))
}

/// The longest stretch of a label's characters at the beginning.
fn leading_word(text: &str) -> &str {
    let is_other = |byte: u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-'));
    &text[..text.bytes().position(is_other).unwrap_or(text.len())]
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}
