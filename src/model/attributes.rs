//! Extended attributes and POSIX ACLs of an entry.
//!
//! The kernel shows ACLs as extended attributes, too. [`AttributeKinds`] says which of both a set
//! is about: what it isn't about is neither compared nor changed.

use super::acl;
use super::extras::AttributesDigest;
use super::{Feature, Features};
use serde::{Deserialize, Serialize};

/// The attribute of an access ACL.
pub const ACCESS_ACL: &str = "system.posix_acl_access";
/// The attribute of a default ACL, which new entries of a directory inherit.
pub const DEFAULT_ACL: &str = "system.posix_acl_default";

/// The longest name in bytes, as the kernel has it (`XATTR_NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// The largest value in bytes, as the kernel has it (`XATTR_SIZE_MAX`).
const LARGEST_VALUE: usize = 64 << 10;
/// The most bytes that a set may have, encoded, to be kept elsewhere than with its entry. In a line
/// of the manifest it takes less than twice as many.
pub const LARGEST_SET: usize = 6 << 20;

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
        const FOREIGN: [&[u8]; 5] = [
            b"security.selinux",
            b"security.ima",
            b"security.evm",
            // The ACLs once more, as XFS stores them: what is done to one is done to the other.
            b"trusted.SGI_ACL_FILE",
            b"trusted.SGI_ACL_DEFAULT",
        ];
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

    /// Returns the kinds that both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { extended: self.extended && other.extended, acls: self.acls && other.acls }
    }

    /// Returns the same kinds without those of which attributes were lost.
    #[must_use]
    pub fn without(self, lost: Features) -> Self {
        Self {
            extended: self.extended && !lost.has(Feature::Attributes),
            acls: self.acls && !lost.has(Feature::Acl),
        }
    }

    /// Returns whether all of `others` are chosen.
    pub fn cover(self, others: Self) -> bool {
        (self.extended || !others.extended) && (self.acls || !others.acls)
    }
}

/// Which attributes can be set of entries of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettableAttributes {
    /// `user.*`.
    pub user: bool,
    /// Those of root: `trusted.*` and `security.*`.
    pub root: bool,
    /// ACLs.
    pub acls: bool,
}

impl SettableAttributes {
    /// Returns whether all of `others` can be set.
    pub fn cover(self, others: Self) -> bool {
        (self.user || !others.user) && (self.root || !others.root) && (self.acls || !others.acls)
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

    /// Returns the bytes of names and values.
    pub fn bytes(&self) -> usize {
        self.sorted.iter().map(|one| one.name.len() + one.value.len()).sum()
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

    /// Returns what an entry without these attributes lacks.
    pub fn features(&self) -> Features {
        let mut features = Features::default();
        for kind in self.sorted.iter().filter_map(|one| AttributeKind::of(&one.name)) {
            features.add(match kind {
                AttributeKind::Extended => Feature::Attributes,
                AttributeKind::Acl => Feature::Acl,
            });
        }
        features
    }

    /// Returns the mode of a copy that gets none of them, given that of the entry: without its ACL
    /// the group has no more rights than that leaves it.
    pub fn mode_without_acl(&self, mode: u32) -> u32 {
        let group = self.get(ACCESS_ACL.as_bytes()).and_then(acl::group_bits);
        group.map_or(mode, |group| mode & (!0o070 | group << 3))
    }

    /// Returns the mode of an entry that has them, given that of a copy that doesn't.
    pub fn mode_with_acl(&self, mode: u32) -> u32 {
        self.get(ACCESS_ACL.as_bytes()).map_or(mode, |acl| acl::mode_with(mode, acl))
    }

    /// Returns, in words, how `found` differs from these.
    pub fn differences(&self, found: &Self) -> Vec<String> {
        let size = |one: &Attribute| format!("{} B", one.value.len());
        let wanted = self.sorted.iter().filter_map(|one| match found.get(&one.name) {
            None => Some(format!("{} {} -> none", called(&one.name), size(one))),
            Some(value) if *value != *one.value => Some(format!("{} differs", called(&one.name))),
            Some(_) => None,
        });
        let extra = found.sorted.iter().filter(|one| self.get(&one.name).is_none());
        let extra = extra.map(|one| format!("{} none -> {}", called(&one.name), size(one)));
        wanted.chain(extra).collect()
    }

    /// Returns the names and sizes, in words.
    pub fn listed(&self) -> Vec<String> {
        let each = self.sorted.iter();
        each.map(|one| format!("{} ({} B)", called(&one.name), one.value.len())).collect()
    }

    /// Adds those of `others` whose names are not among these.
    pub fn add_missing(&mut self, others: &Self) {
        let missing = others.iter().filter(|one| self.get(&one.name).is_none());
        let missing: Vec<_> = missing.cloned().collect();
        self.sorted.extend(missing);
        self.sorted.sort_unstable();
    }

    /// Returns whether only root may read some of them: whoever reads them elsewhere learns what
    /// the entry doesn't tell.
    pub fn are_private(&self) -> bool {
        self.sorted.iter().any(|Attribute { name, .. }| {
            name.starts_with(b"trusted.")
                || name.starts_with(b"security.") && **name != *b"security.capability"
        })
    }

    /// Encodes the attributes, each as the length of its name in two bytes, the name, the length of
    /// its value in four bytes and the value; lengths are little-endian. Returns `None` for more
    /// than [`LARGEST_SET`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for Attribute { name, value } in &self.sorted {
            out.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
            out.extend_from_slice(value);
            if out.len() > LARGEST_SET {
                return None;
            }
        }
        Some(out)
    }

