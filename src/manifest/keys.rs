//! Keys and signatures of manifests: Ed25519, in the file formats of minisign.
//!
//! A [`LockedKey`] is a secret key as in its file, usually encrypted with a password. Opened it is
//! a [`SecretKey`], which signs. A [`PublicKey`] verifies a [`Signature`].

use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign::{KeyPair, SecretKeyBox, SignatureBox};
use std::fmt;

/// The start of the first line of each file; the rest of that line is not authenticated.
const COMMENT: &str = "untrusted comment: ";
/// The algorithm of keys: Ed25519.
const KEY_ALGORITHM: &[u8] = b"Ed";
/// The algorithm of signatures: Ed25519 of the content's BLAKE2 digest.
const SIGNATURE_ALGORITHM: &[u8] = b"ED";
/// The checksum of a secret key: BLAKE2.
const CHECKSUM_ALGORITHM: &[u8] = b"B2";
/// The encryption of a secret key: scrypt.
const ENCRYPTED: &[u8] = b"Sc";
/// The most work (libsodium's "opslimit") accepted for opening a key: that of minisign's own keys.
/// It takes a second or two and a gibibyte of memory.
const MOST_WORK: u64 = 1 << 25;
/// The longest key or signature file that is read, in bytes. minisign's comments take up to 9 KiB.
pub const LONGEST: u64 = 64 << 10;

/// The id of a key, which its signatures contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Reads the id from the first eight of at least eight bytes.
    fn of(bytes: &[u8]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[..8]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    /// Prints 16 hexadecimal digits, as minisign does.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// A secret key as in its file.
pub struct LockedKey {
    /// The content of the file.
    text: String,
    /// The bytes that its second line encodes.
    bytes: Vec<u8>,
    kind: Kind,
}

/// How a secret key is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Encrypted with a password, with a checksum.
    Encrypted,
    /// Unencrypted, with a checksum.
    Plain,
    /// Unencrypted and without a checksum, as minisign writes it.
    Unchecked,
}

impl LockedKey {
    /// Parses the content of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it isn't a secret key, or needs far more work to open than usual.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let broken = |how: &str| {
            let error = Error::new(ErrorKind::Usage, format!("it is not a secret key: {how}"));
            error
                .help("name the file that `vidimus keygen` or `minisign -G` made as the secret key")
        };
        if PublicKey::decode(text).is_ok() {
            return Err(broken("it is a public one"));
        }
        let mut lines = text.lines();
        lines.next().filter(|first| first.starts_with(COMMENT)).ok_or_else(|| {
            broken("its first line doesn't begin as minisign's does (\"untrusted comment: \")")
        })?;
        let encoded = lines.next().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(encoded).unwrap_or_default();
        // Algorithms of key, encryption and checksum; salt, work, memory; number, key, checksum.
        let is_key = bytes.len() == 6 + 48 + 8 + 64 + 32
            && bytes[..2] == *KEY_ALGORITHM
            && bytes[4..6] == *CHECKSUM_ALGORITHM;
        if !is_key {
            return Err(broken("its second line isn't a key"));
        }
        let kind = match &bytes[2..4] {
            ENCRYPTED => Kind::Encrypted,
            [0, 0] if bytes[126..].iter().all(|&byte| byte == 0) => Kind::Unchecked,
            [0, 0] => Kind::Plain,
            _ => return Err(broken("it is encrypted in an unknown way")),
        };
        let mut work = [0; 8];
        work.copy_from_slice(&bytes[38..46]);
        if kind == Kind::Encrypted && u64::from_le_bytes(work) > MOST_WORK {
            return Err(broken("decrypting it would take far longer than usual"));
        }
        Ok(Self { text: text.to_owned(), bytes, kind })
    }

    /// Returns whether a password is needed to open the key.
    pub fn is_encrypted(&self) -> bool {
        self.kind == Kind::Encrypted
    }

    /// Opens the key; `password` is only used if it is encrypted.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the password is wrong or the key is damaged.
    pub fn open(self, password: String) -> Result<SecretKey, Error> {
        let otherwise = if self.is_encrypted() {
            "the password is not that of the secret key"
        } else {
            "the secret key is damaged"
        };
        let failed = |error: minisign::PError| {
            if matches!(error.kind(), minisign::ErrorKind::Verify) {
                return Error::new(ErrorKind::Usage, otherwise);
            }
            Error::new(ErrorKind::Usage, "cannot open the secret key").because(error.to_string())
        };
        let boxed = SecretKeyBox::from(self.text);
        let key = match self.kind {
            Kind::Encrypted => boxed.into_secret_key(Some(password)),
            Kind::Plain => boxed.into_unencrypted_secret_key(),
            Kind::Unchecked => minisign::SecretKey::from_bytes(&self.bytes),
        };
        let key = key.map_err(failed)?;
        let public = minisign::PublicKey::from_secret_key(&key).map_err(failed)?;
        // Without a checksum, this checks that both halves of the key belong together.
        minisign::sign(Some(&public), &key, std::io::empty(), None, None).map_err(failed)?;
        Ok(SecretKey { key, public: PublicKey { key: public } })
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_encrypted = self.is_encrypted();
        out.debug_struct("LockedKey").field("is_encrypted", &is_encrypted).finish_non_exhaustive()
    }
}

