//! Exit codes.
//!
//! Main type: [`Exit`]. If several apply, [`Exit::and`] keeps the one that outranks the others.

use crate::model::{ErrorKind, Verdict};
use std::process::ExitCode;

/// Why the process ends; the number is its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything was done as requested.
    Done = 0,
    /// Some entries failed, the rest is done.
    Incomplete = 1,
    /// The request makes no sense.
    Usage = 2,
    /// Verification or comparison found differences.
    Differences = 3,
    /// The manifest can't be used.
    Manifest = 4,
    /// Another run holds the target.
    Locked = 5,
    /// A guard refused.
    Refused = 6,
    /// Source or target can't be used.
    Unusable = 7,
    /// The run reached a limit of time or size that was asked for.
    Limit = 8,
    /// Changes were made, and `--exit-changes` is given.
    Changes = 10,
    /// SIGINT stopped the run.
    Interrupted = 130,
    /// SIGTERM stopped the run.
    Terminated = 143,
}

impl Exit {
    /// Combines two reasons: the more serious one wins.
    pub(crate) fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// Returns the number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Returns the verdict of a command that only reads.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "complete",
            Self::Incomplete => "incomplete",
            _ => "failed",
        }
    }

    /// Returns the rank, in the manual's order: 130/143, 7, 5, 6, 4, 8, 1, 3, 10. Wrong usage is never
    /// combined with another.
    fn rank(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Changes => 1,
            Self::Differences => 2,
            Self::Incomplete => 3,
            Self::Limit => 4,
            Self::Manifest => 5,
            Self::Refused => 6,
            Self::Locked => 7,
            Self::Unusable => 8,
            Self::Usage => 9,
            Self::Interrupted | Self::Terminated => 10,
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Manifest | ErrorKind::Damaged | ErrorKind::Newer | ErrorKind::Untrusted => {
                Self::Manifest
            }
            ErrorKind::Locked => Self::Locked,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Unusable => Self::Unusable,
        }
    }
}

impl From<Verdict> for Exit {
    /// Converts a verdict; an unknown signal counts as SIGINT.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Complete => Self::Done,
            Verdict::Incomplete => Self::Incomplete,
            Verdict::Refused => Self::Refused,
            Verdict::Interrupted => Self::Interrupted,
            Verdict::Failed => Self::Unusable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_serious_reason_wins_in_the_documented_order() {
        let ranking = [
            Exit::Unusable,
            Exit::Locked,
            Exit::Refused,
            Exit::Manifest,
            Exit::Limit,
            Exit::Incomplete,
            Exit::Differences,
            Exit::Changes,
            Exit::Done,
        ];
        for (at, serious) in ranking.into_iter().enumerate() {
            for light in &ranking[at..] {
                assert_eq!(serious.and(*light), serious);
                assert_eq!(light.and(serious), serious);
            }
            assert_eq!(serious.and(Exit::Terminated), Exit::Terminated);
            assert_eq!(Exit::Interrupted.and(serious), Exit::Interrupted);
        }
    }

    #[test]
    fn codes_are_those_of_the_manual() {
        let codes = [Exit::Usage, Exit::Manifest, Exit::Changes, Exit::Terminated].map(Exit::code);
        assert_eq!(codes, [2, 4, 10, 143]);
        assert_eq!(Exit::from(ErrorKind::Locked).code(), 5);
        assert_eq!(Exit::from(Verdict::Incomplete).code(), 1);
    }
}
