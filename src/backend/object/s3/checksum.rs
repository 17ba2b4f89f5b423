//! Checksums of content in headers and XML
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).

use super::super::StoreError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The header with the checksum of content.
pub(super) const CHECKSUM: &str = "x-amz-checksum-crc64nvme";

/// The header that requests an object's stored checksum.
pub(super) const CHECKSUM_MODE: (&str, &str) = ("x-amz-checksum-mode", "ENABLED");

/// Whether a store accepts checksum headers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    /// None has been sent yet.
    Untried = 0,
    /// The store accepts or ignores them.
    Taken = 1,
    /// The store refuses requests that have one.
    Refused = 2,
}

/// Returns whether a store may have refused a request because of its checksum header.
pub(super) fn may_be_the_header(error: &StoreError) -> bool {
    let code = error.code.as_deref();
    let vague = ["InvalidRequest", "InvalidArgument", "NotImplemented", "UnsupportedHeader"];
    matches!(error.status, Some(400 | 501)) && code.is_none_or(|code| vague.contains(&code))
}

/// Formats a checksum for headers and XML: its bytes in big-endian order, in base64.
pub(super) fn text(checksum: u64) -> String {
    BASE64_STANDARD.encode(checksum.to_be_bytes())
}

/// Parses what [`text`] writes.
pub(super) fn read(text: &str) -> Option<u64> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_written_and_read() {
        // The check value of CRC-64/NVME is AE8B14860A799888.
        let checksum = crc_fast::crc64_nvme(b"123456789");
        assert_eq!(checksum, 0xAE8B_1486_0A79_9888);
        let written = text(checksum);
        assert_eq!(written, "rosUhgp5mIg=");
        assert_eq!(read(&written), Some(checksum));
        for broken in ["", "rosUhgp5mIg", "rosUhgp5mIh=", "rosUhgp5mI=", "rosUhgp5m!g="] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}
