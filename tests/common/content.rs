//! Content of files and objects.

/// So many bytes, the same ones each time, that repeat nowhere: what is out of place is seen.
pub fn bytes(length: usize) -> Vec<u8> {
    content(length, 0)
}

/// The same, unlike those of any other seed.
pub fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; length];
    // As fast as memory, also where the tests themselves are not optimised.
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut content);
    content
}
