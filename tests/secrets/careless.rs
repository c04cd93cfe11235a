//! A venue of a user's that is careless with what it is given.

use std::time::Instant;

use trunkline::{
    Channel, Credentials, Endpoint, Error, Manager, Symbol,
    venue::{Frame, Message, Output, Request, Routed, Session, Venue},
};

use crate::{
    canary::{Canary, PLAIN, assert_clean},
    capture::Capture,
    child::{DONE, Server, with_child},
    peer::{Listener, Peer},
    support::WAIT,
};

#[derive(Clone, Copy, PartialEq)]
enum Carelessness {
    /// Puts the secret into a header.
    Header,
    /// Names itself by its key.
    Label,
    /// Sends the secret as if it were any message.
    Message,
    /// Panics with all it knows.
    Panic,
}

#[derive(Clone)]
struct Careless(Endpoint, Carelessness);

struct CarelessSession(Credentials, Carelessness);

#[derive(Clone)]
struct Nothing;

impl Venue for Careless {
    type Event = Nothing;
    type Session = CarelessSession;

    fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    fn label(&self, credentials: &Credentials) -> String {
        credentials.expose(|key, secret| format!("the account of {key}, with {secret}"))
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        match self.1 {
            Carelessness::Header => {
                vec![("apca-API-secret-KEY", format!("Bearer {}", PLAIN.secret))]
            }
            _ => Vec::new(),
        }
    }

    fn session(&self, credentials: Credentials) -> CarelessSession {
        CarelessSession(credentials, self.1)
    }
}

impl Session for CarelessSession {
    type Event = Nothing;

    fn handle_open(&mut self, _now: Instant, out: &mut Output<Nothing>) {
        let login = self.0.expose(|key, secret| format!("{key} {secret}"));
        match self.1 {
            Carelessness::Message => out.send(Message::Text(login)),
            Carelessness::Panic => panic!("cannot log in with {login}"),
            Carelessness::Header | Carelessness::Label => out.up(),
        }
    }

    fn handle_frame(&mut self, _now: Instant, _frame: Frame<'_>, _out: &mut Output<Nothing>) {}

    fn request(&mut self, _now: Instant, _request: Request<'_>, _out: &mut Output<Nothing>) {}
}

impl Routed for Nothing {
    fn channel(&self) -> Channel {
        Channel::new("nothing")
    }

    fn symbols(&self) -> &[Symbol] {
        &[]
    }
}

#[test]
fn a_careless_venue_does_not_get_a_secret_into_any_record() {
    const NAME: &str = "a_careless_venue_does_not_get_a_secret_into_any_record";
    match Server::of_this_child() {
        None => with_child(NAME, serve),
        Some(server) => be_careless(&server, PLAIN),
    }
}

/// Labelled, live; a message that is not sent; a panic.
fn serve(listener: &Listener) {
    for _ in 0..3 {
        let mut peer = Peer::open(listener);
        assert_clean(PLAIN, &peer.head);
        while let Ok(message) = peer.try_read() {
            assert_clean(PLAIN, &String::from_utf8_lossy(&message.payload));
        }
    }
}

fn be_careless(server: &Server, canary: Canary) {
    let capture = Capture::install();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    let mut config = server.config();
    config.backoff.max_failures = Some(1);
    let manager = Manager::with_config(config).unwrap();
    let endpoint: Endpoint = server.url.parse().unwrap();
    let refused = |venue: &Careless| {
        let error = manager.open(venue, &credentials).unwrap_err();
        capture.error(&error);
        assert_eq!(error.code(), "invalid_config");
    };
    refused(&Careless(endpoint.clone(), Carelessness::Header));
    let query = format!("{}?secret={}", server.url, canary.secret);
    refused(&Careless(query.parse().unwrap(), Carelessness::Label));
    let path = format!("{}/{}", server.url, canary.key);
    refused(&Careless(path.parse().unwrap(), Carelessness::Label));

    let labelled = Careless(endpoint.clone(), Carelessness::Label);
    let feed = manager.open(&labelled, &credentials).unwrap();
    feed.wait_live(WAIT).unwrap();
    feed.close(WAIT).unwrap();
    let unguarded = Careless(endpoint.clone(), Carelessness::Message);
    let feed = manager.open(&unguarded, &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert!(
        matches!(&error, Error::GaveUp { cause, .. } if cause.code() == "protocol"),
        "{error:?}"
    );
    capture.error(&error);
    drop(feed);
    let panicking = Careless(endpoint.clone(), Carelessness::Panic);
    let feed = manager.open(&panicking, &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert!(
        matches!(&error, Error::Panicked { message, .. } if message.starts_with("cannot log in with")),
        "{error:?}"
    );
    capture.error(&error);
    capture.add(format_args!("{:?} {}", feed.health(), feed.health()));
    // The key of a line that has ended is held on to, and makes nobody join.
    refused(&Careless(endpoint, Carelessness::Header));
    drop(feed);

    let all = capture.0.lock().clone();
    assert!(all.contains("the account of ***") && all.contains("TRACE tungstenite"));
    assert_clean(canary, &all);
    println!("{DONE}");
}
