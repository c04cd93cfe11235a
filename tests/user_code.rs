//! Where code runs that is not the library's, it may panic, block for longer than any bound, and call back (R3, R6). A
//! row for each such place: nobody hangs, no lock is held meanwhile, and the key works again afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod common;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use common::{GENEROUS, Peer, credentials, spawn, until, until_no_thread};
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use trunkline::{
    Channel, Config, Credentials, Endpoint, Error, ErrorKind, Manager, StreamHandle, Symbol,
    SymbolBudget, Timestamp, Topic, Topics,
    calendar::Calendar,
    config::Resolver,
    venue::{Context, Delivery, Frame, Message, Payload, Request, Routed, Rules, Session, Venue},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    // Where a stream is opened, or subscribed to.
    Endpoint,
    Admit,
    Headers,
    Label,
    Settings,
    VenueClone,
    OpensLogged,
    Rules,
    Canonical,
    Validate,
    Delivery,
    CorrelationDisplay,
    Project,
    // On a thread of the library's.
    Resolve,
    RunsLogged,
    Calendar,
    SymbolBudget,
    NewSession,
    HandleOpen,
    HandleFrame,
    HandleClose,
    HandleTimeout,
    Deadline,
    Asked,
    Expects,
    Channel,
    Symbols,
    HappenedAt,
    HeapSize,
    UniqueId,
    EventClone,
    SessionDrop,
}

impl Place {
    const CALLERS: [Self; 13] = [
        Self::Endpoint,
        Self::Admit,
        Self::Headers,
        Self::Label,
        Self::Settings,
        Self::VenueClone,
        Self::OpensLogged,
        Self::Rules,
        Self::Canonical,
        Self::Validate,
        Self::Delivery,
        Self::CorrelationDisplay,
        Self::Project,
    ];
    const STREAMS: [Self; 19] = [
        Self::Resolve,
        Self::RunsLogged,
        Self::Calendar,
        Self::SymbolBudget,
        Self::NewSession,
        Self::HandleOpen,
        Self::HandleFrame,
        Self::HandleClose,
        Self::HandleTimeout,
        Self::Deadline,
        Self::Asked,
        Self::Expects,
        Self::Channel,
        Self::Symbols,
        Self::HappenedAt,
        Self::HeapSize,
        Self::UniqueId,
        Self::EventClone,
        Self::SessionDrop,
    ];
}

/// What is done the first time that the place is reached.
#[derive(Clone)]
struct Hook(Arc<Mutex<Option<(Place, Misdeed)>>>);

type Misdeed = Box<dyn FnOnce() + Send>;

impl Hook {
    fn at(&self, place: Place) {
        let misdeed = {
            let mut armed = self.0.lock();
            match &*armed {
                Some((there, _)) if *there == place => armed.take(),
                _ => None,
            }
        };
        if let Some((_, misdeed)) = misdeed {
            misdeed();
        }
    }

    fn is_done(&self) -> bool {
        self.0.lock().is_none()
    }
}

// ------------------------------------------------------------------------------------------------ a venue of user code

struct Hooked {
    endpoint: Endpoint,
    hook: Hook,
}

impl Clone for Hooked {
    fn clone(&self) -> Self {
        self.hook.at(Place::VenueClone);
        Self {
            endpoint: self.endpoint.clone(),
            hook: self.hook.clone(),
        }
    }
}

const SPEECH: Channel = Channel::new("speech");

impl Venue for Hooked {
    type Event = Said;
    type Session = HookedSession;

    fn endpoint(&self) -> &Endpoint {
        self.hook.at(Place::Endpoint);
        &self.endpoint
    }

    fn label(&self, _: &Credentials) -> String {
        self.hook.at(Place::Label);
        "hooked".to_owned()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.hook.at(Place::Settings);
        Vec::new()
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        self.hook.at(Place::Headers);
        Vec::new()
    }

    fn admit(&self, _: &Credentials) -> trunkline::Result<()> {
        self.hook.at(Place::Admit);
        Ok(())
    }

    fn validate(&self, _: &Topic) -> trunkline::Result<()> {
        self.hook.at(Place::Validate);
        Ok(())
    }

    fn delivery(&self, _topic: &Topic) -> Delivery {
        self.hook.at(Place::Delivery);
        Delivery::Latest
    }

