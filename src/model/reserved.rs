//! Names that vidimus keeps for itself, in every place that it writes to.

use super::Key;

/// What holds vidimus's own at a root: the lock, the published manifest.
pub const DIRECTORY: &str = ".vidimus";

/// What every temporary's name begins with.
pub const TEMPORARY: &[u8] = b".vidimus.";

/// Whether a name is one that vidimus gives its temporaries: `.vidimus.` and 16 hexadecimal digits.
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|rest| {
        rest.len() == 16 && rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
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
