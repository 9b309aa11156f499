//! What came of expectations: as data, for JSON; as TAP; and in the XML of JUnit, which build servers read.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use super::Expectation;
use crate::analysis::StepReport;
use crate::net::PortRange;
use crate::source::Position;
use crate::world::WorldKind;

/// What came of all expectations, in the order written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many hold.
    pub passed: usize,
    /// How many do not.
    pub failed: usize,
    /// Of how many it cannot be told.
    pub errors: usize,
    /// Each of them.
    pub expectations: Vec<Checked>,
}

/// What came of one expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The name of the document it is in.
    pub suite: Option<String>,
    /// Its name.
    pub name: String,
    /// Where it is written, as `file:line:column`.
    #[serde(serialize_with = "displayed")]
    pub source: Position,
    /// Whether it holds.
    pub status: Status,
    /// What was expected: `allow` or `deny`.
    pub expect: &'static str,
    /// The protocol, in nftables' word.
    pub protocol: String,
    /// Whether it is about the worlds without their safety nets.
    pub without_safety_net: bool,
    /// Why nothing could be asked at all.
    pub error: Option<String>,
    /// What holds, for each pair of ends, world and stretch of ports.
    pub cases: Vec<Case>,
}

/// Whether an expectation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Pass,
    /// It does not.
    Fail,
    /// It cannot be told.
    Error,
}

/// What holds between two ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Where from, as `explain` was asked.
    pub from: String,
    /// Where to, as `explain` was asked.
    pub to: String,
    /// The first and the last port; `None` for a protocol without ports.
    #[serde(serialize_with = "pair")]
    pub ports: Option<PortRange>,
    /// In which world.
    #[serde(serialize_with = "word")]
    pub world: WorldKind,
    /// `allow` or `deny`; `None` if `explain` could not tell.
    pub verdict: Option<Cow<'static, str>>,
    /// Whether that is as expected.
    pub ok: bool,
    /// The step that decided.
    pub step: Option<StepReport>,
    /// Why `explain` could not tell.
    pub error: Option<String>,
}

impl Checked {
    /// What came of an expectation; `error` is why nothing could be asked.
    pub(super) fn new(expectation: &Expectation, cases: Vec<Case>, error: Option<String>) -> Self {
        let has_failed = |case: &Case| case.error.is_none() && !case.ok;
        let status = if cases.iter().any(has_failed) {
            Status::Fail
        } else if error.is_some() || cases.iter().any(|case| case.error.is_some()) {
            Status::Error
        } else {
            Status::Pass
        };
        Checked {
            suite: expectation.suite.clone(),
            name: expectation.name.clone(),
            source: expectation.position.clone(),
            status,
            expect: expectation.expect.as_str(),
            protocol: expectation.protocol.to_string(),
            without_safety_net: expectation.without_safety_net,
            error,
            cases,
        }
    }

    /// A line for everything that is not as expected.
    pub fn complaints(&self) -> Vec<String> {
        let cases = self.cases.iter().filter(|case| !case.ok);
        let cases = cases.map(|case| format!("{}: {case}", self.protocol));
        self.error.clone().into_iter().chain(cases).collect()
    }
}

impl Case {
    /// Whether another case says the same of the ports that follow.
    pub(super) fn continues(&self, next: &Case) -> bool {
        let follows = match (self.ports, next.ports) {
            (Some(ports), Some(next)) => ports.last.checked_add(1) == Some(next.first),
            _ => false,
        };
        let with_ports_of = |case: &Case| Case {
            ports: next.ports,
            ..case.clone()
        };
        follows && with_ports_of(self) == *next
    }

    /// With the ports of a case that continues this one.
    pub(super) fn extend(&mut self, next: &Case) {
        if let (Some(ports), Some(next)) = (&mut self.ports, next.ports) {
            ports.last = next.last;
        }
    }
}

