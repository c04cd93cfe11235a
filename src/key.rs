//! What names a stream: a canonical endpoint and a credential fingerprint.

mod canonical;

use std::{fmt, str::FromStr, sync::Arc};

pub(crate) use self::canonical::byte_of_hex;

use crate::{
    credentials::{Credentials, Fingerprint},
    error::{At, Error, Result},
};

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
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(invalid("credentials do not belong in a URL"));
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
mod tests {
    use proptest::prelude::*;

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
            ("ws://[::1]x", "behind `]`"),
            ("ws://h#", "fragment"),
            ("ws://h:+80/p", "port is not a number"),
            ("ws://h:65536", "port is not a number"),
            ("ws://u@h", "do not belong"),
            ("ws://@h", "do not belong"),
            ("ws://.", "host is missing"),
            ("ws://h..", "part of the host is empty"),
            ("ws://.h", "part of the host is empty"),
            ("ws://a..b", "part of the host is empty"),
            ("ws://%68", "without percent-encoding"),
            ("ws://u%40h", "without percent-encoding"),
            ("ws://h!", "no host name has"),
            ("ws://h\\p", "no host name has"),
            ("ws://<h>", "no host name has"),
            ("ws://[::1%25eth0]", "link-local address alone"),
            ("ws://[2001:db8::1%251]", "link-local address alone"),
            ("ws://[fe80::1%2]", "behind `%25`"),
            ("ws://[fe80::1%eth0]", "behind `%25`"),
            ("ws://[fe80::1%25]", "zone id is empty"),
            ("ws://[fe80::1%25%65th0]", "no interface has"),
            ("ws://[fe80::1%25eth0%251]", "no interface has"),
            ("ws://fe80::1%25eth0", "port is not a number"),
            ("ws://[127.0.0.1]", "no IPv6 address"),
            ("ws://[v1.a]", "no IPv6 address"),
            ("ws://[]", "no IPv6 address"),
            ("ws://[1::2::3]", "no IPv6 address"),
            // Numbers that `getaddrinfo` does not take for an address either.
            ("ws://256.0.0.1", "no IPv4 address"),
            ("ws://1.2.3.4.5", "no IPv4 address"),
            ("ws://4294967296", "no IPv4 address"),
            ("ws://1.16777216", "no IPv4 address"),
            ("ws://08.1.1.1", "no IPv4 address"),
            ("ws://0x", "no IPv4 address"),
            ("ws://venue.7", "no IPv4 address"),
            ("ws://0", "unspecified address"),
            ("ws://0.0.0.0:9", "unspecified address"),
            ("ws://[::]", "unspecified address"),
            ("ws://[::ffff:0:0]", "unspecified address"),
            ("ws://h/a%", "two hex digits"),
            ("ws://h/a%4", "two hex digits"),
            ("ws://h/a%4g", "two hex digits"),
            ("ws://h/?%zz", "two hex digits"),
        ] {
            let error = bad.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn the_canonical_form_is_what_servers_and_certificates_know() {
        for (spelling, host, url) in [
            (
                "WSS://Venue.Test.:00443/%7ea/./b/../c%2fd/?x=%5b%7E",
                "venue.test",
                "wss://venue.test/~a/c%2Fd?x=%5B~",
            ),
            ("ws://0x7F.1:9", "127.0.0.1", "ws://127.0.0.1:9/"),
            (
                "ws://[::FFFF:7f00:1]/a[b]|{\"c\"}",
                "127.0.0.1",
                "ws://127.0.0.1/a%5Bb%5D%7C%7B%22c%22%7D",
            ),
            (
                "wss://[2001:DB8:0::0001]:444?",
                "2001:db8::1",
                "wss://[2001:db8::1]:444/",
            ),
        ] {
            let endpoint: Endpoint = spelling.parse().unwrap();
            assert_eq!(endpoint.host(), host);
            assert_eq!(endpoint.request_url(), url);
        }
    }

    /// The interface tells two links apart, and is nobody's business at the other end.
    #[test]
    fn a_link_local_address_keeps_its_interface_and_does_not_send_it() {
        let endpoint: Endpoint = "ws://[FE80:0::1%25Eth0]:9/p".parse().unwrap();
        assert_eq!(endpoint.host(), "fe80::1%Eth0");
        assert_eq!(endpoint.server_name(), "fe80::1");
        assert_eq!(endpoint.to_string(), "ws://[fe80::1%25Eth0]:9/p");
        assert_eq!(endpoint.request_url(), "ws://[fe80::1]:9/p");
        assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        let joined = endpoint.join("q").unwrap();
        assert_eq!(joined.to_string(), "ws://[fe80::1%25Eth0]:9/p/q");
        let other: Endpoint = "ws://[fe80::1%252]:9/p".parse().unwrap();
        assert_ne!(endpoint, other);
    }

    proptest! {
        /// Also of texts that look odd: what was once made canonical stays as it is.
        #[test]
        fn a_canonical_endpoint_is_its_own_spelling(
            host in "[0-9a-f.xX:%-]{1,12}|\\[[0-9a-f:.]{2,16}\\]",
            rest in "[ -~]{0,24}",
        ) {
            if let Ok(endpoint) = format!("wss://{host}/{rest}").parse::<Endpoint>() {
                let url = endpoint.request_url();
                prop_assert_eq!(&url.parse::<Endpoint>().unwrap(), &endpoint);
                prop_assert_eq!(url.parse::<Endpoint>().unwrap().request_url(), url);
            }
        }

        /// Characters that mean the same encoded and not, encoded at random.
        #[test]
        fn encoding_what_need_not_be_makes_no_other_endpoint(
            path in "[a-z0-9._~-]{1,12}",
            encoded in any::<u32>(),
            upper in any::<bool>(),
        ) {
            let spelled: String = path
                .bytes()
                .enumerate()
                .map(|(at, byte)| match (encoded >> at & 1, upper) {
                    (0, _) => char::from(byte).to_string(),
                    (_, true) => format!("%{byte:02X}"),
                    (_, false) => format!("%{byte:02x}"),
                })
                .collect();
            let parse = |text: &str| format!("ws://h/{text}?{text}").parse::<Endpoint>().unwrap();
            prop_assert_eq!(parse(&spelled), parse(&path));
        }
    }

    #[test]
    fn a_query_is_sent_but_never_shown() {
        let endpoint: Endpoint = "ws://h/p?token=abc".parse().unwrap();
        assert_eq!(endpoint.request_url(), "ws://h/p?token=abc");
        assert!(!format!("{endpoint} {endpoint:?}").contains("abc"));
    }
}
