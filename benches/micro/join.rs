//! The join of three streams that lie in memory.

use crate::sample::{entry, keys, row};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box_drop};
use vidimus::backend::{KeySpace, ListItem};
use vidimus::compare::{Join, RecordedRows};
use vidimus::manifest::{Row, SourceNumber};
use vidimus::model::{Error, Key};

const FILES: usize = 100_000;

#[derive(Clone, Copy, Debug)]
enum Case {
    Unchanged,
    AllNew,
    /// Of each 200 keys the target and the rows lack one, and the source lacks one.
    OnePercentChanged,
}

impl Case {
    fn source_has(self, at: usize) -> bool {
        !matches!(self, Self::OnePercentChanged) || at % 200 != 150
    }

    fn target_has(self, at: usize) -> bool {
        match self {
            Self::Unchanged => true,
            Self::AllNew => false,
            Self::OnePercentChanged => at % 200 != 50,
        }
    }
}

type Listed = Vec<Result<ListItem, Error>>;
type Recorded = Vec<Result<Row, Error>>;

fn streams(case: Case, keys: &[Key]) -> (Listed, Listed, Recorded) {
    let listed = |has: fn(Case, usize) -> bool| {
        let had = keys.iter().enumerate().filter(|(at, _)| has(case, *at));
        had.map(|(_, key)| Ok(ListItem::Entry(entry(key)))).collect()
    };
    let recorded = keys.iter().enumerate().filter(|(at, _)| case.target_has(*at));
    let rows = recorded.map(|(_, key)| Ok(row(key))).collect();
    (listed(Case::source_has), listed(Case::target_has), rows)
}

#[divan::bench(
    args = [Case::Unchanged, Case::AllNew, Case::OnePercentChanged],
    sample_count = 12,
    sample_size = 1,
)]
fn join(bencher: Bencher<'_, '_>, case: Case) {
    let keys = keys(FILES);
    bencher.counter(ItemsCount::new(keys.len())).with_inputs(|| streams(case, &keys)).bench_values(
        |(source, target, rows)| {
            let recorded = RecordedRows { rows: rows.into_iter(), from: SourceNumber::FIRST };
            let (source, target) = (source.into_iter(), target.into_iter());
            let joined = Join::new(source, target, recorded.read_ahead(), KeySpace::Tree);
            for pair in joined.expect("nothing fails") {
                black_box_drop(pair.expect("nothing fails"));
            }
        },
    );
}
