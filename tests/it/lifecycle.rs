//! Every phase ends in time, whoever ends it and however; an idle stream sleeps; a stream that is stuck is not forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use crate::common;
use crate::common::{
    FullBacklog, GENEROUS, NEVER, Peer, all_threads, alone, credentials, drop_in_a_panic, open,
    open_files, patient, quiet_sim, refusing, spawn, status_of, stocks_at, stream_threads, trade,
    until, until_no_thread,
};
use parking_lot::Mutex;
use trunkline::{
    Channel, Config, Credentials, EndReason, Endpoint, Error, ErrorKind, Manager, Phase, Proxy,
    RecvTimeoutError, StreamHandle, Subscription, Symbol, Topic, Topics, Update,
    alpaca::{self, MarketData},
    config::Resolver,
    error::{Doing, Remedy},
    venue::{self, Context, Frame, Payload, Request, Routed},
};
use tungstenite::Message;

// A venue of our own, whose session runs what a test gives it.

type Behaviour = Arc<dyn Fn(&str) + Send + Sync>;

/// Up at once; each text frame goes to the test's code, and to the subscribers.
#[derive(Clone)]
struct Parrot {
    endpoint: Endpoint,
    ready: bool,
    on_text: Behaviour,
}

struct ParrotSession {
    ready: bool,
    on_text: Behaviour,
}

#[derive(Clone, Debug, PartialEq)]
struct Said(String);

const SPEECH: Channel = Channel::new("speech");

impl Routed for Said {
    fn channel(&self) -> Channel {
        SPEECH
    }

    fn symbols(&self) -> &[Symbol] {
        &[]
    }
}

impl Payload for Said {
    type Source = Self;

    fn project(event: &Self) -> Option<impl FnOnce() -> Self> {
        Some(|| event.clone())
    }
}

impl venue::Venue for Parrot {
    type Event = Said;
    type Session = ParrotSession;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn session(&self, _: Credentials) -> ParrotSession {
        ParrotSession {
            ready: self.ready,
            on_text: Arc::clone(&self.on_text),
        }
    }
}

impl venue::Session for ParrotSession {
    type Event = Said;

    fn handle_open(&mut self, cx: &mut Context<'_, Said>) {
        if self.ready {
            cx.up();
        }
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, Said>) {
        if let Frame::Text(text) = frame {
            (self.on_text)(text);
            cx.event(Said(text.to_owned()));
        }
    }

    fn request(&mut self, _: Request<'_>, cx: &mut Context<'_, Said>) {
        cx.confirmed(None);
    }
}

impl fmt::Debug for Parrot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parrot")
    }
}

/// A peer that says each word that the test sends it, on whichever connection is there.
fn speaker() -> (Peer, crossbeam_channel::Sender<&'static str>) {
    let (say, words) = crossbeam_channel::unbounded::<&'static str>();
    let peer = Peer::start(move |line| {
        let mut venue = line.venue();
        let (gone, ended) = crossbeam_channel::bounded::<()>(0);
        let watched = line.stream.try_clone().unwrap();
        spawn(move || {
            // The first thing that a client of this venue sends is its close frame.
            let _ = watched.peek(&mut [0]);
            drop(gone);
        });
        loop {
            crossbeam_channel::select! {
                recv(words) -> word => match word {
                    Ok(word) => {
                        let _ = venue.0.send(Message::text(word));
                    }
                    Err(_) => return,
                },
                recv(ended) -> _ => return venue.serve(),
            }
        }
    });
    (peer, say)
}

fn parrot(peer: &Peer, on_text: impl Fn(&str) + Send + Sync + 'static) -> Parrot {
    Parrot {
        endpoint: format!("ws://{}/", peer.address()).parse().unwrap(),
        ready: true,
        on_text: Arc::new(on_text),
    }
}

fn speech() -> Topics<Said> {
    Topics::new([Topic::new(SPEECH, "*")])
}

// Phase by way of ending.

/// What stalls a stream, where, and what a test must keep meanwhile.
struct Stall {
    name: &'static str,
    phase: Phase,
    start: fn() -> Started,
    /// Whether a subscription is asked for.
    subscribe: bool,
}

type Started = (MarketData, Proxy, Box<dyn Send>);

fn at(peer: Peer) -> Started {
    (peer.stocks(), Proxy::Never, Box::new(peer))
}

/// Behind a proxy, which is the peer.
fn behind(scheme: &str, peer: Peer) -> Started {
    let proxy = format!("{scheme}://me:hunter2@{}", peer.address());
    let venue = stocks_at("wss://venue.test/v2/iex");
    (venue, Proxy::At(proxy.parse().unwrap()), Box::new(peer))
}

/// The name whose lookup hangs, until the other end of a channel is dropped.
const HANGING: &str = "hanging.test";

/// Both ends of the channel.
struct Hang {
    hold: Mutex<Option<crossbeam_channel::Sender<()>>>,
    until: crossbeam_channel::Receiver<()>,
}

static HANG: LazyLock<Hang> = LazyLock::new(|| {
    let (hold, until) = crossbeam_channel::bounded(0);
    Hang {
        hold: Mutex::new(Some(hold)),
        until,
    }
});

