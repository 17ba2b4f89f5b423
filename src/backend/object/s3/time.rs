//! Times as S3 writes them.

use crate::model::Timestamp;
use jiff::tz::TimeZone;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment as a signature has it: `20130524T000000Z`, of which the first eight digits are the day.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SignedTime([u8; 16]);

impl SignedTime {
    /// The moment `seconds` after the epoch; `None` beyond the years 0 to 9999.
    pub(super) fn new(seconds: i64) -> Option<Self> {
        let time = TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(seconds).ok()?);
        let year = u16::try_from(time.year()).ok()?;
        let mut text = *b"00000000T000000Z";
        digits(&mut text[0..4], year);
        for (at, value) in [
            (4, time.month()),
            (6, time.day()),
            (9, time.hour()),
            (11, time.minute()),
            (13, time.second()),
        ] {
            digits(&mut text[at..at + 2], value.unsigned_abs().into());
        }
        Some(Self(text))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only digits and letters are put in")
    }

    pub(super) fn day(&self) -> &str {
        &self.as_str()[..8]
    }
}

fn digits(place: &mut [u8], mut value: u16) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// This machine's time, in seconds since the epoch.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Reads a time of a listing: `2009-10-12T17:50:30.000Z`.
pub(super) fn of_listing(text: &str) -> Option<Timestamp> {
    static PARSER: jiff::fmt::temporal::DateTimeParser = jiff::fmt::temporal::DateTimeParser::new();
    PARSER.parse_timestamp(text).ok().map(timestamp)
}

/// Reads a time of a header: `Mon, 12 Oct 2009 17:50:30 GMT`.
pub(super) fn of_header(text: &str) -> Option<Timestamp> {
    static PARSER: jiff::fmt::rfc2822::DateTimeParser = jiff::fmt::rfc2822::DateTimeParser::new();
    PARSER.parse_timestamp(text).ok().map(timestamp)
}

fn timestamp(time: jiff::Timestamp) -> Timestamp {
    let nanos = time.as_nanosecond();
    Timestamp {
        seconds: nanos.div_euclid(1_000_000_000) as i64,
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let listed = of_listing("2009-10-12T17:50:30.120Z").expect("a time");
        assert_eq!(listed, Timestamp { seconds: 1_255_369_830, nanos: 120_000_000 });
        let header = of_header("Mon, 12 Oct 2009 17:50:30 GMT").expect("a time");
        assert_eq!(header, Timestamp { seconds: 1_255_369_830, nanos: 0 });
        assert_eq!(of_listing("2009-10-12"), None);
        assert_eq!(of_header("yesterday"), None);
    }

    #[test]
    fn signed_times_have_no_punctuation() {
        let time = SignedTime::new(1_369_353_600).expect("a year of four digits");
        assert_eq!((time.as_str(), time.day()), ("20130524T000000Z", "20130524"));
    }
}
