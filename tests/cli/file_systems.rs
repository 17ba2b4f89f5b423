//! File systems that do things in a way of their own, on each of which everything works: real ones,
//! by the programs that serve them.

use crate::commands::fed;
use crate::common::environment::text;
use crate::common::tools::Mount;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, Run, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a run says of a file system, in part.
const NUMBERS: &str = "does not keep inode numbers stable";
const UNGUARDED: &str = "neither hard links nor renames that refuse to replace";
const MODES: &str = "does not keep their modes";

/// How long FUSE keeps what a look told it, and a moment more.
const CACHED: Duration = Duration::from_millis(1_200);

/// An environment whose target lies on another file system.
struct Scene {
    env: Environment,
    _mount: Mount,
}

impl Scene {
    /// `mount` is given a fresh directory beside the mount point, and the mount point.
    fn on(mount: impl FnOnce(&Path, &Path) -> Result<Mount, String>) -> Result<Self, String> {
        tools::root()?;
        let mut env = Environment::new();
        let [beside, at] = ["beside", "mounted"].map(|name| env.root.join(name));
        fs::create_dir(&beside).expect("make a directory");
        fs::create_dir(&at).expect("make a mount point");
        let mount = mount(&beside, &at)?;
        env.target = at.join("target");
        Ok(Self { env, _mount: mount })
    }

    /// Everything that a mirror does, with what `tells` says and nothing else worth a note.
    fn mirrors(&self, tells: &[&str]) {
        let env = &self.env;
        TestTree::new()
            .file("a", "first")
            .mtime(1_577_934_245, 0)
            .mode(0o640)
            .file("d/b", "second")
            .mtime(1_500_000_002, 0)
            .file("d/e/c", "third")
            .file("gone", "x")
            .file("grows", "x")
            .dir("becomes a file")
            .file("becomes a directory", "leaf")
            .mtime(1_400_000_000, 0)
            .dir("d")
            .mode(0o750)
            .mtime(1_234_567_890, 0)
            .write(&env.source);
        env.age();
        self.run(&[], tells).counts(&[("files_copied", 6), ("files_failed", 0)]);
        self.is_mirrored();
        std::thread::sleep(CACHED);
        let again = self.run(&[], tells);
        again.counts(&[("files_copied", 0), ("files_unchanged", 6), ("metadata_updated", 0)]);
        again.counts(&[("bytes_hashed", 0)]);
        self.is_known();
        fs::remove_file(env.source.join("gone")).expect("remove a file");
        fs::write(env.source.join("grows"), "more").expect("write a file");
        fs::remove_dir(env.source.join("becomes a file")).expect("remove a directory");
        fs::remove_file(env.source.join("becomes a directory")).expect("remove a file");
        TestTree::new()
            .file("becomes a file", "content")
            .file("becomes a directory/f", "content")
            .file("new", "n")
            .write(&env.source);
        set_mtime_of(&env.source.join("a"), 1_600_000_000, 0);
        env.age();
        let changed = self.run(&["--delete", "--max-delete", "100%"], tells);
        changed.counts(&[
            ("files_copied", 4),
            ("metadata_updated", 2),
            ("files_deleted", 1),
            ("files_failed", 0),
        ]);
        self.is_mirrored();
        env.verify(&[]).expect(0);
    }

    /// What only looks at the target goes by what a run found out: nothing is to be done.
    fn is_known(&self) {
        let env = &self.env;
        let records = env.mirror(&["--dry-run"]).expect(0).records();
        let changes: Vec<_> = records.iter().filter(|it| it["event"] == "changed").collect();
        assert!(changes.is_empty(), "{changes:?}");
        let explained = env.vidimus(&["explain", "--json", "source", text(&env.target), "a"]);
        assert_eq!(explained.expect(0).records()[0]["decision"], "keep");
        env.verify(&["--against", text(&env.source)]).expect(0);
        env.vidimus(&["diff", "source", text(&env.target)]).expect(0);
    }

