//! Price books over real sockets: whole quotes under load, waits that end, and the lease.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

use std::{
    net::TcpListener,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::common::{GENEROUS, Peer, credentials, patient, quiet_sim, until, until_no_thread};
use trunkline::{
    Channel, Config, Credentials, Decimal, EndReason, Endpoint, Error, ErrorKind, Manager,
    MarketEvent, Notice, Phase, PriceBook, StreamHandle, Topic, Trade,
    alpaca::{self, Feed, MarketData},
    event::{Concerns, Unparsed},
    market::{BARS, QUOTES, TRADES},
    price::{Lack, Obstacle, PriceSource, Reading},
    sim::{Sim, SimConfig},
    testing,
    venue::{Context, Frame, Request, Session, Venue},
};

const LONG: Duration = Duration::from_secs(3_600);

fn open(sim: &Sim, credentials: &Credentials) -> StreamHandle<MarketData> {
    let mut config = Config::default();
    config.backoff.initial = Duration::from_millis(5);
    config.backoff.cap = Duration::from_millis(10);
    Manager::with_config(config)
        .unwrap()
        .open(&sim.stocks(), credentials)
        .unwrap()
}

fn confirmed(book: &PriceBook) {
    until("the venue has confirmed the book", || {
        book.unconfirmed().is_empty()
    });
}

/// A quote whose fields all follow from `number`.
fn quote(symbol: &str, number: u64) -> String {
    let (bid, size) = (number + 1, number + 2);
    let ask = number + 3;
    format!(
        r#"{{"T":"q","S":"{symbol}","bx":"V","bp":{bid},"bs":{size},"ax":"Q","ap":{ask}.25,"as":{number},"c":["R"],"z":"C","t":"2026-03-17T14:30:05Z"}}"#
    )
}

fn trade(symbol: &str, number: u64) -> String {
    let size = number + 2;
    format!(
        r#"{{"T":"t","S":"{symbol}","i":{number},"x":"V","p":{number}.5,"s":{size},"c":["@"],"z":"C","t":"2026-03-17T14:30:05Z"}}"#
    )
}

/// Four threads' worth of quotes and trades, a symbol each, read by eight threads. Every value read is one that was
/// sent, whole, and none is older than one that was read before.
#[test]
fn readers_see_whole_values_in_order_whatever_is_written() {
    const SYMBOLS: [&str; 4] = ["A", "B", "C", "D"];
    const FRAMES: u64 = 500;
    const PER_FRAME: u64 = 10;
    let mut config = SimConfig::default();
    config.rate = 0;
    // As much may wait for the client as there is to send: it shares the machine with eight that hardly rest.
    config.output_limit = 1 << 30;
    let sim = Sim::start(config).unwrap();
    let feed = open(&sim, &credentials());
    let book = feed.price_book(SYMBOLS).unwrap();
    confirmed(&book);
    let is_done = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let prices = SYMBOLS.map(|symbol| book.symbol(symbol).unwrap());
                let mut newest = [[Decimal::ZERO; 2]; 4];
                let one = Decimal::ONE;
                while !is_done.load(Ordering::Relaxed) {
                    for (price, [bid, last]) in prices.iter().zip(&mut newest) {
                        if let Reading::Fresh(quote) = price.quote(LONG) {
                            assert_eq!(quote.bid_size, quote.bid_price + one, "{quote}");
                            assert_eq!(quote.ask_size, quote.bid_price - one, "{quote}");
                            let ask = quote.bid_price + Decimal::new(225, 2);
                            assert_eq!(quote.ask_price, ask, "{quote}");
                            assert!(quote.bid_price >= *bid, "{quote} after {bid}");
                            seen.fetch_add(u64::from(quote.bid_price > *bid), Ordering::Relaxed);
                            *bid = quote.bid_price;
                        }
                        if let Reading::Fresh(trade) = price.trade(LONG) {
                            assert_eq!(trade.size, trade.price + Decimal::new(15, 1), "{trade}");
                            assert!(trade.price >= *last, "{trade} after {last}");
                            *last = trade.price;
                        }
                    }
                    // The machine may have fewer cores than there are readers.
                    thread::yield_now();
                }
            });
        }
        for symbol in SYMBOLS {
            let sim = &sim;
            scope.spawn(move || {
                for frame in 0..FRAMES {
                    let numbers = (1..=PER_FRAME).map(|number| frame * PER_FRAME + number);
                    let items: Vec<_> = numbers
                        .flat_map(|number| [quote(symbol, number), trade(symbol, number)])
                        .collect();
                    sim.send_raw(format!("[{}]", items.join(",")));
                }
            });
        }
        // Also where the wait below fails: the scope ends when its threads have.
        let _done = SetWhenDropped(&is_done);
        let last = Decimal::from(FRAMES * PER_FRAME + 1);
        until("the last quotes have come", || {
            SYMBOLS.iter().all(|symbol| {
                let quote = book.quote(symbol, LONG);
                quote.value().is_some_and(|quote| quote.bid_price == last)
            })
        });
    });
    assert!(seen.load(Ordering::Relaxed) > 100, "{seen:?}");
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_threads_that_wait_are_all_let_go_by_one_quote_and_those_of_another_symbol_are_not() {
    let sim = quiet_sim();
    let feed = open(&sim, &credentials());
    let book = feed.price_book(["A", "B"]).unwrap();
    confirmed(&book);
    let ready = Barrier::new(1_001);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..1_000)
            .map(|_| {
                scope.spawn(|| {
                    ready.wait();
                    book.wait_fresh("A", LONG, GENEROUS)
                })
            })
            .collect();
        let other = scope.spawn(|| book.wait_fresh("B", LONG, GENEROUS));
        ready.wait();
        sim.send_raw(format!("[{}]", quote("A", 7)));
        for thread in waiting {
            assert_eq!(thread.join().unwrap().unwrap().bid_price, 8.into());
        }
        assert!(!other.is_finished());
        sim.send_raw(format!("[{}]", quote("B", 1)));
        assert_eq!(other.join().unwrap().unwrap().bid_price, 2.into());
    });
}

