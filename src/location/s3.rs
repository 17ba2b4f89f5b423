//! S3 locations: `s3://bucket/prefix?option=value&…`.
//!
//! Bucket and prefix are taken as typed, without percent-decoding: a key may hold any byte. Text
//! after the last `?` is options only if it reads `name=value&…` and has a known name. A prefix
//! that itself ends like that is written with `/?` after it.

use super::usage;
use crate::model::key::Escaped;
use crate::model::{Error, percent};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::fmt;

/// The characters that would end or change an option's value when it is parsed.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'?').add(b'\\');

/// The names of options, for messages.
const OPTIONS: &str = "endpoint, region, path_style, anonymous and profile";
/// Hints for text that was not meant as an option.
const END_OF_PREFIX: &str = "if it is the end of the prefix, write / after it";
const END_OF_KEY: &str = "if it is the end of the key, write an option after it: ?region=…";
/// What to do instead of writing a secret into a location.
const KEEP_SECRETS: &str = "credentials come from the environment (AWS_ACCESS_KEY_ID, \
     AWS_SECRET_ACCESS_KEY, AWS_PROFILE) or from ~/.aws, never from a location";
/// Parts of option names that suggest a secret. The value under such a name is not printed.
const SECRET_NAMES: [&str; 7] =
    ["secret", "passw", "token", "credential", "access_key", "accesskey", "signature"];

/// A prefix of a bucket, and how to reach its store.
///
/// Holds no secret: `Debug` and `Display` are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix of all keys: empty, or bytes that end in `/`.
    pub prefix: Box<[u8]>,
    /// The store's address, `http(s)://host[:port][/path]` without a final `/`; AWS if absent.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Whether the bucket is in the path of URLs (else in the host name).
    pub path_style: Option<bool>,
    /// Whether requests are sent unsigned.
    pub anonymous: Option<bool>,
    /// The profile of `~/.aws` that gives settings and credentials.
    pub profile: Option<String>,
}

impl S3Location {
    /// Parses what follows `s3://`.
    pub(super) fn parse(rest: &[u8]) -> Result<Self, Error> {
        let split = split_options(rest).map_err(|name| unknown(name, END_OF_PREFIX))?;
        let (mut location, key) = Self::from_split(rest, split)?;
        let mut prefix = key.into_vec();
        if prefix.last().is_some_and(|&byte| byte != b'/') {
            prefix.push(b'/');
        }
        location.prefix = prefix.into();
        Ok(location)
    }

    /// Parses what follows `s3://` for a single key: the bucket, with an empty prefix, and the key
    /// as typed.
    pub(super) fn parse_key(rest: &[u8]) -> Result<(Self, Box<[u8]>), Error> {
        let split = split_options(rest).map_err(|name| unknown(name, END_OF_KEY))?;
        Self::from_split(rest, split)
    }

    fn from_split(
        rest: &[u8],
        SplitOptions { path, options }: SplitOptions<'_>,
    ) -> Result<(Self, Box<[u8]>), Error> {
        let mut location = Self::default();
        let (name, tail) = match split_recorded(path) {
            Some((name, address, tail)) => {
                let text = std::str::from_utf8(address);
                let text = text.map_err(|_| usage("an endpoint is not text"))?;
                location.endpoint = Some(endpoint(text)?);
                (name, tail)
            }
            None => path.split_at(path.iter().position(|&b| b == b'/').unwrap_or(path.len())),
        };
        location.bucket = bucket(name, rest)?;
        let key = tail.get(1..).unwrap_or_default().into();
        for (name, value) in pairs(options).into_iter().flatten() {
            location.set(name, value)?;
        }
        Ok((location, key))
    }

    fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        // Reject an unknown name before its value is looked at: that may be a secret.
        let option = OptionName::parse(name).ok_or_else(|| unknown(name, END_OF_PREFIX))?;
        let value = percent::decode(value)
            .and_then(|value| String::from_utf8(value).ok())
            .filter(|value| !value.is_empty() && !value.chars().any(char::is_control))
            .ok_or_else(|| {
                usage(format!("the option {name} of an s3:// location has an invalid value"))
                    .help("values are text with %XX for special characters; % itself is %25")
            })?;
        let replaced = match option {
            OptionName::Endpoint => self.endpoint.replace(endpoint(&value)?).is_some(),
            OptionName::Region => self.region.replace(region(&value)?).is_some(),
            OptionName::PathStyle => self.path_style.replace(parse_bool(name, &value)?).is_some(),
            OptionName::Anonymous => self.anonymous.replace(parse_bool(name, &value)?).is_some(),
            OptionName::Profile => self.profile.replace(value).is_some(),
        };
        if replaced {
            return Err(usage(format!("the option {name} of an s3:// location is given twice")));
        }
        Ok(())
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The form `bucket@endpoint/prefix` that runs record. An endpoint with a path can't be
        // written so: the path would be read as part of the prefix.
        let is_host = |endpoint: &&String| endpoint.matches('/').count() == 2;
        // Neither can a prefix whose end would be read as options.
        let is_plain = split_options(&self.prefix).is_ok_and(|split| *split.path == *self.prefix);
        let host = self.endpoint.as_ref().filter(is_host).filter(|_| is_plain);
        write!(out, "s3://{}", self.bucket)?;
        if let Some(endpoint) = host {
            write!(out, "@{endpoint}")?;
        }
        write!(out, "/{}", Escaped(&self.prefix))?;
        let switch = |value: Option<bool>| value.map(|value| value.to_string());
        let options = [
            ("endpoint", self.endpoint.clone().filter(|_| host.is_none())),
            ("region", self.region.clone()),
            ("path_style", switch(self.path_style)),
            ("anonymous", switch(self.anonymous)),
            ("profile", self.profile.clone()),
        ];
        let mut separator = "?";
        for (name, value) in
            options.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
        {
            write!(out, "{separator}{name}={}", utf8_percent_encode(value, VALUE))?;
            separator = "&";
        }
        if separator == "?" && !is_plain { out.write_str("?") } else { Ok(()) }
    }
}

/// Splits `bucket@http(s)://host[:port]/prefix`, the form that runs record and print, into the
/// bucket, the endpoint, and the rest from the `/` on.
fn split_recorded(path: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let at = path.iter().position(|byte| b"@/".contains(byte))?;
    let rest = path[at..].strip_prefix(b"@")?;
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|it| rest.starts_with(it))?;
    let host = rest[scheme.len()..].iter().position(|&byte| byte == b'/');
    let (endpoint, tail) = rest.split_at(host.map_or(rest.len(), |at| scheme.len() + at));
    Some((&path[..at], endpoint, tail))
}

/// The known options.
#[derive(Clone, Copy)]
enum OptionName {
    Endpoint,
    Region,
    PathStyle,
    Anonymous,
    Profile,
}

impl OptionName {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "endpoint" => Some(Self::Endpoint),
            "region" => Some(Self::Region),
            "path_style" => Some(Self::PathStyle),
            "anonymous" => Some(Self::Anonymous),
            "profile" => Some(Self::Profile),
            _ => None,
        }
    }
}

/// `bucket/prefix` and its options, which may be empty.
struct SplitOptions<'a> {
    path: &'a [u8],
    options: &'a [u8],
}

/// Splits `bucket/prefix` from its options.
///
/// # Errors
/// The name of the first option, if the text reads like options but none is known. It is more
/// likely a typo than the end of a prefix, and may hold a secret. If the text ends with `/` it is a
/// prefix.
fn split_options(rest: &[u8]) -> Result<SplitOptions<'_>, &str> {
    let alone = SplitOptions { path: rest, options: &[] };
    let Some(at) = rest.iter().rposition(|&byte| byte == b'?') else { return Ok(alone) };
    let (path, options) = (&rest[..at], &rest[at + 1..]);
    if options.is_empty() && path.ends_with(b"/") {
        return Ok(SplitOptions { path, options });
    }
    let Some(pairs) = pairs(options) else { return Ok(alone) };
    if pairs.iter().any(|(name, _)| OptionName::parse(name).is_some()) {
        return Ok(SplitOptions { path, options });
    }
    let secret = pairs.iter().find(|(name, _)| is_secret(name));
    match secret.or_else(|| pairs.first().filter(|_| !options.ends_with(b"/"))) {
        Some((name, _)) => Err(name),
        None => Ok(alone),
    }
}

/// Parses `name=value&…`; returns `None` for anything else.
fn pairs(options: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    options
        .split(|&byte| byte == b'&')
        .map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let name = std::str::from_utf8(&pair[..at]).ok()?;
            let is_name = !name.is_empty() && name.bytes().all(legal);
            is_name.then_some((name, &pair[at + 1..]))
        })
        .collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    name == "key" || SECRET_NAMES.iter().any(|part| name.contains(part))
}

