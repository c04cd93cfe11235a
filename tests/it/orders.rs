//! Order updates over real sockets: none is lost, none comes twice, and paper and live are kept apart.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

use std::{net::TcpStream, time::Duration};

use crate::common;
use crate::common::{GENEROUS, Peer, Venue, credentials, patient, until};
use crossbeam_channel::Receiver;
use trunkline::{
    Config, Credentials, Decimal, Declared, EndReason, Endpoint, ErrorKind, Manager, Notice,
    OrderUpdate, Overflow, StreamHandle, Subscription, Update,
    alpaca::{self, Account, Codec, OrderUpdates},
    order::{OrderEvent, OrderStatus, Side},
    sim::{Sim, SimConfig},
    testing,
};

// ------------------------------------------------------------------------------------------------------- what it takes

const AUTHORIZED: &str =
    r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#;
const LISTENING: &str = r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#;

/// A server that authenticates whoever comes, and then follows the script.
fn trading(script: impl Fn(&mut Venue<TcpStream>, usize) + Send + Sync + 'static) -> Peer {
    Peer::start(move |line| {
        let mut venue = line.venue();
        let login = venue.hear().unwrap_or_default();
        assert!(login.starts_with(r#"{"action":"auth","key":"PKTEST"#));
        venue.say(AUTHORIZED);
        script(&mut venue, line.number);
    })
}

/// Waits for `listen`, and confirms it.
fn listen(venue: &mut Venue<TcpStream>) {
    hear_listen(venue);
    venue.say(LISTENING);
}

fn hear_listen(venue: &mut Venue<TcpStream>) {
    let request = venue.hear().unwrap_or_default();
    assert!(
        request.contains(r#""streams":["trade_updates"]"#),
        "{request}"
    );
}

fn venue_at(peer: &Peer) -> OrderUpdates {
    let endpoint: Endpoint = format!("ws://{}/stream", peer.address()).parse().unwrap();
    alpaca::order_updates(Account::Paper).at(endpoint)
}

fn open(peer: &Peer, config: Config) -> StreamHandle<OrderUpdates> {
    let manager = Manager::with_config(config).unwrap();
    manager.open(&venue_at(peer), &credentials()).unwrap()
}

/// Connects again at once.
fn quick() -> Config {
    let mut config = Config::default();
    config.backoff.initial = Duration::from_millis(5);
    config.backoff.cap = Duration::from_millis(10);
    config
}

fn report(execution: impl std::fmt::Display) -> String {
    format!(
        r#"{{"stream":"trade_updates","data":{{"event":"new","execution_id":"{execution}","order":{{"id":"o","symbol":"KO"}}}}}}"#
    )
}

/// The next update in one word: an execution id, or what it is.
fn next(orders: &Subscription<OrderUpdate>) -> String {
    match orders.recv_timeout(GENEROUS).expect("an update in time") {
        Update::Event(event) => event.execution_id.clone().unwrap_or_default().to_string(),
        Update::Gap(_) => "gap".to_owned(),
        Update::Notice(Declared {
            what: Notice::Confirmed { .. },
            ..
        }) => "confirmed".to_owned(),
        Update::Notice(Declared {
            what: Notice::Resumed { .. },
            ..
        }) => "resumed".to_owned(),
        Update::Notice(notice) => notice.to_string(),
        Update::Ended(ended) => match ended.what.reason {
            EndReason::Failed(error) => error.code().to_owned(),
            reason => reason.to_string(),
        },
        Update::Dropped(dropped) => panic!("dropped {dropped}"),
    }
}

fn next_of(orders: &Subscription<OrderUpdate>, count: usize) -> Vec<String> {
    (0..count).map(|_| next(orders)).collect()
}

/// Waits until so many repeats were counted, and no more: they are, right after the batch is handed out.
fn until_counted(account: &StreamHandle<OrderUpdates>, repeats: u64) {
    let counted = || account.health().counters.repeats;
    until("the repeats are counted", || counted() >= repeats);
    assert_eq!(counted(), repeats);
}

/// Waits for a word of the test's; or for its end.
fn wait_for(word: &Receiver<()>) {
    let _ = word.recv_timeout(GENEROUS);
}

// -------------------------------------------------------------------------------------------------------- none is lost

#[test]
fn queues_that_drop_are_refused_before_anything_is_sent() {
    let peer = trading(|venue, _| {
        let request = venue.hear();
        assert_eq!(request, None, "nothing was asked for");
    });
    let account = open(&peer, patient());
    account.wait_live(GENEROUS).unwrap();
    for topics in [
        alpaca::orders().queue(10, Overflow::DropOldest),
        alpaca::orders().queue(10, Overflow::DropNewest),
        alpaca::orders().queue(10, Overflow::Conflate),
        alpaca::orders().conflate(),
    ] {
        let error = account.subscribe(topics).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::LossyQueue { .. }),
            "{error:?}"
        );
        assert_eq!(error.code(), "lossy_queue");
    }
    assert_eq!(account.health().counters.requests, 0);
    assert!(account.health().subscriptions.is_empty());
}

#[test]
fn a_queue_ends_when_it_overflows_whatever_the_configuration_says() {
    let peer = trading(|venue, _| {
        listen(venue);
        venue.serve();
    });
    let mut config = patient();
    config.queue.events = 7;
    config.queue.overflow = Overflow::DropOldest;
    let orders = open(&peer, config).subscribe(alpaca::orders()).unwrap();
    let health = orders.health();
    assert_eq!((health.capacity, health.overflow), (7, Overflow::End));
}

#[test]
fn what_a_slow_reader_got_is_a_gapless_prefix_and_others_get_everything() {
    let peer = trading(|venue, _| {
        listen(venue);
        for number in 0..100 {
            venue.say(report(number));
        }
        venue.serve();
    });
    let account = open(&peer, patient());
    let short = alpaca::orders().queue(10, Overflow::End);
    let slow = account.subscribe(short).unwrap();
    let attentive = account.subscribe(alpaca::orders()).unwrap();
    let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(next(&attentive), "confirmed");
    assert_eq!(next_of(&attentive, 100), all);
    assert_eq!(next(&slow), "confirmed");
    let mut got = Vec::new();
    let end = loop {
        match next(&slow) {
            word if word == "overflow" => break word,
            word => got.push(word),
        }
        assert!(got.len() <= 10, "{got:?}");
    };
    assert_eq!(
        (got.as_slice(), end.as_str()),
        (&all[..got.len()], "overflow")
    );
    assert!(slow.recv_timeout(GENEROUS).is_err(), "nothing follows");
}

#[test]
fn an_update_before_the_reply_to_listen_is_delivered_behind_the_confirmation() {
    let peer = trading(|venue, _| {
        hear_listen(venue);
        venue.say(report("early"));
        venue.say(LISTENING);
        venue.say(report("late"));
        venue.serve();
    });
    let orders = open(&peer, patient()).subscribe(alpaca::orders()).unwrap();
    orders.wait_confirmed(GENEROUS).unwrap();
    assert_eq!(next_of(&orders, 3), ["confirmed", "early", "late"]);
}

#[test]
fn wait_confirmed_returns_once_fills_are_seen_and_not_before() {
    let (say, word) = crossbeam_channel::bounded(1);
    let peer = trading(move |venue, _| {
        hear_listen(venue);
        wait_for(&word);
        venue.say(LISTENING);
        venue.serve();
    });
    let orders = open(&peer, patient()).subscribe(alpaca::orders()).unwrap();
    let early = orders
        .wait_confirmed(Duration::from_millis(50))
        .unwrap_err();
    assert!(
        matches!(early.kind(), ErrorKind::TimedOut { .. }),
        "{early:?}"
    );
    say.send(()).unwrap();
    orders.wait_confirmed(GENEROUS).unwrap();
}

#[test]
fn a_venue_that_leaves_the_stream_out_has_refused_it() {
    let peer = trading(|venue, _| {
        hear_listen(venue);
        venue.say(r#"{"stream":"listening","data":{"streams":[]}}"#);
        venue.serve();
    });
    let orders = open(&peer, patient()).subscribe(alpaca::orders()).unwrap();
    let error = orders.wait_confirmed(GENEROUS).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Refused { .. }),
        "{error:?}"
    );
}

