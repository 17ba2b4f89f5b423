//! The decision on a key, and its consequences, in sentences.

use super::bytes;
use crate::compare::{Conflict, Seen};
use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::stamp::{Evidence, Inode};
use crate::model::{Action, Cause, Check, Decision, Entry, EntryKind, Reason, Stamp};
use crate::plan::Differs;
use crate::report::flags;
use crate::report::format::{count, counted, size};
use crate::session::{Explained, MaxDelete, MirrorOptions};

/// Returns the name of the decision, as in a dry run, and the reason.
pub(super) fn decision(explained: &Explained) -> (&'static str, String) {
    if is_left_out(explained) && explained.action() != Some(Action::Delete) {
        return ("keep", "left out by the filter".to_owned());
    }
    if explained.refused.is_some() {
        return ("fail", "the target can't hold it".to_owned());
    }
    let reason = match &explained.decision {
        Err(_) => "cannot be mirrored".to_owned(),
        Ok(Decision { action: Action::KeepDirectory, .. }) => match explained.differs {
            Some(Differs::Yes | Differs::Perhaps) => Reason::Metadata.to_string(),
            Some(Differs::NotKept) => {
                Cause::NotKept("its modification time".to_owned()).to_string()
            }
            Some(Differs::No | Differs::Touched) | None => Reason::Unchanged.to_string(),
        },
        Ok(Decision { reason, .. }) => flags::reason(*reason).into_owned(),
    };
    (action(explained), reason)
}

/// Returns the name of an action, in lines and records.
fn action(explained: &Explained) -> &'static str {
    let Some(action) = explained.action() else { return "fail" };
    match action {
        Action::KeepDirectory if explained.differs == Some(Differs::Yes) => "update metadata",
        Action::KeepDirectory if explained.differs == Some(Differs::Perhaps) => "check",
        Action::KeepDirectory if explained.differs == Some(Differs::NotKept) => "fail",
        Action::AfterDeletion if explained.pair.source.entry().is_some_and(is_link) => "make link",
        Action::HashSurplus => "check",
        action => action.word(),
    }
}

fn is_imported(row: &Row) -> bool {
    row.source.evidence == Evidence::Tag(None)
}

fn is_link(entry: &Entry) -> bool {
    entry.kind == EntryKind::Symlink
}

fn is_left_out(explained: &Explained) -> bool {
    explained.matched_rule.as_ref().is_some_and(|rule| rule.excludes)
}

/// Describes what a run would do, one sentence per line.
pub(super) fn consequences(explained: &Explained, options: &MirrorOptions) -> Vec<String> {
    let pair = &explained.pair;
    let (source, target) = (pair.source.entry(), pair.target.entry());
    if let Some(cause) = &explained.refused {
        return vec![format!("would be reported as failed: {}", flags::cause(cause))];
    }
    if is_left_out(explained) && explained.action() != Some(Action::Delete) {
        let stays = if target.is_some() { "; what the target has of it stays" } else { "" };
        return vec![format!("would not be looked at{stays}")];
    }
    let mut sentences = vec![what(explained, options)];
    if let Some(above) = &explained.barred_by {
        sentences.push(format!(
            "because of {above}, which stays or is a file on one side: explain that key"
        ));
    }
    let reads_source = match explained.action() {
        Some(Action::Copy { unless }) => unless.is_some(),
        Some(Action::Check(check)) => check.reads_source(),
        _ => false,
    };
    if explained.is_guarded && reads_source {
        sentences.push(
            "if the source's content is not the recorded one although its size and times are, it \
             would be reported as failed (a disk may be failing), and the target's copy stays"
                .to_owned(),
        );
    }
    if explained.action() == Some(Action::Delete)
        && let Some(delete) = &options.delete
    {
        let most = match delete.max {
            MaxDelete::Count(most) => counted(most, "entry", "entries"),
            MaxDelete::Percent(share) => format!("{share}% of the target's entries"),
        };
        sentences.push(format!(
            "all deletions come last, and are refused together: when there are more than {most} \
             (--max-delete), the source is empty, or its root is another one; a single key doesn't \
             show that"
        ));
        if pair.key.is_directory() {
            sentences.push(
                "a directory goes only if nothing in it stays, whatever keeps that".to_owned(),
            );
        }
        sentences.push(if delete.despite_errors {
            "they are done even if a copy fails (--delete-despite-errors), except where that copy \
             collides with one"
                .to_owned()
        } else {
            "they wait for the next run if a copy fails (--delete-despite-errors: they don't)"
                .to_owned()
        });
    }
    if source.is_some_and(|entry| entry.completeness == Completeness::ListingOnly) {
        sentences
            .push("the store lists only size and tag; reading the object shows the rest".into());
    }
    sentences
}

