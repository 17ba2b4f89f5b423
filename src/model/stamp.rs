//! Stamps: cheap evidence that content is the same as before.

use super::ETag;
use std::time::Duration;

/// The coarsest clock tick of file systems that store fractions of a second, in nanoseconds:
/// Linux's (`CONFIG_HZ=100`).
const FINE_TICK: u128 = 10_000_000;

/// The coarsest resolution of times in file systems in use, in nanoseconds: FAT's 2 seconds.
pub const COARSEST_TIMES: u128 = 2_000_000_000;

/// A point in time as file systems keep it: seconds since the epoch (negative before 1970) and
/// nanoseconds, below 1,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds since the epoch, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanos: u32,
}

impl Timestamp {
    /// Returns the distance to another point in time, in nanoseconds.
    pub fn distance(self, other: Self) -> u128 {
        self.as_nanos().abs_diff(other.as_nanos())
    }

    /// Returns the time as seconds since the epoch with nine decimals, the form in files and
    /// objects that other programs read.
    pub fn decimal(self) -> Decimal {
        Decimal(self)
    }

    /// Rounds down to a multiple of `unit` nanoseconds, which is from 1 to 2,000,000,000.
    #[must_use]
    pub fn cut(self, unit: u32) -> Self {
        let nanos = self.as_nanos();
        let cut = nanos - nanos.rem_euclid(i128::from(unit.max(1)));
        let seconds = cut.div_euclid(1_000_000_000);
        // At most two seconds before `self`.
        let (seconds, nanos) = (seconds as i64, cut.rem_euclid(1_000_000_000) as u32);
        Self { seconds, nanos }
    }

    fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }
}

impl std::fmt::Display for Timestamp {
    /// Prints date and time in UTC (RFC 3339), with as many decimals as necessary; a time before
    /// the year -9999 or after 9999 as `@` and [`Timestamp::decimal`].
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::new(self.seconds, 0) {
            // Nanoseconds count from the second below, before the epoch too.
            Ok(whole) => {
                let date = whole.strftime("%Y-%m-%dT%H:%M:%S");
                let decimals = format!(".{:09}", self.nanos);
                write!(out, "{date}{}Z", decimals.trim_end_matches('0').trim_end_matches('.'))
            }
            Err(_) => write!(out, "@{}", self.decimal()),
        }
    }
}

/// A point in time as seconds since the epoch with nine decimals.
#[derive(Clone, Copy, Debug)]
pub struct Decimal(Timestamp);

impl std::fmt::Display for Decimal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.as_nanos();
        let sign = if nanos < 0 { "-" } else { "" };
        let nanos = nanos.unsigned_abs();
        write!(out, "{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    }
}

/// Cheap evidence of an entry's content: its size, and the times or the tag of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// What is known without reading the content.
    pub evidence: Evidence,
}

/// Evidence of content beside its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// From a file system, by `statx`.
    Inode(Inode),
    /// From a store: the listed tag; `None` if there is no object (a directory implied by keys
    /// below it), or the store lists no tag.
    Tag(Option<ETag>),
}

/// A file system's evidence of content. The device number is not part of it, because it changes
/// across mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// When the content changed; programs can set it.
    pub mtime: Timestamp,
    /// When the inode changed; only the kernel sets it.
    pub ctime: Timestamp,
    /// The inode number; `None` on file systems whose numbers are not stable and so identify
    /// nothing.
    pub number: Option<u64>,
}

impl Inode {
    /// Returns whether both may be the same inode: their numbers are equal, or one is unknown.
    pub fn may_be(&self, other: &Self) -> bool {
        let known = self.number.zip(other.number);
        known.is_none_or(|(number, other)| number == other)
    }
}

/// How a listed stamp compares with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampMatch {
    /// Every field that counts is equal: the content is the same.
    Same,
    /// Size and mtime are equal, ctime or inode differs: only the content can decide.
    Doubtful,
    /// The size differs.
    Size,
    /// The size is equal, the mtime differs.
    Mtime,
    /// The size is equal, the store's tag differs.
    Tag,
}

/// Which fields of a stamp are compared (`--ignore-ctime`, `--ignore-inode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StampFields {
    /// Ignore ctime: it changes by itself on FUSE, SMB, and in trees of hard-linked generations.
    pub ignore_ctime: bool,
    /// Ignore the inode number: it isn't stable on FUSE and SMB.
    pub ignore_inode: bool,
}

impl Stamp {
    /// Makes the stamp of a file system's entry.
    pub fn of_inode(size: u64, inode: Inode) -> Self {
        Self { size, evidence: Evidence::Inode(inode) }
    }

