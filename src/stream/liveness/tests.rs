use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn expectations_run_only_while_the_market_trades() {
    let stocks = Calendar::us_equities();
    let minute = Duration::from_secs(60);
    for (since, now, left) in [
        // A Tuesday in March, New York at UTC-4: trading from 13:30 to 20:00.
        ("2026-03-17T15:00:00Z", "2026-03-17T15:00:20Z", 40),
        ("2026-03-17T15:00:00Z", "2026-03-17T15:02:00Z", 0),
        // Half a minute before the close, and on from there at the next opening.
        (
            "2026-03-17T19:59:30Z",
            "2026-03-17T19:59:30Z",
            30 + 17 * 3_600 + 1_800 + 30,
        ),
        // A Friday's last half minute, and a whole week-end.
        (
            "2026-03-20T19:59:30Z",
            "2026-03-21T12:00:00Z",
            49 * 3_600 + 1_800 + 30,
        ),
        // Before the opening nothing has been missed yet.
        ("2026-03-17T08:00:00Z", "2026-03-17T13:00:00Z", 1_800 + 60),
    ] {
        let time = time_left(&stocks, at(since), at(now), minute);
        assert_eq!(time, Duration::from_secs(left), "{since} {now}");
    }
    // Whoever waits for a year of trading looks again after a year.
    for time in [Duration::MAX, 52 * WEEK] {
        let day = at("2026-03-17T15:00:00Z");
        assert_eq!(time_left(&stocks, day, day, time), time);
    }
    let crypto = Calendar::always_open();
    assert_eq!(
        time_left(
            &crypto,
            at("2026-03-21T12:00:00Z"),
            at("2026-03-21T12:00:10Z"),
            minute
        ),
        Duration::from_secs(50)
    );
}
