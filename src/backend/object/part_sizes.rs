//! Sizes of the parts of an upload.

/// The smallest size of a part in bytes; a smaller object is sent as one.
const PART: u64 = 8 << 20;
/// Most parts that part sizes are chosen for: stores accept 10,000 or more.
const PARTS: u64 = 9_000;
/// The smallest size of a part in bytes in an upload of unknown size: enough for 156 GiB.
pub(super) const STREAMED_PART: u64 = 16 << 20;
/// The smallest size in bytes of a part that the store copies: large enough that the cost of
/// requests doesn't matter, small enough that several are copied at a time and none takes longer
/// than the reply timeout.
pub(super) const COPIED_PART: u64 = 256 << 20;

/// Part sizes that are chosen here for objects of usual sizes, in bytes.
pub const OWN_PART_SIZES: [u64; 3] = [PART, STREAMED_PART, COPIED_PART];

/// Returns the part size for an object. All parts but the last have it, as some stores require.
pub(super) fn part_size(size: u64) -> u64 {
    const MEBIBYTE: u64 = 1 << 20;
    PART.max(size.div_ceil(PARTS).div_ceil(MEBIBYTE) * MEBIBYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_sizes_keep_the_number_of_parts_within_the_limit() {
        for size in [0, 1, PART, PART + 1, 100 << 30, 5 << 40, (5 << 40) + 1] {
            let part = part_size(size);
            assert!(size.div_ceil(part) <= PARTS, "{size}");
            assert_eq!(part % (1 << 20), 0);
        }
        assert_eq!(part_size(5 << 40), 583 << 20);
    }
}
