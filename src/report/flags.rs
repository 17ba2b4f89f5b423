//! Text for people, in which settings are named by the flags of the command line.

use crate::model::{Cause, EntryError, Hint, Notice, Reason, Setting};
use std::borrow::Cow;

/// Formats a hint.
pub(crate) fn hint(hint: &Hint) -> String {
    hint.say(flag)
}

/// Formats a notice.
pub(crate) fn notice(notice: &Notice) -> String {
    notice.say(flag)
}

/// Formats the reason for a decision.
pub(crate) fn reason(reason: Reason) -> Cow<'static, str> {
    reason.say(flag)
}

/// Formats why an entry failed, with a hint.
pub(crate) fn cause(cause: &Cause) -> String {
    with_way_out(cause.sentence(), cause)
}

/// Formats what failed, for which entry and why, with a hint.
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
