//! The decision on one pair.

use crate::sample::{entry, row};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::sync::Arc;
use vidimus::compare::policy::Surplus;
use vidimus::compare::{Pair, Policy, PolicyOptions, Seen};
use vidimus::manifest::SourceNumber;
use vidimus::model::Key;
use vidimus::model::stamp::Evidence;

#[derive(Clone, Copy, Debug)]
enum Case {
    Unchanged,
    New,
    Changed,
    Extra,
}

fn pair(case: Case) -> Pair {
    let key = Key::new(*b"usr/share/some/where/00001/file-001.dat");
    let mut source = entry(&key);
    let present = Seen::Present(entry(&key));
    let recorded = Some(row(&key));
    let (source, target, row) = match case {
        Case::Unchanged => (Seen::Present(source), present, recorded),
        Case::New => (Seen::Present(source), Seen::Absent, None),
        Case::Changed => {
            let Evidence::Inode(inode) = &mut source.stamp.evidence else { panic!("a file's") };
            inode.mtime.seconds += 60;
            source.metadata.mtime.seconds += 60;
            (Seen::Present(source), present, recorded)
        }
        Case::Extra => (Seen::Absent, present, recorded),
    };
    Pair { key, source, target, row, conflict: None }
}

#[divan::bench(args = [Case::Unchanged, Case::New, Case::Changed, Case::Extra], sample_size = 1000)]
fn decide(bencher: Bencher<'_, '_>, case: Case) {
    let options = PolicyOptions::default();
    let policy = Policy {
        options,
        filter: Arc::default(),
        surplus: Surplus::Delete,
        from: SourceNumber::FIRST,
        has_links: true,
        has_devices: true,
        hard_links: vidimus::compare::HardLinks::Separate,
        looks_for: vidimus::model::AttributeKinds::ALL,
        inspects: true,
        keeps_apart: true,
        retries_apart: false,
    };
    let pair = pair(case);
    bencher
        .counter(ItemsCount::new(1_u8))
        .bench(|| policy.decide(black_box(&pair), |metadata, _, _| *metadata));
}
