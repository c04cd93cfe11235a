use super::*;
use crate::{
    Declared, MarketEvent, OrderUpdate, Quote,
    alpaca::{self, Feed},
    credentials::Credentials,
    error::{Rejection, RejectionKind, Remedy},
    market::{QUOTES, TRADES},
    order::TRADE_UPDATES,
    phase::Phase,
    testing,
};

fn stream() -> StreamKey {
    StreamKey::new(&"ws://h/orders".parse().unwrap(), &Credentials::none())
}

fn lost() -> Error {
    Error::new(
        At::new(&stream(), Phase::Live),
        ErrorKind::Lost {
            why: "reset".to_owned(),
            source: None,
        },
    )
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn told<T: Attributed>(what: T) -> Declared<T> {
    Declared::new(what, &stream(), None)
}

fn gap<T>() -> Update<T> {
    Update::Gap(told(Gap {
        topics: Box::default(),
        since: None,
        last: Some(at("2026-03-17T14:30:05Z")),
        cause: lost(),
        epoch: 1,
        breaks: 1,
    }))
}

fn unparsed<T>(concerns: Concerns) -> Update<T> {
    let unparsed = Unparsed {
        at: Some(at("2026-03-17T14:30:05Z")),
        ..Unparsed::new(b"{}", "no price")
    };
    Update::Notice(told(Notice::Unparsed(unparsed.concerning(concerns))))
}

fn refusal() -> Error {
    Error::new(
        At::new(&stream(), Phase::Live),
        ErrorKind::Refused {
            rejection: Rejection::new(RejectionKind::BadRequest, "no such symbol").with_code(400),
        },
    )
}

fn displacement() -> Error {
    Error::new(
        At::new(&stream(), Phase::Live),
        ErrorKind::Displaced {
            by: None,
            priority: 1,
        },
    )
}

/// Each update there is, and the code of the error that it is a loss by, if it is one.
fn table() -> Vec<(Update<Quote>, Option<&'static str>)> {
    let topics = || vec![Topic::new(QUOTES, "KO")];
    let notice = |notice| Update::Notice(told(notice));
    vec![
        (gap(), Some("missed")),
        (
            Update::Dropped(told(Dropped {
                count: 3,
                capacity: 10,
                capacity_bytes: 1 << 20,
                since: None,
            })),
            Some("missed"),
        ),
        (
            unparsed(Concerns::Topic(Topic::new(QUOTES, "KO"))),
            Some("missed"),
        ),
        (unparsed(Concerns::Channel(QUOTES)), Some("missed")),
        (unparsed(Concerns::Everybody), Some("missed")),
        (unparsed(Concerns::Nobody), None),
        (
            notice(Notice::Refused {
                topics: topics(),
                error: refusal(),
            }),
            Some("refused"),
        ),
        (
            notice(Notice::LeftOut {
                count: 3,
                error: Some(refusal()),
            }),
            Some("refused"),
        ),
        (
            notice(Notice::LeftOut {
                count: 3,
                error: None,
            }),
            None,
        ),
        (
            notice(Notice::Displaced {
                topics: topics(),
                error: displacement(),
            }),
            Some("displaced"),
        ),
        (notice(Notice::Confirmed { topics: topics() }), None),
        (
            notice(Notice::Resumed {
                epoch: 2,
                at: at("2026-03-17T14:30:05Z"),
            }),
            None,
        ),
        (notice(Notice::behind(Duration::from_secs(9))), None),
        (
            notice(Notice::Unmatched {
                topic: Topic::new(QUOTES, "BTCUSD"),
            }),
            None,
        ),
        (
            Update::Ended(told(Ended {
                reason: EndReason::Closed,
            })),
            None,
        ),
    ]
}

#[test]
fn every_update_says_whether_it_is_a_loss_and_strict_says_the_same() {
    for (update, code) in table() {
        let shown = format!("{update:?}");
        let loss = update.loss();
        assert_eq!(loss.as_ref().map(Error::code), code, "{shown}");
        let strict = update.strict();
        assert_eq!(strict.as_ref().err().map(Error::code), code, "{shown}");
        assert!(code.is_some() || matches!(strict, Ok(None)), "{shown}");
    }
}

#[test]
fn the_error_of_a_loss_says_since_when_and_what_to_do() {
    let market = gap::<Quote>().strict().unwrap_err();
    assert_eq!(
        market.to_string(),
        format!(
            "{}: events may be missing since 2026-03-17T14:30:05Z: the connection broke: connection lost (phase live): \
             reset; what to do: ask the venue's REST interface for what is missing, if you need it, then go on reading",
            stream()
        )
    );
    let orders = gap::<OrderUpdate>().strict().unwrap_err();
    assert_eq!(orders.remedy(), Remedy::Reconcile);
    assert!(!orders.is_retryable(), "the subscription goes on by itself");
    assert!(
        orders.to_string().ends_with(
            "; what to do: a fill may be missing: ask the venue's REST interface for open orders and positions, then go on reading"
        ),
        "{orders:?}"
    );
    assert!(
        format!("{orders:?}").contains("connection lost"),
        "{orders:?}"
    );
    let topic = Topic::new(TRADE_UPDATES, "*");
    let orders = unparsed::<OrderUpdate>(Concerns::Topic(topic)).strict();
    assert_eq!(
        orders.unwrap_err().for_record(),
        "events may be missing since 2026-03-17T14:30:05Z: the venue sent what could not be read (no price); what to do: a \
         fill may be missing: ask the venue's REST interface for open orders and positions, then go on reading"
    );
}

#[test]
fn what_could_not_be_read_is_shown_to_those_whose_events_it_may_have_held() {
    let (feed, line) = testing::line(alpaca::stocks(Feed::Iex));
    let ko = line.subscribe(alpaca::trades(["KO"])).unwrap();
    let all = line.subscribe(alpaca::trades(["*"])).unwrap();
    let pep = line.subscribe(alpaca::trades(["PEP"])).unwrap();
    let quotes = line.subscribe(alpaca::quotes(["KO"])).unwrap();
    let say = |concerns| {
        let unparsed = Unparsed::new(b"{}", "odd").concerning(concerns);
        feed.notice(Notice::Unparsed(unparsed));
    };
    macro_rules! told {
        ($subscription:expr) => {
            std::iter::from_fn(|| $subscription.try_recv().ok())
                .filter(|update| {
                    matches!(
                        update,
                        Update::Notice(Declared {
                            what: Notice::Unparsed(_),
                            ..
                        })
                    )
                })
                .map(|update| update.strict().is_err())
                .collect::<Vec<_>>()
        };
    }
    let shown = |concerns| {
        say(concerns);
        [told!(ko), told!(all), told!(pep), told!(quotes)]
    };
    let (yes, no) = (vec![true], vec![]);
    assert_eq!(
        shown(Concerns::Topic(Topic::new(TRADES, "KO"))),
        [yes.clone(), yes.clone(), no.clone(), no.clone()]
    );
    assert_eq!(
        shown(Concerns::Channel(TRADES)),
        [yes.clone(), yes.clone(), yes.clone(), no]
    );
    assert_eq!(
        shown(Concerns::Everybody),
        [yes.clone(), yes.clone(), yes.clone(), yes]
    );
    // Everybody is told, and nobody has lost anything.
    assert_eq!(
        shown(Concerns::Nobody),
        [vec![false], vec![false], vec![false], vec![false]]
    );
}

#[test]
fn what_concerns_two_is_the_narrowest_that_holds_both() {
    let topic = |symbol: &str| Concerns::Topic(Topic::new(TRADES, symbol));
    let table = [
        (topic("A"), topic("A"), topic("A")),
        (topic("A"), topic("B"), Concerns::Channel(TRADES)),
        (
            topic("A"),
            Concerns::Channel(TRADES),
            Concerns::Channel(TRADES),
        ),
        (topic("A"), Concerns::Channel(QUOTES), Concerns::Everybody),
        (topic("A"), Concerns::Nobody, topic("A")),
        (topic("A"), Concerns::Everybody, Concerns::Everybody),
        (Concerns::Nobody, Concerns::Nobody, Concerns::Nobody),
    ];
    for (one, other, both) in table {
        assert_eq!(one.clone().and(other.clone()), both, "{one:?} {other:?}");
        assert_eq!(other.clone().and(one.clone()), both, "{other:?} {one:?}");
    }
}

#[test]
fn odd_fields_make_no_event_larger() {
    let origin = size_of::<Event<MarketEvent>>() - size_of::<MarketEvent>();
    assert_eq!(origin, size_of::<(Instant, u64)>());
    assert_eq!(
        size_of::<Update<MarketEvent>>(),
        size_of::<Event<MarketEvent>>()
    );
}

#[test]
fn an_event_with_odd_fields_says_where_it_came_from_as_any_other() {
    let now = crate::clock::now();
    let odd: OddFields = ["i"].into_iter().collect();
    let event = Event::of(5, Origin::new(now, 3, odd.clone()));
    assert_eq!((event.received(), event.epoch()), (now, 3));
    assert_eq!(event.odd_fields(), &odd);
    assert_eq!(event.clone(), event);
    assert_ne!(event, Event::new(5, now, 3));
    assert!(Event::new(5, now, 3).odd_fields().is_empty());
    assert_eq!(
        Event::of(5, Origin::new(now, 3, OddFields::default())),
        Event::new(5, now, 3)
    );
}
