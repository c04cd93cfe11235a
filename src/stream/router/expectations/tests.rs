use std::cell::Cell;

use super::*;
use crate::market::QUOTES;

const PATIENCE: Duration = Duration::from_micros(100);

/// A look at a market that is open day and night, so many messages after the first. Says how often it was asked how much time
/// is left, too.
fn look(expectations: &mut Expectations, now: Instant, messages: u64) -> (Missing, usize) {
    let asked = Cell::new(0);
    let left = |within: Duration, since| {
        asked.set(asked.get() + 1);
        within.saturating_sub(now.saturating_duration_since(since))
    };
    let missing = expectations.look(
        &Readers::default(),
        &Outlook {
            now,
            utc: Timestamp::from_nanos(0),
            is_trading: true,
            messages,
            patience: PATIENCE,
            left: &left,
            may_give_up: &|_, _| false,
        },
    );
    (missing, asked.get())
}

#[test]
fn many_late_topics_cost_little_each_turn_and_never_ask_for_a_look_at_once() {
    let start = clock::now();
    let minute = Duration::from_secs(60);
    let mut expectations = Expectations::new(start);
    let topics: Vec<Topic> = (0..1_000)
        .map(|number| Topic::new(QUOTES, number.to_string()))
        .collect();
    for topic in &topics {
        expectations.expect(topic, minute, start);
    }
    let mut now = clock::after(start, minute);
    assert_eq!(look(&mut expectations, now, 0).0.late.len(), 1_000);
    let mut seen = (0, 0);
    for turn in 1..10_000 {
        now = clock::after(now, Duration::from_micros(10));
        let (missing, asked) = look(&mut expectations, now, turn);
        assert!(missing.next.is_none_or(|next| next > now), "{turn}");
        assert!(missing.is_whole_line, "{turn}");
        seen = (seen.0 + missing.to_ask.len(), seen.1 + missing.kept.len());
        assert!(asked <= 1 || asked > 1_000);
        if asked > 1_000 {
            // Twenty milliseconds for a thousand.
            now = clock::after(now, Duration::from_micros(10));
            let (missing, asked) = look(&mut expectations, now, turn);
            assert!(asked <= 1, "{asked}: looked at again in the next turn");
            assert!(missing.next.is_some_and(|next| next > now), "{turn}");
        }
    }
    assert_eq!(seen, (1_000, 1_000));
}
