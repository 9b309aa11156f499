//! What the demo's output looks like.

use std::cell::Cell;
use std::io::IsTerminal;

use crate::cli::{Failure, output};

/// Standard output, with colours where they are wanted.
#[derive(Debug)]
pub(super) struct Screen {
    colour: bool,
    muted: bool,
    /// Whether the last thing printed was a claim: claims stand together, set apart from what they are about.
    after_claim: Cell<bool>,
}

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    /// A heading, a command.
    Strong,
    /// What is there but need not be read.
    Faint,
    /// What holds, what was added.
    Good,
    /// What does not hold, what was removed or denied.
    Bad,
    /// What has just become denied.
    Closed,
    /// What has just become allowed.
    Opened,
}

impl Screen {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn new() -> Self {
        Screen {
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            muted: false,
            after_claim: Cell::new(false),
        }
    }

    /// Without colours, and nothing is printed.
    #[cfg(test)]
    pub(super) fn muted() -> Self {
        Screen {
            colour: false,
            muted: true,
            after_claim: Cell::new(false),
        }
    }

    /// Prints text as it is.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        self.after_claim.set(false);
        if self.muted { Ok(()) } else { output::say(text) }
    }

    /// The text in a tone.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Closed => "1;37;41",
            Tone::Opened => "1;37;42",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Begins a step of the story.
    pub(super) fn step(&self, number: u8, text: &str) -> Result<(), Failure> {
        let heading = self.paint(Tone::Strong, &format!("{number}  {text}"));
        self.say(&format!("\n{heading}\n"))
    }

    /// Prints a claim with its tick, or with a cross and what is wrong with it.
    pub(super) fn claim(&self, claim: &str, wrong: &[String]) -> Result<(), Failure> {
        let gap = if self.after_claim.get() { "" } else { "\n" };
        let mark = if wrong.is_empty() {
            self.paint(Tone::Good, "✓")
        } else {
            self.paint(Tone::Bad, "✗")
        };
        let mut text = format!("{gap}   {mark} {claim}\n");
        for line in wrong {
            text += &format!("       {line}\n");
        }
        self.say(&text)?;
        self.after_claim.set(true);
        Ok(())
    }

    /// Shows a file that has come.
    pub(super) fn added(&self, file: &str, text: &str) -> Result<(), Failure> {
        let mut shown = format!("\n   policy.d/{file}\n");
        for line in text.lines() {
            shown += &format!("   {}\n", self.paint(Tone::Good, &format!("+ {line}")));
        }
        self.say(&shown)
    }

    /// Shows that a file has gone.
    pub(super) fn removed(&self, file: &str) -> Result<(), Failure> {
        let line = self.paint(Tone::Bad, &format!("- policy.d/{file}"));
        self.say(&format!("\n   {line}\n"))
    }

    /// Shows a line of a file that has changed.
    pub(super) fn changed(&self, file: &str, old: &str, new: &str) -> Result<(), Failure> {
        let old = self.paint(Tone::Bad, &format!("- {old}"));
        let new = self.paint(Tone::Good, &format!("+ {new}"));
        self.say(&format!("\n   policy.d/{file}\n   {old}\n   {new}\n"))
    }

    /// Shows a command and its answer, as on the host's own terminal.
    pub(super) fn command(&self, host: &str, command: &str, answer: &str) -> Result<(), Failure> {
        let mut shown = format!(
            "\n   {}\n",
            self.paint(Tone::Strong, &format!("{host}# {command}"))
        );
        for line in answer.lines() {
            shown += &format!("   {}\n", line.replace('\t', "  "));
        }
        self.say(&shown)
    }
}
