//! Signatures of requests (AWS Signature Version 4, in the `Authorization` header).
//!
//! This is not done by a library because keys must be signed as sent, with all their dots and
//! slashes; a wrong clock has to be corrected by the store's; and the signing key is cached between
//! requests, so that a signature costs one hash and one HMAC
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

use super::credential::Credential;
use super::time::SignedTime;
use data_encoding::HEXLOWER;
use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, InvalidHeaderValue,
};
use ring::{digest, hmac};
use std::fmt::Write as _;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The header with the hash of the content, for the signature.
pub(super) const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// The hash of empty content.
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The value for content that the signature doesn't cover; its checksum in another header does.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Signs requests.
#[derive(Default)]
pub(super) struct Signer {
    key: Option<(SignedTime, Credential, hmac::Key)>,
    /// A buffer for the canonical request, reused between requests.
    canonical: String,
    signed_headers: String,
}

/// The parts of a request that are signed besides its headers.
pub(super) struct Subject<'a> {
    pub(super) method: &'a str,
    /// The path as sent, with the `/` at its start.
    pub(super) path: &'a str,
    /// The query as sent: encoded, ordered by name, with a `=` after each name.
    pub(super) query: &'a str,
    pub(super) region: &'a str,
}

impl Signer {
    /// Adds date, token and signature to headers that hold [`PAYLOAD`] and `Host` already.
    ///
    /// # Errors
    /// Fails if a credential has characters that no header can hold.
    pub(super) fn sign(
        &mut self,
        credential: &Credential,
        time: SignedTime,
        subject: &Subject<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeaderValue> {
        headers.insert(DATE, HeaderValue::from_str(time.as_str())?);
        if let Some(token) = credential.token() {
            let mut token = HeaderValue::from_str(token)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        self.write_canonical(subject, headers);

        let hash = digest::digest(&digest::SHA256, self.canonical.as_bytes());
        let Subject { region, .. } = subject;
        let text = &mut self.canonical;
        text.clear();
        let day = time.day();
        let (moment, scope) = (time.as_str(), "s3/aws4_request");
        let _infallible = write!(text, "AWS4-HMAC-SHA256\n{moment}\n{day}/{region}/{scope}\n");
        HEXLOWER.encode_append(hash.as_ref(), text);
        let key = Self::key(&mut self.key, credential, time, region);
        let signature = hmac::sign(key, text.as_bytes());

        text.clear();
        let (access_key, signed) = (credential.access_key(), &self.signed_headers);
        let _infallible = write!(
            text,
            "AWS4-HMAC-SHA256 Credential={access_key}/{day}/{region}/{scope}, \
             SignedHeaders={signed}, Signature="
        );
        HEXLOWER.encode_append(signature.as_ref(), text);
        let mut authorization = HeaderValue::from_str(text)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    fn write_canonical(&mut self, subject: &Subject<'_>, headers: &HeaderMap) {
        let mut names: Vec<&HeaderName> = headers.keys().filter(|name| is_signed(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());

        let text = &mut self.canonical;
        text.clear();
        for line in [subject.method, subject.path, subject.query] {
            text.push_str(line);
            text.push('\n');
        }
        self.signed_headers.clear();
        for name in names {
            if !self.signed_headers.is_empty() {
                self.signed_headers.push(';');
            }
            self.signed_headers.push_str(name.as_str());
            text.push_str(name.as_str());
            text.push(':');
            for (at, value) in headers.get_all(name).iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                trimmed(value.as_bytes(), text);
            }
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_headers);
        text.push('\n');
        let payload = headers.get(PAYLOAD).and_then(|value| value.to_str().ok());
        text.push_str(payload.unwrap_or(UNSIGNED));
    }

    /// Returns the signing key of a day, which is derived again only if the day or the credential
    /// changes.
    fn key<'k>(
        kept: &'k mut Option<(SignedTime, Credential, hmac::Key)>,
        credential: &Credential,
        time: SignedTime,
        region: &str,
    ) -> &'k hmac::Key {
        let fits = |(of, with, _): &(SignedTime, Credential, _)| {
            of.day() == time.day() && with.signs_like(credential)
        };
        let kept_one = kept.take().filter(fits);
        let (_, _, key) = kept.insert(kept_one.unwrap_or_else(|| {
            let secret = format!("AWS4{}", credential.secret());
            let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            for part in [time.day(), region, "s3", "aws4_request"] {
                let derived = hmac::sign(&key, part.as_bytes());
                key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
            }
            (time, credential.clone(), key)
        }));
        key
    }
}

/// Returns whether a header is signed: only the required ones, because proxies may change others.
fn is_signed(name: &HeaderName) -> bool {
    name == HOST
        || name == CONTENT_TYPE
        || name.as_str() == "content-md5"
        || name.as_str() == "range"
        || name.as_str().starts_with("x-amz-")
}

/// Appends a header's value as signed: trimmed, with runs of spaces reduced to one. Values that are
/// not UTF-8 are never sent.
fn trimmed(value: &[u8], out: &mut String) {
    let value = String::from_utf8_lossy(value);
    for (at, word) in value.split_ascii_whitespace().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signs as in the documentation's examples and returns the signature.
    fn signature(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> String {
        let credential = Credential::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        );
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        let time = SignedTime::new(1_369_353_600).expect("in range");
        let subject = Subject { method, path, query, region: "us-east-1" };
        let mut signer = Signer::default();
        signer.sign(&credential, time, &subject, &mut map).expect("header-safe");
        let first = map[AUTHORIZATION].clone();
        // With the cached key.
        map.remove(AUTHORIZATION);
        signer.sign(&credential, time, &subject, &mut map).expect("header-safe");
        assert_eq!(map[AUTHORIZATION], first);
        assert!(map[AUTHORIZATION].is_sensitive());
        let text = first.to_str().expect("ASCII");
        text.rsplit_once("Signature=").expect("it is there").1.to_owned()
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
    #[test]
    fn the_examples_of_the_documentation_come_out() {
        let get = signature(
            "GET",
            "/test.txt",
            "",
            &[("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)],
        );
        assert_eq!(get, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

        let lifecycle = signature("GET", "/", "lifecycle=", &[("x-amz-content-sha256", EMPTY)]);
        assert_eq!(lifecycle, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");

        let list = signature("GET", "/", "max-keys=2&prefix=J", &[("x-amz-content-sha256", EMPTY)]);
        assert_eq!(list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn another_day_and_another_secret_have_another_key() {
        let mut signer = Signer::default();
        let mut seen = std::collections::BTreeSet::new();
        for (seconds, secret) in [(0, "a"), (86_400, "a"), (86_400, "b"), (0, "a")] {
            let credential = Credential::new("AK", secret, Some("t".into()));
            let mut headers = HeaderMap::new();
            let subject = Subject { method: "GET", path: "/", query: "", region: "r" };
            let time = SignedTime::new(seconds).expect("in range");
            signer.sign(&credential, time, &subject, &mut headers).expect("header-safe");
            assert_eq!(headers[TOKEN], "t");
            seen.insert(headers[AUTHORIZATION].to_str().expect("ASCII").to_owned());
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn values_are_signed_trimmed() {
        let mut text = String::new();
        trimmed(b"  a   b\tc ", &mut text);
        assert_eq!(text, "a b c");
    }
}
