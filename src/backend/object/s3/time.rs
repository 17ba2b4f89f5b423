//! Formatting and parsing of times for S3.

use crate::model::Timestamp;
use jiff::tz::TimeZone;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time in the format of signatures: `20130524T000000Z`; its first eight digits are the date.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SignedTime([u8; 16]);

impl SignedTime {
    /// Makes the time `seconds` after the epoch; `None` outside the years 0 to 9999.
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

/// Returns this machine's time in seconds since the epoch.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Parses a time: `2009-10-12T17:50:30.000Z` as in listings, `Mon, 12 Oct 2009 17:50:30 GMT` as in
/// headers, and variants (`+0000`, a space for the `T`, no zone, the older forms of HTTP). Returns
/// `None` for anything else.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    static LISTED: jiff::fmt::temporal::DateTimeParser = jiff::fmt::temporal::DateTimeParser::new();
    static HEADER: jiff::fmt::rfc2822::DateTimeParser = jiff::fmt::rfc2822::DateTimeParser::new();
    // RFC 9110, section 5.6.7: clients must accept all three forms.
    const OLD_FORMS: [&str; 2] = ["%A, %d-%b-%y %T GMT", "%a %b %e %T %Y"];
    let text = text.trim();
    let utc = |time: jiff::civil::DateTime| TimeZone::UTC.to_timestamp(time).ok();
    let without_zone = || LISTED.parse_datetime(text).ok().filter(|_| text.contains(':'));
    LISTED
        .parse_timestamp(text)
        .ok()
        .or_else(|| HEADER.parse_timestamp(text).ok())
        .or_else(|| without_zone().and_then(utc))
        .or_else(|| {
            let parse = |form| jiff::civil::DateTime::strptime(form, text).ok();
            OLD_FORMS.iter().find_map(parse).and_then(utc)
        })
        .map(timestamp)
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
    fn times_are_read_in_whatever_form_they_come() {
        let time = Timestamp { seconds: 1_255_369_830, nanos: 0 };
        for text in [
            "2009-10-12T17:50:30.000Z",
            "2009-10-12T17:50:30Z",
            "2009-10-12T17:50:30+0000",
            "2009-10-12T19:50:30+02:00",
            "2009-10-12T17:50:30",
            "2009-10-12 17:50:30",
            " 2009-10-12 17:50:30Z\n",
            "Mon, 12 Oct 2009 17:50:30 GMT",
            "Mon, 12 Oct 2009 17:50:30 +0000",
            "Monday, 12-Oct-09 17:50:30 GMT",
            "Mon Oct 12 17:50:30 2009",
        ] {
            assert_eq!(parse(text), Some(time), "{text}");
        }
        assert_eq!(parse("2009-10-12T17:50:30.120Z").map(|time| time.nanos), Some(120_000_000));
        for text in ["", "yesterday", "2009-10-12", ":2009-10-12T17:50:30Z", "1255369830"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn signed_times_have_no_punctuation() {
        let time = SignedTime::new(1_369_353_600).expect("a year of four digits");
        assert_eq!((time.as_str(), time.day()), ("20130524T000000Z", "20130524"));
    }
}
