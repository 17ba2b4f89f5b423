//! When a file is unchanged: stamps against a row, first contact, and the switches.

use super::*;
use crate::model::AttributesDigest;

/// A change of one side's entry, by name.
type Touch = (&'static str, fn(&mut Entry));

const SAME: Touch = ("same", |_| {});
const CTIME: Touch = ("ctime", |entry| inode(&mut entry.stamp).ctime = at(2_001));
const INODE: Touch = ("inode", |entry| inode(&mut entry.stamp).number = Some(77));
const MTIME: Touch = ("mtime", |entry| set_mtime(entry, at(1_001)));
const SIZE: Touch = ("size", |entry| entry.stamp.size = 101);
const SIZE_AND_MTIME: Touch = ("size and mtime", |entry| {
    entry.stamp.size = 99;
    set_mtime(entry, at(999));
});

/// Decides on a recorded file whose two sides were touched.
fn touched(source: Touch, target: Touch, change: Change) -> String {
    let mut case = Case::of(FILE);
    source.1(case.source());
    target.1(case.target());
    change(&mut case);
    case.decide()
}

#[test]
fn with_a_row_the_stamp_of_each_side_is_compared_with_the_recorded_one() {
    let drift = "copy: TargetDrift";
    // For each source: the target as recorded, doubtful (ctime or inode), and different.
    let rows: [(&[Touch], [&str; 3]); 4] = [
        (&[SAME], ["Keep: Unchanged", "check target: TargetDoubtful", drift]),
        (
            &[CTIME, INODE],
            ["check source: SourceDoubtful", "check both sides: SourceDoubtful", drift],
        ),
        (&[MTIME], ["copy unless recorded: Mtime", "copy: Mtime", drift]),
        (&[SIZE, SIZE_AND_MTIME], ["copy: Size", "copy: Size", drift]),
    ];
    for (sources, expected) in rows {
        for &source in sources {
            let targets: [&[Touch]; 3] = [&[SAME], &[CTIME, INODE], &[MTIME, SIZE, SIZE_AND_MTIME]];
            for (targets, expected) in targets.into_iter().zip(expected) {
                for &target in targets {
                    let found = touched(source, target, |_| {});
                    assert_eq!(found, expected, "source: {}, target: {}", source.0, target.0);
                }
            }
        }
    }
}

#[test]
fn a_racy_stamp_of_the_source_proves_nothing() {
    let racy: Change = |case| case.row().source_racy = true;
    assert_eq!(touched(SAME, SAME, racy), "check source: SourceDoubtful");
    assert_eq!(touched(SAME, CTIME, racy), "check both sides: SourceDoubtful");
    assert_eq!(touched(MTIME, SAME, racy), "copy unless recorded: Mtime");
    assert_eq!(touched(SIZE, SAME, racy), "copy: Size");
    assert_eq!(touched(SAME, SIZE, racy), "copy: TargetDrift");
}

#[test]
fn a_row_without_a_digest_only_proves_unchanged_stamps() {
    let adopted: Change = |case| {
        case.row().digest = None;
        case.row().origin = Origin::Adopted;
    };
    let both = |reason| format!("check both sides with each other: {reason}");
    assert_eq!(touched(SAME, SAME, adopted), "Keep: Unchanged");
    assert_eq!(touched(CTIME, SAME, adopted), both("SourceDoubtful"));
    assert_eq!(touched(SAME, INODE, adopted), both("TargetDoubtful"));
    assert_eq!(touched(CTIME, INODE, adopted), both("SourceDoubtful"));
    assert_eq!(touched(MTIME, SAME, adopted), "copy: Mtime");
    assert_eq!(touched(SAME, MTIME, adopted), "copy: TargetDrift");
    let checksum: Change = |case| {
        case.row().digest = None;
        case.options.checksum = true;
    };
    assert_eq!(touched(SAME, SAME, checksum), both("Checksum"));
}

#[test]
fn a_row_from_another_source_describes_only_the_target() {
    let anothers: Change = |case| case.row().from = SourceNumber(2);
    assert_eq!(touched(SAME, SAME, anothers), "Adopt: KnownByDigest");
    assert_eq!(touched(CTIME, SAME, anothers), "Adopt: KnownByDigest");
    assert_eq!(touched(SAME, CTIME, anothers), "check target: TargetDoubtful");
    assert_eq!(touched(MTIME, SAME, anothers), "copy unless recorded: Mtime");
    assert_eq!(touched(MTIME, CTIME, anothers), "copy: Mtime");
    assert_eq!(touched(SIZE, SAME, anothers), "copy: Size");
    assert_eq!(touched(SAME, MTIME, anothers), "copy: TargetDrift");
    assert_eq!(touched(SAME, SIZE, anothers), "copy: TargetDrift");
    let other_mode: Change = |case| {
        case.row().from = SourceNumber(2);
        case.source().metadata.mode = 0o600;
    };
    assert_eq!(touched(SAME, SAME, other_mode), "UpdateMetadata: Metadata");
    let checksum: Change = |case| {
        case.row().from = SourceNumber(2);
        case.options.checksum = true;
    };
    assert_eq!(touched(SAME, SAME, checksum), "check source: Checksum");
    assert_eq!(touched(SAME, CTIME, checksum), "check both sides: Checksum");
    let lacks: Change = |case| {
        case.row().from = SourceNumber(2);
        case.options.digests.sha256 = true;
    };
    assert_eq!(touched(SAME, SAME, lacks), "check source: Digest");
    let without_digest: Change = |case| {
        case.row().from = SourceNumber(2);
        case.row().digest = None;
    };
    assert_eq!(touched(SAME, SAME, without_digest), "Adopt: SameSizeAndTime");
    let size_only: Change = |case| {
        case.row().from = SourceNumber(2);
        case.options.size_only = true;
    };
    assert_eq!(touched(SAME, SAME, size_only), "Adopt: SameSizeAndTime");
    assert_eq!(touched(SAME, CTIME, size_only), "Keep: SameSize");
    // The source's stamp of an imported or streamed file is unknown.
    let imported: Change = |case| {
        case.row().from = SourceNumber(2);
        case.row().source = Stamp::unknown(case.row().source.size);
    };
    assert_eq!(touched(SAME, SAME, imported), "check source: SourceDoubtful");
}

/// Files with and without a recorded SHA-256.
#[test]
fn a_missing_digest_that_is_asked_for_is_computed_from_the_source() {
    let lacks: Change = |case| case.options.digests.sha256 = true;
    assert_eq!(touched(SAME, SAME, lacks), "check source: Digest");
    assert_eq!(touched(SAME, CTIME, lacks), "check both sides: Digest");
    assert_eq!(touched(CTIME, SAME, lacks), "check source: SourceDoubtful");
    assert_eq!(touched(MTIME, SAME, lacks), "copy unless recorded: Mtime");
    assert_eq!(touched(SAME, MTIME, lacks), "copy: TargetDrift");
    let has_another: Change = |case| {
        case.options.digests.sha256 = true;
        case.row().extra.md5 = Some([1; 16]);
    };
    assert_eq!(touched(SAME, SAME, has_another), "check source: Digest");
    let has: Change = |case| {
        case.options.digests.sha256 = true;
        case.row().extra.sha256 = Some([1; 32]);
    };
    assert_eq!(touched(SAME, SAME, has), "Keep: Unchanged");
    let adopted: Change = |case| {
        case.options.digests.md5 = true;
        case.row().digest = None;
    };
    assert_eq!(touched(SAME, SAME, adopted), "check both sides with each other: Digest");
    let is_new: Change = |case| {
        case.options.digests.md5 = true;
        case.row = None;
    };
    assert_eq!(touched(SAME, SAME, is_new), "check both sides with each other: Digest");
    let other_mode: Change = |case| {
        case.options.digests.md5 = true;
        case.row = None;
        case.source().metadata.mode = 0o600;
    };
    assert_eq!(touched(SAME, SAME, other_mode), "check both sides with each other: Digest");
    assert_eq!(touched(MTIME, SAME, is_new), "copy: Mtime");
}

#[test]
fn a_missing_digest_of_an_extra_file_is_computed_from_the_target() {
    let surplus: Change = |case| {
        case.options.digests.sha256 = true;
        case.source = Seen::Absent;
    };
    let of = |target: Touch, change: Change| {
        let mut case = Case::of(FILE);
        target.1(case.target());
        surplus(&mut case);
        change(&mut case);
        case.decide()
    };
    assert_eq!(of(SAME, |_| {}), "HashSurplus: Digest");
    assert_eq!(of(CTIME, |_| {}), "HashSurplus: Digest");
    assert_eq!(of(SAME, |case| case.row().digest = None), "HashSurplus: Digest");
    assert_eq!(of(CTIME, |case| case.row().digest = None), "Keep: Extra");
    // Its content is unknown, or it is deleted, or it has the digest.
    assert_eq!(of(MTIME, |_| {}), "Keep: Extra");
    assert_eq!(of(SAME, |case| case.row = None), "Keep: Extra");
    assert_eq!(of(SAME, |case| case.surplus = Surplus::Delete), "Delete: Extra");
    assert_eq!(of(SAME, |case| case.row().extra.sha256 = Some([1; 32])), "Keep: Extra");
}

#[test]
fn ignoring_ctime_or_inode_still_compares_the_other() {
    let ctime: Change = |case| case.options.trust.ignore_ctime = true;
    let inode: Change = |case| case.options.trust.ignore_inode = true;
    assert_eq!(touched(CTIME, CTIME, ctime), "Keep: Unchanged");
    assert_eq!(touched(INODE, INODE, inode), "Keep: Unchanged");
    assert_eq!(touched(INODE, SAME, ctime), "check source: SourceDoubtful");
    assert_eq!(touched(CTIME, SAME, inode), "check source: SourceDoubtful");
    assert_eq!(touched(SAME, INODE, ctime), "check target: TargetDoubtful");
    assert_eq!(touched(SAME, CTIME, inode), "check target: TargetDoubtful");
    assert_eq!(touched(MTIME, SAME, ctime), "copy unless recorded: Mtime");
    assert_eq!(touched(SAME, SIZE, inode), "copy: TargetDrift");
}

#[test]
fn checksum_hashes_the_source_whatever_its_stamp_is() {
    let checksum: Change = |case| case.options.checksum = true;
    assert_eq!(touched(SAME, SAME, checksum), "check source: Checksum");
    assert_eq!(touched(SAME, CTIME, checksum), "check both sides: Checksum");
    assert_eq!(touched(CTIME, SAME, checksum), "check source: SourceDoubtful");
    assert_eq!(touched(MTIME, SAME, checksum), "copy unless recorded: Mtime");
    assert_eq!(touched(SAME, MTIME, checksum), "copy: TargetDrift");
    table(
        FILE,
        &[
            (
                "no row: content, where sizes allow it to be the same",
                |case| {
                    case.options.checksum = true;
                    case.row = None;
                },
                "check both sides with each other: Checksum",
            ),
            (
                "no row, other mtime: still content",
                |case| {
                    case.options.checksum = true;
                    case.row = None;
                    set_mtime(case.source(), at(1));
                },
                "check both sides with each other: Checksum",
            ),
            (
                "no row, other size: no need to read",
                |case| {
                    case.options.checksum = true;
                    case.row = None;
                    case.source().stamp.size = 1;
                },
                "copy: Size",
            ),
        ],
    );
}

#[test]
fn without_a_row_equal_size_and_mtime_are_adopted() {
    table(
        FILE,
        &[
            ("the same", |case| case.row = None, "Adopt: SameSizeAndTime"),
            (
                "ctime and inode don't count",
                |case| {
                    case.row = None;
                    inode(&mut case.source().stamp).ctime = at(9);
                    inode(&mut case.target().stamp).number = Some(9);
                },
                "Adopt: SameSizeAndTime",
            ),
            (
                "the target stores what it can",
                |case| {
                    case.row = None;
                    case.source().metadata.uid = 9;
                    case.achievable = |metadata| Metadata { uid: 1, ..*metadata };
                },
                "Adopt: SameSizeAndTime",
            ),
            (
                "other mode",
                |case| {
                    case.row = None;
                    case.source().metadata.mode = 0o600;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "other owner",
                |case| {
                    case.row = None;
                    case.target().metadata.uid = 9;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "other size",
                |case| {
                    case.row = None;
                    case.target().stamp.size = 9;
                },
                "copy: Size",
            ),
            (
                "a nanosecond apart",
                |case| {
                    case.row = None;
                    set_mtime(case.target(), Timestamp { seconds: 1_000, nanos: 6 });
                },
                "copy: Mtime",
            ),
            (
                "a row of another kind is none",
                |case| case.row().kind = EntryKind::Symlink,
                "Adopt: SameSizeAndTime",
            ),
            (
                "new",
                |case| {
                    case.row = None;
                    case.target = Seen::Absent;
                },
                "copy: New",
            ),
            ("gone from the target", |case| case.target = Seen::Absent, "copy: New"),
        ],
    );
}

#[test]
fn with_unchanged_stamps_other_metadata_is_set_without_reading() {
    table(
        FILE,
        &[
            (
                "another mode, its ctime ignored",
                |case| {
                    case.options.trust.ignore_ctime = true;
                    case.source().metadata.mode = 0o755;
                    inode(&mut case.source().stamp).ctime = at(3_000);
                },
                "UpdateMetadata: Metadata",
            ),
            ("another group", |case| case.target().metadata.gid = 9, "UpdateMetadata: Metadata"),
            (
                "metadata that the target can't store is no difference",
                |case| {
                    case.source().metadata.gid = 9;
                    case.achievable = |metadata| Metadata { gid: 1, ..*metadata };
                },
                "Keep: Unchanged",
            ),
            (
                "the target keeps coarser times",
                |case| {
                    let coarse = Timestamp { seconds: 1_000, nanos: 0 };
                    set_mtime(case.target(), coarse);
                    inode(&mut case.row().target).mtime = coarse;
                },
                "Keep: Unchanged",
            ),
            (
                "the target keeps another time: reported, not copied again and again",
                |case| {
                    set_mtime(case.target(), at(1_002));
                    inode(&mut case.row().target).mtime = at(1_002);
                },
                "fail (NotKept(\"its modification time\"))",
            ),
        ],
    );
}

#[test]
fn with_size_only_sizes_decide_and_no_difference_is_hidden() {
    let size_only: Change = |case| case.options.size_only = true;
    assert_eq!(touched(SAME, SAME, size_only), "Keep: SameSize");
    for touch in [CTIME, INODE, MTIME] {
        assert_eq!(touched(touch, SAME, size_only), "Keep: SameSize", "source {}", touch.0);
        assert_eq!(touched(SAME, touch, size_only), "Keep: SameSize", "target {}", touch.0);
    }
    assert_eq!(touched(SIZE, SAME, size_only), "copy: Size");
    assert_eq!(touched(SAME, SIZE, size_only), "copy: Size");
    assert_eq!(touched(SIZE, SIZE, size_only), "Keep: SameSize");
    table(
        FILE,
        &[
            (
                "racy, other mode: the mode is set and nothing recorded",
                |case| {
                    case.options.size_only = true;
                    case.row().source_racy = true;
                    case.target().metadata.mode = 0o600;
                },
                "UpdateRights: Metadata",
            ),
            (
                "no row, other mtime and mode",
                |case| {
                    case.options.size_only = true;
                    case.row = None;
                    set_mtime(case.source(), at(1));
                    case.target().metadata.mode = 0o600;
                },
                "UpdateRights: Metadata",
            ),
            (
                "as recorded, other mode",
                |case| {
                    case.options.size_only = true;
                    case.target().metadata.mode = 0o600;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "no row, same mtime",
                |case| {
                    case.options.size_only = true;
                    case.row = None;
                },
                "Adopt: SameSizeAndTime",
            ),
            (
                "no row, other mtime: neither adopted nor set",
                |case| {
                    case.options.size_only = true;
                    case.row = None;
                    set_mtime(case.source(), at(1));
                },
                "Keep: SameSize",
            ),
        ],
    );
}

#[test]
fn update_skips_files_that_are_newer_in_the_target() {
    table(
        FILE,
        &[
            (
                "newer, whatever else differs",
                |case| {
                    case.options.update = true;
                    case.row = None;
                    set_mtime(case.target(), at(1_001));
                    case.target().stamp.size = 1;
                    case.target().metadata.mode = 0;
                },
                "Skip: NewerInTarget",
            ),
            (
                "newer by a nanosecond, and drifted from its row",
                |case| {
                    case.options.update = true;
                    set_mtime(case.target(), Timestamp { seconds: 1_000, nanos: 6 });
                },
                "Skip: NewerInTarget",
            ),
            (
                "of equal age: compared as usual",
                |case| {
                    case.options.update = true;
                    case.row = None;
                    case.target().stamp.size = 1;
                },
                "copy: Size",
            ),
            (
                "older",
                |case| {
                    case.options.update = true;
                    case.row = None;
                    set_mtime(case.target(), at(999));
                },
                "copy: Mtime",
            ),
            (
                "new",
                |case| {
                    case.options.update = true;
                    case.target = Seen::Absent;
                },
                "copy: New",
            ),
            (
                "of another kind: age doesn't count",
                |case| {
                    case.options.update = true;
                    case.target = Seen::Present(entry("a", EntryKind::Symlink, 2));
                    set_mtime(case.target(), at(5_000));
                },
                "copy: Kind",
            ),
        ],
    );
}

/// The source's mode includes an ACL's mask; the row and the target have what the ACL grants.
fn narrowed(case: &mut Case) {
    case.source().metadata.mode = 0o674;
    case.row().metadata.mode = 0o644;
    let attributes = Some(AttributesDigest([7; 16]));
    case.row().extras = Extras { attributes, ..Extras::default() }.boxed();
    case.target().metadata.mode = 0o644;
}

#[test]
fn a_narrowed_mode_is_kept_while_the_source_is_unchanged() {
    table(
        EntryKind::File,
        &[
            (
                "it has no ACL",
                |case| {
                    narrowed(case);
                    case.row().extras = None;
                },
                "UpdateMetadata: Metadata",
            ),
            ("as recorded", narrowed, "Keep: Unchanged"),
            (
                "the source was touched",
                |case| {
                    narrowed(case);
                    inode(&mut case.source().stamp).ctime = at(2_001);
                },
                "check source: SourceDoubtful",
            ),
            (
                "ctime is ignored, so that a change could not be noticed",
                |case| {
                    narrowed(case);
                    case.options.trust.ignore_ctime = true;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "the target has the source's mode, and a change could not be noticed",
                |case| {
                    narrowed(case);
                    case.target().metadata.mode = 0o674;
                    case.options.trust.ignore_ctime = true;
                },
                "Record: Metadata",
            ),
            (
                "the target has the source's mode",
                |case| {
                    narrowed(case);
                    case.target().metadata.mode = 0o674;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "the target has got another mode since",
                |case| {
                    narrowed(case);
                    case.target().metadata.mode = 0o640;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "more than group bits differ",
                |case| {
                    narrowed(case);
                    case.row().metadata.mode = 0o640;
                    case.target().metadata.mode = 0o640;
                },
                "UpdateMetadata: Metadata",
            ),
            (
                "the row has rights that the source hasn't",
                |case| {
                    case.row().metadata.mode = 0o664;
                    case.target().metadata.mode = 0o664;
                },
                "UpdateMetadata: Metadata",
            ),
        ],
    );
}
