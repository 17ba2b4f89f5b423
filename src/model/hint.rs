//! Words for people, with the settings that they speak of as data: ways out of an error, say.
//!
//! The library names a setting as its builders do, the command line by its flag: nothing below the
//! command line knows flags.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A way out of an error, or something else that speaks of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint(Vec<Part>);

/// A part of a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words.
    Text(Cow<'static, str>),
    /// A setting's name.
    Setting(Setting),
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Something that a run is told, of which a hint may speak.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Setting { $($(#[$doc])* $name,)* }

        impl Setting {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its stable name: that of a builder's method.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

settings! {
    /// A source's silent changes are taken for meant.
    AcceptSilentChanges = "accept_silent_changes",
    /// A source of another identity is taken for the right one.
    AcceptSource = "accept_source",
    /// What a target is held against.
    Against = "against",
    /// A store may be spoken to without encryption.
    AllowHttp = "allow_http",
    /// Content is compared.
    Checksum = "checksum",
    /// What only the target has is deleted.
    Delete = "delete",
    /// It is deleted though a copy failed.
    DeleteDespiteErrors = "delete_despite_errors",
    /// So is what is excluded.
    DeleteExcluded = "delete_excluded",
    /// Which digests are recorded beside BLAKE3.
    Digest = "digest",
    /// Nothing is done, but told.
    DryRun = "dry_run",
    /// How durable copies are.
    Durability = "durability",
    /// Patterns of what is left out.
    Exclude = "exclude",
    /// How many bytes a stream will have.
    ExpectedSize = "expected_size",
    /// What stands is replaced.
    Force = "force",
    /// The form of a list.
    Format = "format",
    /// Patterns of what takes part.
    Include = "include",
    /// The key that a manifest is to be signed with.
    Key = "key",
    /// To whom the manifest is open.
    ManifestMode = "manifest_mode",
    /// How much may be deleted.
    MaxDelete = "max_delete",
    /// How many requests a second a store is sent.
    MaxRequests = "max_requests",
    /// How much memory content may take.
    Memory = "memory",
    /// No markers of directories are written.
    NoMarkers = "no_markers",
    /// The file of a public key.
    Public = "public",
    /// Manifests alone are compared.
    Recorded = "recorded",
    /// A file that the source must hold.
    RequireFile = "require_file",
    /// The file of a secret key.
    Secret = "secret",
    /// What the manifest is signed with.
    Sign = "sign",
    /// Where the record of runs is kept.
    StateDir = "state_dir",
    /// How many files are copied at the same time.
    Transfers = "transfers",
}

impl Hint {
    /// Adds words, or a setting.
    #[must_use]
    pub fn and(mut self, part: impl Into<Part>) -> Self {
        self.0.push(part.into());
        self
    }

    /// Tells it with settings named by `name`.
    pub fn say(&self, name: impl Fn(Setting) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Setting(setting) => name(*setting).into(),
        };
        self.0.iter().map(part).collect()
    }
}

impl fmt::Display for Hint {
    /// Names settings by their [codes](Setting::code).
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

/// Makes a hint of words and settings.
macro_rules! hint {
    ($($part:expr),+ $(,)?) => { $crate::model::Hint::default()$(.and($part))+ };
}
pub(crate) use hint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_by_whoever_tells_a_hint() {
        let hint = hint!["raise ", Setting::MaxDelete, ", or leave it"];
        assert_eq!(hint.to_string(), "raise `max_delete`, or leave it");
        let flag = |setting: Setting| format!("--{}", setting.code());
        assert_eq!(hint.say(flag), "raise --max_delete, or leave it");
        let json = r#"[{"text":"raise "},{"setting":"max_delete"},{"text":", or leave it"}]"#;
        assert_eq!(serde_json::to_string(&hint).unwrap(), json);
        assert_eq!(serde_json::from_str::<Hint>(json).unwrap(), hint);
    }
}