    /// Makes the stamp of an object.
    pub fn of_object(size: u64, tag: Option<ETag>) -> Self {
        Self { size, evidence: Evidence::Tag(tag) }
    }

    /// Makes a stamp that proves nothing, not even the size, for an entry that isn't known to be as
    /// recorded.
    pub fn unknown(size: u64) -> Self {
        Self::of_object(size, None)
    }

    /// Returns whether it proves nothing. So does that of an object for which the store lists no
    /// tag.
    pub fn is_unknown(&self) -> bool {
        self.evidence == Evidence::Tag(None)
    }

    /// Returns the file system's evidence, if any.
    pub fn inode(&self) -> Option<&Inode> {
        match &self.evidence {
            Evidence::Inode(inode) => Some(inode),
            Evidence::Tag(_) => None,
        }
    }

    /// Returns the modification time, if it is a file system's stamp.
    pub fn mtime(&self) -> Option<Timestamp> {
        self.inode().map(|inode| inode.mtime)
    }

    /// Returns the store's tag, if there is one.
    pub fn tag(&self) -> Option<ETag> {
        match self.evidence {
            Evidence::Inode(_) => None,
            Evidence::Tag(tag) => tag,
        }
    }

    /// Compares this listed stamp with the recorded one.
    pub fn compare(&self, recorded: &Self, trust: StampFields) -> StampMatch {
        if self.size != recorded.size {
            return StampMatch::Size;
        }
        match (self.evidence, recorded.evidence) {
            (Evidence::Inode(now), Evidence::Inode(before)) => {
                if now.mtime != before.mtime {
                    StampMatch::Mtime
                } else if (!trust.ignore_ctime && now.ctime != before.ctime)
                    || (!trust.ignore_inode && !now.may_be(&before))
                {
                    StampMatch::Doubtful
                } else {
                    StampMatch::Same
                }
            }
            (Evidence::Tag(Some(tag)), Evidence::Tag(Some(before))) if tag == before => {
                StampMatch::Same
            }
            (Evidence::Tag(Some(_)), Evidence::Tag(Some(_))) => StampMatch::Tag,
            _ => StampMatch::Doubtful,
        }
    }

    /// Returns whether this is the stamp of the unchanged entry that had `listed`: everything that
    /// both know is equal.
    pub fn is_still(&self, listed: &Self) -> bool {
        self.compare(listed, StampFields::default()) == StampMatch::Same || self == listed
    }

    /// Returns whether content may have changed after `began` without a trace in this stamp, which
    /// was already valid then: its ctime is less than a clock tick before `began`, or later, or its
    /// mtime is within a tick. `began` is a time before the first byte was read.
    ///
    /// This is git's "racily clean" rule (git's Documentation/technical/racy-git.txt). The tick is
    /// 10 ms; if neither time has a fraction of a second, the file system is assumed to store none,
    /// and the tick is 2 s (FAT). A store's tag changes with the content at any time.
    pub fn is_racy(&self, began: Timestamp) -> bool {
        let Some((Inode { mtime, ctime, .. }, tick)) = self.inode_and_tick() else { return false };
        ctime >= began || ctime.distance(began) <= tick || mtime.distance(began) <= tick
    }

    /// Returns whether the inode may have changed since `began`, given that its clock may lag by a
    /// tick (see [`Stamp::is_racy`]); false for a store's stamp.
    pub fn may_be_since(&self, began: Timestamp) -> bool {
        self.inode_and_tick().is_some_and(|(Inode { ctime, .. }, tick)| {
            ctime >= began || ctime.distance(began) <= tick
        })
    }

    /// Returns how long to wait until the clock tick of the ctime is certainly over, at most 30 ms;
    /// `None` if it is. A change within that tick doesn't change the ctime again. Content read
    /// after it is of one state, or the stamp shows the change.
    ///
    /// `now` may itself lag by a tick (so that the ctime is ahead of it), so the wait is two ticks.
    /// A tick of 2 s is not waited for: such a stamp stays racy.
    pub fn tick_left(&self, now: Timestamp) -> Option<Duration> {
        let (Inode { ctime, .. }, tick) = self.inode_and_tick()?;
        let is_within = tick == FINE_TICK && ctime.distance(now) <= tick;
        let left = ctime.as_nanos() + 2 * tick as i128 - now.as_nanos();
        is_within.then(|| Duration::from_nanos(left as u64))
    }

