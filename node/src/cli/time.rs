//! Points in time as people write and read them.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A point in time on the command line: `2026-11-23`, `2026-11-23T08:00:00Z`, or `7d` for seven days ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A whole day in the local time zone.
    Day(Date),
    /// An instant.
    Instant(Timestamp),
    /// So long before now.
    Ago(SignedDuration),
}

impl Moment {
    /// Where a range that begins with it begins: milliseconds since 1970-01-01 UTC, `None` when before that or
    /// beyond what can be counted.
    pub(crate) fn begin_ms(self, now: Timestamp, zone: &TimeZone) -> Option<u64> {
        self.resolve(now, zone, false)
    }

    /// Where a range that goes up to it ends, exclusively: a day is meant with all of its hours.
    pub(crate) fn end_ms(self, now: Timestamp, zone: &TimeZone) -> Option<u64> {
        self.resolve(now, zone, true)
    }

    fn resolve(self, now: Timestamp, zone: &TimeZone, end_of_day: bool) -> Option<u64> {
        let instant = match self {
            Self::Instant(instant) => instant,
            Self::Ago(duration) => now.checked_sub(duration).ok()?,
            Self::Day(day) => {
                let day = if end_of_day { day.tomorrow().ok()? } else { day };
                day.to_zoned(zone.clone()).ok()?.timestamp()
            }
        };
        instant.as_millisecond().try_into().ok()
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "a day (2026-11-23), a time (2026-11-23T08:00:00Z) or an age (30m, 12h, 7d, 2w)".to_owned();
        if let Some(age) = parse_age(text) {
            return Ok(Self::Ago(age));
        }
        // The parser of days also takes a day with a time and drops the time, hence the check of the length.
        if text.len() == "2026-11-23".len() {
            return text.parse().map(Self::Day).map_err(|_| wrong());
        }
        text.parse().map(Self::Instant).map_err(|_| wrong())
    }
}

/// How long something lasts, as ages are written: `12h`, `90d`, `8w`.
///
/// # Errors
/// When it is none, or no time at all.
pub(crate) fn parse_life(text: &str) -> Result<Duration, String> {
    let life = parse_age(text).and_then(|age| Duration::try_from(age).ok()).filter(|life| !life.is_zero());
    life.ok_or_else(|| "so long from now: 30m, 12h, 90d, 8w".to_owned())
}

/// A whole number of minutes, hours, days of 24 hours, or weeks.
fn parse_age(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let minutes: i64 = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return None,
    };
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(SignedDuration::from_secs(i64::from(count) * minutes * 60))
}

/// Milliseconds since 1970-01-01 UTC as RFC 3339 in UTC; `None` beyond the year 9999, where authors may not be honest.
pub(crate) fn rfc3339(ms: u64) -> Option<String> {
    let instant = Timestamp::from_millisecond(ms.try_into().ok()?).ok()?;
    Some(instant.to_string())
}

/// Milliseconds since 1970-01-01 UTC as date and time of day in the local time zone.
pub(crate) fn local(ms: u64) -> String {
    let instant = ms.try_into().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match instant {
        Some(instant) => instant.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        None => "beyond year 9999".to_owned(),
    }
}

/// A span of time for people, in its two largest units.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
    }

    #[test]
    fn a_day_is_meant_with_all_of_its_hours() {
        let now = Timestamp::UNIX_EPOCH;
        let day: Moment = "2026-11-23".parse().unwrap();
        assert_eq!(day.begin_ms(now, &TimeZone::UTC), Some(ms("2026-11-23T00:00:00Z")));
        assert_eq!(day.end_ms(now, &TimeZone::UTC), Some(ms("2026-11-24T00:00:00Z")));
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(day.begin_ms(now, &east), Some(ms("2026-11-22T22:00:00Z")));
    }

    #[test]
    fn an_instant_and_an_age_are_one_point() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let point = |text: &str| {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.begin_ms(now, &TimeZone::UTC), moment.end_ms(now, &TimeZone::UTC));
            moment.begin_ms(now, &TimeZone::UTC)
        };
        assert_eq!(point("2026-11-23T08:00:00+02:00"), Some(ms("2026-11-23T06:00:00Z")));
        assert_eq!(point("12h"), Some(ms("2026-11-23T00:00:00Z")));
        assert_eq!(point("7d"), Some(ms("2026-11-16T12:00:00Z")));
        assert_eq!(point("2w"), Some(ms("2026-11-09T12:00:00Z")));
        assert_eq!(point("30m"), Some(ms("2026-11-23T11:30:00Z")));
        assert_eq!(point("99999w"), None, "that is before 1970");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in ["", "d", "-1d", "7 d", "yesterday", "2026-13-01", "2026-11-23T08:00", "7dd", "٧d", "é"]
        {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_is_shown_without_a_panic() {
        assert_eq!(rfc3339(u64::MAX), None);
        assert_eq!(local(u64::MAX), "beyond year 9999");
        assert_eq!(rfc3339(1_795_392_000_123).as_deref(), Some("2026-11-23T00:00:00.123Z"));
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        let spans = [(900, "0 s"), (61_000, "1 min 1 s"), (7_260_000, "2 h 1 min"), (90_000_000, "1 d 1 h")];
        for (ms, text) in spans {
            assert_eq!(span(ms), text);
        }
    }
}
