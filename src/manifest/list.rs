//! Lists of digests that other programs made: `b3sum`'s and `sha256sum`'s.
//!
//! Both write a line a file: the digest in hexadecimal, two spaces (`sha256sum` also a space and
//! `*`), the name; or, with `--tag`, `BLAKE3 (name) = digest`. A `\` before all that says that in
//! the name `\\`, `\n` and `\r` stand for a backslash, a line feed and a carriage return.

use crate::model::Key;

/// What made a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// `b3sum`: BLAKE3.
    B3sum,
    /// `sha256sum`: SHA-256.
    Sha256sum,
}

impl ListFormat {
    /// The name of its digests in lines of the form that `--tag` asks for.
    fn tag(self) -> &'static [u8] {
        match self {
            Self::B3sum => b"BLAKE3 (",
            Self::Sha256sum => b"SHA256 (",
        }
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which file.
    pub key: Key,
    /// The digest of its content.
    pub digest: [u8; 32],
}

/// Reads a line, without its line feed; `None` where it says nothing: it is empty, or a comment.
/// `.` and empty components of a name are left out.
///
/// # Errors
/// What is wrong with it, in words: it has another form, or its name leads out of the directory
/// that it is held against.
pub fn read_line(format: ListFormat, line: &[u8]) -> Result<Option<Listed>, &'static str> {
    // A carriage return of a name is escaped: this one is the line's end.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let (is_escaped, rest) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, name) = match rest.strip_prefix(format.tag()) {
        Some(rest) => tagged(rest).ok_or("it breaks off behind its tag")?,
        None => plain(rest).ok_or_else(|| of_another_form(rest))?,
    };
    let digest = blake3::Hash::from_hex(digest)
        .map_err(|_| "its digest is not of 64 hexadecimal digits")?
        .into();
    let name = if is_escaped { unescaped(name)? } else { name.to_vec() };
    Ok(Some(Listed { key: key(&name)?, digest }))
}

/// What is wrong with a line that isn't one of `digest  name`.
fn of_another_form(line: &[u8]) -> &'static str {
    match line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() {
        32 => "its digest is as long as an MD5, which can't be imported",
        40 => "its digest is as long as a SHA-1, which can't be imported",
        128 => "its digest is as long as a SHA-512, which can't be imported",
        _ if line.starts_with(b"SHA256 (") => "its digest is a SHA-256",
        _ if line.starts_with(b"BLAKE3 (") => "its digest is a BLAKE3",
        _ => "it has not the form \"digest  name\"",
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
                _ => return Err("its name has an escape that is none of \\\\, \\n and \\r"),
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
