//! The line formats of exports.

use crate::manifest::Row;
use crate::manifest::published::Published;
use crate::model::hex::Hex;
use crate::model::{EntryKind, Error, ErrorKind, Metadata, RunId};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Written,
    /// A directory or link, in a format that lists only files.
    NotOfThisForm,
    /// A file without a recorded digest.
    NoDigest,
    /// Its name can't be represented.
    LeftOut(&'static str),
}

/// Writes a line for `b3sum --check` in the target's root. b3sum 1.8 has the escapes of
/// `sha256sum`, but refuses more names.
pub(super) fn b3sum(row: &Row, out: &mut Vec<u8>) -> Line {
    if row.kind != EntryKind::File {
        return Line::NotOfThisForm;
    }
    let Some(digest) = &row.digest else { return Line::NoDigest };
    let name = match text(row.key.as_bytes()) {
        Ok(name) => name,
        Err(why) => return Line::LeftOut(why),
    };
    if name.contains('\u{fffd}') {
        return Line::LeftOut("b3sum refuses the character U+FFFD");
    }
    check_line(&digest.0, name.as_bytes(), out)
}

/// Writes a line for `sha256sum --check` in the target's root, in the format of coreutils 9. Names
/// may be any bytes.
pub(super) fn sha256sum(row: &Row, out: &mut Vec<u8>) -> Line {
    match &row.extra.sha256 {
        _ if row.kind != EntryKind::File => Line::NotOfThisForm,
        Some(digest) => check_line(digest, row.key.as_bytes(), out),
        None => Line::NoDigest,
    }
}

/// Writes a digest and a name. `\`, line feed and carriage return are escaped; a `\` before the
/// digest marks a line with escapes.
fn check_line(digest: &[u8], name: &[u8], out: &mut Vec<u8>) -> Line {
    if !is_inside(name) {
        return Line::LeftOut("its name is not a path inside the target");
    }
    let escapes = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r');
    if name.iter().any(escapes) {
        out.push(b'\\');
    }
    out.extend_from_slice(format!("{}  ", Hex(digest)).as_bytes());
    // `-` would mean standard input.
    if name == b"-" {
        out.extend_from_slice(b"./");
    }
    for byte in name {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\n');
    Line::Written
}

/// Returns whether a name is a normal relative path. Names of objects may be anything.
fn is_inside(name: &[u8]) -> bool {
    let leads_on = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    name.split(|byte| *byte == b'/').all(leads_on)
}

/// Returns the header of a list for hashdeep.
pub(super) fn hashdeep_header(has_md5: bool) -> &'static [u8] {
    if has_md5 {
        b"%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n"
    } else {
        b"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n"
    }
}

/// Writes a line of hashdeep 4's list, with MD5 if the header has it. Names are any bytes without
/// line ends: there are no quotes or escapes.
pub(super) fn hashdeep(row: &Row, has_md5: bool, out: &mut Vec<u8>) -> Line {
    if row.kind != EntryKind::File {
        return Line::NotOfThisForm;
    }
    let Some(sha256) = &row.extra.sha256 else { return Line::NoDigest };
    let md5 = match &row.extra.md5 {
        Some(md5) if has_md5 => format!("{},", Hex(md5)),
        None if has_md5 => return Line::NoDigest,
        _ => String::new(),
    };
    let name = row.key.as_bytes();
    if name.contains(&b'\n') || name.ends_with(b"\r") {
        return Line::LeftOut("a line of hashdeep's can't contain a line end");
    }
    if !is_inside(name) {
        return Line::LeftOut("its name is not a path inside the target");
    }
    if row.source.is_unknown() && row.target.is_unknown() {
        return Line::LeftOut("its size is not known, since it was never read");
    }
    out.extend_from_slice(format!("{},{md5}{},", row.source.size, Hex(sha256)).as_bytes());
    out.extend_from_slice(name);
    out.push(b'\n');
    Line::Written
}

pub(super) fn json(published: &Published, out: &mut Vec<u8>) -> Result<Line, Error> {
    published.encode(out).map_err(|why| {
        let message = format!("\"{}\" can't be exported: {why}", published.key);
        Error::new(ErrorKind::Manifest, message)
    })?;
    Ok(Line::Written)
}

