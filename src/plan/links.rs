//! Names of hard-linked files: one of them is carried out like any other entry, the rest wait until
//! that is in its place.
//!
//! Only names take part about which something changed ([`Policy::links_changed`]), for which there
//! is something to do that gives a file with several names in the target a new inode, or which are
//! not names of one file in the target: all others are as they were recorded. A name that is added
//! to a file or taken from it changes the ctime of all others, so that they take part together.
//!
//! [`Policy::links_changed`]: crate::compare::Policy::links_changed

use super::{Planning, spool_error};
use crate::backend::Precondition;
use crate::compare::{HardLinks, Seen};
use crate::manifest::Row;
use crate::model::{Action, Cause, Decision, Entry, Error, GroupId, LinkGroup, Reason};
use crate::spool::{Sorter, Spool, SpoolReader};
use std::collections::HashMap;
use std::path::Path;

/// The most files whose other names are awaited at a time, in some 6 MiB. Names of further files
/// are each carried out by itself, and linked afterwards.
const LEADERS: usize = (1 << 18) / 8 * 7;
/// In bytes: as much of each sorter stays in memory.
const SORTER_MEMORY: usize = 1 << 20;
/// In bytes: as much of the names that wait for the end of the plan stays in memory.
const SPOOL_MEMORY: usize = 256 << 10;

/// The names that wait until all steps are done.
#[derive(Debug)]
pub struct Links {
    /// Names that are to become names of a file which the target has by then, by the file.
    pub followers: Sorter,
    /// Names that are names of a file with several in the target, by that file.
    pub shared: Sorter,
    /// How many there are of both.
    pub count: u64,
}

/// A name that waits for another name of the same file.
#[derive(Debug, PartialEq, Eq)]
pub struct Follower {
    /// Which file.
    pub file: GroupId,
    /// The source's entry.
    pub source: Entry,
    /// The target's entry, if it has one of the same kind.
    pub target: Option<Entry>,
    /// What is in its place.
    pub place: Precondition,
    /// Whether it probably isn't a name of the right file yet.
    pub is_foreseen: bool,
}

/// A name in the target of a file with several names there.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedName {
    /// Which file of the target.
    pub file: GroupId,
    /// What the plan makes of the name.
    pub role: Role,
    /// The source's entry.
    pub source: Entry,
    /// The target's entry, as it was listed.
    pub target: Entry,
}

/// What the plan makes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The source's file has no other name.
    Lone,
    /// It is carried out, for other names to follow.
    Leader,
    /// It follows.
    Follower,
    /// It follows if another name of the file is in the target, and is carried out if not.
    Undecided,
}

/// What becomes of an entry for now.
pub(super) enum Held {
    /// This is carried out.
    Now(Decision),
    /// It waits until all steps are done.
    Waits,
    /// It waits for the end of the plan, which may carry it out.
    Undecided,
    /// The target can't have it.
    Refused(Cause),
}

/// What was met of a file.
struct Leader {
    /// Names that were not met yet.
    left: u32,
    lead: Lead,
}

/// What other names of a file follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// No name so far.
    Nothing,
    /// A name that stands in the target, no matter which.
    Standing,
    /// A name that is carried out or stands in the target: the target's file, if it stays and has
    /// several names.
    Name(Option<GroupId>),
}

impl Lead {
    /// Returns whether the leading name is one of this file of the target, as it is now.
    fn is_of(self, file: Option<GroupId>) -> bool {
        file.is_some() && self == Self::Name(file)
    }
}

impl Leader {
    fn first(group: LinkGroup, lead: Lead) -> Self {
        Self { left: group.names.checked_sub(1).unwrap_or(u32::MAX), lead }
    }
}

/// What a plan knows of files with several names.
pub(super) struct LinkPlan {
    leaders: HashMap<GroupId, Leader>,
    links: Links,
    /// First names of files which the target lacks: a later name may be there already.
    undecided: Undecided,
}

/// Names that wait for the end of the plan.
enum Undecided {
    Collected(Spool),
    Read(SpoolReader),
}

impl LinkPlan {
    pub(super) fn new(spool_dir: &Path) -> Self {
        let undecided = Undecided::Collected(Spool::new(spool_dir, SPOOL_MEMORY));
        Self { leaders: HashMap::new(), links: Links::new(spool_dir), undecided }
    }

