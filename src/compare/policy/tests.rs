//! The policy as a decision table. This file covers conflicts, unknown and extra entries, and
//! links; [`evidence`] covers how files are compared.

mod evidence;

use super::*;
use crate::filter::Rule;
use crate::manifest::{LazyRow, Origin, SourceNumber};
use crate::model::entry::Completeness;
use crate::model::stamp::{Evidence, Inode};
use crate::model::{DeviceNumber, Extras, Key, SpecialKind, Stamp, Timestamp};
use std::time::Duration;

const RECORDED: Digest = Digest([7; 32]);

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 5 }
}

fn entry(key: &str, kind: EntryKind, inode: u64) -> Entry {
    Entry {
        key: Key::new(key.as_bytes()),
        kind,
        stamp: Stamp::of_inode(
            100,
            Inode { mtime: at(1_000), ctime: at(2_000), number: Some(inode) },
        ),
        metadata: Metadata { mode: 0o644, uid: 1, gid: 1, mtime: at(1_000) },
        link: (kind == EntryKind::Symlink).then(|| b"text"[..].into()),
        completeness: Completeness::Full,
        recorded: None,
        extras: None,
        born: None,
    }
}

fn inode(stamp: &mut Stamp) -> &mut Inode {
    match &mut stamp.evidence {
        Evidence::Inode(inode) => inode,
        Evidence::Tag(_) => panic!("the stamp of an object"),
    }
}

fn set_mtime(entry: &mut Entry, mtime: Timestamp) {
    inode(&mut entry.stamp).mtime = mtime;
    entry.metadata.mtime = mtime;
}

/// A pair and the rules. It starts as a file that both sides have as recorded.
struct Case {
    source: Seen,
    target: Seen,
    row: Option<Row>,
    conflict: Option<Conflict>,
    options: PolicyOptions,
    filter: Filter,
    surplus: Surplus,
    achievable: fn(&Metadata) -> Metadata,
    has_links: bool,
    has_devices: bool,
}

impl Case {
    fn of(kind: EntryKind) -> Self {
        let key = if kind == EntryKind::Directory { "a/" } else { "a" };
        let (source, target) = (entry(key, kind, 1), entry(key, kind, 2));
        Self {
            row: Some(Row {
                digest: (kind == EntryKind::File).then_some(RECORDED),
                target: target.stamp,
                ..Row::of_copied(source.clone())
            }),
            source: Seen::Present(source),
            target: Seen::Present(target),
            conflict: None,
            options: PolicyOptions::default(),
            filter: Filter::default(),
            surplus: Surplus::Keep,
            achievable: |metadata| *metadata,
            has_links: true,
            has_devices: true,
        }
    }

    fn source(&mut self) -> &mut Entry {
        present(&mut self.source)
    }

    fn target(&mut self) -> &mut Entry {
        present(&mut self.target)
    }

    fn row(&mut self) -> &mut Row {
        self.row.as_mut().expect("the case has a row")
    }

    fn sizes(&mut self, min: u64, max: u64) {
        self.filter = Filter::new(&[], Some(min), Some(max)).unwrap();
    }

