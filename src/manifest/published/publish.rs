//! Publishing the content of the state.

use super::check;
use super::head::{Head, Predecessor, Publication, Publishing, SEGMENTS, Segment, segment_name};
use super::history::History;
use super::line::Published;
use super::open::Written;
use super::segment::{SegmentWriter, WrittenSegment};
use super::status::ManifestStatus;
use super::writer::{ManifestWriter, WrittenFile};
use crate::backend::local::LocalNames;
use crate::manifest::{RecordedOptions, Row, RunNumber, SourceNumber, State};
use crate::model::key::is_printable;
use crate::model::mapping::RecordedNames;
use crate::model::{AttributesDigest, Error, ErrorKind, Metadata, Notice, RunId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;

/// All rows are rewritten once the changes since the base exceed one in this many rows.
const SHARE: u64 = 4;

/// The result of publishing.
#[derive(Debug)]
pub struct Done {
    /// The publication.
    pub publication: Publication,
    /// What happened to its signature.
    pub signing: Signing,
    /// What was wrong with the existing manifest, so that all rows were rewritten.
    pub fault: Option<Error>,
    /// Whether this state had published before.
    pub is_known: bool,
    /// Why unused segments could not be removed.
    pub left: Option<Error>,
    /// The notice that someone who could read the manifest before can't any more.
    pub closed: Option<Notice>,
}

impl Done {
    /// Returns the result of signing an existing publication.
    fn signed(publication: Publication) -> Self {
        let signing = Signing::Added;
        Self { publication, signing, fault: None, is_known: true, left: None, closed: None }
    }

    /// Returns the notices about the publication.
    pub fn notices(&self) -> Vec<Notice> {
        let publication = self.publication.head.sequence;
        let signing = match self.signing {
            Signing::AsBefore => None,
            Signing::Added => Some(Notice::ManifestSigned { publication }),
            Signing::Dropped => Some(Notice::SignatureDropped { publication }),
        };
        // If this state never published, the fault was reported when the manifest could not be
        // imported.
        let anew = self.fault.as_ref().filter(|_| self.is_known).map(|fault| {
            let begins_chain = self.publication.head.lost.is_some();
            Notice::ManifestWrittenAnew { cause: fault.sentence(), publication, begins_chain }
        });
        let left = self.left.as_ref().map(|error| Notice::SegmentStays { cause: error.sentence() });
        signing.into_iter().chain(anew).chain(self.closed.clone()).chain(left).collect()
    }
}

/// What happened to the signature of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// As with the previous publication: signed or not.
    AsBefore,
    /// The existing publication was signed; no new one was published.
    Added,
    /// It is not signed, but the previous one was.
    Dropped,
}