#[expect(clippy::too_many_lines, reason = "a sentence for each action")]
fn what(explained: &Explained, options: &MirrorOptions) -> String {
    let pair = &explained.pair;
    let (source, target) = (pair.source.entry(), pair.target.entry());
    let Decision { action, reason } = match &explained.decision {
        Ok(decision) => *decision,
        Err(cause) => return format!("would be reported as failed: {}", flags::cause(cause)),
    };
    let amount = size(bytes(source));
    match action {
        Action::Copy { unless: None } | Action::Mend => {
            format!("would copy {amount}: {}", why(explained))
        }
        Action::Copy { unless: Some(_) } => format!(
            "would read {amount} of the source, since {}: content that is the recorded one stays, and \
             only metadata is set; any other is copied",
            why(explained)
        ),
        Action::Check(check) => {
            let sides = match check {
                Check::Both { .. } | Check::EachOther => {
                    format!("both sides ({} in all)", size(bytes(source) + bytes(target)))
                }
                Check::Source { .. } => format!("the source ({amount})"),
                Check::Target { .. } => format!("the target ({})", size(bytes(target))),
            };
            let same = match check.expected() {
                Some(_) => "if it is the recorded content",
                None => "if both have the same content",
            };
            format!(
                "would read {sides}, since {}: {same}, only metadata is set where it differs, and the \
                 record refreshed; else it is copied",
                why(explained)
            )
        }
        Action::Look => format!(
            "would ask the store what it keeps with the object, since {}: depending on the answer, \
             it is copied, taken as it is, or left alone",
            why(explained)
        ),
        Action::CompareTag { read } => {
            let (file, other) = match read {
                Side::Source => ("source", "target"),
                Side::Target => ("target", "source"),
            };
            format!(
                "would read the {file}'s file: if its MD5 is the tag that the {other}'s store lists, the \
                 target's copy is taken as it is; else it is copied"
            )
        }
        Action::HashSurplus => format!(
            "would read the target ({}), which alone has it, since {}: if it is the recorded \
             content, its row gets the digest; else it is reported as failed",
            size(bytes(target)),
            why(explained)
        ),
        Action::Adopt => {
            "would take the target's copy as it is, and record it without reading it".to_owned()
        }
        Action::UpdateMetadata | Action::MendMetadata { .. } => {
            format!("would set {}; its content stays", differences(explained))
        }
        Action::UpdateRights => format!(
            "would set {}; its content and time stay, because --size-only compares only sizes",
            differences(explained)
        ),
        Action::Record => "would record the target's entry as it is, and do no more".to_owned(),
        Action::MakeLink => format!("would make the symbolic link: {}", why(explained)),
        Action::MakeSpecial => format!("would make the special file: {}", why(explained)),
        Action::Link => format!("would be made a hard link: {}", why(explained)),
        Action::Rename => {
            let from = explained.renamed_from.as_ref().map(ToString::to_string);
            let is_directory = source.is_some_and(|entry| entry.kind == EntryKind::Directory);
            if is_directory {
                return format!(
                    "would rename \"{}\" in the target, under which it was recorded, and compare what \
                     is in it then; if something of that stays there, make the directory",
                    from.unwrap_or_default()
                );
            }
            format!(
                "would read {amount} of the source, and if that is the recorded content, rename \"{}\" in \
                 the target, under which it was recorded; else copy it",
                from.unwrap_or_default()
            )
        }
        Action::MakeDirectory => {
            format!("would make the directory, and set its metadata last: {}", why(explained))
        }
        Action::KeepDirectory => match explained.differs {
            Some(Differs::Yes) => {
                format!("would set {}, when all in it is done", differences(explained))
            }
            Some(Differs::Perhaps) => {
                "would ask the store for its metadata when all in it is done, and set it where it \
                 differs"
                    .to_owned()
            }
            Some(Differs::NotKept) => {
                "would fail: the target can't keep its modification time".to_owned()
            }
            Some(Differs::No | Differs::Touched) | None => {
                "would do nothing, unless something in it changes; then its time is set again"
                    .to_owned()
            }
        },
        Action::Delete => "would delete it from the target".to_owned(),
        Action::RemoveSetAside => {
            "would delete it once all is copied that lies in the directory of its name".to_owned()
        }
        Action::Forget => "would drop its row: neither side has it any longer".to_owned(),
        Action::AfterDeletion => format!(
            "would copy {amount} once all that the directory in its place holds is deleted; if \
             deletions are refused, it fails"
        ),
        Action::Sweep => "would remove it: a killed run left it".to_owned(),
        Action::Skip => format!("would leave it alone: {}", spared(reason)),
        Action::Keep => kept(reason, explained, options),
    }
}

