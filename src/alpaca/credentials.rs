//! Where Alpaca's users keep their credentials.

use std::ffi::OsString;

use zeroize::Zeroizing;

use crate::{credentials::Credentials, error::CredentialsFault};

/// Reads `APCA_API_KEY_ID` and `APCA_API_SECRET_KEY` from the environment, as Alpaca's own tools do.
///
/// The environment keeps its own copy for the life of the process: see
/// [`from_env_vars`](Credentials::from_env_vars), which reads any two variables.
///
/// # Errors
/// Names the missing variable, and the variable of another SDK if one is set.
///
/// # Examples
/// ```no_run
/// use trunkline::{Manager, alpaca::{self, Feed}};
///
/// let credentials = alpaca::credentials_from_env()?;
/// let feed = Manager::global().open(&alpaca::stocks(Feed::Iex), &credentials)?;
/// # Ok::<(), trunkline::Error>(())
/// ```
pub fn credentials_from_env() -> Result<Credentials, CredentialsFault> {
    Credentials::from_env_vars(KEY.0, SECRET.0).map_err(|fault| match fault {
        CredentialsFault::NotSet { variable, .. } => {
            let (_, others) = if variable == KEY.0 { KEY } else { SECRET };
            let found = others.iter().copied().find(|other| is_set(other));
            CredentialsFault::NotSet { variable, found }
        }
        other => other,
    })
}

impl Credentials {
    /// [`alpaca::credentials_from_env`](crate::alpaca::credentials_from_env), where one venue is enough.
    ///
    /// # Errors
    /// Names the missing variable, and the variable of another SDK if one is set.
    pub fn from_env() -> Result<Self, CredentialsFault> {
        credentials_from_env()
    }
}

/// What it is set to may be a secret, too, and is wiped.
fn is_set(name: &str) -> bool {
    let value = std::env::var_os(name).map(OsString::into_encoded_bytes);
    value.map(Zeroizing::new).is_some()
}

/// Alpaca's variable, and what other SDKs call it.
type Variable = (&'static str, &'static [&'static str]);
const KEY: Variable = (
    "APCA_API_KEY_ID",
    &["ALPACA_API_KEY", "ALPACA_API_KEY_ID", "APCA_API_KEY"],
);
const SECRET: Variable = (
    "APCA_API_SECRET_KEY",
    &[
        "ALPACA_SECRET_KEY",
        "ALPACA_API_SECRET_KEY",
        "APCA_API_SECRET",
    ],
);