/// An open secret key, which can sign.
pub struct SecretKey {
    key: minisign::SecretKey,
    public: PublicKey,
}

impl SecretKey {
    /// Returns the public key that belongs to it.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs content together with the printable `comment`, and returns the content of the
    /// signature's file.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the system provides no random numbers.
    pub fn sign(&self, content: &[u8], comment: &str) -> Result<Vec<u8>, Error> {
        let (public, untrusted) = (Some(&self.public.key), Some("signature of a vidimus manifest"));
        minisign::sign(public, &self.key, content, Some(comment), untrusted)
            .map(|signed| signed.to_string().into_bytes())
            .map_err(|error| {
                Error::new(ErrorKind::Unusable, "cannot sign").because(error.to_string())
            })
    }
}

impl fmt::Debug for SecretKey {
    /// Prints only its id: minisign's type prints the secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretKey({})", self.public.id())
    }
}

/// A public key, which verifies signatures by the secret key that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: minisign::PublicKey,
}

impl PublicKey {
    /// Parses the content of a file whose second line is the key, or the key alone, in Base64.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for anything else.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let broken = || {
            Error::new(ErrorKind::Usage, "it is not a public key").help(
                "name the file that `vidimus keygen` or `minisign -G` made as the public key, or \
                 the key itself",
            )
        };
        let mut lines = text.trim_end().lines();
        let mut encoded = lines.next().unwrap_or_default();
        if encoded.starts_with(COMMENT) {
            encoded = lines.next().unwrap_or_default();
        }
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| broken())?;
        if lines.next().is_some() || bytes.len() != 2 + 8 + 32 || bytes[..2] != *KEY_ALGORITHM {
            return Err(broken());
        }
        let key = minisign::PublicKey::from_bytes(&bytes).map_err(|_| broken())?;
        Ok(Self { key })
    }

    /// Returns the key's id.
    pub fn id(&self) -> KeyId {
        KeyId::of(self.key.keynum())
    }

    /// Returns whether a signature of `content`, which names this key, is valid.
    pub fn vouches_for(&self, content: &[u8], signature: &Signature) -> bool {
        let content = std::io::Cursor::new(content);
        minisign::verify(&self.key, &signature.signed, content, true, false, false).is_ok()
    }
}

impl fmt::Display for PublicKey {
    /// Prints the key in Base64, as it can be typed.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.key.to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({self})")
    }
}

/// A signature of some content and of a comment.
pub struct Signature {
    signed: SignatureBox,
    /// The id of the key that the signature names.
    pub key: KeyId,
    /// The printable comment. If the signature is valid, it is the signer's.
    pub comment: String,
}

impl Signature {
    /// Parses the content of a file: four lines exactly as minisign writes them. Deviations are
    /// refused even if harmless, so that a change of any byte is noticed, except in the first
    /// line's comment.
    ///
    /// # Errors
    /// The reason why it is not a signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let lines: Vec<_> = text.split('\n').take(6).collect();
        let &[_, signature, _, comment, ""] = &lines[..] else {
            return Err("it doesn't have four lines");
        };
        let of_content = BASE64_STANDARD.decode(signature).unwrap_or_default();
        let of_comment = BASE64_STANDARD.decode(comment).unwrap_or_default();
        // minisign's reader accepts shorter ones, and then reads beyond their end.
        if of_content.len() != 2 + 8 + 64 || of_comment.len() != 64 {
            return Err("it holds no signature");
        }
        if of_content[..2] != *SIGNATURE_ALGORITHM {
            return Err("it is of a kind that is not accepted");
        }
        let signed = SignatureBox::from_string(text).map_err(|_| "its lines are malformed")?;
        // minisign's own comments contain tabs.
        let comment = signed.trusted_comment().unwrap_or_default();
        let comment = Escaped(comment.as_bytes()).to_string();
        if signed.to_string() != text {
            return Err("its lines are malformed");
        }
        Ok(Self { signed, key: KeyId::of(&of_content[2..]), comment })
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature({}, {:?})", self.key, self.comment)
    }
}

/// The contents of the two files of a new pair of keys.
pub struct NewKeys {
    /// The content of the secret key's file.
    pub secret: String,
    /// The content of the public key's file.
    pub public: String,
    /// The public key itself.
    pub key: PublicKey,
}

