//! Which proxy connections go through, as the configuration says it.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use crate::{
    credentials::Credentials,
    error::{Error, Result},
    key,
};

/// Whether connections go through a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// The one that the environment names when a stream is opened: `HTTPS_PROXY`, or else `ALL_PROXY`, for `ws://` and
    /// `wss://` alike, unless `NO_PROXY` excepts the host. In lower case, too; of two spellings the upper case counts.
    ///
    /// `NO_PROXY` is a list, separated by commas, of hosts (`example.com`, which its subdomains belong to), addresses,
    /// networks (`10.0.0.0/8`), each with a port if it is to count for that alone (`example.com:443`), or `*`.
    /// Loopback, `localhost` and link-local addresses are always reached directly.
    #[default]
    FromEnv,
    /// None, whatever the environment says.
    Never,
    /// This one, for every host.
    At(ProxyServer),
}

/// A proxy: `http://host:port`, which is asked with `CONNECT`, or `socks5://host:port`.
///
/// A user and a password stand in front of the host, or are given to [`login`](Self::login). They are wiped from memory
/// like [`Credentials`], and shown nowhere; but both kinds of proxy want them on the wire as they are, and whoever listens
/// between here and the proxy can read them. The name of the venue is looked up by the proxy, `socks5h://` or not. Without
/// a port it is 80, or 1080 for SOCKS.
///
/// # Examples
/// ```
/// use trunkline::{Config, Proxy, config::ProxyServer};
/// let mut config = Config::default();
/// let proxy: ProxyServer = "http://proxy.example.com:3128".parse()?;
/// config.proxy = Proxy::At(proxy.login("me", "not-a-real-password")?);
/// assert!(!format!("{config:?}").contains("not-a-real-password"));
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone)]
pub struct ProxyServer {
    kind: ProxyKind,
    host: String,
    port: u16,
    login: Option<Credentials>,
    /// The environment variable that named it.
    variable: Option<&'static str>,
}

/// How a proxy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    Socks5,
}

impl ProxyServer {
    /// The same proxy, with a user and a password.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) when one is longer than 255 bytes, or 4,096 for an HTTP
    /// proxy, the user is empty, or an HTTP proxy cannot be told it: a user with a colon, or control characters. Neither is
    /// echoed.
    pub fn login(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Result<Self> {
        let (user, password) = (user.as_ref().as_bytes(), password.as_ref().as_bytes());
        self.with_login(user, password).map_err(invalid)
    }

    fn with_login(self, user: &[u8], password: &[u8]) -> Result<Self, &'static str> {
        if user.is_empty() {
            return Err("the proxy's user is empty");
        }
        let longest = user.len().max(password.len());
        if self.kind == ProxyKind::Http {
            // The password may be a token.
            if longest > 4_096 {
                return Err("the proxy's user or password is longer than 4,096 bytes");
            }
            // RFC 7617, section 2.
            if user.contains(&b':') {
                return Err(
                    "the proxy's user holds a colon, which an HTTP proxy takes for its end",
                );
            }
            if user.iter().chain(password).any(u8::is_ascii_control) {
                return Err("the proxy's user or password holds a control character");
            }
        } else {
            // RFC 1929, section 2: a byte counts them.
            if longest > 255 {
                return Err(
                    "the proxy's user or password is longer than 255 bytes, which SOCKS does not know",
                );
            }
            if password.is_empty() {
                return Err("the proxy's password is empty, which SOCKS does not know");
            }
        }
        let login = Some(Credentials::store(user, password));
        Ok(Self { login, ..self })
    }

    pub(crate) fn kind(&self) -> ProxyKind {
        self.kind
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, without what it wants for a login and without who named it.
    pub(crate) fn url(&self) -> String {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        let port = self.port;
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{port}", self.host.replace('%', "%25"))
        } else {
            format!("{scheme}://{}:{port}", self.host)
        }
    }

