//! Changes of modes: the syntax of chmod(1), with the additions of rsync's `--chmod`.

use super::EntryKind;
use serde::{Deserialize, Serialize};

/// Every bit of a mode.
const ALL: u32 = 0o7777;
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// Changes that are made to the mode of each entry, in order.
///
/// They are written as clauses with commas between them, and read as rsync reads them: symbolic ones
/// (`u=rwX,go-w`) and octal ones (`0640`), for directories alone after a `D` and for all else after
/// an `F`. As in chmod(1) a clause may have several operators (`u+r-x`) and copy the rights of
/// another class (`g=u`). Symbolic links have no mode of their own, and keep theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Recorded", into = "Recorded")]
pub struct ModeChanges {
    /// What was parsed.
    recorded: Recorded,
    changes: Vec<Change>,
}

/// Changes as they are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Recorded {
    changes: String,
    /// The bits that a clause without `u`, `g`, `o` or `a` leaves alone.
    umask: u32,
}

/// One operator with what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    applies: Applies,
    operator: Operator,
    /// The classes, as their execute bits (0o100, 0o010, 0o001).
    classes: u32,
    /// Which bits of the classes it may touch.
    mask: u32,
    rights: Rights,
    /// Set-id and sticky bits.
    special: u32,
    /// The set-id bits that `=` removes where it sets special bits.
    special_of_classes: u32,
}

/// Which entries a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applies {
    All,
    Directories,
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Assign,
    /// An octal mode: all bits are these.
    Set(u32),
}

/// Rights of one class: three bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    /// These; `conditional` is the execute bit where it depends on the entry (`X`).
    Bits { always: u32, conditional: u32 },
    /// Those that the class with this shift has.
    CopyOf(u32),
}

impl ModeChanges {
    /// Parses changes. Clauses without `u`, `g`, `o` or `a` are for all, but for the bits of
    /// `umask`.
    ///
    /// # Errors
    /// Says what is wrong, for people.
    pub fn parse(text: &str, umask: u32) -> Result<Self, String> {
        let mut changes = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause, umask, &mut changes).ok_or_else(|| {
                format!("\"{}\" is not a change of a mode", clause.escape_debug())
            })?;
        }
        Ok(Self { recorded: Recorded { changes: text.to_owned(), umask }, changes })
    }

    /// Returns whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the mode that an entry of this kind gets instead of its own.
    pub fn apply(&self, mode: u32, kind: EntryKind) -> u32 {
        if kind == EntryKind::Symlink {
            return mode;
        }
        let is_directory = kind == EntryKind::Directory;
        let has_execute = is_directory || mode & 0o111 != 0;
        self.changes.iter().fold(mode, |mode, change| match change.applies {
            Applies::Directories if !is_directory => mode,
            Applies::Files if is_directory => mode,
            _ => change.apply(mode, has_execute),
        })
    }
}

impl Change {
    fn apply(&self, mode: u32, has_execute: bool) -> u32 {
        let rights = match self.rights {
            Rights::Bits { always, conditional } if has_execute => always | conditional,
            Rights::Bits { always, .. } => always,
            Rights::CopyOf(shift) => (mode >> shift) & 7,
        };
        let bits = ((self.classes * rights) & self.mask) | self.special;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Assign => {
                let special = if self.special == 0 { 0 } else { self.special_of_classes };
                (mode & !((self.classes * 7) | special)) | bits
            }
            Operator::Set(mode) => mode,
        }
    }
}

/// Parses a clause; `None` for anything else.
fn parse_clause(clause: &str, umask: u32, changes: &mut Vec<Change>) -> Option<()> {
    let (applies, rest) = match clause.strip_prefix('D') {
        Some(rest) => (Applies::Directories, rest),
        None => clause.strip_prefix('F').map_or((Applies::All, clause), |r| (Applies::Files, r)),
    };
    let nothing = Change {
        applies,
        operator: Operator::Add,
        classes: 0,
        mask: ALL,
        rights: Rights::Bits { always: 0, conditional: 0 },
        special: 0,
        special_of_classes: 0,
    };
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        let is_octal = rest.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        let mode = u32::from_str_radix(rest, 8).ok().filter(|mode| is_octal && *mode <= ALL)?;
        changes.push(Change { operator: Operator::Set(mode), ..nothing });
        return Some(());
    }
    let start = rest.find(['+', '-', '='])?;
    let (mut classes, mut special_of_classes) = (0, 0);
    for class in rest[..start].chars() {
        let (bits, special) = match class {
            'u' => (0o100, SET_UID),
            'g' => (0o010, SET_GID),
            'o' => (0o001, 0),
            'a' => (0o111, 0),
            _ => return None,
        };
        classes |= bits;
        special_of_classes |= special;
    }
    let mask = if classes == 0 { ALL & !umask } else { ALL };
    let classes = if classes == 0 { 0o111 } else { classes };
    let mut operations = &rest[start..];
    while let Some(sign) = operations.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Assign,
        };
        let end = operations[1..].find(['+', '-', '=']).map_or(operations.len(), |at| at + 1);
        let (rights, special) = parse_rights(&operations[1..end], special_of_classes)?;
        let change = Change { operator, classes, mask, special_of_classes, ..nothing };
        changes.push(Change { rights, special, ..change });
        operations = &operations[end..];
    }
    Some(())
}

