//! Locations of a single file or object. An object's key is taken as typed, to the last byte.

use super::{Location, S3Location, split_scheme};
use crate::model::Error;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// A single file or object, or a directory if the path turns out to be one.
///
/// Like a [`Location`], except that a final `/` is part of the object's key, and none is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SingleLocation {
    /// A path of this machine.
    Local(PathBuf),
    /// A key of a bucket.
    S3 {
        /// The bucket and how to reach its store; its prefix is empty.
        bucket: S3Location,
        /// The key; empty if only the bucket was named.
        key: Box<[u8]>,
    },
}

impl SingleLocation {
    /// Parses what a user typed, as [`Location::parse`] does.
    ///
    /// # Errors
    /// Those of [`Location::parse`].
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        if let Some((scheme, rest)) = split_scheme(text.as_bytes())
            && scheme.eq_ignore_ascii_case(b"s3")
        {
            let (bucket, key) = S3Location::parse_key(rest)?;
            return Ok(Self::S3 { bucket, key });
        }
        Ok(match Location::parse(text)? {
            Location::Local(path) => Self::Local(path),
            Location::S3(location) => {
                let key = location.prefix.clone();
                Self::S3 { bucket: S3Location { prefix: [].into(), ..location }, key }
            }
        })
    }

    /// Returns the path if this is one.
    pub fn into_path(self) -> Option<PathBuf> {
        match self {
            Self::Local(path) => Some(path),
            Self::S3 { .. } => None,
        }
    }

    /// Returns the bucket if this is a key in one.
    pub fn bucket(&self) -> Option<&S3Location> {
        match self {
            Self::Local(_) => None,
            Self::S3 { bucket, .. } => Some(bucket),
        }
    }

    /// Formats what a user typed, as [`Location::printable`] does.
    pub fn printable(text: &OsStr) -> String {
        match Self::parse(text) {
            Ok(location) => location.to_string(),
            Err(_) => Location::printable(text),
        }
    }
}

impl From<PathBuf> for SingleLocation {
    fn from(path: PathBuf) -> Self {
        Self::Local(path)
    }
}

impl fmt::Display for SingleLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => Location::Local(path.clone()).fmt(out),
            Self::S3 { bucket, key } => {
                S3Location { prefix: key.clone(), ..bucket.clone() }.fmt(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        match SingleLocation::parse(OsStr::new(text)).unwrap() {
            SingleLocation::S3 { bucket, key } => {
                assert_eq!((&*bucket.bucket, &*bucket.prefix), ("bucket", &b""[..]), "{text}");
                String::from_utf8(key.into()).unwrap()
            }
            SingleLocation::Local(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn a_key_is_what_was_typed_to_the_last_byte() {
        for (text, expected) in [
            ("s3://bucket", ""),
            ("s3://bucket/", ""),
            ("s3://bucket/a", "a"),
            ("S3://bucket/a/", "a/"),
            ("s3://bucket/a//", "a//"),
            ("s3://bucket//a", "/a"),
            ("s3://bucket/./x/../%41 é", "./x/../%41 é"),
            ("s3://bucket/what?", "what?"),
            ("s3://bucket/a?region=x", "a"),
            ("s3://bucket/a/?region=x", "a/"),
            ("s3://bucket/page?id=3?region=x", "page?id=3"),
            ("s3://bucket/x?region=y?region=x", "x?region=y"),
        ] {
            assert_eq!(key(text), expected, "{text}");
        }
        let location = SingleLocation::parse(OsStr::new("s3://bucket/a?region=x")).unwrap();
        assert_eq!(location.to_string(), "s3://bucket/a?region=x");
    }

    #[test]
    fn a_key_that_looks_like_options_is_refused_with_how_to_write_it() {
        let error = SingleLocation::parse(OsStr::new("s3://bucket/page?id=3")).unwrap_err();
        assert!(error.help.unwrap().to_string().contains("?region="));
        let error = SingleLocation::parse(OsStr::new("s3://bucket/a?token=canary")).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
        let text = OsStr::new("s3://id:canary@bucket/a");
        assert_eq!(SingleLocation::printable(text), "s3://…");
        assert_eq!(SingleLocation::printable(OsStr::new("s3://bucket/a")), "s3://bucket/a");
    }
}
