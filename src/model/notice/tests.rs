//! Tests that the codes of notices don't change, because scripts depend on them, and that data is
//! read back as it was written.

use super::*;
use crate::model::error::Side;
use crate::model::{Feature, Features, RunId};

/// Returns one of each notice, in order.
fn notices() -> Vec<Notice> {
    let cause = || "it is so".to_owned();
    let (key, run) = (|| Key::new(&b"a/\xff"[..]), || RunId("r1".to_owned()));
    let source = || "/source".to_owned();
    let mut features = Features::default();
    features.add(Feature::Acl);
    vec![
        Notice::TargetUntried { cause: cause() },
        Notice::LockWithoutConditions,
        Notice::LockByContent,
        Notice::LockTakenOver { holder: "run r0".to_owned() },
        Notice::LockNotReleased { cause: cause() },
        Notice::DirectoryStays { cause: cause() },
        Notice::NotCountedAhead { cause: cause() },
        Notice::TargetInUse { holder: "run r0".to_owned() },
        Notice::LeftoversStay { cause: cause() },
        Notice::StreamsStay { cause: cause() },
        Notice::StateLost {
            set_aside: Some("old".to_owned()),
            instead: Some(Instead::TakenOver { entries: 3, run: run() }),
        },
        Notice::StateDamaged,
        Notice::StateReplaced { cause: cause() },
        Notice::NotRecorded { cause: cause() },
        Notice::DamageNotRecorded { cause: cause() },
        Notice::RollbackUnknown { cause: cause() },
        Notice::FilterUnknown { cause: cause() },
        Notice::ManifestTakenOver { entries: 3, run: run() },
        Notice::ManifestCaughtUp { run: run(), taken: 3, dropped: 1 },
        Notice::ManifestToCatchUp { run: run() },
        Notice::LaterManifestUsed { run: run() },
        Notice::LaterManifestUnknown { cause: cause() },
        Notice::RemovalsUnknown { run: run(), cause: cause() },
        Notice::ManifestOvertaken { run: None, cause: cause(), follows: Overtaken::Dropped(4) },
        Notice::OlderManifestUsed {
            cause: Some(cause()),
            publication: 2,
            follows: Some(Overtaken::Unknown),
        },
        Notice::ManifestReplaced { cause: cause() },
        Notice::ManifestToReplace { cause: cause() },
        Notice::ManifestUnusable { cause: cause() },
        Notice::PastUnknown { cause: cause() },
        Notice::ManifestNotTakenOver { cause: cause() },
        Notice::ManifestUnchecked { cause: cause() },
        Notice::ManifestDamaged { cause: cause() },
        Notice::ManifestWrittenAnew { cause: cause(), publication: 2, begins_chain: true },
        Notice::SignatureDropped { publication: 2 },
        Notice::ManifestSigned { publication: 2 },
        Notice::RecordDistrusted,
        Notice::OthersDistrusted { entries: 1 },
        Notice::ManifestClosed { to: Readers::Group, mode: "0640".to_owned() },
        Notice::SegmentStays { cause: cause() },
        Notice::SourceRecordBreaksOff { source: source(), cause: cause() },
        Notice::SourceRecordUnusable { source: source(), cause: cause() },
        Notice::SourceManifestUnusable { source: source(), cause: cause() },
        Notice::NamesUnknown { source: source() },
        Notice::FlagsNotKept { count: 2, first: key() },
        Notice::FlagsNotSet { count: 2 },
        Notice::NothingDeleted,
        Notice::OtherFileSystem,
        Notice::MisplacedPattern { pattern: "/s/a".to_owned(), meant: "/a".to_owned() },
        Notice::left_out(&key(), cause()),
        Notice::ReservedNameLeftOut,
        Notice::DirectoryInUse { key: key() },
        Notice::HoldsExcluded { key: key() },
        Notice::SetAsideStays { key: key(), directory: "a/".to_owned() },
        Notice::SetAsideFound { key: key() },
        Notice::LeftoverFound { key: key() },
        Notice::OtherFilter,
        Notice::OtherDeletion { deleted: false },
        Notice::OwnNamesLeftOut { count: 2 },
        Notice::ListOfOtherDigests { format: "b3sum".to_owned(), other: "sha256sum".to_owned() },
        Notice::BagIncomplete,
        Notice::TagFileLeftOut { key: key(), cause: cause() },
        Notice::UnreadableByBagit { key: key() },
        Notice::MoreUnreadableByBagit { count: 2 },
        Notice::SurplusInBag { count: 2 },
        Notice::EmptyDirectoriesInBag { count: 2 },
        Notice::FilesNotSynced,
        Notice::DirectoriesNotSynced,
        Notice::RenamesReplace,
        Notice::DirectoriesOfOthers,
        Notice::MetadataNotKept { what: Kept::Mode, count: 1 },
        Notice::AttributesKeptApart { count: 2 },
        Notice::LinksLeftOut { count: 2 },
        Notice::InodesGivenAnew { side: Side::Target },
        Notice::RangesIgnored,
        Notice::ConditionsIgnored,
        Notice::CopiesRefused { cause: cause() },
        Notice::NoMarkers { cause: cause() },
        Notice::KeysLostInListing { store: "s3".to_owned(), next: Remembered::Failed(cause()) },
        Notice::BackupKept { directory: "/b/run".to_owned(), count: 2 },
        Notice::BackupPlanned { directory: "/b".to_owned() },
        Notice::ModeNotKept { cause: cause() },
        Notice::MetadataNotSet { cause: cause() },
        Notice::FeaturesLost { features },
    ]
}

#[test]
fn notices_have_codes_that_stay_and_come_back_as_they_were() {
    let notices = notices();
    let codes: Vec<_> = notices.iter().map(Notice::code).collect();
    assert_eq!(codes, Notice::CODES, "one of each");
    let mut texts = Vec::new();
    for notice in notices {
        let value = serde_json::to_value(&notice).unwrap();
        assert_eq!(value["code"], notice.code());
        assert_eq!(serde_json::from_value::<Notice>(value.clone()).unwrap(), notice);
        texts.push(format!("{:?} {value}\n  {notice}", notice.severity()));
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn the_caller_names_the_settings_in_a_notice() {
    let notice = Notice::SurplusInBag { count: 2 };
    let text = |name: &str| {
        format!(
            "files that the source does not have, and that stay in the bag: 2; {name} removes them"
        )
    };
    assert_eq!(notice.to_string(), text("`delete`"));
    assert_eq!(notice.say(|setting| format!("--{}", setting.code())), text("--delete"));
}

#[test]
fn a_notice_about_an_entry_has_its_key_as_data() {
    for notice in notices() {
        let value = serde_json::to_value(&notice).unwrap();
        assert_eq!(notice.key().is_some(), value.get("key_base64").is_some(), "{value}");
    }
}