    pub(super) fn finish(self) -> Links {
        self.links
    }
}

impl Links {
    /// Makes the sorters, whose files are in `spool_dir`.
    pub fn new(spool_dir: &Path) -> Self {
        let sorter = || Sorter::new(spool_dir, SORTER_MEMORY);
        Self { followers: sorter(), shared: sorter(), count: 0 }
    }

    /// Adds a name that follows.
    ///
    /// # Errors
    /// Fails if the sorter's disk can't be written.
    pub fn follow(&mut self, follower: &Follower) -> std::io::Result<()> {
        let record = self.encode(follower);
        self.followers.push(&record)
    }

    /// Adds the names of another plan.
    pub(super) fn append(&mut self, other: Self) -> std::io::Result<()> {
        self.count += other.count;
        for (from, to) in [(other.followers, &mut self.followers), (other.shared, &mut self.shared)]
        {
            let mut names = from.finish()?;
            while let Some(record) = names.next()? {
                to.push(record)?;
            }
        }
        Ok(())
    }

    fn encode(&mut self, follower: &Follower) -> Vec<u8> {
        let mut record = self.record(follower.file);
        record.push(match follower.place {
            Precondition::Absent => 0,
            Precondition::Leaf | Precondition::Object(_) => 1,
            Precondition::EmptyDirectory => 2,
        });
        record.push(u8::from(follower.is_foreseen));
        push_entry(&mut record, &follower.source);
        if let Some(target) = &follower.target {
            push_entry(&mut record, target);
        }
        record
    }

    fn share(&mut self, shared: &SharedName) -> std::io::Result<()> {
        let mut record = self.record(shared.file);
        record.push(match shared.role {
            Role::Lone => 0,
            Role::Leader => 1,
            Role::Follower | Role::Undecided => 2,
        });
        push_entry(&mut record, &shared.source);
        push_entry(&mut record, &shared.target);
        self.shared.push(&record)
    }

    /// Begins a record, which sorts by the file and then as it came.
    fn record(&mut self, file: GroupId) -> Vec<u8> {
        let mut record = file.0.to_be_bytes().to_vec();
        record.extend_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        record
    }
}

fn push_entry(record: &mut Vec<u8>, entry: &Entry) {
    let encoded = entry.encode();
    record.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    record.extend_from_slice(&encoded);
}

fn take_entry(record: &mut &[u8]) -> Option<Entry> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    let (encoded, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *record = rest;
    Entry::decode(encoded)
}

fn take_file(record: &[u8]) -> Option<(GroupId, &[u8])> {
    let (file, rest) = record.split_first_chunk::<8>()?;
    Some((GroupId(u64::from_be_bytes(*file)), rest.get(8..)?))
}

impl Follower {
    /// Decodes a record of [`Links::followers`]; `None` for anything else.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let (file, rest) = take_file(record)?;
        let (&[place, is_foreseen], mut rest) = rest.split_first_chunk::<2>()?;
        let source = take_entry(&mut rest)?;
        let target = if rest.is_empty() { None } else { Some(take_entry(&mut rest)?) };
        let place = match place {
            0 => Precondition::Absent,
            1 => Precondition::Leaf,
            2 => Precondition::EmptyDirectory,
            _ => return None,
        };
        rest.is_empty().then_some(Self {
            file,
            source,
            target,
            place,
            is_foreseen: is_foreseen == 1,
        })
    }
}

impl SharedName {
    /// Decodes a record of [`Links::shared`]; `None` for anything else.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let (file, rest) = take_file(record)?;
        let (&role, mut rest) = rest.split_first()?;
        let (source, target) = (take_entry(&mut rest)?, take_entry(&mut rest)?);
        let role = match role {
            0 => Role::Lone,
            1 => Role::Leader,
            2 => Role::Follower,
            _ => return None,
        };
        rest.is_empty().then_some(Self { file, role, source, target })
    }
}