#[test]
fn a_cut_line_cuts_every_value_until_its_next_one() {
    let sim = quiet_sim();
    let feed = open(&sim, &credentials());
    let book = feed.price_book(["A", "B"]).unwrap();
    confirmed(&book);
    sim.send_raw(format!("[{},{}]", quote("A", 1), quote("B", 1)));
    for symbol in ["A", "B"] {
        book.wait_fresh(symbol, LONG, GENEROUS).unwrap();
    }
    let mut phases = feed.phases();
    sim.cut();
    assert!(phases.any(|phase| phase != Phase::Live));
    // Whoever knows that the line is not live finds nothing fresh.
    let quote_a = book.quote("A", LONG);
    assert!(
        matches!(&quote_a, Reading::Cut(quote) if quote.epoch == 1),
        "{quote_a:?}"
    );
    assert!(matches!(
        book.best_price("B", LONG).as_ref().map_err(Error::kind),
        Err(ErrorKind::NotFresh { .. })
    ));
    confirmed(&book);
    assert!(matches!(book.quote("A", LONG), Reading::Cut(_)));
    sim.send_raw(format!("[{}]", quote("A", 2)));
    let fresh = book.wait_price("A", LONG, GENEROUS).unwrap();
    assert_eq!((fresh.epoch, fresh.source), (2, PriceSource::Mid));
    assert!(matches!(book.quote("B", LONG), Reading::Cut(_)));
}

#[test]
fn a_shutdown_ends_every_wait_at_once_and_leaves_nothing_fresh() {
    let sim = quiet_sim();
    let credentials = credentials();
    let manager = Manager::new();
    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    let book = feed.price_book(["A", "B"]).unwrap();
    confirmed(&book);
    sim.send_raw(format!("[{}]", quote("A", 1)));
    book.wait_fresh("A", LONG, GENEROUS).unwrap();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| book.wait_price("B", LONG, Duration::MAX)))
            .collect();
        manager.shutdown(GENEROUS);
        for thread in waiting {
            let error = thread.join().unwrap().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
        }
    });
    assert!(matches!(feed.end_reason(), Some(EndReason::Closed)));
    assert!(matches!(book.quote("A", LONG), Reading::Cut(_)));
    assert!(matches!(
        book.add(["C"]).as_ref().map_err(Error::kind),
        Err(ErrorKind::Closed)
    ));
    assert!(matches!(
        feed.price_book(["C"]).as_ref().map_err(Error::kind),
        Err(ErrorKind::Closed)
    ));
}

