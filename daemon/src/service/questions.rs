//! What the daemon answers about the resources in force: findings and expectations.

use std::time::Duration;

use palisade_rules::analysis::expectations;
use palisade_rules::analysis::lint::{self, Finding, Options};
use palisade_rules::diagnostic::Record;
use palisade_rules::source::Files;
use palisade_rules::yaml;
use time::OffsetDateTime;

use super::Daemon;
use crate::api::types::{TestAnswer, TestQuestion};

/// Why expectations cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// They are no expectations.
    #[error("{0}")]
    Invalid(String),
    /// What came of them cannot be written.
    #[error("cannot write the report: {0}")]
    Unwritable(#[from] serde_json::Error),
}

impl Daemon {
    /// What lint finds; a policy is stale after so many days, never if they are 0, after the usual time if there is no
    /// number.
    pub fn lint(&self, stale_after_days: Option<u16>) -> Vec<Record> {
        let generation = self.generation();
        let now = OffsetDateTime::now_utc();
        let age = |at: OffsetDateTime| Duration::try_from(now - at).unwrap_or_default();
        let staged = generation.staged_since.iter();
        let stale_after = match stale_after_days {
            None => Some(lint::STALE_AFTER),
            Some(0) => None,
            Some(days) => Some(Duration::from_hours(u64::from(days) * 24)),
        };
        let options = Options {
            staged_for: staged.map(|(id, since)| (id.clone(), age(since.at))).collect(),
            stale_after,
            ..Options::default()
        };
        let findings = lint::lint(&generation.snapshot, &generation.worlds, &options);
        findings.iter().map(Finding::record).collect()
    }

    /// What comes of expectations.
    pub fn test(&self, question: &TestQuestion) -> Result<TestAnswer, TestError> {
        let mut files = Files::default();
        let mut ids = Vec::new();
        for file in &question.files {
            match yaml::add(&mut files, file.name.clone(), file.text.as_bytes()) {
                Ok(id) => ids.push(id),
                Err(problem) => return Err(TestError::Invalid(problem.message)),
            }
        }
        let (expected, problems) = expectations::decode(&files, &ids);
        if problems.has_errors() {
            return Err(TestError::Invalid(problems.render(&files, false)));
        }
        let report = expectations::check(&self.generation().worlds, &expected);
        Ok(TestAnswer::of(&report)?)
    }
}
