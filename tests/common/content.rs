//! Content of files and objects.

/// Returns `length` bytes, always the same ones, without repetitions, so that misplaced parts show.
pub fn bytes(length: usize) -> Vec<u8> {
    content(length, 0)
}

/// Does the same with a seed: another one gives other bytes.
pub fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; length];
    // Fast even without optimisation.
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut content);
    content
}
