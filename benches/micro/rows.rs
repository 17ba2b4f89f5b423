//! Rows, to the state database and back.

use crate::sample::{keys, row};
use divan::Bencher;
use divan::counter::ItemsCount;
use tempfile::TempDir;
use vidimus::manifest::{Row, State};

const FILES: usize = 100_000;
/// Rows that are put between two commits; a run commits as many when it is busy.
const BATCH: usize = 8_192;

fn sample() -> Vec<Row> {
    keys(FILES).iter().map(row).collect()
}

fn begin() -> (TempDir, State) {
    let dir = tempfile::tempdir().expect("the temporary directory can be written");
    let opened = State::open(dir.path(), "/source", "/target").expect("it is new");
    (dir, opened.state)
}

fn write(state: &State, rows: &[Row]) {
    let mut writer = state.writer().expect("the state is open");
    for batch in rows.chunks(BATCH) {
        for row in batch {
            writer.put(row).expect("there is room");
        }
        writer.commit().expect("there is room");
    }
}

#[divan::bench(sample_count = 8, sample_size = 1)]
fn first_load(bencher: Bencher<'_, '_>) {
    let rows = sample();
    bencher
        .counter(ItemsCount::new(rows.len()))
        .with_inputs(begin)
        .bench_refs(|(_dir, state)| write(state, &rows));
}

#[divan::bench(sample_count = 8, sample_size = 1)]
fn update(bencher: Bencher<'_, '_>) {
    let rows = sample();
    let (_dir, state) = begin();
    write(&state, &rows);
    bencher.counter(ItemsCount::new(rows.len())).bench_local(|| write(&state, &rows));
}

#[divan::bench(sample_count = 12, sample_size = 1)]
fn read(bencher: Bencher<'_, '_>) {
    let rows = sample();
    let (_dir, state) = begin();
    write(&state, &rows);
    bencher.counter(ItemsCount::new(rows.len())).bench_local(|| {
        let read = state.rows().expect("the state is open").map(|row| row.expect("it is whole"));
        assert_eq!(read.count(), rows.len());
    });
}
