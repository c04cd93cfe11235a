//! What goes wrong on purpose.

use super::*;

fn subscribed() -> Scenario {
    let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","quotes":["AAPL"]}"#);
    scenario
}

fn push(scenario: &mut Scenario) -> Vec<Effect> {
    scenario.control(Control::Push(Box::new(quote("AAPL"))))
}

#[test]
fn refusal_lasts_for_its_time_and_the_next_upgrade_gets_what_waits_for_it() {
    let mut scenario = Scenario::new(|_| {});
    struck(&mut scenario, "refuse:2s");
    struck(&mut scenario, "http:429/7");
    struck(&mut scenario, "stall-upgrade");
    assert_eq!(scenario.exchange.arrived(scenario.at), Reception::Reset);
    scenario.pass(Duration::from_millis(1_999));
    assert_eq!(scenario.exchange.arrived(scenario.at), Reception::Reset);
    scenario.pass(Duration::from_millis(1));
    let answer = Reception::Answer {
        status: 429,
        retry_after: Some(7),
    };
    for reception in [Reception::Stall, answer, Reception::Upgrade] {
        assert_eq!(scenario.exchange.arrived(scenario.at), reception);
    }
    assert_eq!(scenario.stats().faults_injected, 3);
}

#[test]
fn of_each_kind_that_waits_one_waits_at_most() {
    let mut scenario = Scenario::new(|_| {});
    for _ in 0..3 {
        struck(&mut scenario, "stall-upgrade");
        struck(&mut scenario, "expired");
    }
    assert_eq!(scenario.exchange.arrived(scenario.at), Reception::Stall);
    assert_eq!(scenario.exchange.arrived(scenario.at), Reception::Upgrade);
    scenario.open(ONE, IEX);
    assert_eq!(scenario.error(ONE, AUTH), server::error(402, "auth failed"));
    assert_eq!(scenario.say(ONE, AUTH), [server::success("authenticated")]);
}

#[test]
fn connections_break_in_the_midst_of_things() {
    for (kind, how) in [
        ("half-open", Breakage::HalfOpen),
        ("reset-mid-frame", Breakage::MidFrame),
        ("oversized", Breakage::Oversized),
    ] {
        let mut scenario = subscribed();
        assert_eq!(
            struck(&mut scenario, kind),
            [Effect::Break { to: ONE, how }]
        );
        assert_eq!(push(&mut scenario), []);
        assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
        assert_eq!(struck(&mut scenario, kind), [], "nobody is left to hit");
        assert_eq!(scenario.stats().faults_injected, 1);
    }
    let mut scenario = subscribed();
    assert!(matches!(
        &struck(&mut scenario, "slow-client")[..],
        [Effect::Dismiss { to: ONE, message: Message::Text(text) }] if text.contains("407")
    ));
    assert_eq!(scenario.stats().slow_clients, 1);
}

#[test]
fn writes_are_cut_and_corked() {
    let mut scenario = subscribed();
    assert_eq!(
        struck(&mut scenario, "dribble"),
        [Effect::Slice {
            to: ONE,
            pieces: Pieces::Dribble { bytes: 256 }
        }]
    );
    assert!(matches!(
        struck(&mut scenario, "split")[..],
        [Effect::Slice {
            to: ONE,
            pieces: Pieces::Split { .. }
        }]
    ));
    let (on, off) = (
        Effect::Cork { to: ONE, on: true },
        Effect::Cork { to: ONE, on: false },
    );
    assert_eq!(struck(&mut scenario, "coalesce"), [on]);
    for _ in 0..3 {
        assert_eq!(push(&mut scenario).len(), 1);
    }
    let mut last = push(&mut scenario);
    assert_eq!((last.len(), last.pop()), (2, Some(off)));
    struck(&mut scenario, "coalesce");
    assert_eq!(push(&mut scenario).len(), 1);
    let due = scenario.exchange.deadline().unwrap() - scenario.at.now;
    assert_eq!(
        scenario.pass(due),
        [Effect::Cork { to: ONE, on: false }],
        "not for ever"
    );
}

