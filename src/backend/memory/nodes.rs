//! Names and inodes of a tree.

use super::disk::Node;
use crate::model::Key;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The entries of a tree: names in key order, and the inodes that they are names of. The entries in
/// a directory are all whose keys begin with its key.
#[derive(Clone, Default)]
pub(super) struct Nodes {
    names: BTreeMap<Key, u64>,
    inodes: BTreeMap<u64, Node>,
}

impl Nodes {
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.names.contains_key(key)
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Node> {
        self.inode(*self.names.get(key)?)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Node> {
        self.inodes.get_mut(self.names.get(key)?)
    }

    pub(super) fn inode(&self, number: u64) -> Option<&Node> {
        self.inodes.get(&number)
    }

    pub(super) fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.inodes.values_mut()
    }

    /// Iterates over all names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Node)> {
        self.names.iter().map(|(key, number)| (key, &self.inodes[number]))
    }

    /// Returns the keys of everything in a directory, at any depth.
    pub(super) fn below(&self, directory: &Key) -> impl Iterator<Item = &Key> {
        let bounds = (Bound::Excluded(directory.as_bytes()), Bound::Unbounded);
        let within = self.names.range::<[u8], _>(bounds).map(|(key, _)| key);
        within.take_while(move |key| key.is_within(directory.as_bytes()))
    }

    /// Returns the first name of a node that has several.
    pub(super) fn first_name(&self, node: &Node) -> Option<&Key> {
        if node.names == 1 {
            return None;
        }
        self.names.iter().find(|(_, number)| **number == node.number).map(|(key, _)| key)
    }

    /// Adds a node under a name that must not exist.
    pub(super) fn insert(&mut self, key: Key, node: Node) {
        let number = node.number;
        self.inodes.insert(number, node);
        self.add_name(key, number);
    }

    /// Gives an inode another name, which must not exist.
    pub(super) fn add_name(&mut self, key: Key, number: u64) {
        if let Some(node) = self.inodes.get_mut(&number) {
            node.names += 1;
            self.names.insert(key, number);
        }
    }

    /// Removes a name; returns its inode if that has others.
    pub(super) fn remove(&mut self, key: &Key) -> Option<&mut Node> {
        let number = self.names.remove(key)?;
        let node = self.inodes.get_mut(&number)?;
        node.names -= 1;
        if node.names == 0 {
            self.inodes.remove(&number);
            return None;
        }
        self.inodes.get_mut(&number)
    }

    /// Gives an entry another name in the place of this one; returns whether there is one.
    pub(super) fn rename(&mut self, from: &Key, to: Key) -> bool {
        let number = self.names.remove(from);
        number.is_some_and(|number| self.names.insert(to, number).is_none())
    }
}
