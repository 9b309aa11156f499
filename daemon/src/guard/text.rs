//! The guard's report for reading.

use std::fmt::Write as _;

use super::{Cut, GuardReport, What, When};

/// Cuts that are shown.
const SHOWN: usize = 20;

impl GuardReport {
    /// The refusal, what else would be cut, and what to do.
    pub fn refused(&self) -> String {
        let why = self.refusal.as_ref().map(|refusal| refusal.message.as_str());
        // One cut is the one that the refusal is about.
        let all = if self.cut.len() > 1 {
            self.text()
        } else {
            String::new()
        };
        format!(
            "refused by the lockout guard: {}\n{all}help: change the policy so that this stays open, or say --force, best \
             with --confirm-within 60s",
            why.unwrap_or("nothing is refused"),
        )
    }

    /// The report in lines: what would be cut, then the notes; empty if there is nothing to say.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.cut.is_empty() {
            text += "what it cuts:\n";
        }
        for cut in self.cut.iter().take(SHOWN) {
            // Writing into a string does not fail.
            let _ = writeln!(text, "  {}", cut.line());
        }
        if let Some(more) = self.cut.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "  and {more} more (-o json lists them)");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

impl Cut {
    /// `your own session, tcp 2222 from 192.0.2.7, if opened again: lockdown (end of tier default) denies it (...)`.
    pub fn line(&self) -> String {
        let what = match self.what {
            What::OwnSession => "your own session".to_owned(),
            What::Management => count(self.connections, "management session"),
            What::Service => count(self.connections, "connection"),
            What::Failsafe => "a failsafe".to_owned(),
            What::Dns => "DNS".to_owned(),
            What::Neighbour => "neighbour discovery".to_owned(),
        };
        let port = self.port.map(|port| format!(" {port}")).unwrap_or_default();
        let others = match self.peers_total.saturating_sub(self.peers.len()) {
            0 => String::new(),
            others => format!(" and {others} others"),
        };
        let with = match self.what {
            What::OwnSession | What::Management | What::Service => "from",
            What::Failsafe | What::Dns | What::Neighbour => "with",
        };
        let owner = self
            .owners
            .first()
            .map(|owner| format!(", held by {}", owner.phrase()));
        format!(
            "{what}, {}{port} {with} {}{others}{}, {}: {}",
            self.protocol,
            self.peers.join(", "),
            owner.unwrap_or_default(),
            match self.when {
                When::Now => "at once",
                When::OpenedAgain => "if opened again",
            },
            self.why
        )
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}
