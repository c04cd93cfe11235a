//! Credentials: one zeroizing copy, shared by every clone, and a fingerprint that stands for them everywhere else.
//!
//! This module must not know who uses them. Nothing here prints, serializes or compares a secret.

mod pem;
mod redaction;

use std::{ffi::OsString, fmt, io::Read, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing, zeroize_stack};

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
    /// A secret may be a private key in PEM, which has several lines; also one that was put into one line by writing `\n` for
    /// its line breaks. It is kept with a line feed behind each line but the last.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when either is empty, longer than 4,096 bytes, stands in quotes, or holds white space,
    /// control or non-ASCII characters, or PEM that is not whole. The error names the field and never echoes the value.
    pub fn new(key: impl AsRef<str>, secret: impl AsRef<str>) -> Result<Self> {
        Self::build(key.as_ref().as_bytes(), secret.as_ref().as_bytes())
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

    /// Reads two lines, the key id and the secret, from a file that only its owner may touch: `chmod 600`. That is
    /// checked on Unix; elsewhere, keeping others from it is up to you.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when the file cannot be read, when anybody but its owner may read or write it,
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

    /// Reads two lines, the key id and the secret, to the end of `reader`. White space around a line is cut. A secret in PEM
    /// is as many lines as it has. Blocks as long as the reader does.
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
        if len == text.len() {
            // There may be more of it, and a secret that was cut would be a wrong one.
            return Err(invalid(CredentialsFault::TooLong {
                field: "text that holds them",
                limit: len - 1,
            }));
        }
        let mut lines = text[..len].trim_ascii().splitn(2, |byte| *byte == b'\n');
        match (lines.next(), lines.next()) {
            (Some(key), Some(secret)) if pem::is_meant(secret) || !secret.contains(&b'\n') => {
                Self::build(key.trim_ascii(), secret.trim_ascii())
            }
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

    fn build(key: &[u8], secret: &[u8]) -> Result<Self> {
        check("key id", key)?;
        if !pem::is_meant(secret) || secret.len() > MAX_LEN {
            check("secret", secret)?;
            return Ok(Self::store(key, secret));
        }
        let field = "secret";
        match pem::spelled(secret) {
            Some(secret) => Ok(Self::store(key, &secret)),
            None => Err(invalid(CredentialsFault::BadPem { field })),
        }
    }

    /// Whatever they hold. What is read as text of them is empty where it is none.
    pub(crate) fn store(key: &[u8], secret: &[u8]) -> Self {
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

/// How many bytes of the stack are wiped. The threads of the model checker have not so many, and no secret.
const WIPED: usize = if cfg!(loom) { 1 << 10 } else { 32 << 10 };

impl Fingerprint {
    fn of(key: &[u8], secret: &[u8]) -> Self {
        let fingerprint = Self::hash(key, secret);
        // The hasher wipes itself, but not the copies that its moves, the padding of its last block and the compression
        // of each block leave on the stack. The deepest that was measured lay 15 KiB down.
        zeroize_stack::<WIPED>();
        fingerprint
    }

    /// In a frame of its own, which lies where the stack is wiped afterwards.
    #[inline(never)]
    fn hash(key: &[u8], secret: &[u8]) -> Self {
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
            b'\n' => write(b"\\n"),
            byte => write(std::slice::from_ref(byte)),
        }
    }
}

fn check(field: &'static str, value: &[u8]) -> Result<()> {
    let stands_in_quotes = QUOTES
        .iter()
        .any(|quote| value.starts_with(quote) || value.ends_with(quote));
    let fault = if value.is_empty() {
        CredentialsFault::Empty { field }
    } else if value.len() > MAX_LEN {
        let limit = MAX_LEN;
        CredentialsFault::TooLong { field, limit }
    } else if stands_in_quotes {
        CredentialsFault::Quoted { field }
    } else if !value.iter().all(u8::is_ascii_graphic) {
        CredentialsFault::BadCharacter { field }
    } else {
        return Ok(());
    };
    Err(invalid(fault))
}

fn variable(name: &'static str, elsewhere: &[&'static str]) -> Result<Zeroizing<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Zeroizing::new(value)),
        Err(std::env::VarError::NotUnicode(value)) => {
            value.into_encoded_bytes().zeroize();
            Err(invalid(CredentialsFault::BadCharacter { field: name }))
        }
        Err(std::env::VarError::NotPresent) => {
            let found = elsewhere.iter().copied().find(|other| is_set(other));
            Err(invalid(CredentialsFault::NotSet {
                variable: name,
                found,
            }))
        }
    }
}

