//! What refusals say.

use palisade_rules::net::Family;
use palisade_rules::ruleset::{Comment, Match, Rule, Statement};

use super::*;
use crate::lower::lower;

/// Sends a batch in which one name of an expression means nothing, as to a kernel that never heard of it.
fn refusal(rule: &Rule, unknown: &[u8]) -> String {
    let transaction = Transaction::new(vec![
        Operation::AddTable,
        Operation::AddChain {
            name: "input".to_owned(),
            hook: None,
            comment: String::new(),
        },
        Operation::AddRule {
            chain: "input".to_owned(),
            number: 1,
            program: lower(rule),
            comment: "the rule".to_owned(),
        },
    ]);
    let unknown = unknown.to_vec();
    let answer = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let mut nft = Nft::open().unwrap();
        let mut batch = encode(&transaction, 0, nft.socket.next_seq()).unwrap();
        let at = batch
            .bytes
            .windows(unknown.len())
            .position(|bytes| bytes == unknown);
        batch.bytes[at.unwrap()] = b'x';
        let failures = nft.socket.send_batch(&batch.bytes).unwrap();
        judge(&transaction, &batch, failures).unwrap_err().to_string()
    });
    answer.join().unwrap()
}

#[test]
fn a_kernel_without_a_feature_is_told_by_name() {
    let canary = Rule {
        matches: vec![Match::Family(Family::V4), Match::OutsideShare(Family::V4, 10)],
        statements: vec![Statement::Accept],
        comment: Comment::default(),
    };
    assert_eq!(
        refusal(&canary, b"hash\0"),
        "the kernel refused the change, nothing was applied: adding rule 1 of chain input (\"the rule\"): No such \
         file or directory (a kernel may lack what it needs: nft_hash)"
    );
    let limited = Rule {
        statements: vec![
            Statement::Limit {
                per_second: 1,
                burst: 5,
            },
            Statement::Reject,
        ],
        ..Rule::default()
    };
    let refusal = refusal(&limited, b"reject\0");
    assert!(
        refusal.contains("needs: nft_limit, nft_reject_inet)"),
        "{refusal}"
    );
}
