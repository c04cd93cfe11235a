//! The trading stream's rules.

use rust_decimal::Decimal;

use super::*;
use crate::{
    order::{OrderEvent, OrderUpdate, Side},
    sim::FaultKind,
};

const STREAM: &str = "/stream";
const OLD_AUTH: &str = r#"{"action":"authenticate","data":{"key_id":"PKONE","secret_key":"s1"}}"#;
const LISTEN: &str = r#"{"action":"listen","data":{"streams":["trade_updates"]}}"#;
const AUTHORIZED: &str =
    r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#;
const UNAUTHORIZED: &str =
    r#"{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}"#;
const LISTENING: &str = r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#;
const NOT_LISTENING: &str = r#"{"stream":"listening","data":{"streams":[]}}"#;

fn in_text() -> Scenario {
    Scenario::new(|config| {
        config.orders_in_binary = false;
        config.rate = 0;
    })
}

fn listening(mut scenario: Scenario) -> Scenario {
    assert_eq!(scenario.open(ONE, STREAM), [""; 0], "there is no welcome");
    assert_eq!(scenario.say(ONE, AUTH), [AUTHORIZED]);
    assert_eq!(scenario.say(ONE, LISTEN), [LISTENING]);
    scenario
}

fn push(scenario: &mut Scenario) -> Vec<Effect> {
    let update = OrderUpdate {
        event: OrderEvent::Canceled,
        ..OrderUpdate::default()
    };
    scenario.control(Control::PushOrder(Box::new(update)))
}

#[test]
fn every_form_of_login_is_taken_and_a_second_one_is_not() {
    for login in [
        AUTH,
        OLD_AUTH,
        r#"{"action":"authenticate","data":{"oauth_token":"token"}}"#,
    ] {
        let mut scenario = in_text();
        assert_eq!(scenario.open(ONE, "/stream/"), [""; 0]);
        assert_eq!(scenario.say(ONE, login), [AUTHORIZED]);
        assert_eq!(
            scenario.say(ONE, login),
            [
                r#"{"stream":"listening","data":{"error":"your connection is already authenticated"}}"#
            ]
        );
    }
}

#[test]
fn wrong_credentials_may_be_mended_on_the_same_socket() {
    let mut scenario = Scenario::new(|config| {
        config.orders_in_binary = false;
        config.accept = Accept::Only(Credentials::new("PKONE", "s1").unwrap());
    });
    scenario.open(ONE, STREAM);
    let wrong = OLD_AUTH.replace("s1", "s2");
    assert_eq!(scenario.say(ONE, &wrong), [UNAUTHORIZED]);
    assert_eq!(scenario.say(ONE, OLD_AUTH), [AUTHORIZED]);
    assert_eq!(scenario.stats().auth_failures, 1);
}