#[test]
fn what_cannot_be_read_costs_itself_and_is_shown() {
    let peer = trading(|venue, _| {
        listen(venue);
        venue.say(report(1));
        venue.say(r#"{"stream":"trade_updates","data":null}"#);
        let _ = venue.0.send(tungstenite::Message::binary(vec![1]));
        let _ = venue.0.send(tungstenite::Message::binary(report(2)));
        venue.serve();
    });
    let account = open(&peer, patient());
    let orders = account.subscribe(alpaca::orders()).unwrap();
    assert_eq!(next_of(&orders, 2), ["confirmed", "1"]);
    assert!(next(&orders).starts_with("unparsed (there is nothing in field `data`)"));
    assert_eq!(next(&orders), "2");
    assert_eq!(account.health().counters.unparsed, 1);
}

// ----------------------------------------------------------------------------------------------------- none comes twice

#[test]
fn what_the_venue_repeats_is_delivered_once_to_each_across_reconnects() {
    let (say, word) = crossbeam_channel::bounded(1);
    let peer = trading(move |venue, number| {
        listen(venue);
        if number == 0 {
            for execution in ["1", "2", "2", "3"] {
                venue.say(report(execution));
            }
            // Then the connection ends.
            wait_for(&word);
        } else {
            for execution in ["2", "3", "4"] {
                venue.say(report(execution));
            }
            venue.serve();
        }
    });
    let account = open(&peer, quick());
    let first = account.subscribe(alpaca::orders()).unwrap();
    assert_eq!(next_of(&first, 4), ["confirmed", "1", "2", "3"]);
    until_counted(&account, 1);
    // To somebody who comes later, what is sent again is no repeat.
    let second = account.subscribe(alpaca::orders()).unwrap();
    assert_eq!(next(&second), "confirmed");
    say.send(()).unwrap();
    assert_eq!(next_of(&first, 3), ["gap", "resumed", "4"]);
    assert_eq!(next_of(&second, 5), ["gap", "resumed", "2", "3", "4"]);
    until_counted(&account, 3);
    assert_eq!(account.health().counters.events, 7);
}

/// Every kind of event, with each way to tell that it is a repeat: twice on one connection, and again on the next.
#[test]
fn every_kind_of_event_comes_once_however_it_is_told_apart() {
    const KINDS: [&str; 22] = [
        "accepted",
        "pending_new",
        "new",
        "partial_fill",
        "fill",
        "canceled",
        "expired",
        "done_for_day",
        "replaced",
        "rejected",
        "stopped",
        "pending_cancel",
        "pending_replace",
        "pending_review",
        "calculated",
        "suspended",
        "held",
        "order_cancel_rejected",
        "order_replace_rejected",
        "restated",
        "trade_bust",
        "trade_correct",
    ];
    const TOLD_BY: [&str; 5] = [
        r#""event_id":"01JPHX""#,
        r#""execution_id":"e1""#,
        r#""legs":[{"execution_id":"l1"},{"execution_id":"l2"}]"#,
        r#""timestamp":"2026-03-17T14:30:05Z""#,
        r#""price":"1""#,
    ];
    let reports = || {
        KINDS.iter().flat_map(|kind| {
            TOLD_BY.iter().enumerate().map(move |(order, id)| {
                format!(
                    r#"{{"stream":"trade_updates","data":{{"event":"{kind}","price":"1","qty":"2",{id},"order":{{"id":"{order}","symbol":"KO","filled_qty":"2","updated_at":"2026-03-17T14:30:05.2Z"}}}}}}"#
                )
                .replace(r#""price":"1","qty":"2","price":"1""#, r#""price":"1","qty":"2""#)
            })
        })
    };
    let all = reports().count();
    let (say, word) = crossbeam_channel::bounded(1);
    let peer = trading(move |venue, number| {
        listen(venue);
        for report in reports().chain(reports()) {
            venue.say(report);
        }
        if number == 0 {
            // Then the connection ends.
            wait_for(&word);
        } else {
            venue.say(report("last"));
            venue.serve();
        }
    });
    let account = open(&peer, quick());
    let orders = account.subscribe(alpaca::orders()).unwrap();
    assert_eq!(next(&orders), "confirmed");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..all {
        let Update::Event(event) = orders.recv_timeout(GENEROUS).unwrap() else {
            panic!()
        };
        assert!(event.odd_fields().is_empty());
        let name = event.event.name().to_owned();
        assert!(seen.insert((name, event.order.id.clone())), "{event:?}");
    }
    until_counted(&account, all as u64);
    say.send(()).unwrap();
    assert_eq!(next_of(&orders, 3), ["gap", "resumed", "last"]);
    until_counted(&account, 3 * all as u64);
}

/// What nobody needs of a fill does not cost it, and what everybody needs is a loss that `strict` makes an error of.
#[test]
fn a_fill_is_lost_for_what_it_needs_and_for_nothing_else() {
    let fill = |fields: &str| {
        format!(
            r#"{{"stream":"trade_updates","data":{{"event":"FILL","qty":"2",{fields},"order":{{"id":"o","symbol":"KO","hwm":{{}}}}}}}}"#
        )
    };
    let peer = trading(move |venue, _| {
        listen(venue);
        venue.say(fill(r#""price":"61.2","event_id":{},"execution_id":7"#));
        venue.say(fill(r#""price":"high","execution_id":8"#));
        venue.say(fill(r#""price":61.3,"execution_id":9"#));
        venue.serve();
    });
    let account = open(&peer, patient());
    let orders = account.subscribe(alpaca::orders()).unwrap();
    let strictly = || orders.recv_timeout(GENEROUS).unwrap().strict();
    assert!(matches!(strictly(), Ok(None)), "confirmed");
    let event = strictly().unwrap().unwrap();
    assert_eq!(event.odd_fields().to_string(), "order.hwm event_id");
    assert_eq!(event.execution_id.as_deref(), Some("7"));
    assert_eq!(event.fill().unwrap().price, Decimal::new(612, 1));
    let error = strictly().unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Missed { .. }),
        "{error:?}"
    );
    assert_eq!(
        strictly().unwrap().unwrap().execution_id.as_deref(),
        Some("9")
    );
    let counters = account.health().counters;
    assert_eq!((counters.unparsed, counters.odd_events), (1, 2));
}

#[test]
fn one_execution_id_for_two_kinds_of_event_is_not_a_repeat() {
    let peer = trading(|venue, _| {
        listen(venue);
        venue.say(report(1));
        venue.say(report(1).replace(r#""new""#, r#""canceled""#));
        venue.say(report(1).replace(r#""id":"o""#, r#""id":"p""#));
        venue.serve();
    });
    let orders = open(&peer, patient()).subscribe(alpaca::orders()).unwrap();
    assert_eq!(next_of(&orders, 4), ["confirmed", "1", "1", "1"]);
}

// ---------------------------------------------------------------------------------------------- against the simulator

#[test]
fn fills_of_the_simulator_come_in_every_encoding_and_positions_survive_a_cut() {
    for (codec, in_binary) in [
        (Codec::Json, false),
        (Codec::Json, true),
        (Codec::MessagePack, true),
    ] {
        let mut config = SimConfig::default();
        config.rate = 0;
        config.orders_in_binary = in_binary;
        let sim = Sim::start(config).unwrap();
        let manager = Manager::with_config(quick()).unwrap();
        let venue = sim.order_updates().codec(codec);
        let account = manager.open(&venue, &credentials()).unwrap();
        let orders = account.subscribe(alpaca::orders()).unwrap();
        orders.wait_confirmed(GENEROUS).unwrap();
        let price = Decimal::new(6_128, 2);
        sim.fill("KO", Side::Buy, Decimal::from(100), price);
        let mut seen = Vec::new();
        while seen.len() < 4 {
            match orders.recv_timeout(GENEROUS).unwrap() {
                Update::Event(update) => {
                    if let Some(fill) = update.fill() {
                        assert_eq!((fill.price, &*update.order.symbol), (price, "KO"));
                        seen.push(fill.position_qty.unwrap().to_string());
                    }
                    if seen.len() == 1 && update.fill().is_some() {
                        sim.cut();
                    }
                }
                Update::Gap(_) => seen.push("gap".to_owned()),
                Update::Notice(Declared {
                    what: Notice::Resumed { .. },
                    ..
                }) => {
                    seen.push("resumed".to_owned());
                    sim.fill("KO", Side::Sell, Decimal::from(30), price);
                }
                _ => {}
            }
        }
        assert_eq!(seen, ["100", "gap", "resumed", "70"]);
        assert_eq!(sim.stats().most_open_per_key, 1);
    }
}

#[test]
fn the_account_of_a_fill_in_the_simulator_has_one_line_and_data_has_another() {
    let sim = Sim::start(SimConfig::default()).unwrap();
    let (manager, credentials) = (Manager::new(), credentials());
    let account = manager.open(&sim.order_updates(), &credentials).unwrap();
    let again = manager.open(&sim.order_updates(), &credentials).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    for line in [&account, &again] {
        line.wait_live(GENEROUS).unwrap();
    }
    feed.wait_live(GENEROUS).unwrap();
    assert_ne!(account.key(), feed.key());
    assert_eq!(sim.stats().connections_opened, 2);
}

// ----------------------------------------------------------------------------------------- logins, accounts and endings

#[test]
fn rejected_credentials_end_the_stream_and_say_why_without_them() {
    let peer = Peer::start(|line| {
        let mut venue = line.venue();
        let login = venue.hear().unwrap_or_default();
        let reflected = login.escape_default();
        venue.say(format!(
            r#"{{"stream":"authorization","data":{{"status":"unauthorized","action":"authenticate","message":"no: {reflected}"}}}}"#
        ));
        venue.serve();
    });
    let credentials = Credentials::new("PKREFLECTED", "reflected-secret").unwrap();
    let account = Manager::new().open(&venue_at(&peer), &credentials).unwrap();
    let orders = account.subscribe(alpaca::orders()).unwrap();
    let error = account.wait_live(GENEROUS).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Rejected { .. }),
        "{error:?}"
    );
    let shown = format!("{error} {error:?} {}", account.health());
    assert!(shown.contains("unauthorized"), "{shown}");
    assert!(!shown.contains("reflected-secret") && !shown.contains("PKREFLECTED"));
    assert_eq!(next(&orders), "rejected");
}

#[test]
fn another_connection_under_the_account_is_a_limit_and_waited_out() {
    let peer = Peer::start(|line| {
        let mut venue = line.venue();
        venue.hear();
        venue.say(r#"{"stream":"listening","data":{"error":"your connection is rejected while another connection is open under the same account"}}"#);
        venue.serve();
    });
    let account = open(&peer, Config::default());
    until("the next attempt is planned", || {
        account.health().next_attempt_in.is_some()
    });
    let error = account.wait_live(Duration::ZERO).unwrap_err();
    let ErrorKind::TimedOut {
        cause: Some(cause),
        retry_in,
        ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert!(
        matches!(cause.kind(), ErrorKind::ConnectionLimit { .. }),
        "{cause:?}"
    );
    assert!(retry_in.is_some());
}

#[test]
fn a_key_of_the_other_account_is_refused_before_anything_is_connected() {
    let peer = trading(|_, _| {});
    let live = Credentials::new("AKLIVE", "not-a-secret").unwrap();
    let error = Manager::new().open(&venue_at(&peer), &live).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongAccount { .. }),
        "{error:?}"
    );
    assert!(peer.accepted().is_empty());
}

#[test]
fn two_who_disagree_about_the_account_do_not_share_a_line() {
    let peer = Peer::start(|line| line.venue().serve());
    let manager = Manager::new();
    // A key that says nothing of its account.
    let credentials = Credentials::new("CKNEUTRAL", "not-a-secret").unwrap();
    let at = |account, path| {
        let url = format!("ws://{}{path}", peer.address());
        alpaca::order_updates(account).at(url.parse().unwrap())
    };
    let paper = manager
        .open(&at(Account::Paper, "/stream"), &credentials)
        .unwrap();
    let again = manager
        .open(&at(Account::Paper, "/stream/"), &credentials)
        .unwrap();
    assert_eq!(
        paper.key(),
        again.key(),
        "a trailing slash makes no other endpoint"
    );
    let error = manager
        .open(&at(Account::Live, "/stream"), &credentials)
        .unwrap_err();
    let ErrorKind::SettingsConflict { differences, .. } = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(common::names(differences), ["account"]);
}

#[test]
fn dropping_the_last_subscription_stops_listening_and_a_new_one_listens_again() {
    let (tell, told) = crossbeam_channel::unbounded();
    let peer = trading(move |venue, _| {
        while let Some(request) = venue.hear() {
            let listens = request.contains("trade_updates");
            let _ = tell.send(listens);
            if listens {
                venue.say(LISTENING);
                venue.say(report(1));
            } else {
                // On its way when the venue was told to stop: nobody is left whom it could be for.
                venue.say(report(0));
                venue.say(r#"{"stream":"listening","data":{"streams":[]}}"#);
            }
        }
    });
    let account = open(&peer, patient());
    let orders = account.subscribe(alpaca::orders()).unwrap();
    orders.wait_confirmed(GENEROUS).unwrap();
    assert_eq!(told.recv_timeout(GENEROUS), Ok(true));
    drop(orders);
    assert_eq!(told.recv_timeout(GENEROUS), Ok(false));
    let orders = account.subscribe(alpaca::orders()).unwrap();
    orders.wait_confirmed(GENEROUS).unwrap();
    assert_eq!(told.recv_timeout(GENEROUS), Ok(true));
    // Another subscription has not seen it, so it is no repeat.
    assert_eq!(next_of(&orders, 2), ["confirmed", "1"]);
}

#[test]
fn a_fault_of_the_server_is_a_gap() {
    let peer = trading(|venue, number| {
        listen(venue);
        venue.say(report(number));
        if number == 0 {
            venue.say(r#"{"action":"error","data":{"error_message":"internal server error"}}"#);
        }
        venue.serve();
    });
    let orders = open(&peer, quick()).subscribe(alpaca::orders()).unwrap();
    assert_eq!(
        next_of(&orders, 5),
        ["confirmed", "0", "gap", "resumed", "1"]
    );
}

/// What a bot needs of an update, without a stream: event types can be built by hand.
#[test]
fn updates_can_be_made_by_hand() {
    let order = testing::order("KO", Side::Sell, 100);
    let canceled = testing::order_update(&order, OrderEvent::Canceled);
    assert_eq!(canceled.fill(), None);
    assert!(canceled.to_string().contains("canceled"));

    let first = testing::fill(&order, 40, "61.28");
    assert!(matches!(first.event, OrderEvent::PartialFill(_)));
    assert_eq!(first.order.status, OrderStatus::PartiallyFilled);
    let last = testing::fill(&first.order, 60, "61.33");
    assert!(matches!(last.event, OrderEvent::Fill(_)));
    assert_eq!(last.order.status, OrderStatus::Filled);
    assert_eq!(last.order.filled_qty, 100.into());
    assert_eq!(last.order.filled_avg_price, Some("61.31".parse().unwrap()));
    let fill = last.fill().unwrap();
    assert_eq!(fill.position_qty, Some((-100).into()));
    assert_ne!(first.execution_id, last.execution_id);
}
