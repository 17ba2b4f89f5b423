//! Explanation of one key: what both sides and the record have, which filter rule applies, what a
//! run would decide, and what past runs did.
//!
//! The join and policy are those of a run; only the listings are narrowed to the one name. No lock
//! is taken, no content is read, and nothing is written.

mod links;
mod moved;

use super::sides::{Rows, RowsToJoin};
use super::{MirrorOptions, Running, Session, places};
use crate::backend::{KeySpace, ListItem, ListOptions, Listing, Source, Target};
use crate::compare::join::Joined;
use crate::compare::{Conflict, Join, Pair, ReadAhead, RecordedRows, Seen};
use crate::filter::{MatchedRule, NameList};
use crate::listing::OrderChecked;
use crate::manifest::published::{Head, History, ManifestReader, Publication, Published, trace};
use crate::manifest::{RecordedOptions, Row, RunRecord, SourceNumber, State, recall};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::key::{Escaped, unescaped};
use crate::model::reserved::{is_in_directory, is_set_aside};
use crate::model::{
    Action, Cause, Decision, Digest, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Metadata,
    Notice, Observer, Progress, Reason, RunId, Setting, Stop,
};
use crate::place::Sides;
use crate::plan::Differs;
use crate::session::new_run_id;
use crate::session::places::Places;
use crate::session::published::Foreseen;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;

/// Everything known about one name.
#[derive(Debug)]
pub struct Explanation {
    /// The source, as named in the state.
    pub source: String,
    /// The latest run of this pair, if one is recorded.
    pub last_run: Option<RunRecord>,
    /// The key, or both keys if the name is a leaf and a directory.
    pub keys: Vec<Explained>,
    /// What prevents a run from listing the key, such as an unreadable directory.
    pub failed: Vec<EntryError>,
    /// Notices that a run would report for it.
    pub notices: Vec<Notice>,
    /// The history in the target's manifest.
    pub past: Option<Past>,
}

/// The run that copied or adopted something.
#[derive(Debug)]
pub struct CopiedBy {
    /// Its id.
    pub run: RunId,
    /// The state's record of it; `None` if only the manifest names the run.
    pub record: Option<RunRecord>,
}

impl From<RunRecord> for CopiedBy {
    fn from(record: RunRecord) -> Self {
        Self { run: record.id.clone(), record: Some(record) }
    }
}

/// Everything known about one key.
#[derive(Debug)]
pub struct Explained {
    /// What each side has, regardless of the filter, and what was recorded.
    pub pair: Pair,
    /// The run that copied or adopted it, according to the state or the manifest.
    pub copied_by: Option<CopiedBy>,
    /// The filter rule that decides, if one matches.
    pub matched_rule: Option<MatchedRule>,
    /// What a run would do, and why; or why it can't mirror the entry.
    pub decision: Result<Decision, Cause>,
    /// The directory above that prevents creation or deletion.
    pub barred_by: Option<Key>,
    /// Why the target can't have an entry with this key.
    pub refused: Option<Cause>,
    /// Whether content other than the recorded one would count as damage of the source.
    pub is_guarded: bool,
    /// The metadata that the target can store of the source's entry.
    pub wanted: Option<Metadata>,
    /// For a directory that is kept: whether its metadata differs.
    pub differs: Option<Differs>,
    /// The extended attributes and ACLs of the source's entry, and of the target's, in words.
    pub attributes: [Vec<String>; 2],
    /// The key under which the target has it, for a file that is to be renamed.
    pub renamed_from: Option<Key>,
}

impl Explained {
    /// Returns what a run would do; `None` if it can't mirror the entry.
    pub fn action(&self) -> Option<Action> {
        self.decision.as_ref().ok().map(|decision| decision.action)
    }

    /// Returns why it would do that; `None` if it can't mirror the entry.
    pub fn reason(&self) -> Option<Reason> {
        self.decision.as_ref().ok().map(|decision| decision.reason)
    }
}

/// The history of a name in the published manifest.
#[derive(Debug)]
pub struct Past {
    /// The lines of its segments, latest first.
    pub lines: Vec<PastLine>,
    /// The oldest publication whose rows are still kept: it wrote all rows anew.
    pub since: u64,
    /// Time and run of that publication, if the chain of heads reaches it.
    pub since_run: Option<PastRun>,
}

/// One line of a segment.
#[derive(Debug)]
pub struct PastLine {
    /// A row, or its removal.
    pub content: Published,
    /// The run that published it, if known.
    pub by: Option<PastRun>,
}

