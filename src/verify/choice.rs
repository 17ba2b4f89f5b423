//! The choice of files whose content is read.

use crate::manifest::Row;
use crate::model::{Key, Timestamp};
use std::fmt;
use std::time::Duration;

/// Selects the files that are read among those with a digest: by default all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice {
    /// Only files of this sample.
    pub sample: Option<Sample>,
    /// Only files that have not been verified since then.
    pub unverified_since: Option<Timestamp>,
    /// The most that is read, beginning with the files that were not verified for the longest time.
    pub budget: Option<Budget>,
}

impl Choice {
    /// Returns whether the file of a row is chosen.
    pub(super) fn takes(&self, row: &Row) -> bool {
        self.sample.is_none_or(|sample| sample.takes(&row.key))
            && self.unverified_since.is_none_or(|since| row.verified_at.is_none_or(|at| at < since))
    }
}

/// A limit on reading. A file that was begun is read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// The time since the verification began, listing included.
    Time(Duration),
    /// The number of bytes.
    Bytes(u64),
}

/// A part of all files, chosen by their keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// One of several disjoint parts: the first eight bytes (little-endian) of the BLAKE3 of the
    /// key, modulo the number of parts.
    Part {
        /// The number of the part, from 1.
        number: u32,
        /// The number of parts.
        of: u32,
    },
    /// A random share of the files.
    Share {
        /// The share in percent, up to 100.
        percent: f64,
        /// The seed: another one selects other files.
        seed: u32,
    },
}

impl Sample {
    /// Returns whether the file of a key is in the sample.
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
                // The precision of an `f64`, so that nothing is rounded up to 1.
                let fraction = (number(&hasher) >> 11) as f64 / (1_u64 << 53) as f64;
                fraction * 100.0 < percent
            }
        }
    }
}

impl fmt::Display for Sample {
    /// Prints the sample in the form in which it can be given again.
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
        fn a_share_of_100_percent_is_all_and_one_of_0_percent_nothing(
            key in prop::collection::vec(any::<u8>(), 0..40),
            seed: u32,
        ) {
            let key = Key::new(key);
            let share = |percent| Sample::Share { percent, seed }.takes(&key);
            prop_assert!(share(100.0) && !share(0.0));
            // A larger share with the same seed contains the smaller one.
            prop_assert!(!share(5.0) || share(6.0));
        }
    }

    #[test]
    fn parts_and_shares_have_about_the_stated_size() {
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
    fn a_sample_prints_in_the_form_in_which_it_is_given() {
        assert_eq!(Sample::Part { number: 3, of: 12 }.to_string(), "3/12");
        assert_eq!(Sample::Share { percent: 2.5, seed: 0xbeef }.to_string(), "2.5%@0000beef");
    }
}
