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
mod tests;