#[test]
fn a_wait_that_times_out_names_the_phase_the_last_cause_and_the_next_attempt() {
    let endpoint = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("ws://{}/v2/iex", listener.local_addr().unwrap())
    };
    let venue = alpaca::stocks(Feed::Iex).at(endpoint.parse().unwrap());
    let manager = Manager::with_config(patient()).unwrap();
    let feed = manager.open(&venue, &credentials()).unwrap();
    let book = feed.price_book(["A"]).unwrap();
    until("the first attempt has failed", || {
        feed.phase() == Phase::Waiting
    });
    let started = Instant::now();
    let timeout = Duration::from_millis(50);
    let error = book.wait_price("A", LONG, timeout).unwrap_err();
    assert!(started.elapsed() >= timeout);
    let ErrorKind::NoPrice {
        obstacle, cause, ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert!(
        matches!(obstacle, Obstacle::Line { retry_in: Some(_) }),
        "{error:?}"
    );
    assert!(
        matches!(
            cause.as_ref().map(Error::kind),
            Some(ErrorKind::Unreachable { .. })
        ),
        "{error:?}"
    );
    assert_eq!(error.phase(), Some(Phase::Waiting));
    assert!(error.is_retryable());
}

#[test]
fn the_last_clone_ends_the_stream_and_a_symbols_handle_is_one() {
    let sim = quiet_sim();
    let credentials = credentials();
    let feed = open(&sim, &credentials);
    let book = feed.price_book(["A"]).unwrap();
    let price = book.symbol("A").unwrap();
    let clone = book.clone();
    drop(feed);
    confirmed(&book);
    drop(book);
    drop(clone);
    sim.send_raw(format!("[{}]", quote("A", 1)));
    price.wait_fresh(LONG, GENEROUS).unwrap();
    assert_eq!(sim.stats().connections_open, 1);
    drop(price);
    until_no_thread(&credentials);
    until("the simulator has seen the end", || {
        sim.stats().connections_open == 0
    });
}

fn quote_event(symbol: &str, bid: i64) -> MarketEvent {
    testing::quote(symbol, bid, bid + 1).into()
}

fn trade_event(symbol: &str, price: i64) -> MarketEvent {
    trade_of(symbol, price).into()
}

/// A trade by the price that is its id.
fn trade_of(symbol: &str, price: i64) -> Trade {
    let mut trade = testing::trade(symbol, price, 1);
    trade.id = Some(price);
    trade
}

/// Which of the readings of A and B are not fresh for something that could not be read.
fn missed(book: &PriceBook) -> Vec<&'static str> {
    let mut missed = Vec::new();
    for (symbol, quote, trade) in [("A", "quote A", "trade A"), ("B", "quote B", "trade B")] {
        match book.quote(symbol, LONG) {
            Reading::Fresh(_) => {}
            Reading::Missed(_) => missed.push(quote),
            other => panic!("{other:?}"),
        }
        match book.trade(symbol, LONG) {
            Reading::Fresh(_) => {}
            Reading::Missed(_) => missed.push(trade),
            other => panic!("{other:?}"),
        }
    }
    missed
}

