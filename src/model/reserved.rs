//! Names that vidimus keeps for itself, in every place that it writes to.

use super::Key;
use data_encoding::HEXLOWER;

/// What holds vidimus's own at a root: the lock, the published manifest.
pub const DIRECTORY: &str = ".vidimus";

/// The lock of a target.
pub const LOCK: &str = ".vidimus/lock";

/// Where the published manifest lies.
pub const MANIFEST: &str = ".vidimus/manifest/";

/// What marks a directory as a bag of vidimus's before it is declared one.
pub const BAG_MARK: &str = ".vidimus/bag";

/// Where a bucket's root has its metadata: there is no key that could be its marker.
pub const ROOT_OF_BUCKET: &str = ".vidimus/root";

/// What every temporary's name begins with.
pub const TEMPORARY: &[u8] = b".vidimus.";

/// A temporary's name: short, so that it stands where a name of 255 bytes does.
pub type TemporaryName = [u8; 25];

/// The first half of puts' temporaries' names. Whoever puts a file holds the lock of its directory:
/// what stands there by such a name was left by a put that was killed.
pub const PUTS: u32 = 0x7075_7473;

/// The first half of the names of leaves whose place a directory took.
pub const SET_ASIDE: u32 = 0x6173_6964;

/// Makes a temporary's name of a token, which tells who makes it, and the lower half of a number,
/// which tells it from others of that token.
pub fn temporary_name(token: u32, number: u64) -> TemporaryName {
    let mut name = [0; 25];
    name[..TEMPORARY.len()].copy_from_slice(TEMPORARY);
    let value = (u64::from(token) << 32) | (number & 0xffff_ffff);
    HEXLOWER.encode_mut(&value.to_be_bytes(), &mut name[TEMPORARY.len()..]);
    name
}

/// Whether a name is a temporary's that was made of this token.
fn is_made_of(token: u32, name: &[u8]) -> bool {
    is_temporary(name) && name.starts_with(&temporary_name(token, 0)[..TEMPORARY.len() + 8])
}

/// Whether a name is one that vidimus gives its temporaries: `.vidimus.` and 16 hexadecimal digits.
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|rest| {
        rest.len() == 16 && rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether a name is that of a put's temporary.
pub fn is_of_put(name: &[u8]) -> bool {
    is_made_of(PUTS, name)
}

/// Whether a name is that of a leaf whose place a directory took: it may be the only copy of what is
/// to lie in that directory, and no killed run's leftover.
pub fn is_set_aside(name: &[u8]) -> bool {
    is_made_of(SET_ASIDE, name)
}

/// Whether a key is that of the root's `.vidimus`, or of what lies in it.
pub fn is_in_directory(key: &[u8]) -> bool {
    key.strip_prefix(DIRECTORY.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether one name is vidimus's own, wherever it stands.
pub fn is_own_name(name: &[u8]) -> bool {
    name == DIRECTORY.as_bytes() || is_temporary(name)
}

/// Whether a key below a root is no part of what is mirrored: it is, or lies in, the root's
/// `.vidimus` or a temporary at any depth.
pub fn is_reserved(key: &Key) -> bool {
    let mut components = key.trimmed().split(|&byte| byte == b'/');
    components.next().is_some_and(is_own_name) || components.any(is_temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_aside_is_a_temporary_of_a_form_of_its_own() {
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
    fn what_is_reserved_is_told_by_its_form_and_its_place() {
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
