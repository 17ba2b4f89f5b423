//! Suggestions for users of rsync, rclone, cp or the AWS CLI: the command to type instead. Only
//! commands that can be parsed are suggested.

use super::args::{self, Cli, Command};
use crate::location::Location;
use crate::model::Error;
use crate::model::shell::Quoted;
use clap::FromArgMatches as _;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Names that other tools have for commands.
const ALIASES: [(&str, &str); 9] = [
    ("sync", "mirror"),
    ("copy", "mirror"),
    ("cp", "mirror"),
    ("rsync", "mirror"),
    ("clone", "mirror"),
    ("backup", "mirror"),
    ("check", "verify"),
    ("list", "ls"),
    ("cmp", "diff"),
];

/// Letters of `rsync` and `cp` that ask for what a mirror always does.
const ALWAYS: &str = "arlptgoDzhP";
/// Letters with the same meaning here.
const SAME: &str = "vqncu";
/// Long flags of these tools that ask for what a mirror always does.
const ALWAYS_LONG: [&str; 13] = [
    "--archive",
    "--recursive",
    "--compress",
    "--links",
    "--perms",
    "--times",
    "--owner",
    "--group",
    "--human-readable",
    "--partial",
    "--stats",
    "--itemize-changes",
    "--no-traverse",
];
/// Their variants of `--delete`: here deletions always come last.
const DELETES: [&str; 5] =
    ["--delete-after", "--delete-before", "--delete-during", "--delete-delay", "--del"];

/// Minimum similarity of a word and the command that is suggested for it, as in clap.
const SIMILAR: f64 = 0.7;

/// Returns the command to type instead of these words, of which the first is the program; or the
/// error that prevents it.
pub(super) fn instead_of(words: &[OsString]) -> Option<Result<String, Error>> {
    let typed = words.get(1..)?;
    let (at, first) = typed.iter().enumerate().find(|(_, word)| !is_flag(word))?;
    let names: Vec<_> =
        args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    // Only a mirror always does what their flags ask for; elsewhere `-r` and `-l` may be real
    // flags.
    let with = |name: &str, rest: &mut dyn Iterator<Item = &OsString>| {
        let translate = |word: &OsString| match name {
            "mirror" => translated(word),
            _ => Some(word.clone()),
        };
        let mut words = vec![OsString::from(name)];
        words.extend(rest.filter_map(translate));
        let has = |flag: &str| words.iter().any(|word| word == flag);
        if has("--delete-excluded") && !has("--delete") {
            words.insert(1, "--delete".into());
        }
        words
    };
    let others =
        || typed.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, word)| word);
    let mut candidates: Vec<Vec<OsString>> = Vec::new();
    let text = first.to_str().unwrap_or_default();
    if text == "help" {
        let name = command_like(typed.get(at + 1)?, &names)?;
        return Some(Ok(format!("vidimus help {name}"))).filter(|_| typed.get(at + 2).is_none());
    }
    if names.iter().any(|name| name == text) {
        candidates.push(with(text, &mut others()));
    } else {
        candidates.extend(command_like(first, &names).map(|name| with(name, &mut others())));
        let bare: Vec<_> = with("mirror", &mut typed.iter());
        // `rm d` is not meant as a mirror, even if `d` exists.
        if matches!(parsed(&bare), Some(Command::Mirror(args)) if is_location(&args.source)) {
            candidates.push(bare);
        }
    }
    candidates.into_iter().filter(|words| words != typed).find_map(|words| checked(&words))
}

/// Returns the command that another tool's name stands for, or that a mistyped one resembles.
fn command_like<'n>(word: &OsStr, names: &'n [String]) -> Option<&'n str> {
    let text = word.to_str()?;
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == text) {
        return names.iter().map(String::as_str).find(|it| it == name);
    }
    let similarity = |name: &str| strsim::jaro(text, name);
    let candidates = names.iter().filter(|_| text.len() > 2 && !is_location(word));
    let candidates = candidates.filter(|name| similarity(name) > SIMILAR);
    candidates.max_by(|a, b| similarity(a).total_cmp(&similarity(b))).map(String::as_str)
}

fn is_flag(word: &OsString) -> bool {
    word.len() > 1 && word.as_bytes().starts_with(b"-")
}

/// Returns whether a word is more likely a location than a mistyped command.
fn is_location(word: &OsStr) -> bool {
    word.as_bytes().iter().any(|byte| b"/:.".contains(byte)) || Path::new(word).exists()
}

