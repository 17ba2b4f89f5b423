//! When a run has to end although there is more to do.

use super::timetable::{Days, Span, matches};
use crate::model::run::RunLimit;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Until when a run goes on; by default, until all is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// Bytes of content after which no further file is begun.
    pub max_transfer: Option<u64>,
    /// The longest that it takes.
    pub max_duration: Option<Duration>,
    /// The times of the week in which it goes on; at any time if there are none.
    pub windows: Vec<(Days, Span)>,
}

impl Until {
    /// Returns whether only the clock's time has to be watched for nothing.
    pub fn has_no_time(&self) -> bool {
        self.max_duration.is_none() && self.windows.is_empty()
    }

    /// Returns the limit of time that a run has reached which began `elapsed` ago.
    pub fn reached(&self, elapsed: Duration, zone: &TimeZone) -> Option<RunLimit> {
        let now = jiff::Timestamp::now().to_zoned(zone.clone());
        let minute = now.hour() as u16 * 60 + now.minute() as u16;
        self.reached_at(elapsed, now.weekday().to_monday_zero_offset().unsigned_abs(), minute)
    }

    /// Returns the limit of time that is reached on `day` (0 is Monday) at `minute` (0 is
    /// midnight).
    fn reached_at(&self, elapsed: Duration, day: u8, minute: u16) -> Option<RunLimit> {
        let is_open = |(days, span): &(Days, Span)| matches(*days, *span, day, minute);
        if !self.windows.is_empty() && !self.windows.iter().any(is_open) {
            return Some(RunLimit::Window);
        }
        self.max_duration.filter(|max| elapsed >= *max).map(|_| RunLimit::Duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_its_window_or_its_time() {
        let night = Span::new(22 * 60, 6 * 60).unwrap();
        let until = Until {
            max_duration: Some(Duration::from_hours(2)),
            windows: vec![(Days::new(0, 4), night), (Days::new(6, 6), Span::ALL)],
            ..Until::default()
        };
        let at =
            |hours, day, hour: u16| until.reached_at(Duration::from_hours(hours), day, hour * 60);
        assert_eq!(at(0, 0, 22), None);
        assert_eq!(at(1, 1, 5), None);
        assert_eq!(at(1, 1, 6), Some(RunLimit::Window));
        assert_eq!(at(2, 0, 23), Some(RunLimit::Duration));
        // The night that began on Friday ends on Saturday.
        assert_eq!(at(0, 5, 5), None);
        assert_eq!(at(0, 5, 22), Some(RunLimit::Window));
        assert_eq!(at(0, 6, 12), None);
        let no_limit = Until::default();
        assert_eq!(no_limit.reached_at(Duration::MAX, 3, 0), None);
        assert!(no_limit.has_no_time() && !until.has_no_time());
    }
}