pub(super) const CSV_HEADER: &[u8] =
    b"key,kind,size,blake3,sha256,md5,mtime,mode,uid,gid,link,run,verified\r\n";

pub(super) fn csv(row: &Row, run: &RunId, out: &mut Vec<u8>) -> Line {
    let link = row.link.as_deref().map(text).transpose();
    let (key, link) = match (text(row.key.as_bytes()), link) {
        (Ok(key), Ok(link)) => (key, link.unwrap_or_default()),
        (Err(why), _) => return Line::LeftOut(why),
        (_, Err(_)) => return Line::LeftOut("its link leads to a name that is not UTF-8"),
    };
    let (kind, size) = match row.kind {
        EntryKind::File => ("file", row.source.size.to_string()),
        EntryKind::Directory => ("directory", String::new()),
        EntryKind::Symlink => ("symlink", String::new()),
        EntryKind::Special(_) => return Line::NotOfThisForm,
    };
    let Metadata { mode, uid, gid, mtime } = row.metadata;
    let fields = [
        key.to_owned(),
        kind.to_owned(),
        size,
        row.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        row.extra.sha256.map(|digest| Hex(&digest).to_string()).unwrap_or_default(),
        row.extra.md5.map(|digest| Hex(&digest).to_string()).unwrap_or_default(),
        mtime.decimal().to_string(),
        format!("{mode:04o}"),
        uid.to_string(),
        gid.to_string(),
        link.to_owned(),
        run.0.clone(),
        row.verified_at.map(|at| at.decimal().to_string()).unwrap_or_default(),
    ];
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            out.extend_from_slice(format!("\"{}\"", field.replace('"', "\"\"")).as_bytes());
        } else {
            out.extend_from_slice(field.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    Line::Written
}

/// Checks that a name is text that other programs can read.
fn text(name: &[u8]) -> Result<&str, &'static str> {
    match std::str::from_utf8(name) {
        Ok(name) if name.contains('\0') => Err("its name holds a NUL"),
        Ok(name) => Ok(name),
        Err(_) => Err("its name is not UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Origin, RunNumber, SourceNumber};
    use crate::model::{Digest, ETag, ExtraDigests, Key, Stamp, Timestamp};

    fn file(key: &[u8]) -> Row {
        Row {
            key: Key::new(key),
            kind: EntryKind::File,
            digest: Some(Digest([0xab; 32])),
            extra: ExtraDigests::default(),
            origin: Origin::Proven,
            source: Stamp::of_object(5, ETag::new(b"t")),
            source_racy: false,
            target: Stamp::of_object(5, None),
            metadata: Metadata {
                mode: 0o644,
                uid: 1,
                gid: 2,
                mtime: Timestamp { seconds: -2, nanos: 500_000_000 },
            },
            link: None,
            run: RunNumber(0),
            from: SourceNumber::FIRST,
            verified_at: Some(Timestamp { seconds: 7, nanos: 0 }),
            extras: None,
            looked: crate::model::AttributeKinds::ALL,
            born: None,
        }
    }

    #[test]
    fn names_are_escaped_as_b3sum_reads_them() {
        for (key, line) in [
            ("a  b", "@  a  b"),
            ("d/é\t", "@  d/é\t"),
            ("a\\n\n\r", "\\@  a\\\\n\\n\\r"),
            ("-", "@  ./-"),
            ("d/-", "@  d/-"),
        ] {
            let mut out = Vec::new();
            assert_eq!(b3sum(&file(key.as_bytes()), &mut out), Line::Written);
            let line = line.replace('@', &"ab".repeat(32)) + "\n";
            assert_eq!(String::from_utf8(out).unwrap(), line, "{key:?}");
        }
    }

    #[test]
    fn names_that_b3sum_cannot_check_are_left_out() {
        for key in [
            &b"\xff"[..],
            b"a\0",
            "\u{fffd}".as_bytes(),
            b"/etc/passwd",
            b"../a",
            b"a/./b",
            b"a//b",
            b"a/",
        ] {
            let mut out = Vec::new();
            let line = b3sum(&file(key), &mut out);
            assert!(matches!(line, Line::LeftOut(_)), "{line:?}");
            assert!(out.is_empty());
        }
        let mut row = file(b"a");
        row.digest = None;
        assert_eq!(b3sum(&row, &mut Vec::new()), Line::NoDigest);
        row.kind = EntryKind::Directory;
        assert_eq!(b3sum(&row, &mut Vec::new()), Line::NotOfThisForm);
    }

    /// Returns a row of a file with SHA-256 and MD5.
    fn digested(key: &[u8]) -> Row {
        let extra = ExtraDigests { sha256: Some([0xcd; 32]), md5: Some([0xef; 16]) };
        Row { extra, ..file(key) }
    }

    #[test]
    fn sha256sum_lists_names_of_any_bytes() {
        for (key, line) in [
            (&b"a  b"[..], &b"@  a  b"[..]),
            (b"\xff\xfe", b"@  \xff\xfe"),
            (b"a\\n\n\r", b"\\@  a\\\\n\\n\\r"),
            (b"-", b"@  ./-"),
            (b"*", b"@  *"),
        ] {
            let mut out = Vec::new();
            assert_eq!(sha256sum(&digested(key), &mut out), Line::Written);
            let at = line.iter().position(|byte| *byte == b'@').unwrap();
            let digest = "cd".repeat(32).into_bytes();
            let line = [&line[..at], &digest, &line[at + 1..], b"\n"].concat();
            assert_eq!(out, line, "{:?}", Key::new(key));
        }
    }

    #[test]
    fn a_list_for_hashdeep_has_the_digests_that_its_header_names() {
        for (has_md5, line) in [(false, "5,@,a \"b\", c\n"), (true, "5,#,@,a \"b\", c\n")] {
            let mut out = Vec::new();
            assert_eq!(hashdeep(&digested(b"a \"b\", c"), has_md5, &mut out), Line::Written);
            let line = line.replace('@', &"cd".repeat(32)).replace('#', &"ef".repeat(16));
            assert_eq!(String::from_utf8(out).unwrap(), line);
            assert_eq!(hashdeep_header(has_md5).ends_with(b"md5,sha256,filename\n"), has_md5);
        }
    }

    #[test]
    fn names_that_sha256sum_or_hashdeep_cannot_check_are_left_out() {
        for key in [&b"a\0"[..], b"/etc/passwd", b"../a", b"a/./b", b"a//b", b"a/"] {
            let row = digested(key);
            let mut out = Vec::new();
            assert!(matches!(sha256sum(&row, &mut out), Line::LeftOut(_)));
            assert!(matches!(hashdeep(&row, true, &mut out), Line::LeftOut(_)));
            assert!(out.is_empty());
        }
        for key in [&b"a\nb"[..], b"a\r"] {
            assert!(matches!(hashdeep(&digested(key), false, &mut Vec::new()), Line::LeftOut(_)));
        }
        assert_eq!(hashdeep(&digested(b"a\rb"), false, &mut Vec::new()), Line::Written);
        let mut row = file(b"a");
        assert_eq!(sha256sum(&row, &mut Vec::new()), Line::NoDigest);
        row.extra.sha256 = Some([1; 32]);
        assert_eq!(hashdeep(&row, true, &mut Vec::new()), Line::NoDigest);
    }

    #[test]
    fn csv_quotes_what_would_end_a_field() {
        let run = RunId("r".to_owned());
        let mut out = Vec::new();
        let mut row = file(b"a \"b\",\n");
        row.extra.md5 = Some([0xef; 16]);
        assert_eq!(csv(&row, &run, &mut out), Line::Written);
        let link = Row {
            kind: EntryKind::Symlink,
            link: Some((*b"x,y").into()),
            digest: None,
            verified_at: None,
            ..file(b"l")
        };
        assert_eq!(csv(&link, &run, &mut out), Line::Written);
        let expected = format!(
            "\"a \"\"b\"\",\n\",file,5,{},,{},-1.500000000,0644,1,2,,r,7.000000000\r\n\
             l,symlink,,,,,-1.500000000,0644,1,2,\"x,y\",r,\r\n",
            "ab".repeat(32),
            "ef".repeat(16),
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let lost = Row { link: Some((*b"\xff").into()), ..link };
        for row in [lost, file(b"\xff"), file(b"\0")] {
            assert!(matches!(csv(&row, &run, &mut Vec::new()), Line::LeftOut(_)));
        }
    }
}
