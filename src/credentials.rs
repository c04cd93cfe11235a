//! Credentials: one zeroizing copy, shared by every clone, and a fingerprint that stands for them everywhere else.
//!
//! This module must not know who uses them. Nothing here prints, serializes or compares a secret.

use std::{fmt, io::Read, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{At, CredentialsFault, Error, Result};

/// An API key id and its secret, in memory that is wiped when the last clone is dropped.
///
/// Clones share one copy. `Debug` prints `***` and the [`Fingerprint`]; there is no `Display`, no comparison and no
/// serialization. The key id is treated as confidential too.
///
/// # Examples
/// ```
/// use trunkline::Credentials;
/// let credentials = Credentials::new("PKEXAMPLE", "not-a-real-secret")?;
/// assert!(!format!("{credentials:?}").contains("not-a-real-secret"));
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
}

/// Key and secret stand back to back in one buffer of exact capacity, so that nothing is ever reallocated and left
/// behind unwiped.
struct Shared {
    bytes: Zeroizing<Box<[u8]>>,
    key_len: usize,
    fingerprint: Fingerprint,
}

impl Credentials {
    /// Takes a key id and a secret.
    ///
    /// The arguments are copied; wipe your own copies, or use [`from_reader`](Self::from_reader), which leaves none.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when either is empty, longer than 512 bytes, or holds white space, control or
    /// non-ASCII characters. The error names the field and never echoes the value.
    pub fn new(key: impl AsRef<str>, secret: impl AsRef<str>) -> Result<Self> {
        Self::build(key.as_ref().as_bytes(), secret.as_ref().as_bytes(), false)
    }

    /// Credentials for an endpoint that wants none. They are never sent.
    #[must_use]
    pub fn none() -> Self {
        Self::store(b"", b"")
    }

