//! Who is told of a loss first: what folds, before any queue says a word of it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    Bar, Decimal, EndReason, Error, ErrorKind, MarketEvent, Overflow, Phase, Quote, Subscription,
    SymbolBudget, Timestamp, Topic, Topics, Trade, Update,
    alpaca::{self, Feed},
    error::At,
    event::Concerns,
    health::SubscriptionHealth,
    market::{BARS, Code, Conditions, Interval, QUOTES, TRADES},
    price::Reading,
    stream::{
        Batch, SharedStream, Slice,
        sink::{Fold, TopicNews},
        tests::{Bench, quote, quotes_of},
    },
    testing,
};

/// A fold that holds the stream's thread up at the moment when it is told of a loss, and reads what every queue and the
/// phase say then.
struct Witness {
    queues: Mutex<Vec<Subscription<Quote>>>,
    stream: Arc<dyn SharedStream>,
    /// The loss that is about to happen, and by which call, until the witness is told of it.
    expects: Mutex<Option<(&'static str, &'static str)>>,
}

impl Witness {
    fn learns(&self, how: &str) {
        let Some((loss, expected)) = self.expects.lock().take() else {
            return;
        };
        assert_eq!(how, expected, "{loss}");
        for queue in &*self.queues.lock() {
            assert_eq!(losses(queue), Vec::<String>::new(), "{loss}: a queue says");
        }
        assert_eq!(self.stream.lifecycle().phase(), Phase::Live, "{loss}");
    }
}

impl Fold<MarketEvent> for Witness {
    fn fold(&self, _: &Batch<MarketEvent>, _: Slice) {}

    fn told(&self, _: &Topic, news: TopicNews<'_>) {
        if !matches!(news, TopicNews::Confirmed) {
            self.learns("told");
        }
    }

    fn missed(&self, _: &Concerns) {
        self.learns("missed");
    }

    fn cut(&self, _: u64) {
        self.learns("cut");
    }

    fn end(&self, _: &EndReason) {
        self.learns("end");
    }

    fn health(&self, _: u64) -> SubscriptionHealth {
        unreachable!("nobody asks for its health")
    }
}

/// What a queue says of losses and of the end.
fn losses(queue: &Subscription<Quote>) -> Vec<String> {
    std::iter::from_fn(|| queue.try_recv().ok())
        .filter(|update| update.loss().is_some() || matches!(update, Update::Ended(_)))
        .map(|update| format!("{update:?}"))
        .collect()
}

