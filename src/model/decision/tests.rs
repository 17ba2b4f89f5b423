//! Tests that the codes of decisions don't change, because plan files and histories of other
//! releases hold them, and that data is read back as it was written.

use super::*;
use crate::model::Status;
use serde_json::{Value, json};

const DIGEST: Digest = Digest([0xab; 32]);

/// Returns the next action; starting from [`Action::Keep`] this yields all of them. It doesn't
/// compile if a new one is missing.
fn following(action: Action) -> Option<Action> {
    use Action::*;
    Some(match action {
        Keep => Skip,
        Skip => Adopt,
        Adopt => Copy { unless: None },
        Copy { unless: None } => Copy { unless: Some(DIGEST) },
        Copy { unless: Some(_) } => Check(super::Check::Source { expected: DIGEST }),
        Check(super::Check::Source { expected }) => Check(super::Check::Target { expected }),
        Check(super::Check::Target { expected }) => Check(super::Check::Both { expected }),
        Check(super::Check::Both { .. }) => Check(super::Check::EachOther),
        Check(super::Check::EachOther) => Look,
        Look => CompareTag { read: Side::Source },
        CompareTag { read: Side::Source } => CompareTag { read: Side::Target },
        CompareTag { read: Side::Target } => HashSurplus,
        HashSurplus => UpdateMetadata,
        UpdateMetadata => UpdateRights,
        UpdateRights => Record,
        Record => MakeLink,
        MakeLink => MakeSpecial,
        MakeSpecial => Link,
        Link => Rename,
        Rename => MakeDirectory,
        MakeDirectory => KeepDirectory,
        KeepDirectory => Delete,
        Delete => RemoveSetAside,
        RemoveSetAside => Sweep,
        Sweep => Forget,
        Forget => AfterDeletion,
        AfterDeletion => Mend,
        Mend => MendMetadata { is_proven: false },
        MendMetadata { is_proven: false } => MendMetadata { is_proven: true },
        MendMetadata { is_proven: true } => return None,
    })
}

fn actions() -> impl Iterator<Item = Action> {
    std::iter::successors(Some(Action::Keep), |action| following(*action))
}

#[test]
fn actions_have_codes_that_stay_and_come_back_as_they_were() {
    let mut codes = Vec::new();
    for action in actions() {
        let value = serde_json::to_value(action).unwrap();
        assert_eq!(value["action"], action.code());
        assert_eq!(serde_json::from_value::<Action>(value.clone()).unwrap(), action);
        let decision = Decision::new(action, Reason::New);
        let json = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&json).unwrap(), decision, "{json}");
        codes.push(json.replace(&DIGEST.to_string(), "ab…"));
    }
    insta::assert_snapshot!(codes.join("\n"));
}

#[test]
fn reasons_have_codes_that_stay_and_come_back_as_they_were() {
    let of = |reason: Reason| {
        let value = serde_json::to_value(reason).unwrap();
        assert_eq!(serde_json::from_value::<Reason>(value.clone()).unwrap(), reason);
        format!("{}: {reason}", value.as_str().unwrap())
    };
    let codes: Vec<_> = Reason::ALL.into_iter().map(of).collect();
    insta::assert_snapshot!(codes.join("\n"));
}

#[test]
fn statuses_have_codes_that_stay() {
    let all = [Status::Done, Status::Waits, Status::Refused];
    assert_eq!(serde_json::to_value(all).unwrap(), json!(["done", "waits", "refused"]));
}

#[test]
fn unknown_codes_and_missing_fields_are_refused() {
    for wrong in [json!({ "action": "copied", "reason": "new" }), json!({ "action": "keep" })] {
        assert!(serde_json::from_value::<Decision>(wrong.clone()).is_err(), "{wrong}");
    }
    assert!(serde_json::from_value::<Reason>(Value::from("newer")).is_err());
}
