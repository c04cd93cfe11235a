//! A budget that is too small, on the virtual clock: single stories, and days that one seed decides.
//!
//! `TRUNKLINE_SEEDS=17` or `TRUNKLINE_SEEDS=17..99` runs these seeds only.

use std::{
    collections::{BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    Counts, Declared, ErrorKind, MarketEvent, Notice, Subscription, SymbolBudget, Topic, Topics,
    Update,
    alpaca::{
        self, Feed,
        wire::server::{ClientMessage, RequestLists, json as server},
    },
    market::{QUOTES, TRADES},
    stream::{
        simulation::seeds,
        tests::{AUTHENTICATED, Bench, CONNECTED},
    },
    transport::memory::Dice,
};

fn quotes(symbols: &[&str]) -> Vec<Topic> {
    let topic = |symbol: &&str| Topic::new(QUOTES, *symbol);
    symbols.iter().map(topic).collect()
}

// ---- the venue ----

/// Wildcards are none.
fn units(counts: Counts, held: &BTreeSet<Topic>) -> usize {
    let held = held.iter().filter(|topic| !topic.is_wildcard());
    match counts {
        Counts::Topics => held.count(),
        Counts::Symbols => held
            .map(|topic| &topic.symbol)
            .collect::<BTreeSet<_>>()
            .len(),
    }
}

/// A venue that keeps the contract and its limit, and answers one request at a time.
struct Market {
    limit: usize,
    counts: Counts,
    held: BTreeSet<Topic>,
    /// Whether the plan grants wildcards.
    grants_all: bool,
    /// How often it had to refuse for its limit.
    refused: u32,
}

const TOO_MANY: &str = "symbol limit exceeded";
const NO_WILDCARDS: &str = "not all symbols on this plan";

impl Market {
    fn units(&self, held: &BTreeSet<Topic>) -> usize {
        units(self.counts, held)
    }

    /// Takes one request; its answer.
    fn serve(&mut self, text: &str) -> String {
        let (subscribes, RequestLists(lists)) = match serde_json::from_str(text).expect("JSON") {
            ClientMessage::Subscribe(lists) => (true, lists),
            ClientMessage::Unsubscribe(lists) => (false, lists),
            ClientMessage::Auth { .. } => panic!("asked to log in again"),
        };
        let mut held = self.held.clone();
        for (channel, symbols) in lists {
            let channel = if channel == "quotes" { QUOTES } else { TRADES };
            for symbol in symbols {
                let topic = Topic::new(channel, symbol);
                if subscribes {
                    assert!(held.insert(topic.clone()), "asks for {topic}, which it has");
                } else {
                    assert!(held.remove(&topic), "gives up {topic}, which it has not");
                }
            }
        }
        if !self.grants_all && held.iter().any(Topic::is_wildcard) {
            return server::error(405, NO_WILDCARDS);
        }
        if self.units(&held) > self.limit {
            self.refused += 1;
            return server::error(405, TOO_MANY);
        }
        self.held = held;
        let lists = [QUOTES, TRADES].map(|channel| {
            let held = self.held.iter().filter(|topic| topic.channel == channel);
            (channel.name(), held.map(|topic| &topic.symbol).collect())
        });
        server::subscription(&lists)
    }
}

// ---- the subscribers ----

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Confirmed,
    Refused,
    Displaced,
}

struct Reader {
    subscription: Subscription<MarketEvent>,
    priority: i32,
    wants: BTreeSet<Topic>,
    told: HashMap<Topic, Told>,
    /// Between a gap and its end nothing is confirmed.
    gap: bool,
}

