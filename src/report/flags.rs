//! Ways out of an error, told by the flags of the command line.

use crate::model::{Cause, EntryError, Hint, Setting};

/// Tells a hint.
pub(crate) fn hint(hint: &Hint) -> String {
    hint.say(flag)
}

/// Tells why an entry failed, with the way out.
pub(crate) fn cause(cause: &Cause) -> String {
    with_way_out(cause.sentence(), cause)
}

/// Tells what failed, of which entry and why, with the way out.
pub(crate) fn entry_error(error: &EntryError) -> String {
    with_way_out(error.sentence(), &error.cause)
}

fn with_way_out(mut text: String, cause: &Cause) -> String {
    if let Some(way_out) = cause.way_out() {
        text.push_str(": ");
        text.push_str(&hint(&way_out));
    }
    text
}

fn flag(setting: Setting) -> String {
    format!("--{}", setting.code().replace('_', "-"))
}
