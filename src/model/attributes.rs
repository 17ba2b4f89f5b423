//! Extended attributes and POSIX ACLs of an entry.
//!
//! The kernel shows ACLs as extended attributes, too. [`AttributeKinds`] says which of both a set
//! is about: what it isn't about is neither compared nor changed.

use super::extras::AttributesDigest;
use serde::{Deserialize, Serialize};

/// The attribute of an access ACL.
pub const ACCESS_ACL: &str = "system.posix_acl_access";
/// The attribute of a default ACL, which new entries of a directory inherit.
pub const DEFAULT_ACL: &str = "system.posix_acl_default";

/// What an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// An extended attribute, a file capability for example.
    Extended,
    /// A POSIX ACL, for access or as a directory's default.
    Acl,
}

impl AttributeKind {
    /// Returns what the attribute of this name is; `None` if it doesn't belong to the entry itself.
    /// A security policy labels each new file on its own, IMA and EVM sign for one inode, network
    /// file systems make `system.*` up, and `user.rsync.%` is how rsync stores what it couldn't
    /// set. rsync's `-X` leaves most of these out, too.
    pub fn of(name: &[u8]) -> Option<Self> {
        const FOREIGN: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];
        if name == ACCESS_ACL.as_bytes() || name == DEFAULT_ACL.as_bytes() {
            return Some(Self::Acl);
        }
        let is_own = !name.starts_with(b"system.")
            && !name.starts_with(b"user.rsync.%")
            && !FOREIGN.contains(&name);
        is_own.then_some(Self::Extended)
    }
}

/// A choice of [`AttributeKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeKinds {
    /// Extended attributes.
    pub extended: bool,
    /// ACLs.
    pub acls: bool,
}

impl AttributeKinds {
    /// Both kinds.
    pub const ALL: Self = Self { extended: true, acls: true };
    /// Neither.
    pub const NONE: Self = Self { extended: false, acls: false };

    /// Returns whether a kind is chosen.
    pub fn has(self, kind: AttributeKind) -> bool {
        match kind {
            AttributeKind::Extended => self.extended,
            AttributeKind::Acl => self.acls,
        }
    }

    /// Returns whether all of `others` are chosen.
    pub fn cover(self, others: Self) -> bool {
        (self.extended || !others.extended) && (self.acls || !others.acls)
    }
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    /// Its name with the namespace, as in `user.comment`.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
}

/// The attributes of an entry, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    kinds: AttributeKinds,
    sorted: Vec<Attribute>,
}

impl Attributes {
    /// Makes a set of what was found of these kinds; others are left out.
    pub fn new(kinds: AttributeKinds, mut found: Vec<Attribute>) -> Self {
        found.retain(|one| AttributeKind::of(&one.name).is_some_and(|kind| kinds.has(kind)));
        found.sort_unstable();
        Self { kinds, sorted: found }
    }

    /// Returns the same, reduced to these kinds.
    #[must_use]
    pub fn only(self, kinds: AttributeKinds) -> Self {
        Self::new(kinds, self.sorted)
    }

    /// Returns the kinds that were looked for: others may be there.
    pub fn kinds(&self) -> AttributeKinds {
        self.kinds
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Returns the value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.sorted.binary_search_by(|one| (*one.name).cmp(name)).ok()?;
        Some(&self.sorted[at].value)
    }

    /// Iterates over the attributes in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.sorted.iter()
    }

    /// Returns a digest of names and values; `None` if there are none.
    pub fn digest(&self) -> Option<AttributesDigest> {
        if self.sorted.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for Attribute { name, value } in &self.sorted {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value);
        }
        let mut half = [0; 16];
        hasher.finalize_xof().fill(&mut half);
        Some(AttributesDigest(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, value: &str) -> Attribute {
        Attribute { name: name.as_bytes().into(), value: value.as_bytes().into() }
    }

    #[test]
    fn a_set_holds_what_belongs_to_the_entry_and_was_looked_for() {
        let found = || {
            let foreign = ["system.nfs4_acl", "security.selinux", "user.rsync.%stat"];
            let own = ["user.b", "security.capability", DEFAULT_ACL, "trusted.a"];
            let all = foreign.iter().chain(&own).map(|name| attribute(name, "1"));
            all.collect::<Vec<_>>()
        };
        let names = |kinds| {
            let set = Attributes::new(kinds, found());
            let names = set.iter().map(|one| String::from_utf8_lossy(&one.name).into_owned());
            names.collect::<Vec<_>>()
        };
        let extended = ["security.capability", "trusted.a", "user.b"];
        assert_eq!(names(AttributeKinds { acls: false, ..AttributeKinds::ALL }), extended);
        assert_eq!(names(AttributeKinds { extended: false, ..AttributeKinds::ALL }), [DEFAULT_ACL]);
        assert_eq!(names(AttributeKinds::ALL).len(), 4);
        let set = Attributes::new(AttributeKinds::ALL, found());
        assert_eq!(set.get(b"user.b"), Some(&b"1"[..]));
        assert_eq!(set.get(b"user.c"), None);
        let only = set.only(AttributeKinds { extended: false, ..AttributeKinds::ALL });
        assert_eq!((only.iter().count(), only.kinds().extended), (1, false));
    }

    #[test]
    fn a_digest_tells_names_from_values_and_depends_on_no_order() {
        let digest = |found: &[(&str, &str)]| {
            let found = found.iter().map(|(name, value)| attribute(name, value)).collect();
            Attributes::new(AttributeKinds::ALL, found).digest()
        };
        assert_eq!(digest(&[]), None);
        assert_eq!(
            digest(&[("user.a", "1"), ("user.b", "2")]),
            digest(&[("user.b", "2"), ("user.a", "1")])
        );
        let different = [digest(&[("user.a", "b")]), digest(&[("user.ab", "")]), None];
        assert_ne!(different[0], different[1]);
        assert_ne!(different[0], different[2]);
    }

    #[test]
    fn kinds_cover_those_that_they_include() {
        let acls = AttributeKinds { extended: false, acls: true };
        assert!(AttributeKinds::ALL.cover(acls) && acls.cover(AttributeKinds::NONE));
        assert!(!acls.cover(AttributeKinds::ALL) && !AttributeKinds::NONE.cover(acls));
    }
}
