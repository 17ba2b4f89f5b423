//! Values of flags that set limits: rates of bytes and requests, timetables, memory.

use super::values::{self, Bytes};
use crate::limits::{Days, Entry, Period, Rate, RequestRate, Span, Timetable};
use std::num::{NonZeroU32, NonZeroU64};

const RATE_HELP: &str = "write a rate like 10MiB/s or 50MB/s, or off for no limit";
const TABLE_HELP: &str =
    "write a timetable like \"Mon-Fri 08:00-18:00 10MiB/s, Sat 2MiB/s, else off\"";
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minimum of `--memory` in bytes: two parts of an upload, one being read and one being sent, of at
/// least 8 MiB each.
const LEAST_MEMORY: u64 = 16 << 20;

/// Parses `--bwlimit`: a rate, or a timetable whose last entry is `else`.
pub(crate) fn bandwidth(text: &str) -> Result<Timetable, String> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    let Some((last, entries)) = entries.split_last() else { return Err(RATE_HELP.into()) };
    let mut words = last.split_whitespace();
    let otherwise = match words.next() {
        Some(word) if word.eq_ignore_ascii_case("else") => rate(words)?,
        _ if entries.is_empty() && when(last)?.is_none() => {
            return rate(last.split_whitespace()).map(Timetable::always);
        }
        _ => {
            return Err(format!(
                "a timetable must end with the rate at all other times, like \", else off\"; \
                 {TABLE_HELP}"
            ));
        }
    };
    let entries = entries.iter().map(|text| entry(text)).collect::<Result<_, _>>()?;
    Ok(Timetable { entries, otherwise })
}

fn entry(text: &str) -> Result<Entry, String> {
    match when(text)? {
        Some((days, span, words)) => Ok(Entry { days, span, rate: rate(words.into_iter())? }),
        None => Err(format!("\"{text}\" names neither a day nor a time; {TABLE_HELP}")),
    }
}

/// Days and times of a week, and the remaining words.
type When<'a> = (Days, Span, Vec<&'a str>);

/// Splits an entry into its time and its rate's words; `None` if it begins with no time.
fn when(text: &str) -> Result<Option<When<'_>>, String> {
    let mut words = text.split_whitespace().peekable();
    let days = words.peek().copied().and_then(days);
    if days.is_some() {
        words.next();
    }
    let is_span = |word: &&&str| word.contains(':');
    let span = words.peek().filter(is_span).map(|word| span(word)).transpose()?;
    if span.is_some() {
        words.next();
    }
    if days.is_none() && span.is_none() {
        return Ok(None);
    }
    Ok(Some((days.unwrap_or(Days::ALL), span.unwrap_or(Span::ALL), words.collect())))
}

/// Parses `Sat` or `Mon-Fri`.
fn days(word: &str) -> Option<Days> {
    let day = |name: &str| {
        let is_name = |day: &str| day.eq_ignore_ascii_case(name);
        DAYS.iter().position(|day| is_name(day)).and_then(|day| u8::try_from(day).ok())
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(Days::new(day(first)?, day(last)?))
}

/// Parses `08:00-18:00`.
fn span(word: &str) -> Result<Span, String> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(hour, 2) || !digits(minute, 2) || minute.len() != 2 {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (minute < 60).then_some(hour * 60 + minute)
    };
    word.split_once('-').and_then(|(from, to)| Span::new(minute(from)?, minute(to)?)).ok_or_else(
        || {
            format!(
                "\"{word}\" is no span of a day; write it like 08:00-18:00, all day as 00:00-24:00"
            )
        },
    )
}

/// Parses `--window`: times of the week, like `22:00-06:00` or `Mon-Fri 22:00-06:00, Sat-Sun`.
pub(crate) fn windows(text: &str) -> Result<Windows, String> {
    let window = |text: &str| match when(text.trim())? {
        Some((days, span, rest)) if rest.is_empty() => Ok((days, span)),
        _ => Err(format!(
            "\"{text}\" is no time of the week; write it like 22:00-06:00 or \
             \"Mon-Fri 22:00-06:00, Sat-Sun\""
        )),
    };
    text.split(',').map(window).collect::<Result<_, _>>().map(Windows)
}

/// Times of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Windows(pub(crate) Vec<(Days, Span)>);

fn rate<'a>(words: impl Iterator<Item = &'a str>) -> Result<Rate, String> {
    let text = words.collect::<Vec<_>>().join(" ");
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    if names_bits(&text) {
        return Err(format!(
            "\"{text}\" counts bits; write bytes, an eighth of it: 10 Mbit/s are 1.25MB/s"
        ));
    }
    let Some(size) = text.strip_suffix("/s") else {
        return Err(format!("\"{text}\" is not a rate; {RATE_HELP}"));
    };
    let Bytes(bytes) =
        values::bytes(size).map_err(|error| format!("\"{text}\" is not a rate: {error}"))?;
    NonZeroU64::new(bytes)
        .map(Some)
        .ok_or_else(|| "a rate of 0 would let nothing pass; write off for no limit".to_owned())
}

/// Returns whether a rate is one of bits: `10Mbit/s`, `10mbps`, `10Mb/s`.
fn names_bits(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.contains("bit") || lower.ends_with("bps") || text.ends_with("b/s")
}

