//! Which files' content is read.

use crate::manifest::Row;
use crate::model::{Key, Timestamp};
use std::fmt;
use std::time::Duration;

/// Which of the files that have a digest are read: by default all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice {
    /// Only those of a sample.
    pub sample: Option<Sample>,
    /// Only those that were not found to match since then.
    pub unverified_since: Option<Timestamp>,
    /// How much is read at the most; those come first that were not verified for the longest time.
    pub budget: Option<Budget>,
}

impl Choice {
    /// Whether the file of this row is chosen.
    pub(super) fn takes(&self, row: &Row) -> bool {
        self.sample.is_none_or(|sample| sample.takes(&row.key))
            && self.unverified_since.is_none_or(|since| row.verified_at.is_none_or(|at| at < since))
    }
}

/// How much is read at the most. A file that was begun is read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// For so long, from the beginning of the verification on: listing counts.
    Time(Duration),
    /// So many bytes.
    Bytes(u64),
}

/// A part of all files, told by their keys alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// One of several parts that have each file once: by the first eight bytes (little-endian) of
    /// its key's BLAKE3, modulo their number.
    Part {
        /// Which part, from 1 on.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// About so many of a hundred, which a seed tells apart from others.
    Share {
        /// Percent, up to 100.
        percent: f64,
        /// Another seed takes other files.
        seed: u32,
    },
}

impl Sample {
    /// Whether the file of this key is in it.
    pub fn takes(&self, key: &Key) -> bool {
        let number = |hasher: &blake3::Hasher| {
            let mut first = [0; 8];
            first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
            u64::from_le_bytes(first)
        };
        let mut hasher = blake3::Hasher::new();
        match *self {
            Self::Part { number: part, of } => {
                hasher.update(key.as_bytes());
                number(&hasher) % u64::from(of.max(1)) == u64::from(part.saturating_sub(1))
            }
            Self::Share { percent, seed } => {
                hasher.update(&seed.to_le_bytes()).update(key.as_bytes());
                // As many bits as the fraction has, so that nothing is rounded up to 1.
                let fraction = (number(&hasher) >> 11) as f64 / (1_u64 << 53) as f64;
                fraction * 100.0 < percent
            }
        }
    }
}

impl fmt::Display for Sample {
    /// Prints it as it is typed, to take the same one again.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part { number, of } => write!(out, "{number}/{of}"),
            Self::Share { percent, seed } => write!(out, "{percent}%@{seed:08x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_file_is_in_one_of_the_parts(
            key in prop::collection::vec(any::<u8>(), 0..40),
            of in 1..200_u32,
        ) {
            let key = Key::new(key);
            let takes = |number: &u32| Sample::Part { number: *number, of }.takes(&key);
            prop_assert_eq!((1..=of).filter(takes).count(), 1);
        }

        #[test]
        fn a_share_of_all_is_all_and_one_of_none_is_none(
            key in prop::collection::vec(any::<u8>(), 0..40),
            seed: u32,
        ) {
            let key = Key::new(key);
            let share = |percent| Sample::Share { percent, seed }.takes(&key);
            prop_assert!(share(100.0) && !share(0.0));
            // What is in a small share is in a larger one of the same seed.
            prop_assert!(!share(5.0) || share(6.0));
        }
    }

    #[test]
    fn parts_and_shares_are_about_as_large_as_they_say() {
        let keys: Vec<_> = (0..10_000).map(|n| Key::new(format!("d/{n}").into_bytes())).collect();
        let count = |sample: Sample| keys.iter().filter(|key| sample.takes(key)).count();
        for number in 1..=10 {
            assert!((900..1_100).contains(&count(Sample::Part { number, of: 10 })));
        }
        let taken = |seed| {
            let sample = Sample::Share { percent: 5.0, seed };
            keys.iter().filter(|key| sample.takes(key)).collect::<Vec<_>>()
        };
        assert!((400..600).contains(&taken(1).len()));
        assert_ne!(taken(1), taken(2));
        assert_eq!(taken(1), taken(1));
    }

    #[test]
    fn a_sample_prints_as_it_is_typed() {
        assert_eq!(Sample::Part { number: 3, of: 12 }.to_string(), "3/12");
        assert_eq!(Sample::Share { percent: 2.5, seed: 0xbeef }.to_string(), "2.5%@0000beef");
    }
}
