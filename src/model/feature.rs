//! Features of files and directories that copies lack: they are reported, not copied.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A property that an entry can have beside content and [`Metadata`](super::Metadata).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Other names of the same file (`st_nlink` above 1).
    HardLinks,
    /// Unallocated ranges, which read as zeros.
    Holes,
    /// Extended attributes.
    Attributes,
    /// A POSIX ACL, for access or as a directory's default.
    Acl,
    /// Extended attributes or ACLs, if there are any: they could not be read.
    UnreadAttributes,
    /// Extended attributes or ACLs that the copy lacks, and that the manifest keeps.
    AttributesApart,
}

impl Feature {
    const ALL: [Self; 6] = [
        Self::HardLinks,
        Self::Holes,
        Self::Attributes,
        Self::Acl,
        Self::UnreadAttributes,
        Self::AttributesApart,
    ];
}

impl fmt::Display for Feature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::HardLinks => "hard links",
            Self::Holes => "holes",
            Self::Attributes => "extended attributes",
            Self::Acl => "ACL",
            Self::UnreadAttributes => "attributes that could not be read",
            Self::AttributesApart => "attributes, which the manifest keeps",
        })
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// Adds a feature.
    pub fn add(&mut self, feature: Feature) {
        self.0 |= 1 << feature as u8;
    }

    /// Removes a feature.
    pub fn remove(&mut self, feature: Feature) {
        self.0 &= !(1 << feature as u8);
    }

    /// Returns whether the set contains a feature.
    pub fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }

    /// Returns whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the features that are not in `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Iterates over the features, in the order of [`Feature`].
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |&feature| self.has(feature))
    }
}

impl From<Feature> for Features {
    fn from(feature: Feature) -> Self {
        let mut features = Self::default();
        features.add(feature);
        features
    }
}

impl fmt::Display for Features {
    /// Prints as in `hard links, ACL`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, feature) in self.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(out, "{comma}{feature}")?;
        }
        Ok(())
    }
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut features = Self::default();
        for feature in Vec::deserialize(deserializer)? {
            features.add(feature);
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_was_added_and_prints_it() {
        let mut some = Features::default();
        assert!(some.is_empty());
        some.add(Feature::Acl);
        some.add(Feature::HardLinks);
        some.add(Feature::Acl);
        assert_eq!(some.iter().collect::<Vec<_>>(), [Feature::HardLinks, Feature::Acl]);
        assert_eq!(some.to_string(), "hard links, ACL");
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"["hard_links","acl"]"#);
        let mut others = Features::default();
        others.add(Feature::Acl);
        assert_eq!(some.without(others).to_string(), "hard links");
    }
}
