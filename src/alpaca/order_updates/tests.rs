use std::time::Instant;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{
    alpaca,
    order::{Fill, LegFill, OrderEvent},
    topic::Topic,
    venue::{Answer, Item, Message, Output, RequestId, Routed as _},
};

const AUTHORIZED: &str =
    r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#;
const LISTENING: &str = r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#;
const NOT_LISTENING: &str = r#"{"stream":"listening","data":{"streams":[]}}"#;

/// A session, and all that it puts out, in words.
struct Told {
    session: OrderUpdatesSession,
    now: Instant,
    out: Output<OrderUpdate>,
}

impl Told {
    fn opened(key: &str) -> Self {
        Self::opened_with(key, Codec::Json)
    }

    fn opened_with(key: &str, codec: Codec) -> Self {
        let now = crate::clock::now();
        let credentials = Credentials::new(key, "not-a-secret").unwrap();
        let mut told = Self {
            session: alpaca::order_updates(Account::Paper)
                .codec(codec)
                .session(credentials),
            now,
            out: Output::default(),
        };
        told.session.handle_open(&mut told.out.context(now));
        told
    }

    fn ready() -> Self {
        let mut told = Self::opened("PKTEST");
        told.said();
        assert_eq!(told.hears(AUTHORIZED), ["up"]);
        told
    }

    fn hears(&mut self, frame: &str) -> Vec<String> {
        self.session
            .handle_frame(Frame::Text(frame), &mut self.out.context(self.now));
        self.said()
    }

    fn hears_bytes(&mut self, frame: &[u8]) -> Vec<String> {
        self.session
            .handle_frame(Frame::Binary(frame), &mut self.out.context(self.now));
        self.said()
    }

    fn listens(&mut self) -> Vec<String> {
        self.asks(Verb::Subscribe)
    }

    fn listens_no_more(&mut self) -> Vec<String> {
        self.asks(Verb::Unsubscribe)
    }

    fn asks(&mut self, verb: Verb) -> Vec<String> {
        let topics = [Topic::new(TRADE_UPDATES, "*")];
        let request = Request::new(RequestId::new(1), verb, &topics);
        self.session
            .request(request, &mut self.out.context(self.now));
        self.said()
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        let events = |events: crate::venue::Events<OrderUpdate>, said: &mut Vec<String>| {
            said.extend(
                events
                    .iter()
                    .map(|stamped| stamped.event.event.name().to_owned()),
            );
        };
        while let Some((before, item)) = self.out.next_item() {
            events(before, &mut said);
            said.push(match item {
                Item::Send(Message::Text(text)) => text,
                Item::Send(Message::Binary(bytes)) => unpacked(&bytes),
                Item::SendSecret(message) => {
                    let (bytes, text) = message.into_parts();
                    let bytes = &bytes[SecretMessage::HEADROOM..];
                    if text {
                        String::from_utf8(bytes.to_vec()).unwrap()
                    } else {
                        unpacked(bytes)
                    }
                }
                Item::Up => "up".to_owned(),
                Item::Answer(Answer::Request(None, Ok(()))) => "confirmed".to_owned(),
                Item::Answer(Answer::State(topics)) => format!("state {topics:?}"),
                Item::Answer(Answer::Request(None, Err(rejection))) => {
                    format!("refused: {rejection}")
                }
                Item::Unparsed(unparsed) => format!("unparsed: {}", unparsed.why),
                Item::Down(Verdict::Rejected(rejection)) => {
                    format!("down {:?}: {rejection}", rejection.kind)
                }
                Item::Down(Verdict::Protocol(why)) => format!("down: {why}"),
                _ => panic!("something else"),
            });
        }
        events(self.out.take_events(), &mut said);
        said
    }
}