#[test]
fn listening_before_the_login_is_unauthorized() {
    let mut scenario = in_text();
    scenario.open(ONE, STREAM);
    assert_eq!(
        scenario.say(ONE, LISTEN),
        [r#"{"stream":"authorization","data":{"status":"unauthorized","action":"listen"}}"#]
    );
    assert_eq!(push(&mut scenario), []);
}

#[test]
fn listen_replaces_the_set_and_leaves_out_what_does_not_exist() {
    let mut scenario = listening(in_text());
    assert_eq!(push(&mut scenario).len(), 1);
    let both = r#"{"action":"listen","data":{"streams":["gossip","trade_updates"]}}"#;
    assert_eq!(scenario.say(ONE, both), [LISTENING]);
    let other = r#"{"action":"listen","data":{"streams":["account_updates"]}}"#;
    assert_eq!(scenario.say(ONE, other), [NOT_LISTENING]);
    assert_eq!(push(&mut scenario), []);
    assert_eq!(scenario.say(ONE, LISTEN), [LISTENING]);
    assert_eq!(push(&mut scenario).len(), 1);
    assert_eq!(
        scenario.say(ONE, "nonsense"),
        [r#"{"action":"error","data":{"error_message":"invalid syntax"}}"#]
    );
}

#[test]
fn an_account_has_one_line_for_orders_apart_from_those_for_data() {
    let mut scenario = listening(in_text()).live(TWO);
    const THREE: ConnectionId = 3;
    scenario.open(THREE, STREAM);
    let said = scenario.say(THREE, OLD_AUTH);
    assert!(said[0].contains("another connection is open"), "{said:?}");
    assert_eq!(scenario.exchange.rivals(THREE, OLD_AUTH.as_bytes()), [ONE]);
    scenario.exchange.ended(scenario.at, ONE);
    assert_eq!(scenario.say(THREE, OLD_AUTH), [AUTHORIZED]);
    assert_eq!(scenario.stats().limit_errors, 1);
}

#[test]
fn frames_are_binary_unless_they_are_to_be_text_or_messagepack() {
    let mut scenario = Scenario::new(|config| config.rate = 0);
    for (id, codec) in [(ONE, Codec::Json), (TWO, Codec::MessagePack)] {
        scenario
            .exchange
            .opened(scenario.at, id, arrival(STREAM, codec));
        let login = AUTH.replace("PKONE", &format!("PK{id}"));
        let message = match codec {
            Codec::Json => login.into_bytes(),
            Codec::MessagePack => {
                let login: serde_json::Value = serde_json::from_str(&login).unwrap();
                rmp_serde::to_vec(&login).unwrap()
            }
        };
        scenario.exchange.received(scenario.at, id, &message);
        let answer = match sent(scenario.effects(), id).remove(0) {
            Message::Binary(answer) => answer,
            Message::Text(text) => panic!("{text}"),
        };
        let answer: serde_json::Value = match codec {
            Codec::Json => serde_json::from_slice(&answer).unwrap(),
            Codec::MessagePack => rmp_serde::from_slice(&answer).unwrap(),
        };
        assert_eq!(answer["data"]["status"], "authorized");
    }
}

#[test]
fn a_fill_is_a_new_order_then_its_fill_and_moves_the_position() {
    let mut scenario = listening(in_text());
    for (qty, position) in [(40, "40"), (2, "42")] {
        let (qty, price) = (Decimal::from(qty), Decimal::new(6_128, 2));
        let fill = Control::Fill("KO".into(), Side::Buy, qty, price);
        let said = texts(scenario.control(fill), ONE);
        assert_eq!(said.len(), 2);
        let said: Vec<serde_json::Value> = said
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        let [new, fill] = [&said[0]["data"], &said[1]["data"]];
        assert_eq!(
            (&new["event"], &fill["event"]),
            (&"new".into(), &"fill".into())
        );
        assert_eq!(new["order"]["id"], fill["order"]["id"]);
        assert_eq!(fill["order"]["status"], "filled");
        assert_eq!(fill["price"], "61.28");
        assert_eq!(fill["position_qty"], position);
    }
    assert_eq!(scenario.stats().messages_sent, 4);
}

#[test]
fn orders_place_themselves_while_somebody_listens() {
    let mut scenario = listening(Scenario::new(|config| {
        config.orders_in_binary = false;
        config.rate = 1_000;
    }));
    let said = texts(scenario.pass(Duration::from_secs(1)), ONE);
    assert_eq!(said.len(), 20);
    assert!(
        said.iter()
            .all(|text| text.starts_with(r#"{"stream":"trade_updates""#))
    );
}

#[test]
fn odd_messages_look_like_those_of_this_stream() {
    let mut scenario = listening(in_text());
    for (kind, text) in [
        (FaultKind::Null, r#"{"stream":"trade_updates","data":null}"#),
        (FaultKind::Garbage, "this is not JSON"),
    ] {
        assert_eq!(texts(scenario.control(Control::Inject(kind)), ONE), [text]);
    }
    let unknown = texts(scenario.control(Control::Inject(FaultKind::Unknown)), ONE);
    assert!(unknown[0].contains("gossip"));
}
