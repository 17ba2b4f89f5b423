//! Which symbolic links lead out of the root.

use crate::model::Key;

/// Returns whether a symbolic link leads out of the root, by its text alone.
pub(super) fn leads_out(link: &Key, text: &[u8]) -> bool {
    if text.starts_with(b"/") {
        return true;
    }
    let mut depth = link.parent().split(|&byte| byte == b'/').skip(1).count();
    for part in text.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}