/// Parses what follows an operator: rights with special bits, or the class whose rights are copied.
fn parse_rights(letters: &str, special_of_classes: u32) -> Option<(Rights, u32)> {
    let copied = match letters {
        "u" => Some(6),
        "g" => Some(3),
        "o" => Some(0),
        _ => None,
    };
    if let Some(shift) = copied {
        return Some((Rights::CopyOf(shift), 0));
    }
    let (mut always, mut conditional, mut special) = (0, 0, 0);
    for letter in letters.chars() {
        match letter {
            'r' => always |= 4,
            'w' => always |= 2,
            'x' => always |= 1,
            'X' => conditional |= 1,
            // As in rsync: `s` without a class, or for all, is the set-user-id bit.
            's' if special_of_classes == 0 => special |= SET_UID,
            's' => special |= special_of_classes,
            't' => special |= STICKY,
            _ => return None,
        }
    }
    Some((Rights::Bits { always, conditional }, special))
}

impl From<ModeChanges> for Recorded {
    fn from(changes: ModeChanges) -> Self {
        changes.recorded
    }
}

impl TryFrom<Recorded> for ModeChanges {
    type Error = String;

    fn try_from(Recorded { changes, umask }: Recorded) -> Result<Self, String> {
        if changes.is_empty() { Ok(Self::default()) } else { Self::parse(&changes, umask) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_and_rsync_change_them() {
        use EntryKind::{Directory, File, Symlink};
        for (changes, kind, before, after) in [
            ("644", File, 0o4755, 0o644),
            ("D2775,F664", Directory, 0o700, 0o2775),
            ("D2775,F664", File, 0o700, 0o664),
            ("ug=rwX,o=", File, 0o604, 0o660),
            ("ug=rwX,o=", File, 0o701, 0o770),
            ("ug=rwX,o=", Directory, 0o600, 0o770),
            ("Dg+s,ug+w,Fo-w,+X", Directory, 0o555, 0o2775),
            ("Dg+s,ug+w,Fo-w,+X", File, 0o557, 0o775),
            ("+w", File, 0o444, 0o644),
            ("a+w", File, 0o444, 0o666),
            ("-w", File, 0o666, 0o466),
            ("u+s,+t", File, 0o755, 0o5755),
            ("ug-s", File, 0o6755, 0o755),
            ("u=rx", File, 0o4777, 0o4577),
            ("u=rxs,g=rx", File, 0o2777, 0o6557),
            ("g=u", File, 0o740, 0o770),
            ("go=u-w", File, 0o700, 0o755),
            ("o+g", File, 0o750, 0o755),
            ("a-x+X", File, 0o755, 0o755),
            ("a-x,+X", File, 0o644, 0o644),
            ("0", Symlink, 0o777, 0o777),
            ("D0", File, 0o777, 0o777),
        ] {
            let parsed = ModeChanges::parse(changes, 0o022).unwrap();
            let found = parsed.apply(before, kind);
            assert_eq!(found, after, "{changes} of {before:o}: {found:o}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for text in ["", "u", "8", "64a", "10000", "u+q", "z+x", "u=rw,", "DF+x", "+ux", "u644"] {
            assert!(ModeChanges::parse(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn changes_are_recorded_with_their_umask() {
        let changes = ModeChanges::parse("D+x,Fg=u", 0o027).unwrap();
        let json = serde_json::to_string(&changes).unwrap();
        assert_eq!(json, r#"{"changes":"D+x,Fg=u","umask":23}"#);
        assert_eq!(serde_json::from_str::<ModeChanges>(&json).unwrap(), changes);
        let none = serde_json::to_string(&ModeChanges::default()).unwrap();
        assert!(serde_json::from_str::<ModeChanges>(&none).unwrap().is_empty());
    }
}