    /// Returns the times and the tick of the clock that set them, in nanoseconds.
    fn inode_and_tick(&self) -> Option<(Inode, u128)> {
        let Evidence::Inode(inode) = self.evidence else { return None };
        let whole_seconds = inode.mtime.nanos == 0 && inode.ctime.nanos == 0;
        Some((inode, if whole_seconds { 2_000_000_000 } else { FINE_TICK }))
    }

    /// Encodes the stamp for the state database: a byte for its form, then the size, as
    /// little-endian base-128 integers (signed ones zigzag). Form 1 continues with mtime, ctime and
    /// inode (0 for none), form 2 with the bytes of the store's tag.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        match self.evidence {
            Evidence::Inode(Inode { mtime, ctime, number }) => {
                out.push(INODE_FORM);
                put(&mut out, self.size);
                put_time(&mut out, mtime);
                put_time(&mut out, ctime);
                put(&mut out, number.unwrap_or(NO_NUMBER));
            }
            Evidence::Tag(tag) => {
                out.push(TAG_FORM);
                put(&mut out, self.size);
                out.extend_from_slice(tag.as_ref().map_or("", ETag::as_str).as_bytes());
            }
        }
        out
    }

    /// Returns whether `bytes` are what [`Stamp::encode`] makes of a file system's stamp. Nothing is
    /// decoded, for this is asked of each row of a run that finds nothing changed.
    pub fn is_encoded_as(&self, bytes: &[u8]) -> bool {
        let (Evidence::Inode(inode), Some((&INODE_FORM, mut bytes))) =
            (&self.evidence, bytes.split_first())
        else {
            return false;
        };
        let mut follows = |value: u64| take(&mut bytes) == Some(value);
        follows(self.size)
            && follows(zigzag(inode.mtime.seconds))
            && follows(inode.mtime.nanos.into())
            && follows(zigzag(inode.ctime.seconds))
            && follows(inode.ctime.nanos.into())
            && follows(inode.number.unwrap_or(NO_NUMBER))
            && bytes.is_empty()
    }

    /// Returns the first and the last bytes that the encoding of a stamp with this size and mtime can
    /// have; for that of an object, with this size and any tag.
    pub fn encoded_range(&self) -> (Vec<u8>, Vec<u8>) {
        let mut first = Vec::with_capacity(48);
        first.push(if self.mtime().is_some() { INODE_FORM } else { TAG_FORM });
        put(&mut first, self.size);
        if let Some(mtime) = self.mtime() {
            put_time(&mut first, mtime);
        }
        let mut last = first.clone();
        // No integer and no tag begins with as many of these.
        last.extend_from_slice(&[u8::MAX; 11]);
        (first, last)
    }

    /// Decodes what [`Stamp::encode`] wrote; `None` for anything else.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (&form, rest) = bytes.split_first()?;
        bytes = rest;
        let size = take(&mut bytes)?;
        match form {
            INODE_FORM => {
                let mtime = take_time(&mut bytes)?;
                let ctime = take_time(&mut bytes)?;
                let number = Some(take(&mut bytes)?).filter(|&number| number != NO_NUMBER);
                let inode = Inode { mtime, ctime, number };
                bytes.is_empty().then_some(Self::of_inode(size, inode))
            }
            TAG_FORM if bytes.is_empty() => Some(Self::of_object(size, None)),
            TAG_FORM => Some(Self::of_object(size, Some(ETag::new(bytes)?))),
            _ => None,
        }
    }
}

const INODE_FORM: u8 = 1;
const TAG_FORM: u8 = 2;

