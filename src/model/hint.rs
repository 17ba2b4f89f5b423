//! Text for people in which settings are data, such as hints on how to avoid an error.
//!
//! The library prints a setting under the name of its builder's method, the command line under its
//! flag: nothing below the command line knows flags.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A hint on how to avoid an error, or other text that mentions settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint(Vec<Part>);

/// A part of a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Plain text.
    Text(Cow<'static, str>),
    /// The name of a setting.
    Setting(Setting),
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A setting of a run that a hint may mention.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Setting { $($(#[$doc])* $name,)* }

        impl Setting {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the stable name: that of the builder's method.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

settings! {
    /// Accept more changes than are allowed at once.
    AcceptChanges = "accept_changes",
    /// Accept silent changes of the source as intended.
    AcceptSilentChanges = "accept_silent_changes",
    /// Accept a source of another identity.
    AcceptSource = "accept_source",
    /// What a target is compared with.
    Against = "against",
    /// Allow unencrypted connections to a store.
    AllowHttp = "allow_http",
    /// Where what is overwritten or deleted is kept.
    BackupDir = "backup_dir",
    /// Compare content.
    Checksum = "checksum",
    /// Changes of modes.
    Chmod = "chmod",
    /// The owner and group of all copies.
    Chown = "chown",
    /// Copy what symbolic links point to.
    CopyLinks = "copy_links",
    /// Delete entries that only the target has.
    Delete = "delete",
    /// Delete even if a copy failed.
    DeleteDespiteErrors = "delete_despite_errors",
    /// Delete excluded entries, too.
    DeleteExcluded = "delete_excluded",
    /// Kinds of digests to record beside BLAKE3.
    Digest = "digest",
    /// Report what would be done, but do nothing.
    DryRun = "dry_run",
    /// Durability of copies.
    Durability = "durability",
    /// Patterns of entries to exclude.
    Exclude = "exclude",
    /// Exclude what caches hold.
    ExcludeCaches = "exclude_caches",
    /// Exclude what directories hold that have an entry of a name.
    ExcludeIfPresent = "exclude_if_present",
    /// Expected size of a stream in bytes.
    ExpectedSize = "expected_size",
    /// The names to which a run is limited.
    FilesFrom = "files_from",
    /// Keep the flags of files.
    Flags = "flags",
    /// Replace what exists.
    Force = "force",
    /// The format of a list.
    Format = "format",
    /// Groups that take the place of others.
    Groupmap = "groupmap",
    /// Leave out what ignore files name.
    IgnoreFiles = "ignore_files",
    /// Patterns of entries to include.
    Include = "include",
    /// The key to sign a manifest with.
    Key = "key",
    /// Permissions of the published manifest.
    ManifestMode = "manifest_mode",
    /// Maximum share of files that changed.
    MaxChange = "max_change",
    /// Maximum number of deletions.
    MaxDelete = "max_delete",
    /// Maximum requests a second to a store.
    MaxRequests = "max_requests",
    /// Maximum bytes of content to copy.
    MaxTransfer = "max_transfer",
    /// Maximum memory for content.
    Memory = "memory",
    /// Write no markers of directories.
    NoMarkers = "no_markers",
    /// Leave special files out.
    NoSpecials = "no_specials",
    /// Stay on the source's file system.
    OneFileSystem = "one_file_system",
    /// The file of a public key.
    Public = "public",
    /// Compare manifests only.
    Recorded = "recorded",
    /// A file that the source must contain.
    RequireFile = "require_file",
    /// Skip symbolic links that lead out of the source.
    SafeLinks = "safe_links",
    /// The file of a secret key.
    Secret = "secret",
    /// Sign the manifest.
    Sign = "sign",
    /// The directory of the state databases.
    StateDir = "state_dir",
    /// Number of files copied concurrently.
    Transfers = "transfers",
    /// Owners that take the place of others.
    Usermap = "usermap",
}

impl Hint {
    /// Appends text or a setting.
    #[must_use]
    pub fn and(mut self, part: impl Into<Part>) -> Self {
        self.0.push(part.into());
        self
    }

    /// Formats the hint; `name` names the settings.
    pub fn say(&self, name: impl Fn(Setting) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Setting(setting) => name(*setting).into(),
        };
        self.0.iter().map(part).collect()
    }
}

impl fmt::Display for Hint {
    /// Prints settings as their [codes](Setting::code).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.say(|setting| format!("`{}`", setting.code())))
    }
}

impl From<&'static str> for Part {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Setting> for Part {
    fn from(setting: Setting) -> Self {
        Self::Setting(setting)
    }
}

impl<T: Into<Part>> From<T> for Hint {
    fn from(part: T) -> Self {
        Self::default().and(part)
    }
}

/// Makes a hint from text and settings.
macro_rules! hint {
    ($($part:expr),+ $(,)?) => { $crate::model::Hint::default()$(.and($part))+ };
}
pub(crate) use hint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_names_the_settings_in_a_hint() {
        let hint = hint!["raise ", Setting::MaxDelete, ", or leave it"];
        assert_eq!(hint.to_string(), "raise `max_delete`, or leave it");
        let flag = |setting: Setting| format!("--{}", setting.code());
        assert_eq!(hint.say(flag), "raise --max_delete, or leave it");
        let json = r#"[{"text":"raise "},{"setting":"max_delete"},{"text":", or leave it"}]"#;
        assert_eq!(serde_json::to_string(&hint).unwrap(), json);
        assert_eq!(serde_json::from_str::<Hint>(json).unwrap(), hint);
    }
}