/// What it is set to may be a secret, too, and is wiped.
fn is_set(name: &str) -> bool {
    let value = std::env::var_os(name).map(OsString::into_encoded_bytes);
    value.map(Zeroizing::new).is_some()
}

fn invalid(fault: CredentialsFault) -> Error {
    Error::InvalidCredentials {
        at: At::default(),
        fault,
    }
}

const KEY_VARIABLE: &str = "APCA_API_KEY_ID";
const SECRET_VARIABLE: &str = "APCA_API_SECRET_KEY";
/// A private key of 4,096 bits in PEM has some 3,300 bytes.
const MAX_LEN: usize = 4_096;
/// What a file of settings or a word processor puts around values. No venue's keys begin or end so.
const QUOTES: [&[u8]; 7] = [
    b"\"",
    b"'",
    b"`",
    "\u{201c}".as_bytes(),
    "\u{201d}".as_bytes(),
    "\u{2018}".as_bytes(),
    "\u{2019}".as_bytes(),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hashlib.sha256` of `b"trunkline/credentials/v1"`, and of each field its length in eight
    /// bytes, big end first, and itself.
    #[test]
    fn the_fingerprint_is_that_of_an_independent_computation() {
        for (key, secret, sha256) in [
            (
                "PKEXAMPLE",
                "sEXAMPLE",
                "8721ee693faf9a24a55b6755b7e61f5f36900a4da7689204a0291979bb9afe7a",
            ),
            (
                "a:b",
                "c",
                "33cda4d2e8199f19a9ebfe05b2b0c5714ab686948b822e0bf7801f6a7482f243",
            ),
            // The same characters, cut elsewhere.
            (
                "a",
                "b:c",
                "c45cfcf8e47c86ce8c349dea7d484313f0f44975e9f05446aaa1d1735a21e60c",
            ),
        ] {
            let fingerprint = Credentials::new(key, secret).unwrap().fingerprint();
            let digits: String = fingerprint
                .0
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(digits, sha256);
            assert_eq!(fingerprint.to_string(), sha256[..8]);
        }
    }

    #[test]
    fn bad_values_are_refused_by_name_and_not_echoed() {
        let long = "x".repeat(MAX_LEN + 1);
        for (key, secret, says) in [
            ("", "s", "key id is empty"),
            ("k", "", "secret is empty"),
            ("k", "se cret", "secret holds"),
            ("k\n", "secret", "key id holds"),
            ("k", "sécret", "secret holds"),
            ("\"PKX\"", "s", "key id stands in quotes"),
            ("k", "'s3cret'", "secret stands in quotes"),
            ("k", "'s3cret", "secret stands in quotes"),
            ("k", "s3cret\"", "secret stands in quotes"),
            ("k", "\u{201c}s3cret\u{201d}", "secret stands in quotes"),
            (long.as_str(), "s", "key id is longer than 4096"),
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

    const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4foAoGCCqGSM49\n\
        AwEHoUQDQgAEUVw9brnjlrkE0\n\
        -----END EC PRIVATE KEY-----";

    #[test]
    fn a_key_in_pem_is_one_secret_however_its_lines_were_written() {
        let kept = Credentials::new("k", PEM).unwrap();
        kept.expose(|_, secret| assert_eq!(secret, PEM));
        let in_one_line = PEM.replace('\n', r"\n");
        let with_returns = PEM.replace('\n', "\r\n");
        for text in [
            format!("{PEM}\n"),
            in_one_line.clone(),
            format!("{in_one_line}\\n"),
            with_returns,
        ] {
            let other = Credentials::new("k", &text).unwrap();
            assert_eq!(other.fingerprint(), kept.fingerprint(), "{text:?}");
            let read = Credentials::from_reader(format!(" k \n{text}\n").as_bytes()).unwrap();
            assert_eq!(read.fingerprint(), kept.fingerprint(), "{text:?}");
        }
        let longest = PEM.replacen("MHc", &"A".repeat(MAX_LEN - PEM.len() + 3), 1);
        assert_eq!(longest.len(), MAX_LEN);
        assert!(Credentials::new("k", &longest).is_ok());
        assert!(Credentials::new("k", longest + "\n").is_err());
    }

    #[test]
    fn what_begins_as_pem_and_is_none_is_refused_and_not_echoed() {
        let label = "-----END EC PRIVATE KEY-----";
        for text in [
            PEM.replace(label, ""),
            PEM.replace(label, "-----END RSA PRIVATE KEY-----"),
            PEM.replace("MHc", "MH c"),
            PEM.replace("MHc", "MH\u{0}c"),
            PEM.replace("MHc", "MHé"),
            format!("{PEM}\nMHcCAQEE"),
            "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----".to_owned(),
        ] {
            let error = Credentials::new("k", &text).unwrap_err();
            assert!(error.to_string().contains("PEM"), "{error}");
            assert!(!format!("{error:?}").contains("CAQEE"), "{error:?}");
        }
        // Only a secret has lines.
        assert!(Credentials::new(PEM, "s").is_err());
        assert!(Credentials::new("k", format!("s{PEM}")).is_err());
    }

    /// In whatever way the lines are put together, and each by itself.
    #[test]
    fn no_line_of_a_key_in_pem_is_shown() {
        let credentials = Credentials::new("organizations/1/apiKeys/2", PEM).unwrap();
        let mut login = Vec::new();
        json_escape(PEM.as_bytes(), |bytes| login.extend_from_slice(bytes));
        let login = String::from_utf8(login).unwrap();
        assert_eq!(login, PEM.replace('\n', r"\n"));
        let lines: Vec<&str> = PEM.lines().collect();
        let percent: String = PEM.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for text in [
            PEM.to_owned(),
            login,
            percent,
            PEM.replace('\n', "\r\n"),
            PEM.replace('\n', ""),
            PEM.replace('\n', " "),
            lines[1].to_owned(),
            lines[2].to_owned(),
        ] {
            let shown = credentials.redact(&format!("cannot read {text}, sorry"));
            assert!(
                shown.ends_with(", sorry") || shown.ends_with('…'),
                "{shown}"
            );
            for line in [lines[1], lines[2]] {
                for part in line.as_bytes().chunks(8) {
                    let part = std::str::from_utf8(part).unwrap();
                    assert!(part.len() < 8 || !shown.contains(part), "{shown}");
                }
            }
            assert!(credentials.stand_in(text.as_bytes()), "{text}");
        }
        let half = &lines[1][..40];
        assert_eq!(credentials.beginning(half.as_bytes()), half.len());
    }

    #[test]
    fn a_reader_gives_two_lines() {
        let credentials = Credentials::from_reader(&b"  PKX \r\n s3 \n\n"[..]).unwrap();
        credentials.expose(|key, secret| assert_eq!((key, secret), ("PKX", "s3")));
        assert!(Credentials::from_reader(&b"one"[..]).is_err());
        assert!(Credentials::from_reader(&b"1\n2\n3"[..]).is_err());
        // What stands too far behind is not cut off unseen.
        let padded = format!("{}\nPKX\ns3", " ".repeat(2 * MAX_LEN + 13));
        let error = Credentials::from_reader(padded.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("longer than 8207"), "{error}");
    }
}