/// Describes why nothing would be done.
fn kept(reason: Reason, explained: &Explained, options: &MirrorOptions) -> String {
    match reason {
        Reason::Extra if explained.pair.key.is_root() => "would do nothing".to_owned(),
        Reason::Extra => "would do nothing: without --delete what only the target has stays".into(),
        Reason::Gone => "would do nothing: nothing is there, and nothing is recorded".to_owned(),
        Reason::SizeExcluded | Reason::AgeExcluded | Reason::Exists => {
            format!("would leave it alone: {}", spared(reason))
        }
        Reason::NotListed => {
            "would do nothing: it stays, since the list doesn't name it with everything in it"
                .into()
        }
        Reason::Unknown => {
            "would do nothing: what could not be listed is neither copied nor deleted".to_owned()
        }
        Reason::SameSize if options.policy.size_only => {
            "would do nothing: both sides have this size, and --size-only compares nothing else"
                .into()
        }
        _ if explained.pair.row.is_some() => {
            "would do nothing: both sides are as they were recorded".to_owned()
        }
        _ => "would do nothing".to_owned(),
    }
}

/// Describes why an entry is left alone.
fn spared(reason: Reason) -> &'static str {
    match reason {
        Reason::SizeExcluded => "--min-size and --max-size leave out files of this size",
        Reason::AgeExcluded => "--min-age and --max-age leave out files of this age",
        Reason::NotExisting => "the target lacks it, and --existing makes nothing new",
        Reason::UnsafeLink => "it leads out of the source, and --safe-links leaves such links out",
        Reason::NoSpecials => "it is a special file, and --no-specials leaves these out",
        Reason::NewerInTarget => "it is newer in the target, and --update keeps newer files",
        Reason::Exists => "the target has it, and --ignore-existing keeps what is there",
        Reason::NoLinks => "every run leaves it out, and counts it",
        _ => "the options say so",
    }
}

/// Describes the evidence for a reason, as half a sentence.
fn why(explained: &Explained) -> String {
    let is_recorded = explained.pair.row.is_some();
    let than = if is_recorded { "the recorded one" } else { "the target's" };
    let Some(reason) = explained.reason() else { return String::new() };
    match reason {
        Reason::New => "the target lacks it".to_owned(),
        Reason::Size => format!("the source's size differs from {than}"),
        Reason::Mtime => format!("the source's mtime differs from {than}"),
        Reason::Tag => "the source's tag differs from the recorded one".to_owned(),
        Reason::SameSizeUnseen => "nothing is recorded, and both sides have this size".to_owned(),
        Reason::Kind => match (&explained.pair.conflict, explained.pair.target.entry()) {
            (Some(Conflict::DirectoryOverLeaf(leaf)), _) => {
                format!("it takes the place of a {}", leaf.kind)
            }
            (Some(Conflict::LeafOverDirectory { empty: true }), _) => {
                "it takes the place of an empty directory".to_owned()
            }
            (_, Some(target)) => format!("it takes the place of a {}", target.kind),
            _ => "the target has something of another type".to_owned(),
        },
        Reason::LinkText => "the target's link has another text".to_owned(),
        Reason::DeviceNumber => "the device's number differs".to_owned(),
        Reason::HardLink => "the target has another name of its file".to_owned(),
        Reason::SourceDoubtful if explained.pair.row.as_ref().is_some_and(|row| row.source_racy) => {
            "the source's recorded stamp was taken within a clock tick of a change".to_owned()
        }
        Reason::SourceDoubtful if explained.pair.row.as_ref().is_some_and(is_imported) => {
            "its digest comes from a list, and of the source's stamp nothing is recorded".to_owned()
        }
        Reason::SourceDoubtful => {
            "the source's size and mtime are the recorded ones, ctime or inode are not".to_owned()
        }
        Reason::TargetDoubtful => {
            "the target's size and mtime are the recorded ones, ctime or inode are not".to_owned()
        }
        Reason::TargetDrift => {
            "the target's entry is not the one that was put there: its size, mtime or tag is another"
                .to_owned()
        }
        Reason::Checksum => "--checksum asks for it".to_owned(),
        other => other.to_string(),
    }
}