impl LinkPlan {
    /// Holds back a leaf that is another name of a file which is carried out already.
    ///
    /// # Errors
    /// Fails if the record can't be read, or a sorter's disk can't be written.
    pub(super) fn hold(
        &mut self,
        with: &Planning<'_>,
        source: &Seen,
        target: &Seen,
        row: Option<&Row>,
        (decision, place): (Decision, Precondition),
    ) -> Result<Held, Error> {
        let policy = with.policy;
        let Some(source) = source.entry() else { return Ok(Held::Now(decision)) };
        let existing = target.entry().filter(|target| target.kind == source.kind);
        let file = existing.and_then(Entry::group).map(|group| group.id);
        let is_changed = policy.links_changed(source, existing, row);
        let is_due = file.is_some() && decision.action != Action::Keep;
        if policy.hard_links != HardLinks::Made
            || !puts_in_place(decision)
            || !is_changed && !is_due && self.stands_together(source, file)
        {
            return Ok(Held::Now(decision));
        }
        // What is due although nothing changed is due for each name, and done for the first.
        let may_stand = is_changed;
        let (role, is_foreseen) = self.role(with, source, file, decision, may_stand)?;
        if target.entry().is_none()
            && matches!(role, Role::Follower | Role::Undecided)
            && let Err(cause) = (with.accepts)(&source.key)
        {
            return Ok(Held::Refused(cause));
        }
        if let (Some(file), Some(target)) = (file, existing) {
            let (source, target) = (source.clone(), target.clone());
            let shared = SharedName { file, role, source, target };
            self.links.share(&shared).map_err(spool_error)?;
        }
        if let Some(group) = source.group()
            && (role != Role::Leader || !self.leaders.contains_key(&group.id))
        {
            // One that is carried out is in its place by then.
            let place = if role == Role::Leader { Precondition::Leaf } else { place };
            let (source, target) = (source.clone(), existing.cloned());
            let follower = Follower { file: group.id, source, target, place, is_foreseen };
            let record = self.links.encode(&follower);
            match &mut self.undecided {
                Undecided::Collected(names) if role == Role::Undecided => names.push(&record),
                _ => self.links.followers.push(&record),
            }
            .map_err(spool_error)?;
        }
        match role {
            Role::Follower => return Ok(Held::Waits),
            Role::Undecided => return Ok(Held::Undecided),
            Role::Lone | Role::Leader => {}
        }
        Ok(Held::Now(match decision {
            // Which file it is a name of has to be recorded.
            Decision { action: Action::Keep, reason } => Decision::new(Action::Record, reason),
            decision => decision,
        }))
    }

    /// Returns what becomes of a name, and whether it probably has to be linked. `may_stand` says
    /// whether a name that stands as it was recorded may be what it is linked to.
    fn role(
        &mut self,
        with: &Planning<'_>,
        source: &Entry,
        target: Option<GroupId>,
        Decision { action, reason }: Decision,
        may_stand: bool,
    ) -> Result<(Role, bool), Error> {
        let Some(group) = source.group() else { return Ok((Role::Lone, false)) };
        let is_new = reason == Reason::New;
        let stays = !matches!(
            action,
            Action::Copy { unless: None } | Action::MakeLink | Action::MakeSpecial
        );
        if let Some(leader) = self.leaders.get_mut(&group.id) {
            leader.left = leader.left.saturating_sub(1);
            let lead = leader.lead;
            let is_led = lead != Lead::Nothing;
            if !is_led && !is_new {
                leader.lead = Lead::Name(target.filter(|_| stays));
            }
            if leader.left == 0 && leader.lead != Lead::Nothing {
                self.leaders.remove(&group.id);
            }
            return Ok(if is_led || is_new {
                (Role::Follower, !lead.is_of(target))
            } else {
                (Role::Leader, false)
            });
        }
        // A name that doesn't take part may be in the target already.
        let stands = may_stand && (with.stands_linked)(source)?;
        let has_room = self.leaders.len() < LEADERS;
        let is_led = stands || !has_room || !is_new || with.is_first_contact;
        if has_room {
            let lead = match (stands, is_led) {
                (true, _) => Lead::Standing,
                (false, true) => Lead::Name(target.filter(|_| stays)),
                (false, false) => Lead::Nothing,
            };
            self.leaders.insert(group.id, Leader::first(group, lead));
        }
        Ok(match (stands, is_led) {
            (true, _) => (Role::Follower, true),
            (false, true) => (Role::Leader, false),
            (false, false) => (Role::Undecided, true),
        })
    }

