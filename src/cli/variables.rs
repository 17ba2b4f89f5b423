//! Environment variables. Each flag has one; a variable that only resembles one is a mistake that
//! must be reported (`VIDIMUS_DRYRUN=true` would do a real run).

use super::{args, keys};
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// Prefix of all variables.
const PREFIX: &[u8] = b"VIDIMUS_";
/// Prefix of variables that only vidimus's tests use.
const OF_TESTS: &[u8] = b"VIDIMUS_TEST";
/// Minimum similarity, from 0 to 1, of a name and the known one that is suggested for it.
const SIMILAR: f64 = 0.85;

/// Refuses variables that no command has.
///
/// # Errors
/// [`ErrorKind::Usage`] for the first of them, with a suggestion if a known name is similar.
pub(super) fn check(names: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let known = known();
    let is_unknown = |name: &OsString| {
        let bytes = name.as_bytes();
        bytes.starts_with(PREFIX)
            && !bytes.starts_with(OF_TESTS)
            && name.to_str().is_none_or(|name| !known.contains(name))
    };
    let Some(unknown) = names.into_iter().find(is_unknown) else { return Ok(()) };
    let suggestion = unknown.to_str().and_then(|name| nearest(name, &known));
    let message = format!("the variable {} does not set any flag", Escaped(unknown.as_bytes()));
    Err(Error::new(ErrorKind::Usage, message).help(match suggestion {
        Some(suggestion) => format!("{suggestion} does; if that is not what was meant, unset it"),
        None => "unset it; --help of each command lists its flags".to_owned(),
    }))
}

/// Returns all known variables: those of flags, and that of passwords, which no flag may have.
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
    let similarity = |other: &str| strsim::normalized_damerau_levenshtein(&name, &plain(other));
    let rated = known.iter().map(|other| (similarity(other), other));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similarity, _)| *similarity >= SIMILAR).map(|(_, other)| &**other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(name: &str) -> Option<String> {
        check([OsString::from("PATH"), OsString::from(name)]).err().map(|error| {
            assert_eq!(error.kind, ErrorKind::Usage);
            error.help.expect("a hint").to_string()
        })
    }

    #[test]
    fn an_unknown_variable_is_refused_with_a_suggestion() {
        for known in ["VIDIMUS_DRY_RUN", "VIDIMUS_SIGN", "VIDIMUS_KEY_PASSWORD", "VIDIMUS_LONG"] {
            assert_eq!(help(known), None, "{known}");
        }
        assert_eq!(help("VIDIMUS_TEST_SERVERS"), None);
        assert_eq!(help("VIDIMUSX"), None);
        for (slip, meant) in [
            ("VIDIMUS_DRYRUN", "VIDIMUS_DRY_RUN"),
            ("VIDIMUS_BW_LIMIT", "VIDIMUS_BWLIMIT"),
            ("VIDIMUS_EXLCUDE", "VIDIMUS_EXCLUDE"),
            ("VIDIMUS_dry_run", "VIDIMUS_DRY_RUN"),
            ("VIDIMUS_KEY_PASWORD", "VIDIMUS_KEY_PASSWORD"),
        ] {
            assert!(help(slip).expect("refused").starts_with(meant), "{slip}");
        }
        assert!(help("VIDIMUS_ARCHIVE").expect("refused").starts_with("unset"));
    }
}