/// `web to db 5432 is denied in the pending world by lockdown (ingress rule 0), policy.yaml:4:9`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)?;
        if let Some(ports) = self.ports {
            write!(f, " {ports}")?;
        }
        let world = self.world.as_str();
        match (&self.verdict, &self.error) {
            (Some(verdict), _) => {
                let participle = if verdict == "deny" { "denied" } else { "allowed" };
                write!(f, " is {participle} in the {world} world")?;
            }
            (None, error) => {
                let error = error.as_deref().unwrap_or_default();
                write!(f, " cannot be told in the {world} world: {error}")?;
            }
        }
        let Some(step) = &self.step else { return Ok(()) };
        write!(f, " by {}", step.phrase())?;
        step.source
            .as_ref()
            .map_or(Ok(()), |source| write!(f, ", {source}"))
    }
}

impl Report {
    pub(super) fn new(expectations: Vec<Checked>) -> Self {
        let count = |status| {
            expectations
                .iter()
                .filter(|checked| checked.status == status)
                .count()
        };
        Report {
            passed: count(Status::Pass),
            failed: count(Status::Fail),
            errors: count(Status::Error),
            expectations,
        }
    }

    /// Whether every expectation holds, and there is one.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.errors == 0 && self.passed > 0
    }

    /// For reading: a line for each expectation, and beneath what is not as expected.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for checked in &self.expectations {
            let word = match checked.status {
                Status::Pass => "pass",
                Status::Fail => "FAIL",
                Status::Error => "ERROR",
            };
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "{word:<5}  {}", one_line(&checked.name));
            if checked.status != Status::Pass {
                let _ = writeln!(text, "       {} expected at {}", checked.expect, checked.source);
            }
            for complaint in checked.complaints() {
                let _ = writeln!(text, "       {}", one_line(&complaint));
            }
        }
        if self.expectations.is_empty() {
            text.push_str("there is no expectation\n");
        } else {
            let _ = writeln!(
                text,
                "{} hold, {} do not, {} cannot be told",
                self.passed, self.failed, self.errors
            );
        }
        text
    }

    /// In the Test Anything Protocol, version 13.
    pub fn tap(&self) -> String {
        let mut text = format!("TAP version 13\n1..{}\n", self.expectations.len());
        for (index, checked) in self.expectations.iter().enumerate() {
            let result = if checked.status == Status::Pass {
                "ok"
            } else {
                "not ok"
            };
            // A hash would begin a directive.
            let name = one_line(&checked.name).replace('#', "\\#");
            let _ = writeln!(text, "{result} {} - {name}", index + 1);
            if checked.status != Status::Pass {
                let _ = writeln!(text, "# {} expected at {}", checked.expect, checked.source);
            }
            for complaint in checked.complaints() {
                let _ = writeln!(text, "# {}", one_line(&complaint));
            }
        }
        text
    }

    /// In the XML of JUnit.
    pub fn junit(&self) -> String {
        let (tests, failures, errors) = (self.expectations.len(), self.failed, self.errors);
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites>\n<testsuite name=\"palisade\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n"
        );
        for checked in &self.expectations {
            let class = checked.suite.as_deref().unwrap_or(&checked.source.file);
            let _ = write!(
                text,
                "<testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\"",
                xml(class),
                xml(&checked.name),
                xml(&checked.source.file),
                checked.source.line
            );
            let element = match checked.status {
                Status::Pass => {
                    text.push_str("/>\n");
                    continue;
                }
                Status::Fail => "failure",
                Status::Error => "error",
            };
            let complaints = checked.complaints();
            let first = complaints.first().map(String::as_str).unwrap_or_default();
            let all = xml(&complaints.join("\n"));
            let _ = writeln!(
                text,
                ">\n<{element} message=\"{}\">{all}</{element}>\n</testcase>",
                xml(first)
            );
        }
        text + "</testsuite>\n</testsuites>\n"
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Text as XML has it, in content and in attributes. Control characters have no place there.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn displayed<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(position)
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives the field by reference"
)]
fn pair<S: Serializer>(ports: &Option<PortRange>, serializer: S) -> Result<S::Ok, S::Error> {
    ports.map(|ports| [ports.first, ports.last]).serialize(serializer)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives the field by reference"
)]
fn word<S: Serializer>(world: &WorldKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(world.as_str())
}
