//! Publishing what the state holds.

use super::check;
use super::head::{Head, Predecessor, Publication, Publishing, SEGMENTS, Segment, segment_name};
use super::history::History;
use super::line::Published;
use super::open::Written;
use super::segment::SegmentWriter;
use super::status::ManifestStatus;
use super::writer::{ManifestWriter, WrittenFile};
use crate::manifest::{RecordedOptions, Row, RunNumber, SourceNumber, State};
use crate::model::{Error, ErrorKind, Notice, RunId};
use std::collections::{BTreeSet, HashMap};
use std::io::Write;

/// All rows are written anew once what changed since the base is more than one in so many of them.
const SHARE: u64 = 4;

/// What was published.
#[derive(Debug)]
pub struct Done {
    /// It.
    pub publication: Publication,
    /// What became of its signature.
    pub signing: Signing,
    /// What was found wrong with what stood there, so that all rows were written anew.
    pub fault: Option<Error>,
    /// Whether anything was published from here before.
    pub is_known: bool,
    /// Why segments that no longer count could not be removed.
    pub left: Option<Error>,
    /// That it is closed from now on to somebody to whom it wasn't before.
    pub closed: Option<Notice>,
}

impl Done {
    /// What there is to say of it.
    pub fn notices(&self) -> Vec<Notice> {
        let publication = self.publication.head.sequence;
        let signing = match self.signing {
            Signing::AsBefore => None,
            Signing::Added => Some(Notice::ManifestSigned { publication }),
            Signing::Dropped => Some(Notice::SignatureDropped { publication }),
        };
        // Where nothing was published from here before, it was told when it couldn't be taken over.
        let anew = self.fault.as_ref().filter(|_| self.is_known).map(|fault| {
            let begins_chain = self.publication.head.lost.is_some();
            Notice::ManifestWrittenAnew { cause: fault.to_string(), publication, begins_chain }
        });
        let left =
            self.left.as_ref().map(|error| Notice::SegmentStays { cause: error.to_string() });
        signing.into_iter().chain(anew).chain(self.closed.clone()).chain(left).collect()
    }
}

/// What became of the signature of what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// As with the publication before it: signed or not.
    AsBefore,
    /// What stood there already was signed; nothing was published anew.
    Added,
    /// It is not signed, and the one before it was.
    Dropped,
}

/// Publishes what changed in the state since it was published last, or all of it; `None` where
/// nothing changed and what stands was not found to be damaged. Until it is whole and durable, what
/// was published before counts.
///
/// What stands is looked at in any case; segments that a publication goes on from are read before.
///
/// With a key to sign with, what counts in the end is signed with it, whether it changed or not.
///
/// # Errors
/// [`ErrorKind::Unusable`] when the target can't be read or written, [`ErrorKind::Manifest`] when
/// the state can't, [`ErrorKind::Newer`] when what stands there is of a newer version.
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
    // Whether what stands is from here, and is not written anew.
    let is_renumbered = state.is_renumbered()?;
    let is_base = status.publication.as_ref().is_some_and(|standing| {
        let takes_more = !is_renumbered && !is_outgrown(&standing.head, changed);
        known.as_ref() == Some(standing) && (changed == 0 || takes_more)
    });
    let is_base = is_base && (changed == 0 || !writer.is_for_another_group(state)?);
    if is_base && changed > 0 {
        status.read(&writer.reader)?;
    }
    let ManifestStatus { publication: mut standing, is_signed: was_signed, highest, mut fault } =
        status;
    let goes_on = is_base && fault.is_none();
    if let (Some(signer), true) = (writer.signer, changed == 0)
        && let Some(publication) = standing.take_if(|_| goes_on)
    {
        writer.open(state, Written::Nothing)?;
        match check::sign_pointed(writer, &publication, was_signed, signer) {
            Ok(false) => return Ok(None),
            Ok(true) => {
                let signing = Signing::Added;
                return Ok(Some(Done {
                    publication,
                    signing,
                    fault,
                    is_known: true,
                    left: None,
                    closed: None,
                }));
            }
            // It is published anew.
            Err(error) if error.kind == ErrorKind::Damaged => fault = Some(error),
            Err(error) => return Err(error),
        }
    }
    // Those that no publication to come will name, where this one names none.
    let mut old: Vec<Segment> = Vec::new();
    for publication in standing.iter().chain(&known) {
        old.extend_from_slice(&publication.head.segments);
    }
    let is_broken = match standing.as_ref().filter(|_| fault.is_some()) {
        Some(standing) => History::fault(standing, &writer.reader)?.is_some(),
        None => false,
    };
    let before = Before::of(&mut standing, is_broken, known.as_ref(), highest);
    if publishing.options.only.is_some()
        && let Some(whole) = state.last_whole_run()?
    {
        publishing.options = RecordedOptions::decode(&whole.options)?;
    }
    let mut head = Head::of(publishing, state.source(), state.target());
    before.number(&mut head)?;
    let base = standing.as_ref().filter(|_| goes_on);
    let closed = writer.open(state, base.map_or(Written::All, |_| Written::Changes))?;
    let publication = write_publication(state, writer, head, base)?;
    let mut left = None;
    if base.is_none() {
        old.retain(|old| old.sequence < publication.head.sequence);
        old.sort_unstable_by_key(|old| old.sequence);
        old.dedup_by_key(|old| old.sequence);
        left = old.iter().try_for_each(|old| writer.remove(old)).err();
    }
    let is_dropped = was_signed && writer.signer.is_none();
    let signing = if is_dropped { Signing::Dropped } else { Signing::AsBefore };
    Ok(Some(Done { publication, signing, fault, is_known: known.is_some(), left, closed }))
}

