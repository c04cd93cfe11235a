//! `Debug` of every public type there is, of a life with a canary for credentials.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, Instant},
};

use trunkline::{
    Config, Credentials, Error, ErrorKind, Manager, MarketEvent, Notice, Overflow, Proxy, Update,
    alpaca::{self, Account, Feed},
    calendar::Calendar,
    config::{ProxyServer, Resolver},
    error::RejectionKind,
    event::Unparsed,
    market::TradeEvent,
    sim::{Accept, Fault, FaultKind, FaultScript, Sim, SimConfig},
    venue::{
        Frame, Message, Output, Piece, Request, RequestId, Rules, SecretMessage, Venue as _, Verb,
        Verdict,
    },
};

use crate::{
    canary::{Canary, ODD, PLAIN, assert_clean},
    support::{WAIT, eventually, quick},
    types,
};

/// What is shown of each type, by its name.
#[derive(Default)]
struct Shown(BTreeMap<String, String>);

impl Shown {
    fn add<T: Debug>(&mut self, value: &T) {
        let name = std::any::type_name::<T>();
        let name = name.split('<').next().unwrap();
        let name = name.rsplit("::").next().unwrap().to_owned();
        let text = self.0.entry(name).or_default();
        *text += &format!("{value:?} {value:#?}\n");
    }

    fn error(&mut self, error: &Error) {
        self.add(error);
        self.add(error.kind());
        self.add(&error.remedy());
        if let ErrorKind::Rejected { rejection } = error.kind() {
            self.add(error.at());
            self.add(rejection);
            self.add(&rejection.kind);
        }
        if let ErrorKind::InvalidCredentials { fault, .. } = error.kind() {
            self.add(fault);
        }
        if let ErrorKind::Unreachable { source, .. } = error.kind() {
            self.add(source);
        }
        if let ErrorKind::TimedOut { doing, cause, .. } = error.kind() {
            self.add(doing);
            cause.iter().for_each(|cause| self.error(cause));
        }
        if let ErrorKind::SettingsConflict { differences } = error.kind() {
            differences.iter().for_each(|setting| self.add(setting));
        }
        if let ErrorKind::GaveUp { cause, .. } = error.kind() {
            self.error(cause);
        }
    }

    fn update(&mut self, update: &Update<TradeEvent>) {
        self.add(update);
        match update {
            Update::Event(event) => {
                self.add(event);
                self.add(&**event);
            }
            Update::Gap(gap) => {
                self.add(gap);
                self.add(&gap.what);
                self.error(&gap.cause);
            }
            Update::Dropped(dropped) => self.add(&dropped.what),
            Update::Notice(notice) => {
                self.add(&notice.what);
                if let Notice::Unparsed(unparsed) = &notice.what {
                    self.add(unparsed);
                }
            }
            Update::Ended(ended) => {
                self.add(&ended.what);
                self.add(&ended.reason);
            }
        }
    }
}

#[test]
fn debug_of_every_public_type_shows_no_secret() {
    for canary in [PLAIN, ODD] {
        let mut shown = Shown::default();
        values(&mut shown);
        contract(&mut shown, canary);
        simulator(&mut shown, canary);
        life(&mut shown, canary);
        errors(&mut shown, canary);
        for (name, text) in &shown.0 {
            assert_clean(canary, &format!("{name}: {text}"));
        }
        let names: Vec<_> = shown.0.keys().map(String::as_str).collect();
        assert_eq!(names, types::SHOWN.split_whitespace().collect::<Vec<_>>());
    }
}

// ---------------------------------------------------------------------------------------------------------- the values

fn values(shown: &mut Shown) {
    let calendar = Calendar::us_equities();
    shown.add(&calendar);
    let config = Config::default();
    shown.add(&config.backoff);
    shown.add(&Rules::new());
    shown.add(&config.roots);
    shown.add(&config.resolver);
    shown.add(&config.queue);
    shown.add(&config);
    let topics = alpaca::trades(["AAPL"]);
    let topic = topics.iter().next().unwrap().clone();
    shown.add(&topic.channel);
    shown.add(&topic);
    shown.add(&topics);
}

// -------------------------------------------------------------------------------------- the contract and the simulator

fn contract(shown: &mut Shown, canary: Canary) {
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    let venue = alpaca::stocks(Feed::Iex);
    let mut out: Output<MarketEvent> = Output::default();
    let login = || SecretMessage::text(|piece| piece(Piece::JsonString(canary.secret)));
    let mut cx = out.context(Instant::now());
    cx.send_secret(login());
    shown.add(&cx);
    shown.add(&out);
    shown.add(&login());
    shown.add(&Piece::Plain(canary.secret));
    shown.add(&Piece::JsonString(canary.secret));
    shown.add(&venue.session(credentials.clone()));
    shown.add(&venue);
    let orders = alpaca::order_updates(Account::Paper);
    shown.add(&orders.session(credentials.clone()));
    shown.add(&orders);
    shown.add(&credentials.fingerprint());
    shown.add(&credentials);
    let proxy: ProxyServer = "socks5h://proxy.test".parse().unwrap();
    let proxy = proxy.login(canary.key, canary.secret).unwrap();
    shown.add(&proxy);
    let mut config = Config::default();
    config.proxy = Proxy::At(proxy);
    shown.add(&config.proxy);
    shown.add(&config);
    // What a session and a server say is shown as they say it: these hold what was put there, and no more.
    shown.add(&Request::new(RequestId::new(1), Verb::Subscribe, &[]));
    shown.add(&Frame::Text("frame"));
    shown.add(&Message::Text("message".to_owned()));
    shown.add(&Verdict::Done);
    shown.add(&Unparsed::new(b"raw", "why"));
    let rejection =
        trunkline::error::Rejection::new(RejectionKind::Temporary, "why").with_code("code");
    shown.add(rejection.code().unwrap());
    shown.add(&rejection);
    shown.add(&RejectionKind::Temporary);
}

