//! POSIX ACLs as the kernel takes and shows them: as the value of an extended attribute.

/// The version of the format (`POSIX_ACL_XATTR_VERSION` of Linux).
const VERSION: u32 = 2;

/// Encodes an ACL that is written like `u::rw-,u:1:rwx,g::r--,m::rwx,o::---`, with all of its
/// entries: the kernel makes up no mask.
pub fn encode(text: &str) -> Vec<u8> {
    let mut entries: Vec<_> = text.split(',').map(entry).collect();
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// Returns an entry's tag, its user or group, and its permissions.
fn entry(text: &str) -> (u16, u32, u16) {
    let [who, id, permissions] = text.split(':').collect::<Vec<_>>()[..] else {
        panic!("no entry of an ACL: {text}");
    };
    let tag = match (who, id.is_empty()) {
        ("u", true) => 0x01,
        ("u", false) => 0x02,
        ("g", true) => 0x04,
        ("g", false) => 0x08,
        ("m", true) => 0x10,
        ("o", true) => 0x20,
        _ => panic!("no entry of an ACL: {text}"),
    };
    let id = if id.is_empty() { u32::MAX } else { id.parse().expect("the number of a user") };
    let bits = permissions.bytes().map(|letter| match letter {
        b'r' => 4,
        b'w' => 2,
        b'x' => 1,
        _ => 0,
    });
    (tag, id, bits.sum())
}
