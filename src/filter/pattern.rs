//! One pattern: what it matches, or what is wrong with it.
//!
//! [`Pattern::parse`] refuses what git would accept and never match, and takes alternatives apart;
//! what remains is matched by git's own algorithm, as the crate `gix-glob` has it.

use crate::model::key::Escaped;
use gix_glob::pattern::Mode;
use gix_glob::wildmatch;
use std::borrow::Cow;

/// Stars in a pattern, `**` counting as one: the matcher follows each by a call of itself, and gives
/// up, taking the name for no match, after 64.
const STARS: usize = 60;

/// Patterns that one with alternatives may stand for.
const ALTERNATIVES: usize = 1_000;

/// The classes of characters that git knows, as `[[:digit:]]` (wildmatch.c).
const CLASSES: [&[u8]; 12] = [
    b"alnum", b"alpha", b"blank", b"cntrl", b"digit", b"graph", b"lower", b"print", b"punct",
    b"space", b"upper", b"xdigit",
];

/// A pattern, which matches what any of its alternatives matches.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    alternatives: Vec<gix_glob::Pattern>,
}

/// What is wrong with a pattern, in words that follow its name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("is empty")]
    Empty,
    #[error("is white space alone; for a name that is, put it in a set, as in \"[ ]\"")]
    Blank,
    #[error(
        "begins with \"!\": what is to take part is named by a pattern of its own kind, without the \
         \"!\"; for a name that begins with \"!\" write \"\\!\""
    )]
    Negated,
    #[error("is a comment; for a name that begins with \"#\" write \"\\#\"")]
    Comment,
    #[error("names the root, which always takes part")]
    Root,
    #[error("matches nothing: patterns begin at the root, without \".\" or \"..\"")]
    Dots,
    #[error("matches nothing: no name is empty, as between two \"/\"")]
    EmptyName,
    #[error(
        "ends with a \"\\\" that escapes nothing; for a name that ends with one write \"\\\\\""
    )]
    DanglingEscape,
    #[error("has a \"[\" without its \"]\"; for a name that holds one write \"\\[\"")]
    UnclosedSet,
    #[error("has a set with the class \"[:{}:]\", which there is not", Escaped(.0))]
    UnknownClass(Box<[u8]>),
    #[error("has a range that ends before it begins, \"{}-{}\"", Escaped(&[*.0]), Escaped(&[*.1]))]
    ReversedRange(u8, u8),
    #[error(
        "has a set of characters beyond ASCII, of which a set matches single bytes: write \
         alternatives, as in \"{{ä,ö}}\""
    )]
    SetBeyondAscii,
    #[error("has a \"{{\" without its \"}}\"; for a name that holds one write \"\\{{\"")]
    UnclosedBrace,
    #[error("stands for more than {ALTERNATIVES} alternatives")]
    TooManyAlternatives,
    #[error(
        "has \"**\" behind a part of a name, which git takes for more than a \"*\" at times: write \
         \"*\", or \"*/**/\" for directories too"
    )]
    StarsInName,
    #[error("has more than {STARS} stars")]
    TooManyStars,
}

impl Pattern {
    /// Parses a pattern. Spaces at its end don't count, unless the last is escaped.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let text = trim_end(text.as_bytes());
        match text.first() {
            Some(b'!') => return Err(Problem::Negated),
            Some(b'#') => return Err(Problem::Comment),
            _ => {}
        }
        let parse = |alternative: Vec<u8>| {
            check_names(&alternative)?;
            gix_glob::Pattern::from_bytes_without_negation(&alternative).ok_or(Problem::Empty)
        };
        let alternatives = alternatives(text)?.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether it matches an entry itself, whatever it does with the directories above.
    pub(super) fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        self.alternatives.iter().any(|pattern| {
            if pattern.mode.contains(Mode::MUST_BE_DIR) && !is_directory {
                return false;
            }
            let anywhere =
                pattern.mode.contains(Mode::NO_SUB_DIR) && !pattern.mode.contains(Mode::ABSOLUTE);
            let value = if anywhere { name } else { path };
            pattern.matches(value.into(), wildmatch::Mode::NO_MATCH_SLASH_LITERAL)
        })
    }
}

/// Leaves out the spaces at the end that no `\` stands before (`trim_trailing_spaces` in git's
/// dir.c).
fn trim_end(text: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b' ' => {}
            b'\\' => end = bytes.next().map_or(at, |(next, _)| next) + 1,
            _ => end = at + 1,
        }
    }
    &text[..end]
}

/// Refuses what can't match for the names in it.
fn check_names(pattern: &[u8]) -> Result<(), Problem> {
    if pattern.is_empty() {
        Err(Problem::Empty)
    } else if pattern.iter().all(u8::is_ascii_whitespace) {
        Err(Problem::Blank)
    } else if pattern.iter().all(|&byte| byte == b'/') {
        Err(Problem::Root)
    } else if [&b"."[..], b".."].contains(&pattern)
        || pattern.starts_with(b"./")
        || pattern.starts_with(b"../")
    {
        Err(Problem::Dots)
    } else if pattern.windows(2).any(|pair| pair == b"//") {
        Err(Problem::EmptyName)
    } else if has_dangling_escape(pattern) {
        Err(Problem::DanglingEscape)
    } else {
        Ok(())
    }
}

