//! All notices: their severity, code, data and text.

use super::follows::{Instead, Kept, Overtaken, Readers, Remembered, Severity};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::{Features, Hint, Key, RunId, Setting, serial};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Makes the enum and, for each variant, its severity, code, data and text. The text is parts of a
/// [`Hint`], so that settings in it stay data.
macro_rules! notices {
    ($(
        $(#[$doc:meta])*
        $severity:ident $code:literal $name:ident
        $({ $($(#[$attribute:meta])* $field:ident: $type:ty,)* })? => [$($words:expr),+ $(,)?],
    )*) => {
        /// Something worth knowing beside the outcomes of entries.
        ///
        /// It displays as a sentence that names settings by their [codes](Setting::code);
        /// [`Notice::say`] names them otherwise.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "code", rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Notice {
            $($(#[$doc])* $name $({ $($(#[$attribute])* $field: $type,)* })?,)*
        }

        impl Notice {
            /// All codes, in the order of the variants.
            pub const CODES: &[&str] = &[$($code,)*];

            /// Returns the stable code.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// Returns the severity.
            pub fn severity(&self) -> Severity {
                match self { $(Self::$name { .. } => Severity::$severity,)* }
            }

            /// Returns the text.
            pub(super) fn words(&self) -> Hint {
                match self { $(Self::$name $({ $($field),* })? => hint![$($words),+],)* }
            }
        }
    };
}

notices! {
    /// The capabilities of the target's file system could not be probed.
    Note "target_untried" TargetUntried {
        /// Why not.
        cause: String,
    } => [format!("the target's file system could not be tried: {cause}")],
    /// The store has no conditional writes, so that its lock can't exclude a second run.
    Note "lock_without_conditions" LockWithoutConditions => [
        "the store has no conditional writes: nothing keeps a second run out of the target while \
         this one goes on"
    ],
    /// The target's file system has no locks: the content of a file serves as one.
    Note "lock_by_content" LockByContent => [
        "the target's file system has no locks: only what \".vidimus/lock\" says keeps a second \
         run out of the target while this one goes on"
    ],
    /// The lock of a run that was killed was taken over.
    Note "lock_taken_over" LockTakenOver {
        /// The run that held it.
        holder: String,
    } => [format!("took over the lock of a run that was killed: {holder}")],
    /// The lock could not be released; the next run takes it over.
    Note "lock_not_released" LockNotReleased {
        /// Why not.
        cause: String,
    } => [cause.clone()],
    /// A directory that was made for a run could not be removed when the run failed before it began.
    Note "directory_stays" DirectoryStays {
        /// Why not.
        cause: String,
    } => [format!("an empty directory that was made for this run stays: {cause}")],
    /// The entries could not be counted beside the run, so that its duration is hard to estimate.
    Note "not_counted_ahead" NotCountedAhead {
        /// Why not.
        cause: String,
    } => [format!(
        "the time that is left is estimated without a count of what there is to do: cannot start a \
         thread: {cause}"
    )],
    /// Another run is writing to the target.
    Note "target_in_use" TargetInUse {
        /// The run that writes.
        holder: String,
    } => [format!(
        "the target is being written to by {holder}: files that it has not published yet are missing \
         here, and its temporaries are not leftovers"
    )],
    /// Leftovers of a killed run in the target could not be removed.
    Note "leftovers_stay" LeftoversStay {
        /// Why not.
        cause: String,
    } => [format!("leftovers of a killed run could not be removed: {cause}")],
    /// Leftovers of a killed `put` could not be removed.
    Note "streams_stay" StreamsStay {
        /// Why not.
        cause: String,
    } => [format!("leftovers of a killed put could not be removed: {cause}")],

    /// The state of the target could not be used.
    Warning "state_lost" StateLost {
        /// The file that the damaged state was renamed to; `None` if it was empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        set_aside: Option<String>,
        /// What is done instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead: Option<Instead>,
    } => [
        match set_aside {
            Some(aside) => {
                format!("the state of this target was damaged, and was put aside as \"{aside}\"")
            }
            None => "the state of this target was empty".to_owned(),
        },
        behind(": ", instead.as_ref()),
    ],
    /// The state of the target is damaged; a dry run leaves it as it is.
    Note "state_damaged" StateDamaged => [
        "the state of this target is damaged: a run would put it aside, and use the manifest \
         published in the target, or compare everything"
    ],
    /// The state of the target is damaged; the manifest in the target is used instead.
    Warning "state_replaced" StateReplaced {
        /// What is wrong with it.
        cause: String,
    } => [format!(
        "{cause}; using the manifest published in the target instead"
    )],
    /// Which files were verified can't be recorded.
    Warning "not_recorded" NotRecorded {
        /// Why not.
        cause: String,
    } => [format!("cannot record which files were verified: {cause}")],
    /// That the published manifest is damaged can't be recorded.
    Warning "damage_not_recorded" DamageNotRecorded {
        /// Why not.
        cause: String,
    } => [format!("cannot record the damage for the next mirror: {cause}")],
    /// Without the state, nothing shows whether the manifest was replaced by an older one.
    Warning "rollback_unknown" RollbackUnknown {
        /// Why the state can't be used.
        cause: String,
    } => [format!(
        "cannot tell whether the manifest was replaced by an older one, because the record of runs \
         can't be used: {cause}"
    )],
    /// The filter of past runs isn't known.
    Warning "filter_unknown" FilterUnknown {
        /// Why not.
        cause: String,
    } => [
        format!("cannot find out what earlier runs excluded: {cause}; give it by "),
        Setting::Exclude,
        " and ",
        Setting::Include,
        " give it",
    ],

    /// The state was empty, and rows were taken over from the manifest in the target.
    Note "manifest_taken_over" ManifestTakenOver {
        /// How many rows.
        entries: u64,
        /// The run that published it.
        run: RunId,
    } => [format!(
        "nothing is recorded here about this target: {entries} entries were taken over from the \
         manifest that run {run} published in it"
    )],
    /// Rows that were published from elsewhere since were taken over.
    Note "manifest_caught_up" ManifestCaughtUp {
        /// The run that published it.
        run: RunId,
        /// How many rows were taken over.
        taken: u64,
        /// How many rows were dropped, because that run removed them.
        dropped: u64,
    } => [format!(
        "run {run} has since published the manifest from elsewhere: {taken} entries were taken \
         over from it, and {dropped} that it removed were dropped here"
    )],
    /// Rows that were published from elsewhere since would be taken over.
    Note "manifest_to_catch_up" ManifestToCatchUp {
        /// The run that published it.
        run: RunId,
    } => [format!(
        "run {run} has since published the manifest from elsewhere: a run takes its entries over \
         before it compares"
    )],
    /// A manifest that was published from elsewhere since is used instead of the state.
    Note "later_manifest_used" LaterManifestUsed {
        /// The run that published it.
        run: RunId,
    } => [format!(
        "run {run} has since published the manifest from elsewhere: it is used instead of the \
         record here"
    )],
    /// Whether others have published since isn't known.
    Note "later_manifest_unknown" LaterManifestUnknown {
        /// Why not.
        cause: String,
    } => [format!("{cause}; what others have published since is unknown")],
    /// The rows that a publication from elsewhere removed aren't known.
    Warning "removals_unknown" RemovalsUnknown {
        /// The run that published it.
        run: RunId,
        /// Why not.
        cause: String,
    } => [format!("{cause}; what run {run} removed from the manifest is unknown")],
    /// A publication from elsewhere is lost.
    Warning "manifest_overtaken" ManifestOvertaken {
        /// The run that published it, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /// How it is lost.
        cause: String,
        /// The consequence.
        follows: Overtaken,
    } => [
        run.as_ref().map_or_else(|| "somebody".to_owned(), |run| format!("run {run}")),
        format!(
            " has since published the manifest from elsewhere, and what it recorded is lost: \
             {cause}; {follows}"
        ),
    ],
    /// The latest intact publication is used, because a later one is damaged.
    Warning "older_manifest_used" OlderManifestUsed {
        /// What is wrong with the later one, unless that is reported elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// The number of the publication that is used.
        publication: u64,
        /// The consequence, if publications of others may be lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<Overtaken>,
    } => [
        cause.as_ref().map_or_else(String::new, |cause| format!("{cause}; ")),
        format!("publication {publication}, the latest complete one, is used"),
        behind("; ", follows.as_ref()),
    ],
    /// The published manifest isn't taken over, and is replaced.
    Warning "manifest_replaced" ManifestReplaced {
        /// What is wrong with it.
        cause: String,
    } => [format!("{cause}: nothing is taken over from it, and it is replaced")],
    /// The published manifest wouldn't be taken over, and would be replaced.
    Warning "manifest_to_replace" ManifestToReplace {
        /// What is wrong with it.
        cause: String,
    } => [format!(
        "{cause}: a run takes nothing over from it, and replaces it"
    )],
    /// The published manifest can't be used, so that all is compared.
    Warning "manifest_unusable" ManifestUnusable {
        /// What is wrong with it.
        cause: String,
    } => [format!("{cause}; everything is compared")],
    /// The published manifest can't be used, so that past runs are unknown.
    Warning "past_unknown" PastUnknown {
        /// What is wrong with it.
        cause: String,
    } => [format!("{cause}; what it recorded of past runs is unknown")],
    /// The published manifest can't be used, and a `put` doesn't take it over.
    Warning "manifest_not_taken_over" ManifestNotTakenOver {
        /// What is wrong with it.
        cause: String,
    } => [format!("the manifest published there is not taken over: {cause}")],
    /// Whether the published manifest is intact isn't known.
    Note "manifest_unchecked" ManifestUnchecked {
        /// Why not.
        cause: String,
    } => [format!("{cause}; whether it is complete is unknown")],
    /// The published manifest is damaged; a run publishes it anew.
    Warning "manifest_damaged" ManifestDamaged {
        /// What is wrong with it.
        cause: String,
    } => [format!("{cause}; a run publishes it anew")],
    /// The published manifest was damaged, and was replaced.
    Warning "manifest_written_anew" ManifestWrittenAnew {
        /// What was wrong with it.
        cause: String,
        /// The number of the publication with all rows.
        publication: u64,
        /// Whether a new chain of publications begins with it.
        begins_chain: bool,
    } => [
        format!("{cause}; publication {publication} contains all rows again"),
        if *begins_chain { ", and begins a new chain" } else { "" },
    ],
    /// The manifest was signed, and no longer is.
    Warning "signature_dropped" SignatureDropped {
        /// The number of the publication without a signature.
        publication: u64,
    } => [
        format!(
            "the manifest was signed, and no longer is: publication {publication} has no signature ("
        ),
        Setting::Sign,
        " KEY signs new publications, `vidimus manifest sign` the existing one)",
    ],
    /// The existing publication was signed.
    Note "manifest_signed" ManifestSigned {
        /// The number of the publication.
        publication: u64,
    } => [format!("signed publication {publication} of the manifest")],
    /// The state was not taken over from a manifest signed with this run's key, and is dropped.
    Note "record_distrusted" RecordDistrusted => [
        "the record of this mirror was taken over from a manifest whose signature by this key was \
         not checked; everything is compared",
    ],
    /// The same, and rows of other sources are dropped as well.
    Note "others_distrusted" OthersDistrusted {
        /// How many rows are from other sources.
        entries: u64,
    } => [
        "the record of this mirror was taken over from a manifest whose signature by this key was \
         not checked; everything is compared, and entries from other sources are no longer \
         recorded (",
        format!("{entries} {}", if *entries == 1 { "entry" } else { "entries" }),
        "): mirror those with ",
        Setting::Sign,
        ", too",
    ],
    /// The published manifest becomes readable by fewer users.
    Note "manifest_closed" ManifestClosed {
        /// Who can no longer read it.
        to: Readers,
        /// The mode that would keep it readable, in octal digits.
        mode: String,
    } => [
        format!(
            "the published manifest is no longer readable by {to}, because it lists files or \
             directories that they can't read either ("
        ),
        Setting::ManifestMode,
        format!(" {mode} keeps it as it was)"),
    ],
    /// A part of an earlier manifest could not be removed.
    Note "segment_stays" SegmentStays {
        /// Why not.
        cause: String,
    } => [format!("a part of an earlier manifest could not be removed: {cause}")],
    /// The record of a source breaks off.
    Warning "source_record_breaks_off" SourceRecordBreaksOff {
        /// The source.
        source: String,
        /// Why.
        cause: String,
    } => [format!(
        "the record of \"{source}\" breaks off; from there on only its listing is used: {cause}"
    )],
    /// The state of runs into a source can't be used.
    Warning "source_record_unusable" SourceRecordUnusable {
        /// The source.
        source: String,
        /// Why not.
        cause: String,
    } => [format!(
        "the record of \"{source}\" can't be used; only its listing is used: {cause}"
    )],
    /// The manifest published in a source can't be used.
    Warning "source_manifest_unusable" SourceManifestUnusable {
        /// The source.
        source: String,
        /// Why not.
        cause: String,
    } => [format!(
        "the manifest published in \"{source}\" can't be used; only its listing is used: {cause}"
    )],

    /// Owners are to be given by name, and the source tells no names.
    Warning "names_unknown" NamesUnknown {
        /// The source.
        source: String,
    } => [format!(
        "no manifest in \"{source}\" tells names of users and groups: all owners are kept by number"
    )],
    /// Entries of the source have flags, which their copies don't get.
    Note "flags_not_kept" FlagsNotKept {
        /// The number of entries.
        count: u64,
        /// The first of them.
        #[serde(flatten, with = "serial::key")]
        first: Key,
    } => [
        format!(
            "entries of the source with flags (immutable, append-only, nodump): {count}, \
             \"{first}\" first; their copies have none: to keep them use "
        ),
        Setting::Flags
    ],

    /// Entries could not be given the flags of the source's.
    Note "flags_not_set" FlagsNotSet {
        /// The number of entries.
        count: u64,
    } => [format!(
        "entries that could not be given their flags: {count}; the target's file system has none, \
         or only root may set them"
    )],

    /// A listing is incomplete, so that nothing is deleted.
    Note "nothing_deleted" NothingDeleted => ["nothing is deleted, because a listing is \
                                               incomplete"],
    /// The id of the source's file system changed, possibly because it is another disk.
    Note "other_file_system" OtherFileSystem => [
        "the source's file system has a different id than in the last run that deleted: it may be \
         another disk. Its type can have a new id after a restart, so nothing is refused; ",
        Setting::RequireFile,
        " NAME verifies the disk",
    ],
    /// A pattern matches nothing, because it is a local path.
    Note "misplaced_pattern" MisplacedPattern {
        /// The pattern.
        pattern: String,
        /// The pattern that was probably meant.
        meant: String,
    } => [format!(
        "the pattern \"{pattern}\" matches nothing: patterns begin at the source's root; write \
         \"{meant}\""
    )],
    /// An entry is excluded.
    Note "left_out" LeftOut {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// Why not.
        cause: String,
    } => [format!("\"{key}\" is left out: {cause}")],
    /// Something that is not a directory has the name of vidimus's directory at a root, and is
    /// excluded.
    Note "reserved_name_left_out" ReservedNameLeftOut => [
        "\".vidimus\" at the root, which is not a directory, is left out: the name is reserved for \
         vidimus; rename it to have it copied"
    ],
    /// An entry is kept, because another run is active in its directory.
    Note "directory_in_use" DirectoryInUse {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!("\"{key}\" stays: another run is under way in its directory")],
    /// A directory is kept, because it contains excluded entries.
    Note "holds_excluded" HoldsExcluded {
        /// The directory.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!("\"{key}\" stays: it holds entries that are excluded")],
    /// A leaf that a directory replaced is kept until no copy fails.
    Note "set_aside_stays" SetAsideStays {
        /// The leaf, by its current name.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// The directory.
        directory: String,
    } => [format!(
        "\"{key}\" was in the place of \"{directory}\", and stays until a run in which no copy \
         fails"
    )],
    /// A leaf that a directory replaced would be removed once everything in the directory is
    /// copied.
    Note "set_aside_found" SetAsideFound {
        /// The leaf, by its current name.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!(
        "\"{key}\" was replaced by a directory, and would be removed once everything in that is \
         copied"
    )],
    /// A leftover of a killed run would be removed.
    Note "leftover_found" LeftoverFound {
        /// The leftover.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!(
        "\"{key}\" is left over from a killed run, and would be removed"
    )],
    /// The latest run had another filter.
    Note "other_filter" OtherFilter => [
        "the latest run had other filters than are given here"
    ],
    /// Only one of the latest run and this one deletes.
    Note "other_deletion" OtherDeletion {
        /// Whether the latest run deleted.
        deleted: bool,
    } => [
        if *deleted { "the latest run had " } else { "the latest run had no " },
        Setting::Delete,
    ],
    /// Reserved names in a list were left out.
    Note "own_names_left_out" OwnNamesLeftOut {
        /// How many.
        count: u64,
    } => [format!(
        "names in the list that are reserved for vidimus, and were left out: {count}"
    )],

    /// No file has the digest in the list, perhaps because it lists digests of another kind.
    Note "list_of_other_digests" ListOfOtherDigests {
        /// The format in which it was read.
        format: String,
        /// The format that it may have.
        other: String,
    } => [
        format!(
            "no file has the digest that the list gives: if {other} made the list, not {format}, \
             remove .vidimus/manifest there, and import it again with "
        ),
        Setting::Format,
        format!(" {other}"),
    ],

    /// The bag is incomplete, and isn't declared a bag.
    Note "bag_incomplete" BagIncomplete => [
        "the bag is incomplete, and therefore has no bagit.txt"
    ],
    /// A tag file is not listed in the bag's tag manifest.
    Note "tag_file_left_out" TagFileLeftOut {
        /// The file.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// Why not.
        cause: String,
    } => [format!("the tag file \"{key}\" is not listed: {cause}")],
    /// bagit.py can't read a name in the bag.
    Note "unreadable_by_bagit" UnreadableByBagit {
        /// The name as in the manifest.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!(
        "bagit.py can't read the name \"{key}\", and will find this valid bag invalid"
    )],
    /// bagit.py can't read more names in the bag.
    Note "more_unreadable_by_bagit" MoreUnreadableByBagit {
        /// How many.
        count: u64,
    } => [format!("more names that bagit.py can't read: {count}")],
    /// The bag has files that the source doesn't have.
    Note "surplus_in_bag" SurplusInBag {
        /// How many.
        count: u64,
    } => [
        format!("files that the source does not have, and that stay in the bag: {count}; "),
        Setting::Delete,
        " removes them",
    ],
    /// The bag has empty directories, which no manifest can list.
    Note "empty_directories_in_bag" EmptyDirectoriesInBag {
        /// How many.
        count: u64,
    } => [format!(
        "empty directories in the bag, which no manifest can list: {count}"
    )],

    /// The target's file system can't sync files.
    Note "files_not_synced" FilesNotSynced => [
        "the target's file system can't sync files: after a power cut, what was written last may \
         be missing or cut short"
    ],
    /// The target's file system can't sync directories.
    Note "directories_not_synced" DirectoriesNotSynced => [
        "the target's file system can't sync directories: after a power cut, entries made last may \
         be missing"
    ],
    /// A file that another program creates under a new entry's name may be overwritten.
    Note "renames_replace" RenamesReplace => [
        "the target's file system has neither hard links nor renames that refuse to replace: a file \
         that another program creates at the same moment under the name of a new entry may be \
         overwritten"
    ],
    /// Directories of other users keep their modes and times.
    Note "directories_of_others" DirectoriesOfOthers => [
        "directories of the target that belong to other users keep their modes and times, which \
         only they can set"
    ],
    /// The target's file system doesn't keep some metadata.
    Note "metadata_not_kept" MetadataNotKept {
        /// The metadata.
        what: Kept,
        /// The number of entries.
        count: u64,
    } => [format!(
        "{count} {}: the target's file system does not keep {}; the values it sets instead are \
         accepted",
        if *count == 1 { "entry" } else { "entries" },
        what.of(*count),
    )],
    /// The target can't keep some extended attributes or ACLs.
    Warning "attributes_kept_apart" AttributesKeptApart {
        /// The number of entries.
        count: u64,
    } => [format!(
        "extended attributes or ACLs of {count} {} are kept in the manifest alone, from which a \
         mirror of the target restores them: the target can't keep them",
        if *count == 1 { "entry" } else { "entries" },
    )],
    /// The target's file system has no symbolic links.
    Note "links_left_out" LinksLeftOut {
        /// How many are left out.
        count: u64,
    } => [format!(
        "{count} symbolic {} left out: the target's file system has none",
        if *count == 1 { "link is" } else { "links are" },
    )],
    /// A side's inode numbers aren't stable.
    Note "inodes_given_anew" InodesGivenAnew {
        /// The side.
        side: Side,
    } => [format!(
        "the {side}'s file system does not keep inode numbers stable: comparisons ignore them"
    )],
    /// The store sends whole objects instead of ranges.
    Note "ranges_ignored" RangesIgnored => [
        "the store sends whole objects when asked for a range: each large object is read by a single \
         request, and from its beginning after an interruption"
    ],
    /// The store has no conditional writes.
    Note "conditions_ignored" ConditionsIgnored => [
        "the store has no conditional writes (If-Match, If-None-Match): what somebody else writes to \
         the target at the same time may be overwritten"
    ],
    /// The store refused server-side copies.
    Note "copies_refused" CopiesRefused {
        /// Why not.
        cause: String,
    } => [format!(
        "content was copied through this machine, not by the store itself: {cause}"
    )],
    /// The store accepts no markers of directories.
    Note "no_markers" NoMarkers {
        /// What it did with one.
        cause: String,
    } => [
        format!(
            "the store accepts no markers of directories ({cause}): empty directories, and modes, \
             owners and times of all, are not kept; "
        ),
        Setting::NoMarkers,
        " writes none",
    ],
    /// The store omits keys in listings that start after a key.
    Note "keys_lost_in_listing" KeysLostInListing {
        /// The store.
        store: String,
        /// Whether later runs know this, too.
        next: Remembered,
    } => [
        format!(
            "the store {store} omits keys when a listing starts after a key (start-after): this run \
             listed everything instead"
        ),
        next.to_string(),
    ],

    /// What was overwritten or deleted is kept.
    Note "backup_kept" BackupKept {
        /// Where.
        directory: String,
        /// How many files and links.
        count: u64,
    } => [format!(
        "files and links that were overwritten or deleted, and are kept in \"{directory}\": {count}"
    )],
    /// A run would keep what it overwrites or deletes.
    Note "backup_planned" BackupPlanned {
        /// Where.
        directory: String,
    } => [format!(
        "what a run overwrites or deletes, it keeps in \"{directory}\", in a directory named by its \
         id"
    )],

    /// The mode of the file that a `put` replaced is not kept.
    Warning "mode_not_kept" ModeNotKept {
        /// Why not.
        cause: String,
    } => [format!("the mode of the replaced file is not kept: {cause}")],
    /// The metadata of a file that was put could not be set.
    Warning "metadata_not_set" MetadataNotSet {
        /// Why not.
        cause: String,
    } => [format!("cannot set its metadata: {cause}")],
    /// A replaced file had features that the new one lacks.
    Warning "features_lost" FeaturesLost {
        /// The features.
        features: Features,
    } => [format!("not kept of the replaced file: {features}")],
}

/// Returns the text after `joint`, if there is any.
fn behind(joint: &str, text: Option<&impl fmt::Display>) -> String {
    text.map_or_else(String::new, |text| format!("{joint}{text}"))
}