/// Translates another tool's flag to one of `mirror`; `None` for what is always done.
fn translated(word: &OsString) -> Option<OsString> {
    let Some(text) = word.to_str() else { return Some(word.clone()) };
    if ALWAYS_LONG.contains(&text) {
        return None;
    }
    if DELETES.contains(&text) {
        return Some("--delete".into());
    }
    let letters = text.strip_prefix('-').filter(|letters| !letters.is_empty());
    let is_known = |letters: &&str| letters.chars().all(|c| (ALWAYS.to_owned() + SAME).contains(c));
    let Some(letters) = letters.filter(is_known) else { return Some(word.clone()) };
    let kept: String = letters.chars().filter(|letter| SAME.contains(*letter)).collect();
    if letters.contains('P') && kept.is_empty() {
        return Some("--progress".into());
    }
    (!kept.is_empty()).then(|| format!("-{kept}").into())
}

/// Returns the words of a command line, including the program.
fn line(words: &[OsString]) -> impl Iterator<Item = &OsStr> + Clone {
    std::iter::once(OsStr::new("vidimus")).chain(words.iter().map(OsString::as_os_str))
}

fn parsed(words: &[OsString]) -> Option<Command> {
    let matches = args::command().try_get_matches_from(line(words)).ok()?;
    Some(Cli::from_arg_matches(&matches).ok()?.command)
}

/// Returns a command line as typed, if it can be parsed; or the error in its locations.
fn checked(words: &[OsString]) -> Option<Result<String, Error>> {
    if let Command::Mirror(args) = parsed(words)? {
        if !args.more.is_empty() {
            return None;
        }
        if let Err(error) = Location::parse(&args.source).and(Location::parse(&args.target)) {
            return Some(Err(error));
        }
    }
    let quoted: Vec<_> = line(words).map(|word| Quoted(word.as_bytes()).to_string()).collect();
    Some(Ok(quoted.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instead(line: &str) -> Option<String> {
        let words: Vec<_> = line.split(' ').map(|word| word.replace('_', " ").into()).collect();
        instead_of(&words).map(|command| command.unwrap_or_else(|error| format!("{error}")))
    }

    #[test]
    fn other_tools_commands_become_the_command_to_type() {
        for (typed, command) in [
            ("vidimus ./a b", "vidimus mirror ./a b"),
            ("vidimus /a/ /mnt/b", "vidimus mirror /a/ /mnt/b"),
            ("vidimus my_photos/ it's", "vidimus mirror 'my photos/' 'it'\\''s'"),
            ("vidimus src tests", "vidimus mirror src tests"),
            ("vidimus -avz a/ b", "vidimus mirror -v a/ b"),
            (
                "vidimus -a --delete-after --exclude x a/ b",
                "vidimus mirror --delete --exclude x a/ b",
            ),
            ("vidimus mirror -a a b", "vidimus mirror a b"),
            ("vidimus mirror a b -rP", "vidimus mirror a b --progress"),
            ("vidimus -a --delete-excluded a/ b", "vidimus mirror --delete --delete-excluded a/ b"),
            ("vidimus mirror --archive -n --del a b", "vidimus mirror -n --delete a b"),
            ("vidimus sync a s3://bucket/p", "vidimus mirror a s3://bucket/p"),
            ("vidimus copy -v a b", "vidimus mirror -v a b"),
            ("vidimus check t", "vidimus verify t"),
            ("vidimus list --recursive d", "vidimus ls --recursive d"),
            ("vidimus list -lr d", "vidimus ls -lr d"),
            ("vidimus cmp --content -q a b", "vidimus diff --content -q a b"),
            ("vidimus miror a b", "vidimus mirror a b"),
            ("vidimus verfy t", "vidimus verify t"),
            ("vidimus help sync", "vidimus help mirror"),
            ("vidimus help verfy", "vidimus help verify"),
        ] {
            assert_eq!(instead(typed).as_deref(), Some(command), "{typed}");
        }
        assert!(instead("vidimus host:/a b").expect("an error").contains("another machine"));
        for typed in [
            "vidimus",
            "vidimus a",
            "vidimus mirror -H a b",
            "vidimus ./a b c",
            "vidimus -x",
            "vidimus rm d",
            "vidimus rm src",
            "vidimus check -r t",
            "vidimus cmp -r a b",
            "vidimus ls --stats d",
            "vidimus help nonsense",
            "vidimus help",
        ] {
            assert_eq!(instead(typed), None, "{typed}");
        }
    }
}
