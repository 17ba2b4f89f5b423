//! Fitting text into a line of a terminal. Pure functions of the text and the width in columns.

use console::measure_text_width;

/// Replaces the part that is cut out of a path.
const CUT: &str = "…";

/// A part of a line.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Pieces with the highest rank are left out first; those of rank 0 never.
    rank: u8,
    text: String,
}

impl Piece {
    pub(crate) fn new(rank: u8, text: impl Into<String>) -> Self {
        Self { rank, text: text.into() }
    }
}

/// Joins the pieces that fit with commas. Among pieces of one rank, the last is left out first.
pub(crate) fn fit(mut pieces: Vec<Piece>, width: usize) -> String {
    loop {
        let line = pieces.iter().map(|piece| &*piece.text).collect::<Vec<_>>().join(", ");
        let least = pieces.iter().enumerate().max_by_key(|(at, piece)| (piece.rank, *at));
        match least {
            Some((at, piece)) if piece.rank > 0 && measure_text_width(&line) > width => {
                pieces.remove(at);
            }
            _ => return line,
        }
    }
}

/// Cuts a path in the middle, keeping the name at its end as long as that fits.
pub(crate) fn cut_path(path: &str, width: usize) -> String {
    if measure_text_width(path) <= width {
        return path.to_owned();
    }
    let room = width.saturating_sub(measure_text_width(CUT));
    let name = path.trim_end_matches('/').rfind('/').map_or(path, |slash| &path[slash..]);
    let name_width = measure_text_width(name);
    let behind = if name_width <= room { name_width } else { room.div_ceil(2) };
    format!("{}{CUT}{}", head(path, room - behind), tail(path, behind))
}

/// Returns as many characters from the beginning as fit.
fn head(text: &str, width: usize) -> &str {
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let fits = ends.take_while(|&end| measure_text_width(&text[..end]) <= width);
    &text[..fits.last().unwrap_or(0)]
}

/// Returns as many characters from the end as fit.
fn tail(text: &str, width: usize) -> &str {
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let start = starts.find(|&start| measure_text_width(&text[start..]) <= width);
    &text[start.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_the_highest_rank_are_left_out_first() {
        let pieces = || {
            let pieces = [(0, "42%"), (2, "1.0 of 3.0 GiB"), (0, "1 MiB/s"), (1, "12 s"), (1, "x")];
            pieces.map(|(rank, text)| Piece::new(rank, text)).into()
        };
        assert_eq!(fit(pieces(), 80), "42%, 1.0 of 3.0 GiB, 1 MiB/s, 12 s, x");
        assert_eq!(fit(pieces(), 30), "42%, 1 MiB/s, 12 s, x");
        assert_eq!(fit(pieces(), 20), "42%, 1 MiB/s, 12 s");
        assert_eq!(fit(pieces(), 5), "42%, 1 MiB/s");
    }

    #[test]
    fn a_path_is_cut_in_the_middle_and_keeps_its_name() {
        let path = "photos/2024/summer/at the sea/IMG_0001.jpg";
        assert_eq!(cut_path(path, 80), path);
        assert_eq!(cut_path(path, 30), "photos/2024/summ…/IMG_0001.jpg");
        assert_eq!(cut_path(path, 14), "…/IMG_0001.jpg");
        assert_eq!(cut_path(path, 9), "phot….jpg");
        assert_eq!(cut_path("a/b/directory/", 13), "a…/directory/");
        for width in 0..50 {
            assert!(measure_text_width(&cut_path(path, width)) <= width.max(1), "{width}");
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let cut = cut_path("写真/二〇二四年/海岸.jpg", 14);
        assert_eq!(cut, "写真…/海岸.jpg");
        assert_eq!(measure_text_width(&cut), 14);
    }
}
