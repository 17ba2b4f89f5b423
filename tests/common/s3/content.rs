//! The body of a request and its checksums.

use super::service::custom;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::HeaderMap;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumType, StreamingBlob};
use s3s::{Body, S3Result, TrailingHeaders, s3_error};

/// A request's body and trailers.
pub(super) struct Received {
    pub(super) content: Bytes,
    trailers: Option<HeaderMap>,
}

/// Reads a request's body to its end.
pub(super) async fn receive(
    body: Option<StreamingBlob>,
    trailers: Option<TrailingHeaders>,
) -> S3Result<Received> {
    let body = body.map(Body::from).unwrap_or_default();
    let content = body.collect().await.map_err(|error| {
        if error.is::<hyper::Error>() {
            s3_error!(IncompleteBody)
        } else {
            // s3s found that the body isn't what was signed.
            custom(400, "XAmzContentSHA256Mismatch")
        }
    })?;
    let trailers = trailers.and_then(|trailers| trailers.take());
    Ok(Received { content: content.to_bytes(), trailers })
}

impl Received {
    /// Checks the content against the MD5 and the checksums of the request; returns one of these.
    pub(super) fn check(
        &self,
        md5: Option<&str>,
        told: &Checksum,
    ) -> S3Result<Option<(&'static str, String)>> {
        if let Some(md5) = md5
            && md5 != base64(&Md5::checksum(&self.content))
        {
            return Err(s3_error!(BadDigest, "the Content-MD5 did not match"));
        }
        let trailer = |algorithm: &str| {
            let name = format!("x-amz-checksum-{algorithm}");
            let value = self.trailers.as_ref()?.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let mut kept = None;
        for (algorithm, value) in values(told) {
            let Some(value) = value.cloned().or_else(|| trailer(algorithm)) else { continue };
            if value != sum(algorithm, &self.content) {
                return Err(s3_error!(BadDigest, "the {algorithm} did not match"));
            }
            kept = Some((algorithm, value));
        }
        Ok(kept)
    }
}

/// Returns the checksums in the headers of a PUT of an object or a part.
macro_rules! sent_checksums {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.clone(),
            checksum_crc32c: $input.checksum_crc32c.clone(),
            checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
            checksum_sha1: $input.checksum_sha1.clone(),
            checksum_sha256: $input.checksum_sha256.clone(),
            checksum_type: None,
        }
    };
}
pub(super) use sent_checksums;

/// Returns the names of all algorithms with the values that are set.
fn values(of: &Checksum) -> [(&'static str, Option<&String>); 5] {
    [
        ("crc32", of.checksum_crc32.as_ref()),
        ("crc32c", of.checksum_crc32c.as_ref()),
        ("crc64nvme", of.checksum_crc64nvme.as_ref()),
        ("sha1", of.checksum_sha1.as_ref()),
        ("sha256", of.checksum_sha256.as_ref()),
    ]
}

/// Returns a checksum as a reply has it.
pub(super) fn told(checksum: Option<&(&'static str, String)>) -> Checksum {
    let mut told = Checksum::default();
    if let Some((algorithm, value)) = checksum {
        // A composite checksum ends in the number of parts.
        let composite = value.contains('-');
        let kind = if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
        told.checksum_type = Some(ChecksumType::from_static(kind));
        let value = Some(value.clone());
        match *algorithm {
            "crc32" => told.checksum_crc32 = value,
            "crc32c" => told.checksum_crc32c = value,
            "crc64nvme" => told.checksum_crc64nvme = value,
            "sha1" => told.checksum_sha1 = value,
            _ => told.checksum_sha256 = value,
        }
    }
    told
}

/// Returns the checksum of a content in base64, by the name of its algorithm in headers.
pub fn sum(algorithm: &str, content: &[u8]) -> String {
    match algorithm {
        "crc32" => base64(&Crc32::checksum(content)),
        "crc32c" => base64(&Crc32c::checksum(content)),
        "crc64nvme" => base64(&Crc64Nvme::checksum(content)),
        "sha1" => base64(&Sha1::checksum(content)),
        "sha256" => base64(&Sha256::checksum(content)),
        _ => panic!("no such algorithm: {algorithm}"),
    }
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 4];
        three[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(three);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit > chunk.len() { '=' } else { DIGITS[index as usize].into() });
        }
    }
    text
}