/// Lets the lookups go when it is dropped.
struct HangingLookup;

impl Drop for HangingLookup {
    fn drop(&mut self) {
        HANG.hold.lock().take();
    }
}

const STALLS: [Stall; 16] = [
    Stall {
        name: "name lookup: no answer",
        phase: Phase::Resolving,
        start: || {
            (
                stocks_at(&format!("ws://{HANGING}/v2/iex")),
                Proxy::Never,
                Box::new(HangingLookup),
            )
        },
        subscribe: true,
    },
    Stall {
        name: "TCP connect: the backlog is full",
        phase: Phase::Connecting,
        start: || {
            let full = FullBacklog::new().unwrap();
            (full.stocks(), Proxy::Never, Box::new(full))
        },
        subscribe: true,
    },
    Stall {
        name: "HTTP proxy: no answer",
        phase: Phase::Tunneling,
        start: || behind("http", Peer::start(|line| line.hold())),
        subscribe: true,
    },
    Stall {
        name: "HTTP proxy: half an answer",
        phase: Phase::Tunneling,
        start: || {
            let peer = Peer::start(|mut line| {
                line.head();
                line.write("HTTP/1.1 200 Connection establ");
                line.hold();
            });
            behind("http", peer)
        },
        subscribe: false,
    },
    Stall {
        name: "SOCKS proxy: no answer to the login",
        phase: Phase::Tunneling,
        start: || {
            let peer = Peer::start(|mut line| {
                line.bytes(4);
                line.write([5, 2]);
                line.hold();
            });
            behind("socks5", peer)
        },
        subscribe: true,
    },
    Stall {
        name: "TLS behind a proxy: no answer",
        phase: Phase::Securing,
        start: || {
            let peer = Peer::start(|mut line| {
                line.head();
                line.write("HTTP/1.1 200 Connection established\r\n\r\n");
                line.hold();
            });
            behind("http", peer)
        },
        subscribe: true,
    },
    Stall {
        name: "TLS: no answer",
        phase: Phase::Securing,
        start: || {
            let peer = Peer::start(|line| line.hold());
            let venue = stocks_at(&format!("wss://{}/v2/iex", peer.address()));
            (venue, Proxy::Never, Box::new(peer))
        },
        subscribe: true,
    },
    Stall {
        name: "upgrade: no answer",
        phase: Phase::Upgrading,
        start: || at(Peer::start(|line| line.hold())),
        subscribe: false,
    },
    Stall {
        name: "upgrade: half an answer",
        phase: Phase::Upgrading,
        start: || {
            at(Peer::start(|mut line| {
                line.request();
                line.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso");
                line.hold();
            }))
        },
        subscribe: true,
    },
    Stall {
        name: "no welcome",
        phase: Phase::Authenticating,
        start: || {
            at(Peer::start(|line| {
                let _venue = line.venue();
                line.hold();
            }))
        },
        subscribe: false,
    },
    Stall {
        name: "no answer to the authentication",
        phase: Phase::Authenticating,
        start: || {
            at(Peer::start(|line| {
                let mut venue = line.venue();
                venue.welcome();
                venue.hear();
                line.hold();
            }))
        },
        subscribe: true,
    },
    Stall {
        name: "no answer to the subscription",
        phase: Phase::Live,
        start: || {
            at(Peer::live(|line, venue| {
                venue.hear();
                line.hold();
            }))
        },
        subscribe: true,
    },
    Stall {
        name: "live and well",
        phase: Phase::Live,
        start: || {
            at(Peer::live(|_, venue| {
                venue.confirm();
                venue.serve();
            }))
        },
        subscribe: true,
    },
    Stall {
        name: "live, and the close frame is not answered",
        phase: Phase::Live,
        start: || {
            at(Peer::live(|mut line, venue| {
                venue.confirm();
                line.drain();
                line.hold();
            }))
        },
        subscribe: true,
    },
    Stall {
        name: "flood",
        phase: Phase::Live,
        start: || {
            at(Peer::live(|_, venue| {
                venue.confirm();
                let frame = format!("[{}]", vec![trade(1); 50].join(","));
                while venue.0.send(Message::text(frame.clone())).is_ok() {}
            }))
        },
        subscribe: true,
    },
    Stall {
        name: "backoff",
        phase: Phase::Waiting,
        start: || (refusing(), Proxy::Never, Box::new(())),
        subscribe: true,
    },
];

type Held = (
    StreamHandle<MarketData>,
    Option<Subscription<trunkline::market::TradeEvent>>,
);