/// Publishes the state's changes since the last publication, or all rows; returns `None` if nothing
/// changed and no damage was found. The previous publication stays current until the new one is
/// complete and durable.
///
/// The existing manifest is checked quickly in any case; segments that the new publication builds
/// on are read completely before. With a key, the current publication is signed at the end, whether
/// it changed or not.
///
/// The signature vouches for all segments and earlier publications.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the target can't be read or written, [`ErrorKind::Manifest`] if the
/// state can't, [`ErrorKind::Newer`] if the existing manifest is of a newer version.
pub fn publish(
    state: &State,
    writer: &ManifestWriter<'_>,
    mut publishing: Publishing,
) -> Result<Option<Done>, Error> {
    let known = state.published()?;
    let changed = state.changed()?;
    let mut status = ManifestStatus::look(&writer.reader, known.as_ref())?;
    status.fault = status.fault.or(state.distrusted()?);
    if writer.signer.is_none() {
        status.look_for_signature(&writer.reader)?;
    }
    if known.is_some() && changed == 0 && writer.signer.is_none() && status.fault.is_none() {
        writer.open(state, Written::Nothing)?;
        return Ok(None);
    }
    let can_extend = can_extend(state, writer, &mut status, known.as_ref(), changed)?;
    let ManifestStatus { publication: mut existing, is_signed: was_signed, highest, mut fault } =
        status;
    if let (Some(signer), true) = (writer.signer, changed == 0)
        && let Some(publication) = existing.take_if(|_| can_extend)
    {
        writer.open(state, Written::Nothing)?;
        match check::sign_pointed(writer, &publication, was_signed, signer) {
            Ok(false) => return Ok(None),
            Ok(true) => return Ok(Some(Done::signed(publication))),
            // Rewrite all rows.
            Err(error) if error.kind == ErrorKind::Damaged => fault = Some(error),
            Err(error) => return Err(error),
        }
    }
    // The segments that no further publication will use, if this one uses none of them.
    let published = existing.iter().chain(&known);
    let old: Vec<_> = published.flat_map(|it| &it.head.segments).cloned().collect();
    let is_broken = match existing.as_ref().filter(|_| fault.is_some()) {
        Some(existing) => History::fault(existing, &writer.reader)?.is_some(),
        None => false,
    };
    let before = Before::of(&mut existing, is_broken, known.as_ref(), highest);
    if !publishing.options.is_whole()
        && let Some(whole) = state.last_whole_run()?
    {
        publishing.options = RecordedOptions::decode(&whole.options)?;
        // What that run left without a row is still there.
        let kept = whole.totals.map_or(0, |totals| totals.kept_unrecorded);
        publishing.totals.kept_unrecorded += kept;
    }
    let mut head = Head::of(publishing, state.source(), state.target());
    before.number(&mut head)?;
    let base = existing.as_ref().filter(|_| can_extend);
    let closed = writer.open(state, base.map_or(Written::All, |_| Written::Changes))?;
    let publication = write_publication(state, writer, head, base)?;
    let left = if base.is_some() {
        None
    } else {
        remove_before(publication.head.sequence, old, writer).err()
    };
    let is_dropped = was_signed && writer.signer.is_none();
    let signing = if is_dropped { Signing::Dropped } else { Signing::AsBefore };
    Ok(Some(Done { publication, signing, fault, is_known: known.is_some(), left, closed }))
}

/// Returns whether the existing manifest is sound, is the one that this state published, and can
/// take `changed` more lines. It is read completely if there are any.
fn can_extend(
    state: &State,
    writer: &ManifestWriter<'_>,
    status: &mut ManifestStatus,
    known: Option<&Publication>,
    changed: u64,
) -> Result<bool, Error> {
    let Some(existing) = status.publication.as_ref().filter(|it| known == Some(*it)) else {
        return Ok(false);
    };
    if changed > 0 {
        if is_outgrown(&existing.head, changed)
            || state.is_renumbered()?
            || writer.is_for_another_group(state)?
        {
            return Ok(false);
        }
        status.read(&writer.reader)?;
    }
    Ok(status.fault.is_none())
}

/// Removes the segments that were published before a publication.
fn remove_before(
    sequence: u64,
    mut old: Vec<Segment>,
    writer: &ManifestWriter<'_>,
) -> Result<(), Error> {
    old.retain(|old| old.sequence < sequence);
    old.sort_unstable_by_key(|old| old.sequence);
    old.dedup_by_key(|old| old.sequence);
    old.iter().try_for_each(|old| writer.remove(old))
}

/// Writes the publication of a numbered head: its segment, which extends `base` or has all rows,
/// the head, its signature, and the pointer.
fn write_publication(
    state: &State,
    writer: &ManifestWriter<'_>,
    mut head: Head,
    base: Option<&Publication>,
) -> Result<Publication, Error> {
    let sequence = head.sequence;
    let mut sources = BTreeSet::from([state.number()?]);
    let mut owners = Owners::of(base);
    let mut runs = Runs { state, ids: HashMap::new(), sources: &mut sources, owners: &mut owners };
    let written = writer.write(&segment_name(sequence), |out| match base {
        Some(base) => write_changes(&mut runs, sequence, base.head.rows, out),
        None => write_all(&mut runs, sequence, out),
    })?;
    let WrittenFile { made: Counted { segment, rows }, bytes, blake3 } = written;
    let WrittenSegment { lines, needs_version_2, looked, tells_more } = segment;
    head.rows = rows;
    head.set_names(RecordedNames { users: owners.users.names, groups: owners.groups.names });
    head.set_version(needs_version_2, base.map(|base| &base.head));
    head.segments = base.map_or_else(Vec::new, |base| base.head.segments.clone());
    head.segments.push(Segment { sequence, lines, bytes, blake3, looked, tells_more });
    // Published rows are from these sources.
    sources.extend(base.iter().flat_map(|base| base.head.sources()).map(|source| source.number));
    if sources.iter().ne([&SourceNumber::FIRST]) {
        head.listed = state.recorded_sources()?;
        head.listed.retain(|source| sources.contains(&source.number));
    }
    let is_signed = writer.signer.is_some();
    if !is_signed {
        writer.unsign(sequence)?;
    }
    let publication = writer.write_head(head)?;
    writer.point_to(&publication, is_signed)?;
    state.set_published(&publication)?;
    Ok(publication)
}

