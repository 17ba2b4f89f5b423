//! Which symbolic links lead out of the root.

use crate::model::Key;

/// Returns whether a symbolic link may lead out of the root, by its text alone. After a name `..`
/// may lead anywhere: the name may be that of another link (as in rsync, CVE-2024-12088).
pub(super) fn leads_out(link: &Key, text: &[u8]) -> bool {
    if text.starts_with(b"/") {
        return true;
    }
    let mut depth = link.parent().split(|&byte| byte == b'/').skip(1).count();
    let mut is_after_name = false;
    for part in text.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1).filter(|_| !is_after_name) {
                Some(above) => depth = above,
                None => return true,
            },
            _ => is_after_name = true,
        }
    }
    false
}
