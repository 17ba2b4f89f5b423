//! Words for people, in which settings are told by the flags of the command line.

use crate::model::{Cause, EntryError, Hint, Notice, Reason, Setting};
use std::borrow::Cow;

/// Tells a hint.
pub(crate) fn hint(hint: &Hint) -> String {
    hint.say(flag)
}

/// Tells a notice.
pub(crate) fn notice(notice: &Notice) -> String {
    notice.say(flag)
}

/// Tells why an entry is treated as it is.
pub(crate) fn reason(reason: Reason) -> Cow<'static, str> {
    reason.say(flag)
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
