//! Moments as they are typed.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use super::Failure;
use crate::config::duration;
use crate::exit::Exit;

/// A moment as it is typed: RFC 3339, a date, `today`, or so long ago. Days begin at midnight UTC.
pub(super) fn moment(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, Failure> {
    let midnight = |date: Date| date.midnight().assume_utc();
    if text == "today" {
        return Ok(midnight(now.date()));
    }
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(moment);
    }
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(midnight(date));
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let ago = match days {
        Some(days) => Some(Duration::days(days.into())),
        None => duration(text).and_then(|ago| Duration::try_from(ago).ok()),
    };
    ago.and_then(|ago| now.checked_sub(ago)).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            format!(
                "{text:?} is no time: write 10m, 2h, 3d (so long ago), today, 2026-11-23, or 2026-11-23T04:05:06Z"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn so_long_ago_a_day_or_a_moment() {
        let now = datetime!(2026-11-23 04:05:06 UTC);
        for (text, meant) in [
            ("10m", datetime!(2026-11-23 03:55:06 UTC)),
            ("3d", datetime!(2026-11-20 04:05:06 UTC)),
            ("today", datetime!(2026-11-23 00:00 UTC)),
            ("2026-11-22", datetime!(2026-11-22 00:00 UTC)),
            ("2026-11-22T01:02:03Z", datetime!(2026-11-22 01:02:03 UTC)),
        ] {
            assert_eq!(moment(text, now).unwrap(), meant, "{text}");
        }
    }

    #[test]
    fn before_the_beginning_of_time_is_no_moment() {
        for text in ["4294967295d", "18446744073709551615s", "5124095576030h", "noon"] {
            let error = moment(text, OffsetDateTime::UNIX_EPOCH).unwrap_err();
            assert!(error.message.contains("is no time"), "{error:?}");
        }
    }
}
