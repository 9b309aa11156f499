//! Tokens to the expression, by recursive descent: one function for each line of the grammar.

use std::collections::BTreeSet;
use std::ops::Range;

use super::help;
use super::lex::{Lexeme, Lexer, Operator, Token};
use super::node::Node;
use super::{MAX_DEPTH, MAX_LABEL, SyntaxError};

/// Parses a whole selector.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut parser = Parser::new(text);
    if parser.next.token == Token::End {
        return Ok(Node::All);
    }
    let tree = parser.disjunction()?;
    match parser.next.token {
        Token::End => Ok(tree.node),
        _ => Err(parser.unexpected("`&&`, `||` or the end of the selector", help::behind_condition)),
    }
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The token before `next`; at the beginning [`Token::End`].
    previous: Lexeme<'a>,
    next: Lexeme<'a>,
    /// How many parentheses are open.
    depth: usize,
}

/// A parsed part, and how many levels of parentheses its canonical text has. The canonical text can have more than
/// the text (`a || b && c` has one), and must not exceed what can be parsed again.
struct Tree {
    node: Node,
    height: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        Parser {
            text,
            next: lexer.read(),
            lexer,
            previous: Lexeme {
                token: Token::End,
                span: 0..0,
            },
            depth: 0,
        }
    }

    fn disjunction(&mut self) -> Result<Tree, SyntaxError> {
        self.sequence(Token::Or, Self::conjunction, Node::Or)
    }

    fn conjunction(&mut self) -> Result<Tree, SyntaxError> {
        self.sequence(Token::And, Self::negation, Node::And)
    }

    fn sequence(
        &mut self,
        separator: Token<'static>,
        part: fn(&mut Self) -> Result<Tree, SyntaxError>,
        group: fn(Vec<Node>) -> Node,
    ) -> Result<Tree, SyntaxError> {
        let start = self.next.span.start;
        let first = part(self)?;
        if self.next.token != separator {
            return Ok(first);
        }
        let mut height = first.height;
        let mut nodes = vec![first.node];
        while self.next.token == separator {
            self.advance();
            let tree = part(self)?;
            height = height.max(tree.height);
            nodes.push(tree.node);
        }
        if height == MAX_DEPTH {
            return Err(too_deep(start..self.previous.span.end));
        }
        Ok(Tree {
            node: group(nodes),
            height: height + 1,
        })
    }

    fn negation(&mut self) -> Result<Tree, SyntaxError> {
        let mut negated = false;
        while self.next.token == Token::Not {
            negated = !negated;
            self.advance();
        }
        let mut tree = self.condition()?;
        if negated {
            tree.node = tree.node.negated();
        }
        Ok(tree)
    }

    fn condition(&mut self) -> Result<Tree, SyntaxError> {
        let node = match self.next.token {
            Token::LeftParen => return self.group(),
            Token::Has => self.has()?,
            Token::All => self.call_without_argument("all()", Node::All)?,
            Token::Global => self.call_without_argument("global()", Node::Global)?,
            Token::Label(name) => self.comparison(name)?,
            _ => {
                let expected = match self.previous.token {
                    Token::End => "a condition".to_owned(),
                    _ => format!("a condition after {}", help::found(self.text, &self.previous)),
                };
                return Err(self.unexpected(&expected, help::at_condition));
            }
        };
        Ok(Tree { node, height: 0 })
    }

    fn group(&mut self) -> Result<Tree, SyntaxError> {
        let open = self.next.span.clone();
        if self.depth == MAX_DEPTH {
            return Err(too_deep(open));
        }
        self.depth += 1;
        self.advance();
        let tree = self.disjunction()?;
        match self.next.token {
            Token::RightParen => self.advance(),
            Token::End => return Err(never_closed(open, "(", ")")),
            _ => return Err(self.unexpected("`&&`, `||` or `)`", help::behind_condition)),
        }
        self.depth -= 1;
        Ok(tree)
    }

    fn has(&mut self) -> Result<Node, SyntaxError> {
        self.advance();
        let Token::Label(name) = self.next.token else {
            return Err(self.unexpected("a label name after `has(`", help::in_has));
        };
        let label = self.label(name)?;
        if self.next.token != Token::RightParen {
            return Err(self.unexpected("`)` after the label of `has(`", help::in_has));
        }
        self.advance();
        Ok(Node::Has(label))
    }

    fn call_without_argument(&mut self, call: &str, node: Node) -> Result<Node, SyntaxError> {
        self.advance();
        if self.next.token != Token::RightParen {
            return Err(self.unexpected(&format!("`)`, as in `{call}`"), help::in_call));
        }
        self.advance();
        Ok(node)
    }

    fn comparison(&mut self, name: &str) -> Result<Node, SyntaxError> {
        let label = self.label(name)?;
        let Token::Operator(operator) = self.next.token else {
            let expected = format!(
                "an operator after the label {}",
                help::found(self.text, &self.previous)
            );
            return Err(self.unexpected(&expected, help::at_operator));
        };
        self.advance();
        Ok(match operator {
            Operator::Compare(comparison) => Node::Compare {
                label,
                comparison,
                value: self.value(comparison.as_str())?,
            },
            Operator::In => Node::In {
                label,
                values: self.set("in")?,
            },
            Operator::NotIn => Node::NotIn {
                label,
                values: self.set("not in")?,
            },
        })
    }

    /// The label at hand, which is `name`.
    fn label(&mut self, name: &str) -> Result<String, SyntaxError> {
        if name.len() > MAX_LABEL {
            return Err(SyntaxError {
                span: self.next.span.clone(),
                message: format!(
                    "a label name of {} bytes; at most {MAX_LABEL} are allowed",
                    name.len()
                ),
                help: None,
            });
        }
        self.advance();
        Ok(name.to_owned())
    }

    fn value(&mut self, operator: &str) -> Result<String, SyntaxError> {
        let Token::String(value) = self.next.token else {
            let expected = format!("a string in quotes after `{operator}`");
            return Err(self.unexpected(&expected, help::at_value));
        };
        self.advance();
        Ok(value.to_owned())
    }

    fn set(&mut self, operator: &str) -> Result<BTreeSet<String>, SyntaxError> {
        if self.next.token != Token::LeftBrace {
            let expected = format!("a set in braces after `{operator}`");
            return Err(self.unexpected(&expected, help::at_set));
        }
        let open = self.next.span.clone();
        self.advance();
        let mut values = Vec::new();
        while let Token::String(value) = self.next.token {
            values.push(value.to_owned());
            self.advance();
            if self.next.token != Token::Comma {
                break;
            }
            self.advance();
        }
        match (self.next.token, self.previous.token) {
            (Token::RightBrace, _) => self.advance(),
            (Token::End, _) => return Err(never_closed(open, "{", "}")),
            (_, Token::String(_)) => return Err(self.unexpected("`,` or `}`", help::behind_value)),
            _ => return Err(self.unexpected("a string in quotes or `}`", help::at_value)),
        }
        Ok(values.into_iter().collect())
    }

    fn advance(&mut self) {
        self.previous = std::mem::replace(&mut self.next, self.lexer.read());
    }

    /// The error that the next token is not what was expected; `advise` knows the usual mistakes at this place.
    fn unexpected(&self, expected: &str, advise: help::Advise) -> SyntaxError {
        if let Token::Unclosed(quote) = self.next.token {
            return SyntaxError {
                span: self.next.span.clone(),
                message: "this string is never closed".to_owned(),
                help: Some(format!(
                    "end it with {quote}; strings have no escapes and may hold the other quote"
                )),
            };
        }
        SyntaxError {
            span: self.next.span.clone(),
            message: format!(
                "expected {expected}, found {}",
                help::found(self.text, &self.next)
            ),
            help: Some(
                help::with_character(self.next.token).unwrap_or_else(|| advise(&self.previous, &self.next)),
            ),
        }
    }
}

fn never_closed(span: Range<usize>, open: &str, close: &str) -> SyntaxError {
    SyntaxError {
        span,
        message: format!("this `{open}` is never closed"),
        help: Some(format!("add the missing `{close}`")),
    }
}

fn too_deep(span: Range<usize>) -> SyntaxError {
    SyntaxError {
        span,
        message: format!("conditions are nested more than {MAX_DEPTH} levels deep"),
        help: Some("leave out parentheses that are not needed, or split the policy".to_owned()),
    }
}
