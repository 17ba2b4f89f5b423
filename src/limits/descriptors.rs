//! Descriptors: how many files this process may have open (`RLIMIT_NOFILE`), and what of that its
//! parts may keep open to be fast.
//!
//! Where the limit is low, handles are kept fewer and fewer files are worked on at the same time: a
//! run is slower, and comes to its end with [`LEAST`].

use crate::model::{Error, ErrorKind};
use rustix::process::{Resource, getrlimit};

/// The limit that is enough for every run.
pub const LEAST: u64 = 64;

/// Files that are open whatever is kept: standard streams, the state, locks, roots, spools, and what
/// is just opened.
const OTHERS: u64 = 36;
/// Handles that are kept where there is room: those of two walks (128 each), two roots (128 each) and
/// directories that wait for a sync (128).
const KEPT: u64 = 640;
/// What one worker has open at the same time: a file on each side and the directories of both, or a
/// connection and what its runtime polls.
const OF_A_WORKER: u64 = 6;
/// The limit from which on a third walk has room beside all that is kept.
const ROOMY: u64 = 2048;

/// Makes sure that a run can have open at the same time what it can't do without.
///
/// # Errors
/// [`ErrorKind::Unusable`] where the limit is too low for that.
pub fn suffice() -> Result<(), Error> {
    suffice_within(limit())
}

/// How many of `usual` handles may be kept open, at least 1: two thirds of what is left go to them.
pub fn handles(usual: usize) -> usize {
    handles_within(limit(), usual)
}

/// How many of the workers `asked` for may be at work at the same time, at least 1: a third of what
/// is left goes to them.
pub fn workers(asked: usize) -> usize {
    workers_within(limit(), asked)
}

/// Whether there is room for a third walk beside those of both sides.
pub fn has_room_for_another_walk() -> bool {
    limit().is_none_or(|limit| limit >= ROOMY)
}

/// The limit; `None` where there is none.
fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn suffice_within(limit: Option<u64>) -> Result<(), Error> {
    match limit.filter(|limit| *limit < OTHERS) {
        None => Ok(()),
        Some(limit) => {
            let message =
                format!("only {limit} files may be open at once, and {OTHERS} are needed");
            let help = format!("raise the limit: `ulimit -n {LEAST}` is enough for every run");
            Err(Error::new(ErrorKind::Unusable, message).help(help))
        }
    }
}

fn handles_within(limit: Option<u64>, usual: usize) -> usize {
    let Some(limit) = limit else { return usual };
    let share = limit.saturating_sub(OTHERS) * 2 / 3 * usual as u64 / KEPT;
    usize::try_from(share).unwrap_or(usual).clamp(1, usual)
}

fn workers_within(limit: Option<u64>, asked: usize) -> usize {
    let Some(limit) = limit else { return asked };
    let most = limit.saturating_sub(OTHERS) / 3 / OF_A_WORKER;
    usize::try_from(most).unwrap_or(asked).clamp(1, asked.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_usual_limits_nothing_is_held_back() {
        for limit in [None, Some(1 << 20), Some(1024)] {
            assert_eq!(handles_within(limit, 128), 128);
            assert_eq!(workers_within(limit, 32), 32);
        }
    }

    #[test]
    fn a_limit_that_no_run_comes_to_its_end_with_is_refused_with_the_way_out() {
        for limit in [None, Some(LEAST), Some(OTHERS)] {
            assert!(suffice_within(limit).is_ok(), "{limit:?}");
        }
        let error = suffice_within(Some(20)).expect_err("too few");
        assert_eq!(error.kind, ErrorKind::Unusable);
        assert!(error.to_string().contains("only 20 files"), "{error}");
        assert!(error.help.expect("a way out").to_string().contains("ulimit -n 64"));
    }

    #[test]
    fn at_a_low_limit_all_that_is_kept_fits() {
        for limit in [LEAST, 100, 128, 256, 512, 1000] {
            let kept = |usual| handles_within(Some(limit), usual) as u64;
            let all = 4 * kept(64) + 2 * kept(128) + kept(128);
            let workers = workers_within(Some(limit), usize::MAX) as u64 * OF_A_WORKER;
            assert!(all + workers + OTHERS <= limit, "{limit}: {all} and {workers}");
        }
        assert_eq!((handles_within(Some(10), 64), workers_within(Some(10), 8)), (1, 1));
    }
}