impl Reader {
    fn read(&mut self) {
        while let Ok(update) = self.subscription.try_recv() {
            let (topics, told) = match update {
                Update::Notice(Declared {
                    what: Notice::Confirmed { topics, .. },
                    ..
                }) => (topics, Told::Confirmed),
                Update::Notice(Declared {
                    what: Notice::Refused { topics, error, .. },
                    ..
                }) if error.to_string().contains(NO_WILDCARDS)
                    && matches!(error.kind(), ErrorKind::Refused { .. }) =>
                {
                    assert!(topics.iter().all(Topic::is_wildcard), "{error}");
                    (topics, Told::Refused)
                }
                // Four lines in a row broke before a topic was answered for, which is taken for the topic's fault.
                Update::Notice(Declared {
                    what: Notice::Refused { topics, error, .. },
                    ..
                }) if error.to_string().contains("2 connections in a row ended") => {
                    (topics, Told::Refused)
                }
                Update::Notice(Declared {
                    what: Notice::Refused { topics, error, .. },
                    ..
                }) => {
                    let ErrorKind::OverBudget {
                        limit,
                        holders,
                        said,
                        ..
                    } = error.kind()
                    else {
                        panic!("refused for {error}")
                    };
                    assert!(!topics.iter().any(Topic::is_wildcard), "{error}");
                    let learned = said.as_ref().map(|said| &*said.message);
                    assert!(matches!(learned, None | Some(TOO_MANY)), "{error}");
                    let all: usize = holders.iter().map(|holder| holder.holds).sum();
                    assert!(all >= *limit, "{error}");
                    let named = |id: Option<&str>| id.is_some_and(|id| id.starts_with("reader-"));
                    assert!(named(error.correlation()), "{error:?}");
                    assert!(holders.iter().all(|holder| {
                        named(holder.correlation.as_ref().map(|id| id.as_str()))
                    }));
                    (topics, Told::Refused)
                }
                Update::Notice(Declared {
                    what: Notice::Displaced { topics, error, .. },
                    ..
                }) => {
                    let ErrorKind::Displaced { by, priority, .. } = error.kind() else {
                        panic!("displaced for {error}")
                    };
                    assert!(*priority > self.priority, "{error}");
                    assert!(by.is_some(), "{error}");
                    for topic in &topics {
                        let before = self.told.get(topic);
                        assert_eq!(before, Some(&Told::Confirmed), "{topic}");
                    }
                    (topics, Told::Displaced)
                }
                Update::Notice(Declared {
                    what: Notice::Resumed { .. },
                    ..
                }) => {
                    self.gap = false;
                    continue;
                }
                Update::Gap(_) => {
                    self.gap = true;
                    continue;
                }
                Update::Event(_) => continue,
                other => panic!("{other:?}"),
            };
            for topic in topics {
                self.told.insert(topic, told);
            }
        }
        self.told.retain(|topic, _| self.wants.contains(topic));
    }

    fn is(&self, topic: &Topic, told: Told) -> bool {
        self.told.get(topic) == Some(&told)
    }
}

// ---- a day ----

struct Day {
    bench: Bench,
    market: Market,
    dice: Dice,
    readers: Vec<Reader>,
    names: u32,
    /// What the venue will answer.
    answer: Option<String>,
    /// The stream was not told the venue's limit.
    learns: bool,
}

const LIMIT: usize = 30;
const WANTED: u64 = 40;

impl Day {
    fn new(seed: u64) -> Self {
        let counts = if seed.is_multiple_of(2) {
            Counts::Topics
        } else {
            Counts::Symbols
        };
        let learns = seed.is_multiple_of(3);
        let budget = if learns {
            SymbolBudget::learned()
        } else {
            SymbolBudget::of(LIMIT).counting(counts)
        };
        Self {
            bench: Bench::live_on(alpaca::stocks(Feed::Iex).symbol_budget(Some(budget))),
            market: Market {
                limit: LIMIT,
                counts,
                held: BTreeSet::new(),
                grants_all: seed.is_multiple_of(5),
                refused: 0,
            },
            dice: Dice::new(!seed),
            readers: Vec::new(),
            names: 0,
            answer: None,
            learns,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.dice.roll() % bound
    }

    fn some_topics(&mut self, most: u64) -> BTreeSet<Topic> {
        (0..=self.below(most))
            .map(|_| {
                let channel = [QUOTES, TRADES][self.below(2) as usize];
                match self.below(WANTED + 1) {
                    WANTED => Topic::new(channel, "*"),
                    symbol => Topic::new(channel, format!("S{symbol:02}")),
                }
            })
            .collect()
    }

    /// One turn of the stream's thread, and what everybody makes of it.
    fn turn(&mut self) {
        self.bench.step();
        for text in self.bench.sent() {
            if text == "<ping>" {
                continue;
            }
            assert!(self.answer.is_none(), "two requests in flight");
            self.answer = Some(self.market.serve(&text));
        }
        assert!(self.market.units(&self.market.held) <= LIMIT);
        assert!(self.learns || self.market.refused == 0, "over the limit");
        for reader in &mut self.readers {
            reader.read();
            if reader.gap {
                continue;
            }
            for topic in &reader.wants {
                let promised = reader.is(topic, Told::Confirmed);
                assert!(
                    !promised || self.market.held.contains(topic),
                    "{topic} went in silence"
                );
            }
        }
    }

    fn answer(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.bench.peer.say(answer);
        }
        self.turn();
    }

