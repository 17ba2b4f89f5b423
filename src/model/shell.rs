//! Quoting for shells, in commands that messages suggest.

use std::fmt;

/// A word, quoted if a POSIX shell would not read it as it is.
///
/// A word that has control characters, or isn't UTF-8, is written as `$'…'`, which bash, zsh and
/// ksh read, so that no name moves a terminal's cursor.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(byte);
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.is_empty() && self.0.iter().all(plain) => out.write_str(text),
            Ok(text) if super::key::is_printable(text) => {
                write!(out, "'{}'", text.replace('\'', "'\\''"))
            }
            _ => {
                out.write_str("$'")?;
                for byte in self.0 {
                    match byte {
                        b'\'' | b'\\' => write!(out, "\\{}", char::from(*byte))?,
                        b' '..=b'~' => write!(out, "{}", char::from(*byte))?,
                        byte => write!(out, "\\x{byte:02x}")?,
                    }
                }
                out.write_str("'")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_necessary() {
        for (word, quoted) in [
            (&b"/mnt/a-b_c.d"[..], "/mnt/a-b_c.d"),
            (b"", "''"),
            (b"two words", "'two words'"),
            (b"it's", "'it'\\''s'"),
            (b"$HOME", "'$HOME'"),
            ("naïve".as_bytes(), "'naïve'"),
            (b"new\nline", "$'new\\x0aline'"),
            (b"it's\xff\\", "$'it\\'s\\xff\\\\'"),
        ] {
            assert_eq!(Quoted(word).to_string(), quoted);
        }
    }
}
