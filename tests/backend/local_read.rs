//! Reading files of this machine while somebody changes them: never as good, never for ever.

use crate::common::tools;
use crate::common::tree::{TestTree, set_mtime_of};
use crate::fixture::{key, look, read};
use crate::local::Local;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use vidimus::backend::local::LocalSource;
use vidimus::backend::{
    Capabilities, ListItem, ListOptions, Listing, Piece, ReadError, Reading, Sink, Source,
};
use vidimus::engine::{Cores, ReadSide, Wanted};
use vidimus::model::run::Counter;
use vidimus::model::{Cause, Digest, Entry, Error, Key};

/// A file smaller than its buffer, one that fills it, one of several buffers, and one that is read
/// in ranges.
const SIZES: [usize; 4] = [10, 64, 200, (9 << 20) - 5];
const BUFFER: usize = 64;

/// What somebody does to a file, by name.
type Change = (&'static str, fn(&Path));
/// What somebody puts in a file's place, by name.
type Replacement = (&'static str, fn(TestTree) -> TestTree);

fn local(size: usize) -> (Local, Entry) {
    let local = Local::of(&TestTree::new().file("d/f", vec![b'x'; size]).mtime(1_000, 5));
    std::fs::write(local.outside.join("f"), vec![b'x'; size]).expect("write");
    set_mtime_of(&local.outside.join("f"), 1_000, 5);
    let listed = look(&local.source(), "d/f");
    (local, listed)
}

/// Reads on a thread of its own: a test that hangs is one that fails.
fn read_in_time(local: &Local, entry: &Entry) -> Result<Vec<Vec<u8>>, ReadError> {
    let (source, entry) = (local.source(), entry.clone());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        sender.send(read_whole(&source, &entry)).expect("somebody waits");
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("the read hangs")
}

/// Reads in ranges what is best read so.
fn read_whole(source: &LocalSource, entry: &Entry) -> Result<Vec<Vec<u8>>, ReadError> {
    let Some(ranges) = source.read_ranges(entry)? else { return read(source, entry, BUFFER) };
    let mut chunks = Vec::new();
    for number in 0..entry.stamp.size.div_ceil(ranges.length()) {
        ranges.read(number, &mut [0; 10_000], &mut |piece| {
            piece.bytes(&mut |chunk| {
                chunks.push(chunk.to_vec());
                Ok(())
            })
        })?;
    }
    ranges.end()?;
    Ok(chunks)
}

#[track_caller]
fn assert_changed(what: &str, size: usize, read: &Result<Vec<Vec<u8>>, ReadError>) {
    assert!(matches!(read, Err(ReadError::Changed)), "{what}, {size} bytes: {read:?}");
}

#[test]
fn a_file_changed_since_it_was_listed_is_not_read_as_good() {
    let changes: [Change; 6] = [
        ("rewritten, size and mtime kept", |path| {
            let size = path.metadata().expect("look").len() as usize;
            let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
            file.write_all(&vec![b'y'; size]).expect("write");
            set_mtime_of(path, 1_000, 5);
        }),
        ("touched", |path| set_mtime_of(path, 1_000, 6)),
        ("grown by a byte", |path| {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("open");
            file.write_all(b"y").expect("write");
            set_mtime_of(path, 1_000, 5);
        }),
        ("grown much", |path| {
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .expect("open")
                .set_len(5_000)
                .expect("grow");
        }),
        ("shrunk by a byte", |path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
            file.set_len(path.metadata().expect("look").len() - 1).expect("shrink");
            set_mtime_of(path, 1_000, 5);
        }),
        ("emptied", |path| {
            std::fs::File::create(path).expect("empty");
        }),
    ];
    for size in SIZES {
        for (what, change) in changes {
            let (local, listed) = local(size);
            assert_eq!(read_in_time(&local, &listed).expect("as listed").concat().len(), size);
            // ctime moves by the clock's tick.
            std::thread::sleep(Duration::from_millis(12));
            change(&local.root.join("d/f"));
            assert_changed(what, size, &read_in_time(&local, &listed));
        }
    }
}

#[test]
fn what_stands_in_a_files_place_is_not_read_and_never_waited_for() {
    let mut kinds: Vec<Replacement> = vec![
        ("a FIFO", |tree| tree.fifo("d/f")),
        ("a socket", |tree| tree.socket("d/f")),
        ("a link to such a file", |tree| tree.symlink("d/f", "../../outside/f")),
        ("a link to nothing", |tree| tree.symlink("d/f", "nothing")),
        ("a link to itself", |tree| tree.symlink("d/f", "f")),
        ("a directory", |tree| tree.dir("d/f")),
        ("a link for its directory", |tree| tree.symlink("d", "../outside")),
    ];
    if tools::root().is_ok() {
        kinds.push(("a device", |tree| tree.device("d/f")));
    }
    for size in SIZES.into_iter().chain([0]) {
        for (what, replace) in &kinds {
            let (local, listed) = local(size);
            replace(TestTree::new()).write(&local.root);
            assert_changed(what, size, &read_in_time(&local, &listed));
        }
    }
}

#[test]
fn a_fifo_that_somebody_writes_to_is_not_waited_for_either() {
    for size in SIZES {
        let (local, listed) = local(size);
        TestTree::new().fifo("d/f").write(&local.root);
        let fifo = std::fs::OpenOptions::new().read(true).write(true).open(local.root.join("d/f"));
        let mut fifo = fifo.expect("open a FIFO for both");
        assert_changed("silent", size, &read_in_time(&local, &listed));
        // A pipe holds no more than 64 KiB.
        fifo.write_all(&vec![b'x'; size.min(60_000)]).expect("write");
        assert_changed("as many bytes as listed", size, &read_in_time(&local, &listed));
    }
}

#[test]
fn a_file_or_directory_that_is_gone_is_named_as_vanished() {
    let (local, listed) = local(10);
    std::fs::remove_file(local.root.join("d/f")).expect("remove");
    let read = || read_in_time(&local, &listed);
    assert!(matches!(read(), Err(ReadError::Source(Cause::Vanished))), "{:?}", read());
    std::fs::remove_dir(local.root.join("d")).expect("remove");
    assert!(matches!(read(), Err(ReadError::Source(Cause::Vanished))), "{:?}", read());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_read_as_good() {
    let changes: [Change; 4] = [
        ("what was read already", |path| {
            let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
            file.write_all(b"y").expect("write");
        }),
        ("appended to", |path| {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("open");
            file.write_all(b"y").expect("write");
        }),
        ("cut", |path| {
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .expect("open")
                .set_len(70)
                .expect("cut");
        }),
        ("emptied", |path| {
            std::fs::File::create(path).expect("empty");
        }),
    ];
    for (what, change) in changes {
        let (local, listed) = local(200);
        std::thread::sleep(Duration::from_millis(12));
        let path = local.root.join("d/f");
        let mut chunks = 0;
        let read = local.source().read(&listed, &mut [0; BUFFER], &mut |_| {
            chunks += 1;
            if chunks == 1 {
                change(&path);
            }
            Ok(())
        });
        assert!(matches!(read, Err(ReadError::Changed)), "{what}: {read:?}");
    }
}

#[test]
fn a_file_that_was_opened_is_read_whole_though_its_name_goes() {
    let (local, listed) = local(200);
    let path = local.root.join("d/f");
    let before = path.metadata().expect("look");
    let mut whole = Vec::new();
    let read = local.source().read(&listed, &mut [0; BUFFER], &mut |reading| {
        let Reading::Content(Piece::Chunk(chunk)) = reading else { return Ok(()) };
        whole.extend_from_slice(chunk);
        if path.exists() {
            std::fs::remove_file(&path).expect("remove");
            std::fs::write(&path, "another file").expect("write");
        }
        Ok(())
    });
    // Losing its name changes its ctime: it is the file that was listed no more.
    assert!(matches!(read, Err(ReadError::Changed)), "{read:?}");
    assert_ne!(before.ino(), path.metadata().expect("look").ino());
}

#[test]
fn nothing_above_the_root_is_looked_at_or_read() {
    let (local, listed) = local(10);
    let source = local.source();
    let outside: [&[u8]; 7] =
        [b"../outside/f", b"..", b"../", b"d/../../outside/f", b"/etc/passwd", b".", b"d/../.."];
    for name in outside {
        let found = source.look(&key(name));
        assert!(matches!(found, Err(Cause::IllegalName)), "{:?}: {found:?}", key(name));
        let listed = Entry { key: key(name), ..listed.clone() };
        let read = read(&source, &listed, BUFFER);
        assert!(matches!(read, Err(ReadError::Source(Cause::IllegalName))), "{read:?}");
    }
}

/// A source that is not read before the clock tick of a file's last change is over.
struct Patient(LocalSource);

impl Source for Patient {
    fn capabilities(&self) -> Capabilities {
        Capabilities::FILE_SYSTEM
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        self.0.list(options)
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        self.0.list_name(name, options)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        assert_eq!(entry.stamp.tick_left(vidimus::engine::now()), None);
        self.0.read(entry, buffer, sink)
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        self.0.look(key)
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        self.0.names(directory)
    }
}

#[test]
fn a_file_is_not_read_within_the_clock_tick_of_its_last_change() {
    // Before Linux 6.13 a change within that tick leaves no trace: half of it could be read.
    let local = Local::of(&TestTree::new());
    std::fs::write(local.root.join("f"), [b'x'; 200]).expect("write");
    let source = Patient(local.source());
    let listed = look(&source.0, "f");
    let cores = Cores::default();
    let (buffer, bytes) = (&mut [0; BUFFER], Counter::default());
    let hashed = cores.hash_content(
        ReadSide::source(&source),
        &listed,
        buffer,
        &bytes,
        &|_| Ok(()),
        Wanted::default(),
    );
    let (_, hashed) = hashed.expect("read it");
    assert_eq!(hashed.digest, Digest::of(&[b'x'; 200]));
    assert!(!hashed.racy, "and so the stamp is evidence");
}