/// What precedes a publication that is to be written.
enum Before {
    /// The chain continues from this publication, or begins.
    Chain(Option<Predecessor>),
    /// This publication, which is damaged, missing, or at the end of a broken chain: a new chain
    /// begins.
    Lost(Predecessor),
}

impl Before {
    /// Determines the predecessor from the existing publication (the lost one if the chain doesn't
    /// continue from it), the state's last publication, and the highest head, whether that is
    /// usable or not.
    fn of(
        existing: &mut Option<Publication>,
        is_broken: bool,
        known: Option<&Publication>,
        highest: Option<Predecessor>,
    ) -> Self {
        let is_lost = |existing: &Publication| {
            is_broken || known.is_some_and(|known| known.is_replaced_by(existing))
        };
        let lost = existing.take_if(|existing| is_lost(existing));
        if let Some(existing) = existing {
            return Self::Chain(Some(existing.as_predecessor()));
        }
        // Numbers are never reused.
        let lost = lost.iter().chain(known).map(Publication::as_predecessor).chain(highest);
        lost.max_by_key(|lost| lost.sequence).map_or(Self::Chain(None), Self::Lost)
    }

    /// Sets a head's number and predecessor.
    fn number(self, head: &mut Head) -> Result<(), Error> {
        (head.previous, head.lost) = match self {
            Self::Chain(previous) => (previous, None),
            Self::Lost(lost) => (None, Some(lost)),
        };
        let before = head.previous.as_ref().or(head.lost.as_ref());
        let before = before.map_or(0, |before| before.sequence);
        head.sequence = before.checked_add(1).ok_or_else(|| {
            let message = "the published manifest has the highest number that is possible";
            Error::new(ErrorKind::Manifest, message)
                .help("remove .vidimus/manifest in the target; the next run publishes it anew")
        })?;
        Ok(())
    }
}

/// Returns whether a manifest is rewritten rather than extended, given the number of changed keys.
fn is_outgrown(head: &Head, changed: u64) -> bool {
    // The numbers in others' heads may be arbitrary.
    let deltas = head.segments.iter().skip(1);
    let lines = deltas.fold(changed, |lines, segment| lines.saturating_add(segment.lines));
    head.segments.len() >= SEGMENTS || lines.saturating_mul(SHARE) > head.rows
}

/// A segment, and the size of its manifest.
struct Counted {
    segment: WrittenSegment,
    /// Rows of the manifest.
    rows: u64,
}

/// The most digests of attributes that are remembered to find those that no row refers to.
const DIGESTS: usize = 1 << 16;

/// Returns the digest of the attributes that a row's entry doesn't have itself.
fn apart_of(row: &Row) -> Option<AttributesDigest> {
    row.extras.as_deref().filter(|extras| extras.apart.is_some())?.attributes
}

/// Writes all rows.
fn write_all(runs: &mut Runs<'_>, sequence: u64, out: &mut dyn Write) -> Result<Counted, Error> {
    let mut segment = SegmentWriter::new(out)?;
    let mut used = Some(HashSet::new());
    for row in runs.state.rows()? {
        let mut row = row?;
        runs.state.load_attributes(&mut row)?;
        if let (Some(digests), Some(digest)) = (&mut used, apart_of(&row)) {
            digests.insert(digest);
            used = used.filter(|digests| digests.len() <= DIGESTS);
        }
        let run = runs.id(&row)?;
        segment.add(&Published { key: row.key.clone(), sequence, row: Some((row, run)) })?;
    }
    let segment = segment.finish()?;
    used.map_or(Ok(()), |used| runs.state.keep_attributes(&used))?;
    Ok(Counted { rows: segment.lines, segment })
}

