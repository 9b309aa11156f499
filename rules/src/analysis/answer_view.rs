//! What comes of a question, borrowing what it can: reported as an [`Answer`], or written at once as JSON of its shape.

use std::borrow::Cow;

use super::questions::Question;
use super::trace_json::{put, put_number, put_text, write_step};
use super::{Answer, BareAnswer, StepReport, WorldAnswer};
use crate::evaluate::{Said, SaidBy, Verdict};
use crate::net::Direction;
use crate::resource::Action;
use crate::world::{EndpointId, Stage, Worlds};

/// An [`Answer`] that borrows what it can; it is written in the same shape.
pub(super) struct AnswerView<'a> {
    pub(super) worlds: &'a Worlds,
    pub(super) question: Question<'a>,
    pub(super) note: Option<String>,
    pub(super) both: InBoth<'a>,
}

/// What both worlds say.
#[derive(PartialEq)]
pub(super) struct InBoth<'w> {
    pub(super) enforced: InWorld<'w>,
    /// `None` where the pending world says the same.
    pub(super) pending: Option<InWorld<'w>>,
}

/// What one world says: everyone asked on the way, up to the first that denies. After it, nothing goes on.
#[derive(PartialEq)]
pub(super) struct InWorld<'w> {
    pub(super) with: Trace<'w>,
    /// The same without safety nets, if one of them decided somewhere.
    pub(super) without_safety_net: Option<Trace<'w>>,
}

/// A verdict and the steps to it.
#[derive(PartialEq)]
pub(super) struct Trace<'w> {
    pub(super) verdict: Verdict,
    pub(super) steps: Vec<Said<'w>>,
}

impl<'w> Trace<'w> {
    /// So far it goes on.
    pub(super) fn new(steps: Vec<Said<'w>>) -> Self {
        Trace {
            verdict: Verdict::Allow,
            steps,
        }
    }

    fn report(&self, worlds: &Worlds) -> (Cow<'static, str>, Vec<StepReport>) {
        let steps = self
            .steps
            .iter()
            .map(|&step| StepReport::new(worlds, &step.into()));
        (self.verdict.as_str().into(), steps.collect())
    }

    /// Appends the verdict and the steps as JSON, but for the end of their object.
    fn write(&self, worlds: &Worlds, out: &mut Vec<u8>) {
        put(out, "{\"verdict\":\"");
        put(out, self.verdict.as_str());
        put(out, "\",\"steps\":[");
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                put(out, ",");
            }
            write_step(worlds, step, out);
        }
        put(out, "]");
    }
}

impl InWorld<'_> {
    pub(super) fn loopback(endpoint: EndpointId) -> Self {
        let step = Said {
            endpoint,
            direction: Direction::Egress,
            stage: Stage::Normal,
            by: SaidBy::Loopback,
            action: Action::Allow,
            position: None,
        };
        InWorld {
            with: Trace::new(vec![step]),
            without_safety_net: None,
        }
    }

    /// With the safety net, and without it where it decided somewhere.
    pub(super) fn verdicts(&self) -> (Verdict, Option<Verdict>) {
        let without = self.without_safety_net.as_ref();
        (self.with.verdict, without.map(|without| without.verdict))
    }

    fn report(&self, worlds: &Worlds) -> WorldAnswer {
        let (verdict, steps) = self.with.report(worlds);
        let without = self.without_safety_net.as_ref().map(|without| {
            let (verdict, steps) = without.report(worlds);
            Box::new(BareAnswer { verdict, steps })
        });
        WorldAnswer {
            verdict,
            steps,
            without_safety_net: without,
        }
    }

    /// Appends a [`WorldAnswer`] as it is serialised.
    fn write(&self, worlds: &Worlds, out: &mut Vec<u8>) {
        self.with.write(worlds, out);
        put(out, ",\"without_safety_net\":");
        match &self.without_safety_net {
            Some(without) => {
                without.write(worlds, out);
                put(out, "}");
            }
            None => put(out, "null"),
        }
        put(out, "}");
    }
}

impl From<AnswerView<'_>> for Answer {
    fn from(view: AnswerView<'_>) -> Self {
        let enforced = view.both.enforced.report(view.worlds);
        let pending = view.both.pending.map(|said| said.report(view.worlds));
        Answer {
            from: view.question.from.to_owned(),
            to: view.question.to.to_owned(),
            protocol: view.question.protocol.to_string(),
            port: view.question.port,
            pending: pending.unwrap_or_else(|| enforced.clone()),
            enforced,
            note: view.note,
        }
    }
}

impl AnswerView<'_> {
    /// Appends the answer as [`Answer`] is serialised. What both worlds say is written once and copied.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, "{\"from\":");
        put_text(out, self.question.from);
        put(out, ",\"to\":");
        put_text(out, self.question.to);
        put(out, ",\"protocol\":");
        put_text(out, &self.question.protocol.to_string());
        put(out, ",\"port\":");
        match self.question.port {
            Some(port) => put_number(out, port.into()),
            None => put(out, "null"),
        }
        put(out, ",\"enforced\":");
        let start = out.len();
        self.both.enforced.write(self.worlds, out);
        let enforced = start..out.len();
        put(out, ",\"pending\":");
        match &self.both.pending {
            Some(pending) => pending.write(self.worlds, out),
            None => out.extend_from_within(enforced),
        }
        if let Some(note) = &self.note {
            put(out, ",\"note\":");
            put_text(out, note);
        }
        put(out, "}");
    }
}