/// Names the metadata that differs.
fn differences(explained: &Explained) -> String {
    let (Some(wanted), Some(target)) = (&explained.wanted, explained.pair.target.entry()) else {
        return "its metadata".to_owned();
    };
    let found = &target.metadata;
    let names: Vec<_> = [
        ("mode", wanted.mode != found.mode && target.kind != EntryKind::Symlink),
        ("owner", wanted.uid != found.uid),
        ("group", wanted.gid != found.gid),
        ("mtime", wanted.mtime != found.mtime),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    if names.is_empty() { "its metadata".to_owned() } else { names.join(", ") }
}

/// Describes what one side has, on one line.
pub(super) fn entry(entry: &Entry) -> String {
    let mut parts = vec![match entry.completeness {
        Completeness::ListingOnly if entry.kind == EntryKind::File => "object".to_owned(),
        Completeness::Implicit => "directory, because keys lie below it".to_owned(),
        _ => entry.kind.to_string(),
    }];
    if let Some(link) = &entry.link {
        parts.push(format!("to \"{}\"", Escaped(link)));
    }
    if entry.kind == EntryKind::File {
        parts.push(exact(entry.stamp.size));
    }
    if let Some(group) = entry.group().filter(|group| group.names > 1) {
        parts.push(format!("one of {} names", group.names));
    }
    match entry.stamp.evidence {
        Evidence::Inode(Inode { mtime, ctime, number }) => {
            parts.push(format!("mtime {mtime}"));
            parts.push(format!("ctime {ctime}"));
            parts.extend(number.map(|number| format!("inode {number}")));
        }
        Evidence::Tag(Some(tag)) => parts.push(format!("tag {tag}")),
        Evidence::Tag(None) => {}
    }
    if entry.completeness == Completeness::Full {
        let metadata = &entry.metadata;
        parts.push(format!("mode {:04o}", metadata.mode));
        parts.push(format!("owner {}", metadata.uid));
        parts.push(format!("group {}", metadata.gid));
        if entry.stamp.inode().is_none() {
            parts.push(format!("mtime {}", metadata.mtime));
        }
    }
    parts.join(", ")
}

/// Lists which fields of a stamp differ from the recorded ones, and which don't.
pub(super) fn stamps(found: &Stamp, recorded: &Stamp) -> String {
    let mut same = Vec::new();
    let mut other = Vec::new();
    for Field { name, recorded, found } in fields(found, recorded) {
        if recorded == found {
            same.push(name);
        } else {
            other.push(format!("{name} {recorded} -> {found}"));
        }
    }
    match (other.is_empty(), same.is_empty()) {
        (true, _) => format!("{} the same", same.join(", ")),
        (false, true) => other.join(", "),
        (false, false) => format!("{}; {} the same", other.join(", "), same.join(", ")),
    }
}

/// One field of two stamps.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) recorded: String,
    pub(super) found: String,
}

/// Pairs the fields of two stamps.
pub(super) fn fields(found: &Stamp, recorded: &Stamp) -> Vec<Field> {
    let field = |name, recorded: String, found: String| Field { name, recorded, found };
    let mut fields = vec![field("size", recorded.size.to_string(), found.size.to_string())];
    match (recorded.evidence, found.evidence) {
        (Evidence::Inode(before), Evidence::Inode(now)) => {
            fields.push(field("mtime", before.mtime.to_string(), now.mtime.to_string()));
            fields.push(field("ctime", before.ctime.to_string(), now.ctime.to_string()));
            if let Some((before, now)) = before.number.zip(now.number) {
                fields.push(field("inode", before.to_string(), now.to_string()));
            }
        }
        (Evidence::Tag(before), Evidence::Tag(now)) => {
            let text = |tag: Option<crate::model::ETag>| {
                tag.map_or("none".to_owned(), |tag| tag.to_string())
            };
            fields.push(field("tag", text(before), text(now)));
        }
        // The kinds of place differ.
        _ => fields.push(field("stamp", "another kind's".to_owned(), "this kind's".to_owned())),
    }
    fields
}

/// Formats a size for people, with the exact number of bytes if that says more.
fn exact(bytes: u64) -> String {
    if bytes < 1024 { size(bytes) } else { format!("{} ({} bytes)", size(bytes), count(bytes)) }
}

/// Returns the word in records for what a side has.
pub(super) fn seen(seen: &Seen) -> &'static str {
    match seen {
        Seen::Absent => "absent",
        Seen::Unknown => "unknown",
        Seen::Present(_) => "present",
    }
}

/// Returns the cause of a failure, if the decision is that the entry fails.
pub(super) fn cause(explained: &Explained) -> Option<&Cause> {
    explained.refused.as_ref().or(explained.decision.as_ref().err())
}