/// Whether only the `/` that says that a directory is meant is left for the last `\` to escape.
fn has_dangling_escape(pattern: &[u8]) -> bool {
    let name = pattern.strip_suffix(b"/").unwrap_or(b"");
    name.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// Alternatives that are being read: those read to their end, and all that the one under way may
/// begin with.
struct Level {
    done: Vec<Vec<u8>>,
    current: Vec<Vec<u8>>,
}

impl Level {
    fn new() -> Self {
        Self { done: Vec::new(), current: vec![Vec::new()] }
    }

    fn end_current(&mut self) {
        self.done.append(&mut self.current);
    }
}

/// The patterns that one with braces stands for, as in a shell: itself where it has none.
fn alternatives(text: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    let mut levels = vec![];
    let mut level = Level::new();
    let mut stars = 0;
    let mut stars_in_name = false;
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let mut taken = 1;
        match first {
            b'{' => levels.push(std::mem::replace(&mut level, Level::new())),
            b'}' if let Some(mut outer) = levels.pop() => {
                level.end_current();
                if outer.current.len().saturating_mul(level.done.len()) > ALTERNATIVES {
                    return Err(Problem::TooManyAlternatives);
                }
                let joined = outer.current.iter().flat_map(|beginning| {
                    level.done.iter().map(move |end| [&beginning[..], end].concat())
                });
                outer.current = joined.collect();
                level = outer;
            }
            b',' if !levels.is_empty() => {
                level.end_current();
                level.current = vec![Vec::new()];
            }
            _ => {
                let literal = match first {
                    b'[' => {
                        let set = set(rest)?;
                        taken = set.taken;
                        Cow::Owned(set.text)
                    }
                    b'\\' if rest.len() == 1 => return Err(Problem::DanglingEscape),
                    b'\\' => {
                        taken = 2;
                        Cow::Borrowed(&rest[..2])
                    }
                    b'*' => {
                        stars += 1;
                        taken = rest.iter().take_while(|&&byte| byte == b'*').count();
                        let before = text[..text.len() - rest.len()].last();
                        stars_in_name |= taken > 1
                            && before.is_some_and(|byte| !b"/{,".contains(byte))
                            && matches!(rest.get(taken), None | Some(b'/'));
                        Cow::Borrowed(&rest[..taken])
                    }
                    _ => Cow::Borrowed(&rest[..1]),
                };
                for alternative in &mut level.current {
                    alternative.extend_from_slice(&literal);
                }
            }
        }
        rest = &rest[taken..];
    }
    if !levels.is_empty() {
        return Err(Problem::UnclosedBrace);
    }
    if stars > STARS {
        return Err(Problem::TooManyStars);
    }
    if stars_in_name && text.strip_suffix(b"/").unwrap_or(text).contains(&b'/') {
        return Err(Problem::StarsInName);
    }
    level.end_current();
    Ok(level.done)
}

/// A set, `[a-z]` say.
struct Set {
    /// The bytes of the pattern that it takes.
    taken: usize,
    /// It, as the matcher and git read it alike.
    text: Vec<u8>,
}

/// Reads the set that `text` begins with as git does (`dowild` in its wildmatch.c).
fn set(text: &[u8]) -> Result<Set, Problem> {
    let at = |place: usize| text.get(place).copied().ok_or(Problem::UnclosedSet);
    let first = if matches!(text.get(1), Some(b'!' | b'^')) { 2 } else { 1 };
    let mut place = first;
    // Before these `\` is to be put: where "[:" begins no class, the matcher loses its way.
    let mut escaped = Vec::new();
    // What a range may begin with.
    let mut begin = None;
    loop {
        let byte = at(place)?;
        match byte {
            // The first one stands for itself.
            b']' if place > first => break,
            b'[' if text.get(place + 1) == Some(&b':') => {
                let inner = &text[place + 2..];
                let length =
                    inner.iter().position(|&byte| byte == b']').ok_or(Problem::UnclosedSet)?;
                if let [class @ .., b':'] = &inner[..length] {
                    if !CLASSES.contains(&class) {
                        return Err(Problem::UnknownClass(class.into()));
                    }
                    begin = None;
                    place += 2 + length;
                } else {
                    escaped.push(place);
                    begin = Some(byte);
                }
            }
            b'-' if let Some(from) = begin.filter(|_| text.get(place + 1) != Some(&b']')) => {
                place += if at(place + 1)? == b'\\' { 2 } else { 1 };
                let to = at(place)?;
                if to < from {
                    return Err(Problem::ReversedRange(from, to));
                }
                begin = None;
            }
            b'\\' => {
                place += 1;
                begin = Some(at(place)?);
            }
            _ => begin = Some(byte),
        }
        place += 1;
    }
    let taken = place + 1;
    if !text[..taken].is_ascii() {
        return Err(Problem::SetBeyondAscii);
    }
    let mut text = text[..taken].to_vec();
    for place in escaped.into_iter().rev() {
        text.insert(place, b'\\');
    }
    Ok(Set { taken, text })
}