/// Stands for an unknown inode number in stored stamps: no inode has it.
pub const NO_NUMBER: u64 = 0;

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    put(out, zigzag(time.seconds));
    put(out, u64::from(time.nanos));
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(value);
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn take_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let zigzag = take(bytes)?;
    let seconds = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    let nanos = u32::try_from(take(bytes)?).ok().filter(|&nanos| nanos < 1_000_000_000)?;
    Some(Timestamp { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_as_a_date_or_as_a_number() {
        for (seconds, nanos, date, decimal) in [
            (0, 0, "1970-01-01T00:00:00Z", "0.000000000"),
            (1_600_000_000, 5, "2020-09-13T12:26:40.000000005Z", "1600000000.000000005"),
            (-1, 500_000_000, "1969-12-31T23:59:59.5Z", "-0.500000000"),
            (i64::MAX, 1, "@9223372036854775807.000000001", "9223372036854775807.000000001"),
        ] {
            let time = Timestamp { seconds, nanos };
            assert_eq!((&*time.to_string(), &*time.decimal().to_string()), (date, decimal));
        }
    }

    fn stamp(mtime: i64, ctime: i64) -> Stamp {
        let at = |seconds| Timestamp { seconds, nanos: 5 };
        Stamp::of_inode(300, Inode { mtime: at(mtime), ctime: at(ctime), number: Some(u64::MAX) })
    }

    fn without_number(mtime: i64, ctime: i64) -> Stamp {
        let mut stamp = stamp(mtime, ctime);
        if let Evidence::Inode(inode) = &mut stamp.evidence {
            inode.number = None;
        }
        stamp
    }

    #[test]
    fn an_unknown_inode_number_matches_any() {
        let (one, other) = (stamp(1, 2), without_number(1, 2));
        for (now, before) in [(one, other), (other, one), (other, other)] {
            assert_eq!(now.compare(&before, StampFields::default()), StampMatch::Same);
            assert!(now.is_still(&before));
        }
        let touched = without_number(1, 3);
        assert_eq!(touched.compare(&one, StampFields::default()), StampMatch::Doubtful);
        assert!(!touched.is_still(&one));
        assert!(Stamp::unknown(1).is_still(&Stamp::unknown(1)), "two missing tags are equal");
    }

    #[test]
    fn encoding_keeps_every_field() {
        let other = stamp(9, 9);
        for original in [
            stamp(0, 0),
            stamp(-1, i64::MAX),
            stamp(i64::MIN, 1_800_000_000),
            without_number(5, 6),
            Stamp::of_object(7, ETag::new(b"0a-3")),
            Stamp::of_object(0, None),
        ] {
            let encoded = original.encode();
            assert_eq!(Stamp::decode(&encoded), Some(original));
            assert_eq!(original.is_encoded_as(&encoded), original.inode().is_some());
            assert!(!other.is_encoded_as(&encoded));
            assert!(!original.is_encoded_as(&[&encoded[..], b"x"].concat()));
        }
    }

    #[test]
    fn damaged_stamps_decode_to_nothing() {
        let whole = stamp(1, 2).encode();
        for end in 0..whole.len() {
            assert_eq!(Stamp::decode(&whole[..end]), None);
        }
        assert_eq!(Stamp::decode(&[&whole[..], b"x"].concat()), None);
        assert_eq!(Stamp::decode(&[9, 0, 0]), None);
    }

    #[test]
    fn a_tag_alone_decides_whether_an_object_changed() {
        let object = |size, tag: &str| Stamp::of_object(size, ETag::new(tag.as_bytes()));
        let compare = |one: Stamp, other| one.compare(&other, StampFields::default());
        assert_eq!(compare(object(1, "a"), object(1, "a")), StampMatch::Same);
        assert_eq!(compare(object(1, "a"), object(1, "b")), StampMatch::Tag);
        assert_eq!(compare(object(1, "a"), object(2, "a")), StampMatch::Size);
        assert_eq!(compare(object(1, ""), object(1, "")), StampMatch::Doubtful, "without a tag");
        assert!(!object(1, "a").is_racy(Timestamp::default()));
    }

    #[test]
    fn the_wait_for_a_tick_ends_when_it_is_over() {
        let at = |nanos| Timestamp { seconds: 100, nanos };
        let left = |nanos| stamp(3, 100).tick_left(at(nanos));
        assert_eq!(left(5), Some(Duration::from_millis(20)));
        assert_eq!(left(10_000_005), Some(Duration::from_millis(10)));
        assert_eq!(left(10_000_006), None);
        assert!(!stamp(3, 100).is_racy(at(10_000_006)));
        let behind = Timestamp { seconds: 99, nanos: 990_000_005 };
        assert_eq!(stamp(3, 100).tick_left(behind), Some(Duration::from_millis(30)));
        assert_eq!(stamp(3, 100).tick_left(Timestamp { nanos: 4, ..behind }), None, "far ahead");
        let whole = Timestamp { seconds: 100, nanos: 0 };
        let coarse = Stamp::of_inode(1, Inode { mtime: whole, ctime: whole, number: Some(1) });
        assert_eq!(coarse.tick_left(whole), None);
        assert_eq!(Stamp::of_object(1, None).tick_left(whole), None);
    }

    #[test]
    fn a_stamp_is_racy_near_its_recording_even_when_the_clock_jumped_back() {
        let now = Timestamp { seconds: 100, nanos: 0 };
        assert!(stamp(100, 3).is_racy(now));
        assert!(stamp(3, 100).is_racy(now));
        assert!(!stamp(3, 99).is_racy(now));
        assert!(!stamp(101, 3).is_racy(now));
        assert!(stamp(3, 101).is_racy(now), "changed while it was read");
    }
}
