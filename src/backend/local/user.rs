//! Names of users and groups of this machine.

use nix::unistd::{Gid, Group, Uid, User};

/// Formats a user for people: the name and the number, or the number alone.
pub fn user_name(uid: u32) -> String {
    match name_of_user(uid) {
        Some(name) => format!("{} (user {uid})", name.escape_debug()),
        None => format!("user {uid}"),
    }
}

/// The users and groups that this machine knows. One that can't be looked up has no name.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalNames;

impl LocalNames {
    /// Returns the name of a user, if there is one.
    pub fn user(self, id: u32) -> Option<String> {
        name_of_user(id)
    }

    /// Returns the name of a group, if there is one.
    pub fn group(self, id: u32) -> Option<String> {
        Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name)
    }

    /// Returns the number of a user with this name, if there is one.
    pub fn user_id(self, name: &str) -> Option<u32> {
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    }

    /// Returns the number of a group with this name, if there is one.
    pub fn group_id(self, name: &str) -> Option<u32> {
        Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    }
}

fn name_of_user(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_the_names_of_this_machine() {
        let names = LocalNames;
        assert_eq!((names.user(0).as_deref(), names.user_id("root")), (Some("root"), Some(0)));
        assert_eq!((names.group(0).as_deref(), names.group_id("root")), (Some("root"), Some(0)));
        assert_eq!((names.user(u32::MAX - 1), names.user_id("no such user")), (None, None));
        assert_eq!(user_name(0), "root (user 0)");
        assert_eq!(user_name(u32::MAX - 1), format!("user {}", u32::MAX - 1));
    }
}
