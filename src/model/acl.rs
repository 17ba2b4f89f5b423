//! Parser of POSIX access ACLs as the kernel returns them: `struct posix_acl_xattr_header` and
//! entries of `include/uapi/linux/posix_acl_xattr.h`, in little-endian.

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The rights of the entries that a mode shows, too.
#[derive(Default)]
struct Rights {
    owner: Option<u32>,
    group: Option<u32>,
    mask: Option<u32>,
    others: Option<u32>,
}

impl Rights {
    /// Parses an ACL; `None` if it isn't valid.
    fn of(value: &[u8]) -> Option<Self> {
        let (version, mut rest) = value.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != VERSION {
            return None;
        }
        let mut found = Self::default();
        while !rest.is_empty() {
            let (entry, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            let [tag, tag_high, bits, bits_high, ..] = *entry;
            let bits = Some(u32::from(u16::from_le_bytes([bits, bits_high])) & 0o7);
            match u16::from_le_bytes([tag, tag_high]) {
                USER_OBJ => found.owner = bits,
                GROUP_OBJ => found.group = bits,
                MASK => found.mask = bits,
                OTHER => found.others = bits,
                _ => {}
            }
        }
        Some(found)
    }
}

/// Returns the mode of a file that has this access ACL, given a mode with the same other bits: the
/// kernel keeps the permission bits of both the same, those of the group as the mask. An ACL that
/// isn't valid changes nothing.
pub fn mode_with(mode: u32, value: &[u8]) -> u32 {
    let Some(Rights { owner, group, mask, others }) = Rights::of(value) else { return mode };
    let (Some(owner), Some(group), Some(others)) = (owner, mask.or(group), others) else {
        return mode;
    };
    mode & !0o777 | owner << 6 | group << 3 | others
}

/// Returns the rights of the owning group under an access ACL: its own bits within the mask. (The
/// group bits of the file's mode are that mask and may grant more.) Returns `None` if there is no
/// mask, so that the mode's group bits are right, and 0 (no rights) if the value isn't a valid ACL.
pub fn group_bits(value: &[u8]) -> Option<u32> {
    let Some(Rights { group, mask, .. }) = Rights::of(value) else { return Some(0) };
    mask.map(|mask| mask & group.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&bits.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn the_group_has_the_rights_of_its_entry_within_the_mask() {
        // u::rw-, u:1000:rwx, g::r--, m::rwx, o::---
        let wide = acl(&[
            (0x01, 6, NOBODY),
            (0x02, 7, 1000),
            (0x04, 4, NOBODY),
            (0x10, 7, NOBODY),
            (0x20, 0, NOBODY),
        ]);
        assert_eq!(group_bits(&wide), Some(4));
        // g::rwx, m::r-x
        assert_eq!(group_bits(&acl(&[(0x04, 7, NOBODY), (0x10, 5, NOBODY)])), Some(5));
    }

    #[test]
    fn without_a_mask_the_mode_is_right() {
        let minimal = acl(&[(0x01, 6, NOBODY), (0x04, 4, NOBODY), (0x20, 4, NOBODY)]);
        assert_eq!(group_bits(&minimal), None);
        assert_eq!(group_bits(&acl(&[])), None);
    }

    #[test]
    fn an_invalid_acl_grants_nothing() {
        let whole = acl(&[(0x04, 7, NOBODY), (0x10, 7, NOBODY)]);
        assert_eq!(group_bits(&whole[..whole.len() - 1]), Some(0));
        assert_eq!(group_bits(&[3, 0, 0, 0]), Some(0));
        assert_eq!(group_bits(b""), Some(0));
        // A mask, and nothing for the group.
        assert_eq!(group_bits(&acl(&[(0x10, 7, NOBODY)])), Some(0));
    }

    #[test]
    fn the_mode_of_a_file_follows_from_its_acl() {
        // u::rw-, u:1000:rwx, g::r--, m::rwx, o::---
        let entries = [(0x01, 6), (0x02, 7), (0x04, 4), (0x10, 7), (0x20, 0)];
        let wide = acl(&entries.map(|(tag, bits)| (tag, bits, NOBODY)));
        assert_eq!(mode_with(0o4644, &wide), 0o4670);
        let minimal = acl(&[(0x01, 6, NOBODY), (0x04, 5, NOBODY), (0x20, 4, NOBODY)]);
        assert_eq!(mode_with(0o1777, &minimal), 0o1654);
        for invalid in [&b""[..], &wide[..5], &acl(&[(0x01, 6, NOBODY)])] {
            assert_eq!(mode_with(0o640, invalid), 0o640);
        }
    }
}