    fn calendar(&self) -> Calendar {
        self.hook.at(Place::Calendar);
        Calendar::always_open()
    }

    fn rules(&self) -> Rules {
        self.hook.at(Place::Rules);
        Rules::new().attempts(20, Duration::from_micros(1))
    }

    fn expects(&self, _: &Topic) -> Option<Duration> {
        self.hook.at(Place::Expects);
        None
    }

    fn symbol_budget(&self) -> Option<SymbolBudget> {
        self.hook.at(Place::SymbolBudget);
        None
    }

    fn canonical(&self, topic: &Topic) -> Topic {
        self.hook.at(Place::Canonical);
        topic.clone()
    }

    fn session(&self, _: Credentials) -> HookedSession {
        self.hook.at(Place::NewSession);
        HookedSession {
            hook: self.hook.clone(),
            wakes: Some(Instant::now()),
        }
    }
}

struct HookedSession {
    hook: Hook,
    wakes: Option<Instant>,
}

impl Drop for HookedSession {
    fn drop(&mut self) {
        self.hook.at(Place::SessionDrop);
    }
}

impl Session for HookedSession {
    type Event = Said;

    fn handle_open(&mut self, cx: &mut Context<'_, Said>) {
        self.hook.at(Place::HandleOpen);
        cx.up();
    }

    fn handle_frame(&mut self, _: Frame<'_>, cx: &mut Context<'_, Said>) {
        self.hook.at(Place::HandleFrame);
        cx.confirmed(None);
        cx.event(Said(self.hook.clone()));
    }

    fn handle_close(&mut self, _: Option<u16>, _: &mut Context<'_, Said>) {
        self.hook.at(Place::HandleClose);
    }

    fn handle_timeout(&mut self, _: &mut Context<'_, Said>) {
        self.wakes = None;
        self.hook.at(Place::HandleTimeout);
    }

    fn deadline(&self) -> Option<Instant> {
        self.hook.at(Place::Deadline);
        self.wakes
    }

    fn request(&mut self, _: Request<'_>, cx: &mut Context<'_, Said>) {
        self.hook.at(Place::Asked);
        cx.send(Message::Text("please".to_owned()));
    }
}

struct Said(Hook);

impl Clone for Said {
    fn clone(&self) -> Self {
        self.0.at(Place::EventClone);
        Self(self.0.clone())
    }
}

impl Routed for Said {
    fn channel(&self) -> Channel {
        self.0.at(Place::Channel);
        SPEECH
    }

    fn symbols(&self) -> &[Symbol] {
        self.0.at(Place::Symbols);
        &[]
    }

    fn happened_at(&self) -> Option<Timestamp> {
        self.0.at(Place::HappenedAt);
        None
    }

    fn heap_size(&self) -> usize {
        self.0.at(Place::HeapSize);
        8
    }

    fn unique_id(&self) -> Option<String> {
        self.0.at(Place::UniqueId);
        None
    }
}

impl Payload for Said {
    type Source = Self;

    fn project(event: &Self) -> Option<impl FnOnce() -> Self> {
        event.0.at(Place::Project);
        Some(|| Self(event.0.clone()))
    }
}

struct Name(Hook);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.at(Place::CorrelationDisplay);
        f.write_str("name")
    }
}

/// The logger of the row that runs: a process has one.
static LOGGED: Mutex<Option<Hook>> = Mutex::new(None);
static LOGGER: Logger = Logger;

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // It makes the text, as every logger does.
        let text = record.args().to_string();
        let hook = LOGGED.lock().clone();
        let Some(hook) = hook.filter(|_| record.target().starts_with("trunkline")) else {
            return;
        };
        if text.contains(": opening ") {
            hook.at(Place::OpensLogged);
        } else if std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("tl-"))
        {
            hook.at(Place::RunsLogged);
        }
    }

    fn flush(&self) {}
}

// -------------------------------------------------------------------------------------------------------------- a row

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Row {
    manager: Manager,
    venue: Hooked,
    credentials: Credentials,
    _peer: Peer,
}

