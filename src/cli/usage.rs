//! Wrong usage, reported with a hint to a person, or with `--json` as a record.

use super::commands::{self, Purpose};
use super::exit::Exit;
use super::suggest;
use super::values;
use crate::model::{Error, ErrorKind};
use crate::report::json;
use crate::report::{Output, OutputOptions};
use clap::error::{ContextKind, ContextValue, ErrorKind as Parsing};
use std::env;
use std::ffi::OsString;

/// Reports what was wrong with `words`, of which the first is the program; prints help if that was
/// requested.
pub(super) fn refuse_words(parsed: &clap::Error, words: &[OsString]) -> Exit {
    if parsed.exit_code() == 0 {
        return commands::print_by(|| parsed.print(), Purpose::Tell);
    }
    let may_be_other_tools =
        matches!(parsed.kind(), Parsing::InvalidSubcommand | Parsing::UnknownArgument);
    match may_be_other_tools.then(|| suggest::instead_of(words)).flatten() {
        Some(Ok(command)) => refuse(&shortened(parsed).help(command), words),
        Some(Err(error)) => refuse(&error, words),
        None if wants_record(words) || names_no_command(parsed) => {
            let help = parsed.render().to_string();
            let tip = help.lines().find_map(|line| line.trim().strip_prefix("tip: "));
            let tip = tip.filter(|_| !names_no_command(parsed));
            let help = tip.unwrap_or("vidimus --help lists commands, and each --help its flags");
            refuse(&shortened(parsed).help(help.to_owned()), words)
        }
        None => {
            // There is no stream left on which to report a broken stderr.
            parsed.print().ok();
            Exit::Usage
        }
    }
}

/// Reports an error that ends the command before it begins.
pub(super) fn refuse(error: &Error, words: &[OsString]) -> Exit {
    let exit = Exit::from(error.kind);
    if !wants_record(words) {
        return commands::fail(error);
    }
    let output = Output::new(OutputOptions::default(), None);
    let nothing = serde_json::Map::new();
    output.line(&json::finished(&nothing, "failed", exit.code(), Some(error.into())));
    commands::close(&output, exit, Purpose::Tell)
}

/// Returns whether a word of one or two letters is in the place of a command. clap would suggest
/// any command that contains them.
fn names_no_command(parsed: &clap::Error) -> bool {
    let word = parsed.get(ContextKind::InvalidSubcommand);
    matches!(word, Some(ContextValue::String(word)) if word.chars().count() <= 2)
}

/// Returns whether records are requested, as far as words that can't be parsed show it.
fn wants_record(words: &[OsString]) -> bool {
    let mut words = words.iter().take_while(|word| *word != "--");
    words.any(|word| word == "--json" || word == "--json=true")
        || env::var("VIDIMUS_JSON").is_ok_and(|value| values::switch(&value) == Ok(true))
}

/// Returns clap's message, without its label and what follows it.
fn shortened(parsed: &clap::Error) -> Error {
    let text = parsed.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let message = lines.collect::<Vec<_>>().join(" ");
    Error::new(ErrorKind::Usage, message.strip_prefix("error: ").unwrap_or(&message))
}
