//! Markers of directories: stores that refuse them, or make files of them, and users who want none.

use crate::common::Run;
use crate::common::servers::RcloneServe;
use crate::needs;
use crate::s3::{Fault, Kind, On};
use crate::scene::{PLACE, PREFIX, Scene};
use std::fs;

#[test]
fn a_store_that_takes_no_markers_gets_none_and_the_rest() {
    const NONE: &str = "accepts no markers of directories";
    let scene = Scene::new().with_files(&[("a", b"first"), ("d/e/b", b"second")]);
    fs::create_dir(scene.env.source.join("empty")).expect("make a directory");
    // After the first one it is known of old, and nothing else is written.
    for (status, code) in [
        (403, "AccessDenied"),
        (404, "NoSuchKey"),
        (400, "InvalidArgument"),
        (501, "NotImplemented"),
        (500, "InternalError"),
    ] {
        scene
            .server
            .fail(On::every(Kind::Put).header("content-length: 0"), Fault::Error(status, code));
        let run = scene.up(&[]).expect(0).names(NONE).names("--no-markers");
        assert_eq!(run.told().matches(NONE).count(), 1, "{}", run.told());
        assert_eq!(scene.uploaded("d/e/b").content, "second");
        let run = scene.up(&["--no-markers", "--exit-changes"]).expect(0).is_silent_about(NONE);
        assert_eq!(run.finished().count("requests_put"), 0);
        assert_as_complete(&scene);
        scene.server.heal();
    }
    assert!(scene.bucket.keys().iter().all(|key| !key.ends_with('/')));
    // What has markers is held against them.
    scene.up(&[]).expect(0);
    assert_as_complete(&scene);
    scene.bucket.delete(&format!("{PREFIX}empty/"));
    let against = ["verify", PLACE, "--against", scene.source()];
    Run::of(scene.command(&against)).expect(3).names("empty/");
    Run::of(scene.command(&["diff", scene.source(), PLACE])).expect(3).names("empty/");
}

/// Right after a complete run nothing finds a difference.
fn assert_as_complete(scene: &Scene) {
    let source = scene.source();
    for command in [
        &["verify", "--json", PLACE][..],
        &["verify", PLACE, "--against", source],
        &["diff", source, PLACE],
    ] {
        Run::of(scene.command(command)).expect(0);
    }
}

#[test]
fn markers_that_nobody_wants_are_no_difference() {
    let scene = Scene::new().with_files(&[("a", b"first"), ("d/e/b", b"second")]);
    fs::create_dir(scene.env.source.join("empty")).expect("make a directory");
    scene.up(&["--no-markers"]).expect(0);
    assert_as_complete(&scene);
}

/// `rclone serve s3` refuses by an error of its own, which cost 30 s in each run.
#[test]
fn a_run_of_empty_directories_alone_ends_well_where_markers_are_refused() {
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchKey"), (500, "InternalError")] {
        let scene = Scene::new();
        fs::create_dir_all(scene.env.source.join("d/empty")).expect("make a directory");
        let marker = On::every(Kind::Put).header("content-length: 0");
        let refused = scene.server.fail(marker, Fault::Error(status, code));
        for most in [6, 1] {
            let before = refused.struck();
            scene.up(&[]).expect(0).names("accepts no markers of directories");
            assert!(refused.struck() - before <= most, "{} tries", refused.struck() - before);
            assert_as_complete(&scene);
        }
        assert!(scene.bucket.keys().iter().all(|key| key.contains(".vidimus/manifest/")));
        // It takes them by now.
        scene.server.heal();
        scene.up(&[]).expect(0).is_silent_about("accepts no markers");
        assert_eq!(scene.uploaded("d/empty/").content, "");
    }
}

#[test]
fn one_marker_that_is_refused_is_one_failure_that_tells_the_way_to_do_without() {
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchKey")] {
        let scene = Scene::new();
        for name in ["empty", "other"] {
            fs::create_dir_all(scene.env.source.join(name)).expect("make a directory");
        }
        let marker = On::every(Kind::Put).key("p/empty/");
        scene.server.fail(marker, Fault::Error(status, code));
        let run = scene.up(&[]).expect(1).names("--no-markers");
        run.is_silent_about("vanished during")
            .is_silent_about("accepts no markers of directories (");
        assert_eq!(scene.uploaded("other/").content, "");
    }
}

/// What fails for other reasons is no refusal of markers: a place where nothing can be written.
#[test]
fn a_store_that_fails_is_not_taken_for_one_without_markers() {
    let scene = Scene::new();
    fs::create_dir_all(scene.env.source.join("empty")).expect("make a directory");
    for key in ["p/.vidimus/probe/", "p/.vidimus/probe"] {
        scene.server.fail(On::every(Kind::Put).key(key), Fault::Error(403, "AccessDenied"));
    }
    scene.up(&[]).expect(0).is_silent_about("accepts no markers");
    assert_eq!(scene.uploaded("empty/").content, "");
}

/// It takes `dir/` for the name of a file, which came back as one, and hides what lies in a directory
/// whose marker it refuses.
#[test]
fn no_file_comes_of_an_empty_directory_at_rclone() {
    needs!(RcloneServe::shared());
    let server = RcloneServe::shared().expect("it is there");
    let bucket = server.bucket();
    let scene = Scene::new().with_files(&[("a", b"first"), ("d/b", b"second")]);
    fs::create_dir(scene.env.source.join("empty")).expect("make a directory");
    let place = format!("s3://{bucket}/p");
    let run = |arguments: &[&str]| {
        let mut command = scene.env.command(arguments);
        command.envs(server.environment());
        Run::of(command)
    };
    let up = ["mirror", "--json", scene.source(), &place, "--delete"];
    for copied in [2, 0] {
        let done = run(&up).expect(0).names("accepts no markers of directories");
        done.finished().counts(&[("files_copied", copied), ("requests_retried", 0)]);
    }
    run(&["verify", &place]).expect(0);
    run(&["mirror", &place, scene.target()]).expect(0);
    assert_eq!(scene.downloaded("d/b"), Some(b"second".to_vec()));
    assert!(!scene.env.target.join("empty").exists());
}

/// As between two buckets of it, where a marker is an object like any other.
#[test]
fn an_object_whose_key_ends_as_a_markers_is_not_written_where_another_would_come_of_it() {
    needs!(RcloneServe::shared());
    let server = RcloneServe::shared().expect("it is there");
    let bucket = server.bucket();
    let scene = Scene::new().with_objects(&[("a", b"first"), ("empty/", b"")]);
    let endpoint = |url: &str| url.replace(':', "%3A").replace('/', "%2F");
    let from = format!("{PLACE}?endpoint={}", endpoint(&scene.server.endpoint()));
    let to = format!("s3://{bucket}/q");
    let mut command = scene.env.command(&["mirror", "--json", &from, &to]);
    command.envs(server.environment());
    Run::of(command).expect(1).names("keeps no objects whose keys end in");
    let mut command = scene.env.command(&["ls", "--recursive", &to]);
    command.envs(server.environment());
    assert_eq!(
        String::from_utf8(command.output().expect("run the binary").stdout).expect("text"),
        "a\n"
    );
}