fn simulator(shown: &mut Shown, canary: Canary) {
    let (events, told) = crossbeam_channel::unbounded();
    let mut config = SimConfig::default();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    config.accept = Accept::Only(credentials.clone());
    config.events = Some(events);
    shown.add(&config.accept);
    shown.add(&config.limit_counts);
    shown.add(&config);
    shown.add(&FaultKind::Cut);
    shown.add(&Fault::new(FaultKind::Cut, WAIT));
    shown.add(&"cut@5s".parse::<FaultScript>().unwrap());
    let sim = Sim::start(config).unwrap();
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    feed.wait_live(WAIT).unwrap();
    shown.add(&sim);
    shown.add(&sim.stats());
    drop((feed, sim));
    for event in told {
        shown.add(&event);
    }
}

// -------------------------------------------------------------------------------------------------------------- a life

const TRADE: &str = r#"[{"T":"t","S":"AAPL","i":1,"x":"V","p":150.25,"s":10,"c":["@"],"z":"C","t":"2026-03-17T14:30:05Z"}]"#;

fn life(shown: &mut Shown, canary: Canary) {
    let mut config = SimConfig::default();
    config.rate = 0;
    let sim = Sim::start(config).unwrap();
    let manager = Manager::with_config(quick()).unwrap();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    let trades = feed
        .subscribe(alpaca::trades(["AAPL"]).queue(2, Overflow::DropOldest))
        .unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    shown.add(feed.key());
    shown.add(&feed.phase());
    shown.add(&feed.phases());
    shown.add(&trades.iter());
    // More than the queue holds, something unreadable, and a break.
    (0..4).for_each(|_| sim.send_raw(TRADE));
    eventually("the queue overflows", || trades.health().events_dropped > 0);
    sim.send_raw(r#"[{"T":"?"}]"#);
    eventually("it is read", || feed.health().counters.unparsed > 0);
    sim.cut();
    eventually("it is live again", || feed.health().epoch == 2);
    let health = manager.health();
    shown.add(&health);
    shown.add(&health.streams[0]);
    shown.add(&health.streams[0].counters);
    shown.add(&health.streams[0].subscriptions[0]);
    shown.add(&trades.health());
    shown.add(&feed);
    shown.add(&trades);
    shown.add(&manager);
    shown.add(&Manager::new().shutdown_guard(Duration::ZERO));
    let ready = trades.ready().recv_timeout(WAIT).unwrap();
    shown.add(&ready);
    let drain = trades.drain();
    shown.add(&drain);
    for update in drain {
        shown.update(&update);
    }
    sim.send_raw(TRADE);
    shown.update(&trades.recv_timeout(WAIT).unwrap());
    drop(trades);
    shown.add(&feed.close(WAIT).unwrap());

    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let shut = manager.shutdown(WAIT);
    shown.add(&shut[0]);
    for update in &trades {
        shown.update(&update);
    }
    shown.add(feed.key());
}

fn errors(shown: &mut Shown, canary: Canary) {
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    shown.error(&Credentials::new("", canary.secret).unwrap_err().into());
    let venue = |url: &str| alpaca::stocks(Feed::Iex).at(url.parse().unwrap());
    shown.add(alpaca::stocks(Feed::Iex).endpoint());
    let mut config = quick();
    config.backoff.max_failures = Some(1);
    let once = Manager::with_config(config).unwrap();

    // Refused by the simulator, and by the system.
    let mut other = SimConfig::default();
    other.accept = Accept::Only(Credentials::new("PKOTHER", "other").unwrap());
    let sim = Sim::start(other).unwrap();
    let feed = once.open(&sim.stocks(), &credentials).unwrap();
    shown.error(&feed.wait_live(WAIT).unwrap_err());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let feed = once
        .open(&venue(&format!("ws://{nobody}/v2/iex")), &credentials)
        .unwrap();
    shown.error(&feed.wait_live(WAIT).unwrap_err());

    // A name that nobody finds while it is looked at.
    let (found, waits) = crossbeam_channel::bounded::<()>(1);
    let mut config = quick();
    config.resolver = Resolver::new(move |_, _| {
        let _ = waits.recv_timeout(WAIT);
        Ok(Vec::new())
    });
    let manager = Manager::with_config(config).unwrap();
    let feed = manager
        .open(&venue("ws://hangs.test/v2/iex"), &credentials)
        .unwrap();
    // What it is open with and what was asked for is shown, and a proxy may have a login.
    let proxy: ProxyServer = "socks5h://proxy.test".parse().unwrap();
    let mut config = quick();
    config.proxy = Proxy::At(proxy.login(canary.key, canary.secret).unwrap());
    let other = Manager::with_config(config).unwrap();
    let conflict = other.open(&venue("ws://hangs.test/v2/iex"), &credentials);
    shown.error(&conflict.unwrap_err());
    shown.error(&feed.wait_live(Duration::ZERO).unwrap_err());
    eventually("the lookup runs", || !manager.health().lookups.is_empty());
    manager
        .health()
        .lookups
        .iter()
        .for_each(|lookup| shown.add(lookup));
    drop(found);
}
