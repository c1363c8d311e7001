//! Points in time as text, in the one form that records use.
//!
//! [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) as Go reads it, whose nodes judge most of the records there are:
//! `T` and `Z` in capitals, no leap second, digits beyond nanoseconds cut off.
//!
//! ```
//! use drywire::{protocol::kad::rfc3339, time::UnixTime};
//!
//! let time = UnixTime::from_secs(1_000_000_000);
//! assert_eq!(rfc3339::format(time).as_str(), "2001-09-09T01:46:40.000000000Z");
//! assert_eq!(rfc3339::parse(b"2001-09-09T03:46:40+02:00"), Some(time));
//! ```

use crate::time::UnixTime;
use core::{fmt, str};

/// Bytes of the text that [`Text`] holds.
const LEN: usize = 30;
const DAYS_OF_400_YEARS: u64 = 146_097;
/// From 0000-03-01 to 1970-01-01. Years that begin in March have their odd day at the end.
const DAYS_TO_EPOCH: u64 = 719_468;
const SECONDS_OF_DAY: u64 = 86_400;
const NANOS: u64 = 1_000_000_000;

/// A point in time as text: `1970-01-01T00:00:00.000000001Z`, always 30 characters. Texts are ordered as their times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text([u8; LEN]);

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes a time in UTC, with nine digits after the second.
#[must_use]
pub fn format(time: UnixTime) -> Text {
    let (seconds, nanos) = (time.as_secs(), time.as_nanos() % NANOS);
    let (year, month, day) = date(seconds / SECONDS_OF_DAY);
    let second = seconds % SECONDS_OF_DAY;
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (nanos, 9, b'Z'),
    ];
    let mut text = [0; LEN];
    let mut room = text.as_mut_slice();
    for (value, width, end) in parts {
        let Some((digits, [last, rest @ ..])) = room.split_at_mut_checked(width) else {
            break;
        };
        let mut left = value;
        for place in digits.iter_mut().rev() {
            *place = b'0'.saturating_add(u8::try_from(left % 10).unwrap_or(0));
            left /= 10;
        }
        *last = end;
        room = rest;
    }
    Text(text)
}

/// Reads a time with any offset. `None` if it is no time.
///
/// What lies before 1970 becomes the epoch, what lies after 2554 the last [`UnixTime`].
#[must_use]
pub fn parse(text: &[u8]) -> Option<UnixTime> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    sign(&mut rest, b'-')?;
    let month = digits(&mut rest, 2)?;
    sign(&mut rest, b'-')?;
    let day = digits(&mut rest, 2)?;
    sign(&mut rest, b'T')?;
    let hour = digits(&mut rest, 2)?;
    sign(&mut rest, b':')?;
    let minute = digits(&mut rest, 2)?;
    sign(&mut rest, b':')?;
    let second = digits(&mut rest, 2)?;
    let nanos = fraction(&mut rest)?;
    let offset = offset(rest)?;
    let valid = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let of_day = hour
        .saturating_mul(3600)
        .saturating_add(minute.saturating_mul(60))
        .saturating_add(second);
    // From 0000-03-01, where only the two first months of the year 0 are below zero.
    let seconds = i128::from(days(year, month, day))
        .saturating_sub(i128::from(DAYS_TO_EPOCH))
        .saturating_mul(i128::from(SECONDS_OF_DAY))
        .saturating_add(i128::from(of_day))
        .saturating_sub(i128::from(offset));
    let nanos = seconds
        .saturating_mul(i128::from(NANOS))
        .saturating_add(i128::from(nanos))
        .max(0);
    Some(UnixTime::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

/// The date of a day since 1970-01-01.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(DAYS_TO_EPOCH);
    let (era, of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    // Without the odd days that precede it, each year of the era has 365.
    let year_of_era = of_era
        .saturating_sub(of_era / 1460)
        .saturating_add(of_era / 36_524)
        .saturating_sub(of_era / 146_096)
        / 365;
    let of_year = of_era.saturating_sub(days_before(year_of_era));
    // From March on, months have 153 days in five.
    let from_march = of_year.saturating_mul(5).saturating_add(2) / 153;
    let first = from_march.saturating_mul(153).saturating_add(2) / 5;
    let day = of_year.saturating_sub(first).saturating_add(1);
    let (month, later) = match from_march {
        0..10 => (from_march.saturating_add(3), 0),
        _ => (from_march.saturating_sub(9), 1),
    };
    let year = era
        .saturating_mul(400)
        .saturating_add(year_of_era)
        .saturating_add(later);
    (year, month, day)
}

/// Days from 0000-03-01, or rather from one era before if the date precedes it: negative then.
fn days(year: u64, month: u64, day: u64) -> i64 {
    let (from_march, year) = match month {
        1 | 2 => (
            month.saturating_add(9),
            i64::try_from(year).unwrap_or(0).saturating_sub(1),
        ),
        _ => (month.saturating_sub(3), i64::try_from(year).unwrap_or(0)),
    };
    let era = year.div_euclid(400);
    let year_of_era = u64::try_from(year.rem_euclid(400)).unwrap_or(0);
    let first = from_march.saturating_mul(153).saturating_add(2) / 5;
    let of_era = days_before(year_of_era)
        .saturating_add(first)
        .saturating_add(day)
        .saturating_sub(1);
    era.saturating_mul(146_097)
        .saturating_add(i64::try_from(of_era).unwrap_or(0))
}

/// Days of an era before one of its years.
const fn days_before(year_of_era: u64) -> u64 {
    year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100)
}

