//! What a command that copies may use, and one that only reads.

use super::super::rates;
use super::super::values::Bytes;
use crate::limits::{LimitOptions, RequestRate, Timetable};
use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Copy no faster than RATE, like 10MiB/s, or as a timetable says
    ///
    /// Bytes a second, with a unit; `off` is no limit. In a timetable, of local time, the first
    /// entry that matches holds: "08:00-18:00 10MiB/s, else off", or "Mon-Fri 08:00-18:00 10MiB/s,
    /// Sat 2MiB/s, else off". A time over midnight belongs to the day it begins on.
    #[arg(long, value_name = "RATE", env = "VIDIMUS_BWLIMIT", value_parser = rates::bandwidth)]
    pub(crate) bwlimit: Option<Timetable>,
    /// Send no more requests to object stores than N a second, minute or hour, like 100/s
    #[arg(long, value_name = "N/s|N/min|N/h", env = "VIDIMUS_MAX_REQUESTS",
        value_parser = rates::requests)]
    pub(crate) max_requests: Option<RequestRate>,
    /// Hold no more than SIZE of content in memory on its way to object stores, at least 16MiB
    #[arg(long, value_name = "SIZE", env = "VIDIMUS_MEMORY", value_parser = rates::memory,
        default_value = "256MiB")]
    pub(crate) memory: Bytes,
}

impl From<&LimitArgs> for LimitOptions {
    fn from(args: &LimitArgs) -> Self {
        Self {
            bandwidth: args.bwlimit.clone().unwrap_or_default(),
            zone: jiff::tz::TimeZone::system(),
            requests: args.max_requests,
            memory: args.memory.0,
            ..Self::default()
        }
    }
}

/// How hard a command reads that only reads.
#[derive(Debug, Args)]
pub(crate) struct ReadingArgs {
    /// Hash N files at the same time [default: number of processors; in a store: 32]
    #[arg(long, value_name = "N", help_heading = "Performance", env = "VIDIMUS_CHECKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) checkers: Option<u16>,
    /// Read no faster than RATE, like 10MiB/s, or as a timetable says
    ///
    /// As with `vidimus mirror`: "08:00-18:00 10MiB/s, else off".
    #[arg(long, value_name = "RATE", help_heading = "Limits", env = "VIDIMUS_BWLIMIT",
        value_parser = rates::bandwidth)]
    pub(crate) bwlimit: Option<Timetable>,
    /// Send no more requests to object stores than N a second, minute or hour, like 100/s
    #[arg(long, value_name = "N/s|N/min|N/h", help_heading = "Limits", env = "VIDIMUS_MAX_REQUESTS",
        value_parser = rates::requests)]
    pub(crate) max_requests: Option<RequestRate>,
}

impl From<&ReadingArgs> for LimitOptions {
    fn from(args: &ReadingArgs) -> Self {
        Self {
            bandwidth: args.bwlimit.clone().unwrap_or_default(),
            zone: jiff::tz::TimeZone::system(),
            requests: args.max_requests,
            ..Self::default()
        }
    }
}
