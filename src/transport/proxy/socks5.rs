//! SOCKS 5 (RFC 1928), with a login by user and password (RFC 1929). Names are looked up by the proxy.
//!
//! ```text
//!  Greeting ──2──▶ Login ──0──▶ Request ──0──▶ through
//!      └────────────0─────────────▲
//! ```
//! Each answer is read to its last byte and no further: what comes behind the last one is the venue's.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{Outgoing, host_and_port, not_a_proxy};
use crate::{
    error::{ProxyAnswer, ProxyFault},
    key::Endpoint,
    proxy::ProxyServer,
};

pub(in crate::transport) struct Socks5 {
    state: State,
    outgoing: Outgoing,
    /// What was read of the answer at hand, in which a proxy may repeat the login.
    answer: Box<Zeroizing<[u8; LONGEST]>>,
    len: usize,
    /// How long it is, as far as that is known.
    wanted: usize,
    venue: String,
}

enum State {
    /// What kinds of login there are was said.
    Greeting {
        login: Option<Outgoing>,
        request: Outgoing,
    },
    /// User and password were sent.
    Login { request: Outgoing },
    /// It was asked to connect.
    Request,
}

impl Socks5 {
    pub(super) fn new(server: &ProxyServer, venue: &Endpoint) -> Self {
        let login = server.parts().map(|(user, password)| {
            let length = |text: &[u8]| [u8::try_from(text.len()).unwrap_or(u8::MAX)];
            Outgoing::new(&[&[1], &length(user), user, &length(password), password])
        });
        let greeting: &[u8] = match &login {
            Some(_) => &[VERSION, 2, NO_LOGIN, USER_AND_PASSWORD],
            None => &[VERSION, 1, NO_LOGIN],
        };
        Self {
            outgoing: Outgoing::new(&[greeting]),
            state: State::Greeting {
                login,
                request: request(venue),
            },
            answer: Box::new(Zeroizing::new([0; LONGEST])),
            len: 0,
            wanted: 2,
            venue: host_and_port(venue),
        }
    }

    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Never empty: a whole answer is taken at once.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.answer[self.len..self.wanted]
    }

    /// So many bytes were put into the room. Says whether the proxy is through to the venue.
    pub(super) fn received(&mut self, read: usize) -> Result<bool, ProxyFault> {
        self.len += read;
        if self.len < self.wanted {
            return Ok(false);
        }
        let [version, code, _, kind, first, ..] = **self.answer;
        let is_login = matches!(self.state, State::Login { .. });
        // The version of the login is 1. What some write there in its place does no harm.
        if !is_login && version != VERSION {
            return Err(self.stranger(version));
        }
        match std::mem::replace(&mut self.state, State::Request) {
            State::Greeting { login, request } => match (code, login) {
                (NO_LOGIN, _) => self.go_on(State::Request, request, 4),
                (USER_AND_PASSWORD, Some(login)) => {
                    self.go_on(State::Login { request }, login, 2);
                }
                (NOTHING_THAT_WAS_OFFERED, login) => {
                    return Err(ProxyFault::LoginWanted {
                        answer: ProxyAnswer::Socks(code),
                        is_configured: login.is_some(),
                        offers: String::new(),
                    });
                }
                _ => return Err(not_a_proxy("it picks a kind of login that was not offered")),
            },
            State::Login { .. } if code != 0 => {
                return Err(ProxyFault::LoginRefused(ProxyAnswer::Socks(code)));
            }
            State::Login { request } => self.go_on(State::Request, request, 4),
            State::Request if code != 0 => return Err(self.refused(code)),
            State::Request => {
                // Behind it stand the address that the proxy connects from, of a name its length first, and the port.
                let address = match (kind, self.len) {
                    (IPV4, _) => 4,
                    (IPV6, _) => 16,
                    (NAME, 4) => 1,
                    (NAME, _) => 1 + usize::from(first),
                    _ => return Err(not_a_proxy("the address in its answer is of no known kind")),
                };
                self.wanted = 4 + address + 2;
                return Ok(self.len == self.wanted);
            }
        }
        Ok(false)
    }

    fn go_on(&mut self, state: State, outgoing: Outgoing, wanted: usize) {
        self.state = state;
        self.outgoing = outgoing;
        self.len = 0;
        self.wanted = wanted;
    }

    /// RFC 1928, section 6.
    fn refused(&self, code: u8) -> ProxyFault {
        let (venue, answer) = (self.venue.clone(), ProxyAnswer::Socks(code));
        match code {
            2 => ProxyFault::Forbidden { venue, answer },
            3..=6 => ProxyFault::VenueUnreachable { venue, answer },
            7 => not_a_proxy("it does not connect"),
            8 => not_a_proxy("it does not take addresses of this kind"),
            _ => ProxyFault::Failed(answer),
        }
    }

    fn stranger(&self, version: u8) -> ProxyFault {
        not_a_proxy(match version {
            b'H' => "it answers in HTTP: is it an `http://` proxy?",
            0 | 4 => "it speaks SOCKS 4",
            _ => "it does not answer in SOCKS 5",
        })
    }
}

fn request(venue: &Endpoint) -> Outgoing {
    let port = venue.port().to_be_bytes();
    let host = venue.server_name();
    let connect = [VERSION, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => Outgoing::new(&[&connect, &[IPV4], &address.octets(), &port]),
        Ok(IpAddr::V6(address)) => Outgoing::new(&[&connect, &[IPV6], &address.octets(), &port]),
        Err(_) => {
            // A name has 253 characters at most. A longer one is cut, and found by nobody.
            let name = &host.as_bytes()[..host.len().min(255)];
            let length = [u8::try_from(name.len()).unwrap_or(u8::MAX)];
            Outgoing::new(&[&connect, &[NAME], &length, name, &port])
        }
    }
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NOTHING_THAT_WAS_OFFERED: u8 = 0xff;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// An answer with a name of 255 characters.
const LONGEST: usize = 4 + 1 + 255 + 2;

#[cfg(test)]
mod tests;