    /// User and password.
    pub(crate) fn parts(&self) -> Option<(&[u8], &[u8])> {
        self.login.as_ref().map(Credentials::parts)
    }

    /// What an environment variable holds.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub(crate) fn of_variable(variable: &'static str, value: &[u8]) -> Result<Self> {
        match Self::read(value) {
            Ok(server) => Ok(Self {
                variable: Some(variable),
                ..server
            }),
            Err(why) => Err(invalid(format!(
                "the environment variable {variable}: {why}"
            ))),
        }
    }

    /// Reads a URL in place: what stands in it may be secret.
    fn read(url: &[u8]) -> Result<Self, &'static str> {
        let url = url.trim_ascii();
        let scheme_end = url.windows(3).position(|three| three == b"://");
        let (scheme, rest) = match scheme_end {
            Some(end) => (&url[..end], &url[end + 3..]),
            // As all readers of these variables have it.
            None => (&b"http"[..], url),
        };
        let kind = match scheme {
            scheme if scheme.eq_ignore_ascii_case(b"http") => ProxyKind::Http,
            scheme
                if scheme.eq_ignore_ascii_case(b"socks5")
                    || scheme.eq_ignore_ascii_case(b"socks5h") =>
            {
                ProxyKind::Socks5
            }
            scheme if scheme.eq_ignore_ascii_case(b"https") => {
                return Err(
                    "a proxy that is itself reached by TLS (`https://`) is not supported: what goes through an `http://` one to a `wss://` venue is encrypted all the way",
                );
            }
            _ => return Err("the proxy's scheme is none of `http`, `socks5` and `socks5h`"),
        };
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        let (authority, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if !matches!(behind, b"" | b"/") {
            return Err(
                "behind the proxy's host and port stands more, which has no meaning; in a user or password, write `/`, `?` and `#` as `%2F`, `%3F` and `%23`",
            );
        }
        // A password may hold the sign itself.
        let at = authority.iter().rposition(|byte| *byte == b'@');
        let (login, address) = match at {
            Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
            None => (None, authority),
        };
        let address = std::str::from_utf8(address).unwrap_or("\u{fffd}");
        let (host, port) = key::host_and_port(address)?;
        let server = Self {
            kind,
            host,
            port: port.unwrap_or(match kind {
                ProxyKind::Http => 80,
                ProxyKind::Socks5 => 1080,
            }),
            login: None,
            variable: None,
        };
        let Some(login) = login else {
            return Ok(server);
        };
        let colon = login.iter().position(|byte| *byte == b':');
        let (user, password) = match colon {
            Some(at) => (&login[..at], &login[at + 1..]),
            None => (login, &b""[..]),
        };
        server.with_login(&decoded(user)?, &decoded(password)?)
    }
}

/// Undoes percent-encoding.
fn decoded(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    // It never grows, and leaves no copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        plain.push(key::byte_of_hex(&mut bytes).ok_or("in the proxy's user or password stands `%` without two hex digits behind it: write `%25`")?);
    }
    Ok(plain)
}

fn invalid(why: impl AsRef<str>) -> Error {
    Error::invalid_config(why.as_ref())
}

impl FromStr for ProxyServer {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        Self::read(url.as_bytes()).map_err(invalid)
    }
}

/// Two logins are the same if their fingerprints are. Who named the proxy makes no difference.
impl PartialEq for ProxyServer {
    fn eq(&self, other: &Self) -> bool {
        let login = |server: &Self| server.login.as_ref().map(Credentials::fingerprint);
        (self.kind, &self.host, self.port) == (other.kind, &other.host, other.port)
            && login(self) == login(other)
    }
}

impl Eq for ProxyServer {}

/// Without user and password, and with the variable that named it.
impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())?;
        self.variable
            .map_or(Ok(()), |variable| write!(f, " (of {variable})"))
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.login.is_some() { ", ***" } else { "" };
        write!(f, "ProxyServer({self}{login})")
    }
}

#[cfg(test)]
mod tests;