const fn days_of(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

fn digits(rest: &mut &[u8], count: usize) -> Option<u64> {
    let (digits, after) = rest.split_at_checked(count)?;
    let mut value = 0_u64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    *rest = after;
    Some(value)
}

fn sign(rest: &mut &[u8], sign: u8) -> Option<()> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    (*first == sign).then_some(())
}

/// Nanoseconds after the second, if there are any.
fn fraction(rest: &mut &[u8]) -> Option<u64> {
    let Some(after) = rest.strip_prefix(b".") else {
        return Some(0);
    };
    let len = after
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(after.len());
    let (digits, after) = after.split_at_checked(len).filter(|_| len > 0)?;
    *rest = after;
    let places = digits.iter().chain(core::iter::repeat(&b'0')).take(9);
    Some(places.fold(0, |value: u64, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit.saturating_sub(b'0')))
    }))
}

/// Seconds that the local time is ahead of UTC, where nothing follows.
fn offset(text: &[u8]) -> Option<i64> {
    let (ahead, mut rest) = match text {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1_i64, rest),
        _ => return None,
    };
    let hours = digits(&mut rest, 2).filter(|hours| *hours < 24)?;
    sign(&mut rest, b':')?;
    let minutes = digits(&mut rest, 2).filter(|minutes| *minutes < 60)?;
    let seconds = hours
        .saturating_mul(60)
        .saturating_add(minutes)
        .saturating_mul(60);
    let seconds = i64::try_from(seconds).ok()?.saturating_mul(ahead);
    rest.is_empty().then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format as text, string::String, vec::Vec};

    fn formatted(nanos: u64) -> String {
        String::from(format(UnixTime::from_nanos(nanos)).as_str())
    }

    /// Counts through every day from 1970 until time ends.
    #[test]
    fn every_day_has_the_date_that_counting_gives() {
        let (mut year, mut month, mut day) = (1970_u64, 1_u64, 1_u64);
        for number in 0..=u64::MAX / NANOS / SECONDS_OF_DAY {
            assert_eq!(date(number), (year, month, day));
            let start = number * SECONDS_OF_DAY * NANOS;
            let written = text!("{year:04}-{month:02}-{day:02}T00:00:00.000000000Z");
            assert_eq!(formatted(start), written);
            assert_eq!(parse(written.as_bytes()), Some(UnixTime::from_nanos(start)));
            let leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
            let last = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let after = text!("{year:04}-{month:02}-{:02}T00:00:00Z", last + 1);
            assert_eq!(parse(after.as_bytes()), None);
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                _ if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(nanos in any::<u64>()) {
            let time = UnixTime::from_nanos(nanos);
            prop_assert_eq!(parse(formatted(nanos).as_bytes()), Some(time));
        }

        #[test]
        fn texts_are_ordered_as_their_times(one in any::<u64>(), other in any::<u64>()) {
            prop_assert_eq!(one.cmp(&other), formatted(one).cmp(&formatted(other)));
        }

        #[test]
        fn an_offset_is_taken_off(
            secs in 100_000_u64..10_000_000_000,
            hours in 0_u64..24,
            minutes in 0_u64..60,
        ) {
            let utc = formatted(secs * NANOS);
            let offset = (hours * 60 + minutes) * 60;
            let ahead = text!("{}+{hours:02}:{minutes:02}", &utc[..19]);
            let behind = text!("{}-{hours:02}:{minutes:02}", &utc[..19]);
            prop_assert_eq!(parse(ahead.as_bytes()), Some(UnixTime::from_secs(secs - offset)));
            prop_assert_eq!(parse(behind.as_bytes()), Some(UnixTime::from_secs(secs + offset)));
        }

        #[test]
        fn any_bytes_are_a_time_or_none(bytes in any::<Vec<u8>>(), text in "[0-9TZ:.+-]{0,40}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }

    #[test]
    fn times_beyond_the_range_become_its_ends() {
        for (text, nanos) in [
            ("0000-01-01T00:00:00Z", 0),
            ("0000-03-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999999999Z", 0),
            ("1970-01-01T00:00:00+00:01", 0),
            ("1969-12-31T23:59:00-00:01", 0),
            ("1970-01-01T00:00:00.0000000019Z", 1),
            ("2554-07-21T23:34:33.709551615Z", u64::MAX),
            ("2554-07-21T23:34:33.709551616Z", u64::MAX),
            ("9999-12-31T23:59:59Z", u64::MAX),
        ] {
            let time = Some(UnixTime::from_nanos(nanos));
            assert_eq!(parse(text.as_bytes()), time, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in [
            "",
            "2000-01-01",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00.Z",
            "2000-01-01t00:00:00Z",
            "2000-01-01T00:00:00z",
            "2000-01-01 00:00:00Z",
            "2000-01-01T00:00:60Z",
            "2000-01-01T00:60:00Z",
            "2000-01-01T24:00:00Z",
            "2000-00-01T00:00:00Z",
            "2000-13-01T00:00:00Z",
            "2000-01-00T00:00:00Z",
            "2000-01-01T00:00:00ZZ",
            "2000-01-01T00:00:00+24:00",
            "2000-01-01T00:00:00+01:60",
            "2000-01-01T00:00:00+0100",
            "+200-01-01T00:00:00Z",
            "2000-1-01T00:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
