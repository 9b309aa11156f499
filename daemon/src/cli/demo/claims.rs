//! Claims, each checked and then printed with a tick or a cross.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use super::matrix::{Cell, Matrix, Seen};
use super::screen::{Screen, Tone};
use crate::cli::{Failure, Outcome};
use crate::exit::Exit;

/// How many claims were made, and how many of them did not hold.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    screen: &'a Screen,
    checked: usize,
    failed: usize,
}

impl<'a> Claims<'a> {
    /// None yet.
    pub(super) fn new(screen: &'a Screen) -> Self {
        Claims {
            screen,
            checked: 0,
            failed: 0,
        }
    }

    /// Claims that what was seen is what was expected.
    pub(super) fn equal<T: PartialEq + Display>(
        &mut self,
        claim: &str,
        expected: &T,
        seen: &T,
    ) -> Result<(), Failure> {
        let wrong = [format!("expected {expected}"), format!("seen     {seen}")];
        self.make(claim, if expected == seen { &[] } else { &wrong })
    }

    /// Claims that exactly these were seen.
    pub(super) fn exactly<T: Ord + Display>(
        &mut self,
        claim: &str,
        expected: &BTreeSet<T>,
        seen: &BTreeSet<T>,
    ) -> Result<(), Failure> {
        let missing = expected
            .difference(seen)
            .map(|it| format!("expected {it}, not seen"));
        let surplus = seen
            .difference(expected)
            .map(|it| format!("seen {it}, not expected"));
        self.make(claim, &missing.chain(surplus).collect::<Vec<_>>())
    }

    /// Claims that every connection of some cells, and there are some, met this end.
    pub(super) fn every(
        &mut self,
        claim: &str,
        matrix: &Matrix,
        end: &Seen,
        which: impl Fn(&Cell) -> bool,
    ) -> Result<(), Failure> {
        let mut wrong = Vec::new();
        let mut connections = 0;
        for (connection, seen) in matrix.connections(which) {
            connections += 1;
            if seen != end {
                wrong.push(format!("{connection}: expected {end}, seen {seen}"));
            }
        }
        if connections == 0 {
            wrong.push("expected some connections, seen none".to_owned());
        }
        self.make(&format!("{claim} ({connections} connections)"), &wrong)
    }

    /// Claims that two matrices are the same, cell by cell.
    pub(super) fn same(&mut self, claim: &str, before: &Matrix, after: &Matrix) -> Result<(), Failure> {
        let pairs = before.connections(|_| true).zip(after.connections(|_| true));
        let wrong: Vec<String> = pairs
            .filter(|(before, after)| before != after)
            .map(|((connection, before), (_, after))| {
                format!("{connection}: expected {before} as before, seen {after}")
            })
            .collect();
        self.make(claim, &wrong)
    }

    /// Says how it went, and how the command ends.
    pub(super) fn conclude(&self, took: Duration) -> Outcome {
        let (checked, seconds) = (self.checked, took.as_secs_f32());
        let (tone, line, exit) = match self.failed {
            0 => (
                Tone::Good,
                format!("{checked} claims checked, all of them hold, in {seconds:.1} s."),
                Exit::Fine,
            ),
            failed => (
                Tone::Bad,
                format!("{checked} claims checked, {failed} do NOT hold (✗), in {seconds:.1} s."),
                Exit::Findings,
            ),
        };
        self.screen
            .say(&format!("\n{}\n", self.screen.paint(tone, &line)))?;
        Ok(exit)
    }

    fn make(&mut self, claim: &str, wrong: &[String]) -> Result<(), Failure> {
        self.checked += 1;
        self.failed += usize::from(!wrong.is_empty());
        self.screen.claim(claim, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        Cell::new("a", "b", 80)
    }

    #[test]
    fn one_claim_that_does_not_hold_fails_the_demo() {
        let screen = Screen::muted();
        let mut claims = Claims::new(&screen);
        let allowed = Matrix::of([(cell(), [Seen::Allowed, Seen::Allowed])]);
        claims.equal("holds", &1, &1).unwrap();
        claims
            .exactly("holds", &BTreeSet::from([1]), &BTreeSet::from([1]))
            .unwrap();
        claims.every("holds", &allowed, &Seen::Allowed, |_| true).unwrap();
        claims.same("holds", &allowed, &allowed).unwrap();
        assert_eq!(claims.conclude(Duration::ZERO).unwrap(), Exit::Fine);
        claims.equal("does not hold", &1, &2).unwrap();
        assert_eq!(claims.conclude(Duration::ZERO).unwrap(), Exit::Findings);
    }

    #[test]
    fn what_is_wrong_with_one_ip_version_is_seen() {
        let screen = Screen::muted();
        let mut claims = Claims::new(&screen);
        let allowed = Matrix::of([(cell(), [Seen::Allowed, Seen::Allowed])]);
        let half = Matrix::of([(cell(), [Seen::Allowed, Seen::Denied])]);
        claims.every("wrong", &half, &Seen::Allowed, |_| true).unwrap();
        claims.every("wrong", &half, &Seen::Denied, |_| true).unwrap();
        claims.every("empty", &half, &Seen::Denied, |_| false).unwrap();
        claims.same("wrong", &allowed, &half).unwrap();
        claims
            .exactly("missing", &BTreeSet::from([1]), &BTreeSet::new())
            .unwrap();
        claims
            .exactly("surplus", &BTreeSet::new(), &BTreeSet::from([1]))
            .unwrap();
        assert_eq!((claims.checked, claims.failed), (6, 6));
    }
}
