//! Moments as people read them.

use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// `2026-01-31 12:00:00 UTC`, wherever the reader is.
pub fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    at.format(format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] UTC"
    ))
    .unwrap_or_else(|_| at.to_string())
}