/// A way to end a stream that is the only one of its manager.
type Way = (&'static str, fn(&Manager, Held));

const WAYS: [Way; 5] = [
    ("the last handle is dropped", |_, (handle, subscription)| {
        drop(subscription);
        drop(handle);
    }),
    (
        "the last subscription is dropped",
        |_, (handle, subscription)| {
            drop(handle);
            drop(subscription);
        },
    ),
    ("close", |_, (handle, subscription)| {
        drop(subscription);
        handle.close(BOUND).unwrap();
    }),
    ("shutdown", |manager, (handle, subscription)| {
        let report = manager.shutdown(BOUND);
        assert_eq!(report.len(), 1);
        assert_eq!(report[0].stream, *handle.key());
        assert_eq!(report[0].stuck, None, "{}", report[0]);
        assert!(matches!(handle.end_reason(), Some(EndReason::Closed)));
        if let Some(subscription) = subscription {
            let last = subscription.iter().last();
            assert!(matches!(last, Some(Update::Ended(_))), "{last:?}");
        }
        assert!(matches!(
            handle.wait_live(GENEROUS).as_ref().map_err(Error::kind),
            Err(ErrorKind::Closed)
        ));
    }),
    ("dropped in a panic", |_, held| drop_in_a_panic(held)),
];

/// What each of them is given, and what it may take on a busy machine: less, so that a waiter that only its time-out
/// wakes is noticed.
const BOUND: Duration = Duration::from_secs(12);
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn every_way_of_ending_ends_every_phase_in_time_and_leaves_nothing() {
    alone(
        "lifecycle::every_way_of_ending_ends_every_phase_in_time_and_leaves_nothing",
        || {
            let mut config = patient();
            config.setup_timeout = NEVER;
            config.request_timeout = NEVER;
            config.release_timeout = BOUND;
            config.open_timeout = BOUND;
            config.close_timeout = Duration::from_millis(100);
            let system = config.resolver.clone();
            config.resolver = Resolver::new(move |host, port| {
                if host == HANGING {
                    let _ = HANG.until.recv();
                }
                system.resolve(host, port)
            });
            // Once, so that nothing is counted that is opened when it is first needed.
            let _ = common::failure(&open(&config, &refusing(), &credentials()));
            let (clean, threads) = (open_files(), all_threads());
            for stall in &STALLS {
                let (venue, proxy, keep) = (stall.start)();
                config.proxy = proxy;
                for (way, end) in WAYS {
                    let credentials = credentials();
                    let manager = Manager::with_config(config.clone()).unwrap();
                    let handle = manager.open(&venue, &credentials).unwrap();
                    let trades = stall
                        .subscribe
                        .then(|| handle.subscribe(alpaca::trades(["AAPL"])).unwrap());
                    let row = format!("{}: {way}", stall.name);
                    until(&row, || handle.phase() == stall.phase);
                    if stall.name == "flood" {
                        let trades = trades.as_ref().unwrap();
                        until("the flood has come", || {
                            trades.health().events_routed > 10_000
                        });
                    }
                    let begun = Instant::now();
                    end(&manager, (handle, trades));
                    let took = begun.elapsed();
                    assert!(took < SLACK, "{row} took {took:?}");
                    assert_eq!(
                        manager.health().streams.len(),
                        0,
                        "{row}: {:?}",
                        manager.health()
                    );
                    until_no_thread(&credentials);
                }
                drop(keep);
                // The peer is gone, and with it its sockets: nothing may be left of any of its streams.
                until(stall.name, || {
                    open_files() <= clean && all_threads() <= threads
                });
            }
        },
    );
}

#[test]
fn a_hundred_streams_leave_the_counts_of_threads_and_files_as_they_were() {
    alone(
        "lifecycle::a_hundred_streams_leave_the_counts_of_threads_and_files_as_they_were",
        || {
            let sim = quiet_sim();
            let credentials = credentials();
            let manager = Manager::new();
            let cycle = || {
                let handle = manager.open(&sim.stocks(), &credentials).unwrap();
                handle.wait_live(GENEROUS).unwrap();
                let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
                trades.wait_confirmed(GENEROUS).unwrap();
                drop(handle);
                drop(trades);
                until("the connection has ended", || {
                    sim.stats().connections_open == 0
                });
                until_no_thread(&credentials);
            };
            cycle();
            let before = (all_threads(), open_files());
            for _ in 0..100 {
                cycle();
            }
            until("the counts are back", || {
                all_threads() <= before.0 && open_files() <= before.1
            });
            assert_eq!(sim.stats().connections_opened, 101);
        },
    );
}

#[test]
fn an_idle_streams_thread_does_not_wake_up() {
    let sim = quiet_sim();
    let credentials = credentials();
    let handle = Manager::new().open(&sim.stocks(), &credentials).unwrap();
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(GENEROUS).unwrap();
    assert!(matches!(
        trades.recv_timeout(GENEROUS),
        Ok(Update::Notice(_))
    ));
    // Until it has gone back to its poller.
    assert!(trades.recv_timeout(Duration::from_millis(300)).is_err());
    let threads = stream_threads(&credentials);
    let [thread] = &threads[..] else {
        panic!("{threads:?}")
    };
    let wakes = || status_of(thread, "voluntary_ctxt_switches");
    let before = wakes();
    // A reader that waits must not wake it either.
    assert_eq!(
        trades.recv_timeout(Duration::from_secs(5)).unwrap_err(),
        RecvTimeoutError::Timeout
    );
    assert_eq!(wakes() - before, 0, "it woke up for nothing");
    assert_eq!(handle.phase(), Phase::Live);
}

#[test]
fn a_stream_in_backoff_sleeps_until_its_next_attempt() {
    let credentials = credentials();
    let handle = open(&patient(), &refusing(), &credentials);
    until("it waits", || handle.phase() == Phase::Waiting);
    let threads = stream_threads(&credentials);
    let [thread] = &threads[..] else {
        panic!("{threads:?}")
    };
    let (pause, paused) = crossbeam_channel::bounded::<()>(0);
    let wait = |time| assert!(paused.recv_timeout(Duration::from_millis(time)).is_err());
    wait(200);
    let before = status_of(thread, "voluntary_ctxt_switches");
    assert!(matches!(
        handle
            .wait_live(Duration::from_millis(1_500))
            .as_ref()
            .map_err(Error::kind),
        Err(ErrorKind::TimedOut { .. })
    ));
    assert_eq!(status_of(thread, "voluntary_ctxt_switches"), before);
    drop(pause);
}

/// Whoever waits sleeps until what he waits for, or his deadline: he does not look again and again.
#[test]
fn a_thread_that_waits_for_a_stream_does_not_wake_up_either() {
    const TIME: Duration = Duration::from_millis(500);
    const SECOND: Duration = Duration::from_secs(1);
    let sim = quiet_sim();
    let live = Manager::new().open(&sim.stocks(), &credentials()).unwrap();
    let trades = live.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(GENEROUS).unwrap();
    let told = trades.recv_timeout(GENEROUS);
    assert!(matches!(told, Ok(Update::Notice(_))), "{told:?}");
    let book = live.price_book(["MSFT"]).unwrap();
    let failing = open(&patient(), &refusing(), &credentials());
    let unconfirmed = failing.subscribe(alpaca::trades(["AAPL"])).unwrap();

    let (peer, say) = speaker();
    let (entered, in_session) = crossbeam_channel::bounded::<()>(1);
    let (unblock, blocked) = crossbeam_channel::bounded::<()>(1);
    let venue = parrot(&peer, move |_| {
        entered.send(()).unwrap();
        blocked.recv_timeout(GENEROUS).unwrap();
    });
    let (manager, key) = (Manager::with_config(patient()).unwrap(), credentials());
    let stuck = manager.open(&venue, &key).unwrap();
    stuck.wait_live(GENEROUS).unwrap();
    say.send("block").unwrap();
    in_session.recv_timeout(GENEROUS).unwrap();

    let push_later = || {
        let (_pause, paused) = crossbeam_channel::bounded::<()>(0);
        let _ = paused.recv_timeout(TIME);
        sim.send_raw(format!("[{}]", trade(1)));
    };
    type Wait<'a> = Box<dyn FnOnce() -> bool + 'a>;
    let waits: [(&str, Wait<'_>); 9] = [
        (
            "recv_timeout",
            Box::new(|| trades.recv_timeout(TIME).is_err()),
        ),
        (
            "recv_deadline",
            Box::new(|| trades.recv_deadline(Instant::now() + TIME).is_err()),
        ),
        (
            "recv",
            Box::new(|| {
                std::thread::scope(|scope| {
                    scope.spawn(push_later);
                    trades.recv().is_ok()
                })
            }),
        ),
        (
            "next",
            Box::new(|| {
                std::thread::scope(|scope| {
                    scope.spawn(push_later);
                    trades.iter().next().is_some()
                })
            }),
        ),
        ("wait_live", Box::new(|| failing.wait_live(TIME).is_err())),
        (
            "wait_confirmed",
            Box::new(|| unconfirmed.wait_confirmed(TIME).is_err()),
        ),
        (
            "wait_price",
            Box::new(|| book.wait_price("MSFT", SECOND, TIME).is_err()),
        ),
        ("close", Box::new(|| stuck.close(TIME).is_err())),
        (
            "open",
            Box::new(|| manager.open_timeout(&venue, &key, TIME).is_err()),
        ),
    ];
    let wakes = || status_of("/proc/thread-self".as_ref(), "voluntary_ctxt_switches");
    for (name, wait) in waits {
        let (begun, before) = (Instant::now(), wakes());
        assert!(wait(), "{name}");
        let woke = wakes() - before;
        assert!(begun.elapsed() >= TIME, "{name} did not wait");
        // Going to sleep is one; others are for a lock, or for a thread that was started.
        assert!(woke <= 10, "{name} woke up {woke} times");
    }
    unblock.send(()).unwrap();
    until_no_thread(&key);
}

// Time-outs.

#[test]
fn wait_live_says_the_stream_the_phase_the_last_cause_and_the_next_attempt() {
    let credentials = credentials();
    let handle = open(&patient(), &refusing(), &credentials);
    until("it waits", || handle.phase() == Phase::Waiting);
    let error = handle.wait_live(Duration::from_millis(50)).unwrap_err();
    match error.kind() {
        ErrorKind::TimedOut {
            doing,
            retry_in,
            cause,
            ..
        } => {
            assert_eq!(*doing, Doing::WaitingForLive);
            assert_eq!(
                (error.at().stream.as_ref(), error.at().phase),
                (Some(handle.key()), Some(Phase::Waiting))
            );
            assert!(retry_in.is_some_and(|wait| wait <= NEVER));
            let cause = cause.as_ref().unwrap();
            assert_eq!(cause.code(), "unreachable", "{cause:?}");
            assert_eq!(cause.phase(), Some(Phase::Connecting));
        }
        _ => panic!("{error:?}"),
    }
}

#[test]
fn wait_live_times_out_while_the_venue_says_nothing() {
    let peer = Peer::start(|line| {
        let _venue = line.venue();
        line.hold();
    });
    let handle = open(&patient(), &peer.stocks(), &credentials());
    until("it is upgraded", || handle.phase() == Phase::Authenticating);
    let bound = Duration::from_millis(200);
    let begun = Instant::now();
    let error = handle.wait_live(bound).unwrap_err();
    match error.kind() {
        ErrorKind::TimedOut { cause, .. } => {
            assert_eq!(error.at().phase, Some(Phase::Authenticating));
            assert!(cause.is_none(), "nothing has failed yet: {cause:?}");
        }
        _ => panic!("{error:?}"),
    }
    assert!((bound..bound + SLACK).contains(&begun.elapsed()));
}

#[test]
fn waiters_are_woken_by_what_they_wait_for_and_not_by_their_time_out() {
    let (go, may_go) = crossbeam_channel::bounded::<()>(1);
    let peer = Peer::start(move |line| {
        let mut venue = line.venue();
        may_go.recv_timeout(GENEROUS).unwrap();
        venue.log_in();
        venue.confirm();
        venue.say(format!("[{}]", trade(1)));
        venue.serve();
    });
    let handle = open(&patient(), &peer.stocks(), &credentials());
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let (waits, waiting) = crossbeam_channel::unbounded();
    let live = spawn({
        let (handle, waits) = (handle.clone(), waits.clone());
        move || {
            waits.send(()).unwrap();
            handle.wait_live(NEVER).unwrap();
        }
    });
    let confirmed = spawn(move || {
        waits.send(()).unwrap();
        trades.wait_confirmed(NEVER).unwrap();
        let ids: Vec<_> = trades
            .iter()
            .filter_map(|update| common::trade_id(&update))
            .take(1)
            .collect();
        (ids, trades)
    });
    for _ in 0..2 {
        waiting.recv_timeout(GENEROUS).unwrap();
    }
    until("it is upgraded", || handle.phase() == Phase::Authenticating);
    go.send(()).unwrap();
    until("both are woken", || {
        live.is_finished() && confirmed.is_finished()
    });
    live.join().unwrap();
    let (ids, trades) = confirmed.join().unwrap();
    assert_eq!(ids, [1]);
    drop(trades);
    drop(handle);
}

#[test]
fn the_whole_set_up_has_one_deadline_however_its_steps_drip() {
    // Each step takes 300 ms or more, and each byte of the upgrade arrives in time for itself.
    let peer = Peer::start(|mut line| {
        let key = line.request();
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            tungstenite::handshake::derive_accept_key(key.as_bytes())
        );
        let (_pause, paused) = crossbeam_channel::bounded::<()>(0);
        for byte in response.bytes() {
            let _ = paused.recv_timeout(Duration::from_millis(100));
            if std::io::Write::write_all(&mut line.stream, &[byte]).is_err() {
                return;
            }
        }
    });
    let mut config = patient();
    config.setup_timeout = Duration::from_millis(700);
    let begun = Instant::now();
    let handle = open(&config, &peer.stocks(), &credentials());
    let error = common::failure(&handle);
    let took = begun.elapsed();
    assert!(took >= config.setup_timeout, "{took:?}: {error:?}");
    assert!(took < config.setup_timeout + SLACK, "{took:?}: {error:?}");
    assert_eq!(error.phase(), Some(Phase::Upgrading), "{error:?}");
    assert!(error.is_retryable(), "{error:?}");
}

#[test]
fn wait_confirmed_says_the_stream_the_phase_and_the_last_cause() {
    // The first connection is lost when it is asked for something; the second never answers.
    let peer = Peer::live(|line, venue| {
        venue.hear();
        if line.number > 0 {
            line.hold();
        }
    });
    let mut config = Config::default();
    config.backoff.initial = Duration::from_millis(1);
    config.request_timeout = NEVER;
    let handle = open(&config, &peer.stocks(), &credentials());
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    until("the second connection is live", || {
        handle.health().epoch == 2
    });
    let bound = Duration::from_millis(200);
    let begun = Instant::now();
    let error = trades.wait_confirmed(bound).unwrap_err();
    match error.kind() {
        ErrorKind::TimedOut { doing, cause, .. } => {
            assert_eq!(*doing, Doing::WaitingForConfirmation);
            assert_eq!(
                (error.at().stream.as_ref(), error.at().phase),
                (Some(handle.key()), Some(Phase::Live))
            );
            let cause = cause.as_ref().unwrap();
            assert_eq!(cause.code(), "lost", "{cause:?}");
        }
        _ => panic!("{error:?}"),
    }
    assert!((bound..bound + SLACK).contains(&begun.elapsed()));
    match trades.recv_timeout(GENEROUS).unwrap() {
        Update::Gap(gap) => assert_eq!(gap.cause.code(), "lost", "{:?}", gap.cause),
        _ => panic!("{error:?}"),
    }
    let begun = Instant::now();
    assert_eq!(
        trades.recv_timeout(bound).unwrap_err(),
        RecvTimeoutError::Timeout
    );
    assert!((bound..bound + SLACK).contains(&begun.elapsed()));
    assert!(trades.recv_deadline(Instant::now()).is_err());
}

#[test]
fn a_line_on_which_no_request_is_answered_is_given_up() {
    let peer = Peer::live(|line, venue| {
        venue.hear();
        line.hold();
    });
    let mut config = patient();
    config.request_timeout = Duration::from_millis(300);
    let handle = open(&config, &peer.stocks(), &credentials());
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    until("the line is given up", || handle.phase() == Phase::Waiting);
    let error = trades.wait_confirmed(Duration::ZERO).unwrap_err();
    assert_eq!(error.stream(), Some(handle.key()), "{error:?}");
    assert_eq!(error.code(), "timed_out", "{error:?}");
    let text = error.to_string();
    assert!(text.contains("the venue answers no requests"), "{text}");
}

#[test]
fn close_that_runs_out_of_time_says_so_and_the_stream_still_ends() {
    let peer = Peer::live(|mut line, _| {
        line.drain();
        line.hold();
    });
    let mut config = patient();
    config.close_timeout = Duration::from_secs(2);
    let credentials = credentials();
    let handle = open(&config, &peer.stocks(), &credentials);
    handle.wait_live(GENEROUS).unwrap();
    let key = handle.key().clone();
    let error = handle.close(Duration::from_millis(100)).unwrap_err();
    match error.kind() {
        ErrorKind::TimedOut { doing, .. } => {
            assert_eq!((*doing, error.stream()), (Doing::Closing, Some(&key)));
            assert_eq!(error.at().phase, Some(Phase::Closing));
        }
        _ => panic!("{error:?}"),
    }
    until_no_thread(&credentials);
}

/// `LineClosed` means that the line is gone, whoever ends it.
#[test]
fn close_waits_for_a_shutdown_that_somebody_else_makes() {
    let peer = Peer::live(|mut line, _| {
        line.drain();
        line.hold();
    });
    let mut config = patient();
    config.close_timeout = NEVER;
    let credentials = credentials();
    let manager = Manager::with_config(config).unwrap();
    let handle = manager.open(&peer.stocks(), &credentials).unwrap();
    handle.wait_live(GENEROUS).unwrap();
    let shutdown = {
        let manager = manager.clone();
        spawn(move || manager.shutdown(GENEROUS))
    };
    until("the shutdown has begun", || {
        handle.health().draining_for.is_some()
    });
    let early = handle.clone().close(Duration::ZERO);
    assert!(
        matches!(
            early.as_ref().map_err(Error::kind),
            Err(ErrorKind::TimedOut {
                doing: Doing::Closing,
                ..
            })
        ),
        "{early:?}"
    );
    // The socket ends, and with it the wait for the close.
    drop(peer);
    handle.close(GENEROUS).unwrap();
    assert!(manager.health().streams.is_empty());
    assert!(shutdown.join().unwrap()[0].stuck.is_none());
    until_no_thread(&credentials);
}

#[test]
fn a_line_that_ended_by_itself_is_closed_for_each_of_its_holders() {
    let peer = Peer::start(|line| {
        let mut venue = line.venue();
        venue.welcome();
        venue.hear();
        venue.say(r#"[{"T":"error","code":402,"msg":"auth failed"}]"#);
        venue.serve();
    });
    let handle = open(&patient(), &peer.stocks(), &credentials());
    let other = handle.clone();
    until("it has ended", || handle.end_reason().is_some());
    for handle in [handle, other] {
        handle.close(Duration::ZERO).unwrap();
    }
}

#[test]
fn shutdown_ends_all_streams_at_the_same_time_and_reports_each() {
    const STREAMS: usize = 10;
    let each = Duration::from_secs(1);
    let peer = Peer::live(|mut line, _| {
        line.drain();
        line.hold();
    });
    let mut config = patient();
    config.close_timeout = each;
    let manager = Manager::with_config(config).unwrap();
    let all: Vec<_> = (0..STREAMS).map(|_| credentials()).collect();
    let handles: Vec<_> = all
        .iter()
        .map(|credentials| manager.open(&peer.stocks(), credentials).unwrap())
        .collect();
    for handle in &handles {
        handle.wait_live(GENEROUS).unwrap();
    }
    let begun = Instant::now();
    let mut report = manager.shutdown(GENEROUS);
    let took = begun.elapsed();
    assert!(took >= each, "nobody waited for the peer's end: {took:?}");
    assert!(
        took < each * (STREAMS as u32) / 2,
        "one after the other: {took:?}"
    );
    report.sort_by(|one, two| one.stream.cmp(&two.stream));
    let mut keys: Vec<_> = handles.iter().map(|handle| handle.key().clone()).collect();
    keys.sort();
    assert!(report.iter().map(|end| &end.stream).eq(&keys));
    assert!(report.iter().all(|end| end.stuck.is_none()));
    assert!(
        handles
            .iter()
            .all(|handle| matches!(handle.end_reason(), Some(EndReason::Closed)))
    );
    all.iter().for_each(until_no_thread);
    assert!(manager.shutdown(GENEROUS).is_empty(), "nothing is left");
}

#[test]
fn a_shutdown_guard_ends_what_is_still_held() {
    let sim = quiet_sim();
    let credentials = credentials();
    let manager = Manager::new();
    let guard = manager.shutdown_guard(GENEROUS);
    let handle = manager.open(&sim.stocks(), &credentials).unwrap();
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(GENEROUS).unwrap();
    drop(guard);
    until_no_thread(&credentials);
    let ends = trades.iter().fold(0, |ends, update| match update {
        Update::Ended(end) => {
            end.into_result().unwrap();
            ends + 1
        }
        _ => ends,
    });
    assert_eq!(ends, 1);
    // Those that hold the ended stream do not stand in the way.
    let next = manager.open(&sim.stocks(), &credentials).unwrap();
    next.wait_live(GENEROUS).unwrap();
    assert_eq!(sim.stats().most_open_per_key, 1);
}

// User code on the stream's thread.

#[test]
fn a_panic_on_the_streams_thread_ends_every_wait_and_frees_the_key() {
    let (peer, say) = speaker();
    let credentials = credentials();
    let manager = Manager::with_config(patient()).unwrap();
    let mut venue = parrot(&peer, |word| {
        if word == "boom" {
            // Unwinds like any panic, but prints nothing.
            std::panic::resume_unwind(Box::new("a session's own bug"));
        }
    });
    venue.ready = false;
    let handle = manager.open(&venue, &credentials).unwrap();
    let subscription = handle.subscribe(speech()).unwrap();
    let second = handle.subscribe(speech()).unwrap();
    let waits = [
        spawn({
            let handle = handle.clone();
            move || handle.wait_live(GENEROUS).unwrap_err()
        }),
        spawn(move || subscription.wait_confirmed(GENEROUS).unwrap_err()),
        spawn(move || {
            let mut updates = second.iter();
            match updates.next() {
                Some(Update::Ended(end)) => end.into_result().unwrap_err(),
                other => panic!("{other:?}"),
            }
        }),
    ];
    until("it is upgraded", || handle.phase() == Phase::Authenticating);
    say.send("boom").unwrap();
    for wait in waits {
        match wait.join().unwrap() {
            error if matches!(error.kind(), ErrorKind::Panicked { .. }) => {
                assert_eq!(error.stream(), Some(handle.key()));
                assert_eq!(error.remedy(), Remedy::ReportBug);
                assert!(
                    error.to_string().contains("a session's own bug"),
                    "{error:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        matches!(handle.end_reason(), Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Panicked { .. }))
    );
    assert!(matches!(
        handle.subscribe(speech()).as_ref().map_err(Error::kind),
        Err(ErrorKind::Panicked { .. })
    ));
    until_no_thread(&credentials);
    // The key is free, and the ended stream's holders are not in the way.
    let next = manager.open(&parrot(&peer, |_| {}), &credentials).unwrap();
    next.wait_live(GENEROUS).unwrap();
    let heard = next.subscribe(speech()).unwrap();
    heard.wait_confirmed(GENEROUS).unwrap();
    say.send("hello").unwrap();
    let said = loop {
        if let Some(event) = heard.recv_timeout(GENEROUS).unwrap().event().unwrap() {
            break event;
        }
    };
    assert_eq!(said.data, Said("hello".to_owned()));
    drop(handle);
    next.wait_live(Duration::ZERO).unwrap();
}

#[test]
fn a_stream_whose_session_blocks_is_not_forgotten() {
    let (peer, say) = speaker();
    let (entered, in_session) = crossbeam_channel::bounded::<()>(1);
    let (unblock, blocked) = crossbeam_channel::bounded::<()>(1);
    let credentials = credentials();
    let mut config = patient();
    config.release_timeout = Duration::from_millis(300);
    let manager = Manager::with_config(config).unwrap();
    let venue = parrot(&peer, move |_| {
        entered.send(()).unwrap();
        blocked.recv_timeout(GENEROUS).unwrap();
    });
    let handle = manager.open(&venue, &credentials).unwrap();
    handle.wait_live(GENEROUS).unwrap();
    let generation = handle.health().generation;
    say.send("block").unwrap();
    in_session.recv_timeout(GENEROUS).unwrap();

    let begun = Instant::now();
    drop(handle);
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < SLACK,
        "{took:?}"
    );
    let health = manager.health().streams;
    assert_eq!(health.len(), 1, "it is forgotten");
    assert!(
        health[0]
            .draining_for
            .is_some_and(|time| time >= Duration::from_millis(300)),
        "{health:?}"
    );
    assert_eq!((health[0].leases, health[0].generation), (0, generation));
    assert_eq!(health[0].phase, Phase::Live, "the phase it is stuck in");
    assert_eq!(stream_threads(&credentials).len(), 1);

    let begun = Instant::now();
    let error = manager
        .open_timeout(&venue, &credentials, Duration::from_millis(200))
        .unwrap_err();
    match error.kind() {
        ErrorKind::Draining { waited, .. } => {
            assert_eq!(error.at().phase, Some(Phase::Live));
            assert!(*waited >= Duration::from_millis(500), "{waited:?}");
        }
        _ => panic!("{error:?}"),
    }
    assert!(begun.elapsed() < SLACK);
    let report = manager.shutdown(Duration::from_millis(50));
    assert_eq!(report.len(), 1, "a shutdown knows of it, too");
    assert_eq!(report[0].stuck, Some(Phase::Live));

    // One that waits gets the key when the session comes back.
    let opener = spawn({
        let (manager, venue, credentials) = (manager.clone(), venue.clone(), credentials.clone());
        move || manager.open_timeout(&venue, &credentials, GENEROUS)
    });
    unblock.send(()).unwrap();
    let next = opener.join().unwrap().unwrap();
    next.wait_live(GENEROUS).unwrap();
    assert_ne!(next.health().generation, generation);
    until("the old thread is gone", || {
        stream_threads(&credentials).len() == 1
    });
    drop(next);
    until_no_thread(&credentials);
}

/// A destructor of a thread's local is user code, too: whoever lets go waits for it as long as the bound says, and the
/// key is taken until it has run.
#[test]
fn a_destructor_on_the_streams_thread_is_inside_the_bound() {
    struct Slow(
        crossbeam_channel::Sender<()>,
        crossbeam_channel::Receiver<()>,
    );
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            let _ = self.1.recv_timeout(GENEROUS);
        }
    }
    thread_local! {
        static SLOW: std::cell::RefCell<Option<Slow>> = const { std::cell::RefCell::new(None) };
    }
    let (peer, say) = speaker();
    let (entered, in_drop) = crossbeam_channel::bounded::<()>(1);
    let (unblock, blocked) = crossbeam_channel::bounded::<()>(1);
    let (planted, is_planted) = crossbeam_channel::bounded::<()>(1);
    let credentials = credentials();
    let manager = Manager::with_config(patient()).unwrap();
    let venue = parrot(&peer, move |_| {
        let slow = Slow(entered.clone(), blocked.clone());
        SLOW.with(|place| *place.borrow_mut() = Some(slow));
        planted.send(()).unwrap();
    });
    let handle = manager.open(&venue, &credentials).unwrap();
    handle.wait_live(GENEROUS).unwrap();
    say.send("plant").unwrap();
    is_planted.recv_timeout(GENEROUS).unwrap();
    let begun = Instant::now();
    let error = handle.close(Duration::from_millis(200)).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TimedOut { .. }),
        "{error:?}"
    );
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    in_drop.recv_timeout(GENEROUS).unwrap();
    assert_eq!(manager.health().streams.len(), 1, "it is forgotten");
    let error = manager
        .open_timeout(&venue, &credentials, Duration::ZERO)
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Draining { .. }),
        "{error:?}"
    );
    unblock.send(()).unwrap();
    let next = manager
        .open_timeout(&venue, &credentials, GENEROUS)
        .unwrap();
    next.wait_live(GENEROUS).unwrap();
}

