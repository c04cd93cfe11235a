//! `CONNECT` (RFC 9110, 9.3.6), with a login by `Basic` (RFC 7617).

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{Outgoing, host_and_port, not_a_proxy};
use crate::{
    clock,
    error::{ProxyAnswer, ProxyFault},
    key::Endpoint,
    proxy::ProxyServer,
    transport::retry_after,
};

pub(in crate::transport) struct Connect {
    request: Outgoing,
    /// What was read, interim answers included. All of it is bounded by this buffer. A proxy may repeat the login there.
    head: Zeroizing<Box<[u8]>>,
    len: usize,
    /// Where the answer begins that is being read.
    begin: usize,
    venue: String,
    has_login: bool,
}

impl Connect {
    pub(super) fn new(server: &ProxyServer, venue: &Endpoint) -> Self {
        let venue = host_and_port(venue);
        let target = venue.as_bytes();
        let login = server.parts();
        let field = login.map_or_else(Zeroizing::default, |(user, password)| {
            let plain = Outgoing::new(&[user, b":", password]).bytes;
            let mut encoded = Zeroizing::new(vec![0; BASE64.encode_len(plain.len())]);
            BASE64.encode_mut(&plain, &mut encoded);
            Outgoing::new(&[b"Proxy-Authorization: Basic ", &encoded, b"\r\n"]).bytes
        });
        let request = Outgoing::new(&[
            b"CONNECT ",
            target,
            b" HTTP/1.1\r\nHost: ",
            target,
            b"\r\n",
            &field,
            b"\r\n",
        ]);
        Self {
            request,
            head: Zeroizing::new(vec![0; MAX_HEAD].into_boxed_slice()),
            len: 0,
            begin: 0,
            venue,
            has_login: login.is_some(),
        }
    }

    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.request
    }

    /// Never empty: a full buffer is a fault.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.head[self.len..]
    }

    /// So many bytes were put into the room. Says whether the proxy is through to the venue.
    pub(super) fn received(&mut self, read: usize) -> Result<bool, ProxyFault> {
        // The end of a head may stand across two reads.
        let mut searched = self.len.saturating_sub(2).max(self.begin);
        self.len += read;
        loop {
            let answer = &self.head[self.begin..self.len];
            let known = answer.len().min(HTTP.len());
            if answer[..known] != HTTP[..known] {
                return Err(not_a_proxy("it does not answer in HTTP"));
            }
            let end = end_of_head(&self.head[searched..self.len]);
            let Some(end) = end.map(|at| searched + at) else {
                if self.len == self.head.len() {
                    return Err(not_a_proxy("the head of its answer is longer than 16 KiB"));
                }
                return Ok(false);
            };
            let status = self.judge(&self.head[self.begin..end])?;
            if (200..300).contains(&status) {
                // Neither TLS nor a WebSocket begins with the server.
                return if self.len == end {
                    Ok(true)
                } else {
                    Err(not_a_proxy("it goes on with content, as a web server does"))
                };
            }
            // An interim answer.
            self.begin = end;
            searched = end;
        }
    }

    /// The status of a head, if it is one to go on with.
    fn judge(&self, head: &[u8]) -> Result<u16, ProxyFault> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let is_whole = response
            .parse(head)
            .is_ok_and(|parsed| parsed.is_complete());
        let (true, Some(status)) = (is_whole, response.code) else {
            return Err(not_a_proxy("the head of its answer is not HTTP's"));
        };
        let retry_after = field(response.headers, "retry-after")
            .find_map(|value| retry_after::wait(value, clock::utc()));
        let answer = ProxyAnswer::Http {
            status,
            retry_after,
        };
        let venue = || self.venue.clone();
        let unreachable = || ProxyFault::VenueUnreachable {
            venue: venue(),
            answer,
        };
        Err(match status {
            100 | 102..300 => return Ok(status),
            // 401 is what Tinyproxy says. A web server may say it, too.
            401 | 407 => {
                let offers = Offers::of(response.headers);
                if self.has_login && offers.basic {
                    ProxyFault::LoginRefused(answer)
                } else {
                    ProxyFault::LoginWanted {
                        answer,
                        is_configured: self.has_login,
                        offers: offers.names,
                    }
                }
            }
            408 | 425 | 429 | 506..600 => ProxyFault::Failed(answer),
            // What the widespread ones say of a venue that they do not reach: 502 and 504 as they should, Squid 503,
            // Tinyproxy 500, and Privoxy 404 of a name that does not resolve.
            404 if response.reason == Some("No such domain") => unreachable(),
            500 | 502..=504 => unreachable(),
            402 | 403 | 451 => ProxyFault::Forbidden {
                venue: venue(),
                answer,
            },
            // What web servers say of a method that they do not know.
            status => not_a_proxy(&format!("HTTP {status} to `CONNECT`")),
        })
    }
}

/// The kinds of login that a proxy takes.
struct Offers {
    basic: bool,
    names: String,
}

