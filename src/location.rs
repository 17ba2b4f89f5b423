//! Locations: what a user types for a source or a target, parsed once. They print without secrets.

mod s3;
mod single;

pub use s3::{S3Location, endpoint, region};
pub use single::SingleLocation;

use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind, percent};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// A place that entries come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine, or as a source also a single file.
    Local(PathBuf),
    /// A prefix of a bucket in S3 or an S3-compatible store.
    S3(S3Location),
}

impl Location {
    /// Parses what a user typed: a path, a `file://` URL, or `s3://bucket/prefix`. A path with a
    /// colon in its first component must be written `./a:b`, because other tools take `a:b` for a
    /// remote.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an empty text, a path with such a colon, a URL of an unknown
    /// scheme, a `file://` URL that names another machine or has a broken percent escape, and an
    /// `s3://` location without a legal bucket, with an unknown option, or with a secret in it
    /// (which the error doesn't repeat).
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(
                usage("the location is empty").help("name a directory; `.` is the current one")
            );
        }
        let Some((scheme, rest)) = split_scheme(bytes) else {
            return match split_colon(bytes) {
                Some((b"arn", rest)) if rest.starts_with(b"aws") => Err(s3::arn(bytes)),
                Some((head, rest)) => Err(not_a_path(head, rest)),
                None => Ok(Self::Local(PathBuf::from(text))),
            };
        };
        if scheme.eq_ignore_ascii_case(b"s3") {
            return S3Location::parse(rest).map(Self::S3);
        }
        if !scheme.eq_ignore_ascii_case(b"file") {
            let scheme = Escaped(scheme);
            return Err(usage(format!(
                "locations of the scheme \"{scheme}://\" are not supported"
            ))
            .help(
                "use a path, a file:// URL or s3://bucket/prefix; for a path with \"://\" in it \
                 write ./ before it",
            ));
        }
        let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
        if !path.starts_with(b"/") {
            return Err(usage("a file:// URL names another machine")
                .help("a file URL has three slashes: file:///path"));
        }
        let path = percent::decode(path).filter(|path| !path.contains(&0)).ok_or_else(|| {
            usage(format!("\"{}\" has a broken percent escape", Escaped(bytes)))
                .help("a percent sign itself is written %25")
        })?;
        Ok(Self::Local(PathBuf::from(std::ffi::OsString::from_vec(path))))
    }

    /// Returns whether the location is reached over a network.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Local(_) => false,
            Self::S3(_) => true,
        }
    }

    /// Formats what a user typed, whether it is a location or not. Of a URL that can't be parsed
    /// only the scheme is shown, because the rest may hold a secret.
    pub fn printable(text: &OsStr) -> String {
        match (Self::parse(text), split_scheme(text.as_bytes())) {
            (Ok(location), _) => location.to_string(),
            (Err(_), Some((scheme, _))) => format!("{}://…", Escaped(scheme)),
            (Err(_), None) => match split_colon(text.as_bytes()) {
                Some((head, rest)) if may_hold_secret(rest) => format!("{}:…", Escaped(head)),
                _ => Escaped(text.as_bytes()).to_string(),
            },
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(out, "{}", Escaped(path.as_os_str().as_bytes())),
            Self::S3(location) => location.fmt(out),
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

/// Splits `head:rest` where the colon comes before any `/`.
fn split_colon(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| b":/".contains(byte)).filter(|at| *at > 0)?;
    (bytes[at] == b':').then(|| (&bytes[..at], &bytes[at + 1..]))
}

/// Returns whether the text after a colon may begin with a password, as in `user:password@host`.
fn may_hold_secret(rest: &[u8]) -> bool {
    rest.contains(&b'@')
}

/// Builds the error for `head:rest`, which is no path, with how to write what it may mean.
fn not_a_path(head: &[u8], rest: &[u8]) -> Error {
    let shown = |bytes: &[u8]| Escaped(bytes).to_string();
    let typed = if may_hold_secret(rest) {
        format!("{}:…", shown(head))
    } else {
        shown(&[head, b":", rest].concat())
    };
    let path = format!("for a path of this machine write ./{typed}");
    let (what, help) = if head.eq_ignore_ascii_case(b"s3") && !may_hold_secret(rest) {
        let location = shown(rest.trim_ascii_start());
        ("is not a location", format!("write s3://{}; {path}", location.trim_start_matches('/')))
    } else if head.eq_ignore_ascii_case(b"file") {
        let location = shown(rest);
        ("is not a location", format!("write file:///{}; {path}", location.trim_start_matches('/')))
    } else if let ([letter @ (b'a'..=b'z' | b'A'..=b'Z')], [b'/' | b'\\', ..]) = (head, rest) {
        let drive = char::from(letter.to_ascii_lowercase());
        let help =
            format!("where Windows drives are mounted, as in WSL, write /mnt/{drive}; {path}");
        ("looks like a Windows path", help)
    } else if rest.starts_with(b"/") || rest.starts_with(b"~") || head.contains(&b'@') {
        let help = format!("mount it here first, by sshfs or NFS, and name that; {path}");
        ("names a location on another machine, which vidimus can't reach", help)
    } else {
        let help = format!("{path}; for a bucket write s3://bucket/prefix");
        ("looks like a location of another tool", help)
    };
    usage(format!("\"{typed}\" {what}")).help(help)
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
    fn unusable_locations_are_refused_with_a_reason() {
        assert!(parse("").unwrap_err().contains("empty"));
        assert!(parse("gs://bucket/x").unwrap_err().contains("gs://"));
        assert!(parse("file://host/x").unwrap_err().contains("another machine"));
        for broken in ["file:///a%", "file:///a%2", "file:///a%+1", "file:///a%00"] {
            assert!(parse(broken).unwrap_err().contains("percent"), "{broken}");
        }
    }

    #[test]
    fn locations_of_other_tools_are_refused_with_the_right_spelling() {
        for (text, help) in [
            ("s3:bucket/p", "s3://bucket/p;"),
            ("s3:/bucket", "s3://bucket;"),
            ("S3:bucket", "s3://bucket;"),
            ("file:/a", "file:///a;"),
            ("host:/path", "./host:/path"),
            ("me@host:path", "./me@host:path"),
            ("host:~/path", "sshfs"),
            ("backup:photos", "./backup:photos"),
            ("backup:", "./backup:"),
            ("10:30/photos", "./10:30/photos"),
            ("C:/photos", "write /mnt/c;"),
            ("d:\\photos", "write /mnt/d;"),
            ("arn:aws:s3:::bucket", "s3://bucket/prefix"),
            ("arn:aws-cn:s3:::bucket/photos", "s3://bucket/prefix"),
            ("arn:aws:s3:eu-1:12:accesspoint/x", "-s3alias"),
            ("arn:photos", "./arn:photos"),
        ] {
            let error = Location::parse(OsStr::new(text)).unwrap_err();
            let hint = error.help.unwrap().to_string();
            assert!(hint.contains(help), "{text}: {hint}");
            assert!(SingleLocation::parse(OsStr::new(text)).is_err(), "{text}");
        }
        for path in ["./a:b", "/a:b", "a/b:c", ":a", "../a:b"] {
            assert_eq!(parse(path).unwrap(), path);
        }
        let error = Location::parse(OsStr::new("me:canary@host:/p")).unwrap_err();
        assert!(!format!("{error} {:?}", error.help).contains("canary"));
        assert_eq!(Location::printable(OsStr::new("me:canary@host:/p")), "me:…");
    }

    #[test]
    fn printable_text_hides_possible_secrets() {
        for (text, shown) in [
            ("a\nb", "a\\nb"),
            ("", ""),
            ("s3://bucket/p", "s3://bucket/p/"),
            ("s3://id:secret@bucket/p", "s3://…"),
            ("sftp://me:secret@host/p", "sftp://…"),
            ("file://me:secret@host/p", "file://…"),
        ] {
            assert_eq!(Location::printable(OsStr::new(text)), shown);
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::model::fuzz::{Input, assert_printable, config, inputs};
    use crate::model::key::is_printable;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(config())]

        /// A location parses back from its printed form, unless that has escapes in it.
        #[test]
        fn any_location_parses_back_from_its_printed_form(Input(bytes) in inputs("location")) {
            let text = OsStr::from_bytes(&bytes);
            prop_assert!(is_printable(&Location::printable(text)));
            prop_assert!(is_printable(&SingleLocation::printable(text)));
            match Location::parse(text) {
                Ok(location) => {
                    let printed = location.to_string();
                    if let (Location::S3(_), false) = (&location, printed.contains('\\')) {
                        let again = Location::parse(OsStr::new(&printed));
                        prop_assert_eq!(again.unwrap(), location, "{}", printed);
                    }
                }
                Err(error) => {
                    assert_printable(&error);
                    prop_assert!(is_printable(&error.help.clone().unwrap_or_default().to_string()));
                }
            }
            match SingleLocation::parse(text) {
                Ok(location) => {
                    let printed = location.to_string();
                    if let (Some(_), false) = (location.bucket(), printed.contains('\\')) {
                        let again = SingleLocation::parse(OsStr::new(&printed));
                        prop_assert_eq!(again.unwrap(), location, "{}", printed);
                    }
                }
                Err(error) => assert_printable(&error),
            }
        }
    }
}
