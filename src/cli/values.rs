//! Values of flags: sizes, limits of deletions, switches in the environment.

use crate::manifest::ManifestMode;
use crate::session::{MaxChange, MaxDelete};
use crate::verify::Budget;
use std::time::Duration;

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

const UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Parses a size: a number, which may have a fraction, and its unit. Zero needs none.
pub(crate) fn bytes(text: &str) -> Result<Bytes, String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..at], text[at..].trim());
    if number.is_empty() {
        return Err("a size begins with a number, like 10KiB or 1.5MB".into());
    }
    if unit.is_empty() {
        if number == "0" {
            return Ok(Bytes(0));
        }
        return Err(format!("a size needs a unit, like {text}B, {text}KiB or {text}MB"));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!(
            "\"{unit}\" is not a unit of size; use B, KiB, MiB, GiB, TiB (powers of 1024) or kB, \
             MB, GB, TB (powers of 1000)"
        ));
    };
    scale(number, *factor).map(Bytes)
}

/// Multiplies a decimal number exactly.
fn scale(number: &str, factor: u64) -> Result<u64, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits_only = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !digits_only(fraction) || number.ends_with('.') {
        return Err(format!("\"{number}\" is not a number; write it like 1.5"));
    }
    let too_large = || format!("{number} is more than a size can be");
    let too_fine = || format!("{number} is not a whole number of bytes");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let mut total = u128::from(whole) * u128::from(factor);
    if !fraction.is_empty() {
        let denominator = u32::try_from(fraction.len())
            .ok()
            .filter(|digits| *digits <= 18)
            .map(|digits| 10_u128.pow(digits))
            .ok_or_else(too_fine)?;
        let part: u128 = fraction.parse().map_err(|_| too_fine())?;
        if factor == 1 && part != 0 {
            return Err(too_fine());
        }
        total += part * u128::from(factor) / denominator;
    }
    u64::try_from(total).map_err(|_| too_large())
}

/// Parses the mode of vidimus's own files in a target.
pub(crate) fn manifest_mode(text: &str) -> Result<ManifestMode, String> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let bits = if digits { u32::from_str_radix(text, 8).ok() } else { None };
    bits.and_then(ManifestMode::new).ok_or_else(|| {
        "a file's mode in octal digits that lets its owner read and write, and others at most \
         read: 0600, 0640, 0660, 0644 or 0664"
            .into()
    })
}

/// Parses a maximum of deletions: `100` entries or `10%` of the target's.
pub(crate) fn max_delete(text: &str) -> Result<MaxDelete, String> {
    let help = || "a number of entries, like 100, or a share of the target's, like 10%".to_owned();
    let (number, is_share) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text, false),
    };
    // The standard library also parses "inf", "1e2" and "+1", which are mistakes here.
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(help());
    }
    if !is_share {
        return number.parse().map(MaxDelete::Count).map_err(|_| help());
    }
    match number.parse() {
        Ok(percent) if percent <= 100.0 => Ok(MaxDelete::Percent(percent)),
        Ok(_) => Err("no more than 100% can be deleted".into()),
        Err(_) => Err(help()),
    }
}

/// Parses a share of changed files, like `20%`.
pub(crate) fn max_change(text: &str) -> Result<MaxChange, String> {
    match max_delete(text) {
        Ok(MaxDelete::Percent(percent)) => Ok(MaxChange(percent)),
        _ => Err("a share of the files that were mirrored before, like 20%".to_owned()),
    }
}

/// Seconds in each unit of time.
const TIME_UNITS: [(&str, u64); 5] =
    [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];

/// Parses a time: a whole number and its unit, like `30d`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..at], text[at..].trim());
    let unit = TIME_UNITS.iter().find(|(name, _)| *name == unit);
    let help = "a time is a whole number and its unit (s, m, h, d, w), like 30d or 2h";
    let (Some((_, seconds)), false) = (unit, number.is_empty()) else { return Err(help.into()) };
    let number: Option<u64> = number.parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(*seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text} is more than a time can be"))
}

/// Parses a budget: a time like `2h`, or a size like `500GiB`.
pub(crate) fn budget(text: &str) -> Result<Budget, String> {
    let is_time = text.ends_with(|last| TIME_UNITS.iter().any(|(name, _)| name.starts_with(last)));
    let budget = if is_time {
        time(text).map(Budget::Time)
    } else {
        bytes(text).map(|size| Budget::Bytes(size.0))
    };
    match budget {
        Ok(Budget::Time(Duration::ZERO) | Budget::Bytes(0)) => {
            Err("with a budget of zero, nothing would be read; --quick does that".into())
        }
        Ok(budget) => Ok(budget),
        Err(error) => Err(format!("{error}; a budget is a time like 2h or a size like 500GiB")),
    }
}

/// A sample of files.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SampleArg {
    /// One of several parts.
    Part { number: u32, of: u32 },
    /// A share, chosen by a seed if one is given.
    Share { percent: f64, seed: Option<u32> },
}