    /// Decodes what [`Attributes::encode`] wrote of attributes of both kinds; `None` for anything
    /// else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut rest, mut found) = (bytes, Vec::new());
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (name, tail) = tail.split_at_checked(u16::from_le_bytes(*length).into())?;
            let (length, tail) = tail.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (value, tail) = tail.split_at_checked(length)?;
            found.push(Attribute { name: name.into(), value: value.into() });
            rest = tail;
        }
        Self::checked(found).ok().filter(|_| bytes.len() <= LARGEST_SET)
    }

    /// Makes a set of what others recorded: in the order of names, each once.
    ///
    /// # Errors
    /// What is wrong with an attribute.
    pub fn checked(found: Vec<Attribute>) -> Result<Self, String> {
        for Attribute { name, value } in &found {
            let shown = || String::from_utf8_lossy(name).escape_debug().to_string();
            if AttributeKind::of(name).is_none() {
                return Err(format!("no mirror keeps the attribute \"{}\"", shown()));
            }
            let is_name = name.len() <= LONGEST_NAME && !name.contains(&0) && name.contains(&b'.');
            if !is_name || value.len() > LARGEST_VALUE {
                return Err(format!("no entry can have the attribute \"{}\"", shown()));
            }
        }
        if found.windows(2).any(|two| two[0].name >= two[1].name) {
            return Err("attributes are out of order".to_owned());
        }
        Ok(Self { kinds: AttributeKinds::ALL, sorted: found })
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

/// Returns what people call an attribute.
fn called(name: &[u8]) -> String {
    if name == ACCESS_ACL.as_bytes() {
        "ACL".to_owned()
    } else if name == DEFAULT_ACL.as_bytes() {
        "default ACL".to_owned()
    } else {
        format!("attribute {}", String::from_utf8_lossy(name).escape_debug())
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
            let foreign =
                ["system.nfs4_acl", "security.selinux", "trusted.SGI_ACL_FILE", "user.rsync.%stat"];
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
    fn a_set_comes_back_as_it_was_encoded_and_nothing_else_does() {
        let found = [("user.b", "2\0"), (ACCESS_ACL, ""), ("security.capability", "x")];
        let found = found.iter().map(|(name, value)| attribute(name, value)).collect();
        let set = Attributes::new(AttributeKinds::ALL, found);
        let whole = set.encode().unwrap();
        assert_eq!(Attributes::decode(&whole).as_ref(), Some(&set));
        assert_eq!(Attributes::decode(b""), Some(Attributes::new(AttributeKinds::ALL, Vec::new())));
        for end in 1..whole.len() {
            let cut = Attributes::decode(&whole[..end]);
            assert!(cut.is_none_or(|cut| cut.iter().count() < 3), "{end}");
        }
        let value = "v".repeat(LARGEST_VALUE);
        let names = (0..LARGEST_SET / LARGEST_VALUE).map(|number| format!("user.{number:03}"));
        let large = names.map(|name| attribute(&name, &value)).collect();
        assert_eq!(Attributes::new(AttributeKinds::ALL, large).encode(), None);
    }

    #[test]
    fn what_no_entry_can_have_is_refused() {
        let refused = |found: &[(&str, &str)]| {
            let found = found.iter().map(|(name, value)| attribute(name, value)).collect();
            Attributes::checked(found).unwrap_err()
        };
        for name in ["system.foo", "security.selinux", "user.rsync.%stat"] {
            assert_eq!(refused(&[(name, "")]), format!("no mirror keeps the attribute \"{name}\""));
        }
        let long = format!("user.{}", "n".repeat(LONGEST_NAME));
        for name in ["", "name", "user.a\0b", &long] {
            assert!(refused(&[(name, "")]).starts_with("no entry can have"), "{name}");
        }
        let large = "v".repeat(LARGEST_VALUE + 1);
        assert!(refused(&[("user.a", &large)]).starts_with("no entry can have"));
        for second in ["user.b", "user.a"] {
            assert_eq!(refused(&[("user.b", ""), (second, "")]), "attributes are out of order");
        }
    }

    #[test]
    fn differences_are_named_one_by_one() {
        let set = |found: &[(&str, &str)]| {
            let found = found.iter().map(|(name, value)| attribute(name, value)).collect();
            Attributes::new(AttributeKinds::ALL, found)
        };
        let one = set(&[("user.a", "1"), ("user.b", "12"), (ACCESS_ACL, "123")]);
        let other = set(&[("user.a", "2"), ("user.b", "12"), (DEFAULT_ACL, ""), ("user.\n", "")]);
        let expected = [
            "ACL 3 B -> none",
            "attribute user.a differs",
            "default ACL none -> 0 B",
            "attribute user.\\n none -> 0 B",
        ];
        assert_eq!(one.differences(&other), expected);
        assert!(one.differences(&one).is_empty());
        assert_eq!(one.listed()[1], "attribute user.a (1 B)");
    }

    #[test]
    fn those_of_root_alone_are_private() {
        let are_private = |name: &str| {
            Attributes::new(AttributeKinds::ALL, vec![attribute(name, "")]).are_private()
        };
        assert!(["trusted.a", "security.SMACK64"].into_iter().all(are_private));
        assert!(!["user.a", "security.capability", ACCESS_ACL].into_iter().any(are_private));
    }

    #[test]
    fn kinds_cover_those_that_they_include() {
        let acls = AttributeKinds { extended: false, acls: true };
        assert!(AttributeKinds::ALL.cover(acls) && acls.cover(AttributeKinds::NONE));
        assert!(!acls.cover(AttributeKinds::ALL) && !AttributeKinds::NONE.cover(acls));
    }
}