impl Row {
    fn new() -> Self {
        // Each request is answered with an event, and then with the end of the connection.
        let peer = Peer::start(|line| {
            let mut venue = line.venue();
            while venue.hear().is_some() {
                venue.say("yes");
                venue.say("and more");
                let _ = venue.0.close(None);
            }
        });
        let hook = Hook(Arc::default());
        let _ = log::set_logger(&LOGGER);
        log::set_max_level(log::LevelFilter::Trace);
        *LOGGED.lock() = Some(hook.clone());
        let mut config = Config::default();
        config.backoff.initial = Duration::from_millis(1);
        config.backoff.cap = Duration::from_millis(1);
        config.close_timeout = Duration::from_millis(50);
        config.release_timeout = Duration::from_millis(50);
        config.open_timeout = Duration::from_millis(50);
        let port = peer.address().port();
        let resolver = hook.clone();
        config.resolver = Resolver::new(move |_, _| {
            resolver.at(Place::Resolve);
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        Self {
            manager: Manager::with_config(config).unwrap(),
            venue: Hooked {
                endpoint: format!("ws://hooked.invalid:{port}/").parse().unwrap(),
                hook,
            },
            credentials: credentials(),
            _peer: peer,
        }
    }

    fn arm(&self, place: Place, misdeed: impl FnOnce() + Send + 'static) {
        *self.venue.hook.0.lock() = Some((place, Box::new(misdeed)));
    }

    /// Passes by every place, until the armed one was met.
    fn pass(&self) -> trunkline::Result<StreamHandle<Hooked>> {
        let hook = &self.venue.hook;
        let handle = self.manager.open(&self.venue, &self.credentials)?;
        let begun = Instant::now();
        while !hook.is_done() && handle.end_reason().is_none() {
            assert!(begun.elapsed() < GENEROUS, "it is never met");
            drop(self.manager.open(&self.venue, &self.credentials)?);
            let handle = handle.correlated(Name(hook.clone()));
            let speech = handle.subscribe(Topics::<Said>::new([Topic::new(SPEECH, "*")]))?;
            // An event that few read is copied for each.
            let _other =
                handle.subscribe(Topics::<Said>::new([Topic::new(SPEECH, "*")]).conflate())?;
            for _ in 0..20 {
                let _ = speech.recv_timeout(Duration::from_millis(2));
            }
        }
        Ok(handle)
    }

    /// Nothing is left, and the key works again.
    fn works_again(&self, row: &str) {
        until(&format!("{row}: the key is free"), || {
            self.manager.health().streams.is_empty()
        });
        until_no_thread(&self.credentials);
        let handle = self.manager.open(&self.venue, &self.credentials).unwrap();
        handle.wait_live(GENEROUS).unwrap();
    }

    /// What has nothing to do with the line that is stuck goes on.
    fn others_go_on(&self) {
        drop(self.manager.health());
        let other = self.manager.open(&self.venue, &credentials()).unwrap();
        other.wait_live(GENEROUS).unwrap();
        other.close(GENEROUS).unwrap();
    }
}

fn places() -> impl Iterator<Item = Place> {
    Place::CALLERS.into_iter().chain(Place::STREAMS)
}

/// Fails where `body` hangs.
fn bounded(row: &str, body: impl FnOnce() + Send + 'static) {
    let (done, outcome) = crossbeam_channel::bounded(1);
    spawn(move || {
        let _ = done.send(catch_unwind(AssertUnwindSafe(body)));
    });
    match outcome.recv_timeout(3 * GENEROUS) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => {
            eprintln!("in the row {row}:");
            resume_unwind(panic);
        }
        Err(_) => panic!("{row} hangs"),
    }
}

#[test]
fn user_code_may_panic_anywhere() {
    let _one = ONE_AT_A_TIME.lock();
    for place in places() {
        bounded(&format!("{place:?}"), move || {
            let row = Row::new();
            row.arm(place, || resume_unwind(Box::new("user code's own bug")));
            let passed = catch_unwind(AssertUnwindSafe(|| row.pass()));
            if Place::CALLERS.contains(&place) {
                assert!(passed.is_err(), "{place:?}: the caller's own panic is his");
            } else if let Ok(Ok(handle)) = &passed
                && place != Place::Resolve
            {
                until("it has ended", || handle.end_reason().is_some());
                let ended = handle.wait_live(Duration::ZERO);
                assert!(
                    matches!(
                        ended.as_ref().map_err(Error::kind),
                        Err(ErrorKind::Panicked { .. })
                    ),
                    "{place:?}: {ended:?}"
                );
            }
            drop(passed);
            row.works_again(&format!("{place:?}"));
        });
    }
}

#[test]
fn user_code_may_block_anywhere() {
    let _one = ONE_AT_A_TIME.lock();
    for place in places() {
        bounded(&format!("{place:?}"), move || {
            let row = Arc::new(Row::new());
            let (hold, held): (Sender<()>, Receiver<()>) = crossbeam_channel::bounded(0);
            let (entered, is_in) = crossbeam_channel::bounded(1);
            row.arm(place, move || {
                let _ = entered.send(());
                let _ = held.recv();
            });
            let (passed, handle) = crossbeam_channel::bounded(1);
            let caller = spawn({
                let row = Arc::clone(&row);
                move || passed.send(row.pass())
            });
            is_in.recv_timeout(GENEROUS).unwrap();
            if place == Place::Resolve {
                // Others who ask for the same name wait for the same answer.
                drop(row.manager.health());
            } else {
                row.others_go_on();
            }
            if place == Place::Resolve {
                // A lookup is abandoned, and its thread is not waited for.
                handle
                    .recv_timeout(GENEROUS)
                    .unwrap()
                    .unwrap()
                    .close(GENEROUS)
                    .unwrap();
            } else if let Ok(Ok(handle)) = handle.recv_timeout(Duration::from_millis(200)) {
                let closed = handle.close(Duration::from_millis(20));
                assert!(
                    matches!(
                        closed.as_ref().map_err(Error::kind),
                        Err(ErrorKind::TimedOut { .. })
                    ),
                    "{place:?}: {closed:?}"
                );
                let opened = row.manager.open(&row.venue, &row.credentials);
                assert!(
                    matches!(
                        opened.as_ref().map_err(Error::kind),
                        Err(ErrorKind::Draining { .. })
                    ),
                    "{place:?}: {opened:?}"
                );
            }
            drop(hold);
            caller.join().unwrap().ok();
            drop(handle);
            row.works_again(&format!("{place:?}"));
        });
    }
}

#[test]
fn user_code_may_call_back_from_anywhere() {
    let _one = ONE_AT_A_TIME.lock();
    for place in places() {
        bounded(&format!("{place:?}"), move || {
            let row = Row::new();
            let (manager, venue, credentials) = (
                row.manager.clone(),
                row.venue.clone(),
                row.credentials.clone(),
            );
            row.arm(place, move || {
                drop(manager.health());
                // The same stream, or one that is opened in the middle of being opened.
                if let Ok(handle) = manager.open(&venue, &credentials) {
                    drop(handle.health());
                    drop(handle.phases());
                    let _ = handle.subscribe(Topics::<Said>::new([Topic::new(SPEECH, "*")]));
                }
                if let Ok(other) = manager.open(&venue, &common::credentials()) {
                    let _ = other.close(Duration::ZERO);
                }
            });
            drop(row.pass().unwrap());
            row.works_again(&format!("{place:?}"));
        });
    }
}

/// The session is destroyed after its panic, and may take its time for that. As long as it does, the stream is not gone.
#[test]
fn a_session_that_panicked_keeps_the_key_until_it_is_destroyed() {
    let _one = ONE_AT_A_TIME.lock();
    bounded("panic, then block", || {
        let row = Arc::new(Row::new());
        let (hold, held): (Sender<()>, Receiver<()>) = crossbeam_channel::bounded(0);
        let (entered, is_in) = crossbeam_channel::bounded(1);
        let hook = row.venue.hook.clone();
        row.arm(Place::HandleFrame, move || {
            let block = move || {
                let _ = entered.send(());
                let _ = held.recv();
            };
            *hook.0.lock() = Some((Place::SessionDrop, Box::new(block)));
            resume_unwind(Box::new("user code's own bug"));
        });
        let handle = row.pass().unwrap();
        is_in.recv_timeout(GENEROUS).unwrap();
        assert_eq!(handle.end_reason().map(|_| ()), None, "nobody is told yet");
        let closed = handle.close(Duration::from_millis(20));
        assert!(
            matches!(
                closed.as_ref().map_err(Error::kind),
                Err(ErrorKind::TimedOut { .. })
            ),
            "{closed:?}"
        );
        let opened = row.manager.open(&row.venue, &row.credentials);
        assert!(
            matches!(
                opened.as_ref().map_err(Error::kind),
                Err(ErrorKind::Draining { .. })
            ),
            "{opened:?}"
        );
        drop(hold);
        row.works_again("panic, then block");
    });
}