/// A run that published.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// Its id.
    pub run: RunId,
    /// When it published.
    pub published: crate::model::Timestamp,
    /// Its source.
    pub source: String,
}

impl From<&Head> for PastRun {
    fn from(head: &Head) -> Self {
        let Head { run, published, source, .. } = head;
        Self { run: run.clone(), published: *published, source: source.clone() }
    }
}

/// Entries that the filter excludes from a listing.
type LeftOut = Vec<(Side, Entry)>;

/// What both sides and the record have of one name.
type NameJoin = Join<OrderChecked, OrderChecked, ReadAhead<Rows>>;

/// The two sides, for listing single names.
#[derive(Clone, Copy)]
struct Listed<'a> {
    from: &'a dyn Source,
    to: &'a dyn Target,
    /// Whether the target exists.
    exists: bool,
    /// The source's number in rows.
    number: SourceNumber,
    /// Whether no earlier recorded run from the source into the target completed.
    is_first_contact: bool,
}

/// Explains what a mirror with these options would do with one key, and what past runs did to it.
/// `typed` is the key as the user typed it: with or without a final `/`, or a path below a root.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal key, [`ErrorKind::Unusable`] for a key that neither side nor
/// any record has, and whatever would stop such a run before it lists.
pub fn explain(
    options: &MirrorOptions,
    typed: &[u8],
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Explanation, Error> {
    let run = new_run_id()?;
    let opener = options.opener(&run, false, progress, stop);
    let places = places::resolve(options, &opener)?;
    super::checks::refuse_bag(&places, &options.state_dir)?;
    let session =
        Session::new(options, &opener, &places, Running { observer, progress, stop }, run)?;
    session.check_required_file()?;
    session.explain(typed)
}

impl Session<'_> {
    /// Explains what was typed: a key, or a path below a root, as a shell completes it.
    fn explain(&self, typed: &[u8]) -> Result<Explanation, Error> {
        let key = self.name(typed);
        if let Ok(name) = &key
            && let Some(explanation) = self.explain_name(name)?
        {
            return Ok(explanation);
        }
        let below = self.below_a_root(typed).map(|below| self.name(&below)).transpose()?;
        if let Some(name) = &below
            && let Some(explanation) = self.explain_name(name)?
        {
            return Ok(explanation);
        }
        // Try it as an escaped name, as runs print names with control characters.
        if let Some(Ok(name)) = unescaped(typed).map(|name| self.name(&name))
            && let Some(explanation) = self.explain_name(&name)?
        {
            return Ok(explanation);
        }
        let name = key.or_else(|wrong| below.ok_or(wrong))?;
        let message = format!("neither side nor the record has \"{name}\"");
        Err(Error::new(ErrorKind::Unusable, message).help(format!(
            "KEY is a name below the root of the source, as a run prints it, or a path below SOURCE \
             or TARGET; `vidimus ls {}` lists what is there",
            self.options.source
        )))
    }

    /// Explains one name; `None` if neither side nor any record has it.
    fn explain_name(&self, name: &Key) -> Result<Option<Explanation>, Error> {
        let state = self.recorded()?;
        let exists = self.places.target.exists();
        if exists {
            self.places.target.open()?;
        }
        self.check_state_dir()?;
        let spool_dir = std::env::temp_dir();
        let Sides { source: from, target: to } = self.open()?;
        recall(state.as_ref(), &*to, &spool_dir)?;
        let keys = self.keys(name);
        let manifest = ManifestReader::of(&*to, &spool_dir);
        let published =
            if exists { self.recalled(&manifest, &keys, state.is_some())? } else { None };
        let foreseen = match &state {
            Some(state) => self.foreseen(state, self.place(&*to, &manifest))?,
            None => None,
        };
        let (rows, number) = match (foreseen, &state, &published) {
            (Some(RecordedRows { rows, from }), ..) => (of_keys(rows, &keys)?, from),
            (None, Some(state), _) => (rows_of(&keys, state)?, state.number()?),
            (None, None, Some((remembered, _))) => {
                (remembered.rows(&keys), self.number_in(&remembered.latest.head))
            }
            (None, None, None) => (Vec::new(), SourceNumber::NONE),
        };
        let mut explanation = Explanation {
            source: self.places.source.name.clone(),
            last_run: state.as_ref().map(State::last_run_from_source).transpose()?.flatten(),
            keys: Vec::new(),
            failed: Vec::new(),
            notices: Vec::new(),
            past: published.map(|(_, past)| past),
        };
        let runs: HashMap<_, _> =
            rows.iter().map(|(row, run)| (row.key.clone(), run.clone())).collect();
        let (writing, lockable) = (self.writing(), self.places.target.lockable().ok());
        let under_way = |key: &Key| {
            writing.as_ref().is_some_and(|writing| writing.owns(key))
                || lockable.as_ref().is_some_and(|target| target.is_held_below(key))
        };
        let is_first_contact = state.as_ref().map_or(Ok(true), State::is_first_contact)?;
        let sides = Listed { from: &*from, to: &*to, exists, number, is_first_contact };
        let (join, left_out) =
            self.join_name(name, sides, rows.into_iter().map(|(row, _)| row).collect())?;
        for joined in join {
            match joined? {
                Joined::Pair(pair) if keys.contains(&pair.key) => {
                    let copied_by = match (runs.get(&pair.key), &pair.row, &state) {
                        (Some(Some(run)), ..) => Some(CopiedBy { run: run.clone(), record: None }),
                        (_, Some(row), Some(state)) => state.run(row.run)?.map(CopiedBy::from),
                        _ => None,
                    };
                    let mut explained = self.explained(*pair, copied_by, sides);
                    self.link_to_others(&mut explained, state.as_ref(), sides)?;
                    self.apply_move(&mut explained, sides, state.as_ref())?;
                    self.apply_bars_above(&mut explained, sides)?;
                    explanation.keys.push(explained);
                }
                // An entry below the directory, which shows that it isn't empty.
                Joined::Pair(_) | Joined::Unchanged(_) => {}
                Joined::Failed(error) | Joined::BrokeOff(error) => explanation.failed.push(error),
                Joined::Leftover(key) if under_way(&key) => {}
                Joined::Leftover(key) => explanation.notices.push(of_leftover(key)),
                Joined::MountPoint(key) => {
                    let found = explanation.keys.iter_mut().find(|of| of.pair.key == key);
                    if let Some(it) = found.filter(|of| of.action() == Some(Action::Delete)) {
                        it.decision = Err(Cause::MountPoint);
                    }
                }
                Joined::LeftOut(key, why) => {
                    explanation.notices.push(Notice::left_out(&key, why));
                }
            }
        }
        for (side, entry) in left_out.into_iter().filter(|(_, entry)| keys.contains(&entry.key)) {
            self.show(&mut explanation.keys, side, entry, sides);
        }
        self.report_broken_record();
        self.add_past_key(&mut explanation, sides);
        let Explanation { keys, failed, notices, .. } = &explanation;
        if keys.is_empty() && failed.is_empty() && notices.is_empty() {
            return Ok(None);
        }
        self.add_notices_of_other_options(&mut explanation)?;
        Ok(Some(explanation))
    }

    /// Adds notices of options in which the latest run differed.
    fn add_notices_of_other_options(&self, explanation: &mut Explanation) -> Result<(), Error> {
        let Some(run) = &explanation.last_run else { return Ok(()) };
        let recorded = RecordedOptions::decode(&run.options)?;
        if recorded.filter != *self.filter.spec() {
            explanation.notices.push(Notice::OtherFilter);
        }
        if recorded.delete != self.options.delete.is_some() {
            explanation.notices.push(Notice::OtherDeletion { deleted: recorded.delete });
        }
        Ok(())
    }

    /// Returns what the target's manifest has of `keys`. If a state `is_known`, this is only
    /// history.
    fn recalled(
        &self,
        manifest: &ManifestReader<'_>,
        keys: &[Key],
        is_known: bool,
    ) -> Result<Option<(Remembered, Past)>, Error> {
        let remembered = self
            .published(manifest)
            .and_then(|latest| latest.map(|latest| remembered(manifest, latest, keys)).transpose());
        let unusable = |cause| {
            if is_known {
                Notice::PastUnknown { cause }
            } else {
                Notice::ManifestUnusable { cause }
            }
        };
        Ok(self.usable(remembered, unusable)?.flatten())
    }

    /// Returns the part of a path below the source or the target, if they are local directories.
    fn below_a_root(&self, typed: &[u8]) -> Option<Vec<u8>> {
        let Places { source, target, .. } = self.places;
        let typed = Path::new(OsStr::from_bytes(typed));
        let below = source.below(typed).or_else(|| target.below(typed))?;
        Some(below.into_os_string().into_vec())
    }

    /// Parses the name that the user typed: the key without a final `/`.
    fn name(&self, typed: &[u8]) -> Result<Key, Error> {
        let name = self.legal_name(typed)?;
        let is_listed = |names: &Arc<NameList>| {
            names.takes(&name) || names.takes(&Key::child(name.parent(), name.name(), true))
        };
        if self.filter.names().is_none_or(is_listed) {
            return Ok(name);
        }
        let message = format!("\"{}\" is not listed", Escaped(typed));
        Err(Error::new(ErrorKind::Usage, message).help(hint![
            "a run looks only at names of the list that ",
            Setting::FilesFrom,
            " gives"
        ]))
    }

    fn legal_name(&self, typed: &[u8]) -> Result<Key, Error> {
        let wrong = |what: &str| {
            let message = format!("\"{}\" {what}", Escaped(typed));
            Error::new(ErrorKind::Usage, message)
                .help("KEY is a name below the root, as a run prints it: photos/a.jpg")
        };
        if self.places.key_space() == KeySpace::Flat {
            return Ok(Key::new(typed));
        }
        let mut key = typed;
        if typed.starts_with(b"/") {
            return Err(wrong("lies neither below the source nor below the target"));
        }
        while let Some(rest) = key.strip_prefix(b"./") {
            key = rest;
        }
        let name = key.strip_suffix(b"/").unwrap_or(key);
        if let Some(only) = &self.places.source.only {
            if **only != *name {
                let only = Escaped(only);
                return Err(wrong("is not part of what is mirrored").help(format!(
                    "the source is a single file: a run looks at \"{only}\" alone"
                )));
            }
            return Ok(Key::new(name));
        }
        if name.is_empty() || name == b"." {
            return Ok(Key::root());
        }
        let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        if !name.split(|&byte| byte == b'/').all(is_name) {
            return Err(wrong("is not a legal name below a root"));
        }
        if is_in_directory(name) {
            return Err(wrong("is reserved for vidimus, and never part of a mirror"));
        }
        Ok(Key::new(name))
    }

    /// Returns the keys that one name can have, in order.
    fn keys(&self, name: &Key) -> Vec<Key> {
        if self.places.key_space() == KeySpace::Flat || name.is_root() {
            return vec![name.clone()];
        }
        vec![name.clone(), Key::child(name.parent(), name.name(), true)]
    }

    /// Joins what the two sides list of one name with its rows. Entries that the filter excludes
    /// are returned separately.
    fn join_name(
        &self,
        name: &Key,
        sides: Listed<'_>,
        rows: Vec<Row>,
    ) -> Result<(NameJoin, LeftOut), Error> {
        let mut left_out = Vec::new();
        let mut list = |place: &dyn Source, side: Side, options: &ListOptions| {
            let mut listed = Vec::new();
            for item in place.list_name(name.as_bytes(), options)? {
                match item {
                    ListItem::Leftover(_) => listed.push(Ok(item)),
                    _ if !options.filter.excludes_within(item.key()) => listed.push(Ok(item)),
                    ListItem::Entry(entry) => left_out.push((side, entry)),
                    _ => {}
                }
            }
            Ok::<Listing, Error>(Box::new(listed.into_iter()))
        };
        let listed = list(sides.from, Side::Source, &self.listing())?;
        let existing = if sides.exists {
            // A target is a source, too.
            list(sides.to, Side::Target, &self.target_listing())?
        } else {
            Box::new(std::iter::empty())
        };
        let join = self.join(
            self.enrich(sides.from, listed, sides.is_first_contact)?,
            existing,
            RowsToJoin { rows: Box::new(rows.into_iter().map(Ok)), from: sides.number }
                .read_ahead(),
        )?;
        Ok((join, left_out))
    }

    /// Adds an entry that the filter excludes; the decision ignores it.
    fn show(&self, keys: &mut Vec<Explained>, side: Side, entry: Entry, sides: Listed<'_>) {
        let at = keys.iter().position(|explained| explained.pair.key >= entry.key);
        let at = at.unwrap_or(keys.len());
        if keys.get(at).is_none_or(|explained| explained.pair.key != entry.key) {
            let absent = || Seen::Absent;
            let (key, conflict) = (entry.key.clone(), None);
            let pair = Pair { key, source: absent(), target: absent(), row: None, conflict };
            keys.insert(at, self.explained(pair, None, sides));
        }
        let pair = &mut keys[at].pair;
        match side {
            Side::Source => pair.source = Seen::Present(entry),
            Side::Target => pair.target = Seen::Present(entry),
        }
    }

    /// Corrects a decision that a directory above prevents: nothing is created below a directory
    /// that can't be created, and nothing is deleted below one that is kept.
    fn apply_bars_above(&self, explained: &mut Explained, sides: Listed<'_>) -> Result<(), Error> {
        let pair = &explained.pair;
        let is_made = pair.source.entry().is_some() && pair.target.entry().is_none();
        // The row of an empty directory is forgotten if a leaf replaces the directory.
        let is_forgotten = explained.action() == Some(Action::Forget);
        let is_deleted =
            explained.action() == Some(Action::Delete) || is_forgotten && pair.key.is_directory();
        if self.places.key_space() == KeySpace::Flat || !(is_made || is_deleted) {
            return Ok(());
        }
        let policy = self.policy(sides.number, sides.from, sides.to);
        let holds = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            sides.to.achievable_metadata(metadata, kind, existing)
        };
        // Also the directory itself may be one that is kept with everything in it.
        let above = if is_deleted { pair.key.as_bytes() } else { pair.key.parent() }.to_vec();
        // The manifest doesn't matter for the directories above.
        let sides = Listed { is_first_contact: false, ..sides };
        let ends = above.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in ends {
            let (join, _) = self.join_name(&Key::new(&above[..end]), sides, Vec::new())?;
            for joined in join {
                let key = &above[..=end];
                let pair = match joined? {
                    Joined::Pair(pair) => pair,
                    Joined::MountPoint(mounted)
                        if is_deleted
                            && mounted.as_bytes() == key
                            && *key != *explained.pair.key.as_bytes() =>
                    {
                        explained.barred_by = Some(mounted);
                        explained.decision = Ok(Decision::new(Action::Keep, Reason::Exists));
                        return Ok(());
                    }
                    _ => continue,
                };
                if pair.key.trimmed() != &above[..end] {
                    continue;
                }
                let decided = policy.decide(&pair, holds).map(|decision| decision.action);
                let is_directory = pair.key.as_bytes() == key;
                let bars = match decided {
                    Err(_) if is_directory => is_made && pair.target.entry().is_none(),
                    Err(_) | Ok(Action::Skip) => {
                        is_deleted
                            && (!is_forgotten || explained.pair.key.as_bytes() == key)
                            && matches!(pair.conflict, Some(Conflict::LeafOverDirectory { .. }))
                    }
                    _ => false,
                };
                if bars {
                    explained.barred_by = Some(Key::new(key));
                    explained.decision = if is_made {
                        Err(Cause::NoParent)
                    } else {
                        Ok(Decision::new(Action::Keep, Reason::Exists))
                    };
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn explained(&self, pair: Pair, copied_by: Option<CopiedBy>, sides: Listed<'_>) -> Explained {
        let (policy, target) = (self.policy(sides.number, sides.from, sides.to), sides.to);
        let holds = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            let result = target.achievable_metadata(metadata, kind, existing);
            match pair.source.entry() {
                Some(source) => policy.narrowed(source, pair.row.as_ref(), result),
                None => result,
            }
        };
        let matched_rule = self.filter.matched_rule(&pair.key);
        let decision = policy.decide(&pair, holds);
        let action = decision.as_ref().ok().map(|decision| decision.action);
        let makes = matches!(
            action,
            Some(
                Action::Copy { .. }
                    | Action::MakeLink
                    | Action::MakeSpecial
                    | Action::MakeDirectory
                    | Action::AfterDeletion
            )
        );
        let refused = if makes && pair.target.entry().is_none() {
            target.accepts(&pair.key).err()
        } else {
            None
        };
        let is_guarded = match (&pair.row, pair.source.entry()) {
            (Some(row), Some(source)) => {
                let other = row.digest.map(|digest| Digest(digest.0.map(|byte| !byte)));
                other.is_some_and(|other| policy.silent_change(row, source, other).is_some())
            }
            _ => false,
        };
        let differs = match (action, pair.source.entry(), pair.target.entry()) {
            (Some(Action::KeepDirectory), Some(source), Some(target)) => {
                let found = policy.within_window(&target.metadata, source.metadata.mtime);
                let target = Entry { metadata: found, ..target.clone() };
                Some(Differs::of(source, &target, pair.row.as_ref(), holds))
            }
            _ => None,
        };
        let existing = pair.target.entry().map(|target| &target.metadata);
        let unlisted = match (action, pair.source.entry(), pair.target.entry()) {
            (Some(Action::Adopt | Action::Record), Some(source), Some(target)) => {
                super::attributes::unlisted(source, target, sides.from, sides.to, policy.looks_for)
            }
            _ => None,
        };
        let decision = match unlisted {
            Some(_) => Ok(Decision::new(Action::UpdateMetadata, Reason::Metadata)),
            None => decision,
        };
        let wanted =
            pair.source.entry().map(|source| holds(&source.metadata, source.kind, existing));
        let wanted = unlisted.or(wanted);
        let barred_by = None;
        let attributes = [(sides.from, &pair.source), (sides.to as &dyn Source, &pair.target)];
        // What can't be read, a run reports.
        let attributes = attributes.map(|(side, seen)| {
            let found = seen.entry().and_then(|entry| side.inspect(entry).ok());
            found.map(|found| found.attributes.listed()).unwrap_or_default()
        });
        Explained {
            attributes,
            pair,
            copied_by,
            matched_rule,
            decision,
            barred_by,
            refused,
            is_guarded,
            wanted,
            differs,
            renamed_from: None,
        }
    }

    /// Adds a key that only the history in the manifest has.
    fn add_past_key(&self, explanation: &mut Explanation, sides: Listed<'_>) {
        let Some(past) = explanation.past.as_ref().filter(|_| explanation.keys.is_empty()) else {
            return;
        };
        let Some(latest) = past.lines.first() else { return };
        let key = latest.content.key.clone();
        let absent = || Seen::Absent;
        let pair = Pair { key, source: absent(), target: absent(), row: None, conflict: None };
        let explained = self.explained(pair, None, sides);
        explanation.keys.push(explained);
    }
}

/// Returns the notice about a temporary that belongs to no running run.
fn of_leftover(key: Key) -> Notice {
    if is_set_aside(key.name()) {
        Notice::SetAsideFound { key }
    } else {
        Notice::LeftoverFound { key }
    }
}

/// A row, and the id of its run if the state doesn't record it.
type RowOfRun = (Row, Option<RunId>);

/// Returns the state's rows of `keys`.
fn rows_of(keys: &[Key], state: &State) -> Result<Vec<RowOfRun>, Error> {
    let rows = keys.iter().filter_map(|key| state.row(key).transpose());
    rows.map(|row| row.map(|row| (row, None))).collect()
}

/// Filters the rows of `keys`.
fn of_keys(rows: Foreseen, keys: &[Key]) -> Result<Vec<RowOfRun>, Error> {
    rows.filter(|row| row.as_ref().map_or(true, |(row, _)| keys.contains(&row.key))).collect()
}

/// The published lines of single keys, oldest first.
struct Remembered {
    latest: Publication,
    lines: Vec<Published>,
}

impl Remembered {
    /// Returns the rows of `keys` that a run would take over.
    fn rows(&self, keys: &[Key]) -> Vec<RowOfRun> {
        let last = |key: &Key| self.lines.iter().rfind(|line| line.key == *key);
        let rows = keys.iter().filter_map(|key| last(key)?.row.clone());
        rows.map(|(row, run)| (row, Some(run))).collect()
    }
}

/// Reads what the target's manifest has of `keys`.
fn remembered(
    reader: &ManifestReader<'_>,
    latest: Publication,
    keys: &[Key],
) -> Result<(Remembered, Past), Error> {
    let published = trace(reader, &latest.head, keys)?;
    let since = latest.head.segments.first().map_or(latest.head.sequence, |base| base.sequence);
    let mut runs = HashMap::new();
    for publication in History::from(latest.clone(), reader.clone()) {
        // Rows of publications before the base are no longer kept.
        let Ok(Publication { head, .. }) = publication else { break };
        runs.insert(head.sequence, PastRun::from(&head));
        if head.sequence <= since {
            break;
        }
    }
    let lines = published
        .iter()
        .rev()
        .map(|line| PastLine { by: runs.get(&line.sequence).cloned(), content: line.clone() });
    let past = Past { lines: lines.collect(), since, since_run: runs.get(&since).cloned() };
    Ok((Remembered { latest, lines: published }, past))
}