/// Writes the changes since a publication with `rows` rows; returns the number of lines and the new
/// number of rows.
fn write_changes(
    runs: &mut Runs<'_>,
    sequence: u64,
    mut rows: u64,
    out: &mut dyn Write,
) -> Result<Counted, Error> {
    let mut segment = SegmentWriter::new(out)?;
    for change in runs.state.changes()? {
        let change = change?;
        let row = match change.row {
            Some(mut row) => {
                runs.state.load_attributes(&mut row)?;
                rows = rows.saturating_add(u64::from(!change.was_published));
                let run = runs.id(&row)?;
                Some((row, run))
            }
            None if change.was_published => {
                rows = rows.saturating_sub(1);
                None
            }
            // The key was added and removed since.
            None => continue,
        };
        segment.add(&Published { key: change.key, sequence, row })?;
    }
    Ok(Counted { segment: segment.finish()?, rows })
}

/// The ids of runs by number, and the sources of the written rows.
struct Runs<'s> {
    state: &'s State,
    ids: HashMap<RunNumber, RunId>,
    sources: &'s mut BTreeSet<SourceNumber>,
    owners: &'s mut Owners,
}

impl Runs<'_> {
    /// Returns the id of a row's run, and records its source, owner and group.
    fn id(&mut self, row: &Row) -> Result<RunId, Error> {
        self.sources.insert(row.from);
        self.owners.add(row);
        if let Some(id) = self.ids.get(&row.run) {
            return Ok(id.clone());
        }
        let id = self.state.run_id(row.run)?;
        self.ids.insert(row.run, id.clone());
        Ok(id)
    }
}

/// The names of the owners and groups of rows, on this machine or on those that published before.
struct Owners {
    users: Named,
    groups: Named,
}

impl Owners {
    /// Begins with the names that the extended publication has.
    fn of(base: Option<&Publication>) -> Self {
        let names = base.map(|base| base.head.names()).unwrap_or_default();
        Self { users: Named::of(names.users), groups: Named::of(names.groups) }
    }

    fn add(&mut self, row: &Row) {
        for Metadata { uid, gid, .. } in [Some(row.metadata), row.meant()].into_iter().flatten() {
            self.users.add(uid, |id| LocalNames.user(id));
            self.groups.add(gid, |id| LocalNames.group(id));
        }
    }
}

/// Ids with their names.
struct Named {
    names: BTreeMap<u32, String>,
    /// The id that was added last: most entries have the owner of the one before.
    last: Option<u32>,
    /// Ids without a name.
    nameless: BTreeSet<u32>,
}

impl Named {
    /// The most names that a head has, and ids without a name that are not looked up again.
    const MOST: usize = 4_096;
    /// The longest name in bytes (`LOGIN_NAME_MAX`).
    const LONGEST: usize = 256;

    fn of(names: BTreeMap<u32, String>) -> Self {
        Self { names, last: None, nameless: BTreeSet::new() }
    }

    fn add(&mut self, id: u32, look_up: impl Fn(u32) -> Option<String>) {
        let is_known = self.last.replace(id) == Some(id)
            || self.names.contains_key(&id)
            || self.nameless.contains(&id);
        if is_known || self.names.len().max(self.nameless.len()) >= Self::MOST {
            return;
        }
        match look_up(id).filter(|name| name.len() <= Self::LONGEST && is_printable(name)) {
            Some(name) => drop(self.names.insert(id, name)),
            None => drop(self.nameless.insert(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_looked_up_once_and_the_names_are_bounded() {
        let count = std::cell::Cell::new(0);
        let look_up = |id: u32| {
            count.set(count.get() + 1);
            id.is_multiple_of(2).then(|| format!("user{id}"))
        };
        let mut named = Named::of(BTreeMap::from([(4, "kept".to_owned())]));
        for id in [4, 4, 6, 7, 6, 7, 4] {
            named.add(id, look_up);
        }
        assert_eq!(count.get(), 2);
        let expected = [(4, "kept".to_owned()), (6, "user6".to_owned())];
        assert_eq!(named.names, BTreeMap::from(expected));
        (0..20_000).for_each(|id| named.add(id, look_up));
        assert_eq!(named.names.len(), Named::MOST);
        named.add(40_001, |_| Some("a\nb".to_owned()));
        assert!(!named.names.contains_key(&40_001));
    }
}