    /// Returns the decision as text.
    fn decide(self) -> String {
        let held = self.source.entry().or(self.target.entry()).map(|entry| entry.key.clone());
        let key = held.or(self.row.as_ref().map(|row| row.key.clone())).unwrap_or_default();
        let Self { source, target, row, conflict, options, filter, surplus, .. } = self;
        let (achievable, has_links, has_devices) =
            (self.achievable, self.has_links, self.has_devices);
        let (filter, from) = (Arc::new(filter), SourceNumber::FIRST);
        let hard_links = HardLinks::Made;
        let looks_for = options.preserve.attribute_kinds();
        let policy = Policy {
            options,
            filter,
            surplus,
            from,
            has_links,
            has_devices,
            hard_links,
            looks_for,
            inspects: true,
            keeps_apart: true,
            retries_apart: false,
        };
        let pair = Pair { key, source, target, row, conflict };
        let achievable = |metadata: &Metadata, _, _: Option<&Metadata>| achievable(metadata);
        let decided = policy.decide(&pair, achievable);
        if is_unchanged(&policy, &pair, achievable) {
            let keep = decide(Action::Keep, Reason::Unchanged);
            assert_eq!(decided.as_ref().ok(), Some(&keep), "{pair:?}");
        }
        let Decision { action, reason } = match decided {
            Ok(decision) => decision,
            Err(cause) => return format!("fail ({cause:?})"),
        };
        let action = match action {
            Action::Copy { unless: None } => "copy".into(),
            Action::Copy { unless: Some(RECORDED) } => "copy unless recorded".into(),
            Action::Check(Check::EachOther) => "check both sides with each other".into(),
            Action::Check(Check::Source { expected: RECORDED }) => "check source".into(),
            Action::Check(Check::Target { expected: RECORDED }) => "check target".into(),
            Action::Check(Check::Both { expected: RECORDED }) => "check both sides".into(),
            other => format!("{other:?}"),
        };
        format!("{action}: {reason:?}")
    }
}

/// Returns whether the policy knows at once that a pair's file is unchanged.
fn is_unchanged(
    policy: &Policy,
    pair: &Pair,
    achievable: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
) -> bool {
    let (Some(source), Some(target)) = (pair.source.entry(), pair.target.entry()) else {
        return false;
    };
    let is_joined = pair.conflict.is_none() && source.kind != EntryKind::Directory;
    let row = pair.row.clone().map(LazyRow::from).filter(|_| is_joined);
    row.is_some_and(|row| policy.is_unchanged(source, target, &row, achievable))
}

fn present(seen: &mut Seen) -> &mut Entry {
    match seen {
        Seen::Present(entry) => entry,
        other => panic!("nothing is there: {other:?}"),
    }
}

/// A change of a case.
type Change = fn(&mut Case);

