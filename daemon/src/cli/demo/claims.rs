//! Claims, each checked and then printed with a tick or a cross.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::time::Duration;

use super::matrix::{Cell, Matrix, Seen};
use super::screen::{Screen, Tone};
use crate::cli::{Failure, Outcome};
use crate::exit::Exit;

/// How many claims were made, and how many of them did not hold.
#[derive(Debug)]
pub(super) struct Claims {
    screen: Screen,
    checked: usize,
    failed: usize,
}

impl Claims {
    /// None yet.
    pub(super) fn new(screen: Screen) -> Self {
        Claims {
            screen,
            checked: 0,
            failed: 0,
        }
    }

    /// Claims that what was seen is what was expected.
    pub(super) fn equal<T: PartialEq + Debug>(
        &mut self,
        claim: &str,
        expected: &T,
        seen: &T,
    ) -> Result<(), Failure> {
        let wrong = [format!("expected {expected:?}"), format!("seen     {seen:?}")];
        self.print(claim, if expected == seen { &[] } else { &wrong })
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
            .map(|it| format!("expected {it}, and it was not seen"));
        let surplus = seen
            .difference(expected)
            .map(|it| format!("seen {it}, and it was not expected"));
        self.print(claim, &missing.chain(surplus).collect::<Vec<_>>())
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
        self.print(&format!("{claim} ({connections} connections)"), &wrong)
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
        self.print(claim, &wrong)
    }

    /// Says how it went, and how the command ends.
    pub(super) fn conclude(&self, took: Duration) -> Outcome {
        let seconds = took.as_secs_f32();
        let checked = self.checked;
        let (tone, line, exit) = match self.failed {
            0 => (
                Tone::Good,
                format!("{checked} claims checked, all of them held, in {seconds:.1} s."),
                Exit::Fine,
            ),
            failed => (
                Tone::Bad,
                format!("{checked} claims checked, {failed} did NOT hold (✗ above), in {seconds:.1} s."),
                Exit::Findings,
            ),
        };
        self.screen
            .say(&format!("\n{}\n", self.screen.paint(tone, &line)))?;
        Ok(exit)
    }

    fn print(&mut self, claim: &str, wrong: &[String]) -> Result<(), Failure> {
        self.checked += 1;
        if wrong.is_empty() {
            let tick = self.screen.paint(Tone::Good, "✓");
            return self.screen.say(&format!("   {tick} {claim}\n"));
        }
        self.failed += 1;
        let mut text = format!("   {} {claim}\n", self.screen.paint(Tone::Bad, "✗"));
        for line in wrong {
            text += &format!("       {line}\n");
        }
        self.screen.say(&text)
    }
}
