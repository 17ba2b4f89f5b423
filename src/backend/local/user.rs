//! Names of users, for messages.

use std::fs;

/// Formats a user for people: the name from `/etc/passwd` and the number, or the number alone.
pub fn user_name(uid: u32) -> String {
    let passwd = fs::read(PASSWD).unwrap_or_default();
    match name_in(&passwd, uid) {
        Some(name) => format!("{} (user {uid})", name.escape_ascii()),
        None => format!("user {uid}"),
    }
}

const PASSWD: &str = "/etc/passwd";

/// Finds a user's name in the content of passwd(5): `name:password:uid:…`.
fn name_in(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let matches = std::str::from_utf8(number).ok()?.parse() == Ok(uid);
        matches.then_some(name).filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_that_passwd_gives() {
        let passwd =
            b"root:x:0:0::/root:/bin/sh\n\n#x\nada:x:2001:7::/:\nodd\x1b:x:5:5\n:x:9:9::\n";
        assert_eq!(name_in(passwd, 2001), Some(&b"ada"[..]));
        assert_eq!(name_in(passwd, 0), Some(&b"root"[..]));
        assert_eq!(name_in(passwd, 7), None);
        assert_eq!(name_in(passwd, 9), None);
        assert_eq!(user_name(u32::MAX), format!("user {}", u32::MAX));
    }
}
