//! A line in MessagePack, over a real socket: agreed on in the upgrade, used in both directions, and shared only by
//! those who ask for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::result_large_err,
    reason = "tests may panic; the WebSocket library asks for that error"
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::common;
use crate::common::{GENEROUS, Line, Peer, credentials, patient};
use crossbeam_channel::Receiver;
use serde_json::{Value, json};
use trunkline::{
    Decimal, Declared, ErrorKind, Manager, MarketEvent, Notice, Subscription, Topics, Update,
    alpaca::{self, Codec, MarketData},
    venue::Payload,
};
use tungstenite::{
    Message,
    handshake::server::{Request, Response},
};

/// A server that takes every login, and sends `data` to whoever subscribes.
fn server(data: Value) -> (Peer, Receiver<Value>) {
    serve(json!([{"T": "success", "msg": "authenticated"}]), data)
}

/// A server of MessagePack alone, which says what it was asked.
fn serve(answer: Value, data: Value) -> (Peer, Receiver<Value>) {
    let (said, heard) = crossbeam_channel::unbounded();
    let peer = Peer::start(move |line: Line| {
        let header = |request: &Request, response: Response| {
            let of = |name: &str| {
                request
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            said.send(json!({"path": request.uri().path(), "content-type": of("content-type")}))
                .unwrap();
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(&line.stream, header).unwrap();
        let pack = |value: &Value| Message::binary(rmp_serde::to_vec(value).unwrap());
        socket
            .send(pack(&json!([{"T": "success", "msg": "connected"}])))
            .unwrap();
        let mut state = BTreeMap::<String, BTreeSet<String>>::new();
        loop {
            let request: Value = match socket.read() {
                Ok(Message::Binary(bytes)) => rmp_serde::from_slice(&bytes).unwrap(),
                Ok(Message::Text(text)) => panic!("a text: {text}"),
                Ok(_) => continue,
                Err(_) => return,
            };
            said.send(request.clone()).unwrap();
            if request["action"] == "auth" {
                socket.send(pack(&answer)).unwrap();
                continue;
            }
            for (channel, symbols) in request.as_object().unwrap() {
                let symbols = serde_json::from_value::<Vec<String>>(symbols.clone());
                let listed = state.entry(channel.clone()).or_default();
                for symbol in symbols.unwrap_or_default() {
                    if request["action"] == "subscribe" {
                        listed.insert(symbol);
                    } else {
                        listed.remove(&symbol);
                    }
                }
            }
            let mut reply = json!(state);
            reply["T"] = "subscription".into();
            socket.send(pack(&json!([reply]))).unwrap();
            if request["action"] == "subscribe" {
                socket.send(pack(&data)).unwrap();
            }
        }
    });
    (peer, heard)
}

fn at(peer: &Peer, path: &str) -> MarketData {
    alpaca::market_data(format!("ws://{}{path}", peer.address()).parse().unwrap()).unwrap()
}

#[test]
fn an_options_line_speaks_messagepack_from_the_upgrade_on() {
    let contract = "MSFT260619C00450000";
    let (peer, heard) = server(json!([
        {"T": "q", "S": contract, "t": "2026-03-17T14:30:05.5Z", "bx": "C", "bp": 12.3, "bs": 11, "ax": "N",
         "ap": 12.45, "as": 201, "c": "A"},
        {"T": "t", "S": contract, "t": "2026-03-17T14:30:05.5Z", "p": 12.35, "s": 3, "x": "N", "c": "g"},
    ]));
    let manager = Manager::with_config(patient()).unwrap();
    let credentials = credentials();
    let line = manager
        .open(&at(&peer, "/v1beta1/opra"), &credentials)
        .unwrap();
    line.wait_live(GENEROUS).unwrap();
    assert_eq!(
        heard.recv_timeout(GENEROUS).unwrap(),
        json!({"path": "/v1beta1/opra", "content-type": "application/msgpack"})
    );
    let login = heard.recv_timeout(GENEROUS).unwrap();
    credentials.expose(|key, secret| {
        let expected = json!({"action": "auth", "key": key, "secret": secret});
        assert_eq!(login, expected);
    });

    let both = line
        .subscribe(
            Topics::<MarketEvent>::mixed()
                .and(alpaca::quotes([contract]))
                .and(alpaca::trades([contract])),
        )
        .unwrap();
    assert_eq!(
        heard.recv_timeout(GENEROUS).unwrap(),
        json!({"action": "subscribe", "quotes": [contract], "trades": [contract]})
    );
    let MarketEvent::Quote(quote) = next(&both) else {
        panic!()
    };
    assert_eq!(
        (quote.bid_price, quote.ask_size),
        (Decimal::new(123, 1), 201.into())
    );
    let MarketEvent::Trade(trade) = next(&both) else {
        panic!()
    };
    assert_eq!((trade.price, trade.id), (Decimal::new(1235, 2), None));
}

#[test]
fn only_those_who_ask_for_the_same_codec_share_a_line() {
    let (peer, _heard) = server(json!([]));
    let manager = Manager::with_config(patient()).unwrap();
    let credentials = credentials();
    let venue = at(&peer, "/v2/iex").codec(Codec::MessagePack);
    let line = manager.open(&venue, &credentials).unwrap();
    line.wait_live(GENEROUS).unwrap();
    let error = manager
        .open(&venue.clone().codec(Codec::Json), &credentials)
        .unwrap_err();
    let ErrorKind::SettingsConflict { differences, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!(common::names(differences), ["codec"]);
    let same = manager.open(&venue, &credentials).unwrap();
    assert_eq!(same.key(), line.key());
    assert_eq!(peer.accepted().try_iter().count(), 1);
}

#[test]
fn an_options_line_in_json_is_refused_before_anything_is_connected() {
    let (peer, _heard) = server(json!([]));
    let manager = Manager::with_config(patient()).unwrap();
    let venue = at(&peer, "/v1beta1/indicative").codec(Codec::Json);
    let error = manager.open(&venue, &credentials()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidConfig { .. }),
        "{error:?}"
    );
    assert_eq!(peer.accepted().try_iter().count(), 0);
}

#[test]
fn an_article_comes_once_to_each_who_asked_and_a_general_one_to_those_who_asked_for_all() {
    let article = |id: i64, symbols: Value| {
        let time = "2026-03-17T14:30:00Z";
        json!({"T": "n", "id": id, "headline": "A", "created_at": time, "updated_at": time, "symbols": symbols})
    };
    // Sent at each request: it takes the last one's to have all of them confirmed.
    let (peer, _heard) = server(json!([
        article(1, json!(["KO", "PEP"])),
        article(2, json!([])),
        article(3, json!(["XOM"])),
        article(4, json!(["PEP"])),
    ]));
    let manager = Manager::with_config(patient()).unwrap();
    let venue = at(&peer, "/v1beta1/news").codec(Codec::MessagePack);
    let line = manager.open(&venue, &credentials()).unwrap();
    line.wait_live(GENEROUS).unwrap();
    for (symbols, expected) in [
        (&["KO", "PEP"][..], &[1, 4][..]),
        (&["*"], &[1, 2, 3, 4]),
        (&["*", "KO", "PEP"], &[1, 2, 3, 4]),
        (&["XOM"], &[3]),
    ] {
        let news = line
            .subscribe(alpaca::news_about(symbols.iter().copied()))
            .unwrap();
        for id in expected {
            assert_eq!(next(&news).id, Some(*id), "{symbols:?}");
        }
    }
}

#[test]
fn a_secret_that_the_server_repeats_is_masked_in_messagepack_too() {
    const SECRET: &str = "not-a-secret";
    let manager = Manager::with_config(patient()).unwrap();
    let echo = format!("key with {SECRET} is unknown");
    let (peer, _heard) = serve(json!([{"T": "error", "code": 402, "msg": echo}]), json!([]));
    let line = manager
        .open(&at(&peer, "/v1beta1/opra"), &credentials())
        .unwrap();
    let error = line.wait_live(GENEROUS).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("key with ************ is unknown"),
        "{shown}"
    );
    assert!(!shown.contains(SECRET));

    // Once it is authenticated, where a text of the server's is shown: here that of an item of no known kind.
    let (peer, _heard) = server(json!([{"T": "zz", "of": [SECRET]}]));
    let line = manager
        .open(&at(&peer, "/v1beta1/opra"), &credentials())
        .unwrap();
    let trades = line.subscribe(alpaca::trades(["*"])).unwrap();
    loop {
        match trades.recv_timeout(GENEROUS).unwrap() {
            Update::Notice(Declared {
                what: Notice::Unparsed(unparsed),
                ..
            }) => {
                assert_eq!(&*unparsed.raw, r#"{"T":"zz","of":["************"]}"#);
                break;
            }
            Update::Notice(_) => {}
            _ => panic!("the end"),
        }
    }
}

#[test]
fn a_flood_of_odd_items_is_counted_to_the_last() {
    let odd = vec![json!(7); 1_000];
    let (peer, _heard) = server(json!(odd));
    let manager = Manager::with_config(patient()).unwrap();
    let line = manager
        .open(&at(&peer, "/v1beta1/opra"), &credentials())
        .unwrap();
    let trades = line.subscribe(alpaca::trades(["*"])).unwrap();
    let mut told = 0;
    while told < 1_000 {
        match trades.recv_timeout(GENEROUS).unwrap() {
            Update::Notice(Declared {
                what: Notice::Unparsed(unparsed),
                ..
            }) => told += 1 + unparsed.more,
            Update::Notice(_) => {}
            _ => panic!("the end"),
        }
    }
    assert_eq!((told, line.health().counters.unparsed), (1_000, 1_000));
}

fn next<T: Payload<Source = MarketEvent>>(subscription: &Subscription<T>) -> T {
    loop {
        match subscription.recv_timeout(GENEROUS).unwrap() {
            Update::Event(event) => return event.data,
            Update::Notice(_) => {}
            _ => panic!("the end"),
        }
    }
}
