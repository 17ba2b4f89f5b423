//! Wrong usage, told with a way out: to a person, or, under `--json`, as a record.

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

/// Tells what was wrong with `words`, of which the first is the program; prints help where that was
/// asked for.
pub(super) fn refuse_words(parsed: &clap::Error, words: &[OsString]) -> Exit {
    if parsed.exit_code() == 0 {
        return commands::print_by(|| parsed.print(), Purpose::Tell);
    }
    let may_be_meant =
        matches!(parsed.kind(), Parsing::InvalidSubcommand | Parsing::UnknownArgument);
    match may_be_meant.then(|| suggest::instead_of(words)).flatten() {
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
            // There is nowhere left to tell of a broken stderr.
            parsed.print().ok();
            Exit::Usage
        }
    }
}

/// Tells of an error that ends the command before it begins.
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

/// Whether a word of a letter or two stands in a command's place, which clap finds like any name that
/// has these.
fn names_no_command(parsed: &clap::Error) -> bool {
    let word = parsed.get(ContextKind::InvalidSubcommand);
    matches!(word, Some(ContextValue::String(word)) if word.chars().count() <= 2)
}

/// Whether records are asked for, as far as that can be told of words that make no sense.
fn wants_record(words: &[OsString]) -> bool {
    let mut words = words.iter().take_while(|word| *word != "--");
    words.any(|word| word == "--json" || word == "--json=true")
        || env::var("VIDIMUS_JSON").is_ok_and(|value| values::switch(&value) == Ok(true))
}

/// What clap says, without its label and how it goes on.
fn shortened(parsed: &clap::Error) -> Error {
    let text = parsed.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let said = lines.collect::<Vec<_>>().join(" ");
    Error::new(ErrorKind::Usage, said.strip_prefix("error: ").unwrap_or(&said))
}