impl NewKeys {
    /// Makes a pair of keys, with the secret one encrypted if a password is given.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the system provides no random numbers.
    pub fn make(password: Option<String>) -> Result<Self, Error> {
        let is_encrypted = password.is_some();
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let cannot = |error: minisign::PError| {
            Error::new(ErrorKind::Unusable, "cannot make a pair of keys").because(error.to_string())
        };
        let KeyPair { pk, sk } = pair.map_err(cannot)?;
        let key = PublicKey { key: pk };
        let kind = if is_encrypted { "encrypted secret key" } else { "secret key" };
        let comment = format!("vidimus {kind} {}", key.id());
        let secret = sk.to_box(Some(&comment)).map_err(cannot)?.into_string();
        let public = format!("{COMMENT}vidimus public key {}\n{key}\n", key.id());
        Ok(Self { secret, public, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(keys: &NewKeys, password: &str) -> Result<SecretKey, Error> {
        LockedKey::decode(&keys.secret)?.open(password.to_owned())
    }

    #[test]
    fn a_pair_signs_and_vouches() {
        for password in [None, Some("é secret")] {
            let keys = NewKeys::make(password.map(str::to_owned)).unwrap();
            let locked = LockedKey::decode(&keys.secret).unwrap();
            assert_eq!(locked.is_encrypted(), password.is_some());
            let secret = open(&keys, password.unwrap_or_default()).unwrap();
            let public = PublicKey::decode(&keys.public).unwrap();
            assert_eq!(public, *secret.public());
            assert_eq!(PublicKey::decode(&public.to_string()).unwrap(), public);
            let file = secret.sign(b"content", "comment").unwrap();
            let signature = Signature::decode(&file).unwrap();
            assert_eq!((signature.key, &*signature.comment), (public.id(), "comment"));
            assert!(public.vouches_for(b"content", &signature));
            assert!(!public.vouches_for(b"Content", &signature));
            let other = NewKeys::make(None).unwrap().key;
            assert!(!other.vouches_for(b"content", &signature));
        }
    }

    #[test]
    fn another_password_does_not_open_a_key() {
        let keys = NewKeys::make(Some("right".to_owned())).unwrap();
        let error = open(&keys, "wrong").unwrap_err();
        assert!(error.to_string().contains("password"), "{error}");
        assert_eq!(error.kind, ErrorKind::Usage);
    }

    #[test]
    fn no_secret_is_printed() {
        let keys = NewKeys::make(None).unwrap();
        let secret = open(&keys, "").unwrap();
        let id = secret.public().id();
        assert_eq!(format!("{secret:?}"), format!("SecretKey({id})"));
        let locked = LockedKey::decode(&keys.secret).unwrap();
        assert_eq!(format!("{locked:?}"), "LockedKey { is_encrypted: false, .. }");
    }

    /// Returns the bytes of the comment that is not authenticated.
    fn untrusted(text: &str) -> std::ops::Range<usize> {
        COMMENT.len()..text.find('\n').unwrap()
    }

    #[test]
    fn a_change_of_any_bit_of_a_signature_shows() {
        let keys = NewKeys::make(None).unwrap();
        let file = open(&keys, "").unwrap().sign(b"content", "manifest 1 of /t").unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        for (at, bit) in (0..file.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            let holds = Signature::decode(&changed)
                .is_ok_and(|signature| keys.key.vouches_for(b"content", &signature));
            assert!(!holds || untrusted(&text).contains(&at), "byte {at}, bit {bit}");
        }
        for length in 0..file.len() {
            assert!(Signature::decode(&file[..length]).is_err(), "{length} bytes");
        }
        assert!(Signature::decode(&[&file[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn a_change_of_any_bit_of_a_key_shows() {
        let keys = NewKeys::make(None).unwrap();
        let signature = open(&keys, "").unwrap().sign(b"content", "").unwrap();
        let signature = Signature::decode(&signature).unwrap();
        for (at, bit) in (0..keys.public.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = keys.public.clone().into_bytes();
            changed[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            let holds = PublicKey::decode(&changed)
                .is_ok_and(|public| public.vouches_for(b"content", &signature));
            let is_end = at + 1 == keys.public.len();
            assert!(!holds || is_end || untrusted(&keys.public).contains(&at), "{changed:?}");
        }
        let secret = keys.secret.as_bytes();
        let line = untrusted(&keys.secret).end + 1;
        // All bytes except those that only encryption would use.
        for at in (line..line + 8).chain(line + 72..secret.len() - 1) {
            let mut changed = secret.to_vec();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            let opened = LockedKey::decode(&changed).and_then(|key| key.open(String::new()));
            assert!(opened.is_err(), "{changed:?}");
        }
    }

    #[test]
    fn a_key_without_a_checksum_is_opened_if_its_halves_belong_together() {
        let keys = NewKeys::make(None).unwrap();
        let mut bytes = BASE64_STANDARD.decode(keys.secret.lines().nth(1).unwrap()).unwrap();
        bytes[126..].fill(0);
        let open = |bytes: &[u8]| {
            let text = format!("{COMMENT}minisign\n{}\n", BASE64_STANDARD.encode(bytes));
            LockedKey::decode(&text)?.open(String::new())
        };
        assert_eq!(*open(&bytes).unwrap().public(), keys.key);
        for at in 62..126 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(open(&changed).is_err(), "byte {at}");
        }
    }

    /// minisign's own reader would accept these and read beyond their end.
    #[test]
    fn what_is_too_short_for_a_signature_is_refused() {
        let keys = NewKeys::make(None).unwrap();
        let file = open(&keys, "").unwrap().sign(b"content", "comment").unwrap();
        let text = String::from_utf8(file).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for short in ["", "AAAA"] {
            let of_comment = [lines[0], lines[1], lines[2], short, ""].join("\n");
            assert!(Signature::decode(of_comment.as_bytes()).is_err());
            let of_content = [lines[0], short, lines[2], lines[3], ""].join("\n");
            assert!(Signature::decode(of_content.as_bytes()).is_err());
        }
        let cursor = text.replace("comment: comment", "comment: \u{1b}[2J");
        assert_eq!(Signature::decode(cursor.as_bytes()).unwrap().comment, "\\u{1b}[2J");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let keys = NewKeys::make(None).unwrap();
        let error = LockedKey::decode(&keys.public).unwrap_err();
        assert!(error.to_string().contains("public"), "{error}");
        for text in ["", "\n", "x", &keys.secret] {
            assert!(PublicKey::decode(text).is_err(), "{text:?}");
        }
        let mut bytes = BASE64_STANDARD.decode(keys.secret.lines().nth(1).unwrap()).unwrap();
        bytes[2..4].copy_from_slice(ENCRYPTED);
        bytes[38..46].copy_from_slice(&u64::MAX.to_le_bytes());
        let endless = format!("{COMMENT}\n{}\n", BASE64_STANDARD.encode(&bytes));
        let error = LockedKey::decode(&endless).unwrap_err();
        assert!(error.to_string().contains("far longer"), "{error}");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::model::fuzz::{Input, assert_printable, changed, config};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// A pair of keys, and what it signed.
    static SIGNED: LazyLock<(NewKeys, String)> = LazyLock::new(|| {
        let keys = NewKeys::make(None).unwrap();
        let comment = "vidimus manifest 12 of /mnt/é, run r, published -";
        let secret = LockedKey::decode(&keys.secret).unwrap().open(String::new()).unwrap();
        let signed = secret.sign(b"content", comment).unwrap();
        (keys, String::from_utf8(signed).unwrap())
    });

    fn signature() -> impl Strategy<Value = Input> {
        changed(vec![SIGNED.1.clone().into_bytes()])
    }

    fn key() -> impl Strategy<Value = Input> {
        let encrypted = NewKeys::make(Some("password".to_owned())).unwrap();
        let keys = &SIGNED.0;
        let texts = [&keys.secret, &keys.public, &keys.key.to_string(), &encrypted.secret];
        changed(texts.map(|text| text.clone().into_bytes()).into())
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_signature_that_holds_is_the_one_that_was_made(Input(bytes) in signature()) {
            let (keys, text) = &*SIGNED;
            if let Ok(signature) = Signature::decode(&bytes) {
                prop_assert_eq!(signature.signed.to_string().into_bytes(), bytes.clone());
                if keys.key.vouches_for(b"content", &signature) {
                    let vouched = |bytes: &[u8]| {
                        let end = bytes.iter().position(|&byte| byte == b'\n');
                        bytes[end.unwrap_or_default()..].to_vec()
                    };
                    prop_assert_eq!(vouched(&bytes), vouched(text.as_bytes()));
                }
            }
        }

        #[test]
        fn a_file_of_a_key(Input(bytes) in key()) {
            let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
            match PublicKey::decode(&text) {
                Ok(key) => prop_assert_eq!(PublicKey::decode(&key.to_string()).unwrap(), key),
                Err(error) => assert_printable(&error),
            }
            match LockedKey::decode(&text) {
                // Scrypt would take long.
                Ok(key) if key.is_encrypted() => {}
                Ok(key) => {
                    if let Err(error) = key.open(String::new()) {
                        assert_printable(&error);
                    }
                }
                Err(error) => assert_printable(&error),
            }
        }
    }
}
