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
mod tests;