    fn settle(&mut self) {
        self.turn();
        let mut rounds = 0;
        while self.answer.is_some() {
            self.answer();
            rounds += 1;
            assert!(rounds < 2_000, "asks for ever");
        }
    }

    fn act(&mut self) {
        let count = self.readers.len() as u64;
        match self.below(20) {
            0..7 => {
                let wants = self.some_topics(14);
                let priority = self.below(4) as i32;
                self.names += 1;
                let topics = Topics::<MarketEvent>::new(wants.iter().cloned())
                    .priority(priority)
                    .correlated(format_args!("reader-{}", self.names));
                let subscription = self.bench.handle().subscribe(topics).unwrap();
                self.readers.push(Reader {
                    subscription,
                    priority,
                    wants,
                    told: HashMap::new(),
                    gap: false,
                });
            }
            7..12 if count > 0 => {
                let gone = self.below(count) as usize;
                self.readers.swap_remove(gone);
            }
            12..15 if count > 0 => {
                let few = self.some_topics(4);
                let reader = self.below(count) as usize;
                let reader = &mut self.readers[reader];
                let topics = Topics::<MarketEvent>::new(few.iter().cloned());
                reader.subscription.add(topics).unwrap();
                reader.wants.extend(few);
            }
            15..18 if count > 0 => {
                let reader = self.below(count) as usize;
                let few = self.some_topics(4);
                let reader = &mut self.readers[reader];
                let few: BTreeSet<Topic> = few.intersection(&reader.wants).cloned().collect();
                let topics = Topics::<MarketEvent>::new(few.iter().cloned());
                reader.subscription.remove(topics).unwrap();
                reader.wants.retain(|topic| !few.contains(topic));
                reader.told.retain(|topic, _| !few.contains(topic));
                // Taken back before the stream's thread has seen it, nothing would be said of it again.
                self.turn();
            }
            18 => self.reconnect(),
            _ => self.settle(),
        }
        match self.below(4) {
            0 => {}
            1 => self.answer(),
            _ => self.turn(),
        }
    }

    fn reconnect(&mut self) {
        self.turn();
        self.bench.peer.cut();
        self.market.held.clear();
        self.answer = None;
        for reader in &mut self.readers {
            reader.gap = true;
        }
        self.bench.step();
        self.bench.leap();
        self.bench.say(CONNECTED);
        self.bench.sent();
        self.bench.peer.say(AUTHENTICATED);
        self.turn();
    }

