//! Legal names: those that any directory can hold, and the limits of particular file systems.

use super::{Cause, Key};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A kind of name that a place may not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameLimit {
    /// It has a character from U+0001 to U+001F.
    Control,
    /// It has a `"`.
    Quote,
    /// It has a `*`.
    Asterisk,
    /// It has a `:`.
    Colon,
    /// It has a `<`.
    Less,
    /// It has a `>`.
    Greater,
    /// It has a `?`.
    Question,
    /// It has a `\`.
    Backslash,
    /// It has a `|`.
    Bar,
    /// It isn't UTF-8.
    NotUtf8,
    /// It ends in a dot.
    DotAtEnd,
    /// It ends in a space.
    SpaceAtEnd,
    /// Windows takes it for a device, whatever follows the first dot: `CON`, `nul.txt`.
    Device,
}

impl NameLimit {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Control,
        Self::Quote,
        Self::Asterisk,
        Self::Colon,
        Self::Less,
        Self::Greater,
        Self::Question,
        Self::Backslash,
        Self::Bar,
        Self::NotUtf8,
        Self::DotAtEnd,
        Self::SpaceAtEnd,
        Self::Device,
    ];

    /// Returns the byte that is not allowed, if the limit is about a single one.
    fn byte(self) -> Option<u8> {
        Some(match self {
            Self::Quote => b'"',
            Self::Asterisk => b'*',
            Self::Colon => b':',
            Self::Less => b'<',
            Self::Greater => b'>',
            Self::Question => b'?',
            Self::Backslash => b'\\',
            Self::Bar => b'|',
            _ => return None,
        })
    }

    /// Returns a name that violates this limit and no other.
    pub fn sample(self) -> Vec<u8> {
        const SAMPLE: &[u8] = b"probe";
        let end: &[u8] = match self {
            Self::Control => b"\x01-",
            Self::NotUtf8 => b"\xff-",
            Self::DotAtEnd => b".",
            Self::SpaceAtEnd => b" ",
            Self::Device => return b"CON".to_vec(),
            _ => return [SAMPLE, self.byte().as_slice(), b"-"].concat(),
        };
        [SAMPLE, end].concat()
    }

    /// Returns whether a name violates this limit.
    fn keeps_out(self, name: &[u8]) -> bool {
        match self {
            Self::Control => name.iter().any(|byte| (1..0x20).contains(byte)),
            Self::NotUtf8 => std::str::from_utf8(name).is_err(),
            Self::DotAtEnd => name.ends_with(b"."),
            Self::SpaceAtEnd => name.ends_with(b" "),
            Self::Device => is_device(name),
            _ => self.byte().is_some_and(|byte| name.contains(&byte)),
        }
    }
}

impl fmt::Display for NameLimit {
    /// Prints the end of the sentence "no name that …".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => out.write_str("holds a control character"),
            Self::NotUtf8 => out.write_str("is not UTF-8"),
            Self::DotAtEnd => out.write_str("ends in a dot"),
            Self::SpaceAtEnd => out.write_str("ends in a space"),
            Self::Device => {
                out.write_str("is a device's to Windows (CON, NUL, COM1 and their like)")
            }
            _ => write!(out, "holds '{}'", char::from(self.byte().unwrap_or_default())),
        }
    }
}

/// Returns whether Windows takes a name for a device
/// (<https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>).
fn is_device(name: &[u8]) -> bool {
    let stem = name.split(|&byte| byte == b'.').next().unwrap_or_default();
    let is = |device: &[u8]| stem.eq_ignore_ascii_case(device);
    let (port, number) = stem.split_at(stem.len().min(3));
    let is_port = [b"COM", b"LPT"].iter().any(|name| port.eq_ignore_ascii_case(*name));
    [&b"CON"[..], b"PRN", b"AUX", b"NUL"].into_iter().any(is)
        || is_port && matches!(number, [b'1'..=b'9'])
}

/// The limits that a place has for names; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameLimits(u16);

impl NameLimits {
    /// None.
    pub const NONE: Self = Self(0);

    /// Returns the first limit that a name violates, if any.
    pub fn keeps_out(self, name: &[u8]) -> Option<NameLimit> {
        self.iter().find(|limit| limit.keeps_out(name))
    }

    fn iter(self) -> impl Iterator<Item = NameLimit> {
        NameLimit::ALL.into_iter().filter(move |&limit| self.0 & 1 << limit as u16 != 0)
    }
}

impl FromIterator<NameLimit> for NameLimits {
    fn from_iter<I: IntoIterator<Item = NameLimit>>(limits: I) -> Self {
        Self(limits.into_iter().fold(0, |all, limit| all | 1 << limit as u16))
    }
}

impl Serialize for NameLimits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for NameLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<NameLimit>::deserialize(deserializer).map(|limits| limits.into_iter().collect())
    }
}

/// Returns whether a directory can hold an entry of this name.
pub fn is_legal_name(name: &[u8]) -> bool {
    is_legal_component(name) && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// Returns whether the key of a directory (each component followed by `/`, or empty for the root)
/// is the normal form of a path below the root. A single loop, because it runs for every file.
pub fn is_legal_path(path: &[u8]) -> bool {
    let mut start = 0;
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            0 => return false,
            b'/' => {
                if !is_legal_component(&path[start..at]) {
                    return false;
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    start == path.len()
}

/// Returns whether a name is neither `.` nor `..`, nor empty, nor too long.
fn is_legal_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= 255
}

/// Returns the name of an entry in its directory, if it is safe to use as a path.
///
/// Keys in a store are untrusted: as a path, `a/../b` would be another entry.
///
/// # Errors
/// [`Cause::IllegalName`] if no directory can hold such an entry.
pub fn legal(key: &Key) -> Result<&[u8], Cause> {
    let name = key.name();
    if is_legal_name(name) && is_legal_path(key.parent()) {
        Ok(name)
    } else {
        Err(Cause::IllegalName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_its_own_sample_and_no_other() {
        for limit in NameLimit::ALL {
            let limits = NameLimits::from_iter([limit]);
            for sample in NameLimit::ALL {
                let found = limits.keeps_out(&sample.sample());
                assert_eq!(found, (sample == limit).then_some(limit), "{limit:?} {sample:?}");
            }
            assert_eq!(NameLimits::NONE.keeps_out(&limit.sample()), None);
            let written = serde_json::to_string(&limits).unwrap();
            assert_eq!(serde_json::from_str::<NameLimits>(&written).unwrap(), limits);
        }
        let some = NameLimits::from_iter([NameLimit::Colon, NameLimit::DotAtEnd]);
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"["colon","dot_at_end"]"#);
        assert_eq!(some.keeps_out(b"a:b").unwrap().to_string(), "holds ':'");
    }

    #[test]
    fn a_device_is_recognised_by_the_name_before_the_first_dot() {
        for (name, expected) in [
            ("con", true),
            ("Nul.tar.gz", true),
            ("COM1", true),
            ("lpt9.txt", true),
            ("COM0", false),
            ("COM10", false),
            ("console", false),
            ("x.con", false),
            ("", false),
        ] {
            assert_eq!(is_device(name.as_bytes()), expected, "{name}");
        }
    }
}
