//! The chain that answers denied packets, under `denyAction: reject`.

use crate::net::Protocol;
use crate::ruleset::{Chain, Comment, Match, Name, Op, Rule, Statement};

/// What it is called. No other chain is called so: theirs have a slash, or are base chains. Nor is it a
/// word of nft's grammar, as `reject` is: nft would list it, and not load it again.
pub(super) const REJECT_CHAIN: &str = "rejected";

/// Whether a rule of the chain answers the packets that it denies.
pub(super) fn has_reject(chain: &Chain) -> bool {
    let mut statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    statements
        .any(|statement| matches!(statement, Statement::Goto(target) if target.as_str() == REJECT_CHAIN))
}

/// A client that is connecting takes no ICMP error for an answer, so TCP gets a reset.
pub(super) fn reject_chain() -> Chain {
    let tcp = Rule {
        matches: vec![Match::Protocol(Op::Is, Protocol::TCP)],
        statements: vec![Statement::RejectWithReset],
        comment: Comment::new("TCP understands nothing else while it connects"),
    };
    let others = Rule {
        statements: vec![Statement::Reject],
        comment: Comment::new("administratively prohibited"),
        ..Rule::default()
    };
    Chain {
        name: Name::new(REJECT_CHAIN),
        hook: None,
        comment: Comment::new("denied packets get an answer"),
        rules: vec![tcp, others],
    }
}
