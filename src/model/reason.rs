//! Reasons for decisions.

use super::Setting;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Why an action was chosen. Serialised as a code, which stays the same from release to release;
/// printed as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The target lacks it.
    New,
    /// The sizes differ.
    Size,
    /// The modification times differ.
    Mtime,
    /// The store's tags differ.
    Tag,
    /// No row; both sides have this size, and only a lookup shows more.
    SameSizeUnseen,
    /// The target has an entry of another kind at this key.
    Kind,
    /// The link's text differs.
    LinkText,
    /// The source's stamp differs from the recorded one in ctime or inode only, or lies within a
    /// clock tick of its recording.
    SourceDoubtful,
    /// The target's stamp differs from the recorded one in ctime or inode only.
    TargetDoubtful,
    /// The target's entry is not the one recorded.
    TargetDrift,
    /// Both stamps are the recorded ones.
    Unchanged,
    /// No row; both sides have this size and mtime, or this link text.
    SameSizeAndTime,
    /// A row from another source has the digest of the target's content; both sides have its size
    /// and mtime.
    KnownByDigest,
    /// No row; both sides have this size and this tag, which is derived from the content's MD5.
    SameSizeAndTag,
    /// Both sides have this size, and the options say that this is enough.
    SameSize,
    /// The options ask for a comparison of content.
    Checksum,
    /// The options ask for a digest that isn't recorded.
    Digest,
    /// Only mode, owner, group or mtime differ.
    Metadata,
    /// The target's is newer, and the options keep it.
    NewerInTarget,
    /// The target has it already, and the options keep it.
    Exists,
    /// Too small or too large to take part.
    SizeExcluded,
    /// Only the target has it.
    Extra,
    /// Only the target has the directory, and an entry in it is kept.
    HoldsKept,
    /// Only the target has it, and a failed copy collided with it.
    Collided,
    /// A directory replaced it.
    SetAside,
    /// It is a leftover of a killed run.
    LeftOver,
    /// Only the manifest has it.
    Gone,
    /// It could not be listed.
    Unknown,
    /// The target has no symbolic links.
    NoLinks,
    /// It is another name of a file in the source.
    HardLink,
    /// It is a name of another file than the one in the target.
    OwnFile,
    /// Only the target has it, and the list of names names it or its contents in part.
    NotListed,
    /// Too old or too new to take part.
    AgeExcluded,
    /// The target lacks it, and the options make nothing new.
    NotExisting,
    /// The link leads out of the source, and the options leave such links out.
    UnsafeLink,
    /// The device's number differs.
    DeviceNumber,
    /// A special file, which the options leave out.
    NoSpecials,
    /// The source had it under another name.
    Moved,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::New,
        Self::Size,
        Self::Mtime,
        Self::Tag,
        Self::SameSizeUnseen,
        Self::Kind,
        Self::LinkText,
        Self::SourceDoubtful,
        Self::TargetDoubtful,
        Self::TargetDrift,
        Self::Unchanged,
        Self::SameSizeAndTime,
        Self::KnownByDigest,
        Self::SameSizeAndTag,
        Self::SameSize,
        Self::Checksum,
        Self::Digest,
        Self::Metadata,
        Self::NewerInTarget,
        Self::Exists,
        Self::SizeExcluded,
        Self::Extra,
        Self::HoldsKept,
        Self::Collided,
        Self::SetAside,
        Self::LeftOver,
        Self::Gone,
        Self::Unknown,
        Self::NoLinks,
        Self::HardLink,
        Self::OwnFile,
        Self::NotListed,
        Self::AgeExcluded,
        Self::NotExisting,
        Self::UnsafeLink,
        Self::DeviceNumber,
        Self::NoSpecials,
        Self::Moved,
    ];
}

impl Reason {
    /// Formats the reason; `name` names the settings.
    pub fn say(self, name: impl Fn(Setting) -> String) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::New => "new",
            Self::Size => "size differs",
            Self::Mtime => "modification time differs",
            Self::Tag => "changed in the store",
            Self::SameSizeUnseen => "not recorded, but of the same size",
            Self::Kind => "type differs",
            Self::LinkText => "link text differs",
            Self::SourceDoubtful => "source touched since it was recorded, size and time the same",
            Self::TargetDoubtful => "target touched since it was recorded, size and time the same",
            Self::TargetDrift => "target is not what was recorded",
            Self::Unchanged => "unchanged",
            Self::SameSizeAndTime => "not recorded, but the same on both sides",
            Self::KnownByDigest => {
                "recorded from another source, and of the same size and time in this one"
            }
            Self::SameSizeAndTag => "not recorded, but of the same size and tag on both sides",
            Self::SameSize => "same size",
            Self::Checksum => return name(Setting::Checksum).into(),
            Self::Digest => {
                let digest = name(Setting::Digest);
                return format!("no digest of the kind that {digest} asks for is recorded").into();
            }
            Self::Metadata => "metadata differs",
            Self::NewerInTarget => "newer in the target",
            Self::Exists => "exists in the target",
            Self::SizeExcluded => "excluded by size",
            Self::Extra => "not in the source",
            Self::HoldsKept => "holds entries that stay",
            Self::Collided => "a copy that failed collided with it",
            Self::SetAside => "a directory took its place",
            Self::LeftOver => "left over from a killed run",
            Self::Gone => "on neither side",
            Self::Unknown => "could not be listed",
            Self::NoLinks => "the target's file system has no symbolic links",
            Self::HardLink => "hard link",
            Self::OwnFile => "a file of its own in the source, hard-linked in the target",
            Self::NotListed => "not in the source, and not listed with everything in it",
            Self::AgeExcluded => "excluded by age",
            Self::NotExisting => "not in the target",
            Self::UnsafeLink => "the link leads out of the source",
            Self::DeviceNumber => "device number differs",
            Self::NoSpecials => "a special file, which the options leave out",
            Self::Moved => "moved",
        })
    }
}

impl fmt::Display for Reason {
    /// Prints settings as their [codes](Setting::code).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.say(|setting| format!("`{}`", setting.code())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_is_complete() {
        // A variant added at the end of the enum must be added to the list, too.
        assert_eq!(Reason::Moved as usize + 1, Reason::ALL.len());
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }
}