fn unknown(name: &str, hint: &str) -> Error {
    if is_secret(name) {
        return usage(format!("an s3:// location takes no option {name}")).help(KEEP_SECRETS);
    }
    usage(format!("an s3:// location has no option \"{name}\""))
        .help(format!("options are {OPTIONS}; {hint}"))
}

/// Checks a bucket's name against S3's rules, and also allows the `_` and capitals that compatible
/// stores allow.
fn bucket(name: &[u8], rest: &[u8]) -> Result<String, Error> {
    if name.starts_with(b"arn:") && !rest.contains(&b'@') {
        return Err(arn(name));
    }
    let may_be_secret = |byte: &u8| b":@".contains(byte);
    if name.contains(&b'@') || name.contains(&b':') && rest.contains(&b'@') {
        return Err(usage("an s3:// location contains credentials").help(KEEP_SECRETS));
    }
    if let Some(text) = bucket_name(name) {
        return Ok(text.to_owned());
    }
    let message = if name.is_empty() {
        "an s3:// location names no bucket".to_owned()
    } else if name.iter().any(may_be_secret) {
        "the bucket of an s3:// location has an invalid name".to_owned()
    } else {
        format!("\"{}\" can't be the name of a bucket", Escaped(name))
    };
    Err(usage(message).help(
        "write s3://bucket/prefix; a bucket's name has 3 to 63 letters, digits, dots and hyphens",
    ))
}

/// Returns a bucket's name if it is legal.
fn bucket_name(name: &[u8]) -> Option<&str> {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let legal = |byte: &u8| word(byte) || b".-".contains(byte);
    std::str::from_utf8(name).ok().filter(|_| {
        (3..=63).contains(&name.len())
            && name.iter().all(legal)
            && name.first().is_some_and(word)
            && name.last().is_some_and(word)
            && !name.windows(2).any(|two| two == b"..")
    })
}

/// Builds the error for an ARN where a bucket is expected, or without `s3://`, with what to write.
pub(super) fn arn(name: &[u8]) -> Error {
    let name = name.split(|&byte| byte == b'/').next().unwrap_or_default();
    let bucket = name.rsplit(|&byte| byte == b':').next().unwrap_or_default();
    let is_bucket = name.split(|&byte| byte == b':').count() == 6
        && name.split(|&byte| byte == b':').nth(3) == Some(b"");
    let help = match bucket_name(bucket).filter(|_| is_bucket) {
        Some(bucket) => format!("write the bucket's name: s3://{bucket}/prefix"),
        None => "write the bucket's name: s3://bucket/prefix; an access point has an alias that \
                 stands for one, which ends in -s3alias"
            .to_owned(),
    };
    usage("a location names a bucket, not an ARN").help(help)
}

/// Checks a store's address, `http(s)://host[:port][/path]`, and drops a final `/`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::model::ErrorKind) for anything else. The error doesn't repeat what
/// may be a secret.
pub fn endpoint(address: &str) -> Result<String, Error> {
    let help = "write it like https://s3.example.com or http://localhost:9000";
    let lower = address.get(..8).unwrap_or(address).to_ascii_lowercase();
    let scheme = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let Some(scheme) = scheme else {
        return Err(usage("an endpoint begins with https:// or http://").help(help));
    };
    let rest = address[scheme.len()..].trim_end_matches('/');
    if rest.contains('@') {
        return Err(usage("an endpoint contains credentials").help(KEEP_SECRETS));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let legal_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte);
    if !is_authority(authority) || !path.bytes().all(legal_path) {
        return Err(usage("an endpoint is not a valid address").help(help));
    }
    Ok(format!("{scheme}{}{path}", authority.to_ascii_lowercase()))
}

/// Returns whether a text is `host`, `host:port`, or `[v6]:port`.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0)
    };
    !host.is_empty()
        && host.bytes().all(legal)
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Checks a region's name, which becomes part of a host name and of a signature.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::model::ErrorKind) for an illegal name.
pub fn region(name: &str) -> Result<String, Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.is_empty() && name.len() <= 63 && name.bytes().all(legal) {
        return Ok(name.to_owned());
    }
    Err(usage("a region's name is letters, digits and hyphens").help("write it like eu-central-1"))
}