/// Every extent of what could not be read, and the readings that are not fresh for it, until the next event of their own
/// topic.
#[test]
fn what_could_not_be_read_makes_readings_not_fresh_until_their_next_event() {
    const ALL: [&str; 4] = ["quote A", "trade A", "quote B", "trade B"];
    let topic = |channel: Channel, symbol: &str| Concerns::Topic(Topic::new(channel, symbol));
    let table: [(Concerns, &[&str]); 10] = [
        (topic(QUOTES, "A"), &["quote A"]),
        (topic(TRADES, "A"), &["trade A"]),
        (topic(QUOTES, "*"), &["quote A", "quote B"]),
        (topic(QUOTES, "C"), &[]),
        (topic(BARS, "A"), &[]),
        (Concerns::Channel(QUOTES), &["quote A", "quote B"]),
        (Concerns::Channel(TRADES), &["trade A", "trade B"]),
        (Concerns::Channel(BARS), &[]),
        (Concerns::Everybody, &ALL),
        (Concerns::Nobody, &[]),
    ];
    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    let book = handle.price_book(["A", "B"]).unwrap();
    let unparsed = |concerns: &Concerns| {
        let unparsed = Unparsed::new(b"{}", "odd").concerning(concerns.clone());
        feed.notice(Notice::Unparsed(unparsed));
    };
    // Before anything came: not silent, but not read.
    unparsed(&Concerns::Everybody);
    for reading in ["A", "B"].map(|symbol| book.quote(symbol, LONG).fresh()) {
        let error = reading.unwrap_err();
        assert!(
            matches!(error.lack, Lack::Unparsed { age: None }),
            "{error}"
        );
    }
    for (concerns, expected) in table {
        for symbol in ["A", "B"] {
            feed.events([quote_event(symbol, 7), trade_event(symbol, 8)]);
        }
        assert_eq!(missed(&book), Vec::<&str>::new());
        unparsed(&concerns);
        assert_eq!(missed(&book), expected, "{concerns:?}");
        let heal: [(&str, MarketEvent); 4] = [
            ("quote A", quote_event("A", 9)),
            ("trade A", trade_event("A", 9)),
            ("quote B", quote_event("B", 9)),
            ("trade B", trade_event("B", 9)),
        ];
        let mut left = expected.to_vec();
        for (what, event) in heal {
            feed.event(event);
            left.retain(|missed| *missed != what);
            assert_eq!(missed(&book), left, "{concerns:?}, after {what}");
        }
    }
    // The next best price is one that is fresh, and the reason is that of the quote.
    unparsed(&topic(QUOTES, "A"));
    let best = book.best_price("A", LONG).unwrap();
    assert_eq!(best.source, PriceSource::LastTrade);
    unparsed(&topic(TRADES, "A"));
    let error = book.wait_price("A", LONG, Duration::ZERO).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("what came after the newest could not be read"),
        "{error}"
    );
}

/// A correction of a trade, or its cancel, changes nothing of what was missed after that trade.
#[test]
fn an_amendment_does_not_make_up_for_what_could_not_be_read() {
    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    let book = handle.price_book(["A"]).unwrap();
    feed.event(trade_event("A", 5));
    let concerns = Concerns::Topic(Topic::new(TRADES, "A"));
    feed.notice(Notice::Unparsed(
        Unparsed::new(b"{}", "odd").concerning(concerns),
    ));
    feed.event(testing::correction(&trade_of("A", 5), 6, 1));
    let reading = book.trade("A", LONG);
    assert!(
        matches!(&reading, Reading::Missed(trade) if trade.price == 6.into()),
        "{reading:?}"
    );
}

/// An amendment whose name, or that of the last trade, is not all there may be about that trade.
#[test]
fn a_trade_that_may_have_been_amended_is_not_fresh() {
    #[derive(Debug, PartialEq)]
    enum Is {
        Fresh,
        Missed,
        Gone,
    }
    let names = [
        ((Some(5), "V"), (Some(5), "V"), Is::Gone),
        ((Some(5), "V"), (Some(4), "V"), Is::Fresh),
        ((Some(5), "V"), (Some(5), "Q"), Is::Fresh),
        ((Some(5), "V"), (None, "V"), Is::Missed),
        ((Some(5), "V"), (Some(5), ""), Is::Missed),
        ((Some(5), "V"), (Some(4), ""), Is::Fresh),
        ((Some(5), ""), (Some(5), "V"), Is::Missed),
        ((None, "V"), (Some(5), "V"), Is::Missed),
        ((Some(5), ""), (Some(5), ""), Is::Gone),
    ];
    for (traded, amended, expected) in names {
        let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
        let book = handle.price_book(["A"]).unwrap();
        let mut trade = trade_of("A", 5);
        let mut cancel = testing::cancel(&trade);
        (trade.id, trade.exchange) = (traded.0, traded.1.into());
        feed.event(trade);
        (cancel.id, cancel.exchange) = (amended.0, amended.1.into());
        feed.event(cancel);
        let is = match book.trade("A", LONG) {
            Reading::Fresh(_) => Is::Fresh,
            Reading::Missed(_) => Is::Missed,
            Reading::Never(_) => Is::Gone,
            other => panic!("{other:?}"),
        };
        assert_eq!(is, expected, "{traded:?} {amended:?}");
    }
}

