//! What decides at once that a file is unchanged.

use super::{Policy, PolicyOptions};
use crate::manifest::LazyRow;
use crate::model::entry::Completeness;
use crate::model::{Entry, EntryKind, Metadata};

impl Policy {
    /// Returns whether a file is certainly unchanged: [`Policy::decide`] would keep it as such. If
    /// not, nothing is said about it. `achievable` is that of [`Policy::decide`].
    ///
    /// It is asked of each file in a run that finds nothing changed, so it looks at as little as
    /// possible. What only few entries have it leaves to [`Policy::decide`].
    pub fn is_unchanged(
        &self,
        source: &Entry,
        target: &Entry,
        row: &LazyRow,
        achievable: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> bool {
        let is_plain = |entry: &Entry| {
            entry.kind == EntryKind::File
                && entry.completeness == Completeness::Full
                && entry.extras.is_none()
        };
        let Some(file) = row.file() else { return false };
        is_plain(source)
            && is_plain(target)
            && self.options.trusts_stamps()
            && !self.filter.excludes_file(source)
            && file.from == self.from
            && !file.source_racy
            && file.looked.cover(self.known_attributes(source))
            && file.metadata == target.metadata
            && row.has_stamps(&source.stamp, &target.stamp)
            && achievable(&source.metadata, source.kind, Some(&target.metadata)) == file.metadata
    }
}

impl PolicyOptions {
    /// Returns whether a file whose stamps and metadata are the recorded ones on both sides needs
    /// no other look. The options that it leaves out only decide on other entries.
    fn trusts_stamps(&self) -> bool {
        let Self { checksum, size_only, update, ignore_existing, digests, .. } = self;
        !(*checksum || *size_only || *update || *ignore_existing || digests.any())
    }
}