fn parse_bool(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(usage(format!("the option {name} of an s3:// location is true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Location;
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    fn parse(text: &str) -> Result<S3Location, Error> {
        match Location::parse(OsStr::new(text))? {
            Location::S3(location) => Ok(location),
            other @ Location::Local(_) => panic!("{other:?}"),
        }
    }

    /// Returns all the text of the error that parsing gives.
    fn error_text(text: &str) -> String {
        let error = parse(text).unwrap_err();
        format!("{error:?} {error} {}", error.help.clone().unwrap_or_default())
    }

    fn prefix(text: &str) -> String {
        let location = parse(text).unwrap();
        assert_eq!(location.bucket, "bucket", "{text}");
        String::from_utf8(location.prefix.into()).unwrap()
    }

    #[test]
    fn a_prefix_is_a_directory_and_its_bytes_are_kept() {
        for (text, expected) in [
            ("s3://bucket", ""),
            ("s3://bucket/", ""),
            ("S3://bucket/p", "p/"),
            ("s3://bucket/p/", "p/"),
            ("s3://bucket/p//", "p//"),
            ("s3://bucket//p", "/p/"),
            ("s3://bucket//", "/"),
            ("s3://bucket/a//b/../%41%2f é", "a//b/../%41%2f é/"),
            ("s3://bucket/what?", "what?/"),
            ("s3://bucket/what?/", "what?/"),
            ("s3://bucket/page?id=3/", "page?id=3/"),
            ("s3://bucket/page?=3", "page?=3/"),
            ("s3://bucket/page?a&b=c", "page?a&b=c/"),
            ("s3://bucket/p?region=x/?", "p?region=x/"),
            ("s3://bucket/p?id=3/?region=x", "p?id=3/"),
        ] {
            assert_eq!(prefix(text), expected, "{text}");
        }
        let bytes = OsStr::from_bytes(b"s3://bucket/\xff\x01%");
        let Location::S3(location) = Location::parse(bytes).unwrap() else { panic!() };
        assert_eq!(&*location.prefix, b"\xff\x01%/");
    }

    #[test]
    fn options_follow_the_last_question_mark() {
        let all = "s3://bucket/p?endpoint=http://LocalHost:9000/&region=eu-1&path_style=true\
                   &anonymous=false&profile=a%20%26b";
        let location = parse(all).unwrap();
        let expected = S3Location {
            bucket: "bucket".into(),
            prefix: (*b"p/").into(),
            endpoint: Some("http://localhost:9000".into()),
            region: Some("eu-1".into()),
            path_style: Some(true),
            anonymous: Some(false),
            profile: Some("a &b".into()),
        };
        assert_eq!(location, expected);
        assert_eq!(
            location.to_string(),
            "s3://bucket@http://localhost:9000/p/?region=eu-1&path_style=true\
             &anonymous=false&profile=a%20%26b"
        );
        assert_eq!(parse("s3://bucket?region=x").unwrap().region.as_deref(), Some("x"));
    }

    #[test]
    fn unknown_options_and_bad_values_are_refused() {
        for (text, word) in [
            ("s3://bucket/p?regoin=eu", "\"regoin\""),
            // Probably a typo; with / at its end it would be a prefix.
            ("s3://bucket/a?b=c/d", "\"b\""),
            ("s3://bucket/p?region=eu&x=y", "\"x\""),
            ("s3://bucket/p?path-style=true", "\"path-style\""),
            ("s3://bucket/p?path_style=yes", "true or false"),
            ("s3://bucket/p?region=eu&region=us", "twice"),
            ("s3://bucket/p?region=", "invalid value"),
            ("s3://bucket/p?profile=a%0ab", "invalid value"),
            ("s3://bucket/p?profile=%zz", "invalid value"),
            ("s3://bucket/p?region=a/b", "region"),
            ("s3://bucket/p?endpoint=localhost:9000", "https:// or http://"),
            ("s3://bucket/p?endpoint=http://", "not a valid address"),
            ("s3://bucket/p?endpoint=http://h:x", "not a valid address"),
            ("s3://bucket/p?endpoint=http://h:0", "not a valid address"),
            ("s3://bucket/p?endpoint=http://h/%3Fx", "not a valid address"),
        ] {
            assert!(error_text(text).contains(word), "{text}: {}", error_text(text));
        }
    }

    #[test]
    fn endpoints_may_have_a_port_a_path_or_a_literal_address() {
        for address in ["https://s3.example.com", "http://[::1]:9000", "https://h:1/base/path"] {
            assert_eq!(endpoint(&format!("{address}/")).unwrap(), address);
        }
        for address in ["http://[::1", "http://[x]:1", "http://:1", "ftp://h", "http", "http://a b"]
        {
            assert!(endpoint(address).is_err(), "{address}");
        }
    }

    /// Runs print locations in this form.
    #[test]
    fn the_form_that_runs_record_can_be_typed() {
        for (text, same) in [
            (
                "s3://bucket@http://127.0.0.1:9000/p/q/",
                "s3://bucket/p/q?endpoint=http://127.0.0.1:9000",
            ),
            ("s3://bucket@https://s3.example.org", "s3://bucket?endpoint=https://s3.example.org"),
            ("s3://bucket@https://h/a@b?region=eu", "s3://bucket/a@b?endpoint=https://h&region=eu"),
        ] {
            assert_eq!(parse(text).unwrap(), parse(same).unwrap(), "{text}");
        }
        for secret in ["s3://id:secret@bucket/p", "s3://b@http://me:secret@h/p", "s3://id@http/p"] {
            assert!(parse(secret).unwrap_err().to_string().contains("credentials"), "{secret}");
        }
        let twice = "s3://bucket@https://h/p?endpoint=https://h";
        assert!(parse(twice).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn bucket_names_follow_s3s_rules() {
        for name in ["abc", "a.b-c", "Old_Bucket", "123"] {
            assert_eq!(parse(&format!("s3://{name}/x")).unwrap().bucket, name);
        }
        let long = "a".repeat(64);
        for name in ["", "ab", ".abc", "abc-", "a..b", "a b", "bück", "arn:aws:s3", &long] {
            assert!(error_text(&format!("s3://{name}/x")).contains("bucket"), "{name}");
        }
        assert!(error_text("s3://").contains("names no bucket"));
        assert!(error_text("s3:///key").contains("names no bucket"));
        assert!(error_text("s3://bu?cket").contains("bucket"));
    }

    #[test]
    fn an_arn_is_refused_with_what_to_write() {
        assert!(error_text("s3://arn:aws:s3:::photos/p").contains("s3://photos/prefix"));
        for arn in ["arn:aws:s3:eu-west-1:1234:accesspoint/mine/p", "arn:aws:s3:::", "arn:x"] {
            let text = error_text(&format!("s3://{arn}"));
            assert!(text.contains("not an ARN") && text.contains("-s3alias"), "{text}");
        }
        assert!(!error_text("s3://arn:aws:hunter2@bucket").contains("hunter2"));
    }

    #[test]
    fn a_secret_in_a_location_is_refused_and_not_repeated() {
        for text in [
            "s3://AKIAX:hunter2@bucket/p",
            "s3://AKIAX:hunt/hunter2@bucket/p",
            "s3://hunter2@bucket/p",
            "s3://AKIAX:hunter2/p",
            "s3://bucket/p?access_key=hunter2",
            "s3://bucket/p?secret=hunter2/",
            "s3://bucket/p?region=eu&Secret-Access-Key=hunter2",
            "s3://bucket/p?token=hunter2",
            "s3://bucket/p?password=hunter2",
            "s3://bucket/p?X-Amz-Signature=hunter2&X-Amz-Date=3",
            "s3://bucket/p?sesame=hunter2",
            "s3://bucket/p?endpoint=http://me:hunter2@host",
            "s3://bucket/p?endpoint=hunter2",
            "s3://bucket/p?region=hunter2!",
            "s3://bucket/p?anonymous=hunter2",
        ] {
            assert!(!error_text(text).contains("hunter2"), "{text}: {}", error_text(text));
        }
        for text in ["s3://AKIAX:hunter2@bucket/p", "s3://bucket/p?secret=x"] {
            assert!(error_text(text).contains("~/.aws"), "{}", error_text(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            prefix in "([a-c?=&/%é-]|region=|\\?id=){0,12}/",
            region in proptest::option::of("[a-z]{2}-[0-9]"),
            profile in proptest::option::of("[a-b %&?=é/]{1,5}"),
        ) {
            let location = S3Location {
                bucket: "bucket".into(),
                prefix: prefix.into_bytes().into(),
                region,
                profile,
                ..S3Location::default()
            };
            prop_assert_eq!(parse(&location.to_string()).unwrap(), location);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "s3://[a-z:@?=&/.%\u{0}-\u{ff}]{0,30}") {
            if let Ok(location) = Location::parse(OsStr::new(&text)) {
                prop_assert!(!location.to_string().contains(char::is_control));
            }
        }
    }
}
