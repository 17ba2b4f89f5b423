//! All notices: what each weighs, its code, what it is about, and its words.

use super::follows::{Instead, Kept, Overtaken, Readers, Remembered, Severity};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::{Features, Hint, Key, RunId, Setting, serial};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Makes the enum, and what is told of each variant: severity, code, data, words. The latter are
/// parts of a [`Hint`], so that settings in them stay data.
macro_rules! notices {
    ($(
        $(#[$doc:meta])*
        $severity:ident $code:literal $name:ident
        $({ $($(#[$attribute:meta])* $field:ident: $type:ty,)* })? => [$($words:expr),+ $(,)?],
    )*) => {
        /// Something to know beside what becomes of entries.
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
            /// All codes.
            pub const CODES: &[&str] = &[$($code,)*];

            /// Returns its code, by which programs know it.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// Returns how much it weighs.
            pub fn severity(&self) -> Severity {
                match self { $(Self::$name { .. } => Severity::$severity,)* }
            }

            /// It in words.
            pub(super) fn words(&self) -> Hint {
                match self { $(Self::$name $({ $($field),* })? => hint![$($words),+],)* }
            }
        }
    };
}

notices! {
    /// What the target's file system does in a way of its own could not be tried.
    Note "target_untried" TargetUntried {
        /// Why not.
        cause: String,
    } => [format!("the target's file system could not be tried: {cause}")],
    /// The lock of a store without conditional writes keeps no second run out.
    Note "lock_without_conditions" LockWithoutConditions => [
        "the store has no conditional writes: nothing keeps a second run out of the target while \
         this one goes on"
    ],
    /// The target's file system has no locks: a file's content stands for one.
    Note "lock_by_content" LockByContent => [
        "the target's file system has no locks: only what \".vidimus/lock\" says keeps a second \
         run out of the target while this one goes on"
    ],
    /// The lock of a run that was killed was taken over.
    Note "lock_taken_over" LockTakenOver {
        /// Whose it was.
        holder: String,
    } => [format!("took over the lock of a run that was killed: {holder}")],
    /// The lock stays, and is taken over by the next run.
    Note "lock_not_released" LockNotReleased {
        /// Why it stays.
        cause: String,
    } => [cause.clone()],
    /// Another run is writing to the target.
    Note "target_in_use" TargetInUse {
        /// Whose run it is.
        holder: String,
    } => [format!(
        "the target is being written to by {holder}: what it has not put in place yet is missing \
         here, and its temporaries are no leftovers"
    )],
    /// What a killed run left in the target could not be removed.
    Note "leftovers_stay" LeftoversStay {
        /// Why not.
        cause: String,
    } => [format!("what a killed run left stays: {cause}")],
    /// What a killed `put` left could not be removed.
    Note "streams_stay" StreamsStay {
        /// Why not.
        cause: String,
    } => [format!("what a put that was killed left stays: {cause}")],

    /// What was recorded here of the target could not be used.
    Warning "state_lost" StateLost {
        /// The file that the damaged record was renamed to; `None` where it was empty.
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
    /// What was recorded here of the target is damaged, which a dry run leaves as it is.
    Note "state_damaged" StateDamaged => [
        "the state of this target is damaged: a run would put it aside, and go by the manifest \
         published in the target, or compare everything"
    ],
    /// What was recorded here of the target is damaged; the manifest in the target stands in for
    /// it.
    Warning "state_replaced" StateReplaced {
        /// What is wrong with it.
        cause: String,
    } => [format!(
        "{cause}; the manifest that is published in the target is used instead"
    )],
    /// It can't be recorded which files were verified.
    Warning "not_recorded" NotRecorded {
        /// Why not.
        cause: String,
    } => [format!("it is not recorded which files were verified: {cause}")],
    /// It can't be recorded that the published manifest is damaged.
    Warning "damage_not_recorded" DamageNotRecorded {
        /// Why not.
        cause: String,
    } => [format!("the next mirror doesn't learn what is damaged: {cause}")],
    /// Whether an older manifest was put back can't be told, without the record of runs.
    Warning "rollback_unknown" RollbackUnknown {
        /// Why that can't be used.
        cause: String,
    } => [format!(
        "whether an older manifest was put back can't be told, for the record of runs can't be \
         used: {cause}"
    )],
    /// What runs left out of the mirror isn't known.
    Warning "filter_unknown" FilterUnknown {
        /// Why not.
        cause: String,
    } => [
        format!("what runs left out of this mirror is not known: {cause}; "),
        Setting::Exclude,
        " and ",
        Setting::Include,
        " say it",
    ],

    /// Nothing was recorded here of the target, and rows were taken over from its manifest.
    Note "manifest_taken_over" ManifestTakenOver {
        /// How many rows.
        entries: u64,
        /// The run that published it.
        run: RunId,
    } => [format!(
        "nothing is recorded here of this target: {entries} entries were taken over from the \
         manifest that run {run} published in it"
    )],
    /// What was published from elsewhere since was taken over.
    Note "manifest_caught_up" ManifestCaughtUp {
        /// The run that published it.
        run: RunId,
        /// How many rows were taken over.
        taken: u64,
        /// How many rows were dropped here, which it removed.
        dropped: u64,
    } => [format!(
        "run {run} published the manifest since, from elsewhere: {taken} entries were taken over \
         from it, and {dropped} that it removed were dropped here"
    )],
    /// What was published from elsewhere since would be taken over.
    Note "manifest_to_catch_up" ManifestToCatchUp {
        /// The run that published it.
        run: RunId,
    } => [format!(
        "run {run} published the manifest since, from elsewhere: a run takes over what that \
         recorded before it compares"
    )],
    /// What was published from elsewhere since is used instead of what is recorded here.
    Note "later_manifest_used" LaterManifestUsed {
        /// The run that published it.
        run: RunId,
    } => [format!(
        "run {run} published the manifest since, from elsewhere: it is used instead of the \
         record here"
    )],
    /// What others published since isn't known.
    Note "later_manifest_unknown" LaterManifestUnknown {
        /// Why not.
        cause: String,
    } => [format!("{cause}; what others published since is not known")],
    /// What was published from elsewhere since, and removed rows, can't be followed.
    Warning "removals_unknown" RemovalsUnknown {
        /// The run that published it.
        run: RunId,
        /// Why not.
        cause: String,
    } => [format!("{cause}; what run {run} removed from the manifest can't be told")],
    /// What was published from elsewhere since is lost.
    Warning "manifest_overtaken" ManifestOvertaken {
        /// The run that published it, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /// How it is lost.
        cause: String,
        /// What that means.
        follows: Overtaken,
    } => [
        run.as_ref().map_or_else(|| "somebody".to_owned(), |run| format!("run {run}")),
        format!(
            " published the manifest since, from elsewhere, and what that recorded is lost: \
             {cause}; {follows}"
        ),
    ],
    /// The latest complete publication is used, because a later one is damaged.
    Warning "older_manifest_used" OlderManifestUsed {
        /// What is wrong with the later one, where that isn't told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// The number of the publication that is used.
        publication: u64,
        /// What that means, where what others published since may be lost.
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
    /// The published manifest can't be used, so that it tells nothing of past runs.
    Warning "past_unknown" PastUnknown {
        /// What is wrong with it.
        cause: String,
    } => [format!("{cause}; what it told of past runs is not known")],
    /// The published manifest can't be used, and is not taken over by a `put`.
    Warning "manifest_not_taken_over" ManifestNotTakenOver {
        /// What is wrong with it.
        cause: String,
    } => [format!("what was published there is not taken over: {cause}")],
    /// Whether the published manifest is whole isn't known.
    Note "manifest_unchecked" ManifestUnchecked {
        /// Why not.
        cause: String,
    } => [format!("{cause}; whether it is whole is not known")],
    /// The published manifest is damaged; a run publishes it anew.
    Warning "manifest_damaged" ManifestDamaged {
        /// What is wrong with it.
        cause: String,
    } => [format!("{cause}; a run publishes it anew")],
    /// The published manifest was damaged, and was written anew.
    Warning "manifest_written_anew" ManifestWrittenAnew {
        /// What was wrong with it.
        cause: String,
        /// The number of the publication that has all rows anew.
        publication: u64,
        /// Whether the chain of publications begins anew with it.
        begins_chain: bool,
    } => [
        format!("{cause}; publication {publication} has all rows anew"),
        if *begins_chain { ", which begins the chain anew" } else { "" },
    ],
    /// The manifest was signed, and isn't any more.
    Warning "signature_dropped" SignatureDropped {
        /// The number of the publication without a signature.
        publication: u64,
    } => [
        format!(
            "the manifest was signed and is not any more: publication {publication} has no \
             signature ("
        ),
        Setting::Sign,
        " KEY signs what is published, `vidimus manifest sign` what stands)",
    ],
    /// What stood there was signed.
    Note "manifest_signed" ManifestSigned {
        /// The number of the publication.
        publication: u64,
    } => [format!("signed publication {publication} of the manifest")],
    /// What is recorded was not found to be signed with the key of this run, and is dropped.
    Note "record_distrusted" RecordDistrusted => [
        "the record of this mirror was taken over from a manifest that was not found to be signed \
         with this key; everything is compared",
    ],
    /// So is what was recorded of other sources.
    Note "others_distrusted" OthersDistrusted {
        /// How many rows are from these.
        entries: u64,
    } => [
        "the record of this mirror was taken over from a manifest that was not found to be signed \
         with this key; everything is compared, and what other sources brought is recorded no more \
         (",
        format!("{entries} {}", if *entries == 1 { "entry" } else { "entries" }),
        "): mirror these with ",
        Setting::Sign,
        ", too",
    ],
    /// The published manifest can be read by fewer users from now on.
    Note "manifest_closed" ManifestClosed {
        /// Who can't read it any more.
        to: Readers,
        /// The mode that would keep it as it was, in octal digits.
        mode: String,
    } => [
        format!(
            "the published manifest is closed to {to} from now on, for it tells of files or \
             directories that are ("
        ),
        Setting::ManifestMode,
        format!(" {mode} keeps it as it was)"),
    ],
    /// A part of an earlier manifest could not be removed.
    Note "segment_stays" SegmentStays {
        /// Why not.
        cause: String,
    } => [format!("a part of an earlier manifest stays: {cause}")],
    /// What was recorded of a source breaks off.
    Warning "source_record_breaks_off" SourceRecordBreaksOff {
        /// The source.
        source: String,
        /// Why.
        cause: String,
    } => [format!(
        "what was recorded of \"{source}\" breaks off, and from there on its listing alone tells: \
         {cause}"
    )],
    /// What is recorded here of runs into a source can't be used.
    Warning "source_record_unusable" SourceRecordUnusable {
        /// The source.
        source: String,
        /// Why not.
        cause: String,
    } => [format!(
        "what was recorded of \"{source}\" can't be used, and its listing alone tells: {cause}"
    )],
    /// What is published in a source can't be used.
    Warning "source_manifest_unusable" SourceManifestUnusable {
        /// The source.
        source: String,
        /// Why not.
        cause: String,
    } => [format!(
        "what was published in \"{source}\" can't be used, and its listing alone tells: {cause}"
    )],

    /// A listing is not complete, so that nothing is deleted.
    Note "nothing_deleted" NothingDeleted => ["nothing is deleted: a listing is not complete"],
    /// The source's file system has another id than before, which may mean another disk.
    Note "other_file_system" OtherFileSystem => [
        "the source's file system has another id than in the last run that deleted: it may be \
         another disk. Its type can have a new id after a restart, so nothing is refused; ",
        Setting::RequireFile,
        " NAME makes sure of the disk",
    ],
    /// A pattern matches nothing, for it is a path of this machine.
    Note "misplaced_pattern" MisplacedPattern {
        /// The pattern.
        pattern: String,
        /// What was meant.
        meant: String,
    } => [format!(
        "the pattern \"{pattern}\" matches nothing: patterns begin at the source's root; write \
         \"{meant}\""
    )],
    /// An entry takes no part.
    Note "left_out" LeftOut {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// Why not.
        cause: String,
    } => [format!("\"{key}\" is left out: {cause}")],
    /// What has the name of vidimus's directory at a root, without being one, is left out.
    Note "reserved_name_left_out" ReservedNameLeftOut => [
        "\".vidimus\" at the root, which is no directory, is left out: the name is kept for vidimus's \
         own; rename it to have it copied"
    ],
    /// An entry stays: another run is under way in its directory.
    Note "directory_in_use" DirectoryInUse {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!("\"{key}\" stays: another run is under way in its directory")],
    /// A directory stays: it holds entries that are excluded.
    Note "holds_excluded" HoldsExcluded {
        /// The directory.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!("\"{key}\" stays: it holds entries that are excluded")],
    /// What stood in a directory's place stays until no copy fails.
    Note "set_aside_stays" SetAsideStays {
        /// What stood there, by the name that it has now.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// The directory.
        directory: String,
    } => [format!(
        "\"{key}\" is what stood in the place of \"{directory}\", and stays until a run in which \
         no copy fails"
    )],
    /// What stood in a directory's place would be removed once all in the directory is copied.
    Note "set_aside_found" SetAsideFound {
        /// What stood there, by the name that it has now.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!(
        "\"{key}\" is what a directory took the place of, and would be removed once all in that is \
         copied"
    )],
    /// What a killed run left would be removed.
    Note "leftover_found" LeftoverFound {
        /// It.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    } => [format!(
        "\"{key}\" is left over from a killed run, and would be removed"
    )],
    /// The latest run left out other entries than this one would.
    Note "other_filter" OtherFilter => [
        "the latest run left out other entries than the flags given here do"
    ],
    /// The latest run deleted what only the target had, and this one wouldn't, or the other way
    /// round.
    Note "other_deletion" OtherDeletion {
        /// Whether the latest run did.
        deleted: bool,
    } => [
        if *deleted { "the latest run had " } else { "the latest run had no " },
        Setting::Delete,
    ],
    /// Names in a list are vidimus's own, and were left out.
    Note "own_names_left_out" OwnNamesLeftOut {
        /// How many.
        count: u64,
    } => [format!(
        "names in the list that are vidimus's own, and were left out: {count}"
    )],

    /// No file has the digest that a list says, as where it is of another kind of digests.
    Note "list_of_other_digests" ListOfOtherDigests {
        /// The form in which it was read.
        format: String,
        /// The form that it may have.
        other: String,
    } => [
        format!(
            "no file has the digest that the list says: if {other} made it, not {format}, remove \
             .vidimus/manifest there, and import it again with "
        ),
        Setting::Format,
        format!(" {other}"),
    ],

    /// The bag is not whole, and doesn't declare itself one.
    Note "bag_incomplete" BagIncomplete => [
        "the bag is not whole, and says so: it has no bagit.txt"
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
        /// The name as the manifest has it.
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
    /// What another program makes under a new entry's name may be overwritten.
    Note "renames_replace" RenamesReplace => [
        "the target's file system has neither links nor renames that replace nothing: what another \
         program makes there in the moment in which a new entry gets the same name may be \
         overwritten"
    ],
    /// Directories of other users keep their modes and times.
    Note "directories_of_others" DirectoriesOfOthers => [
        "directories of the target that belong to other users keep their modes and times, which \
         only these can set"
    ],
    /// The target's file system doesn't keep something of entries.
    Note "metadata_not_kept" MetadataNotKept {
        /// What.
        what: Kept,
        /// Of how many entries.
        count: u64,
    } => [format!(
        "{count} {}: the target's file system does not keep {}; the values it sets instead are accepted",
        if *count == 1 { "entry" } else { "entries" },
        what.of(*count),
    )],
    /// The target's file system has no symbolic links.
    Note "links_left_out" LinksLeftOut {
        /// How many are left out.
        count: u64,
    } => [format!(
        "{count} symbolic {} left out: the target's file system has none",
        if *count == 1 { "link is" } else { "links are" },
    )],
    /// A side's inode numbers identify nothing.
    Note "inodes_given_anew" InodesGivenAnew {
        /// The side.
        side: Side,
    } => [format!(
        "the {side}'s file system gives out inode numbers anew: they are left out of every \
         comparison there"
    )],
    /// The store sends the whole of an object where a part is asked for.
    Note "ranges_ignored" RangesIgnored => [
        "the store sends the whole of an object where a part is asked for: large objects are read \
         by one request each, and what breaks off costs its beginning again"
    ],
    /// The store can't write under a condition.
    Note "conditions_ignored" ConditionsIgnored => [
        "the store can't write under a condition (If-Match, If-None-Match): what somebody else \
         writes to the target at the same time may be overwritten"
    ],
    /// The store did not copy by itself.
    Note "copies_refused" CopiesRefused {
        /// Why not.
        cause: String,
    } => [format!(
        "content was read and written by this machine, not copied by the store: {cause}"
    )],
    /// The store takes no markers of directories.
    Note "no_markers" NoMarkers {
        /// What it did with one.
        cause: String,
    } => [
        format!(
            "the store takes no markers of directories ({cause}): empty directories, and modes, \
             owners and times of all, are not kept; "
        ),
        Setting::NoMarkers,
        " writes none",
    ],
    /// The store leaves out keys where a listing begins behind a key.
    Note "keys_lost_in_listing" KeysLostInListing {
        /// The store.
        store: String,
        /// Whether later runs know it too.
        next: Remembered,
    } => [
        format!(
            "the store {store} leaves out keys where a listing begins behind a key (start-after): \
             this run listed it whole instead"
        ),
        next.to_string(),
    ],

    /// The mode of what stood where something was put is not kept.
    Warning "mode_not_kept" ModeNotKept {
        /// Why not.
        cause: String,
    } => [format!("the mode of what stands there is not kept: {cause}")],
    /// The metadata of what was put could not be set.
    Warning "metadata_not_set" MetadataNotSet {
        /// Why not.
        cause: String,
    } => [format!("cannot set its metadata: {cause}")],
    /// A file was replaced, and lost what its successor hasn't.
    Warning "features_lost" FeaturesLost {
        /// What.
        features: Features,
    } => [format!("of the file that stood there is not kept: {features}")],
}

/// Returns what follows, where anything does.
fn behind(joint: &str, text: Option<&impl fmt::Display>) -> String {
    text.map_or_else(String::new, |text| format!("{joint}{text}"))
}
