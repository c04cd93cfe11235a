//! What names a stream: a canonical endpoint and a credential fingerprint.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    credentials::{Credentials, Fingerprint},
    error::{At, Error, Result},
};

/// A WebSocket endpoint in canonical form: scheme and host in lower case, the default port left out, no trailing
/// slash. Two spellings of one endpoint are equal.
///
/// A query stays part of the endpoint but is never shown, as it may hold a token. (The WebSocket library logs the
/// upgrade request at TRACE, and the query with it: put nothing secret there.) User names and passwords in the URL
/// are refused.
///
/// # Examples
/// ```
/// use trunkline::Endpoint;
/// let one: Endpoint = "WSS://Stream.Data.Alpaca.Markets:443/v2/iex/".parse()?;
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

    /// The host: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
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

    /// `host` or `host:port`, as the HTTP `Host` header wants it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.secure) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The whole URL, query included: for the upgrade request only.
    pub(crate) fn request_url(&self) -> String {
        let query = self
            .query
            .as_deref()
            .map_or_else(String::new, |query| format!("?{query}"));
        format!(
            "{}://{}{}{query}",
            self.scheme(),
            self.authority(),
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

    /// This endpoint with `path` behind its own.
    ///
    /// # Errors
    /// [`Error::InvalidEndpoint`] when the result is not an endpoint.
    pub fn join(&self, path: &str) -> Result<Self> {
        let base = format!("{}://{}{}", self.scheme(), self.authority(), self.path);
        format!("{base}/{}", path.trim_start_matches('/')).parse()
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "wss" } else { "ws" }
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let invalid = |why: &'static str| Error::InvalidEndpoint {
            at: At::default(),
            why,
        };
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
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query.to_owned())));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(invalid("credentials do not belong in a URL"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| invalid("`[` without `]`"))?;
                (
                    host,
                    port.strip_prefix(':')
                        .or(if port.is_empty() { None } else { Some("bad") }),
                )
            }
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(invalid("the host is missing"));
        }
        let port = match port {
            None => default_port(secure),
            Some("") => return Err(invalid("the port is missing behind `:`")),
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(invalid("the port is not a number from 1 to 65535")),
                Ok(port) => port,
            },
        };
        if path.contains("//") {
            return Err(invalid("a part of the path is empty: `//`"));
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self {
            secure,
            host: host.to_ascii_lowercase(),
            port,
            path,
            query,
        })
    }
}

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
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_endpoint_are_one_key() {
        let canonical: Endpoint = "wss://stream.example.com/v2/iex".parse().unwrap();
        for spelling in [
            "WSS://stream.example.com/v2/iex",
            "wss://STREAM.example.com:443/v2/iex",
            "wss://stream.example.com:443/v2/iex/",
        ] {
            assert_eq!(
                spelling.parse::<Endpoint>().unwrap(),
                canonical,
                "{spelling}"
            );
        }
        for other in [
            "ws://stream.example.com/v2/iex",
            "wss://stream.example.com/v2/IEX",
            "wss://stream.example.com:444/v2/iex",
        ] {
            assert_ne!(other.parse::<Endpoint>().unwrap(), canonical, "{other}");
        }
    }

    #[test]
    fn addresses_and_odd_urls() {
        let six: Endpoint = "ws://[::1]:9000/x".parse().unwrap();
        assert_eq!(
            (six.host(), six.port(), six.to_string()),
            ("::1", 9000, "ws://[::1]:9000/x".to_owned())
        );
        assert_eq!("ws://h".parse::<Endpoint>().unwrap().to_string(), "ws://h/");
        assert_eq!(
            "ws://h/a"
                .parse::<Endpoint>()
                .unwrap()
                .join("b/c")
                .unwrap()
                .to_string(),
            "ws://h/a/b/c"
        );
        for (bad, says) in [
            ("", "`wss://` in front"),
            ("h", "`wss://` in front"),
            ("http://h", "neither `ws` nor `wss`"),
            ("ws://", "host is missing"),
            ("ws://:1", "host is missing"),
            ("ws://h:0", "port is not a number"),
            ("ws://h:x", "port is not a number"),
            ("ws://h:/p", "port is missing"),
            ("ws://[::1]:", "port is missing"),
            ("wss://https://h/p", "second scheme"),
            ("wss://wss://h", "second scheme"),
            ("ws://h//p", "path is empty"),
            ("ws://h/p//", "path is empty"),
            ("ws://u:p@h", "do not belong"),
            ("ws://h/a b", "white space"),
            ("ws://h#x", "fragment"),
            ("ws://[::1", "without `]`"),
            ("ws://[::1]x", "port is not a number"),
        ] {
            let error = bad.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn a_query_is_sent_but_never_shown() {
        let endpoint: Endpoint = "ws://h/p?token=abc".parse().unwrap();
        assert_eq!(endpoint.request_url(), "ws://h/p?token=abc");
        assert!(!format!("{endpoint} {endpoint:?}").contains("abc"));
    }
}
