//! Names that vidimus reserves for itself in every place that it writes to.

use super::Key;
use data_encoding::HEXLOWER;

/// The directory at a root that holds vidimus's own files: the lock, the published manifest.
pub const DIRECTORY: &str = ".vidimus";

/// The lock of a target.
pub const LOCK: &str = ".vidimus/lock";

/// The directory of the published manifest.
pub const MANIFEST: &str = ".vidimus/manifest/";

/// The mark of a directory in which vidimus is writing a bag; `bagit.txt` follows only at the end.
pub const BAG_MARK: &str = ".vidimus/bag";

/// The object with the metadata of a bucket's root, whose empty key can't have a marker.
pub const ROOT_OF_BUCKET: &str = ".vidimus/root";

/// Prefix of every temporary's name.
pub const TEMPORARY: &[u8] = b".vidimus.";

/// A temporary's name: short, so that it fits wherever a name of 255 bytes does.
pub type TemporaryName = [u8; 25];

/// The token of `put`'s temporaries. A `put` holds the lock of its directory, so that any it finds
/// there were left by a killed one.
pub const PUTS: u32 = 0x7075_7473;

/// The token of leaves that a directory replaced.
pub const SET_ASIDE: u32 = 0x6173_6964;

/// Makes the name of a temporary from a token, which identifies its creator, and the lower half of
/// a number, which is unique for that token.
pub fn temporary_name(token: u32, number: u64) -> TemporaryName {
    let mut name = [0; 25];
    name[..TEMPORARY.len()].copy_from_slice(TEMPORARY);
    let value = (u64::from(token) << 32) | (number & 0xffff_ffff);
    HEXLOWER.encode_mut(&value.to_be_bytes(), &mut name[TEMPORARY.len()..]);
    name
}

/// Returns whether a name is that of a temporary with this token.
fn is_made_of(token: u32, name: &[u8]) -> bool {
    is_temporary(name) && name.starts_with(&temporary_name(token, 0)[..TEMPORARY.len() + 8])
}

/// Returns whether a name is that of a temporary: `.vidimus.` and 16 hexadecimal digits.
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|rest| {
        rest.len() == 16 && rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Returns whether a name is that of a temporary of `put`.
pub fn is_of_put(name: &[u8]) -> bool {
    is_made_of(PUTS, name)
}

/// Returns whether a name is that of a leaf that a directory replaced. It is not a leftover: it may
/// be the only copy of content that is to go into that directory.
pub fn is_set_aside(name: &[u8]) -> bool {
    is_made_of(SET_ASIDE, name)
}

/// Returns whether a key is the root's `.vidimus`, or below it.
pub fn is_in_directory(key: &[u8]) -> bool {
    key.strip_prefix(DIRECTORY.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Returns whether one component is a name of vidimus's own at a root.
pub fn is_own_name(name: &[u8]) -> bool {
    name == DIRECTORY.as_bytes() || is_temporary(name)
}

/// Returns whether a key takes no part in a mirror: it is the root's `.vidimus` or a temporary at
/// any depth, or lies below one.
pub fn is_reserved(key: &Key) -> bool {
    let mut components = key.trimmed().split(|&byte| byte == b'/');
    components.next().is_some_and(is_own_name) || components.any(is_temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_set_aside_is_recognised_by_its_token() {
        for (name, expected) in [
            (&b".vidimus.6173696400000001"[..], true),
            (b".vidimus.6173696500000001", false),
            (b".vidimus.61736964", false),
            (b".vidimus.6173696400000001x", false),
        ] {
            assert_eq!(is_set_aside(name), expected, "{}", name.escape_ascii());
            assert!(!expected || is_temporary(name));
        }
    }

    #[test]
    fn reserved_keys_are_recognised_by_form_and_position() {
        for (key, expected) in [
            (".vidimus", true),
            (".vidimus/lock", true),
            (".vidimus.0123456789abcdef", true),
            ("a/.vidimus.0123456789abcdef/b", true),
            ("a/.vidimus/lock", false),
            (".vidimus.0123456789ABCDEF", false),
            (".vidimus.0123456789abcde", false),
            (".vidimus.0123456789abcdef0", false),
            (".vidimusx", false),
            ("", false),
        ] {
            assert_eq!(is_reserved(&Key::new(key.as_bytes())), expected, "{key}");
        }
    }
}
