//! What else filters on this host, and what palisade wants of it: looked at, never changed.

mod hooks;
mod host;
mod owners;
mod published;

use std::path::Path;

use palisade_nft::Nft;
use serde::{Deserialize, Serialize};

pub use hooks::HookRow;
pub use published::Published;

use crate::api::types::PolicyRow;
use crate::apply::Panic;
use crate::kernel::KernelError;

/// What the doctor has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What sits on the hooks that packets pass, in the order in which they meet it.
    pub hooks: Vec<HookRow>,
    /// Ports that are sent on to containers, or elsewhere.
    pub published: Vec<Published>,
    /// What is worth knowing, the most important first.
    pub findings: Vec<Finding>,
}

/// One thing that is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Its kind: stable, and listed in the documentation.
    pub code: String,
    /// What there is.
    pub message: String,
    /// What to do about it, if anything.
    pub help: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is open or closed that nobody meant to be, or will be after a reboot.
    Warning,
    /// Something that explains what one sees.
    Note,
}

/// What the daemon says, where it answers.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Its policies.
    pub policies: Vec<PolicyRow>,
}

impl Finding {
    fn warning(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Warning,
            code: code.to_owned(),
            message: message.into(),
            help: help.into(),
        }
    }

    fn note(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Note,
            ..Finding::warning(code, message, help)
        }
    }
}

/// Looks at this host: its nf_tables through the network namespace of the calling thread, everything else below `root`.
/// `answers` are none where the daemon does not answer.
pub fn examine(root: &Path, state_dir: &Path, answers: Option<&Answers>) -> Result<Report, KernelError> {
    let mut nft = Nft::open()?;
    let chains = nft.survey()?;
    let legacy = host::legacy_tables(root);
    let hooks = hooks::rows(&chains, &legacy);
    let published = published::ports(&chains, answers);
    let mut findings = ours(&hooks, state_dir, answers);
    findings.extend(hooks::findings(&hooks));
    findings.extend(published::findings(&published, &legacy));
    findings.extend(host::findings(root, state_dir));
    findings.sort_by_key(|finding| finding.severity);
    Ok(Report {
        hooks,
        published,
        findings,
    })
}

/// What is wrong with palisade itself.
fn ours(hooks: &[HookRow], state_dir: &Path, answers: Option<&Answers>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let panic = Panic::new(state_dir).reason();
    if let Some(reason) = &panic {
        findings.push(Finding::warning("panic", reason.clone(), "type: palisade resume"));
    }
    if answers.is_none() {
        findings.push(Finding::warning(
            "no-daemon",
            "palisaded does not answer: what is in force stays, and follows no change of the host",
            "systemctl start palisade; as a user, be in the group palisade",
        ));
    }
    if panic.is_none() && !hooks.iter().any(|row| row.ours) {
        findings.push(Finding::warning(
            "no-table",
            "the table inet palisade is not there: palisade filters nothing",
            "start palisaded, or see what its log says: journalctl -u palisade",
        ));
    }
    findings
}