/// Parses a sample: part `3/12`, or a share like `5%`, which `5%@1a2b3c4d` repeats.
pub(crate) fn sample(text: &str) -> Result<SampleArg, String> {
    let help = || "a share of the files, like 5%, or one of so many parts, like 3/12".to_owned();
    let is_number = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    if let Some((number, of)) = text.split_once('/') {
        if !is_number(number) || !is_number(of) {
            return Err(help());
        }
        let (number, of) = (number.parse().map_err(|_| help())?, of.parse().map_err(|_| help())?);
        if !(1..=of).contains(&number) {
            return Err(format!("there is no part {number} of {of}: parts are numbered from 1"));
        }
        return Ok(SampleArg::Part { number, of });
    }
    let (share, seed) = match text.split_once('@') {
        Some((share, seed)) => (share, Some(seed)),
        None => (text, None),
    };
    let percent = share.strip_suffix('%').map(str::trim_end).filter(|share| is_number(share));
    let percent: f64 = percent.ok_or_else(help)?.parse().map_err(|_| help())?;
    if percent == 0.0 || percent > 100.0 {
        return Err("a share must be above 0% and at most 100%".into());
    }
    let seed = seed.map(|seed| u32::from_str_radix(seed, 16)).transpose();
    let seed = seed.map_err(|_| "a seed is up to eight hexadecimal digits, like 5%@1a2b3c4d")?;
    Ok(SampleArg::Share { percent, seed })
}

/// Parses a switch in the environment; flags on the command line have no value.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_in_both_kinds_of_units() {
        let cases = [
            ("0", 0),
            ("0B", 0),
            ("17B", 17),
            ("10KiB", 10_240),
            ("10kB", 10_000),
            ("10KB", 10_000),
            ("1.5MiB", 1_572_864),
            ("1.5 MB", 1_500_000),
            ("2GiB", 2 << 30),
            ("16777215TiB", 16_777_215 << 40),
            ("0.1kB", 100),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Ok(Bytes(expected)), "{text}");
        }
    }

    #[test]
    fn a_size_without_a_known_unit_is_refused_with_an_example() {
        assert!(bytes("10").unwrap_err().contains("10KiB"));
        assert!(bytes("10M").unwrap_err().contains("MiB"));
        assert!(bytes("10mb").unwrap_err().contains("\"mb\""));
        for text in ["", "KiB", "-1KiB", "1..5MB", "1.MB", ".5MB", "1.5B", "1e3B", "16777216TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_maximum_of_deletions_is_a_count_or_a_share() {
        assert_eq!(manifest_mode("0640"), Ok(ManifestMode::new(0o640).unwrap()));
        for text in ["", "+640", "0666", "0700", "u=rw", "0620", "77777777777"] {
            assert!(manifest_mode(text).is_err(), "{text}");
        }
        assert_eq!(max_delete("100"), Ok(MaxDelete::Count(100)));
        assert_eq!(max_delete("0"), Ok(MaxDelete::Count(0)));
        assert_eq!(max_delete("12.5%"), Ok(MaxDelete::Percent(12.5)));
        assert_eq!(max_delete("100%"), Ok(MaxDelete::Percent(100.0)));
        assert_eq!(max_change("12.5%"), Ok(MaxChange(12.5)));
        for text in ["", "20", "101%", "-1%", "%"] {
            assert!(max_change(text).is_err(), "{text}");
        }
        for text in ["", "%", "101%", "-1", "-1%", "nan%", "inf%", "1.5", "half", "1e2%"] {
            assert!(max_delete(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_budget_is_a_time_or_a_size() {
        assert_eq!(budget("90s"), Ok(Budget::Time(Duration::from_secs(90))));
        assert_eq!(budget("2h"), Ok(Budget::Time(Duration::from_hours(2))));
        assert_eq!(budget("5m"), Ok(Budget::Time(Duration::from_mins(5))));
        assert_eq!(budget("500GiB"), Ok(Budget::Bytes(500 << 30)));
        assert_eq!(budget("1.5 MB"), Ok(Budget::Bytes(1_500_000)));
        assert_eq!(time("30d"), Ok(Duration::from_hours(30 * 24)));
        assert_eq!(time("2 w"), Ok(Duration::from_hours(14 * 24)));
        for text in ["", "0", "0s", "0B", "2", "h", "1.5h", "-1h", "2hours", "5M", "1e3s"] {
            assert!(budget(text).is_err(), "{text}");
        }
        for text in ["30", "d", "", "30x", "30GiB", "99999999999999999999w"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_is_a_share_or_a_part() {
        assert_eq!(sample("3/12"), Ok(SampleArg::Part { number: 3, of: 12 }));
        assert_eq!(sample("2.5%"), Ok(SampleArg::Share { percent: 2.5, seed: None }));
        let seeded = SampleArg::Share { percent: 5.0, seed: Some(0xbeef) };
        assert_eq!(sample("5%@0000beef"), Ok(seeded));
        for text in
            ["", "5", "0%", "101%", "%", "0/3", "4/3", "/", "1/", "1/0", "+1/2", "5%@", "5%@x"]
        {
            assert!(sample(text).is_err(), "{text}");
        }
        assert!(sample("4/3").unwrap_err().contains("no part 4"));
    }

    #[test]
    fn a_switch_in_the_environment_is_never_guessed() {
        assert_eq!(switch("Yes"), Ok(true));
        assert_eq!(switch(""), Ok(false));
        assert!(switch("dry").is_err());
    }
}
