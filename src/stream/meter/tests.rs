use std::sync::Arc;

use super::*;
use crate::{
    Credentials,
    alpaca::{self, Feed},
    clock,
    stream::{SharedStream as _, Stream},
    venue::Venue as _,
};

#[test]
fn counters_are_handed_on_at_intervals_and_only_after_something_happened() {
    let now = clock::now();
    let venue = alpaca::stocks(Feed::Test);
    let key = StreamKey::new(venue.endpoint(), &Credentials::none());
    let stream = Stream::new(key.clone(), 1, venue.rules(), venue, Arc::default());
    let mut meter = Meter::new(&key, now);
    let mut told = 0;
    let counters = |messages| CounterValues {
        messages,
        ..CounterValues::default()
    };
    let ms = Duration::from_millis;
    for (at, messages, is_live, handed_on, again) in [
        (ms(0), 0, false, 1, None),
        (ms(1), 0, false, 1, None),
        (ms(2), 1, false, 1, Some(EVERY)),
        (ms(3), 9, false, 1, Some(EVERY)),
        (EVERY, 9, false, 2, None),
        (EVERY + ms(1), 9, true, 2, Some(2 * EVERY)),
        (EVERY + ms(2), 9, false, 2, None),
        (9 * EVERY, 9, false, 2, None),
        (9 * EVERY, 9, true, 3, None),
    ] {
        meter.turn(
            now + at,
            || counters(messages),
            is_live,
            || {
                told += 1;
                stream.health()
            },
        );
        assert_eq!(told, handed_on, "at {at:?}");
        assert_eq!(
            meter.deadline(),
            again.map(|again| now + again),
            "at {at:?}"
        );
    }
}