    /// Reads `APCA_API_KEY_ID` and `APCA_API_SECRET_KEY` from the environment.
    ///
    /// The environment keeps its own copy for the life of the process, out of reach of any wiping; where that matters,
    /// use [`from_file`](Self::from_file) or [`from_reader`](Self::from_reader).
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] that names the missing variable, and the variable of another SDK if one is set.
    pub fn from_env() -> Result<Self> {
        let key = variable(
            KEY_VARIABLE,
            &["ALPACA_API_KEY", "ALPACA_API_KEY_ID", "APCA_API_KEY"],
        )?;
        let secret = variable(
            SECRET_VARIABLE,
            &[
                "ALPACA_SECRET_KEY",
                "ALPACA_API_SECRET_KEY",
                "APCA_API_SECRET",
            ],
        )?;
        Self::new(key.as_str(), secret.as_str())
    }

    /// Reads two lines, the key id and the secret, from a file.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when the file cannot be read, when (on Unix) anybody but its owner may read it,
    /// or for the reasons of [`from_reader`](Self::from_reader).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let unreadable =
            |error: std::io::Error| invalid(CredentialsFault::Unreadable(error.kind()));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(unreadable)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(invalid(CredentialsFault::Exposed { mode: mode & 0o777 }));
            }
        }
        Self::from_reader(file)
    }

    /// Reads two lines, the key id and the secret, to the end of `reader`. White space around a line is cut. Blocks as
    /// long as the reader does.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when reading fails, when there are not exactly two lines, or when a line is
    /// refused for the reasons of [`new`](Self::new).
    pub fn from_reader(reader: impl Read) -> Result<Self> {
        // Exact capacity from the start: growing would leave an unwiped copy behind.
        let mut text = Zeroizing::new(vec![0; 2 * MAX_LEN + 16]);
        let mut len = 0;
        let mut reader = reader.take(text.len() as u64);
        loop {
            match reader.read(&mut text[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(invalid(CredentialsFault::Unreadable(error.kind()))),
            }
        }
        let mut lines = text[..len]
            .trim_ascii()
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii);
        match (lines.next(), lines.next(), lines.next()) {
            (Some(key), Some(secret), None) => Self::build(key, secret, false),
            _ => Err(invalid(CredentialsFault::NotTwoLines)),
        }
    }

    /// Lends the key id and the secret to `with`, so that a REST client needs no second copy. Do not keep them.
    ///
    /// # Examples
    /// ```
    /// # let credentials = trunkline::Credentials::new("PKEXAMPLE", "s3cret")?;
    /// let header = credentials.expose(|key, _secret| format!("APCA-API-KEY-ID: {key}"));
    /// assert_eq!(header, "APCA-API-KEY-ID: PKEXAMPLE");
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn expose<R>(&self, with: impl FnOnce(&str, &str) -> R) -> R {
        let (key, secret) = self.parts();
        // Validated to be ASCII when they came in, so neither side can be invalid UTF-8.
        with(
            std::str::from_utf8(key).unwrap_or_default(),
            std::str::from_utf8(secret).unwrap_or_default(),
        )
    }

    /// What stands for these credentials in maps, logs, health and errors.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.shared.fingerprint
    }

    /// Whether these are the credentials of [`Credentials::none`].
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.shared.bytes.is_empty()
    }

    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        self.shared.bytes.split_at(self.shared.key_len)
    }

    /// A server's text as it may be shown: key and secret masked, control characters escaped, length capped.
    pub(crate) fn redact(&self, text: &str) -> String {
        const SHOWN: usize = 512;
        let masked = Zeroizing::new(self.masked(text));
        let mut shown = String::new();
        for character in masked.chars() {
            if shown.len() >= SHOWN {
                shown.push('…');
                break;
            }
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown
    }

    /// A text with key and secret masked, and otherwise as it is.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut bytes = Zeroizing::new(text.as_bytes().to_vec());
        self.mask(&mut bytes);
        // Only ASCII was overwritten, with ASCII.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The same for a text that may have been cut in the middle of key or secret.
    pub(crate) fn masked_cut(&self, text: &str) -> String {
        let mut text = Zeroizing::new(self.masked(text));
        let tail = self
            .needles()
            .map(|needle| overlap(text.as_bytes(), needle))
            .max()
            .unwrap_or(0);
        let kept = text.len() - tail;
        text.replace_range(kept.., &"*".repeat(tail));
        std::mem::take(&mut *text)
    }

    /// Overwrites every occurrence of key and secret with asterisks, as they are or as JSON may escape them. Lengths
    /// stay as they are.
    pub(crate) fn mask(&self, bytes: &mut [u8]) {
        for needle in self.needles() {
            let mut from = 0;
            while from < bytes.len() {
                let len = match spelled(&bytes[from..], needle) {
                    Spelled::Whole(len) => len,
                    Spelled::Beginning | Spelled::No => {
                        from += 1;
                        continue;
                    }
                };
                bytes[from..from + len].fill(b'*');
                from += len;
            }
        }
    }

    /// What to look for in a text.
    pub(crate) fn needles(&self) -> impl Iterator<Item = &[u8]> {
        let (key, secret) = self.parts();
        [secret, key]
            .into_iter()
            .filter(|part| part.len() >= SHORTEST_MASKED)
    }

    fn build(key: &[u8], secret: &[u8], may_be_empty: bool) -> Result<Self> {
        for (field, value) in [("key id", key), ("secret", secret)] {
            let fault = if value.is_empty() && !may_be_empty {
                CredentialsFault::Empty { field }
            } else if value.len() > MAX_LEN {
                CredentialsFault::TooLong {
                    field,
                    limit: MAX_LEN,
                }
            } else if !value.iter().all(u8::is_ascii_graphic) {
                CredentialsFault::BadCharacter { field }
            } else {
                continue;
            };
            return Err(invalid(fault));
        }
        Ok(Self::store(key, secret))
    }

    fn store(key: &[u8], secret: &[u8]) -> Self {
        let mut bytes = vec![0; key.len() + secret.len()].into_boxed_slice();
        bytes[..key.len()].copy_from_slice(key);
        bytes[key.len()..].copy_from_slice(secret);
        Self {
            shared: Arc::new(Shared {
                bytes: Zeroizing::new(bytes),
                key_len: key.len(),
                fingerprint: Fingerprint::of(key, secret),
            }),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(*** [{}])", self.fingerprint())
    }
}

/// A one-way name for credentials: SHA-256 over a domain tag and the length-prefixed key id and secret.
///
/// `Display` and `Debug` show the first eight hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(key: &[u8], secret: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"trunkline/credentials/v1");
        for field in [key, secret] {
            // The length in front is what tells ("a:b", "c") from ("a", "b:c").
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Writes `text` as the inside of a JSON string, piece by piece, without a buffer of its own.
pub(crate) fn json_escape(text: &[u8], mut write: impl FnMut(&[u8])) {
    for byte in text {
        match byte {
            b'"' => write(b"\\\""),
            b'\\' => write(b"\\\\"),
            byte => write(std::slice::from_ref(byte)),
        }
    }
}

/// Whether a text begins with a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelled {
    /// With the whole of it, in so many bytes.
    Whole(usize),
    /// The text ends before the needle does.
    Beginning,
    No,
}

/// Whether `text` begins with `needle`: as it is, or with any of its characters escaped in a way that JSON allows.
fn spelled(text: &[u8], needle: &[u8]) -> Spelled {
    if text.starts_with(needle) {
        return Spelled::Whole(needle.len());
    }
    if needle.starts_with(text) {
        return Spelled::Beginning;
    }
    let mut len = 0;
    for byte in needle {
        match character(&text[len..], *byte) {
            Some(0) => return Spelled::Beginning,
            Some(more) => len += more,
            None => return Spelled::No,
        }
    }
    Spelled::Whole(len)
}

/// How many bytes at the end of `text` are a beginning, but not the whole, of `needle`.
pub(crate) fn overlap(text: &[u8], needle: &[u8]) -> usize {
    // An escaped character takes six bytes.
    let longest = text.len().min(6 * needle.len());
    (1..=longest)
        .rev()
        .find(|len| spelled(&text[text.len() - len..], needle) == Spelled::Beginning)
        .unwrap_or(0)
}

/// In how many bytes `text` begins with `wanted`; 0 if it ends too early to tell.
fn character(text: &[u8], wanted: u8) -> Option<usize> {
    match text {
        [] | [b'\\'] => Some(0),
        [b'\\', b'u', code @ ..] if code.len() < 4 && code.iter().all(u8::is_ascii_hexdigit) => {
            Some(0)
        }
        [b'\\', b'u', code @ ..] if is_code_of(code, wanted) => Some(6),
        [b'\\', next, ..] if *next == wanted => Some(2),
        [first, ..] if *first == wanted => Some(1),
        _ => None,
    }
}

/// Whether `code` begins with the four hex digits of `wanted`.
fn is_code_of(code: &[u8], wanted: u8) -> bool {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).map(|digit| digit as u8);
    let digits = [
        Some(b'0'),
        Some(b'0'),
        digit(wanted >> 4),
        digit(wanted & 15),
    ];
    digits
        .iter()
        .zip(code)
        .all(|(digit, byte)| *digit == Some(byte.to_ascii_lowercase()))
}

