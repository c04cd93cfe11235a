//! Credentials: one zeroizing copy, shared by every clone, and a fingerprint that stands for them everywhere else.
//!
//! This module must not know who uses them. Nothing here prints, serializes or compares a secret.

mod pem;
mod redaction;

use std::{
    borrow::Cow,
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing, zeroize_stack};

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
    /// When either is empty, longer than 4,096 bytes, stands in quotes, or holds white space,
    /// control or non-ASCII characters, or PEM that is not whole. The error names the field and never echoes the value.
    pub fn new(key: impl AsRef<str>, secret: impl AsRef<str>) -> Result<Self, CredentialsFault> {
        Self::build(key.as_ref().as_bytes(), secret.as_ref().as_bytes())
    }

    /// Credentials for an endpoint that wants none. They are never sent.
    #[must_use]
    pub fn none() -> Self {
        Self::store(b"", b"")
    }

    /// Reads the key id and the secret from two variables of the environment, by their names.
    ///
    /// The environment keeps its own copy for the life of the process, out of reach of any wiping; where that matters,
    /// use [`from_file`](Self::from_file) or [`from_reader`](Self::from_reader).
    ///
    /// # Errors
    /// Names the variable that is not set, or says what is wrong with its value.
    ///
    /// # Examples
    /// ```
    /// use trunkline::Credentials;
    /// let fault = Credentials::from_env_vars("MY_KEY", "MY_SECRET").unwrap_err();
    /// assert!(fault.to_string().contains("MY_KEY"));
    /// ```
    pub fn from_env_vars(
        key: &'static str,
        secret: &'static str,
    ) -> Result<Self, CredentialsFault> {
        let (key, secret) = (variable(key)?, variable(secret)?);
        Self::new(key.as_str(), secret.as_str())
    }

    /// Reads two lines, the key id and the secret, from a file that only its owner may touch: `chmod 600`. That is
    /// checked on Unix; elsewhere, keeping others from it is up to you.
    ///
    /// # Errors
    /// When the file cannot be read, when anybody but its owner may read or write it,
    /// or for the reasons of [`from_reader`](Self::from_reader).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, CredentialsFault> {
        let path = path.as_ref();
        let unreadable = |error: std::io::Error| CredentialsFault::Unreadable {
            path: Some(path.to_owned()),
            kind: error.kind(),
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(unreadable)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(CredentialsFault::Exposed {
                    path: path.to_owned(),
                    mode: mode & 0o777,
                });
            }
        }
        Self::from_reader(file).map_err(|fault| fault.of(path))
    }

    /// Reads two lines, the key id and the secret, to the end of `reader`. White space around a line is cut. A secret in PEM
    /// is as many lines as it has. Blocks as long as the reader does.
    ///
    /// # Errors
    /// When reading fails, when there are not exactly two lines, or when a line is
    /// refused for the reasons of [`new`](Self::new).
    pub fn from_reader(reader: impl Read) -> Result<Self, CredentialsFault> {
        // Exact capacity from the start: growing would leave an unwiped copy behind.
        let mut text = Zeroizing::new(vec![0; 2 * MAX_LEN + 16]);
        let mut len = 0;
        let mut reader = reader.take(text.len() as u64);
        loop {
            match reader.read(&mut text[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(CredentialsFault::Unreadable {
                        path: None,
                        kind: error.kind(),
                    });
                }
            }
        }
        if len == text.len() {
            // There may be more of it, and a secret that was cut would be a wrong one.
            return Err(CredentialsFault::TooLong {
                field: "text that holds them",
                limit: len - 1,
            });
        }
        let mut lines = text[..len].trim_ascii().splitn(2, |byte| *byte == b'\n');
        match (lines.next(), lines.next()) {
            (Some(key), Some(secret)) if pem::is_meant(secret) || !secret.contains(&b'\n') => {
                Self::build(key.trim_ascii(), secret.trim_ascii())
            }
            _ => Err(CredentialsFault::NotTwoLines { path: None }),
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

    fn build(key: &[u8], secret: &[u8]) -> Result<Self, CredentialsFault> {
        check("key id", key)?;
        if !pem::is_meant(secret) || secret.len() > MAX_LEN {
            check("secret", secret)?;
            return Ok(Self::store(key, secret));
        }
        let field = "secret";
        match pem::spelled(secret) {
            Some(secret) => Ok(Self::store(key, &secret)),
            None => Err(CredentialsFault::BadPem { field }),
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

/// Why credentials were refused before they were used. The value itself is never in it.
///
/// `Display` says what to do about it, too. `?` makes an [`Error`](crate::Error) of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsFault {
    /// A field is empty.
    Empty {
        /// Which one.
        field: &'static str,
    },
    /// A field is longer than any venue's.
    TooLong {
        /// Which one.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field begins or ends with quotes.
    Quoted {
        /// Which one.
        field: &'static str,
    },
    /// A field holds something that no key holds.
    BadCharacter {
        /// Which one.
        field: &'static str,
        /// What the first of it is: white space, a control character, or a character outside ASCII.
        found: &'static str,
        /// Where that is: at the beginning, in the middle, or at the end.
        place: &'static str,
    },
    /// A field begins as PEM does, and is none.
    BadPem {
        /// Which one.
        field: &'static str,
    },
    /// An environment variable is missing.
    NotSet {
        /// Its name.
        variable: &'static str,
        /// Another SDK's variable for the same, which is set.
        found: Option<&'static str>,
    },
    /// The file or reader could not be read.
    Unreadable {
        /// The file, if it was one.
        path: Option<PathBuf>,
        /// What the operating system says.
        kind: std::io::ErrorKind,
    },
    /// The file is readable by others than its owner.
    Exposed {
        /// The file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// The file or reader did not hold exactly two lines.
    NotTwoLines {
        /// The file, if it was one.
        path: Option<PathBuf>,
    },
}

impl CredentialsFault {
    /// What is wrong.
    pub(crate) fn why(&self) -> String {
        let name = |path: &Option<PathBuf>| match path {
            Some(path) => format!("`{}`", path.display()),
            None => "key id and secret".to_owned(),
        };
        match self {
            Self::Empty { field } => format!("the {field} is empty"),
            Self::TooLong { field, limit } => format!("the {field} is longer than {limit} bytes"),
            Self::Quoted { field } => {
                format!("the {field} stands in quotes, which are no part of it")
            }
            Self::BadCharacter {
                field,
                found,
                place,
            } => format!("the {field} holds {found} {place}"),
            Self::BadPem { field } => format!("the {field} is no whole PEM"),
            Self::NotSet { variable, found } => {
                let found = found.map_or_else(String::new, |found| format!(" ({found} is)"));
                format!("the environment variable {variable} is not set{found}")
            }
            Self::Unreadable { path, kind } => format!("cannot read {}: {kind}", name(path)),
            Self::Exposed { path, mode } => format!(
                "the permissions of `{}` are {mode:03o}, so others can read it",
                path.display()
            ),
            Self::NotTwoLines { path: None } => "there are not two lines".to_owned(),
            Self::NotTwoLines { path } => format!("{} does not hold two lines", name(path)),
        }
    }

    /// What to do about it.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Empty { field } | Self::TooLong { field, .. } => {
                return format!("give the {field} as the venue's page of API keys shows it").into();
            }
            Self::Quoted { .. } => "remove the quotes",
            Self::BadCharacter { field, .. } => {
                return format!("copy the {field} again, alone and whole").into();
            }
            Self::BadPem { .. } => {
                "give the first line, the Base64, and the last line, with line breaks in between"
            }
            Self::NotSet {
                variable,
                found: Some(found),
            } => return format!("`export {variable}=\"${found}\"`").into(),
            Self::NotSet { variable, .. } => {
                return format!(
                    "`export {variable}=…`, or read key id and secret with `Credentials::from_file`"
                )
                .into();
            }
            Self::Unreadable {
                path: Some(path),
                kind: std::io::ErrorKind::NotFound,
            } => {
                let path = path.display();
                return format!("write key id and secret into it, a line each: `{path}`, seen from the directory in which the program runs").into();
            }
            Self::Unreadable { .. } => "see that this program's user may read it",
            Self::Exposed { path, .. } => return format!("`chmod 600 {}`", path.display()).into(),
            Self::NotTwoLines { .. } => "write two lines: the key id, then the secret",
        }
        .into()
    }

    /// The same of a file.
    fn of(self, file: &Path) -> Self {
        let path = Some(file.to_owned());
        match self {
            Self::Unreadable { kind, .. } => Self::Unreadable { path, kind },
            Self::NotTwoLines { .. } => Self::NotTwoLines { path },
            other => other,
        }
    }
}

impl fmt::Display for CredentialsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; what to do: {}", self.why(), self.advice())
    }
}