#[test]
fn the_last_hold_can_go_on_the_streams_own_thread() {
    let (peer, say) = speaker();
    let credentials = credentials();
    type Place = Arc<Mutex<Option<(StreamHandle<Parrot>, Subscription<Said>)>>>;
    let place = Place::default();
    let (dropped, was_dropped) = crossbeam_channel::bounded(1);
    let venue = parrot(&peer, {
        let place = Arc::clone(&place);
        move |_| {
            let begun = Instant::now();
            let held = place.lock().take();
            if let Some((handle, subscription)) = held {
                drop(subscription);
                // It is not gone, since this runs on it.
                let closed = handle.close(GENEROUS);
                assert!(
                    matches!(
                        closed.as_ref().map_err(Error::kind),
                        Err(ErrorKind::TimedOut { .. })
                    ),
                    "{closed:?}"
                );
            }
            dropped.send(begun.elapsed()).unwrap();
        }
    });
    let mut config = patient();
    config.release_timeout = GENEROUS;
    let manager = Manager::with_config(config).unwrap();
    let handle = manager.open(&venue, &credentials).unwrap();
    let subscription = handle.subscribe(speech()).unwrap();
    subscription.wait_confirmed(GENEROUS).unwrap();
    *place.lock() = Some((handle, subscription));
    say.send("let go").unwrap();
    let took = was_dropped.recv_timeout(GENEROUS).unwrap();
    assert!(took < SLACK, "it waited for itself: {took:?}");
    until_no_thread(&credentials);
    until("the key is free", || manager.health().streams.is_empty());
    let next = manager.open(&venue, &credentials).unwrap();
    next.wait_live(GENEROUS).unwrap();
}
