//! What the demo's output looks like.

use std::io::IsTerminal;

use crate::cli::{Failure, output};

/// Standard output, with colours where they are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    colour: bool,
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
    /// What has just changed otherwise.
    Changed,
}

impl Screen {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn new() -> Self {
        Screen {
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Prints text as it is.
    #[expect(
        clippy::unused_self,
        reason = "printing is the screen's, whatever it looks like"
    )]
    pub(super) fn say(self, text: &str) -> Result<(), Failure> {
        output::say(text)
    }

    /// The text in a tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Closed => "1;37;41",
            Tone::Changed => "7",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Begins a step of the story.
    pub(super) fn heading(self, number: &str, text: &str) -> Result<(), Failure> {
        let line = format!("{number:<2} {text}");
        self.say(&format!("\n{}\n", self.paint(Tone::Strong, line.trim_end())))
    }

    /// Shows a file that has come.
    pub(super) fn added(self, file: &str, text: &str) -> Result<(), Failure> {
        let body: String = text
            .lines()
            .map(|line| format!("   {}\n", self.paint(Tone::Good, &format!("+ {line}"))))
            .collect();
        self.say(&format!("   policy.d/{file}\n{body}"))
    }

    /// Shows that a file has gone.
    pub(super) fn removed(self, file: &str) -> Result<(), Failure> {
        let line = self.paint(Tone::Bad, &format!("- policy.d/{file}"));
        self.say(&format!("   {line}\n"))
    }

    /// Shows a line that has changed.
    pub(super) fn changed(self, file: &str, old: &str, new: &str) -> Result<(), Failure> {
        let old = self.paint(Tone::Bad, &format!("- {old}"));
        let new = self.paint(Tone::Good, &format!("+ {new}"));
        self.say(&format!("   policy.d/{file}\n   {old}\n   {new}\n"))
    }

    /// Shows a command and its answer, as on the host's own terminal.
    pub(super) fn command(
        self,
        host: &str,
        program: &str,
        args: &[&str],
        answer: &str,
    ) -> Result<(), Failure> {
        let line = self.paint(Tone::Strong, &format!("{host}# {program} {}", args.join(" ")));
        let answer: String = answer
            .lines()
            .map(|line| format!("   {}\n", line.replace('\t', "  ")))
            .collect();
        self.say(&format!("\n   {line}\n{answer}"))
    }
}