/// A protocol of somebody else's: a line of text is `quote SYMBOL BID`, and anything else cannot be read.
#[derive(Clone)]
struct Words(Endpoint);

struct WordsSession;

impl Venue for Words {
    type Event = MarketEvent;
    type Session = WordsSession;

    fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    fn canonical(&self, topic: &Topic) -> Topic {
        Topic::new(topic.channel, topic.symbol.to_ascii_uppercase())
    }

    fn session(&self, _: Credentials) -> WordsSession {
        WordsSession
    }
}

impl Session for WordsSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, cx: &mut Context<'_, MarketEvent>) {
        cx.up();
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        let text = std::str::from_utf8(frame.bytes()).unwrap();
        let mut words = text.split(' ');
        let (kind, symbol, bid) = (words.next(), words.next(), words.next());
        let concerns = match (kind, symbol, bid.map(str::parse)) {
            (Some("quote"), Some(symbol), Some(Ok(bid))) => {
                return cx.event(quote_event(symbol, bid));
            }
            (Some("quote"), Some(symbol), _) => Concerns::Topic(Topic::new(QUOTES, symbol)),
            (Some("quote"), None, _) => Concerns::Channel(QUOTES),
            _ => Concerns::Everybody,
        };
        cx.unparsed(Unparsed::new(text.as_bytes(), "not a quote").concerning(concerns));
    }

    fn request(&mut self, _: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        cx.confirmed(None);
    }
}

#[test]
fn a_book_of_a_venue_of_the_users_own_knows_of_what_that_could_not_read() {
    let (say, said) = crossbeam_channel::unbounded::<String>();
    let said = Arc::new(said);
    let peer = Peer::start(move |line| {
        let mut venue = line.venue();
        for text in said.iter() {
            venue.say(text);
        }
    });
    // Dropped before the peer, which waits for its script.
    let say = say;
    let endpoint: Endpoint = format!("ws://{}/words", peer.address()).parse().unwrap();
    let feed = Manager::new()
        .open(&Words(endpoint), &credentials())
        .unwrap();
    let book = feed.price_book(["A", "B"]).unwrap();
    confirmed(&book);
    let is_missed = |symbol| matches!(book.quote(symbol, LONG), Reading::Missed(_));
    for (odd, misses_b) in [("quote A x", false), ("quote", true), ("what", true)] {
        for symbol in ["A", "B"] {
            say.send(format!("quote {symbol} 7")).unwrap();
        }
        until("both are fresh", || {
            ["A", "B"]
                .iter()
                .all(|symbol| book.quote(symbol, LONG).is_fresh())
        });
        say.send(odd.to_owned()).unwrap();
        until("the book knows", || is_missed("A"));
        assert_eq!(is_missed("B"), misses_b, "{odd}");
        say.send("quote A 8".to_owned()).unwrap();
        book.wait_fresh("A", LONG, GENEROUS).unwrap();
        assert_eq!(is_missed("B"), misses_b, "{odd}");
    }
}

/// What the venue sends as `KO` may be asked for as `ko`.
#[test]
fn a_book_knows_a_symbol_by_every_spelling_that_the_venue_does() {
    let (said, heard) = crossbeam_channel::unbounded::<()>();
    let peer = Peer::start(move |line| {
        let mut venue = line.venue();
        venue.say("quote KO 61".to_owned());
        venue.say("quote PEP 152".to_owned());
        let _ = heard.recv();
    });
    let said = said;
    let endpoint: Endpoint = format!("ws://{}/words", peer.address()).parse().unwrap();
    let feed = Manager::new()
        .open(&Words(endpoint), &credentials())
        .unwrap();
    let book = feed.price_book(["ko", "KO"]).unwrap();
    assert_eq!(book.symbols(), ["KO"]);
    for spelling in ["ko", "KO", "Ko"] {
        book.wait_fresh(spelling, LONG, GENEROUS).unwrap();
        assert!(book.symbol(spelling).is_some());
    }
    book.add(["pep"]).unwrap();
    assert_eq!(book.symbols(), ["KO", "PEP"]);
    book.remove(["pep", "Ko"]).unwrap();
    assert_eq!(book.symbols(), [""; 0]);
    assert!(book.symbol("nobody's").is_none());
    drop(said);
}