/// Writes the publication of a numbered head: its segment, which goes on from `base` or holds all
/// rows, the head, its signature, and what points to it.
fn write_publication(
    state: &State,
    writer: &ManifestWriter<'_>,
    mut head: Head,
    base: Option<&Publication>,
) -> Result<Publication, Error> {
    let sequence = head.sequence;
    let mut sources = BTreeSet::from([state.number()?]);
    let mut runs = Runs { state, ids: HashMap::new(), sources: &mut sources };
    let written = writer.write(&segment_name(sequence), |out| match base {
        Some(base) => write_changes(&mut runs, sequence, base.head.rows, out),
        None => write_all(&mut runs, sequence, out),
    })?;
    let WrittenFile { made: Counted { lines, rows }, bytes, blake3 } = written;
    head.rows = rows;
    head.segments = base.map_or_else(Vec::new, |base| base.head.segments.clone());
    head.segments.push(Segment { sequence, lines, bytes, blake3 });
    // Rows that were published before are from them.
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
    writer.point_to(publication.as_predecessor(), is_signed)?;
    state.set_published(&publication)?;
    Ok(publication)
}

/// What came before a publication that is to be written.
enum Before {
    /// The chain goes on from this one, or begins.
    Chain(Option<Predecessor>),
    /// This one, which is damaged, gone, or at the end of a broken chain: it begins anew.
    Lost(Predecessor),
}

impl Before {
    /// Tells it by what stands, which goes where the chain doesn't go on from it; by what was published
    /// from here last; and by the highest head, whatever that is worth.
    fn of(
        standing: &mut Option<Publication>,
        is_broken: bool,
        known: Option<&Publication>,
        highest: Option<Predecessor>,
    ) -> Self {
        let is_lost = |standing: &Publication| {
            is_broken || known.is_some_and(|known| known.is_replaced_by(standing))
        };
        let lost = standing.take_if(|standing| is_lost(standing));
        if let Some(standing) = standing {
            return Self::Chain(Some(standing.as_predecessor()));
        }
        // No number is given twice.
        let lost = lost.iter().chain(known).map(Publication::as_predecessor).chain(highest);
        lost.max_by_key(|lost| lost.sequence).map_or(Self::Chain(None), Self::Lost)
    }

    /// Numbers a head, which names what came before it.
    fn number(self, head: &mut Head) -> Result<(), Error> {
        (head.previous, head.lost) = match self {
            Self::Chain(previous) => (previous, None),
            Self::Lost(lost) => (None, Some(lost)),
        };
        let before = head.previous.as_ref().or(head.lost.as_ref());
        let before = before.map_or(0, |before| before.sequence);
        head.sequence = before.checked_add(1).ok_or_else(|| {
            let message = "the published manifest has the last number there can be";
            Error::new(ErrorKind::Manifest, message)
                .help("remove .vidimus/manifest in the target; the next run publishes it anew")
        })?;
        Ok(())
    }
}

/// Whether a manifest is written anew rather than go on, given how many keys changed.
fn is_outgrown(head: &Head, changed: u64) -> bool {
    // What others wrote may have any numbers.
    let deltas = head.segments.iter().skip(1);
    let lines = deltas.fold(changed, |lines, segment| lines.saturating_add(segment.lines));
    head.segments.len() >= SEGMENTS || lines.saturating_mul(SHARE) > head.rows
}

/// What a segment holds, and the manifest with it.
struct Counted {
    /// Lines of the segment.
    lines: u64,
    /// Rows of the manifest.
    rows: u64,
}

/// Writes all rows.
fn write_all(runs: &mut Runs<'_>, sequence: u64, out: &mut dyn Write) -> Result<Counted, Error> {
    let mut segment = SegmentWriter::new(out)?;
    for row in runs.state.rows()? {
        let row = row?;
        let run = runs.id(&row)?;
        segment.add(&Published { key: row.key.clone(), sequence, row: Some((row, run)) })?;
    }
    let lines = segment.finish()?;
    Ok(Counted { lines, rows: lines })
}

/// Writes what changed since `rows` rows were published.
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
            Some(row) => {
                rows = rows.saturating_add(u64::from(!change.was_published));
                let run = runs.id(&row)?;
                Some((row, run))
            }
            None if change.was_published => {
                rows = rows.saturating_sub(1);
                None
            }
            // Came and went.
            None => continue,
        };
        segment.add(&Published { key: change.key, sequence, row })?;
    }
    Ok(Counted { lines: segment.finish()?, rows })
}

/// The ids of runs by number, and which sources rows are from.
struct Runs<'s> {
    state: &'s State,
    ids: HashMap<RunNumber, RunId>,
    sources: &'s mut BTreeSet<SourceNumber>,
}

impl Runs<'_> {
    /// The id of a row's run; takes note of its source.
    fn id(&mut self, row: &Row) -> Result<RunId, Error> {
        self.sources.insert(row.from);
        if let Some(id) = self.ids.get(&row.run) {
            return Ok(id.clone());
        }
        let id = self.state.run_id(row.run)?;
        self.ids.insert(row.run, id.clone());
        Ok(id)
    }
}
