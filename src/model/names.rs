//! What names a place takes: those that no directory can hold, and those that one takes for no name.

use super::{Cause, Key};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// One thing that no name may have at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameLimit {
    /// A character from U+0001 to U+001F.
    Control,
    /// `"`.
    Quote,
    /// `*`.
    Asterisk,
    /// `:`.
    Colon,
    /// `<`.
    Less,
    /// `>`.
    Greater,
    /// `?`.
    Question,
    /// `\`.
    Backslash,
    /// `|`.
    Bar,
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// A dot at its end.
    DotAtEnd,
    /// A space at its end.
    SpaceAtEnd,
    /// It is a device's to Windows, whatever follows its first dot: `CON`, `nul.txt`.
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

    /// The byte that is in no name, where it is one.
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

    /// A name that only this keeps from being one.
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

    /// Whether it is what keeps a name from being one.
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
    /// As the end of "no name that …".
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

/// Whether Windows takes a name for a device
/// (<https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>).
fn is_device(name: &[u8]) -> bool {
    let stem = name.split(|&byte| byte == b'.').next().unwrap_or_default();
    let is = |device: &[u8]| stem.eq_ignore_ascii_case(device);
    let (port, number) = stem.split_at(stem.len().min(3));
    let is_port = [b"COM", b"LPT"].iter().any(|name| port.eq_ignore_ascii_case(*name));
    [&b"CON"[..], b"PRN", b"AUX", b"NUL"].into_iter().any(is)
        || is_port && matches!(number, [b'1'..=b'9'])
}

/// What keeps names out of a place; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameLimits(u16);

impl NameLimits {
    /// None.
    pub const NONE: Self = Self(0);

    /// What keeps a name out, if anything does.
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

/// Whether a directory can hold an entry of this name.
pub fn is_legal_name(name: &[u8]) -> bool {
    is_legal_component(name) && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// Whether a directory's key (every component followed by `/`, or empty for the root) names one
/// directory below the root, and by the only name it has. Every file's key passes here: one loop.
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

/// Whether a name is none of `.` and `..`, nor empty, nor too long.
fn is_legal_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= 255
}

/// The name of an entry in its directory, where both are safe to act on.
///
/// Keys of a store are bytes from strangers: `a/../b` stays beneath the root, and is not `a/../b`.
///
/// # Errors
/// [`Cause::IllegalName`] where no directory can hold such an entry.
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
    fn each_limit_keeps_out_its_own_sample_and_no_other() {
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
    fn devices_are_told_by_what_stands_before_the_first_dot() {
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
