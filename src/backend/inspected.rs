//! A closer look at an entry than a listing takes: attributes, holes, other names.

use crate::model::{AttributeKinds, Attributes, Entry, Feature, Features};

/// What a closer look at an entry found than a listing gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Features that not every copy preserves.
    pub features: Features,
    /// The mode, with the group's rights reduced to those that the ACL grants: that of a copy
    /// without the ACL.
    pub mode: u32,
    /// Its extended attributes and ACLs, as far as they could be read.
    pub attributes: Attributes,
}

impl Inspected {
    /// Returns the result for an entry about which a listing gives all there is.
    pub fn of(entry: &Entry) -> Self {
        Self {
            features: Features::default(),
            mode: entry.metadata.mode,
            attributes: Attributes::new(AttributeKinds::ALL, Vec::new()),
        }
    }

    /// Returns the result for an entry of a place that keeps no attributes: those that its record
    /// tells.
    pub fn told(entry: &Entry) -> Self {
        let mode = entry.metadata.mode;
        let Some(extras) = entry.extras.as_deref() else {
            return Self { attributes: Attributes::default(), ..Self::of(entry) };
        };
        match (extras.apart.loaded(), extras.attributes) {
            (Some(apart), _) => Self {
                features: apart.features(),
                mode: apart.mode_without_acl(mode),
                attributes: (**apart).clone(),
            },
            (None, None) => {
                Self { attributes: Attributes::new(extras.told, Vec::new()), ..Self::of(entry) }
            }
            // There are some, which nothing tells.
            (None, Some(_)) => Self {
                features: Feature::Attributes.into(),
                mode,
                attributes: Attributes::default(),
            },
        }
    }

    /// Adds the attributes that the record of an entry tells and its file system doesn't keep.
    #[must_use]
    pub fn with_told(mut self, entry: &Entry) -> Self {
        let apart = entry.extras.as_ref().and_then(|extras| extras.apart.loaded());
        if let Some(apart) = apart {
            self.attributes.add_missing(apart);
            apart.features().iter().for_each(|feature| self.features.add(feature));
            self.mode = self.attributes.mode_without_acl(entry.metadata.mode);
        }
        self
    }
}

/// An open file that can be inspected more closely than a listing does.
pub trait Inspect: std::fmt::Debug {
    /// Finds the features that not every copy preserves. What can't be read is not an error: it is
    /// reported as a feature that is lost.
    fn inspect(&self) -> Inspected;
}
