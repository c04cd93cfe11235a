//! What names a stream: a canonical endpoint and a credential fingerprint.

mod canonical;

use std::{fmt, str::FromStr, sync::Arc};

pub(crate) use self::canonical::byte_of_hex;

use crate::credentials::{Credentials, Fingerprint};

/// A WebSocket endpoint in canonical form: scheme and host in lower case, the default port left out, no trailing
/// slash. Two spellings of one endpoint are equal, and the canonical one is what is sent to the server.
///
/// - A host loses the dot at its end. IPv4 addresses are read as the operating system reads them (`127.1` and
///   `0x7f000001` are `127.0.0.1`), IPv6 addresses have their shortest form, and an IPv4 address that is mapped into IPv6
///   is that IPv4 address. Names are not looked up: `localhost` and `127.0.0.1` are two endpoints.
/// - In path and query, percent-encoding is undone where it changes nothing (`%7E` is `~`, but `%2F` is not `/`), and done
///   where it is missing. Dot segments are resolved. An empty query is none.
/// - A link-local address names its interface, by name or number: `ws://[fe80::1%25eth0]/`. It is part of the key as it is
///   written, and is not sent.
/// - Whatever has no meaning here is refused: user names and passwords, fragments, other zone ids, empty parts of a path,
///   and the unspecified address.
///
/// A query stays part of the endpoint but is never shown, as it may hold a token. (The WebSocket library logs the
/// upgrade request at TRACE, and the query with it: put nothing secret there.)
///
/// # Examples
/// ```
/// use trunkline::Endpoint;
/// let one: Endpoint = "WSS://Stream.Data.Alpaca.Markets.:443/v2/x/../%69ex/?".parse()?;
/// let other: Endpoint = "wss://stream.data.alpaca.markets/v2/iex".parse()?;
/// assert_eq!(one, other);
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
}

impl Endpoint {
    /// Whether the connection is encrypted (`wss`).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host: a name, or an address without brackets. Behind a link-local one stand `%` and its interface.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as its server and its certificate know it: an interface is of this machine alone (RFC 6874, section 3).
    pub(crate) fn server_name(&self) -> &str {
        self.host.split('%').next().unwrap_or_default()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, `/` at least.
    #[must_use]
    pub fn path(&self) -> &str {
        if self.path.is_empty() {
            "/"
        } else {
            &self.path
        }
    }

    /// `host` or `host:port`, with the interface of a link-local address.
    pub(crate) fn authority(&self) -> String {
        self.authority_of(&self.host.replace('%', "%25"))
    }

    fn authority_of(&self, host: &str) -> String {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        if self.port == default_port(self.secure) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The whole URL as the server knows it, query included: for the upgrade request only.
    pub(crate) fn request_url(&self) -> String {
        let query = self
            .query
            .as_deref()
            .map_or_else(String::new, |query| format!("?{query}"));
        format!(
            "{}://{}{}{query}",
            self.scheme(),
            self.authority_of(self.server_name()),
            self.path()
        )
    }

    /// A venue's own endpoint: TLS, default port.
    pub(crate) fn wss(host: &str, path: &str) -> Self {
        Self {
            secure: true,
            host: host.to_owned(),
            port: default_port(true),
            path: path.to_owned(),
            query: None,
        }
    }

    /// This endpoint with `path` behind its own, and without its query.
    ///
    /// # Errors
    /// When the result is not an endpoint.
    pub fn join(&self, path: &str) -> Result<Self, EndpointFault> {
        let base = format!("{}://{}{}", self.scheme(), self.authority(), self.path);
        format!("{base}/{}", path.trim_start_matches('/')).parse()
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "wss" } else { "ws" }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointFault;

    fn from_str(url: &str) -> Result<Self, EndpointFault> {
        let invalid = EndpointFault;
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| invalid("there is no `ws://` or `wss://` in front"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(invalid("the scheme is neither `ws` nor `wss`")),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(
                "it holds white space, control or non-ASCII characters",
            ));
        }
        if rest
            .split('?')
            .next()
            .is_some_and(|rest| rest.contains("://"))
        {
            return Err(invalid(
                "there is a second scheme behind the first: remove it",
            ));
        }
        if rest.contains('#') {
            return Err(invalid(
                "a fragment has no meaning here (RFC 6455, section 3)",
            ));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(invalid(
                "user name and password stand in the URL: pass them as `Credentials`",
            ));
        }
        let (host, port) = host_and_port(authority).map_err(invalid)?;
        Ok(Self {
            secure,
            host,
            port: port.unwrap_or_else(|| default_port(secure)),
            path: canonical::path(path).map_err(invalid)?,
            query: canonical::query(query).map_err(invalid)?,
        })
    }
}

/// What is wrong with a URL that is no [`Endpoint`]. The URL itself is not in it: there may be a secret in that.
///
/// `?` makes an [`Error`](crate::Error) of it: [`ErrorKind::InvalidEndpoint`](crate::ErrorKind::InvalidEndpoint).
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointFault(pub(crate) &'static str);

impl fmt::Display for EndpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid endpoint: {}", self.0)
    }
}

/// Reads like the text: it is what a `main` that returns it shows.
impl fmt::Debug for EndpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for EndpointFault {}

/// Reads `host`, `host:port`, or the same with an IPv6 address in brackets. The host is in canonical form.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("`[` without `]`")?;
            let port = match port.strip_prefix(':') {
                None if !port.is_empty() => return Err("behind `]` stands neither `:` nor `/`"),
                port => port,
            };
            (canonical::host_in_brackets(host)?, port)
        }
        None => {
            let (host, port) = authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port)));
            (canonical::host(host)?, port)
        }
    };
    let port = match port {
        None => None,
        Some("") => return Err("the port is missing behind `:`"),
        // A number may have a sign to Rust's parser, and not in a URL.
        Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) => return Err(NO_PORT),
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(NO_PORT),
            Ok(port) => Some(port),
        },
    };
    Ok((host, port))
}

const NO_PORT: &str = "the port is not a number from 1 to 65535";

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// What a process has at most one connection for: an [`Endpoint`] and the [`Fingerprint`] of credentials. Cheap to
/// clone.
///
/// `Display` is how a stream is named in logs, errors and health: `wss://host/path [1a2b3c4d]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<(Endpoint, Fingerprint)>);

impl StreamKey {
    /// The key of the stream that `endpoint` and `credentials` name.
    #[must_use]
    pub fn new(endpoint: &Endpoint, credentials: &Credentials) -> Self {
        Self(Arc::new((endpoint.clone(), credentials.fingerprint())))
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.0
    }

    /// The fingerprint of the credentials.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.1
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.endpoint(), self.fingerprint())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey({self})")
    }
}

#[cfg(test)]
mod tests;
