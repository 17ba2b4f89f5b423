//! What becomes of holes and zeros of the source in the target.

use crate::backend::Piece;
use crate::model::Cause;

/// The size in bytes of the blocks of zeros that become holes, at multiples of it.
const BLOCK: usize = 4 << 10;

/// What becomes of holes in a target that can have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holes {
    /// The target has holes where the source has.
    #[default]
    Keep,
    /// The target has holes where the source has, and wherever else it has a block of zeros.
    Make,
    /// Zeros are written out.
    Fill,
}

impl Holes {
    /// Splits a piece of content at an offset into what is written and what becomes a hole.
    pub(super) fn split(
        self,
        mut offset: u64,
        piece: Piece<'_>,
        take: &mut dyn FnMut(u64, Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        match (self, piece) {
            (Self::Make, Piece::Chunk(chunk)) => make(offset, chunk, take),
            (Self::Fill, Piece::Hole(_)) => piece.bytes(&mut |zeros| {
                take(offset, Piece::Chunk(zeros))?;
                offset += zeros.len() as u64;
                Ok(())
            }),
            _ => take(offset, piece),
        }
    }
}

/// Passes on a chunk at an offset, and its blocks of zeros as holes.
fn make(
    mut offset: u64,
    mut chunk: &[u8],
    take: &mut dyn FnMut(u64, Piece<'_>) -> Result<(), Cause>,
) -> Result<(), Cause> {
    while !chunk.is_empty() {
        let (is_zero, mut length) = first_block(offset, chunk);
        while length < chunk.len() {
            let (is_too, more) = first_block(offset + length as u64, &chunk[length..]);
            if is_too != is_zero {
                break;
            }
            length += more;
        }
        let (run, rest) = chunk.split_at(length);
        take(offset, if is_zero { Piece::Hole(length as u64) } else { Piece::Chunk(run) })?;
        (offset, chunk) = (offset + length as u64, rest);
    }
    Ok(())
}

/// Returns whether a chunk begins with a whole block of zeros, and the length of what it has of its
/// first block.
fn first_block(offset: u64, chunk: &[u8]) -> (bool, usize) {
    let length = chunk.len().min(BLOCK - (offset % BLOCK as u64) as usize);
    (length == BLOCK && chunk[..BLOCK] == [0; BLOCK], length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what becomes of the pieces: offset, length, and whether it is a hole.
    fn split(holes: Holes, offset: u64, piece: Piece<'_>) -> Vec<(u64, u64, bool)> {
        let mut found = Vec::new();
        let take = &mut |offset, piece: Piece<'_>| {
            found.push((offset, piece.size(), matches!(piece, Piece::Hole(_))));
            Ok(())
        };
        holes.split(offset, piece, take).expect("nothing fails");
        found
    }

    #[test]
    fn only_whole_blocks_of_zeros_become_holes() {
        const B: u64 = BLOCK as u64;
        let mut chunk = vec![0; 5 * BLOCK];
        chunk[3 * BLOCK + 7] = 1;
        let chunk = Piece::Chunk(&chunk);
        let aligned = [(0, 3 * B, true), (3 * B, B, false), (4 * B, B, true)];
        assert_eq!(split(Holes::Make, 0, chunk), aligned);
        // Half a block is left at either end.
        let half = B / 2;
        let expected = [
            (half, half, false),
            (B, 2 * B, true),
            (3 * B, B, false),
            (4 * B, B, true),
            (5 * B, half, false),
        ];
        assert_eq!(split(Holes::Make, half, chunk), expected);
        assert_eq!(split(Holes::Keep, 0, chunk), [(0, 5 * B, false)]);
        assert_eq!(split(Holes::Fill, 0, chunk), [(0, 5 * B, false)]);
    }

    #[test]
    fn a_hole_stays_one_unless_it_is_to_be_filled() {
        for holes in [Holes::Keep, Holes::Make] {
            assert_eq!(split(holes, 5, Piece::Hole(70_000)), [(5, 70_000, true)]);
        }
        let filled = [(5, 65_536, false), (5 + 65_536, 70_000 - 65_536, false)];
        assert_eq!(split(Holes::Fill, 5, Piece::Hole(70_000)), filled);
    }
}
