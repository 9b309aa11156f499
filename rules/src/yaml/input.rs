//! The characters of a file, as the parser asks for them.

use saphyr_parser::Input;
use saphyr_parser::input::{is_blank_or_breakz, is_breakz, is_flow};

/// The rest of a text.
///
/// The parser comes with an input of its own for text. That one makes room for 128 bytes for every value, though
/// hardly one has so many, and decodes each character several times. This one saves a sixth of the parser's work.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// The first character of the rest; NUL when nothing is left.
    next: char,
    rest: &'a [u8],
}

/// How many bytes the parser makes room for when it reads a word, and looks ahead at most.
const WORD: usize = 16;

impl<'a> Text<'a> {
    /// All of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Text::starting(text.as_bytes())
    }

    #[inline]
    fn starting(rest: &'a [u8]) -> Self {
        let next = match rest {
            [] => '\0',
            [byte, ..] if byte.is_ascii() => char::from(*byte),
            _ => decode(rest),
        };
        Text { next, rest }
    }
}

impl Input for Text<'_> {
    #[inline]
    fn lookahead(&mut self, _count: usize) {
        // Everything is there already.
    }

    #[inline]
    fn buflen(&self) -> usize {
        WORD
    }

    #[inline]
    fn bufmaxlen(&self) -> usize {
        WORD
    }

    #[inline]
    fn raw_read_ch(&mut self) -> char {
        let next = self.next;
        self.skip();
        next
    }

    #[inline]
    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        let is_in_line = !is_breakz(self.next) && self.next != '\u{feff}';
        is_in_line.then(|| self.raw_read_ch())
    }

    #[inline]
    fn skip(&mut self) {
        *self = Text::starting(self.rest.get(self.next.len_utf8()..).unwrap_or_default());
    }

    #[inline]
    fn skip_n(&mut self, count: usize) {
        for _ in 0..count {
            self.skip();
        }
    }

    #[inline]
    fn peek(&self) -> char {
        self.next
    }

    #[inline]
    fn peek_nth(&self, n: usize) -> char {
        let mut ahead = *self;
        ahead.skip_n(n);
        ahead.next
    }

    #[inline]
    fn peek_opt(&self) -> Option<char> {
        (!self.rest.is_empty()).then_some(self.next)
    }

    #[inline]
    fn next_can_be_plain_scalar(&self, in_flow: bool) -> bool {
        match self.next {
            // What stands behind a colon decides, and is looked at for nothing else.
            ':' => {
                let behind = self.peek_nth(1);
                !(is_blank_or_breakz(behind) || in_flow && is_flow(behind))
            }
            '\u{feff}' => false,
            next => !(in_flow && is_flow(next)),
        }
    }
}

/// The first character of a text, which is not ASCII.
#[cold]
fn decode(text: &[u8]) -> char {
    let whole = match text[0] {
        ..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    };
    let character = text.get(..whole).and_then(|bytes| str::from_utf8(bytes).ok());
    // The bytes are those of a text, so there is one.
    character
        .and_then(|text| text.chars().next())
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr_parser::{BufferedInput, Event, Parser, ScanError, Span};

    use super::*;

    /// Everything that the parser says of a text, until it gives up.
    fn events<'a>(input: impl Input + 'a) -> Vec<Result<(Event<'a>, Span), ScanError>> {
        let mut parser = Parser::new(input);
        let mut events = Vec::new();
        while let Some(event) = parser.next_event() {
            let is_last = event.is_err();
            events.push(event);
            if is_last {
                break;
            }
        }
        events
    }

    /// Texts of what YAML gives a meaning to, so that many are read to their end.
    fn texts() -> impl Strategy<Value = String> {
        let parts = vec![
            "a",
            "key",
            "1.5",
            "é",
            "€",
            "😀",
            ": ",
            ":",
            "\n",
            "\n  ",
            "\n    ",
            "- ",
            "-",
            "? ",
            ", ",
            ",",
            "[",
            "]",
            "{",
            "}",
            "'",
            "\"",
            "\\",
            "\\n",
            "#",
            " # c",
            "|\n",
            ">-\n",
            "&a ",
            "*a ",
            "!!str ",
            "!<x> ",
            "%YAML 1.2\n",
            "---\n",
            "...\n",
            "---",
            "\t",
            "\r\n",
            "\r",
            "\u{feff}",
            "\0",
            "~",
            "@",
            "a long word of a value",
        ];
        prop::collection::vec(prop::sample::select(parts), 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn the_parser_reads_the_same_from_it_as_from_its_own(text in prop_oneof![texts(), "(?s).{0,80}"]) {
            prop_assert_eq!(events(Text::new(&text)), events(BufferedInput::new(text.chars())));
        }
    }

    #[test]
    fn a_text_is_given_to_its_end_and_no_further() {
        let mut text = Text::new("aé😀");
        assert_eq!(
            (text.peek(), text.peek_nth(1), text.peek_nth(2), text.peek_nth(3)),
            ('a', 'é', '😀', '\0')
        );
        let all: Vec<char> = std::iter::from_fn(|| text.raw_read_non_breakz_ch()).collect();
        assert_eq!(all, ['a', 'é', '😀']);
        assert_eq!(
            (text.peek_opt(), text.peek(), text.raw_read_ch()),
            (None, '\0', '\0')
        );
        text.skip_n(3);
        assert_eq!(text.peek_opt(), None);
    }
}
