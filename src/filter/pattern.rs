//! Parsing and matching of one pattern.
//!
//! [`Pattern::parse`] refuses what git would accept but never match, and expands alternatives. The
//! crate `gix-glob` matches the results with git's own algorithm.

use crate::model::key::Escaped;
use gix_glob::pattern::Mode;
use gix_glob::wildmatch;
use std::borrow::Cow;

/// Most stars in a pattern, `**` counting as one. The matcher recurses at each star and reports no
/// match beyond a depth of 64.
const STARS: usize = 60;

/// Most patterns that the alternatives of one may expand to.
const ALTERNATIVES: usize = 1_000;

/// The character classes that git knows, as in `[[:digit:]]` (its wildmatch.c).
const CLASSES: [&[u8]; 12] = [
    b"alnum", b"alpha", b"blank", b"cntrl", b"digit", b"graph", b"lower", b"print", b"punct",
    b"space", b"upper", b"xdigit",
];

/// A pattern, which matches what any of its alternatives match.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    alternatives: Vec<gix_glob::Pattern>,
}

/// What is wrong with a pattern; the text continues a sentence that begins with the pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("is empty")]
    Empty,
    #[error("is white space alone; for a name that is, put it in a set, as in \"[ ]\"")]
    Blank,
    #[error(
        "begins with \"!\": to include what it matches, give it as an include pattern without the \
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
    #[error("has a set with the unknown class \"[:{}:]\"", Escaped(.0))]
    UnknownClass(Box<[u8]>),
    #[error("has a range that ends before it begins, \"{}-{}\"", Escaped(&[*.0]), Escaped(&[*.1]))]
    ReversedRange(u8, u8),
    #[error(
        "has a set with characters beyond ASCII, but a set matches single bytes: write \
         alternatives, as in \"{{ä,ö}}\""
    )]
    SetBeyondAscii,
    #[error("has a \"{{\" without its \"}}\"; for a name that holds one write \"\\{{\"")]
    UnclosedBrace,
    #[error("stands for more than {ALTERNATIVES} alternatives")]
    TooManyAlternatives,
    #[error(
        "has \"**\" after part of a name, which git sometimes takes for more than a \"*\": write \
         \"*\", or \"*/**/\" for directories too"
    )]
    StarsInName,
    #[error("has more than {STARS} stars")]
    TooManyStars,
}

impl Pattern {
    /// Parses a pattern. Trailing spaces are ignored, unless the last is escaped.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        Self::parse_bytes(text.as_bytes())
    }

    /// Parses a pattern that need not be UTF-8.
    pub(super) fn parse_bytes(text: &[u8]) -> Result<Self, Problem> {
        let text = trim_end(text);
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

    /// Returns whether the pattern matches an entry itself, regardless of the directories above it.
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

/// Removes trailing spaces that are not escaped with `\` (`trim_trailing_spaces` in git's dir.c).
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

/// Refuses a pattern whose names can't match anything.
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

/// Returns whether the last `\` escapes nothing but the `/` that marks a directory.
fn has_dangling_escape(pattern: &[u8]) -> bool {
    let name = pattern.strip_suffix(b"/").unwrap_or(b"");
    name.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// The alternatives between a pair of braces while they are parsed.
struct Level {
    /// Patterns of the alternatives before the last `,`.
    done: Vec<Vec<u8>>,
    /// Patterns of the alternative being parsed: several if it has braces itself.
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

/// Expands the braces of a pattern as a shell does; without braces it is the only result.
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

/// A set of characters, such as `[a-z]`.
struct Set {
    /// Bytes of the pattern that the set takes up.
    taken: usize,
    /// The set's text, rewritten so that the matcher reads it as git does.
    text: Vec<u8>,
}

/// Parses the set at the beginning of `text` as git does (`dowild` in its wildmatch.c).
fn set(text: &[u8]) -> Result<Set, Problem> {
    let at = |place: usize| text.get(place).copied().ok_or(Problem::UnclosedSet);
    let first = if matches!(text.get(1), Some(b'!' | b'^')) { 2 } else { 1 };
    let mut place = first;
    // Positions to put `\` before: the matcher misreads a "[:" that begins no class.
    let mut escaped = Vec::new();
    // The character that a range may begin with.
    let mut begin = None;
    loop {
        let byte = at(place)?;
        match byte {
            // A `]` at the beginning is an ordinary character.
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
