//! Hashes of zeros, so that holes needn't be hashed.
//!
//! BLAKE3 hashes the position of each chunk with its content, so that zeros have another hash at
//! each place. `zeros.bin` holds those of all [`BLOCK`]s in the first tebibyte; hashes of more are
//! made from these. Zeros behind it are hashed like anything else.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root};
use std::ops::Range;

/// The size in bytes of a block whose hash as zeros is in the table. The data in a block costs the
/// hashing of the rest: a smaller one would make the table larger.
const BLOCK: u64 = 64 << 20;

/// The hashes of zeros at multiples of [`BLOCK`], 32 bytes each.
static TABLE: &[u8] = include_bytes!("zeros.bin");

/// Returns the block around a range of content, or the range itself if that is larger, if its hash
/// as zeros is known. `offset` is a multiple of `length`, which is a power of two.
pub(super) fn block_around(offset: u64, length: u64) -> Option<Range<u64>> {
    let size = BLOCK.max(length);
    let start = offset - offset % size;
    let end = start.checked_add(size)?;
    (end <= TABLE.len() as u64 / 32 * BLOCK).then_some(start..end)
}

/// Returns the hash of zeros as a subtree with these bytes, if it is made of blocks of the table.
pub(super) fn known(bytes: Range<u64>) -> Option<ChainingValue> {
    let size = bytes.end - bytes.start;
    if size < BLOCK || !size.is_power_of_two() || !bytes.start.is_multiple_of(size) {
        return None;
    }
    if size == BLOCK {
        let number = (bytes.start / BLOCK) as usize;
        let value = TABLE.get(number * 32..(number + 1) * 32)?;
        return value.try_into().ok();
    }
    let middle = bytes.start + size / 2;
    let (left, right) = (known(bytes.start..middle)?, known(middle..bytes.end)?);
    Some(merge_subtrees_non_root(&left, &right, Mode::Hash))
}

/// Computes the hash of zeros as a subtree with these bytes.
pub(super) fn hash(bytes: Range<u64>) -> ChainingValue {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(bytes.start);
    let mut left = bytes.end - bytes.start;
    while left > 0 {
        let chunk = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
        hasher.update(chunk);
        left -= chunk.len() as u64;
    }
    hasher.finalize_non_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

    const TEBIBYTE: u64 = 1 << 40;

    #[test]
    fn the_table_holds_the_hashes_of_a_tebibyte_of_zeros() {
        assert_eq!(TABLE.len() as u64, TEBIBYTE / BLOCK * 32);
        for number in [0, 1, TEBIBYTE / BLOCK - 1] {
            let block = number * BLOCK..(number + 1) * BLOCK;
            assert_eq!(known(block.clone()), Some(hash(block)), "block {number}");
        }
        assert_eq!(known(2 * BLOCK..4 * BLOCK), Some(hash(2 * BLOCK..4 * BLOCK)));
        for unknown in [0..BLOCK / 2, 0..3 * BLOCK, TEBIBYTE..TEBIBYTE + BLOCK, 0..2 * TEBIBYTE] {
            assert_eq!(known(unknown.clone()), None, "{unknown:?}");
        }
        assert!(known(0..TEBIBYTE).is_some());
    }

    /// Makes the table: `cargo test --release --lib -- --ignored the_table_is_made_anew`.
    #[test]
    #[ignore = "hashes a tebibyte"]
    fn the_table_is_made_anew() {
        let blocks = (0..TEBIBYTE / BLOCK).into_par_iter();
        let values: Vec<_> =
            blocks.map(|number| hash(number * BLOCK..(number + 1) * BLOCK)).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engine/zeros.bin");
        std::fs::write(path, values.concat()).expect("the source can be written");
    }
}