    /// Everybody was told of everything, nothing is kept that nobody wants, and nobody waits for what somebody who is
    /// worth less holds.
    fn is_fair(&self) {
        let worth = |unit: &dyn Fn(&Topic) -> bool| {
            let wanting = |reader: &&Reader| reader.wants.iter().any(unit);
            self.readers
                .iter()
                .filter(wanting)
                .map(|reader| reader.priority)
                .max()
        };
        // A venue that counts pairs may have been taken to count symbols so far.
        let used = self.bench.health().budget.expect("there is one");
        let same = |one: &Topic, other: &Topic| match used.counts {
            Counts::Topics => one == other,
            Counts::Symbols => one.symbol == other.symbol,
        };
        let held = &self.market.held;
        let lowest = held
            .iter()
            .filter(|topic| !topic.is_wildcard())
            .map(|topic| worth(&|other| same(topic, other) && held.contains(other)))
            .min()
            .flatten();
        for reader in &self.readers {
            assert!(!reader.gap, "not resumed");
            for topic in &reader.wants {
                let is_held = held.contains(topic);
                match reader.told.get(topic) {
                    Some(Told::Confirmed) => assert!(is_held, "{topic} went in silence"),
                    Some(Told::Refused) => assert!(!is_held, "{topic} came in silence"),
                    Some(Told::Displaced) => {
                        assert!(!is_held, "{topic} came back in silence");
                        let full = Some(used.used) == used.limit;
                        assert!(self.learns || used.limit == Some(LIMIT));
                        assert!(full, "there is room for {topic}");
                        let table = &self.bench.stream.subscriptions;
                        let is_doubtful = table.look(|table| table.is_doubtful(topic));
                        assert!(
                            is_doubtful || Some(reader.priority) <= lowest,
                            "{topic} is worth more"
                        );
                    }
                    None => panic!("nothing was said of {topic}"),
                }
            }
        }
        let wanted = |topic: &Topic| {
            self.readers
                .iter()
                .any(|reader| reader.wants.contains(topic))
        };
        assert!(held.iter().all(wanted), "keeps what nobody wants");
    }

    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.act();
        }
        self.settle();
        self.is_fair();
        self.reconnect();
        self.settle();
        self.is_fair();
        let used = self.bench.health().budget.expect("there is one");
        assert_eq!(used.used, units(used.counts, &self.market.held));
    }
}

#[test]
fn on_ten_thousand_days_nobody_is_displaced_in_silence_and_the_limit_holds() {
    for seed in seeds(10_000) {
        let day = AssertUnwindSafe(|| Day::new(seed).run(24));
        assert!(catch_unwind(day).is_ok(), "TRUNKLINE_SEEDS={seed}");
    }
}

// ---- single stories ----

struct Story(Day);

impl Story {
    fn with(budget: SymbolBudget, limit: usize, counts: Counts) -> Self {
        let mut day = Day::new(0);
        day.bench = Bench::live_on(alpaca::stocks(Feed::Iex).symbol_budget(Some(budget)));
        day.market.limit = limit;
        day.market.grants_all = false;
        day.market.counts = counts;
        day.learns = true;
        Self(day)
    }

    fn subscribe(
        &mut self,
        name: &str,
        priority: i32,
        topics: Vec<Topic>,
    ) -> Subscription<MarketEvent> {
        let topics = Topics::<MarketEvent>::new(topics)
            .priority(priority)
            .correlated(name);
        let subscription = self.0.bench.handle().subscribe(topics).unwrap();
        self.0.settle();
        subscription
    }
}