impl Offers {
    /// Only names that are known are told on: what else a proxy writes there may be what it was sent.
    fn of(fields: &[httparse::Header<'_>]) -> Self {
        const KNOWN: [&str; 6] = ["Basic", "Digest", "NTLM", "Negotiate", "Kerberos", "Bearer"];
        let is_offered = |known: &str| {
            ["proxy-authenticate", "www-authenticate"]
                .into_iter()
                .flat_map(|name| field(fields, name))
                .flat_map(|value| value.split(|byte| b", ".contains(byte)))
                .any(|word| word.eq_ignore_ascii_case(known.as_bytes()))
        };
        let offered: Vec<_> = KNOWN
            .into_iter()
            .filter(|known| is_offered(known))
            .collect();
        Self {
            // One that names none takes what it was sent for a login, and refused it.
            basic: offered.is_empty() || offered.contains(&"Basic"),
            names: offered.join(", "),
        }
    }
}

/// The values of a field.
fn field<'a>(
    fields: &'a [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

/// Where the first empty line ends. A line may end in LF alone (RFC 9112, 2.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    (1..=bytes.len()).find_map(|at| match (&bytes[..at], &bytes[at..]) {
        ([.., b'\n'], [b'\n', ..]) => Some(at + 1),
        ([.., b'\n'], [b'\r', b'\n', ..]) => Some(at + 2),
        _ => None,
    })
}