/// Parses `--max-requests`: `100/s`, `600/min` or `9000/h`.
pub(crate) fn requests(text: &str) -> Result<RequestRate, String> {
    let help = || "write a number and a unit of time, like 100/s, 600/min or 9000/h".to_owned();
    let (count, period) = text.split_once('/').ok_or_else(help)?;
    let period = match period.trim() {
        "s" => Period::Second,
        "min" => Period::Minute,
        "h" => Period::Hour,
        _ => return Err(help()),
    };
    let count = count.trim();
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(help());
    }
    let count: NonZeroU32 = count.parse().map_err(|_| help())?;
    Ok(RequestRate { count, period })
}

/// Parses `--memory`.
pub(crate) fn memory(text: &str) -> Result<Bytes, String> {
    let bytes = values::bytes(text)?;
    if bytes.0 < LEAST_MEMORY {
        return Err("less than 16MiB can't hold two parts of an upload".into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate_of(bytes: u64) -> Rate {
        NonZeroU64::new(bytes)
    }

    #[test]
    fn a_single_rate_applies_at_all_times() {
        for (text, expected) in [
            ("10MiB/s", 10 << 20),
            ("50MB/s", 50_000_000),
            (" 1.5 kB/s ", 1500),
            ("1B/s", 1),
            ("off", 0),
            ("OFF", 0),
            ("else 1B/s", 1),
        ] {
            assert_eq!(bandwidth(text), Ok(Timetable::always(rate_of(expected))), "{text}");
        }
    }

    #[test]
    fn a_timetable_is_read_entry_by_entry() {
        let table = bandwidth(
            "Mon-Fri 08:00-18:00 10MiB/s, sat 2 MiB/s,Sun-mon 22:30-6:00 off , else 1GB/s",
        );
        let entry = |days, span, rate| Entry { days, span, rate };
        let span = |from, to| Span::new(from, to).unwrap();
        let expected = Timetable {
            entries: vec![
                entry(Days::new(0, 4), span(480, 1080), rate_of(10 << 20)),
                entry(Days::new(5, 5), Span::ALL, rate_of(2 << 20)),
                entry(Days::new(6, 0), span(1350, 360), None),
            ],
            otherwise: rate_of(1_000_000_000),
        };
        assert_eq!(table, Ok(expected));
        let daily = bandwidth("08:00-24:00 1B/s, else off").unwrap();
        assert_eq!((daily.at(6, 1439), daily.at(6, 479)), (rate_of(1), None));
    }

    #[test]
    fn illegal_rates_are_refused_with_an_example() {
        for (text, words) in [
            ("", "10MiB/s"),
            ("10", "10MiB/s"),
            ("10MiB", "10MiB/s"),
            ("10MiB/min", "10MiB/s"),
            ("10/s", "needs a unit"),
            ("10M/s", "not a unit"),
            ("0B/s", "write off"),
            ("0/s", "write off"),
            ("10Mbit/s", "counts bits"),
            ("10 mbps", "counts bits"),
            ("10Mb/s", "counts bits"),
            ("08:00-18:00 10MiB/s", "else off"),
            ("Sat 10MiB/s", "else off"),
            ("Sat 1B/s, 2B/s", "else off"),
            ("else off, Sat 1B/s", "else off"),
            ("1B/s, else off", "neither a day nor a time"),
            ("else 1B/s, else off", "neither a day nor a time"),
            ("Sat 1B/s, else", "10MiB/s"),
            ("Sat, else off", "10MiB/s"),
            ("Sat Sun 1B/s, else off", "\"Sun 1B/s\" is not a rate"),
            ("Samstag 1B/s, else off", "neither a day nor a time"),
            ("8-18 1B/s, else off", "neither a day nor a time"),
            ("08:00-08:00 1B/s, else off", "span of a day"),
            ("08:00-25:00 1B/s, else off", "span of a day"),
            ("08:60-09:00 1B/s, else off", "span of a day"),
            ("08:0-09:00 1B/s, else off", "span of a day"),
            ("24:00-09:00 1B/s, else off", "span of a day"),
            ("08:00 1B/s, else off", "span of a day"),
            ("08:00-+9:00 1B/s, else off", "span of a day"),
        ] {
            let error = bandwidth(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_request_rate_is_a_number_per_time() {
        let rate =
            |count, period| Ok(RequestRate { count: NonZeroU32::new(count).unwrap(), period });
        assert_eq!(requests("100/s"), rate(100, Period::Second));
        assert_eq!(requests("600/min"), rate(600, Period::Minute));
        assert_eq!(requests("9000 / h"), rate(9000, Period::Hour));
        for text in ["", "100", "0/s", "/s", "-1/s", "+1/s", "1.5/s", "100/d", "5000000000/s"] {
            assert!(requests(text).unwrap_err().contains("100/s"), "{text}");
        }
    }

    #[test]
    fn windows_are_times_of_the_week() {
        let night = Span::new(1320, 360).unwrap();
        assert_eq!(windows("22:00-06:00"), Ok(Windows(vec![(Days::ALL, night)])));
        let expected = vec![(Days::new(0, 4), night), (Days::new(5, 6), Span::ALL)];
        assert_eq!(windows("Mon-Fri 22:00-06:00, sat-sun"), Ok(Windows(expected)));
        for text in ["", "22", "22:00", "22:00-22:00", "Mon,", "Mon 1MB/s", "else", "night"] {
            assert!(windows(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_has_a_minimum() {
        assert_eq!(memory("256MiB"), Ok(Bytes(256 << 20)));
        assert!(memory("1MiB").unwrap_err().contains("16MiB"));
    }
}
