//! Parses lists of digests by other programs: `b3sum` and `sha256sum`.
//!
//! Both write one line a file: the digest in hexadecimal, two spaces (or for `sha256sum` a space
//! and `*`), and the name; with `--tag`, `BLAKE3 (name) = digest`. A `\` at the beginning of the
//! line says that `\\`, `\n` and `\r` in the name stand for a backslash, a line feed and a carriage
//! return.

use crate::model::Key;

/// The program that made a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// `b3sum`: BLAKE3.
    B3sum,
    /// `sha256sum`: SHA-256.
    Sha256sum,
}

impl ListFormat {
    /// Returns the name of the digest in lines written with `--tag`.
    fn tag(self) -> &'static [u8] {
        match self {
            Self::B3sum => b"BLAKE3 (",
            Self::Sha256sum => b"SHA256 (",
        }
    }
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The file's key.
    pub key: Key,
    /// The digest of the file's content.
    pub digest: [u8; 32],
}

/// Parses a line without its line feed; returns `None` for an empty line or a comment. `.` and
/// empty components of a name are dropped.
///
/// # Errors
/// What is wrong with the line: it has another form, or its name leads out of the directory that
/// the list is compared with.
pub fn read_line(format: ListFormat, line: &[u8]) -> Result<Option<Listed>, &'static str> {
    // A carriage return in a name is escaped, so this one belongs to the line's end.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let (is_escaped, rest) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, name) = match rest.strip_prefix(format.tag()) {
        Some(rest) => tagged(rest).ok_or("it ends after its tag")?,
        None => plain(rest).ok_or_else(|| of_another_form(rest))?,
    };
    let digest = blake3::Hash::from_hex(digest)
        .map_err(|_| "its digest doesn't have 64 hexadecimal digits")?
        .into();
    let name = if is_escaped { unescaped(name)? } else { name.to_vec() };
    Ok(Some(Listed { key: key(&name)?, digest }))
}

/// Returns what is wrong with a line that isn't of the form `digest  name`.
fn of_another_form(line: &[u8]) -> &'static str {
    match line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() {
        32 => "its digest is as long as an MD5, which can't be imported",
        40 => "its digest is as long as a SHA-1, which can't be imported",
        128 => "its digest is as long as a SHA-512, which can't be imported",
        _ if line.starts_with(b"SHA256 (") => "its digest is a SHA-256",
        _ if line.starts_with(b"BLAKE3 (") => "its digest is a BLAKE3",
        _ => "it doesn't have the form \"digest  name\"",
    }
}

fn plain(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (digest, rest) = line.split_at_checked(64)?;
    let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
    Some((digest, name))
}

fn tagged(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, digest) = line.split_at_checked(line.len().checked_sub(64)?)?;
    Some((digest, rest.strip_suffix(b") = ")?))
}

fn unescaped(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => return Err("its name has an escape other than \\\\, \\n and \\r"),
            },
            other => other,
        });
    }
    Ok(out)
}

fn key(name: &[u8]) -> Result<Key, &'static str> {
    if name.starts_with(b"/") {
        return Err("its name is an absolute path");
    }
    if name.contains(&0) {
        return Err("its name holds a NUL");
    }
    if name.ends_with(b"/") {
        return Err("its name is that of a directory");
    }
    let mut key = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its name leads out of the directory"),
            part => {
                if !key.is_empty() {
                    key.push(b'/');
                }
                key.extend_from_slice(part);
            }
        }
    }
    if key.is_empty() { Err("it has no name") } else { Ok(Key::new(key)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ListFormat::{B3sum, Sha256sum};

    fn read(format: ListFormat, line: &str) -> Result<Option<String>, &'static str> {
        let digest = "ab".repeat(32);
        let line = line.replace('@', &digest);
        read_line(format, line.as_bytes()).map(|listed| {
            listed.map(|listed| {
                assert_eq!(listed.digest, [0xab; 32]);
                String::from_utf8(listed.key.as_bytes().to_vec()).unwrap()
            })
        })
    }

    #[test]
    fn lines_of_either_program_are_read() {
        for (format, line, key) in [
            (B3sum, "@  a b", "a b"),
            (B3sum, "@  a\r", "a"),
            (B3sum, "@  ./d//./e", "d/e"),
            (B3sum, "@  d\\n", "d\\n"),
            (B3sum, "\\@  d\\\\n\\n\\r", "d\\n\n\r"),
            (B3sum, "BLAKE3 (a) = @) = @", "a) = @"),
            (Sha256sum, "@ *a", "a"),
            (Sha256sum, "@  *a", "*a"),
            (Sha256sum, "\\SHA256 (a\\nb) = @", "a\nb"),
            (Sha256sum, "@  ...", "..."),
        ] {
            let key = key.replace('@', &"ab".repeat(32));
            assert_eq!(read(format, line), Ok(Some(key)), "{line:?}");
        }
        let capital = format!("{}  a", "AB".repeat(32));
        assert_eq!(read(B3sum, &capital), Ok(Some("a".to_owned())));
        let raw = [&[b'0'; 64][..], b"  \xff"].concat();
        assert_eq!(read_line(B3sum, &raw).unwrap().unwrap().key, Key::new(*b"\xff"));
        for line in ["", "\r", "# made by hand"] {
            assert_eq!(read(Sha256sum, line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn a_line_with_a_digest_of_another_kind_says_so() {
        let line = |digits: usize| format!("{}  a", "a".repeat(digits));
        for (line, kind) in [(line(32), "MD5"), (line(40), "SHA-1"), (line(128), "SHA-512")] {
            assert!(read(B3sum, &line).is_err_and(|error| error.contains(kind)), "{kind}");
        }
        let tagged = |tag: &str| format!("{tag} (a) = @");
        assert_eq!(read(B3sum, &tagged("SHA256")), Err("its digest is a SHA-256"));
        assert_eq!(read(Sha256sum, &tagged("BLAKE3")), Err("its digest is a BLAKE3"));
    }

    #[test]
    fn what_is_no_line_of_a_list_is_refused() {
        for line in [
            "a",
            "@",
            "@  ",
            "@ a",
            "@  /etc/passwd",
            "@  ../a",
            "@  a/..",
            "@  a/",
            "@  .",
            "\\@  a\\t",
            "\\@  a\\",
            "x@  a",
            "SHA256 (a) = @",
            "BLAKE3 (a) @",
            "BLAKE3 (",
            "\\",
            "@  a\0b",
        ] {
            assert!(read(B3sum, line).is_err(), "{line:?}");
        }
    }
}
