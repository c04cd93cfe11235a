//! `Duration::MAX` is what people write for "no bound", and the shortest time that is accepted is one too: a stream lives
//! with either in each of its settings, and in all of them together.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod common;

use std::{sync::Once, time::Duration};

use common::{GENEROUS, credentials, quiet_sim, trade, until, until_no_thread};
use trunkline::{
    Config, Error, ErrorKind, Manager, MarketEvent, Phase, Topic, Topics, Update, alpaca,
    market::{BARS, DAILY_BARS, LULDS, QUOTES, STATUSES, TRADES, TradeEvent},
    sim::{Fault, FaultKind, FaultScript, Sim, SimConfig},
    testing,
    venue::Rules,
};

type Set = fn(&mut Config, Duration);

/// Each setting that is a time, and what it is at least.
const SETTINGS: [(&str, Duration, Set); 11] = [
    ("open_timeout", TINY, |config, time| {
        config.open_timeout = time;
    }),
    ("release_timeout", TINY, |config, time| {
        config.release_timeout = time;
    }),
    ("setup_timeout", MILLISECOND, |config, time| {
        config.setup_timeout = time;
    }),
    ("close_timeout", TINY, |config, time| {
        config.close_timeout = time;
    }),
    ("request_timeout", TINY, |config, time| {
        config.request_timeout = time;
    }),
    ("ping_interval", MILLISECOND, |config, time| {
        config.ping_interval = time;
    }),
    ("ping_timeout", MILLISECOND, |config, time| {
        config.ping_timeout = time;
    }),
    ("behind_warning", TINY, |config, time| {
        config.behind_warning = time;
    }),
    ("backoff.initial", TINY, |config, time| {
        config.backoff.initial = time;
        config.backoff.cap = config.backoff.cap.max(time);
    }),
    ("backoff.reset_after", TINY, |config, time| {
        config.backoff.reset_after = time;
    }),
    ("backoff.credentials_patience", TINY, |config, time| {
        config.backoff.credentials_patience = time;
    }),
];

