//! Who is told of a loss first: what folds, before any queue says a word of it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    Decimal, EndReason, Error, MarketEvent, Phase, QUOTES, Quote, Reading, Subscription,
    SymbolBudget, Topic, Update,
    alpaca::{self, Feed},
    error::At,
    event::Concerns,
    health::SubscriptionHealth,
    stream::{
        Batch, Shared,
        sink::{Fold, Standing},
        tests::{Bench, quote, quotes_of},
    },
};

/// A fold that holds the stream's thread up at the moment when it is told of a loss, and reads what every queue and the
/// phase say then.
struct Witness {
    queues: Mutex<Vec<Subscription<Quote>>>,
    stream: Arc<dyn Shared>,
    /// The loss that is about to happen, and by which call, until the witness is told of it.
    expects: Mutex<Option<(&'static str, &'static str)>>,
}

impl Witness {
    fn told(&self, how: &str) {
        let Some((loss, expected)) = self.expects.lock().take() else {
            return;
        };
        assert_eq!(how, expected, "{loss}");
        for queue in &*self.queues.lock() {
            assert_eq!(queue.health().topics_pending, 0, "{loss}: a queue knows");
            assert_eq!(losses(queue), Vec::<String>::new(), "{loss}: a queue says");
        }
        assert_eq!(self.stream.lifecycle().phase(), Phase::Live, "{loss}");
    }
}

impl Fold<MarketEvent> for Witness {
    fn fold(&self, _: &Batch<MarketEvent>, _: &[u32]) {}

    fn answers(
        &self,
        _: u64,
        mut topics: &mut dyn Iterator<Item = (&Topic, Standing)>,
        _: Option<&Error>,
    ) {
        if Iterator::any(&mut topics, |(_, standing)| standing != Standing::Confirmed) {
            self.told("answers");
        }
    }

    fn missed(&self, _: &Concerns) {
        self.told("missed");
    }

    fn cut(&self, _: u64) {
        self.told("cut");
    }

    fn end(&self, _: &EndReason) {
        self.told("end");
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
        ("topic taken away", "answers", |bench| {
            bench.say(&quotes_of(&["OTHER"]))
        }),
        ("topic begun anew", "answers", |bench| {
            bench.restart(Topic::new(QUOTES, "KO"));
        }),
        ("an item that could not be read", "missed", |bench| {
            bench.say(r#"[{"T":"q","S":"KO"}]"#);
        }),
        ("topic displaced", "answers", |bench| {
            let topics = alpaca::quotes(["PEP"]).priority(1);
            let better = bench.handle().subscribe(topics).unwrap();
            bench.step();
            drop(better);
        }),
        ("end by a panic", "cut", |bench| {
            bench.end(&EndReason::Failed(Error::Panicked {
                at: At::new(bench.handle().key(), Phase::Live),
                message: "planted".to_owned(),
            }));
        }),
    ];
    for (loss, how, lose) in losses_of {
        let venue = alpaca::stocks(Feed::Iex).symbol_budget(Some(SymbolBudget::of(1)));
        let mut bench = Bench::live_on(venue);
        let subscribe = |bench: &Bench| bench.handle().subscribe(alpaca::quotes(["KO"])).unwrap();
        let early = subscribe(&bench);
        let book = bench.handle().prices(["KO"]).unwrap();
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
            // A topic that begins anew is a loss that is told when it is confirmed again.
            let told = losses(&queue).len();
            let expected = usize::from(loss != "topic begun anew");
            assert_eq!(told, expected, "{loss}");
        }
        drop(attached);
    }
}
