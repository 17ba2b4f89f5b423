use super::*;
use proptest::prelude::*;

fn read_spool(spool: Spool) -> Vec<Vec<u8>> {
    let mut reader = spool.into_reader().unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        records.push(record.to_vec());
    }
    assert!(reader.next().unwrap().is_none(), "the end stays the end");
    records
}

fn read_sorted(sorted: &mut Sorted) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(record) = sorted.next().unwrap() {
        records.push(record.to_vec());
    }
    assert!(sorted.next().unwrap().is_none(), "the end stays the end");
    assert_eq!(sorted.remaining(), 0);
    records
}

fn sorter(dir: &Path, memory: usize, records: &[Vec<u8>]) -> Sorter {
    let mut sorter = Sorter::new(dir, memory);
    for record in records {
        sorter.push(record).unwrap();
    }
    sorter
}

fn assert_no_names_in(dir: &Path) {
    let names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn records_that_fit_in_memory_touch_no_disk() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("a/b");
    let records = vec![b"b".to_vec(), b"".to_vec(), b"a".to_vec()];
    let mut spool = Spool::new(&*dir, 100);
    for record in &records {
        spool.push(record).unwrap();
    }
    assert_eq!((spool.records, spool.is_empty()), (3, false));
    assert_eq!(read_spool(spool), records);
    let mut sorted = sorter(&dir, 100, &records).finish().unwrap();
    assert_eq!(sorted.remaining(), 3);
    assert_eq!(read_sorted(&mut sorted), [&b""[..], b"a", b"b"]);
    assert!(!dir.exists());
}

#[test]
fn an_empty_spool_returns_no_records() {
    let dir = Path::new("/nonexistent");
    assert!(Spool::new(dir, 0).is_empty());
    assert!(read_spool(Spool::new(dir, 0)).is_empty());
    let mut sorted = Sorter::new(dir, 0).finish().unwrap();
    assert_eq!(sorted.memory_bytes(), 0);
    sorted.spill().unwrap();
    assert!(read_sorted(&mut sorted).is_empty());
}

#[test]
fn the_directory_is_private_and_its_files_have_no_names() {
    use std::os::unix::fs::PermissionsExt as _;
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("a/b");
    let mut spool = Spool::new(&*dir, 1);
    spool.push(b"one").unwrap();
    spool.push(b"two").unwrap();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_no_names_in(&dir);
    assert_eq!(read_spool(spool), [b"one", b"two"]);
}

#[test]
fn a_spool_file_that_cannot_be_made_is_an_error() {
    let mut spool = Spool::new(Path::new("/proc/vidimus"), 0);
    spool.push(b"one").unwrap();
    assert!(spool.push(b"two").is_err());
}

#[test]
fn more_runs_than_are_merged_at_once_are_merged_in_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut records: Vec<Vec<u8>> = (0..FAN_IN as u32 * FAN_IN as u32 + 7)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec())
        .collect();
    let mut sorted = sorter(dir.path(), 0, &records).finish().unwrap();
    assert!(matches!(&sorted.from, From::Disk(merge) if merge.runs.len() <= FAN_IN));
    records.sort();
    assert_eq!(read_sorted(&mut sorted), records);
    assert_no_names_in(dir.path());
}

#[test]
fn huge_records_leave_no_huge_buffers() {
    let dir = tempfile::tempdir().unwrap();
    let mut records: Vec<Vec<u8>> =
        vec![vec![b'b'; 3 * CHUNK], vec![b'a'; CHUNK - 4], vec![b'c'; 5 * CHUNK + 1]];
    records.extend((0..9_000_u32).map(|n| format!("d{n:08}-{}", "x".repeat(40)).into_bytes()));
    let mut spool = Spool::new(dir.path(), 10);
    for record in &records {
        spool.push(record).unwrap();
    }
    assert_eq!(read_spool(spool), records);
    let mut sorted = sorter(dir.path(), CHUNK, &records).finish().unwrap();
    for _ in 0..8_000 {
        sorted.next().unwrap().unwrap();
    }
    let From::Disk(merge) = &sorted.from else { panic!("in memory") };
    assert!(sorted.memory_bytes() <= merge.runs.len() * CHUNK + 5 * CHUNK + 8);
    records.sort();
    assert_eq!(read_sorted(&mut sorted), records[8_000..]);
}

#[test]
fn spilling_sorted_records_frees_their_memory() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<Vec<u8>> = (0..5_000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let mut sorted = sorter(dir.path(), 1 << 20, &records).finish().unwrap();
    assert!(sorted.memory_bytes() >= 5_000 * 12);
    assert_eq!(sorted.next().unwrap().unwrap(), records[0]);
    sorted.spill().unwrap();
    assert_eq!(sorted.memory_bytes(), 0);
    assert_eq!(sorted.next().unwrap().unwrap(), records[1]);
    assert!(sorted.memory_bytes() <= SMALLEST_CHUNK);
    assert_eq!(read_sorted(&mut sorted), records[2..]);
}

fn some_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Few different bytes, so that equal records and common prefixes come up.
    let byte = prop_oneof![Just(0_u8), Just(b'/'), Just(b'a'), Just(255), any::<u8>()];
    prop::collection::vec(prop::collection::vec(byte, 0..20), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_spool_returns_the_records_that_were_pushed(records in some_records(), memory in 0..4_000_usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path(), memory);
        for record in &records {
            spool.push(record).unwrap();
        }
        prop_assert_eq!(spool.records, records.len() as u64);
        prop_assert_eq!(read_spool(spool), records);
    }

    #[test]
    fn sorting_agrees_with_vec_wherever_it_is_spilled(
        records in some_records(),
        memory in 0..8_000_usize,
        spills in prop::collection::vec(0..300_usize, 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorted = sorter(dir.path(), memory, &records).finish().unwrap();
        let mut expected = records;
        expected.sort();
        for (at, record) in expected.iter().enumerate() {
            if spills.contains(&at) {
                sorted.spill().unwrap();
                prop_assert_eq!(sorted.memory_bytes(), 0);
            }
            prop_assert_eq!(sorted.remaining(), (expected.len() - at) as u64);
            prop_assert_eq!(sorted.next().unwrap(), Some(&record[..]));
        }
        prop_assert_eq!(sorted.next().unwrap(), None);
    }
}
