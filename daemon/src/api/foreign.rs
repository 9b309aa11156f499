//! What others did to our table: part of `GET /v1/status`.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::kernel::processes::Process;

/// Foreign changes of table `inet palisade` since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChanges {
    /// Those that were put right.
    pub total: u64,
    /// Attempts to put one right that failed.
    pub failed: u64,
    /// When the next repair is made, if one waits because somebody keeps changing the table.
    #[serde(with = "time::serde::rfc3339::option")]
    pub waits_until: Option<OffsetDateTime>,
    /// The last of them, the latest first.
    pub recent: Vec<ForeignChange>,
}

/// A foreign change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChange {
    /// When it was put right, or that failed.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who made it, where the kernel says.
    pub by: Option<Process>,
    /// What was wrong with the table, one difference each.
    pub what: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Remedy,
}

/// What became of a foreign change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Remedy {
    /// The table is as it should be again.
    Repaired {
        /// Operations that it took.
        changes: usize,
    },
    /// The table is not as it should be; it is tried again.
    Failed {
        /// Why.
        error: String,
    },
}
