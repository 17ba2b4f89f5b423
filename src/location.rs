//! Locations: what a user types for a source or a target, parsed once; prints without secrets.

use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A place that entries come from or go to: today a path of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory (as a source, also a single file) of this machine.
    Local(PathBuf),
}

impl Location {
    /// Parses what a user typed: a bare path or a `file://` URL.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an empty text, a URL of a scheme that is not known, a `file://` URL
    /// that names another machine or has a broken percent escape.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(usage("the location is empty").help("name a directory; `.` is this one"));
        }
        let Some((scheme, rest)) = split_scheme(bytes) else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        if !scheme.eq_ignore_ascii_case(b"file") {
            let scheme = Escaped(scheme);
            return Err(usage(format!(
                "locations of the scheme \"{scheme}://\" are not supported"
            ))
            .help(
                "use a path or a file:// URL; for a path with \"://\" in it write ./ before it",
            ));
        }
        let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
        if !path.starts_with(b"/") {
            return Err(usage(format!("\"{}\" names another machine", Escaped(bytes)))
                .help("a file URL has three slashes: file:///path"));
        }
        let path = percent_decode(path).ok_or_else(|| {
            usage(format!("\"{}\" has a broken percent escape", Escaped(bytes)))
                .help("a percent sign itself is written %25")
        })?;
        Ok(Self::Local(PathBuf::from(std::ffi::OsString::from_vec(path))))
    }

    /// The path of a local location.
    pub fn path(&self) -> &Path {
        match self {
            Self::Local(path) => path,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(out, "{}", Escaped(path.as_os_str().as_bytes())),
        }
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// Splits `scheme://rest`; a scheme is letters, digits, `+`, `-` and `.` (RFC 3986, section 3.1).
fn split_scheme(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(3).position(|window| window == b"://")?;
    let (scheme, rest) = (&bytes[..at], &bytes[at + 3..]);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    (scheme.first()?.is_ascii_alphabetic() && scheme.iter().all(legal)).then_some((scheme, rest))
}

fn percent_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            let digits_only = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            out.push(u8::from_str_radix(digits, 16).ok().filter(|&byte| digits_only && byte != 0)?);
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        Location::parse(OsStr::new(text))
            .map(|location| location.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn paths_and_file_urls_name_a_directory() {
        assert_eq!(parse("a b/c").unwrap(), "a b/c");
        assert_eq!(parse("file:///a%20b").unwrap(), "/a b");
        assert_eq!(parse("file://localhost/a").unwrap(), "/a");
        assert_eq!(parse("./s3://x").unwrap(), "./s3://x");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_reason() {
        assert!(parse("").unwrap_err().contains("empty"));
        assert!(parse("s3://bucket/x").unwrap_err().contains("s3://"));
        assert!(parse("file://host/x").unwrap_err().contains("another machine"));
        for broken in ["file:///a%", "file:///a%2", "file:///a%+1", "file:///a%00"] {
            assert!(parse(broken).unwrap_err().contains("percent"), "{broken}");
        }
    }
}