const HTTP: &[u8] = b"HTTP/1.";
const MAX_HEAD: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::{super::tests::Script, *};

    const VENUE: &str = "wss://venue.test/v2/iex";

    fn ask(server: &str, answer: &[u8]) -> Result<bool, ProxyFault> {
        let mut outcomes: Vec<_> = [1, 2, 7, 100_000]
            .map(|piece| Script::new(piece, &[answer]).run(server, VENUE))
            .into();
        outcomes.dedup();
        assert_eq!(
            outcomes.len(),
            1,
            "the pieces make a difference: {outcomes:?}"
        );
        outcomes.remove(0)
    }

    #[test]
    fn the_request_names_the_venue_and_logs_in() {
        for (server, venue, request) in [
            (
                "http://p",
                VENUE,
                "CONNECT venue.test:443 HTTP/1.1\r\nHost: venue.test:443\r\n\r\n",
            ),
            (
                "http://p",
                "ws://[2001:db8::1]/",
                "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
            ),
            // RFC 7617, section 2.
            (
                "http://Aladdin:open%20sesame@p",
                "ws://h:9",
                "CONNECT h:9 HTTP/1.1\r\nHost: h:9\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
            ),
        ] {
            let mut script = Script::new(5, &[b"HTTP/1.1 200 OK\r\n\r\n"]);
            assert_eq!(script.run(server, venue), Ok(true));
            assert_eq!(String::from_utf8_lossy(&script.heard[0]), request);
        }
    }

    #[test]
    fn every_answer_is_taken_for_what_it_is() {
        use ProxyFault::{Failed, Forbidden, LoginRefused, LoginWanted, VenueUnreachable};
        let venue = || "venue.test:443".to_owned();
        let http = |status| ProxyAnswer::Http {
            status,
            retry_after: None,
        };
        let later = |status| ProxyAnswer::Http {
            status,
            retry_after: Some(std::time::Duration::from_secs(120)),
        };
        for (server, answer, outcome) in [
            (
                "http://p",
                "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
                Ok(true),
            ),
            ("http://p", "HTTP/1.1 204\r\n\r\n", Ok(true)),
            // What a successful answer says of its content is to be ignored.
            (
                "http://p",
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                Ok(true),
            ),
            (
                "http://p",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                Ok(true),
            ),
            ("http://p", "HTTP/1.1 200 OK\r\nVia: ", Ok(false)),
            ("http://p", "", Ok(false)),
            (
                "http://p",
                "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
                Err(LoginWanted {
                    answer: http(407),
                    is_configured: false,
                    offers: "Basic".to_owned(),
                }),
            ),
            (
                "http://me:x@p",
                "HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\nProxy-Authenticate: Negotiate, me:x\r\n\r\n",
                Err(LoginWanted {
                    answer: http(407),
                    is_configured: true,
                    offers: "NTLM, Negotiate".to_owned(),
                }),
            ),
            (
                "http://me:x@p",
                "HTTP/1.1 407 me:x\r\nProxy-Authenticate: Basic realm=\"me:x\"\r\n\r\n",
                Err(LoginRefused(http(407))),
            ),
            (
                "http://me:x@p",
                "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
                Err(LoginRefused(http(401))),
            ),
            (
                "http://me:x@p",
                "HTTP/1.1 407 No\r\n\r\n",
                Err(LoginRefused(http(407))),
            ),
            (
                "http://p",
                "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
                Err(Forbidden {
                    venue: venue(),
                    answer: http(403),
                }),
            ),
            (
                "http://p",
                "HTTP/1.1 503 No\r\n\r\n",
                Err(VenueUnreachable {
                    venue: venue(),
                    answer: http(503),
                }),
            ),
            (
                "http://p",
                "HTTP/1.1 500 No\r\n\r\n",
                Err(VenueUnreachable {
                    venue: venue(),
                    answer: http(500),
                }),
            ),
            (
                "http://p",
                "HTTP/1.1 429 No\r\n\r\n",
                Err(Failed(http(429))),
            ),
            // What fails for a while is not for a human to mend.
            (
                "http://p",
                "HTTP/1.1 404 No such domain\r\n\r\n",
                Err(VenueUnreachable {
                    venue: venue(),
                    answer: http(404),
                }),
            ),
            (
                "http://p",
                "HTTP/1.1 404 Not found\r\n\r\n",
                Err(not_a_proxy("HTTP 404 to `CONNECT`")),
            ),
            (
                "http://p",
                "HTTP/1.1 506 No\r\n\r\n",
                Err(Failed(http(506))),
            ),
            (
                "http://p",
                "HTTP/1.1 599 No\r\n\r\n",
                Err(Failed(http(599))),
            ),
            (
                "http://p",
                "HTTP/1.1 501 No\r\n\r\n",
                Err(not_a_proxy("HTTP 501 to `CONNECT`")),
            ),
            (
                "http://p",
                "HTTP/1.1 505 No\r\n\r\n",
                Err(not_a_proxy("HTTP 505 to `CONNECT`")),
            ),
            (
                "http://p",
                "HTTP/1.1 600 No\r\n\r\n",
                Err(not_a_proxy("HTTP 600 to `CONNECT`")),
            ),
            // When it wants to be asked again.
            (
                "http://p",
                "HTTP/1.1 503 No\r\nretry-after: 120\r\n\r\n",
                Err(VenueUnreachable {
                    venue: venue(),
                    answer: later(503),
                }),
            ),
            (
                "http://p",
                "HTTP/1.1 429 No\r\nRetry-After: soon\r\nRetry-After: 120\r\n\r\n",
                Err(Failed(later(429))),
            ),
            // Lines that end in LF alone.
            ("http://p", "HTTP/1.0 200 OK\n\n", Ok(true)),
            ("http://p", "HTTP/1.0 200 OK\nVia: x\n\n", Ok(true)),
            ("http://p", "HTTP/1.0 200 OK\r\nVia: x\n\r\n", Ok(true)),
            ("http://p", "HTTP/1.0 200 OK\n\r\n", Ok(true)),
            ("http://p", "HTTP/1.0 200 OK\nVia: x\r\n\n", Ok(true)),
            (
                "http://p",
                "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n\n",
                Ok(true),
            ),
            ("http://p", "HTTP/1.0 200 OK\n", Ok(false)),
            (
                "http://p",
                "HTTP/1.1 302 There\r\nLocation: x\r\n\r\n",
                Err(not_a_proxy("HTTP 302 to `CONNECT`")),
            ),
            (
                "http://p",
                "HTTP/1.1 405 No\r\n\r\n<html>",
                Err(not_a_proxy("HTTP 405 to `CONNECT`")),
            ),
            (
                "http://p",
                "HTTP/1.1 101 Switching\r\n\r\n",
                Err(not_a_proxy("HTTP 101 to `CONNECT`")),
            ),
            (
                "http://p",
                "<html>hello</html>",
                Err(not_a_proxy("it does not answer in HTTP")),
            ),
            (
                "http://p",
                "SSH-2.0-x\r\n",
                Err(not_a_proxy("it does not answer in HTTP")),
            ),
            ("http://p", "H", Ok(false)),
            (
                "http://p",
                "HTTP/1.1 two hundred\r\n\r\n",
                Err(not_a_proxy("the head of its answer is not HTTP's")),
            ),
        ] {
            let outcome_text = format!("{outcome:?}");
            assert_eq!(ask(server, answer.as_bytes()), outcome, "{answer}");
            assert!(!outcome_text.contains("me:x"));
        }
    }

    /// A web server does not wait for the client to speak. In the same piece, or there would be nothing to see.
    #[test]
    fn content_behind_a_success_is_no_tunnel() {
        let answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>";
        let without_cr: &[u8] = b"HTTP/1.1 200 OK\n\n<html>\r\n\r\n";
        for answer in [answer, without_cr] {
            let mut script = Script::new(1_000, &[answer]);
            let says = "it goes on with content, as a web server does";
            assert_eq!(script.run("http://p", VENUE), Err(not_a_proxy(says)));
        }
    }

    #[test]
    fn no_answer_is_read_without_end() {
        let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 2 * MAX_HEAD]].concat();
        let too_long = not_a_proxy("the head of its answer is longer than 16 KiB");
        assert_eq!(ask("http://p", &endless), Err(too_long.clone()));
        // Nor are interim answers.
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000);
        assert_eq!(ask("http://p", &interim), Err(too_long));
        let fields = "X: y\r\n".repeat(100);
        let crowded = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let odd = not_a_proxy("the head of its answer is not HTTP's");
        assert_eq!(ask("http://p", crowded.as_bytes()), Err(odd));
    }

    #[test]
    fn an_end_in_place_of_an_answer_is_named() {
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
            let mut script = Script::new(3, &[answer]).ending();
            assert_eq!(script.run("http://p", VENUE), Err(ProxyFault::Ended));
        }
    }
}
