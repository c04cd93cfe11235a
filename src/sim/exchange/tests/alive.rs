//! Pings, and who does not answer them.

use super::*;

const PING: Duration = Duration::from_secs(5);
const DEAD: Duration = Duration::from_secs(20);

fn pinging() -> Scenario {
    Scenario::new(|config| {
        config.rate = 0;
        config.ping_interval = Some(PING);
        config.pong_timeout = DEAD;
    })
}

/// Lets time pass up to the next deadline, at most so long.
fn next(scenario: &mut Scenario, most: Duration) -> (Duration, Vec<Effect>) {
    let due = scenario.exchange.deadline().unwrap() - scenario.at.now;
    assert!(due <= most, "{due:?}");
    (due, scenario.pass(due))
}

#[test]
fn a_client_that_answers_is_pinged_for_ever() {
    let mut scenario = pinging().live(ONE);
    for _ in 0..10 {
        let ping = Effect::Ping { to: ONE };
        assert_eq!(next(&mut scenario, PING), (PING, vec![ping]));
        scenario.exchange.heard(scenario.at, ONE);
    }
}

#[test]
fn whatever_a_client_sends_is_a_sign_of_life_and_without_any_it_is_cut() {
    let mut scenario = pinging().live(ONE);
    scenario.pass(DEAD - Duration::from_millis(1));
    scenario.say(ONE, r#"{"action":"subscribe"}"#);
    let mut passed = Duration::ZERO;
    let mut effects = Vec::new();
    while passed < DEAD {
        let (time, next) = next(&mut scenario, PING);
        passed += time;
        effects.extend(next);
    }
    assert_eq!(passed, DEAD);
    let why = "showed no sign of life";
    assert_eq!(effects.pop(), Some(Effect::Cut { to: ONE, why }));
    assert!(
        effects.len() >= 3
            && effects
                .iter()
                .all(|effect| *effect == Effect::Ping { to: ONE })
    );
    assert_eq!(scenario.exchange.deadline(), None);
}

#[test]
fn nobody_is_pinged_by_default_and_while_mute() {
    let scenario = Scenario::new(|config| config.rate = 0).live(ONE);
    assert_eq!(scenario.exchange.deadline(), None);

    let mut scenario = pinging().live(ONE);
    scenario.control(Control::Mute(true));
    assert_eq!(scenario.exchange.deadline(), None);
    assert_eq!(scenario.pass(DEAD * 2), []);
    scenario.control(Control::Mute(false));
    assert_eq!(scenario.pass(DEAD / 2), [Effect::Ping { to: ONE }]);
}