/// Checks each line of a table: a name, a change of a case of `kind`, and the expected decision.
#[track_caller]
fn table(kind: EntryKind, lines: &[(&str, Change, &str)]) {
    let mut wrong = Vec::new();
    for (name, change, expected) in lines {
        let mut case = Case::of(kind);
        change(&mut case);
        let found = case.decide();
        if found != *expected {
            wrong.push(format!("{name}: expected {expected}; found {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const FILE: EntryKind = EntryKind::File;
const FIFO: EntryKind = EntryKind::Special(SpecialKind::Fifo);

const SPECIALS: [SpecialKind; 4] = [
    SpecialKind::Fifo,
    SpecialKind::Socket,
    SpecialKind::CharacterDevice,
    SpecialKind::BlockDevice,
];

#[test]
fn times_within_the_window_are_one() {
    let case = |seconds: i64, with_row: bool, window| {
        let mut case = Case::of(FILE);
        case.options.modify_window = Duration::from_secs(window);
        set_mtime(case.target(), at(1_000 + seconds));
        if !with_row {
            case.row = None;
        }
        case.decide()
    };
    assert_eq!(case(2, false, 2), "Adopt: SameSizeAndTime");
    assert_eq!(case(3, false, 2), "copy: Mtime");
    // What was recorded of the target differs: its content decides.
    assert!(case(-2, true, 2).contains("TargetDoubtful"), "{}", case(-2, true, 2));
    assert_eq!(case(-3, true, 2), "copy: TargetDrift");
    assert_eq!(case(1, true, 0), "copy: TargetDrift");
    let newer = |seconds: i64| {
        let mut case = Case::of(FILE);
        case.options.update = true;
        case.options.modify_window = Duration::from_secs(2);
        case.row = None;
        set_mtime(case.target(), at(1_000 + seconds));
        case.decide()
    };
    assert_eq!(
        (newer(2), newer(3)),
        ("Adopt: SameSizeAndTime".into(), "Skip: NewerInTarget".into())
    );
    // The source's own stamps are held against its row as ever.
    let mut edited = Case::of(FILE);
    edited.options.modify_window = Duration::from_hours(1);
    set_mtime(edited.source(), at(1_001));
    let decided = edited.decide();
    assert!(decided.contains("Mtime"), "{decided}");
}

#[test]
fn with_existing_nothing_new_is_made() {
    let case = |kind, change: Change| {
        let mut case = Case::of(kind);
        case.options.existing = true;
        change(&mut case);
        case.decide()
    };
    for kind in [FILE, EntryKind::Symlink, EntryKind::Directory] {
        let decided = case(kind, |case| case.target = Seen::Absent);
        assert_eq!(decided, "Skip: NotExisting", "{kind}");
    }
    assert_eq!(case(FILE, |_| {}), "Keep: Unchanged");
    let of_another_kind = case(FILE, |case| {
        case.target = Seen::Absent;
        case.conflict = Some(Conflict::LeafOverDirectory { empty: true });
    });
    assert_eq!(of_another_kind, "copy: Kind");
}

#[test]
fn links_that_lead_out_of_the_source_are_left_out_on_request() {
    for (key, text, is_unsafe) in [
        ("a", "/etc/passwd", true),
        ("a", "../a", true),
        ("a", "b/../../a", true),
        ("a", "b/../c", true),
        ("a", ".", false),
        ("d/a", "../b", false),
        ("d/a", "./../b/..", true),
        ("d/a", "../../b", true),
        ("d/e/a", "..//../b", false),
        ("d/e/a", "../../../b", true),
    ] {
        let decide = |safe_links| {
            let mut case = Case::of(EntryKind::Symlink);
            case.options.safe_links = safe_links;
            case.target = Seen::Absent;
            case.row = None;
            case.source().key = Key::new(key.as_bytes());
            case.source().link = Some(text.as_bytes().into());
            case.decide()
        };
        let expected = if is_unsafe { "Skip: UnsafeLink" } else { "MakeLink: New" };
        assert_eq!(decide(true), expected, "{key} -> {text}");
        assert_eq!(decide(false), "MakeLink: New");
    }
}

#[test]
fn ignore_existing_leaves_existing_entries_alone() {
    for kind in [FILE, EntryKind::Symlink] {
        table(
            kind,
            &[
                ("the same", |case| case.options.ignore_existing = true, "Skip: Exists"),
                (
                    "another kind",
                    |case| {
                        case.options.ignore_existing = true;
                        case.target().kind = EntryKind::Special(SpecialKind::Fifo);
                    },
                    "Skip: Exists",
                ),
                (
                    "a directory in its place, even an empty one",
                    |case| {
                        case.options.ignore_existing = true;
                        case.target = Seen::Absent;
                        case.conflict = Some(Conflict::LeafOverDirectory { empty: true });
                        case.surplus = Surplus::DeleteExcluded;
                    },
                    "Skip: Exists",
                ),
                (
                    "what could not be listed is not taken for missing",
                    |case| {
                        case.options.ignore_existing = true;
                        case.target = Seen::Unknown;
                    },
                    "fail (TargetUnknown)",
                ),
            ],
        );
    }
    table(
        FILE,
        &[(
            "new",
            |case| {
                case.options.ignore_existing = true;
                case.target = Seen::Absent;
            },
            "copy: New",
        )],
    );
    table(
        EntryKind::Directory,
        &[(
            "directories are entered",
            |case| case.options.ignore_existing = true,
            "KeepDirectory: Unchanged",
        )],
    );
}

#[test]
fn another_kind_of_leaf_is_replaced() {
    let replaced = |kind: EntryKind, expected: &str| {
        let kinds = [FILE, EntryKind::Symlink].into_iter();
        for other in kinds.chain(SPECIALS.map(EntryKind::Special)).filter(|&other| other != kind) {
            for surplus in [Surplus::Keep, Surplus::Delete] {
                let mut case = Case::of(kind);
                case.target = Seen::Present(entry("a", other, 2));
                case.surplus = surplus;
                assert_eq!(case.decide(), expected, "{kind} over {other}, {surplus:?}");
            }
        }
    };
    replaced(FILE, "copy: Kind");
    replaced(EntryKind::Symlink, "MakeLink: Kind");
}

#[test]
fn a_leaf_and_a_directory_of_one_name() {
    const BOTH: &str = "fail (LeafAndDirectory)";
    const IN_THE_WAY: &str = "fail (DirectoryInTheWay)";
    let conflict = |kind, conflict: &Conflict, surplus| {
        let mut case = Case::of(kind);
        case.target = Seen::Absent;
        case.conflict = Some(conflict.clone());
        case.surplus = surplus;
        case.decide()
    };
    let over = |empty| Conflict::LeafOverDirectory { empty };
    let over_leaf = Conflict::DirectoryOverLeaf(entry("a", FILE, 2));
    for surplus in [Surplus::Keep, Surplus::Delete, Surplus::DeleteExcluded] {
        for (kind, made) in [(FILE, "copy: Kind"), (EntryKind::Symlink, "MakeLink: Kind")] {
            assert_eq!(conflict(kind, &over(true), surplus), made);
            let waits = if surplus == Surplus::Keep { IN_THE_WAY } else { "AfterDeletion: Kind" };
            assert_eq!(conflict(kind, &over(false), surplus), waits, "{surplus:?}");
        }
        assert_eq!(conflict(EntryKind::Directory, &over_leaf, surplus), "MakeDirectory: Kind");
        for kind in [FILE, EntryKind::Symlink, EntryKind::Directory] {
            assert_eq!(conflict(kind, &Conflict::Both, surplus), BOTH, "{kind}");
        }
        assert_eq!(conflict(FIFO, &over(true), surplus), "MakeSpecial: Kind");
        let mut surplus_of_both = Case::of(FILE);
        surplus_of_both.source = Seen::Absent;
        surplus_of_both.conflict = Some(Conflict::Both);
        surplus_of_both.surplus = surplus;
        assert_eq!(surplus_of_both.decide(), BOTH, "one side's two names are never deleted");
    }
}

#[test]
fn a_leaf_beside_a_directory_in_a_store_is_removed_when_the_directory_is_complete() {
    let beside = |change: fn(&mut Case)| {
        let mut case = Case::of(FILE);
        case.source = Seen::Absent;
        case.conflict = Some(Conflict::LeafBesideDirectory);
        change(&mut case);
        case.decide()
    };
    for surplus in [|_: &mut Case| {}, |case: &mut Case| case.surplus = Surplus::Delete] {
        assert_eq!(beside(surplus), "RemoveSetAside: SetAside");
    }
    assert_eq!(beside(|case| case.options.ignore_existing = true), "Keep: Exists");
    assert_eq!(beside(|case| case.options.update = true), "Keep: Exists");
    let over = |surplus| {
        let mut case = Case::of(FILE);
        case.conflict = Some(Conflict::LeafOverDirectory { empty: false });
        case.surplus = surplus;
        case.decide()
    };
    assert_eq!(over(Surplus::Keep), "fail (DirectoryInTheWay)");
    assert_eq!(over(Surplus::Delete), Case::of(FILE).decide(), "its directory is deleted");
}

#[test]
fn special_files_are_made_and_their_metadata_is_kept() {
    for kind in SPECIALS.map(EntryKind::Special) {
        table(
            kind,
            &[
                ("as recorded", |_| {}, "Keep: Unchanged"),
                ("new", |case| case.target = Seen::Absent, "MakeSpecial: New"),
                ("not known", |case| case.target = Seen::Unknown, "fail (TargetUnknown)"),
                (
                    "over a file",
                    |case| case.target = Seen::Present(entry("a", FILE, 2)),
                    "MakeSpecial: Kind",
                ),
                (
                    "over a link",
                    |case| case.target().kind = EntryKind::Symlink,
                    "MakeSpecial: Kind",
                ),
                (
                    "another number",
                    |case| {
                        let device = Some(DeviceNumber { major: 1, minor: 3 });
                        case.source().extras = Extras { device, ..Extras::default() }.boxed();
                    },
                    "MakeSpecial: DeviceNumber",
                ),
                ("mode", |case| case.source().metadata.mode = 0o600, "UpdateMetadata: Metadata"),
                ("written to", |case| set_mtime(case.source(), at(9)), "UpdateMetadata: Metadata"),
                (
                    "touched: its ACL may be another",
                    |case| inode(&mut case.source().stamp).ctime = at(9_000),
                    "Record: Unchanged",
                ),
                ("no row", |case| case.row = None, "Adopt: SameSizeAndTime"),
                ("exists", |case| case.options.ignore_existing = true, "Skip: Exists"),
                ("left out", |case| case.options.preserve.specials = false, "Skip: NoSpecials"),
                (
                    "only in the target",
                    |case| {
                        case.source = Seen::Absent;
                        case.surplus = Surplus::Delete;
                    },
                    "Delete: Extra",
                ),
            ],
        );
    }
}

#[test]
fn special_files_that_cannot_be_made_are_named() {
    let unknown = EntryKind::Special(SpecialKind::Unknown);
    table(
        unknown,
        &[
            ("of no known type", |_| {}, "fail (Special(Special(Unknown)))"),
            ("left out", |case| case.options.preserve.specials = false, "Skip: NoSpecials"),
        ],
    );
    let without_devices = |kind| {
        let mut case = Case::of(EntryKind::Special(kind));
        (case.has_devices, case.target) = (false, Seen::Absent);
        case.decide()
    };
    for (kind, expected) in [
        (SpecialKind::Fifo, "MakeSpecial: New"),
        (SpecialKind::Socket, "MakeSpecial: New"),
        (
            SpecialKind::BlockDevice,
            "fail (SpecialRefused { kind: Special(BlockDevice), others: 0 })",
        ),
        (
            SpecialKind::CharacterDevice,
            "fail (SpecialRefused { kind: Special(CharacterDevice), others: 0 })",
        ),
    ] {
        assert_eq!(without_devices(kind), expected, "{kind:?}");
    }
}

#[test]
fn a_link_that_the_target_cannot_store_is_treated_as_missing_in_the_source() {
    let cases: [(Change, &str); 6] = [
        (|case| (case.target, case.row) = (Seen::Absent, None), "Skip: NoLinks"),
        (|case| case.target = Seen::Absent, "Forget: NoLinks"),
        (|case| case.target = Seen::Unknown, "Skip: NoLinks"),
        (|case| case.target = Seen::Present(entry("a", FILE, 2)), "Skip: NoLinks"),
        (
            |case| {
                case.target = Seen::Present(entry("a", FILE, 2));
                case.surplus = Surplus::Delete;
            },
            "Delete: Extra",
        ),
        (|case| case.has_links = true, "Keep: Unchanged"),
    ];
    for (change, expected) in cases {
        let mut case = Case::of(EntryKind::Symlink);
        case.has_links = false;
        change(&mut case);
        assert_eq!(case.decide(), expected);
    }
}

#[test]
fn unknown_entries_are_left_alone_on_either_side() {
    for kind in [FILE, EntryKind::Symlink, EntryKind::Directory] {
        table(
            kind,
            &[
                (
                    "source unknown",
                    |case| {
                        case.source = Seen::Unknown;
                        case.surplus = Surplus::DeleteExcluded;
                    },
                    "Keep: Unknown",
                ),
                (
                    "source unknown, not in the target",
                    |case| {
                        case.source = Seen::Unknown;
                        case.target = Seen::Absent;
                    },
                    "Keep: Unknown",
                ),
                (
                    "both unknown",
                    |case| {
                        case.source = Seen::Unknown;
                        case.target = Seen::Unknown;
                    },
                    "Keep: Unknown",
                ),
                (
                    "not in the source, target unknown: the row stays",
                    |case| {
                        case.source = Seen::Absent;
                        case.target = Seen::Unknown;
                        case.surplus = Surplus::DeleteExcluded;
                    },
                    "Keep: Unknown",
                ),
                (
                    "in the source, target unknown",
                    |case| case.target = Seen::Unknown,
                    "fail (TargetUnknown)",
                ),
                (
                    "in the source, target unknown, no row",
                    |case| {
                        case.target = Seen::Unknown;
                        case.row = None;
                    },
                    "fail (TargetUnknown)",
                ),
            ],
        );
    }
}

#[test]
fn extra_entries_are_deleted_only_as_far_as_the_options_say() {
    for kind in [FILE, EntryKind::Symlink, EntryKind::Directory] {
        for (surplus, expected) in [
            (Surplus::Keep, "Keep: Extra"),
            (Surplus::Delete, "Delete: Extra"),
            (Surplus::DeleteExcluded, "Delete: Extra"),
        ] {
            for has_row in [true, false] {
                let mut case = Case::of(kind);
                case.source = Seen::Absent;
                case.surplus = surplus;
                case.row = case.row.filter(|_| has_row);
                assert_eq!(case.decide(), expected, "{kind}, {surplus:?}");
                let mut root = Case::of(EntryKind::Directory);
                root.source = Seen::Absent;
                root.target = Seen::Present(entry("", EntryKind::Directory, 2));
                root.surplus = surplus;
                assert_eq!(root.decide(), "Keep: Extra", "the root is never deleted");
            }
        }
    }
}

#[test]
fn files_of_an_excluded_size_take_no_part_on_either_side() {
    for (min, max, excluded) in
        [(101, 200, true), (0, 99, true), (100, 100, false), (0, 100, false), (100, 200, false)]
    {
        let case = |surplus, source: bool, target: bool| {
            let mut case = Case::of(FILE);
            case.sizes(min, max);
            case.surplus = surplus;
            if !source {
                case.source = Seen::Absent;
            }
            if !target {
                case.target = Seen::Absent;
            }
            case.decide()
        };
        let pick = |when, otherwise| if excluded { when } else { otherwise };
        let skip = "Skip: SizeExcluded";
        let expected = [
            // Per option, with the file on both sides, only in the source, only in the target.
            (Surplus::Keep, [skip, skip, "Keep: Extra"]),
            (Surplus::Delete, [skip, skip, "Keep: SizeExcluded"]),
            (
                Surplus::DeleteExcluded,
                ["Delete: SizeExcluded", "Forget: SizeExcluded", "Delete: Extra"],
            ),
        ];
        for (surplus, [both, source, target]) in expected {
            let context = format!("{min}..={max}, {surplus:?}");
            let deletes = if surplus == Surplus::Keep { "Keep: Extra" } else { "Delete: Extra" };
            assert_eq!(case(surplus, true, true), pick(both, "Keep: Unchanged"), "{context}");
            assert_eq!(case(surplus, true, false), pick(source, "copy: New"), "{context}");
            assert_eq!(case(surplus, false, true), pick(target, deletes), "{context}");
        }
    }
    for kind in [EntryKind::Symlink, EntryKind::Directory] {
        let mut case = Case::of(kind);
        case.sizes(101, 200);
        case.source = Seen::Absent;
        case.surplus = Surplus::Delete;
        assert_eq!(case.decide(), "Delete: Extra", "sizes only concern files: {kind}");
    }
    let mut unknown = Case::of(FILE);
    unknown.sizes(101, 200);
    unknown.surplus = Surplus::DeleteExcluded;
    unknown.target = Seen::Unknown;
    assert_eq!(unknown.decide(), "Skip: SizeExcluded", "nothing unknown is deleted");
}

#[test]
fn a_row_without_an_entry_on_either_side_is_forgotten_unless_it_is_excluded() {
    let row_only = |key: &str, rules: &[Rule]| {
        let mut case = Case::of(FILE);
        case.row().key = Key::new(key.as_bytes());
        case.source = Seen::Absent;
        case.target = Seen::Absent;
        case.filter = Filter::new(rules, None, None).unwrap();
        case.decide()
    };
    let excluding = [Rule::Exclude("/d/".into()), Rule::Exclude("*.o".into())];
    assert_eq!(row_only("d/a", &[]), "Forget: Gone");
    assert_eq!(row_only("e/a", &excluding), "Forget: Gone");
    assert_eq!(row_only("d/a", &excluding), "Keep: Gone", "its directory is excluded");
    assert_eq!(row_only("d/", &excluding), "Keep: Gone");
    assert_eq!(row_only("e/a.o", &excluding), "Keep: Gone");
    let mut nothing = Case::of(FILE);
    nothing.source = Seen::Absent;
    nothing.target = Seen::Absent;
    nothing.row = None;
    assert_eq!(nothing.decide(), "Keep: Gone");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn links_are_compared_by_text_and_metadata() {
    table(
        EntryKind::Symlink,
        &[
            ("as recorded", |_| {}, "Keep: Unchanged"),
            (
                "a link's inode doesn't count",
                |case| {
                    inode(&mut case.source().stamp).number = Some(9);
                    case.row().source_racy = true;
                    case.options.checksum = true;
                },
                "Keep: Unchanged",
            ),
            (
                "a link that was touched may have other attributes",
                |case| inode(&mut case.target().stamp).ctime = at(9),
                "Record: Unchanged",
            ),
            (
                "a link's mode doesn't count",
                |case| {
                    case.target().metadata.mode = 0o777;
                },
                "Keep: Unchanged",
            ),
            ("no row", |case| case.row = None, "Adopt: SameSizeAndTime"),
            ("a file's row", |case| case.row().kind = FILE, "Adopt: SameSizeAndTime"),
            (
                "made, and the run killed before it was recorded: another text in the row",
                |case| case.row().link = Some(b"old"[..].into()),
                "Record: Unchanged",
            ),
            ("other metadata in the row", |case| case.row().metadata.uid = 9, "Record: Unchanged"),
            ("new", |case| case.target = Seen::Absent, "MakeLink: New"),
            (
                "another text",
                |case| case.target().link = Some(b"other"[..].into()),
                "MakeLink: LinkText",
            ),
            (
                "another text, no row, size only",
                |case| {
                    case.options.size_only = true;
                    case.row = None;
                    case.target().link = Some(b"tekt"[..].into());
                },
                "MakeLink: LinkText",
            ),
            (
                "another time",
                |case| set_mtime(case.source(), at(1_001)),
                "UpdateMetadata: Metadata",
            ),
            (
                "a time that the target rounds",
                |case| {
                    set_mtime(case.target(), at(999));
                    inode(&mut case.row().target).mtime = at(999);
                },
                "Keep: Unchanged",
            ),
            (
                "a time that the target rounded to another one since",
                |case| set_mtime(case.target(), at(999)),
                "UpdateMetadata: Metadata",
            ),
            (
                "another owner, no row",
                |case| {
                    case.row = None;
                    case.target().metadata.uid = 9;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "an owner that the target can't store",
                |case| {
                    case.source().metadata.uid = 9;
                    case.row().metadata.uid = 1;
                    case.achievable = |metadata| Metadata { uid: 1, ..*metadata };
                },
                "Keep: Unchanged",
            ),
            (
                "another text, newer in the target, --update",
                |case| {
                    case.options.update = true;
                    case.target().link = Some(b"other"[..].into());
                    set_mtime(case.target(), at(1_001));
                },
                "Skip: NewerInTarget",
            ),
            (
                "another text, as old, --update",
                |case| {
                    case.options.update = true;
                    case.target().link = Some(b"other"[..].into());
                },
                "MakeLink: LinkText",
            ),
        ],
    );
}

#[test]
fn directories_are_made_or_kept() {
    table(
        EntryKind::Directory,
        &[
            ("on both sides", |_| {}, "KeepDirectory: Unchanged"),
            (
                "other stamps and metadata are compared when all in it is done",
                |case| {
                    set_mtime(case.source(), at(1));
                    case.target().metadata.mode = 0;
                    case.row = None;
                    case.options.checksum = true;
                    case.options.update = true;
                },
                "KeepDirectory: Unchanged",
            ),
            ("new", |case| case.target = Seen::Absent, "MakeDirectory: New"),
            (
                "sizes only concern files",
                |case| {
                    case.sizes(101, 200);
                    case.target = Seen::Absent;
                },
                "MakeDirectory: New",
            ),
        ],
    );
}
