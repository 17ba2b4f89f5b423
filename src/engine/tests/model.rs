//! Random trees and edits, with random faults and power cuts in between: afterwards a run makes the
//! target equal to the source.

use super::scene::{Scene, all};
use crate::backend::memory::{Call, Memory, MemoryOptions, Survivors, When};
use crate::manifest::Row;
use crate::model::attributes::ACCESS_ACL;
use crate::model::{EntryKind, SpecialKind};
use proptest::prelude::*;
use rustix::io::Errno;

/// An edit of a tree.
#[derive(Clone, Debug)]
enum Edit {
    Write(String, Vec<u8>),
    Link(String),
    Special(String, SpecialKind),
    Directory(String),
    Remove(String),
    Move(String, String),
    Mode(String, u32),
    Time(String, i64),
    /// Another name for the leaf at the first path.
    HardLink(String, String),
    /// An attribute, or an ACL, gets a value, or is removed.
    Attribute(String, &'static str, Option<u8>),
}

/// A fault during a run.
#[derive(Clone, Debug)]
enum Trouble {
    None,
    /// Reading the nth chunk fails.
    Source(Call, usize),
    Target(Call, usize),
    /// The power is cut at the nth change of the target.
    PowerCut(usize, Survivors),
    /// The source is edited while the nth chunk is read.
    Edited(usize, Edit),
}

/// Names of which some are prefixes of others, so that leaves and directories collide.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("a-b"), Just("b"), Just("c.o"), Just("\u{e9}")];
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn edit() -> impl Strategy<Value = Edit> {
    let kind = prop_oneof![Just(SpecialKind::Fifo), Just(SpecialKind::CharacterDevice)];
    let name = prop::sample::select(vec!["user.a", "security.capability", ACCESS_ACL]);
    prop_oneof![
        5 => (path(), prop::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(path, content)| Edit::Write(path, content)),
        1 => path().prop_map(Edit::Link),
        1 => (path(), kind).prop_map(|(path, kind)| Edit::Special(path, kind)),
        2 => path().prop_map(Edit::Directory),
        3 => path().prop_map(Edit::Remove),
        3 => (path(), path()).prop_map(|(from, to)| Edit::Move(from, to)),
        1 => (path(), 0_u32..0o1000).prop_map(|(path, mode)| Edit::Mode(path, mode)),
        1 => (path(), -5_i64..5).prop_map(|(path, time)| Edit::Time(path, time)),
        3 => (path(), path()).prop_map(|(of, path)| Edit::HardLink(of, path)),
        2 => (path(), name, prop::option::of(0..3_u8))
            .prop_map(|(path, name, value)| Edit::Attribute(path, name, value)),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let source = prop_oneof![Just(Call::List), Just(Call::ListEntry), Just(Call::Read)];
    let target = prop_oneof![
        Just(Call::List),
        Just(Call::ListEntry),
        Just(Call::Stage),
        Just(Call::Write),
        Just(Call::Finish),
        Just(Call::Publish),
        Just(Call::PublishDirectory),
        Just(Call::MakeDirectory),
        Just(Call::MakeLink),
        Just(Call::MakeSpecial),
        Just(Call::SetMetadata),
        Just(Call::HardLink),
        Just(Call::Rename),
        Just(Call::Remove),
        Just(Call::RemoveSetAside),
        Just(Call::Barrier),
    ];
    let survivors = prop_oneof![Just(Survivors::None), Just(Survivors::Names)];
    prop_oneof![
        2 => Just(Trouble::None),
        2 => (source, 1_usize..8).prop_map(|(call, nth)| Trouble::Source(call, nth)),
        4 => (target, 1_usize..8).prop_map(|(call, nth)| Trouble::Target(call, nth)),
        6 => (1_usize..20, survivors).prop_map(|(nth, what)| Trouble::PowerCut(nth, what)),
        2 => (1_usize..6, edit()).prop_map(|(nth, edit)| Trouble::Edited(nth, edit)),
    ]
}

/// Applies an edit to a tree, after removing whatever is in the way.
fn apply(memory: &Memory, edit: &Edit) {
    let exists = |path: &str| {
        let leaf = memory.entry(path).is_some();
        leaf || memory.entry(&format!("{path}/")).is_some()
    };
    let clear = |path: &str| {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for above in above.filter(|above| memory.entry(above).is_some()) {
            memory.remove(above);
        }
    };
    match edit {
        Edit::Write(path, content) => {
            clear(path);
            // A file is written in place, as by some editors.
            if memory.entry(path).is_none_or(|found| found.kind != EntryKind::File) {
                memory.remove(path);
            }
            memory.write(path, content);
        }
        Edit::Link(path) => {
            clear(path);
            memory.remove(path);
            memory.link(path, "text");
        }
        Edit::Special(path, kind) => {
            clear(path);
            memory.remove(path);
            memory.special(path, *kind);
        }
        Edit::Directory(path) => {
            clear(path);
            memory.remove(path);
            memory.directory(path);
        }
        Edit::Remove(path) => memory.remove(path),
        Edit::Move(from, to) if exists(from) && from != to => {
            let is_within = |inner: &str, outer: &str| inner.starts_with(&format!("{outer}/"));
            if !is_within(to, from) && !is_within(from, to) {
                clear(to);
                memory.remove(to);
                if let Some((above, _)) = to.rsplit_once('/') {
                    memory.directory(above);
                }
                if exists(from) {
                    if memory.entry(from).is_some() {
                        memory.rename(from, to);
                    } else {
                        memory.rename(&format!("{from}/"), &format!("{to}/"));
                    }
                }
            }
        }
        Edit::Mode(path, mode) if exists(path) => {
            memory.set(path, |metadata| metadata.mode = *mode);
        }
        Edit::Time(path, time) if exists(path) => {
            memory.set(path, |metadata| metadata.mtime.seconds = *time);
        }
        Edit::HardLink(of, path) if memory.entry(of).is_some() && of != path => {
            clear(path);
            // It may have been in the way.
            if memory.entry(of).is_some() && memory.entry(&format!("{path}/")).is_none() {
                memory.hard_link(of, path);
            }
        }
        // Symbolic links and special files have none.
        Edit::Attribute(path, name, value)
            if exists(path)
                && memory.entry(path).is_none_or(|found| found.kind == EntryKind::File) =>
        {
            memory.set_attribute(path, name, value.as_ref().map(std::slice::from_ref));
        }
        Edit::Move(..)
        | Edit::Mode(..)
        | Edit::Time(..)
        | Edit::HardLink(..)
        | Edit::Attribute(..) => {}
    }
}

/// Mirrors while a fault happens.
fn run_with(scene: &Scene, trouble: &Trouble) {
    let (source, target) = (&scene.source, &scene.target);
    match trouble.clone() {
        Trouble::None => {}
        Trouble::Source(call, nth) => source.fail(call, When::Nth(nth), Errno::ACCESS),
        Trouble::Target(call, nth) => target.fail(call, When::Nth(nth), Errno::ACCESS),
        Trouble::PowerCut(nth, _) => target.on_change(When::Nth(nth), |target| {
            target.cut_power();
            Ok(())
        }),
        Trouble::Edited(nth, edit) => source.on(Call::Read, When::Nth(nth), move |source| {
            apply(source, &edit);
            Ok(())
        }),
    }
    let before = scene.rows();
    scene.run();
    source.clear_script();
    target.clear_script();
    if let Trouble::PowerCut(_, survivors) = trouble {
        target.restore_power(*survivors);
    }
    // Rows of earlier runs stay until their entries are known to be gone, and an interrupted run
    // may have replaced those: only new rows are checked.
    let is_earlier = |row: &Row| before.iter().any(|it| (&it.key, it.run) == (&row.key, row.run));
    for row in scene.rows().into_iter().filter(|row| !is_earlier(row)) {
        // Every new row must describe an entry that would survive a power cut.
        let durable = target.durable(&row.key);
        assert!(durable.is_some(), "{} is recorded, and not durable", row.key);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_run_makes_the_target_what_the_source_is(
        rounds in prop::collection::vec((prop::collection::vec(edit(), 0..8), trouble()), 1..4),
        before in prop::collection::vec(edit(), 0..4),
        builds_directories in any::<bool>(),
    ) {
        let mut scene =
            Scene::into_target(MemoryOptions { builds_directories, ..MemoryOptions::default() });
        scene.delete = Some(all());
        scene.keeps_all = true;
        for edit in before {
            let edit = match edit {
                // Longer than any of the source's: with its size and time it would be taken for it.
                Edit::Write(path, content) => Edit::Write(path, [&content[..], b"longer"].concat()),
                edit => edit,
            };
            apply(&scene.target, &edit);
        }
        scene.target.sync();
        for (edits, trouble) in &rounds {
            for edit in edits {
                apply(&scene.source, edit);
            }
            run_with(&scene, trouble);
        }
        // The next run makes up for failures; deletions that had to wait need another one.
        scene.run();
        scene.run().complete();
        scene.is_mirrored();
    }
}
