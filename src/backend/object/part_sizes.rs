//! How large the parts of an upload are.

/// The least size of a part in bytes, and the size of what is sent as one.
const PART: u64 = 8 << 20;
/// Parts of an upload, at most, that part sizes are chosen for: stores take 10,000 or more.
const PARTS: u64 = 9_000;
/// The least size of a part in bytes where nobody knows how many will come: enough for 156 GiB.
pub(super) const STREAMED_PART: u64 = 16 << 20;
/// Bytes of a part that the store copies, at least: large enough that requests don't count, small enough that several are
/// under way at a time and none takes longer than one waits for a reply.
pub(super) const COPIED_PART: u64 = 256 << 20;

/// Sizes of parts that are chosen here for objects of usual sizes, in bytes.
pub const OWN_PART_SIZES: [u64; 3] = [PART, STREAMED_PART, COPIED_PART];

/// The size of the parts of an object: all but the last have it, as some stores demand.
pub(super) fn part_size(size: u64) -> u64 {
    const MEBIBYTE: u64 = 1 << 20;
    PART.max(size.div_ceil(PARTS).div_ceil(MEBIBYTE) * MEBIBYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_sizes_keep_the_number_of_parts_within_what_stores_take() {
        for size in [0, 1, PART, PART + 1, 100 << 30, 5 << 40, (5 << 40) + 1] {
            let part = part_size(size);
            assert!(size.div_ceil(part) <= PARTS, "{size}");
            assert_eq!(part % (1 << 20), 0);
        }
        assert_eq!(part_size(5 << 40), 583 << 20);
    }
}
