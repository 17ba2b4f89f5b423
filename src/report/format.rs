//! Formats of numbers for people: sizes in binary units, counts with thousands separators,
//! durations in two units. Pure functions.

use crate::model::Timestamp;
use std::time::Duration;

/// Formats a count with thousands separators: `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a count with its noun: `1 file`, `1,234 files`.
pub(crate) fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// Formats counts of files, links and directories, leaving out those that are 0; `leaves` counts
/// files and links together.
pub(crate) fn kinds(leaves: u64, links: u64, directories: u64) -> String {
    let counts = [
        (leaves.saturating_sub(links), "file", "files"),
        (links, "link", "links"),
        (directories, "directory", "directories"),
    ];
    let counts = counts.into_iter().filter(|(number, ..)| *number > 0);
    counts.map(|(number, one, many)| counted(number, one, many)).collect::<Vec<_>>().join(", ")
}

/// Formats bytes in binary units with one decimal: `17 B`, `1.5 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // 1023.95 would print as 1024.0: the next unit is better.
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Formats a speed in bytes a second: `12.3 MiB/s`.
pub(crate) fn speed(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second.round() as u64))
}

/// Formats a duration: `35 ms`, `12.3 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis} ms");
    }
    if millis < 59_950 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    whole_seconds(duration.as_secs_f64().round() as u64)
}

/// Formats an estimated duration, in whole seconds and above.
pub(crate) fn rough_duration(duration: Duration) -> String {
    whole_seconds(duration.as_secs_f64().ceil() as u64)
}

fn whole_seconds(seconds: u64) -> String {
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{} {large_unit}", count(large))
        } else {
            format!("{} {large_unit} {small} {small_unit}", count(large))
        }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Formats a time to the second, in UTC (RFC 3339): `2026-11-21T05:17:25Z`.
pub(crate) fn moment(time: Timestamp) -> String {
    Timestamp { nanos: 0, ..time }.to_string()
}

/// Formats a share from 0 to 1: `0%`, `0.05%`, `12.50%`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent <= 0.0 {
        "0%".into()
    } else if percent < 0.01 {
        "under 0.01%".into()
    } else {
        format!("{percent:.2}%")
    }
}

/// Formats the error rate E: `error rate 5.00% (1 of 20 entries)`.
pub(crate) fn error_rate(failed: u64, entries: u64) -> String {
    let rate = percent(crate::model::run::error_rate(failed, entries));
    let (failed, entries) = (count(failed), counted(entries, "entry", "entries"));
    format!("error rate {rate} ({failed} of {entries})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_separators() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(12_000, "file", "files"), "12,000 files");
    }

    #[test]
    fn links_are_distinguished_from_files_and_zero_counts_left_out() {
        for (counts, text) in [
            ((3, 1, 2), "2 files, 1 link, 2 directories"),
            ((1, 0, 0), "1 file"),
            ((1200, 1200, 1), "1,200 links, 1 directory"),
            ((0, 0, 1), "1 directory"),
        ] {
            assert_eq!(kinds(counts.0, counts.1, counts.2), text);
        }
    }

    #[test]
    fn sizes_are_in_binary_units_with_one_decimal_and_below_1024() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(speed(1023.6), "1.0 KiB/s");
    }

    #[test]
    fn durations_are_in_at_most_two_units() {
        let cases = [
            (35, "35 ms"),
            (1_000, "1.0 s"),
            (59_949, "59.9 s"),
            (59_960, "1 min"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
            (277_200_000, "3 d 5 h"),
        ];
        for (millis, text) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(rough_duration(Duration::from_millis(1200)), "2 s");
    }

    #[test]
    fn moments_are_printed_to_the_second_in_utc() {
        let at = |seconds| moment(Timestamp { seconds, nanos: 999_999_999 });
        assert_eq!(at(1_600_000_000), "2020-09-13T12:26:40Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn a_small_error_rate_never_prints_as_zero() {
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.000_001), "under 0.01%");
        assert_eq!(percent(0.125), "12.50%");
    }
}
