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
mod tests {
    use super::{super::tests::Script, *};

    const VENUE: &str = "wss://venue.test/v2/iex";
    const THROUGH: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0, 80];

    fn ask(server: &str, answers: &[&[u8]]) -> Result<bool, ProxyFault> {
        let mut outcomes: Vec<_> = [1, 2, 3, 1_000]
            .map(|piece| Script::new(piece, answers).run(server, VENUE))
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
    fn it_is_asked_as_the_rfc_says() {
        for (venue, asked) in [
            (VENUE, b"\x05\x01\x00\x03\x0avenue.test\x01\xbb".to_vec()),
            ("ws://192.0.2.7:9", vec![5, 1, 0, 1, 192, 0, 2, 7, 0, 9]),
            (
                "ws://[::1]",
                [&[5, 1, 0, 4][..], &[0; 15], &[1, 0, 80]].concat(),
            ),
        ] {
            let mut script = Script::new(3, &[&[5, 0], THROUGH]);
            assert_eq!(script.run("socks5://p", venue), Ok(true));
            assert_eq!(script.heard[..2], [vec![5, 1, 0], asked.clone()]);
            let mut script = Script::new(3, &[&[5, 2], &[1, 0], THROUGH]);
            assert_eq!(script.run("socks5h://me:s3@p", venue), Ok(true));
            let login = b"\x01\x02me\x02s3".to_vec();
            assert_eq!(script.heard[..3], [vec![5, 2, 0, 2], login, asked]);
        }
    }

    #[test]
    fn every_answer_is_taken_for_what_it_is() {
        use ProxyFault::{Failed, Forbidden, LoginRefused, LoginWanted, VenueUnreachable};
        let socks = ProxyAnswer::Socks;
        let venue = || "venue.test:443".to_owned();
        let wanted = |is_configured| LoginWanted {
            answer: socks(0xff),
            is_configured,
            offers: String::new(),
        };
        let name = [&[5, 0, 0, 3, 4][..], b"here", &[0, 80]].concat();
        let six = [&[5, 0, 0, 4][..], &[7; 18]].concat();
        for (answers, outcome) in [
            (&[&[5, 0][..], THROUGH][..], Ok(true)),
            (&[&[5, 0], &name], Ok(true)),
            (&[&[5, 0], &six], Ok(true)),
            (&[&[5, 0], &[5, 0, 0, 3, 0, 0, 80]], Ok(true)),
            (&[&[5, 0], &THROUGH[..9]], Ok(false)),
            (&[&[5, 0]], Ok(false)),
            (&[&[5]], Ok(false)),
            (&[&[5, 0xff]], Err(wanted(true))),
            (
                &[&[5, 1]],
                Err(not_a_proxy("it picks a kind of login that was not offered")),
            ),
            (&[&[5, 2], &[1, 1]], Err(LoginRefused(socks(1)))),
            (&[&[5, 2], &[5, 0], THROUGH], Ok(true)),
            (&[&[5, 0], &[5, 1, 0, 1]], Err(Failed(socks(1)))),
            (
                &[&[5, 0], &[5, 2, 0, 1]],
                Err(Forbidden {
                    venue: venue(),
                    answer: socks(2),
                }),
            ),
            (
                &[&[5, 0], &[5, 5, 0, 1]],
                Err(VenueUnreachable {
                    venue: venue(),
                    answer: socks(5),
                }),
            ),
            (
                &[&[5, 0], &[5, 7, 0, 1]],
                Err(not_a_proxy("it does not connect")),
            ),
            (
                &[&[5, 0], &[5, 0, 0, 9]],
                Err(not_a_proxy("the address in its answer is of no known kind")),
            ),
            (
                &[&[5, 0], &[4, 0, 0, 1]],
                Err(not_a_proxy("it speaks SOCKS 4")),
            ),
            (&[&[0, 90]], Err(not_a_proxy("it speaks SOCKS 4"))),
            (
                &[b"HTTP/1.1 400 Bad"],
                Err(not_a_proxy("it answers in HTTP: is it an `http://` proxy?")),
            ),
            (
                &[b"<html>"],
                Err(not_a_proxy("it does not answer in SOCKS 5")),
            ),
        ] {
            assert_eq!(ask("socks5://me:s3@p", answers), outcome, "{answers:?}");
        }
        assert_eq!(ask("socks5://p", &[&[5, 0xff]]), Err(wanted(false)));
        let unasked = not_a_proxy("it picks a kind of login that was not offered");
        assert_eq!(ask("socks5://p", &[&[5, 2]]), Err(unasked));
    }

    /// What comes behind the answer is the venue's, and is left for whoever reads next.
    #[test]
    fn not_a_byte_behind_the_answer_is_read() {
        let answer = [THROUGH, b"behind"].concat();
        let mut script = Script::new(1_000, &[&[5, 0], &answer]);
        assert_eq!(script.run("socks5://p", VENUE), Ok(true));
        let mut rest = [0; 16];
        let read = loop {
            match std::io::Read::read(&mut script, &mut rest) {
                Ok(read) => break read,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!(&rest[..read], b"behind");
    }

    #[test]
    fn an_end_in_place_of_an_answer_is_named() {
        for answers in [&[][..], &[&[5][..]], &[&[5, 0], &THROUGH[..9]]] {
            let mut script = Script::new(3, answers).ending();
            assert_eq!(script.run("socks5://p", VENUE), Err(ProxyFault::Ended));
        }
    }
}