fn words(subscription: &Subscription<MarketEvent>) -> Vec<String> {
    std::iter::from_fn(|| subscription.try_recv().ok())
        .map(|update| match update {
            Update::Notice(notice) => {
                let text = notice.to_string();
                // Without the stream, which is the same in all of them.
                let (before, after) = text.split_once("wss://").unwrap_or((&text, ""));
                let after = after.split_once("): ").map_or(after, |(_, after)| after);
                format!("{before}{after}")
            }
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_higher_priority_takes_the_place_of_the_lowest_until_there_is_room_again() {
    let mut story = Story::with(SymbolBudget::of(2), 2, Counts::Symbols);
    let low = story.subscribe("low", 0, quotes(&["A"]));
    let middle = story.subscribe("middle", 1, quotes(&["B"]));
    assert_eq!(words(&low), ["confirmed: quotes:A (correlation low)"]);
    assert_eq!(words(&middle), ["confirmed: quotes:B (correlation middle)"]);
    let high = story.subscribe("high", 2, quotes(&["C"]));
    assert_eq!(words(&high), ["confirmed: quotes:C (correlation high)"]);
    let displaced = low.try_recv().unwrap();
    assert_eq!(displaced.correlation(), Some("low"));
    let error = displaced.strict().unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Displaced { by: Some(by), priority: 2, .. } if by.as_str() == "high"),
        "{error:?}"
    );
    assert_eq!(error.correlation(), Some("low"));
    assert!(words(&middle).is_empty(), "the lowest made room");
    drop(high);
    story.0.settle();
    assert_eq!(words(&low), ["confirmed: quotes:A (correlation low)"]);
    assert_eq!(story.0.market.refused, 0);
    drop((low, middle));
}

/// The venue may send what was unsubscribed until it has said that it stopped: until then it takes room.
#[test]
fn what_is_being_given_up_takes_room_until_the_venue_has_answered() {
    let mut story = Story::with(SymbolBudget::of(2), 2, Counts::Symbols);
    let _kept = story.subscribe("kept", 0, quotes(&["A"]));
    let given_up = story.subscribe("given up", 0, quotes(&["B"]));
    let bench = &mut story.0.bench;
    drop(given_up);
    let topics = Topics::<MarketEvent>::new(quotes(&["C"]));
    let next = bench.handle().subscribe(topics).unwrap();
    bench.step();
    let sent = bench.sent();
    assert_eq!(sent, [r#"{"action":"unsubscribe","quotes":["B"]}"#]);
    let used = |bench: &Bench| bench.health().budget.unwrap().to_string();
    assert_eq!(used(bench), "2 of 2 symbols", "not answered yet");
    bench.step();
    assert!(bench.sent().is_empty(), "nothing is asked for in its place");
    let answer = story.0.market.serve(&sent[0]);
    story.0.bench.peer.say(answer);
    story.0.settle();
    assert_eq!(words(&next), ["confirmed: quotes:C"]);
    assert_eq!(used(&story.0.bench), "2 of 2 symbols");
    assert_eq!(story.0.market.refused, 0);
}

#[test]
fn an_equal_or_lower_one_is_refused_and_told_who_holds_the_budget() {
    let mut story = Story::with(SymbolBudget::of(3), 3, Counts::Symbols);
    let one = story.subscribe("order-7", 1, quotes(&["A", "B"]));
    let two = story.subscribe("order-8", 1, quotes(&["B", "C"]));
    let late = story.subscribe("order-9", 1, quotes(&["A", "D"]));
    let confirmed = late.try_recv().unwrap().to_string();
    assert_eq!(confirmed, "confirmed: quotes:A (correlation order-9)");
    // Whoever waits, and whoever reads, is told which topic it was.
    let strict = late.try_recv().unwrap().strict().unwrap_err();
    let error = late.wait_confirmed(std::time::Duration::ZERO).unwrap_err();
    for error in [&error, &strict] {
        let text = error.to_string();
        let says = "quotes:D: refused: the plan allows 3 symbols on a connection, and all are in use: order-7 (2";
        assert!(text.contains(says), "{text}");
    }
    let ErrorKind::OverBudget {
        limit: 3,
        counts: Counts::Symbols,
        holders,
        ..
    } = error.kind()
    else {
        panic!("{error:?}")
    };
    let holders: Vec<_> = holders.iter().map(ToString::to_string).collect();
    assert_eq!(
        holders,
        [
            "order-7 (2, priority 1)",
            "order-8 (2, priority 1)",
            "order-9 (1, priority 1)"
        ]
    );
    assert_eq!(error.correlation(), Some("order-9"));
    assert_eq!(error.remedy(), crate::error::Remedy::ReduceSymbols);
    drop((one, two));
}

#[test]
fn what_is_shared_counts_once_and_is_worth_what_its_highest_holder_is() {
    let mut story = Story::with(SymbolBudget::of(1), 1, Counts::Symbols);
    let low = story.subscribe("low", 0, quotes(&["A"]));
    let both = vec![Topic::new(QUOTES, "A"), Topic::new(TRADES, "A")];
    let high = story.subscribe("high", 5, both);
    assert_eq!(words(&high).len(), 2, "another channel of a symbol is free");
    let middle = story.subscribe("middle", 3, quotes(&["B"]));
    assert!(words(&middle)[0].starts_with("refused: quotes:B"));
    assert_eq!(words(&low), ["confirmed: quotes:A (correlation low)"]);
    drop(high);
    story.0.settle();
    let told = words(&low);
    assert!(told[0].starts_with("displaced: quotes:A"), "{told:?}");
    assert_eq!(words(&middle), ["confirmed: quotes:B (correlation middle)"]);
    assert_eq!(
        story.0.bench.health().budget.unwrap().to_string(),
        "1 of 1 symbol"
    );
    drop(low);
}

#[test]
fn of_two_that_are_worth_the_same_the_later_one_makes_room() {
    let mut story = Story::with(SymbolBudget::of(2), 2, Counts::Symbols);
    let first = story.subscribe("first", 0, quotes(&["B"]));
    let second = story.subscribe("second", 0, quotes(&["A"]));
    words(&second);
    let high = story.subscribe("high", 1, quotes(&["C"]));
    assert_eq!(words(&first), ["confirmed: quotes:B (correlation first)"]);
    assert!(words(&second)[0].starts_with("displaced: quotes:A"));
    drop(high);
}

#[test]
fn what_was_taken_comes_back_in_the_place_of_what_is_worth_less_by_now() {
    let mut story = Story::with(SymbolBudget::of(2), 2, Counts::Symbols);
    let low = story.subscribe("low", 0, quotes(&["A"]));
    let high = story.subscribe("high", 5, quotes(&["A"]));
    let other = story.subscribe("other", 2, quotes(&["B"]));
    let top = story.subscribe("top", 3, quotes(&["C"]));
    assert!(words(&other)[1].starts_with("displaced: quotes:B"));
    words(&low);
    drop(high);
    story.0.settle();
    assert!(words(&low)[0].starts_with("displaced: quotes:A"));
    assert_eq!(words(&other), ["confirmed: quotes:B (correlation other)"]);
    drop(top);
}

#[test]
fn a_price_book_says_that_it_was_displaced_and_goes_on_when_it_is_back() {
    let mut story = Story::with(SymbolBudget::of(1), 1, Counts::Symbols);
    let book = story
        .0
        .bench
        .handle()
        .correlated("book")
        .price_book(["A"])
        .unwrap();
    story.0.settle();
    assert!(book.unconfirmed().is_empty());
    let high = story.subscribe("high", 1, quotes(&["B"]));
    let why: Vec<_> = book
        .unconfirmed()
        .into_iter()
        .map(|(_, why)| why.unwrap())
        .collect();
    assert_eq!(why.len(), 2, "quotes and trades");
    assert!(
        why.iter()
            .all(|why| matches!(why.kind(), ErrorKind::Displaced { by: Some(_), .. }))
    );
    let second = std::time::Duration::from_secs(1);
    let error = book.wait_price("A", second, second).unwrap_err();
    assert_eq!(
        (error.code(), error.correlation()),
        ("displaced", Some("book"))
    );
    drop(high);
    story.0.settle();
    assert!(book.unconfirmed().is_empty());
}

#[test]
fn a_limit_is_learned_from_refusals_and_forgotten_with_the_connection() {
    let mut story = Story::with(SymbolBudget::learned(), 3, Counts::Symbols);
    let many = story.subscribe("many", 0, quotes(&["A", "B", "C", "D", "E"]));
    let told = words(&many);
    assert!(
        told.last()
            .unwrap()
            .starts_with("refused: quotes:D quotes:E"),
        "{told:?}"
    );
    assert_eq!(story.0.market.held.len(), 3);
    let refused = story.0.market.refused;
    assert_eq!(
        story.0.bench.health().budget.unwrap().to_string(),
        "3 of 3 symbols"
    );
    let more = story.subscribe("more", 0, quotes(&["F"]));
    assert!(words(&more)[0].starts_with("refused: quotes:F"));
    assert_eq!(
        story.0.market.refused, refused,
        "the venue is not asked again"
    );
    story.0.market.limit = 9;
    story.0.reconnect();
    story.0.settle();
    assert_eq!(story.0.market.held.len(), 6, "another plan");
    drop((many, more));
}

#[test]
fn a_venue_that_counts_pairs_is_found_out() {
    let mut story = Story::with(SymbolBudget::of(4), 4, Counts::Topics);
    let one = story.subscribe("one", 0, quotes(&["A", "B", "C"]));
    let trades = ["A", "B"].map(|symbol| Topic::new(TRADES, symbol)).to_vec();
    let two = story.subscribe("two", 0, trades);
    let told = words(&two);
    assert_eq!(told[0], "confirmed: trades:A (correlation two)");
    assert!(told[1].starts_with("refused: trades:B"), "{told:?}");
    assert_eq!(
        story.0.bench.health().budget.unwrap().to_string(),
        "4 of 4 topics"
    );
    drop((one, two));
}

#[test]
fn what_was_learned_of_symbols_says_nothing_of_pairs() {
    let mut story = Story::with(SymbolBudget::learned(), 4, Counts::Topics);
    let symbols = ["A", "B", "C", "D", "E"];
    let one = story.subscribe("one", 0, quotes(&symbols));
    let used = |story: &Story| story.0.bench.health().budget.unwrap().to_string();
    assert_eq!(used(&story), "4 of 4 symbols", "so it seems");
    story.0.market.limit = 6;
    let trades = ["A", "B", "C", "D"].map(|symbol| Topic::new(TRADES, symbol));
    let two = story.subscribe("two", 0, trades.to_vec());
    assert_eq!(used(&story), "6 of 6 topics");
    drop((one, two));
}

#[test]
fn a_limit_is_found_in_a_few_requests_however_much_is_wanted() {
    for limit in [1, 2, 3, 30, 999] {
        let mut plan = super::Plan::new(SymbolBudget::learned());
        let said = crate::error::Rejection::new(
            crate::error::RejectionKind::SymbolLimit,
            "405".to_owned(),
        );
        let (mut used, mut requests) = (0, 0);
        loop {
            let asked = plan.room(used).min(1_000 - used);
            if asked == 0 {
                break;
            }
            requests += 1;
            if used + asked <= limit {
                used += asked;
                plan.granted(used);
            } else if !plan.refused(used + asked, &said, crate::clock::now()) {
                break;
            }
        }
        assert!(used == limit || limit == 1, "{used} of {limit}");
        assert!(requests <= 30, "{requests} requests for {limit}");
    }
}

// ---- what a refusal says, and what it does not ----

fn all(channel: crate::Channel) -> Vec<Topic> {
    vec![Topic::new(channel, "*")]
}

/// The issue of it: a wildcard that was refused had taught a limit of nothing, until the line broke.
#[test]
fn a_refused_wildcard_teaches_nothing_in_whatever_order_it_comes() {
    let held = ["A", "B", "C"];
    for before in 0..=held.len() {
        for (budget, limit) in [
            (SymbolBudget::learned(), "plan's limit unknown"),
            (SymbolBudget::of(9), "of 9 symbols"),
        ] {
            for is_kept in [true, false] {
                let mut story = Story::with(budget, 3, Counts::Symbols);
                let some = |story: &mut Story, name, held: &[&str]| {
                    (!held.is_empty()).then(|| story.subscribe(name, 0, quotes(held)))
                };
                let early = some(&mut story, "early", &held[..before]);
                let wild = story.subscribe("wild", 9, all(TRADES));
                let told = words(&wild);
                let says = format!("request refused: {NO_WILDCARDS} (405)");
                assert!(told[0].contains(&says), "{told:?}");
                let wild = is_kept.then_some(wild);
                let late = some(&mut story, "late", &held[before..]);
                for reader in [&early, &late].into_iter().flatten() {
                    assert!(
                        words(reader)
                            .iter()
                            .all(|word| word.starts_with("confirmed")),
                        "{before}"
                    );
                }
                assert_eq!(story.0.market.held.len(), held.len());
                let used = story.0.bench.health().budget.unwrap().to_string();
                assert!(used.starts_with('3') && used.ends_with(limit), "{used}");
                drop(wild);
            }
        }
    }
}

#[test]
fn a_wildcard_among_symbols_is_refused_alone_and_a_granted_one_takes_no_room() {
    let mut story = Story::with(SymbolBudget::of(2), 2, Counts::Symbols);
    let topics = || [quotes(&["A", "B"]), all(TRADES)].concat();
    let mixed = story.subscribe("mixed", 0, topics());
    let told = words(&mixed);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(story.0.market.held.len(), 2);
    assert_eq!(story.0.market.refused, 0);
    drop(mixed);
    story.0.settle();
    story.0.market.grants_all = true;
    let mixed = story.subscribe("again", 0, topics());
    assert_eq!(story.0.market.held.len(), 3);
    assert_eq!(
        story.0.bench.health().budget.unwrap().to_string(),
        "2 of 2 symbols"
    );
    drop(mixed);
}

#[test]
fn the_only_symbol_that_is_refused_gets_the_venues_words_and_the_next_is_asked_for() {
    let mut story = Story::with(SymbolBudget::learned(), 0, Counts::Symbols);
    let first = story.subscribe("first", 0, quotes(&["A"]));
    let told = words(&first);
    assert!(
        told[0].contains("request refused: symbol limit exceeded (405)"),
        "{told:?}"
    );
    story.0.market.limit = 1;
    let second = story.subscribe("second", 0, quotes(&["B"]));
    assert_eq!(words(&second), ["confirmed: quotes:B (correlation second)"]);
    drop((first, second));
}

#[test]
fn no_limit_is_learned_that_is_lower_than_what_was_confirmed() {
    let mut story = Story::with(SymbolBudget::learned(), 5, Counts::Symbols);
    let many = story.subscribe("many", 0, quotes(&["A", "B", "C", "D"]));
    let few = story.subscribe("few", 0, quotes(&["E"]));
    drop(many);
    story.0.settle();
    // For a moment the venue grants less.
    story.0.market.limit = 1;
    let unlucky = story.subscribe("unlucky", 0, quotes(&["F", "G"]));
    let told = words(&unlucky);
    assert!(
        told[0].contains("request refused: symbol limit exceeded (405)"),
        "{told:?}"
    );
    story.0.market.limit = 5;
    let lucky = story.subscribe("lucky", 0, quotes(&["H", "I", "J", "K"]));
    assert!(
        words(&lucky)
            .iter()
            .all(|word| word.starts_with("confirmed"))
    );
    assert_eq!(story.0.market.held.len(), 5);
    drop((few, unlucky, lucky));
}

/// Whoever is refused for it is told the venue's words; whoever was displaced for it need do nothing.
#[test]
fn a_learned_limit_is_asked_again_after_ten_minutes() {
    let mut story = Story::with(SymbolBudget::learned(), 2, Counts::Symbols);
    let low = story.subscribe("low", 0, quotes(&["A", "B"]));
    let high = story.subscribe("high", 1, quotes(&["C"]));
    let told = words(&low);
    assert!(told[1].starts_with("displaced: quotes:B"), "{told:?}");
    let late = story.subscribe("late", 0, quotes(&["D"]));
    let told = words(&late);
    assert!(told[0].contains("the plan allows 2 symbols on a connection, and all are in use: high (1, priority 1), low (1, priority 0); the venue said: symbol limit exceeded (405)"), "{told:?}");
    story.0.market.limit = 9;
    let refused = story.0.market.refused;
    let mut passed = std::time::Duration::ZERO;
    while words(&low).is_empty() {
        passed += story.0.bench.leap();
        story.0.bench.peer.say("[]");
        story.0.settle();
        assert!(passed < std::time::Duration::from_secs(700), "starved");
    }
    assert!(passed > std::time::Duration::from_secs(500), "{passed:?}");
    assert_eq!(story.0.market.held.len(), 4);
    let later = story.subscribe("later", 0, quotes(&["E"]));
    assert_eq!(words(&later), ["confirmed: quotes:E (correlation later)"]);
    assert_eq!(story.0.market.refused, refused);
    drop((high, late));
}