/// Every loss that several members are told of, with queues that come before and after the folds. A real book stands
/// beside the witness: whoever reads the loss finds nothing fresh in it.
#[test]
fn whatever_folds_is_told_of_a_loss_before_any_queue_is() {
    type Lose = fn(&mut Bench);
    let losses_of: [(&str, &str, Lose); 6] = [
        ("gap", "cut", |bench| {
            bench.peer.cut();
            bench.step();
        }),
        ("topic taken away", "told", |bench| {
            bench.say(&quotes_of(&["OTHER"]))
        }),
        ("topic begun anew", "told", |bench| {
            bench.restart(Topic::new(QUOTES, "KO"));
            bench.step();
        }),
        ("an item that could not be read", "missed", |bench| {
            bench.say(r#"[{"T":"q","S":"KO"}]"#);
        }),
        ("topic displaced", "told", |bench| {
            let topics = alpaca::quotes(["PEP"]).priority(1);
            let better = bench.handle().subscribe(topics).unwrap();
            bench.step();
            drop(better);
        }),
        ("end by a panic", "cut", |bench| {
            bench.end(&EndReason::Failed(Error::new(
                At::new(bench.handle().key(), Phase::Live),
                ErrorKind::Panicked {
                    message: "planted".to_owned(),
                },
            )));
        }),
    ];
    for (loss, how, lose) in losses_of {
        let venue = alpaca::stocks(Feed::Iex).symbol_budget(Some(SymbolBudget::of(1)));
        let mut bench = Bench::live_on(venue);
        let subscribe = |bench: &Bench| bench.handle().subscribe(alpaca::quotes(["KO"])).unwrap();
        let early = subscribe(&bench);
        let book = bench.handle().price_book(["KO"]).unwrap();
        let witness = Arc::new(Witness {
            queues: Mutex::default(),
            stream: bench.shared(),
            expects: Mutex::default(),
        });
        let topics = vec![Topic::new(QUOTES, "KO")];
        let fold = Arc::clone(&witness) as Arc<dyn Fold<MarketEvent>>;
        let attached = bench.handle().attach(fold, topics).unwrap();
        let late = subscribe(&bench);
        bench.step();
        while !bench.sent().is_empty() {
            bench.say(r#"[{"T":"subscription","trades":["KO"],"quotes":["KO"]}]"#);
        }
        bench.say(&quote("KO", 7));
        for queue in [&early, &late] {
            assert_eq!(losses(queue), Vec::<String>::new());
        }
        assert!(book.quote("KO", std::time::Duration::MAX).is_fresh());
        witness.queues.lock().extend([early, late]);
        *witness.expects.lock() = Some((loss, how));
        lose(&mut bench);
        assert_eq!(*witness.expects.lock(), None, "{loss}: it was not told");
        let reading = book.quote("KO", std::time::Duration::MAX);
        assert!(
            matches!(&reading, Reading::Cut(quote) | Reading::Missed(quote)
                if quote.bid_price == Decimal::from(7)),
            "{loss}: {reading:?}"
        );
        for queue in witness.queues.lock().drain(..) {
            assert_eq!(losses(&queue).len(), 1, "{loss}");
        }
        drop(attached);
    }
}

/// Whoever joins a topic whose events build on each other has it begin anew, while the connection goes on.
#[test]
fn a_gap_of_one_topic_of_a_test_feed_stands_for_no_break() {
    let (feed, handle) = testing::line(alpaca::crypto(alpaca::CryptoFeed::Us));
    let books = || handle.subscribe(alpaca::orderbooks(["BTC/USD"])).unwrap();
    let first = books();
    let _second = books();
    let gap = || {
        let mut told = std::iter::from_fn(|| first.try_recv().ok());
        told.find_map(|update| match update {
            Update::Gap(gap) => Some((gap.topics.len(), gap.breaks)),
            _ => None,
        })
    };
    assert_eq!(gap(), Some((1, 0)));
    feed.gap();
    assert_eq!(gap(), Some((0, 1)));
}

/// Whatever topics there are, also after they change: every subscription gets the events of its own, each once and in
/// order.
#[test]
fn everybody_gets_the_events_of_his_topics_whatever_they_are() {
    for seed in 1..=60 {
        let mut seed: u64 = seed;
        let mut random = move |below: u64| {
            // Knuth's multiplier: any spread of numbers will do.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
        let subscriptions: Vec<Subscription<MarketEvent>> = (0..6)
            .map(|_| {
                let topics = Topics::mixed().queue(1_000, Overflow::DropOldest);
                handle.subscribe(topics.and(topic(0, 2))).unwrap()
            })
            .collect();
        let mut wanted = vec![vec![(0, 2)]; 6];
        for number in 0..40 {
            for (subscription, wanted) in subscriptions.iter().zip(&mut wanted) {
                let changed = (random(3), random(4));
                if random(3) > 0 {
                    continue;
                }
                if let Some(at) = wanted.iter().position(|topic| *topic == changed) {
                    wanted.remove(at);
                    subscription.remove(topic(changed.0, changed.1)).unwrap();
                } else {
                    wanted.push(changed);
                    subscription.add(topic(changed.0, changed.1)).unwrap();
                }
            }
            let batch: Vec<_> = (0..1 + random(7)).map(|_| (random(3), random(3))).collect();
            feed.events(batch.iter().map(|of| event(of.0, of.1, number)));
            for (subscription, wanted) in subscriptions.iter().zip(&wanted) {
                let own = batch
                    .iter()
                    .filter(|of| wanted.contains(of) || wanted.contains(&(of.0, ANY)));
                let own: Vec<_> = own.map(|of| event(of.0, of.1, number)).collect();
                let mut got = Vec::new();
                while let Ok(update) = subscription.try_recv() {
                    got.extend(update.event().unwrap().map(|event| event.data));
                }
                assert_eq!(got, own, "{wanted:?} of {batch:?}");
            }
        }
    }
}

/// In place of a symbol's number: all of them.
const ANY: u64 = 3;

fn topic(channel: u64, symbol: u64) -> Topics<MarketEvent> {
    let channel = [QUOTES, TRADES, BARS][channel as usize];
    Topics::new([Topic::new(channel, ["A", "B", "C", "*"][symbol as usize])])
}

fn event(channel: u64, symbol: u64, number: i64) -> MarketEvent {
    let symbol = ["A", "B", "C"][symbol as usize].into();
    let timestamp = Timestamp::from_nanos(number);
    let one = Decimal::ONE;
    match channel {
        0 => MarketEvent::Quote(Quote {
            symbol,
            bid_exchange: Code::default(),
            bid_price: one,
            bid_size: one,
            ask_exchange: Code::default(),
            ask_price: one,
            ask_size: one,
            exchange: Code::default(),
            conditions: Conditions::default(),
            tape: Code::default(),
            timestamp,
        }),
        1 => MarketEvent::Trade(Trade {
            symbol,
            id: None,
            exchange: Code::default(),
            price: one,
            size: one,
            taker_side: Code::default(),
            conditions: Conditions::default(),
            tape: Code::default(),
            update: Code::default(),
            timestamp,
        }),
        _ => MarketEvent::Bar(Bar {
            symbol,
            interval: Interval::Minute,
            open: one,
            high: one,
            low: one,
            close: one,
            volume: one,
            trade_count: None,
            vwap: None,
            exchange: Code::default(),
            timestamp,
        }),
    }
}
