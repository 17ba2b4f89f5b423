//! Timetables: a rate for each minute of the week.

use std::num::NonZeroU64;

/// Bytes a second; `None` is no limit.
pub type Rate = Option<NonZeroU64>;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Rates by the time of the week; the first entry that matches gives the rate.
///
/// The default is no limit at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timetable {
    /// The rates, each with its time of the week.
    pub entries: Vec<Entry>,
    /// The rate when no entry matches.
    pub otherwise: Rate,
}

/// A rate and the time of the week that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The days on which the span begins.
    pub days: Days,
    /// The time of the day.
    pub span: Span,
    /// The rate.
    pub rate: Rate,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

/// A span of time that begins on a day, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from: u16,
    /// Length in minutes; a span over midnight ends on the next day.
    length: u16,
}

impl Timetable {
    /// Makes a timetable with one rate at all times.
    pub fn always(rate: Rate) -> Self {
        Self { entries: Vec::new(), otherwise: rate }
    }

    /// Returns whether there is no limit at any time.
    pub fn is_unlimited(&self) -> bool {
        self.otherwise.is_none() && self.entries.iter().all(|entry| entry.rate.is_none())
    }

    /// Returns the rate on `day` (0 is Monday) at `minute` (0 is midnight).
    pub fn at(&self, day: u8, minute: u16) -> Rate {
        let holds = |entry: &&Entry| matches(entry.days, entry.span, day, minute);
        self.entries.iter().find(holds).map_or(self.otherwise, |entry| entry.rate)
    }
}

/// Returns whether a span that begins on some days holds on `day` (0 is Monday) at `minute` (0 is
/// midnight).
pub(super) fn matches(days: Days, span: Span, day: u8, minute: u16) -> bool {
    let yesterday = (day + 6) % 7;
    days.contain(day) && span.contains(minute)
        || days.contain(yesterday) && span.contains(minute + DAY)
}

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// Makes the days from `first` to `last` (0 is Monday), over the end of the week if `last`
    /// comes first.
    pub fn new(first: u8, last: u8) -> Self {
        let count = (last + 7 - first) % 7;
        Self((0..=count).fold(0, |days, n| days | 1 << ((first + n) % 7)))
    }

    fn contain(self, day: u8) -> bool {
        self.0 >> day & 1 == 1
    }
}

impl Span {
    /// The whole day.
    pub const ALL: Self = Self { from: 0, length: DAY };

    /// Makes the span from one minute of a day to another, over midnight if `to` comes first.
    /// Returns `None` if both are the same or one is out of range (`to` may be 24:00).
    pub fn new(from: u16, to: u16) -> Option<Self> {
        let length = if to > from { to - from } else { to + DAY - from.min(DAY) };
        (from < DAY && to <= DAY && from != to).then_some(Self { from, length })
    }

    fn contains(self, minute: u16) -> bool {
        (self.from..self.from + self.length).contains(&minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64) -> Rate {
        NonZeroU64::new(bytes)
    }

    fn at(hour: u16, minute: u16) -> u16 {
        hour * 60 + minute
    }

    #[test]
    fn the_first_entry_that_matches_gives_the_rate() {
        let day = Span::new(at(8, 0), at(18, 0)).unwrap();
        let table = Timetable {
            entries: vec![
                Entry { days: Days::new(0, 4), span: day, rate: rate(10) },
                Entry { days: Days::new(4, 5), span: Span::ALL, rate: rate(2) },
            ],
            otherwise: None,
        };
        assert_eq!(table.at(0, at(7, 59)), None);
        assert_eq!(table.at(0, at(8, 0)), rate(10));
        assert_eq!(table.at(4, at(17, 59)), rate(10));
        assert_eq!(table.at(4, at(18, 0)), rate(2));
        assert_eq!(table.at(5, at(23, 59)), rate(2));
        assert_eq!(table.at(6, 0), None);
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_it_begins_on() {
        let night = Span::new(at(22, 0), at(6, 0)).unwrap();
        let entry = Entry { days: Days::new(6, 6), span: night, rate: rate(1) };
        let table = Timetable { entries: vec![entry], otherwise: None };
        assert_eq!(table.at(6, at(5, 0)), None);
        assert_eq!(table.at(6, at(22, 0)), rate(1));
        assert_eq!(table.at(0, at(5, 59)), rate(1), "Monday follows Sunday");
        assert_eq!(table.at(0, at(6, 0)), None);
        assert_eq!(table.at(0, at(22, 0)), None);
    }

    #[test]
    fn days_may_span_the_end_of_the_week() {
        let days = Days::new(5, 0);
        let contained: Vec<u8> = (0..7).filter(|&day| days.contain(day)).collect();
        assert_eq!(contained, [0, 5, 6]);
        assert_eq!(Days::new(0, 6), Days::ALL);
        assert_eq!(Days::new(3, 3), Days(0b1000));
    }

    #[test]
    fn an_empty_or_out_of_range_span_is_refused() {
        assert_eq!(Span::new(0, DAY), Some(Span::ALL));
        for (from, to) in [(60, 60), (DAY, 60), (0, DAY + 1), (DAY + 5, 3)] {
            assert_eq!(Span::new(from, to), None, "{from} {to}");
        }
    }

    #[test]
    fn a_timetable_without_any_rate_is_unlimited() {
        assert!(Timetable::default().is_unlimited());
        assert!(!Timetable::always(rate(1)).is_unlimited());
        let entry = Entry { days: Days::ALL, span: Span::ALL, rate: None };
        let table = Timetable { entries: vec![entry], otherwise: None };
        assert!(table.is_unlimited());
    }
}