const TINY: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Records are written in full, with every time in them.
fn write_records() {
    struct Full;
    impl log::Log for Full {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            assert!(!format!("{} {:?}", record.args(), record.key_values().count()).is_empty());
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_boxed_logger(Box::new(Full)).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

fn trades() -> Topics<TradeEvent> {
    alpaca::trades(["AAPL"]).expect_within(Duration::MAX)
}

/// From the first attempt through a loss to the end, with no bound anywhere.
fn lives(name: &str, sim: &Sim, config: Config) {
    lives_at(name, sim, config, |rules| rules);
}

fn lives_at(name: &str, sim: &Sim, config: Config, rules: fn(Rules) -> Rules) {
    let venue = sim.stocks().with_rules(rules);
    let credentials = credentials();
    let manager = Manager::with_config(config).unwrap();
    let stream = manager
        .open_timeout(&venue, &credentials, Duration::MAX)
        .unwrap();
    stream.wait_live(Duration::MAX).unwrap();
    let subscription = stream.subscribe(trades()).unwrap();
    subscription.wait_confirmed(Duration::MAX).unwrap();
    sim.send_raw(format!("[{}]", trade(1)));
    while !matches!(
        subscription.recv_timeout(Duration::MAX).unwrap(),
        Update::Event(_)
    ) {}

    sim.reset();
    until(name, || {
        let health = stream.health();
        assert!(!format!("{health} {health:?}").is_empty());
        health.phase == Phase::Waiting || health.epoch > 1
    });
    drop(subscription);
    if name == "release_timeout" {
        drop(stream);
    } else if name == "open_timeout" {
        assert_eq!(manager.shutdown(Duration::MAX).len(), 1);
    } else {
        stream.close(Duration::MAX).unwrap();
    }
    until_no_thread(&credentials);
}

#[test]
fn no_bound_is_a_setting_like_any_other() {
    write_records();
    for (name, _, set) in SETTINGS {
        let mut config = Config::default();
        set(&mut config, Duration::MAX);
        lives(name, &quiet_sim(), config);
    }
    let mut config = Config::default();
    for (_, _, set) in SETTINGS {
        set(&mut config, Duration::MAX);
    }
    lives("all of them", &quiet_sim(), config);
    lives_at("the venue's", &quiet_sim(), Config::default(), |rules| {
        rules
            .reaping(Duration::MAX, Duration::MAX)
            .attempts(20, Duration::MAX)
            .pace(9, Duration::MAX)
            .ping_interval(Duration::MAX)
    });

    let mut server = SimConfig::default();
    server.auth_timeout = Duration::MAX;
    server.reap_after = Duration::MAX;
    server.ping_interval = Some(Duration::MAX);
    server.pong_timeout = Duration::MAX;
    server.faults = FaultScript::new([Fault::new(FaultKind::Cut, Duration::MAX)]);
    // A connection that was reset is never reaped, and the only one.
    server.connection_limit = 2;
    let sim = Sim::start(server).unwrap();
    lives("the simulator's", &sim, Config::default());
}

/// What cannot be done in that time ends in an error, and nothing stays behind.
#[test]
fn the_shortest_times_end_in_errors_and_not_in_panics() {
    write_records();
    for (name, least, set) in SETTINGS {
        let sim = quiet_sim();
        let credentials = credentials();
        let mut config = Config::default();
        set(&mut config, least);
        let manager = Manager::with_config(config.clone()).unwrap();
        let stream = manager.open(&sim.stocks(), &credentials).unwrap();
        let subscription = stream.subscribe(trades().expect_within(TINY)).unwrap();
        // A set-up or a pong may take longer than a millisecond, and then the next attempt is what is seen.
        until(name, || stream.health().counters.attempts > 0);
        if !matches!(name, "setup_timeout" | "ping_interval" | "ping_timeout") {
            stream.wait_live(GENEROUS).unwrap();
        }
        match subscription.wait_confirmed(TINY) {
            Err(error) if !matches!(error.code(), "timed_out" | "refused") => {
                panic!("{name}: {error}")
            }
            _ => {}
        }
        drop(subscription);
        match stream.close(TINY) {
            Err(error) if error.code() != "timed_out" => panic!("{name}: {error}"),
            _ => {}
        }
        until_no_thread(&credentials);

        if least > TINY {
            set(&mut config, least - TINY);
            let refused = Manager::with_config(config);
            assert!(
                matches!(
                    refused.as_ref().map_err(Error::kind),
                    Err(ErrorKind::InvalidConfig { .. })
                ),
                "{name}"
            );
        }
    }
}

#[test]
fn sizes_and_pairs_that_cannot_work_are_refused_before_they_can_panic() {
    let refuses = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        let refused = Manager::with_config(config);
        assert!(matches!(
            refused.as_ref().map_err(Error::kind),
            Err(ErrorKind::InvalidConfig { .. })
        ));
    };
    refuses(|config| config.read_buffer_size = usize::MAX);
    refuses(|config| config.read_buffer_size = (16 << 20) + 1);
    refuses(|config| config.backoff.initial = Duration::MAX);

    let mut config = Config::default();
    config.read_buffer_size = 16 << 20;
    config.queue.events = usize::MAX;
    lives_at("the largest sizes", &quiet_sim(), config, |rules| {
        rules
            .message_size(usize::MAX)
            .request_limit(usize::MAX)
            .requests_at_once(usize::MAX)
    });
}

const SYMBOLS: usize = 11_000;

/// More topics than any list within an event may have entries. What bounds an answer is the size of a message.
#[test]
fn a_whole_market_of_eleven_thousand_symbols_on_six_channels_is_confirmed_and_delivered() {
    let sim = quiet_sim();
    // One request names a whole channel, so each answer lists all that is subscribed to.
    let venue = sim
        .stocks()
        .with_rules(|rules| rules.request_limit(SYMBOLS));
    let manager = Manager::new();
    let feed = manager.open(&venue, &sim.credentials()).unwrap();
    feed.wait_live(GENEROUS).unwrap();
    let channels = [TRADES, QUOTES, BARS, DAILY_BARS, STATUSES, LULDS];
    let topics = channels
        .iter()
        .flat_map(|channel| (0..SYMBOLS).map(|number| Topic::new(*channel, format!("S{number}"))));
    let market = feed.subscribe(Topics::<MarketEvent>::new(topics)).unwrap();
    market.wait_confirmed(10 * GENEROUS).unwrap();
    let health = feed.health();
    let all = channels.len() * SYMBOLS;
    assert_eq!((health.topics_wanted, health.topics_confirmed), (all, all));
    assert_eq!(health.counters.unparsed, 0);
    sim.push(testing::trade("S10999", 1, 1).into());
    let event = market.iter().find_map(|update| update.event().unwrap());
    assert_eq!(event.unwrap().symbol().unwrap().as_str(), "S10999");
}
