//! File descriptors: how many files this process may have open (`RLIMIT_NOFILE`), and how many of
//! them each part may keep open for speed.
//!
//! A low limit means fewer cached handles and fewer files worked on at the same time: a run is
//! slower, but with [`LEAST`] it still completes.

use crate::model::{Error, ErrorKind};
use rustix::process::{Resource, getrlimit};

/// The smallest limit that every run can complete with.
pub const LEAST: u64 = 64;

/// Descriptors that are always in use: standard streams, the state, locks, roots, spools, and files
/// that are just being opened.
const OTHERS: u64 = 36;
/// Cached handles when the limit is not low: 128 for each of two walks, 128 for each of two roots,
/// and 128 for directories that wait for a sync.
const KEPT: u64 = 640;
/// Descriptors one worker has open at the same time: a file on each side and the directories of
/// both, or a connection and what its runtime polls.
const OF_A_WORKER: u64 = 6;
/// The limit from which a third walk fits beside all cached handles.
const ROOMY: u64 = 2048;

/// Checks that a run can open the files it can't do without.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the limit is too low for that.
pub fn check() -> Result<(), Error> {
    check_limit(limit())
}

/// Returns how many of `usual` handles may be kept open, at least 1: two thirds of the free
/// descriptors go to cached handles.
pub fn handles(usual: usize) -> usize {
    handles_within(limit(), usual)
}

/// Returns how many of `wanted` workers may work at the same time, at least 1: a third of the free
/// descriptors goes to workers.
pub fn workers(wanted: usize) -> usize {
    workers_within(limit(), wanted)
}

/// Returns whether a third walk fits beside those of both sides.
pub fn has_room_for_another_walk() -> bool {
    limit().is_none_or(|limit| limit >= ROOMY)
}

/// Returns the limit; `None` if there is none.
fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn check_limit(limit: Option<u64>) -> Result<(), Error> {
    match limit.filter(|limit| *limit < OTHERS) {
        None => Ok(()),
        Some(limit) => {
            let message =
                format!("only {limit} files may be open at once, and {OTHERS} are needed");
            let help = format!("raise the limit: `ulimit -n {LEAST}` is enough for any run");
            Err(Error::new(ErrorKind::Unusable, message).help(help))
        }
    }
}

fn handles_within(limit: Option<u64>, usual: usize) -> usize {
    let Some(limit) = limit else { return usual };
    let share = limit.saturating_sub(OTHERS) * 2 / 3 * usual as u64 / KEPT;
    usize::try_from(share).unwrap_or(usual).clamp(1, usual)
}

fn workers_within(limit: Option<u64>, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let most = limit.saturating_sub(OTHERS) / 3 / OF_A_WORKER;
    usize::try_from(most).unwrap_or(wanted).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_limits_reduce_nothing() {
        for limit in [None, Some(1 << 20), Some(1024)] {
            assert_eq!(handles_within(limit, 128), 128);
            assert_eq!(workers_within(limit, 32), 32);
        }
    }

    #[test]
    fn a_limit_too_low_for_any_run_is_refused_with_a_hint() {
        for limit in [None, Some(LEAST), Some(OTHERS)] {
            assert!(check_limit(limit).is_ok(), "{limit:?}");
        }
        let error = check_limit(Some(20)).expect_err("too few");
        assert_eq!(error.kind, ErrorKind::Unusable);
        assert!(error.to_string().contains("only 20 files"), "{error}");
        assert!(error.help.expect("a way out").to_string().contains("ulimit -n 64"));
    }

    #[test]
    fn at_a_low_limit_all_handles_and_workers_fit() {
        for limit in [LEAST, 100, 128, 256, 512, 1000] {
            let kept = |usual| handles_within(Some(limit), usual) as u64;
            let all = 4 * kept(64) + 2 * kept(128) + kept(128);
            let workers = workers_within(Some(limit), usize::MAX) as u64 * OF_A_WORKER;
            assert!(all + workers + OTHERS <= limit, "{limit}: {all} and {workers}");
        }
        assert_eq!((handles_within(Some(10), 64), workers_within(Some(10), 8)), (1, 1));
    }
}