fn update(event: &str) -> String {
    format!(r#"{{"stream":"trade_updates","data":{{"event":"{event}","order":{{"id":"o"}}}}}}"#)
}

/// JSON for MessagePack that somebody else's reader understands.
fn unpacked(bytes: &[u8]) -> String {
    rmp_serde::from_slice::<serde_json::Value>(bytes)
        .unwrap()
        .to_string()
}

/// It would be asked again for ever, with another protocol.
#[test]
fn a_server_that_greets_as_market_data_does_is_left_with_the_right_path() {
    let mut told = Told::opened("PKTEST");
    told.said();
    let said = told.hears(r#"[{"T":"success","msg":"connected"}]"#);
    assert_eq!(
        said,
        ["down BadRequest: market data is served at this path"]
    );
    assert!(told.hears(AUTHORIZED).is_empty(), "it is over");
}

#[test]
fn a_whole_conversation_in_messagepack() {
    let packed = |json: &str| {
        rmp_serde::to_vec(&serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap()
    };
    for (key, login) in [
        (
            "PKTEST",
            r#"{"action":"auth","key":"PKTEST","secret":"not-a-secret"}"#,
        ),
        (
            "oauth",
            r#"{"action":"authenticate","data":{"oauth_token":"not-a-secret"}}"#,
        ),
    ] {
        let mut told = Told::opened_with(key, Codec::MessagePack);
        assert_eq!(told.said(), [login]);
        assert_eq!(told.hears_bytes(&packed(AUTHORIZED)), ["up"]);
        assert_eq!(
            told.listens(),
            [r#"{"action":"listen","data":{"streams":["trade_updates"]}}"#]
        );
        assert_eq!(
            told.hears_bytes(&packed(LISTENING)),
            ["state [trade_updates:*]"]
        );
        assert_eq!(told.hears_bytes(&packed(&update("new"))), ["new"]);
        assert_eq!(
            told.hears_bytes(b"\xc1"),
            ["unparsed: no array of messages"]
        );
        assert_eq!(
            told.listens_no_more(),
            [r#"{"action":"listen","data":{"streams":[]}}"#]
        );
    }
    let venue = alpaca::order_updates(Account::Paper).codec(Codec::MessagePack);
    assert_eq!(
        venue.headers(),
        [("Content-Type", "application/msgpack".to_owned())]
    );
}

#[test]
fn a_whole_conversation_in_text_and_in_binary() {
    for binary in [false, true] {
        let mut told = Told::opened("PKTEST");
        let hears = |told: &mut Told, frame: &str| {
            if binary {
                told.hears_bytes(frame.as_bytes())
            } else {
                told.hears(frame)
            }
        };
        assert_eq!(
            told.said(),
            [r#"{"action":"auth","key":"PKTEST","secret":"not-a-secret"}"#]
        );
        assert_eq!(hears(&mut told, AUTHORIZED), ["up"]);
        assert_eq!(
            told.listens(),
            [r#"{"action":"listen","data":{"streams":["trade_updates"]}}"#]
        );
        assert_eq!(hears(&mut told, LISTENING), ["state [trade_updates:*]"]);
        assert_eq!(hears(&mut told, &update("new")), ["new"]);
        assert_eq!(
            told.listens_no_more(),
            [r#"{"action":"listen","data":{"streams":[]}}"#]
        );
        assert_eq!(hears(&mut told, NOT_LISTENING), ["state []"]);
    }
}

#[test]
fn a_token_is_sent_as_one() {
    assert_eq!(
        Told::opened("oauth").said(),
        [r#"{"action":"authenticate","data":{"oauth_token":"not-a-secret"}}"#]
    );
}

/// Quirk 17.
#[test]
fn an_update_before_the_reply_to_listen_confirms_it_first_and_is_not_lost() {
    let mut told = Told::ready();
    told.listens();
    assert_eq!(told.hears(&update("new")), ["confirmed", "new"]);
    assert_eq!(told.hears(&update("canceled")), ["canceled"]);
    // The reply comes late, and says what is known.
    assert_eq!(told.hears(LISTENING), ["state [trade_updates:*]"]);
    // What was on its way when listening stopped confirms nothing.
    told.listens_no_more();
    assert_eq!(told.hears(&update("expired")), ["expired"]);
}

#[test]
fn a_reply_without_the_stream_is_a_refusal() {
    let mut told = Told::ready();
    told.listens();
    assert_eq!(
        told.hears(NOT_LISTENING),
        ["refused: the venue left `trade_updates` out of its reply"]
    );
    // Of a later request it may be the late answer to an earlier one.
    told.listens();
    assert_eq!(told.hears(NOT_LISTENING), ["state []"]);
    assert_eq!(told.hears(LISTENING), ["state [trade_updates:*]"]);
}

#[test]
fn what_the_venue_says_to_a_login() {
    for (frame, does) in [
        (
            r#"{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}"#,
            "down Credentials: unauthorized",
        ),
        (
            r#"{"stream":"authorization","data":{"action":"authenticate","message":"access key verification failed","status":"unauthorized"}}"#,
            "down Credentials: unauthorized: access key verification failed",
        ),
        (
            r#"{"stream":"authorization","data":{"status":"too_many_connections","action":"authenticate"}}"#,
            "down ConnectionLimit: too_many_connections",
        ),
        (
            r#"{"stream":"authorization","data":{"status":"on holiday","action":"authenticate"}}"#,
            "down Temporary: on holiday",
        ),
        (
            r#"{"stream":"listening","data":{"error":"your connection is rejected while another connection is open under the same account"}}"#,
            "down ConnectionLimit: your connection is rejected while another connection is open under the same account",
        ),
        (
            r#"{"stream":"listening","data":{"error":"your connection is already authenticated"}}"#,
            "up",
        ),
        (
            r#"{"stream":"listening","data":{"error":"Rejected while ANOTHER CONNECTION is open"}}"#,
            "down ConnectionLimit: Rejected while ANOTHER CONNECTION is open",
        ),
        (
            r#"{"stream":"listening","data":{"error":"something else"}}"#,
            "down Temporary: something else",
        ),
        (
            r#"{"action":"error","data":{"error_message":"internal server error"}}"#,
            "down Temporary: internal server error",
        ),
        (
            r#"{"stream":"authorization","data":{"status":"UNAUTHORIZED","action":"authenticate"}}"#,
            "down Credentials: UNAUTHORIZED",
        ),
        (
            r#"{"action":"error","data":{"message":"internal server error"}}"#,
            "down Temporary: internal server error",
        ),
    ] {
        let mut told = Told::opened("PKTEST");
        told.said();
        assert_eq!(told.hears(frame), [does]);
        if does != "up" {
            assert_eq!(told.hears(AUTHORIZED), [""; 0], "it is down");
        }
    }
}

#[test]
fn what_the_venue_says_later() {
    for (frame, does) in [
        (AUTHORIZED, None),
        (
            r#"{"stream":"authorization","data":{"status":"unauthorized","action":"listen"}}"#,
            Some("down Temporary: unauthorized"),
        ),
        (
            r#"{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}"#,
            Some("down Credentials: unauthorized"),
        ),
        (
            r#"{"action":"error","data":{"error_message":"internal server error"}}"#,
            Some("down Temporary: internal server error"),
        ),
        (
            r#"{"stream":"listening","data":{"error":"your connection is already authenticated"}}"#,
            None,
        ),
        (
            r#"{"stream":"listening","data":{"error":"no such stream"}}"#,
            Some("refused: no such stream"),
        ),
        (
            r#"{"stream":"trade_updates","data":null}"#,
            Some("unparsed: there is nothing in field `data`"),
        ),
        (
            r#"{"stream":"gossip","data":{}}"#,
            Some("unparsed: unknown stream `gossip`"),
        ),
    ] {
        let mut told = Told::ready();
        told.listens();
        assert_eq!(told.hears(frame), does.as_slice(), "{frame}");
    }
}

/// Quirk 13.
#[test]
fn the_single_byte_of_old_servers_is_nothing_in_any_state() {
    let mut told = Told::opened("PKTEST");
    told.said();
    assert_eq!(told.hears_bytes(&[1]), [""; 0]);
    assert_eq!(told.hears(AUTHORIZED), ["up"]);
    assert_eq!(told.hears_bytes(&[1]), [""; 0]);
}

#[test]
fn a_key_of_the_other_account_and_its_host_are_refused() {
    let [paper, live] =
        ["PKEXAMPLE", "AKEXAMPLE"].map(|key| Credentials::new(key, "not-a-secret").unwrap());
    let unnamed = Credentials::new("CKEXAMPLE", "not-a-secret").unwrap();
    let on_paper = alpaca::order_updates(Account::default());
    let for_real = alpaca::order_updates(Account::Live);
    assert!(on_paper.admit(&paper).is_ok() && on_paper.admit(&unnamed).is_ok());
    assert!(for_real.admit(&live).is_ok() && for_real.admit(&unnamed).is_ok());
    for (venue, credentials) in [(&on_paper, &live), (&for_real, &paper)] {
        let error = venue.admit(credentials).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::WrongAccount { .. }),
            "{error:?}"
        );
    }
    let disguised = on_paper.clone().at(for_real.endpoint().clone());
    let error = disguised.admit(&unnamed).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidEndpoint { .. }),
        "{error:?}"
    );
}

#[test]
fn endpoints_names_and_topics() {
    let venue = alpaca::order_updates(Account::default());
    assert_eq!(venue.to_string(), "wss://paper-api.alpaca.markets/stream");
    assert_eq!(
        alpaca::order_updates(Account::Live).to_string(),
        "wss://api.alpaca.markets/stream"
    );
    assert_eq!(Account::Live.rest_url(), "https://api.alpaca.markets");
    let credentials = Credentials::new("PKEXAMPLE", "not-a-secret").unwrap();
    assert_eq!(
        venue.label(&credentials),
        "alpaca order updates, paper account"
    );
    assert!(
        alpaca::orders()
            .iter()
            .all(|topic| venue.validate(topic).is_ok())
    );
    for topic in [
        Topic::new(TRADE_UPDATES, "KO"),
        Topic::new(crate::market::TRADES, "*"),
    ] {
        assert!(venue.validate(&topic).is_err());
    }
}

#[test]
fn a_repeat_is_the_same_event_of_the_same_order_with_the_same_execution_id() {
    let update = OrderUpdate {
        execution_id: Some("e1".into()),
        ..OrderUpdate::default()
    };
    let id = update.unique_id();
    assert!(id.is_some());
    let mut again = update.clone();
    again.order.filled_qty = rust_decimal::Decimal::ONE;
    assert_eq!(again.unique_id(), id);
    again.event = OrderEvent::Canceled;
    assert_ne!(again.unique_id(), id);
}

/// The same update with one thing changed, and whether it is another event then.
#[test]
fn a_repeat_is_told_by_the_best_id_that_there_is() {
    let leg = |id: Option<&str>| LegFill {
        execution_id: id.map(Code::from),
        ..LegFill::default()
    };
    let legs = |legs: Vec<LegFill>| {
        OrderEvent::Fill(Fill {
            legs,
            ..Fill::default()
        })
    };
    let time = |text: &str| Some(text.parse().unwrap());
    let moment = |update: OrderUpdate| OrderUpdate {
        timestamp: time("2026-03-17T14:30:05Z"),
        ..update
    };
    let bare = OrderUpdate::default;
    let by_event_id = OrderUpdate {
        event_id: Some("1".into()),
        execution_id: Some("e".into()),
        ..bare()
    };
    let mut later = moment(bare());
    later.timestamp = time("2026-03-17T14:30:06Z");
    let mut more = moment(bare());
    more.order.filled_qty = rust_decimal::Decimal::ONE;
    let mut other_order = moment(bare());
    other_order.order.id = "p".into();
    let mut updated = bare();
    updated.order.updated_at = time("2026-03-17T14:30:05Z");
    let mut updated_later = bare();
    updated_later.order.updated_at = time("2026-03-17T14:30:06Z");
    let canceled = |update: OrderUpdate| OrderUpdate {
        event: OrderEvent::Canceled,
        ..update
    };
    let of_legs = |ids: &[Option<&str>]| OrderUpdate {
        event: legs(ids.iter().map(|id| leg(*id)).collect()),
        ..moment(bare())
    };
    for (one, other, same) in [
        (by_event_id.clone(), by_event_id.clone(), true),
        (by_event_id.clone(), moment(by_event_id.clone()), true),
        (
            by_event_id.clone(),
            OrderUpdate {
                event_id: Some("2".into()),
                ..by_event_id.clone()
            },
            false,
        ),
        (by_event_id.clone(), canceled(by_event_id.clone()), false),
        (
            of_legs(&[Some("a"), Some("b")]),
            of_legs(&[Some("a"), Some("b")]),
            true,
        ),
        (
            of_legs(&[Some("a"), Some("b")]),
            of_legs(&[Some("a"), Some("c")]),
            false,
        ),
        // Ids of some legs alone say nothing of the others.
        (
            of_legs(&[Some("a"), None]),
            of_legs(&[Some("b"), None]),
            true,
        ),
        (moment(bare()), moment(bare()), true),
        (moment(bare()), canceled(moment(bare())), false),
        (moment(bare()), later, false),
        (moment(bare()), more, false),
        (moment(bare()), other_order, false),
        (updated.clone(), updated.clone(), true),
        (updated, updated_later, false),
    ] {
        let (one, other) = (one.unique_id(), other.unique_id());
        assert!(one.is_some());
        assert_eq!(one == other, same, "{one:?} {other:?}");
    }
    assert_eq!(bare().unique_id(), None, "nothing says when it happened");
}

#[test]
fn a_set_up_waits_past_strangers_in_front_of_every_step() {
    for stranger in alpaca::market_data::tests::STRANGERS.into_iter().chain([
        LISTENING,
        r#"{"stream":"trade_updates","data":null}"#,
        r#"{"stream":"gossip","data":{}}"#,
        "<html>",
        "[]",
    ]) {
        let update = update("new");
        for stranger in [stranger, &update] {
            // Whatever says that the login was accepted or refused is none.
            let is_answer = stranger.contains("authorization");
            let mut told = Told::opened("PKTEST");
            told.said();
            for said in told.hears(stranger) {
                assert!(
                    said.starts_with("unparsed") || is_answer,
                    "{stranger}: {said}"
                );
            }
            if !is_answer {
                assert_eq!(told.hears(AUTHORIZED), ["up"], "{stranger}");
            }
        }
    }
}

/// A frame, and what becomes of it in every state of a session.
fn survives(frame: &[u8]) {
    for codec in [Codec::Json, Codec::MessagePack] {
        for state in 0..3 {
            let mut told = Told::opened_with("PKTEST", codec);
            if state > 0 {
                told.hears(AUTHORIZED);
            }
            if state > 1 {
                told.listens();
            }
            told.said();
            told.hears_bytes(frame);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_session_panic(frame in vec(any::<u8>(), 0..500)) {
        survives(&frame);
    }

    #[test]
    fn no_change_of_a_good_frame_makes_a_session_panic(
        packed in any::<bool>(),
        changes in vec((any::<Index>(), 0..40_usize, vec(any::<u8>(), 0..8)), 1..5),
    ) {
        let json = orders::tests::PARTIAL_FILL;
        let mut frame = if packed {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            rmp_serde::to_vec(&value).unwrap()
        } else {
            json.as_bytes().to_vec()
        };
        for (at, len, bytes) in changes {
            let start = at.index(frame.len() + 1);
            let end = (start + len).min(frame.len());
            frame.splice(start..end, bytes);
        }
        survives(&frame);
    }
}
