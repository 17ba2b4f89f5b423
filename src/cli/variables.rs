//! Variables of the environment: each flag has one, and what merely looks like one is a slip that must
//! not go unheard (`VIDIMUS_DRYRUN=true` would run for real).

use super::{args, keys};
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// What the names of all variables begin with.
const PREFIX: &[u8] = b"VIDIMUS_";
/// Variables of vidimus's own tests, which say nothing to the program.
const OF_TESTS: &[u8] = b"VIDIMUS_TEST";
/// How much a name must be like one that is known to be taken for it, between 0 and 1.
const LIKE: f64 = 0.85;

/// Refuses variables that no command knows.
///
/// # Errors
/// [`ErrorKind::Usage`] for the first of them, with the one that was meant, where that can be told.
pub(super) fn check(names: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let known = known();
    let is_unknown = |name: &OsString| {
        let bytes = name.as_bytes();
        bytes.starts_with(PREFIX)
            && !bytes.starts_with(OF_TESTS)
            && name.to_str().is_none_or(|name| !known.contains(name))
    };
    let Some(unknown) = names.into_iter().find(is_unknown) else { return Ok(()) };
    let meant = unknown.to_str().and_then(|name| nearest(name, &known));
    let message = format!("the variable {} sets no flag", Escaped(unknown.as_bytes()));
    Err(Error::new(ErrorKind::Usage, message).help(match meant {
        Some(meant) => format!("{meant} does; if that is not what was meant, unset it"),
        None => "unset it; --help of each command lists its flags".to_owned(),
    }))
}

/// All variables: those of flags, and of what no flag may hold.
fn known() -> BTreeSet<String> {
    fn add(command: &clap::Command, known: &mut BTreeSet<String>) {
        let names = command.get_arguments().filter_map(clap::Arg::get_env);
        known.extend(names.filter_map(|name| name.to_str()).map(str::to_owned));
        command.get_subcommands().for_each(|below| add(below, known));
    }
    let mut known = BTreeSet::from([keys::PASSWORD.to_owned()]);
    add(&args::command(), &mut known);
    known
}

fn nearest<'k>(name: &str, known: &'k BTreeSet<String>) -> Option<&'k str> {
    let plain = |name: &str| name.to_ascii_uppercase().replace('_', "");
    let name = plain(name);
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(&name, &plain(other));
    let rated = known.iter().map(|other| (likeness(other), other));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKE).map(|(_, other)| &**other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> Option<String> {
        check([OsString::from("PATH"), OsString::from(name)]).err().map(|error| {
            assert_eq!(error.kind, ErrorKind::Usage);
            error.help.expect("a way out").to_string()
        })
    }

    #[test]
    fn a_variable_that_sets_nothing_is_refused_with_the_one_that_was_meant() {
        for known in ["VIDIMUS_DRY_RUN", "VIDIMUS_SIGN", "VIDIMUS_KEY_PASSWORD", "VIDIMUS_LONG"] {
            assert_eq!(told(known), None, "{known}");
        }
        assert_eq!(told("VIDIMUS_TEST_SERVERS"), None);
        assert_eq!(told("VIDIMUSX"), None);
        for (slip, meant) in [
            ("VIDIMUS_DRYRUN", "VIDIMUS_DRY_RUN"),
            ("VIDIMUS_BW_LIMIT", "VIDIMUS_BWLIMIT"),
            ("VIDIMUS_EXLCUDE", "VIDIMUS_EXCLUDE"),
            ("VIDIMUS_dry_run", "VIDIMUS_DRY_RUN"),
            ("VIDIMUS_KEY_PASWORD", "VIDIMUS_KEY_PASSWORD"),
        ] {
            assert!(told(slip).expect("refused").starts_with(meant), "{slip}");
        }
        assert!(told("VIDIMUS_ARCHIVE").expect("refused").starts_with("unset"));
    }
}