    /// Lets other names follow one that stands as it was recorded. Returns false instead if an
    /// earlier name of the source's file is one of another file in the target.
    fn stands_together(&mut self, source: &Entry, file: Option<GroupId>) -> bool {
        let Some(group) = source.group() else { return true };
        let lead = Lead::Name(file);
        let Some(leader) = self.leaders.get_mut(&group.id) else {
            if self.leaders.len() < LEADERS {
                self.leaders.insert(group.id, Leader::first(group, lead));
            }
            return true;
        };
        if matches!(leader.lead, Lead::Name(_)) && !leader.lead.is_of(file) {
            return false;
        }
        *leader = Leader { left: leader.left.saturating_sub(1), lead };
        if leader.left == 0 {
            self.leaders.remove(&group.id);
        }
        true
    }

    /// Returns the next name that is carried out after all, because the target has no other of its
    /// file. All others must have been held.
    ///
    /// # Errors
    /// Fails if a spool's disk can't be written or read.
    pub(super) fn next_undecided(&mut self) -> Result<Option<Follower>, Error> {
        if let Undecided::Collected(names) = &mut self.undecided {
            let names = std::mem::replace(names, Spool::new(Path::new(""), 0));
            self.undecided = Undecided::Read(names.into_reader().map_err(spool_error)?);
        }
        let Undecided::Read(names) = &mut self.undecided else { return Ok(None) };
        while let Some(record) = names.next().map_err(spool_error)? {
            let name = Follower::decode(record).ok_or_else(damaged)?;
            match self.leaders.get_mut(&name.file) {
                Some(leader) if leader.lead == Lead::Nothing => {
                    leader.lead = Lead::Name(None);
                    return Ok(Some(name));
                }
                _ => self.links.follow(&name).map_err(spool_error)?,
            }
        }
        Ok(None)
    }
}

/// Returns whether a decision leaves the entry's own content and metadata in the target.
fn puts_in_place(decision: Decision) -> bool {
    match decision.action {
        Action::Copy { .. }
        | Action::MakeLink
        | Action::MakeSpecial
        | Action::Check(_)
        | Action::Look
        | Action::CompareTag { .. }
        | Action::UpdateMetadata
        | Action::UpdateRights
        | Action::Adopt
        | Action::Record => true,
        Action::Keep => decision.reason == Reason::Unchanged,
        _ => false,
    }
}

fn damaged() -> Error {
    spool_error(std::io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Extras, Key, Metadata};

    #[test]
    fn names_come_back_by_file_and_as_they_were_pushed() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = LinkPlan::new(dir.path()).finish();
        let entry = |key: &str| {
            let group = Some(LinkGroup { id: GroupId(7), names: 2 });
            let extras = Extras { group, ..Extras::default() }.boxed();
            let key = Key::new(key.as_bytes());
            Entry { extras, ..Entry::new_file(key, 3, Metadata::default()) }
        };
        let follower = |file, key: &str, place| Follower {
            file: GroupId(file),
            source: entry(key),
            target: (place == Precondition::Leaf).then(|| entry(key)),
            place,
            is_foreseen: place == Precondition::Absent,
        };
        let names = [
            follower(2, "z", Precondition::Absent),
            follower(2, "a", Precondition::Leaf),
            follower(1, "m", Precondition::EmptyDirectory),
        ];
        let shared =
            |role| SharedName { file: GroupId(9), role, source: entry("k"), target: entry("k") };
        let roles = [Role::Follower, Role::Lone, Role::Leader];
        for name in &names {
            links.follow(name).unwrap();
        }
        for role in roles {
            links.share(&shared(role)).unwrap();
        }
        assert_eq!(links.count, 6);
        let mut sorted = links.followers.finish().unwrap();
        for at in [2, 0, 1] {
            let record = sorted.next().unwrap().unwrap();
            assert_eq!(Follower::decode(record).as_ref(), Some(&names[at]));
            assert_eq!(Follower::decode(&record[..record.len() - 1]), None);
        }
        let mut sorted = links.shared.finish().unwrap();
        for role in roles {
            let record = sorted.next().unwrap().unwrap();
            assert_eq!(SharedName::decode(record), Some(shared(role)));
        }
    }
}