fn variable(name: &'static str, elsewhere: &[&'static str]) -> Result<Zeroizing<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Zeroizing::new(value)),
        Err(std::env::VarError::NotUnicode(value)) => {
            value.into_encoded_bytes().zeroize();
            Err(invalid(CredentialsFault::BadCharacter { field: name }))
        }
        Err(std::env::VarError::NotPresent) => {
            let found = elsewhere
                .iter()
                .copied()
                .find(|other| std::env::var_os(other).is_some());
            Err(invalid(CredentialsFault::NotSet {
                variable: name,
                found,
            }))
        }
    }
}

fn invalid(fault: CredentialsFault) -> Error {
    Error::InvalidCredentials {
        at: At::default(),
        fault,
    }
}

const KEY_VARIABLE: &str = "APCA_API_KEY_ID";
const SECRET_VARIABLE: &str = "APCA_API_SECRET_KEY";
/// Shorter parts are not looked for in what a server says: a key `con` would be found in every `connection`, and in the
/// words of the protocol itself. Real ones are some twenty and forty characters long.
const SHORTEST_MASKED: usize = 5;
/// Far above any venue's, far below anything that could hurt.
const MAX_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_length_prefixed_in_the_fingerprint() {
        let one = Credentials::new("a:b", "c").unwrap();
        let other = Credentials::new("a", "b:c").unwrap();
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(
            one.fingerprint(),
            Credentials::new("a:b", "c").unwrap().fingerprint()
        );
    }

    /// Computed with Python: `hashlib.sha256(tag + (9).to_bytes(8) + b"PKEXAMPLE" + (8).to_bytes(8) + b"sEXAMPLE")`.
    #[test]
    fn the_fingerprint_has_an_independent_test_vector() {
        let credentials = Credentials::new("PKEXAMPLE", "sEXAMPLE").unwrap();
        assert_eq!(credentials.fingerprint().to_string(), VECTOR);
    }
    const VECTOR: &str = "8721ee69";

    #[test]
    fn bad_values_are_refused_by_name_and_not_echoed() {
        let long = "x".repeat(MAX_LEN + 1);
        for (key, secret, says) in [
            ("", "s", "key id is empty"),
            ("k", "", "secret is empty"),
            ("k", "se cret", "secret holds"),
            ("k\n", "secret", "key id holds"),
            ("k", "sécret", "secret holds"),
            (long.as_str(), "s", "key id is longer than 512"),
        ] {
            let error = Credentials::new(key, secret).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            for value in [key, secret] {
                assert!(
                    value.len() < 2 || !format!("{error} {error:?}").contains(value),
                    "{error:?}"
                );
            }
        }
    }

    #[test]
    fn a_reader_gives_two_lines() {
        let credentials = Credentials::from_reader(&b"  PKX \r\n s3 \n\n"[..]).unwrap();
        credentials.expose(|key, secret| assert_eq!((key, secret), ("PKX", "s3")));
        assert!(Credentials::from_reader(&b"one"[..]).is_err());
        assert!(Credentials::from_reader(&b"1\n2\n3"[..]).is_err());
    }

    #[test]
    fn server_text_is_shown_without_secrets_and_on_one_line() {
        let credentials = Credentials::new("PKEXAMPLE", "s\"quoted").unwrap();
        let shown = credentials.redact("no\r\nPKEXAMPLE s\"quoted s\\\"quoted");
        assert_eq!(shown, "no\\r\\n********* ******** *********");
    }
}