    fn run(&self, flags: &[&str], tells: &[&str]) -> crate::common::environment::Finished {
        let run = self.env.mirror(flags).expect(0);
        let notes: Vec<_> = run
            .records()
            .into_iter()
            .filter(|record| record["event"] == "note")
            .map(|record| record["text"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(notes.len(), tells.len(), "{notes:?}");
        for told in tells {
            assert!(notes.iter().any(|note| note.contains(told)), "{told}: {notes:?}");
        }
        run.finished()
    }

    /// Content and times; what a file system makes of modes is its own affair.
    fn is_mirrored(&self) {
        let (source, target) = (&self.env.source, &self.env.target);
        let compared = std::process::Command::new("diff")
            .args(["-r", "--exclude=.vidimus", text(source), text(target)])
            .output()
            .expect("run diff");
        assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
        for name in ["a", "d/b", "d", "grows"] {
            let [ours, theirs] = [source, target].map(|root| time_of(&root.join(name)));
            assert!(ours.abs_diff(theirs) < 2, "{name}: {ours} and {theirs}");
        }
    }
}

fn time_of(path: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    path.symlink_metadata().expect("look at an entry").mtime()
}

/// Two directories in one.
fn branches(beside: &Path) -> [PathBuf; 2] {
    let branches = ["one", "two"].map(|name| beside.join(name));
    for branch in &branches {
        fs::create_dir(branch).expect("make a branch");
    }
    branches
}

#[test]
fn a_file_system_that_passes_over_lone_times_keeps_them() {
    let scene = Scene::on(Mount::bindfs);
    needs!(scene.as_ref().map_err(Clone::clone));
    scene.expect("it was asked").mirrors(&[]);
}

#[test]
fn a_file_system_whose_inode_numbers_follow_names_is_mirrored_to() {
    let scene = Scene::on(|beside, at| {
        let [one, two] = branches(beside);
        Mount::mergerfs([&one, &two], at)
    });
    needs!(scene.as_ref().map_err(Clone::clone));
    scene.expect("it was asked").mirrors(&[NUMBERS]);
}

#[test]
fn a_directory_of_another_machine_is_mirrored_to() {
    let scene = Scene::on(Mount::sshfs);
    needs!(scene.as_ref().map_err(Clone::clone));
    let scene = scene.expect("it was asked");
    scene.mirrors(&[NUMBERS]);
    // A link's time would be that of the file which it points to.
    let pointed_to = scene.env.root.join("beside/target/grows");
    let before = time_of(&pointed_to);
    TestTree::new().symlink("l", "grows").mtime(1_300_000_000, 0).write(&scene.env.source);
    let told = [NUMBERS, "owner, group and time of a symbolic link"];
    scene.run(&[], &told).counts(&[("files_copied", 1)]);
    scene.run(&[], &told).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
    assert_eq!(time_of(&pointed_to), before, "what a link points to was touched");
}

#[test]
fn a_file_system_that_keeps_no_modes_says_so_in_each_run() {
    let scene = Scene::on(|beside, at| Mount::ntfs(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    scene.expect("it was asked").mirrors(&[MODES]);
}

#[test]
fn a_file_system_with_neither_links_nor_exclusive_renames_is_mirrored_to() {
    let scene = Scene::on(|beside, at| Mount::exfat(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    scene.expect("it was asked").mirrors(&[NUMBERS, UNGUARDED, MODES]);
}

#[test]
fn what_puts_imports_and_bags_find_out_counts_for_who_looks_later() {
    let scene = Scene::on(|beside, at| Mount::ntfs(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    let env = &scene.expect("it was asked").env;
    let loses = |run: Run| run.expect(0).names("does not keep its mode");
    let forget = || {
        fs::remove_dir_all(&env.state).expect("remove the state");
        fs::create_dir(&env.state).expect("make the state's directory");
    };
    let equal = |target: &Path| {
        env.vidimus(&["verify", text(target), "--against", "source"]).expect(0);
        env.vidimus(&["diff", "source", text(target)]).expect(0);
        let dry = env.vidimus(&["mirror", "-n", "-v", "source", text(target)]).expect(0);
        dry.is_silent_about("update metadata  a");
    };
    // What was put is the latest publication.
    TestTree::new().file("a", "first").mode(0o640).write(&env.source);
    env.age();
    env.mirror(&[]).expect(0);
    let put = env.target.join("b");
    loses(fed(env, b"content", &["put", "-", text(&put)]));
    assert!(fs::copy(&put, env.source.join("b")).is_ok());
    set_mtime_of(&env.source.join("b"), time_of(&put), 0);
    set_mtime_of(&put, time_of(&put), 0);
    for target in [&env.source, &env.target] {
        set_mtime_of(target, 1_500_000_000, 0);
    }
    forget();
    equal(&env.target);
    // A list tells no modes.
    let imported = env.target.with_extension("imported");
    fs::create_dir(&imported).expect("make a directory");
    fs::copy(env.source.join("a"), imported.join("a")).expect("copy a file");
    for root in [&env.source, &imported] {
        set_mtime_of(&root.join("a"), 1_400_000_000, 0);
    }
    fs::remove_file(env.source.join("b")).expect("remove a file");
    let list = format!("{}  a\n", blake3::hash(b"first"));
    fs::write(env.root.join("list"), list).expect("write a list");
    let import = ["manifest", "import", "--format", "b3sum", text(&imported), "list"];
    env.vidimus(&import).expect(0);
    for root in [&env.source, &imported] {
        set_mtime_of(root, 1_500_000_000, 0);
    }
    forget();
    equal(&imported);
    // What it has no way to keep is no difference that could be mended.
    fs::write(imported.join("a"), "worse").expect("write a file");
    let mended = env.vidimus(&["verify", text(&imported), "--repair-from", "source"]);
    mended.expect(0).names("mended a");
}

#[test]
fn each_run_into_a_bag_finds_out_how_names_are_given_there() {
    let scene = Scene::on(|beside, at| Mount::exfat(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    let env = &scene.expect("it was asked").env;
    TestTree::new().file("a", "first").write(&env.source);
    env.age();
    let bag = env.target.with_extension("bag");
    for told in [&[NUMBERS, UNGUARDED][..]; 2] {
        let run = env.vidimus(&["bag", "source", text(&bag)]).expect(0);
        told.iter().fold(run, |run, told| run.names(told));
    }
    let bag = env.target.with_extension("put");
    fs::create_dir(&bag).expect("make a directory");
    for content in [&b"one"[..], b"two"] {
        let put = fed(env, content, &["put", "-", text(&bag.join("f"))]).expect(0);
        put.names(NUMBERS).names(UNGUARDED);
    }
}

#[test]
fn links_that_a_file_system_has_none_of_are_left_out_and_counted() {
    const LEFT_OUT: &str = "2 symbolic links are left out: the target's file system has none";
    let scene = Scene::on(|beside, at| Mount::exfat(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    let env = &scene.expect("it was asked").env;
    TestTree::new()
        .file("d/f", "content")
        .file("e/f", "content")
        .file("e/g", "content")
        .symlink("d/l", "f")
        .symlink("e/l", "nowhere")
        .write(&env.source);
    env.age();
    for (copied, unchanged) in [(3, 0), (0, 3)] {
        let run = env.mirror(&[]).expect(0).names(LEFT_OUT).finished();
        run.counts(&[("files_copied", copied), ("files_unchanged", unchanged)]);
        run.counts(&[("files_skipped", 2), ("files_failed", 0)]);
        env.verify(&[]).expect(0);
    }
    let dry = env.mirror(&["--dry-run"]).expect(0).names(LEFT_OUT);
    assert!(dry.records().iter().all(|it| it["change"] != "make_link"));
    let explained = env.vidimus(&["explain", "source", text(&env.target), "d/l"]).expect(0);
    explained.names("keep: the target's file system has no symbolic links");
    let against = env.vidimus(&["verify", text(&env.target), "--against", "source"]).expect(3);
    against.names("metadata d/l: symbolic link -> none").names("2 differences");
    let diff = env.vidimus(&["diff", "source", text(&env.target)]).expect(3);
    diff.names("metadata   e/l  (symbolic link -> none: B has no links)").names("2 entries");
    env.vidimus(&["diff", "--no-metadata", "source", text(&env.target)]).expect(0);
    // As if the source had nothing there.
    fs::create_dir_all(env.target.join("e/l/inner")).expect("make a directory");
    fs::write(env.target.join("d/l"), "stale").expect("write a file");
    env.mirror(&["--delete", "--max-delete", "100%"]).expect(0).names(LEFT_OUT);
    assert!(!env.target.join("d/l").exists() && !env.target.join("e/l").exists());
}

#[test]
fn special_files_that_a_file_system_has_none_of_leave_nothing_there() {
    let scene = Scene::on(|beside, at| Mount::exfat(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    let env = &scene.expect("it was asked").env;
    let tree = TestTree::new().file("new/a", "1").file("new/b", "2").fifo("new/pipe");
    tree.device("device").write(&env.source);
    env.age();
    for _ in 0..2 {
        env.mirror(&[]).expect(1).names("1 other special file is missing, too");
        let entries = walkdir::WalkDir::new(&env.target).into_iter().map(Result::unwrap);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let made: Vec<_> = names.filter(|name| name.contains("pipe") || name == "device").collect();
        assert_eq!(made, [""; 0]);
        assert!(crate::common::Snapshot::read(&env.target).temporaries().is_empty());
    }
    env.mirror(&["--no-specials"]).expect(0);
}

#[test]
fn special_files_have_the_mode_that_a_file_system_gives_them() {
    let scene = Scene::on(|beside, at| Mount::ntfs(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    let env = &scene.expect("it was asked").env;
    let tree = TestTree::new().file("new/a", "1").fifo("new/pipe").device("device");
    tree.mtime(1_500_000_000, 0).write(&env.source);
    env.age();
    env.mirrored(&[]);
    std::thread::sleep(CACHED);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
}

#[test]
fn names_that_a_file_system_cannot_have_are_failures_that_say_so_before_anything_is_read() {
    const REFUSED: &str = "allows no name that holds ':': rename it in the source";
    let scene = Scene::on(|beside, at| Mount::exfat(&beside.join("image"), at));
    needs!(scene.as_ref().map_err(Clone::clone));
    let env = &scene.expect("it was asked").env;
    TestTree::new().file("f", "content").file("q:r", "content").write(&env.source);
    TestTree::new().file("w:d/f", "content").file("w:d/g", "content").write(&env.source);
    env.age();
    for (flags, bytes) in [(&[][..], 7), (&[], 0), (&["--dry-run"], 0)] {
        let run = env.mirror(flags).expect(1).names(REFUSED).names("\"w:d/\"");
        let run = run.names("its directory could not be made").finished();
        run.counts(&[("files_failed", 4), ("bytes_hashed", bytes)]);
    }
    let explained = env.vidimus(&["explain", "source", text(&env.target), "q:r"]).expect(0);
    explained.names(REFUSED);
    let put = env.target.join("p?");
    let put = fed(env, b"content", &["put", "-", text(&put)]).expect(7);
    put.names("allows no name that holds '?'");
    for (name, why) in [("c\u{1}", "a control character"), ("b\\s", "holds '\\'")] {
        fs::write(env.source.join(name), "content").expect("write a file");
        env.mirror(&[]).expect(1).names(&why.replace('\\', "\\\\"));
    }
}

#[test]
fn a_directory_that_cannot_be_renamed_is_filled_all_the_same() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new()
        .file("new/a", "first")
        .file("new/b", "second")
        .symlink("new/l", "a")
        .file("other/a", "first")
        .file("other/b", "second")
        .write(&env.source);
    env.age();
    // Only of renames to this name.
    let fails = ["-P", "new", "-e", "inject=renameat,renameat2:error=EXDEV"];
    let arguments = env.mirror_arguments(&[]);
    env.strace(&fails, &arguments).expect(0).finished().counts(&[("files_failed", 0)]);
    assert!(env.trace().contains("EXDEV"), "nothing was injected");
    assert_mirrored(&env.source, &env.target);
    env.verify(&[]).expect(0);
    // They have other stamps than before they were moved, and are read once for it.
    env.mirror(&[]).expect(0).finished().counts(&[("files_copied", 0)]);
    let again = env.mirror(&[]).expect(0).finished();
    again.counts(&[("files_copied", 0), ("files_unchanged", 5), ("bytes_hashed", 0)]);
}

#[test]
fn a_source_whose_inode_numbers_are_made_up_is_not_read_again() {
    needs!(tools::root());
    let mut env = Environment::new();
    let at = env.root.join("mounted");
    fs::create_dir(&at).expect("make a mount point");
    let beside = env.root.join("beside");
    fs::create_dir(&beside).expect("make a directory");
    // Long ago: what keeps whole seconds is in doubt for two of them.
    let tree = TestTree::new().file("a", "first").mtime(1_500_000_000, 0);
    tree.file("d/b", "second").mtime(1_500_000_000, 0).write(&beside.join("source"));
    fs::write(beside.join("other"), "other").expect("write a file");
    env.source = at.join("source");
    let mount = Mount::sshfs(&beside, &at);
    needs!(mount.as_ref().map_err(Clone::clone));
    env.mirror(&["--delete"]).expect(0).names(NUMBERS);
    drop(mount);
    // In another order: other numbers.
    let _mount = Mount::sshfs(&beside, &at).expect("mount it again");
    fs::read(at.join("other")).expect("read a file");
    fs::read(env.source.join("d/b")).expect("read a file");
    let again = env.mirror(&["--delete"]).expect(0).finished();
    again.counts(&[("files_unchanged", 2), ("bytes_hashed", 0)]);
}

#[test]
fn a_directory_time_that_is_not_kept_is_told_in_each_run() {
    needs!(tools::mounts());
    let mut env = Environment::new();
    let at = env.root.join("mounted");
    fs::create_dir(&at).expect("make a mount point");
    // Inodes of 128 bytes hold no time after 2038.
    let mount = Mount::ext4_of(&env.root.join("image"), &at, 16, &["-I", "128"]);
    needs!(mount.as_ref().map_err(Clone::clone));
    env.target = at.join("target");
    TestTree::new()
        .file("d/x", "x")
        .dir("d")
        .mtime(2_524_608_000, 0)
        .dir("e")
        .mtime(2_524_608_000, 0)
        .write(&env.source);
    env.age();
    for flags in [&[][..], &[], &["--dry-run"], &[]] {
        let run = env.mirror(flags).expect(1).names("\"d/\"").names("\"e/\"");
        let run = run.names("does not keep its modification time").finished();
        run.counts(&[("files_failed", 2)]);
    }
    fs::write(env.source.join("d/y"), "y").expect("write a file");
    set_mtime_of(&env.source.join("d"), 2_524_608_000, 0);
    env.mirror(&[]).expect(1).finished().counts(&[("files_failed", 2), ("files_copied", 1)]);
    let told = env.vidimus(&["explain", text(&env.source), text(&env.target), "e/"]).expect(0);
    told.names("can't keep its modification time");
}

#[test]
fn times_that_a_file_system_rounds_are_found_out_with_and_without_a_record() {
    type Mounting = fn(&Path, &Path) -> Result<Mount, String>;
    let exfat: Mounting = |beside, at| Mount::exfat(&beside.join("image"), at);
    let ntfs: Mounting = |beside, at| Mount::ntfs(&beside.join("image"), at);
    for mount in [exfat, ntfs] {
        let scene = Scene::on(mount);
        needs!(scene.as_ref().map_err(Clone::clone));
        let env = &scene.expect("it was asked").env;
        let tree = TestTree::new().file("odd", "1").mtime(1_500_000_001, 999_999_999);
        tree.file("d/b", "2").mtime(1_500_000_003, 1).file("c", "3").write(&env.source);
        env.age();
        env.mirrored(&[]).counts(&[("files_copied", 3)]);
        let unchanged = [("files_copied", 0), ("metadata_updated", 0), ("files_failed", 0)];
        env.mirrored(&[]).counts(&unchanged);
        env.lose_records();
        env.mirrored(&[]).counts(&unchanged);
    }
}

#[test]
fn times_that_a_target_shifts_are_equal_within_the_window() {
    let env = Environment::new();
    TestTree::new().file("a", "1").mtime(1_500_000_000, 0).write(&env.source);
    env.mirrored(&[]);
    // As FAT does when summer ends.
    set_mtime_of(&env.target.join("a"), 1_500_003_600, 0);
    env.lose_records();
    env.mirror(&["-n", "--modify-window=30m"]).expect(0).names("\"action\":\"copy\"");
    env.mirrored(&["--modify-window=1h"]).counts(&[("files_copied", 0), ("files_adopted", 1)]);
    env.mirrored(&["--modify-window=1h"]).counts(&[("files_copied", 0), ("files_unchanged", 1)]);
}