/// Reads like the text: it is what a `main` that returns it shows.
impl fmt::Debug for CredentialsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CredentialsFault {}

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

fn check(field: &'static str, value: &[u8]) -> Result<(), CredentialsFault> {
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
    } else if let Some(at) = value.iter().position(|byte| !byte.is_ascii_graphic()) {
        let found = match value[at] {
            byte if byte.is_ascii_whitespace() => "white space",
            byte if byte.is_ascii() => "a control character",
            _ => "a character outside ASCII",
        };
        let is_last = |at| value[at..].iter().all(|byte| !byte.is_ascii_graphic());
        let place = match at {
            0 => "at its beginning",
            at if is_last(at) => "at its end",
            _ => "in its middle",
        };
        CredentialsFault::BadCharacter {
            field,
            found,
            place,
        }
    } else {
        return Ok(());
    };
    Err(fault)
}

fn variable(name: &'static str) -> Result<Zeroizing<String>, CredentialsFault> {
    match std::env::var(name) {
        Ok(value) => Ok(Zeroizing::new(value)),
        Err(std::env::VarError::NotUnicode(value)) => {
            value.into_encoded_bytes().zeroize();
            Err(CredentialsFault::BadCharacter {
                field: name,
                found: "a character outside ASCII",
                place: "somewhere",
            })
        }
        Err(std::env::VarError::NotPresent) => Err(CredentialsFault::NotSet {
            variable: name,
            found: None,
        }),
    }
}

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
