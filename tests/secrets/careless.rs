//! A venue of a user's that is careless with what it is given.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use trunkline::{
    Channel, Credentials, Endpoint, ErrorKind, Manager, Result, Symbol,
    venue::{Context, Frame, Message, Request, Routed, Session, Venue},
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

    fn settings(&self) -> Vec<(&'static str, String)> {
        let is_labelled = self.1 == Carelessness::Label;
        vec![("login", format!("{} {is_labelled}", PLAIN.secret))]
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

    fn handle_open(&mut self, cx: &mut Context<'_, Nothing>) {
        let login = self.0.expose(|key, secret| format!("{key} {secret}"));
        match self.1 {
            Carelessness::Message => cx.send(Message::Text(login)),
            Carelessness::Panic => panic!("cannot log in with {login}"),
            Carelessness::Header | Carelessness::Label => cx.up(),
        }
    }

    fn handle_frame(&mut self, _frame: Frame<'_>, _cx: &mut Context<'_, Nothing>) {}

    fn request(&mut self, _request: Request<'_>, _cx: &mut Context<'_, Nothing>) {}
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
    serve_connections(listener, 3);
}

fn serve_connections(listener: &Listener, count: usize) {
    for _ in 0..count {
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
    let unguarded = Careless(endpoint.clone(), Carelessness::Message);
    let conflict = manager.open(&unguarded, &credentials).unwrap_err();
    let text = conflict.to_string();
    assert!(text.contains(" true, asked for *"), "{text}");
    capture.error(&conflict);
    feed.close(WAIT).unwrap();
    let feed = manager.open(&unguarded, &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::GaveUp { cause, .. } if cause.code() == "protocol"),
        "{error:?}"
    );
    capture.error(&error);
    drop(feed);
    let panicking = Careless(endpoint.clone(), Carelessness::Panic);
    let feed = manager.open(&panicking, &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Panicked { message, .. } if message.starts_with("cannot log in with")),
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

/// Puts the secret into a header, and takes its time before it joins the line that is open.
#[derive(Clone)]
struct Slow {
    careless: Careless,
    asked: Sender<()>,
    ended: Receiver<()>,
}

impl Venue for Slow {
    type Event = Nothing;
    type Session = CarelessSession;

    fn endpoint(&self) -> &Endpoint {
        self.careless.endpoint()
    }

    fn label(&self, credentials: &Credentials) -> String {
        self.careless.label(credentials)
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        self.careless.headers()
    }

    /// Called once it is known that there is a line to join.
    fn admit(&self, _credentials: &Credentials) -> Result<()> {
        self.asked.send(()).unwrap();
        self.ended.recv_timeout(WAIT).unwrap();
        Ok(())
    }

    fn session(&self, credentials: Credentials) -> CarelessSession {
        self.careless.session(credentials)
    }
}

/// Who joins a line is not searched, since he sends no request; but the line may end before he has joined it, and he
/// opens one of his own then.
#[test]
fn a_secret_in_a_header_is_refused_also_when_the_line_to_be_joined_ends_meanwhile() {
    const NAME: &str =
        "a_secret_in_a_header_is_refused_also_when_the_line_to_be_joined_ends_meanwhile";
    let Some(server) = Server::of_this_child() else {
        return with_child(NAME, |listener| serve_connections(listener, 2));
    };
    let capture = Capture::install();
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let manager = Manager::with_config(server.config()).unwrap();
    let endpoint: Endpoint = server.url.parse().unwrap();
    let labelled = Careless(endpoint.clone(), Carelessness::Label);
    let first = manager.open(&labelled, &credentials).unwrap();
    first.wait_live(WAIT).unwrap();

    let (asked, is_asked) = bounded(1);
    let (has_ended, ended) = bounded(1);
    let slow = Slow {
        careless: Careless(endpoint, Carelessness::Header),
        asked,
        ended,
    };
    let outcome = thread::scope(|scope| {
        let second = scope.spawn(|| manager.open(&slow, &credentials));
        is_asked.recv_timeout(WAIT).unwrap();
        first.close(WAIT).unwrap();
        has_ended.send(()).unwrap();
        second.join().unwrap()
    });
    if let Ok(feed) = &outcome {
        // Its request is in the records by now.
        let _ = feed.wait_live(WAIT);
    }
    assert_clean(PLAIN, &capture.0.lock());
    let error = outcome.unwrap_err();
    capture.error(&error);
    assert_eq!(error.code(), "invalid_config");

    // The key is free again.
    let feed = manager.open(&labelled, &credentials).unwrap();
    feed.wait_live(WAIT).unwrap();
    feed.close(WAIT).unwrap();
    let all = capture.0.lock().clone();
    assert!(all.contains("TRACE tungstenite"));
    assert_clean(PLAIN, &all);
    println!("{DONE}");
}