#[test]
fn replies_come_twice_or_late() {
    let request = r#"{"action":"subscribe","quotes":["AAPL"]}"#;
    let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
    struck(&mut scenario, "duplicate-ack");
    let replies = scenario.say(ONE, request);
    assert!(
        replies.len() == 2 && replies[0] == replies[1],
        "{replies:?}"
    );
    assert_eq!(scenario.say(ONE, request), replies[1..]);

    struck(&mut scenario, "late-ack");
    assert_eq!(scenario.say(ONE, request), [""; 0]);
    let second = r#"{"action":"subscribe","trades":["KO"]}"#;
    assert_eq!(
        scenario.say(ONE, second),
        [""; 0],
        "replies keep their order"
    );
    for _ in 0..2 {
        assert_eq!(push(&mut scenario).len(), 1);
    }
    let frames = texts(push(&mut scenario), ONE);
    assert!(frames[0].contains(r#""T":"q""#), "{frames:?}");
    assert_eq!(frames[1], replies[0]);
    assert!(frames[2].contains("KO"), "{frames:?}");

    struck(&mut scenario, "late-ack");
    assert_eq!(scenario.say(ONE, second), [""; 0]);
    let due = scenario.exchange.deadline().unwrap() - scenario.at.now;
    assert_eq!(texts(scenario.pass(due), ONE), frames[2..], "not for ever");
}

#[test]
fn a_connection_that_is_mute_for_data_answers_requests() {
    let mut scenario = subscribed();
    struck(&mut scenario, "mute-data");
    assert_eq!(push(&mut scenario), []);
    assert!(
        scenario
            .error(ONE, r#"{"action":"subscribe","trades":["KO"]}"#)
            .contains("subscription")
    );
    assert!(!scenario.exchange.is_mute(ONE));
}

#[test]
fn a_truncated_frame_is_no_json() {
    let mut scenario = subscribed();
    let frames = texts(struck(&mut scenario, "truncated"), ONE);
    assert!(frames[0].starts_with(r#"[{"T":"t""#), "{frames:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&frames[0]).is_err());
}

#[test]
fn a_slot_is_reaped_after_an_end_without_a_close_handshake_and_free_at_once_after_one() {
    let reap = Duration::from_secs(90);
    let new = || Scenario::new(|config| config.reap_after = reap).live(ONE);
    let mut scenario = new();
    scenario.exchange.ended(scenario.at, ONE);
    scenario.exchange.gone(scenario.at, ONE);
    assert_eq!(scenario.live(TWO).stats().limit_errors, 0);
    let mut scenario = new();
    scenario.control(Control::CloseAll(1000));
    assert_eq!(scenario.live(TWO).stats().limit_errors, 0);

    type Way = fn(&mut Scenario);
    let ways: [(&str, Way); 4] = [
        ("gone", |scenario| scenario.exchange.gone(scenario.at, ONE)),
        ("cut", |scenario| {
            scenario.control(Control::Cut);
        }),
        ("half-open", |scenario| {
            struck(scenario, "half-open");
        }),
        ("too slow", |scenario| {
            scenario.exchange.too_slow(scenario.at, ONE);
            scenario.effects();
        }),
    ];
    for (name, end) in ways {
        let mut scenario = new();
        end(&mut scenario);
        scenario.exchange.gone(scenario.at, ONE);
        let mut scenario = scenario.opened(TWO);
        assert!(scenario.error(TWO, AUTH).contains("406"), "{name}");
        let other = AUTH.replace("PKONE", "PKTWO");
        assert!(scenario.error(TWO, &other).contains("authenticated"));
        scenario.pass(reap - Duration::from_millis(1));
        scenario.open(3, IEX);
        assert!(scenario.error(3, AUTH).contains("406"), "{name}");
        scenario.pass(Duration::from_millis(1));
        assert_eq!(scenario.say(3, AUTH), [server::success("authenticated")]);
    }
}
