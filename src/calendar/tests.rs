//! Boundaries, switches of the clock, holidays and overrides, against rules and sums that were made independently.

use super::{
    TradingSession::{AfterHours, Closed, Overnight, PreMarket, Regular},
    *,
};

/// In nanoseconds.
const HOUR: i64 = 3_600_000_000_000;
const ALL_OPEN: [TradingSession; 4] = [Overnight, PreMarket, Regular, AfterHours];

/// An RFC 3339 time with its offset, so that no test relies on the time zone that it tests.
fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(hours: f64) -> Duration {
    Duration::from_secs_f64(hours * 3600.0)
}

/// Each session begins at its instant, to the nanosecond, and lasts until the next one's.
fn assert_changes(calendar: &Calendar, changes: &[(&str, TradingSession)]) {
    for pair in changes.windows(2) {
        let [(start, session), (end, next)] = pair else {
            unreachable!()
        };
        let (start, end) = (at(start), at(end));
        let last = Timestamp::from_nanos(end.as_nanos() - 1);
        assert_eq!(calendar.session_at(start), *session, "{start}");
        assert_eq!(calendar.session_at(last), *session, "{last}");
        assert_eq!(calendar.session_at(end), *next, "{end}");
        assert_eq!(calendar.next_change(start), Some(end), "{start}");
        assert_eq!(calendar.next_change(last), Some(end), "{last}");
        assert_eq!(calendar.is_open(start), *session != Closed);
    }
}

#[test]
fn an_ordinary_week_has_every_boundary() {
    let mut changes = vec![
        ("2026-01-09T16:00:00-05:00".to_owned(), AfterHours),
        ("2026-01-09T20:00:00-05:00".to_owned(), Closed), // Friday
        ("2026-01-11T20:00:00-05:00".to_owned(), Overnight), // Sunday
    ];
    for day in 12..=16 {
        for (clock, session) in [
            ("04:00", PreMarket),
            ("09:30", Regular),
            ("16:00", AfterHours),
            ("20:00", if day == 16 { Closed } else { Overnight }),
        ] {
            changes.push((format!("2026-01-{day}T{clock}:00-05:00"), session));
        }
    }
    let changes: Vec<_> = changes.iter().map(|(at, s)| (at.as_str(), *s)).collect();
    let calendar = Calendar::us_equities();
    assert_changes(&calendar, &changes);
    // The night before Martin Luther King stays closed.
    assert_eq!(calendar.session_at(at("2026-01-18T20:00:00-05:00")), Closed);
}

#[test]
fn the_clocks_change_in_a_closed_market() {
    let calendar = Calendar::us_equities();
    assert_changes(
        &calendar,
        &[
            ("2026-03-06T20:00:00-05:00", Closed),
            ("2026-03-08T20:00:00-04:00", Overnight),
            ("2026-03-09T04:00:00-04:00", PreMarket),
            ("2026-03-09T09:30:00-04:00", Regular),
            ("2026-03-09T16:00:00-04:00", AfterHours),
            ("2026-03-09T20:00:00-04:00", Overnight),
        ],
    );
    assert_changes(
        &calendar,
        &[
            ("2026-10-30T20:00:00-04:00", Closed),
            ("2026-11-01T20:00:00-05:00", Overnight),
            ("2026-11-02T04:00:00-05:00", PreMarket),
            ("2026-11-02T09:30:00-05:00", Regular),
        ],
    );
    // The closed week-end is an hour shorter in spring, and longer in autumn.
    for (friday, monday, closed) in [
        (
            "2026-03-06T20:00:00-05:00",
            "2026-03-08T20:00:00-04:00",
            47.0,
        ),
        (
            "2026-10-30T20:00:00-04:00",
            "2026-11-01T20:00:00-05:00",
            49.0,
        ),
    ] {
        let (friday, monday) = (at(friday), at(monday));
        assert_eq!(
            calendar.open_time_between(friday, monday, &[Closed]),
            hours(closed)
        );
        assert_eq!(
            calendar.open_time_between(friday, monday, &ALL_OPEN),
            Duration::ZERO
        );
    }
    // A session over the change itself: a Sunday that somebody made a trading day.
    let spring = calendar.clone().with_regular_day(2026, 3, 8).unwrap();
    let autumn = calendar.with_regular_day(2026, 11, 1).unwrap();
    for (calendar, from, to, overnight) in [
        (
            spring,
            "2026-03-07T20:00:00-05:00",
            "2026-03-08T04:00:00-04:00",
            7.0,
        ),
        (
            autumn,
            "2026-10-31T20:00:00-04:00",
            "2026-11-01T04:00:00-05:00",
            9.0,
        ),
    ] {
        assert_changes(&calendar, &[(from, Overnight), (to, PreMarket)]);
        let open = calendar.open_time_between(at(from), at(to), &[Overnight]);
        assert_eq!(open, hours(overnight));
    }
}

#[test]
fn a_holiday_is_closed_from_the_evening_before_to_its_own() {
    assert_changes(
        &Calendar::us_equities(),
        &[
            // Juneteenth 2024, a Wednesday.
            ("2024-06-18T16:00:00-04:00", AfterHours),
            ("2024-06-18T20:00:00-04:00", Closed),
            ("2024-06-19T20:00:00-04:00", Overnight),
            ("2024-06-20T04:00:00-04:00", PreMarket),
        ],
    );
    assert_changes(
        &Calendar::us_equities(),
        &[
            // Good Friday 2026.
            ("2026-04-02T20:00:00-04:00", Closed),
            ("2026-04-05T20:00:00-04:00", Overnight),
        ],
    );
    assert_changes(
        &Calendar::us_equities(),
        &[
            // The day of mourning, a Thursday.
            ("2025-01-08T20:00:00-05:00", Closed),
            ("2025-01-09T20:00:00-05:00", Overnight),
        ],
    );
}

#[test]
fn a_half_day_ends_at_17() {
    assert_changes(
        &Calendar::us_equities(),
        &[
            // Thanksgiving 2026, and the day after.
            ("2026-11-25T20:00:00-05:00", Closed),
            ("2026-11-26T20:00:00-05:00", Overnight),
            ("2026-11-27T04:00:00-05:00", PreMarket),
            ("2026-11-27T09:30:00-05:00", Regular),
            ("2026-11-27T13:00:00-05:00", AfterHours),
            ("2026-11-27T17:00:00-05:00", Closed),
            ("2026-11-29T20:00:00-05:00", Overnight),
        ],
    );
    // Before a day that trades, the night follows three closed hours.
    let calendar = Calendar::us_equities().with_early_close(2026, 1, 13, 13, 0);
    assert_changes(
        &calendar.unwrap(),
        &[
            ("2026-01-13T13:00:00-05:00", AfterHours),
            ("2026-01-13T17:00:00-05:00", Closed),
            ("2026-01-13T20:00:00-05:00", Overnight),
        ],
    );
}

#[test]
fn the_year_changes() {
    assert_changes(
        &Calendar::us_equities(),
        &[
            ("2025-12-31T16:00:00-05:00", AfterHours), // a full day
            ("2025-12-31T20:00:00-05:00", Closed),
            ("2026-01-01T20:00:00-05:00", Overnight),
            ("2026-01-02T04:00:00-05:00", PreMarket),
        ],
    );
    // New Year 2028 is a Saturday, and the Friday before it an ordinary day.
    assert_changes(
        &Calendar::us_equities(),
        &[
            ("2027-12-30T20:00:00-05:00", Overnight),
            ("2027-12-31T04:00:00-05:00", PreMarket),
            ("2027-12-31T09:30:00-05:00", Regular),
            ("2027-12-31T16:00:00-05:00", AfterHours),
            ("2027-12-31T20:00:00-05:00", Closed),
            ("2028-01-02T20:00:00-05:00", Overnight),
        ],
    );
}

/// The table against NYSE's Rule 7.2, year by year.
#[test]
fn the_table_is_what_the_rules_say() {
    for (year, holidays, half_days) in NYSE {
        let on = |month, day| date(year, month, day);
        let nth = |month, nth, weekday| on(month, 1).nth_weekday_of_month(nth, weekday).unwrap();
        let observed = |date: Date| match date.weekday() {
            Weekday::Saturday => date.yesterday().unwrap(),
            Weekday::Sunday => date.tomorrow().unwrap(),
            _ => date,
        };
        let thanksgiving = nth(11, 4, Weekday::Thursday);
        let mut expected = vec![
            nth(1, 3, Weekday::Monday),
            nth(2, 3, Weekday::Monday),
            easter(year).saturating_sub(2.days()),
            nth(5, -1, Weekday::Monday),
            observed(on(6, 19)),
            observed(on(7, 4)),
            nth(9, 1, Weekday::Monday),
            thanksgiving,
            observed(on(12, 25)),
        ];
        // Not observed in the old year.
        expected.extend(Some(observed(on(1, 1))).filter(|day| day.year() == year));
        expected.extend((year == 2025).then(|| on(1, 9)));
        expected.sort();
        let table: Vec<_> = holidays.iter().map(|&(m, d)| on(m, d)).collect();
        assert_eq!(table, expected);

        let half: Vec<_> = [on(7, 3), thanksgiving.tomorrow().unwrap(), on(12, 24)]
            .into_iter()
            .filter(|day| ordinary(*day) != Day::Holiday && !expected.contains(day))
            .collect();
        let table: Vec<_> = half_days.iter().map(|&(m, d)| on(m, d)).collect();
        assert_eq!(table, half);
    }
}

/// Western Easter, by the anonymous Gregorian computus.
fn easter(year: i16) -> Date {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - b / 4 - g + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let days = h + l - 7 * m + 114;
    date(
        year,
        i8::try_from(days / 31).unwrap(),
        i8::try_from(days % 31 + 1).unwrap(),
    )
}

#[test]
fn a_trading_day_is_a_date_in_new_york() {
    let calendar = Calendar::us_equities();
    for (time, expected) in [
        ("2026-01-11T21:00:00-05:00", false), // Sunday, and the night has begun
        ("2026-01-11T23:59:59.999999999-05:00", false),
        ("2026-01-12T00:00:00-05:00", true),
        ("2026-01-16T21:00:00-05:00", true), // Friday, and the market is closed
        ("2026-01-17T00:00:00-05:00", false),
        ("2026-01-19T12:00:00-05:00", false), // Martin Luther King
        ("2026-11-27T18:00:00-05:00", true),  // a half day
        ("2026-07-02T03:00:00Z", true),       // July 1 in New York
        ("2026-07-04T03:00:00Z", false),      // July 3 in New York
    ] {
        assert_eq!(calendar.is_trading_day(at(time)), expected, "{time}");
    }
}

#[test]
fn the_next_opening_follows_a_close() {
    let calendar = Calendar::us_equities();
    for (time, opens) in [
        ("2026-01-09T20:00:00-05:00", "2026-01-11T20:00:00-05:00"), // Friday night
        (
            "2026-01-11T19:59:59.999999999-05:00",
            "2026-01-11T20:00:00-05:00",
        ),
        ("2026-01-11T20:00:00-05:00", "2026-01-19T20:00:00-05:00"), // open, through a week and a holiday
        ("2026-01-15T12:00:00-05:00", "2026-01-19T20:00:00-05:00"),
        ("2026-07-03T12:00:00-04:00", "2026-07-05T20:00:00-04:00"), // a holiday
    ] {
        assert_eq!(
            calendar.next_open(at(time)),
            Some((Overnight, at(opens))),
            "{time}"
        );
    }
}

#[test]
fn open_time_over_a_week_with_a_holiday_and_a_half_day() {
    // Thanksgiving week 2026: three full days, none, and a half day.
    let (from, to) = (
        at("2026-11-22T00:00:00-05:00"),
        at("2026-11-29T00:00:00-05:00"),
    );
    let calendar = Calendar::us_equities();
    let open = |sessions: &[_]| calendar.open_time_between(from, to, sessions);
    assert_eq!(open(&[Regular]), hours(3.0 * 6.5 + 3.5));
    assert_eq!(open(&[PreMarket]), hours(4.0 * 5.5));
    assert_eq!(open(&[AfterHours]), hours(4.0 * 4.0));
    assert_eq!(open(&[Overnight]), hours(4.0 * 8.0));
    assert_eq!(open(&ALL_OPEN), hours(23.0 + 22.0 + 16.0 + 32.0));
    assert_eq!(open(&[Closed]), hours(168.0 - 93.0));
    assert_eq!(open(&[Regular, Regular]), open(&[Regular]));
    assert_eq!(open(&[]), Duration::ZERO);
    assert_eq!(
        calendar.open_time_between(to, from, &[Regular]),
        Duration::ZERO
    );
    // Both ends inside one session, to the nanosecond, over a boundary, and an empty interval.
    for (from, to, nanos) in [
        (
            "2026-11-23T10:00:00.000000001-05:00",
            "2026-11-23T10:00:00.000000004-05:00",
            3,
        ),
        (
            "2026-11-23T09:29:59.999999999-05:00",
            "2026-11-23T09:30:00.000000002-05:00",
            2,
        ),
        (
            "2026-11-23T15:59:59.999999999-05:00",
            "2026-11-23T16:00:00.000000002-05:00",
            1,
        ),
        ("2026-11-23T10:00:00-05:00", "2026-11-23T10:00:00-05:00", 0),
    ] {
        let open = calendar.open_time_between(at(from), at(to), &[Regular]);
        assert_eq!(open, Duration::from_nanos(nanos), "{from}");
    }
}

#[test]
fn every_hour_of_the_table_agrees_with_the_next_change() {
    let calendar = Calendar::us_equities();
    let (first, end) = (at("2024-01-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
    let mut open = Duration::ZERO;
    for hour in 0..261 * 7 * 24 {
        let nanos = first.as_nanos() + hour * HOUR;
        let after = |nanos: i64, more: i64| Timestamp::from_nanos(nanos + more);
        let now = after(nanos, 0);
        let session = calendar.session_at(now);
        let change = calendar.next_change(now).unwrap();
        assert!(change > now, "{now}");
        assert_ne!(calendar.session_at(change), session, "{now}");
        // Nothing has changed before.
        let length = change.as_nanos() - nanos;
        for inside in [length / 2, length - 1] {
            let inside = after(nanos, inside);
            assert_eq!(calendar.session_at(inside), session, "{inside}");
            assert_eq!(calendar.next_change(inside), Some(change), "{inside}");
        }
        if session == Closed {
            let opening = (calendar.session_at(change), change);
            assert_eq!(calendar.next_open(now), Some(opening), "{now}");
        }
        let next = after(nanos, HOUR);
        open += calendar.open_time_between(now, next, &ALL_OPEN);
    }
    // 261 weeks with 50 holidays, and 11 half days that end three hours early.
    assert_eq!(open, hours(24.0 * (261.0 * 5.0 - 50.0) - 3.0 * 11.0));
    assert_eq!(open, calendar.open_time_between(first, end, &ALL_OPEN));
}

#[test]
fn open_time_is_what_a_walk_from_change_to_change_adds_up() {
    let calendar = Calendar::us_equities();
    let (first, end) = (at("2024-01-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
    for session in [Closed, Overnight, PreMarket, Regular, AfterHours] {
        let mut sum = Duration::ZERO;
        let mut now = first;
        while now < end {
            let next = calendar.next_change(now).unwrap().min(end);
            if calendar.session_at(now) == session {
                sum += between(now.as_nanos().into(), next.as_nanos().into());
            }
            now = next;
        }
        let open = calendar.open_time_between(first, end, &[session]);
        assert_eq!(open, sum, "{session}");
    }
}

#[test]
fn overrides_replace_what_the_table_says() {
    let table = Calendar::us_equities();
    let closed = table.clone().with_holiday(2026, 1, 14).unwrap();
    assert_changes(
        &closed,
        &[
            ("2026-01-13T20:00:00-05:00", Closed),
            ("2026-01-14T20:00:00-05:00", Overnight),
        ],
    );
    assert_ne!(closed, table);
    assert_eq!(closed.with_regular_day(2026, 1, 14).unwrap(), table);

    let christmas = table.clone().with_regular_day(2026, 12, 25).unwrap();
    assert_changes(
        &christmas,
        &[
            ("2026-12-24T17:00:00-05:00", Closed),
            ("2026-12-24T20:00:00-05:00", Overnight),
            ("2026-12-25T04:00:00-05:00", PreMarket),
            ("2026-12-25T09:30:00-05:00", Regular),
            ("2026-12-25T16:00:00-05:00", AfterHours),
            ("2026-12-25T20:00:00-05:00", Closed),
        ],
    );
    let saturday = table.clone().with_early_close(2026, 1, 17, 15, 59).unwrap();
    assert_changes(
        &saturday,
        &[
            ("2026-01-16T20:00:00-05:00", Overnight),
            ("2026-01-17T04:00:00-05:00", PreMarket),
            ("2026-01-17T09:30:00-05:00", Regular),
            ("2026-01-17T15:59:00-05:00", AfterHours),
            ("2026-01-17T19:59:00-05:00", Closed),
        ],
    );
    assert_eq!(table.clone().with_holiday(2026, 1, 17).unwrap(), table); // a Saturday anyway
}

#[test]
fn impossible_days_and_times_are_refused() {
    let calendar = Calendar::us_equities();
    let refused = |result: Result<Calendar, InvalidValue>| {
        assert!(result.is_err(), "{result:?}");
    };
    for (year, month, day) in [
        (2026, 2, 29),
        (2026, 13, 1),
        (2026, 0, 1),
        (2026, 4, 31),
        (12_026, 1, 1),
    ] {
        refused(calendar.clone().with_holiday(year, month, day));
        refused(calendar.clone().with_regular_day(year, month, day));
        refused(calendar.clone().with_known_through(year, month, day));
        refused(calendar.clone().with_early_close(year, month, day, 13, 0));
    }
    for (hour, minute) in [(9, 30), (9, 0), (16, 0), (24, 0), (13, 60), (-1, 0)] {
        refused(calendar.clone().with_early_close(2026, 1, 14, hour, minute));
    }
    assert!(calendar.clone().with_holiday(2028, 2, 29).is_ok());
    assert!(calendar.with_early_close(2026, 1, 14, 9, 31).is_ok());
    refused(Calendar::always_open().with_holiday(2026, 1, 14));
}

#[test]
fn the_table_knows_its_ends() {
    let calendar = Calendar::us_equities();
    let until = calendar.known_until().unwrap();
    assert_eq!(until, at("2028-12-31T20:00:00-05:00"));
    assert!(!calendar.covers(until));
    assert!(calendar.covers(Timestamp::from_nanos(until.as_nanos() - 1)));
    assert!(calendar.covers(at("2023-12-31T20:00:00-05:00")));
    assert!(!calendar.covers(at("2023-12-31T19:59:59.999999999-05:00")));
    // Beyond it every weekday trades, New Year's Day too.
    assert_eq!(
        calendar.session_at(at("2029-01-01T12:00:00-05:00")),
        Regular
    );
    let longer = calendar.with_known_through(2029, 12, 31).unwrap();
    assert!(longer.covers(until));
    assert_eq!(longer.known_until(), Some(at("2029-12-31T20:00:00-05:00")));
}

#[test]
fn some_markets_never_close() {
    let calendar = Calendar::always_open();
    let (from, to) = (at("2026-12-24T23:00:00Z"), at("2026-12-26T00:00:00Z"));
    assert_eq!(calendar.session_at(from), Regular);
    assert!(calendar.is_open(from) && calendar.is_trading_day(from) && calendar.covers(from));
    assert_eq!(calendar.next_change(from), None);
    assert_eq!(calendar.next_open(from), None);
    assert_eq!(calendar.known_until(), None);
    assert_eq!(calendar.open_time_between(from, to, &ALL_OPEN), hours(25.0));
    assert_eq!(
        calendar.open_time_between(to, from, &ALL_OPEN),
        Duration::ZERO
    );
    assert_eq!(
        calendar.open_time_between(from, to, &[Closed]),
        Duration::ZERO
    );
}

#[test]
fn the_ends_of_time_do_no_harm() {
    let (first, last) = (
        Timestamp::from_nanos(i64::MIN),
        Timestamp::from_nanos(i64::MAX),
    );
    for calendar in [Calendar::us_equities(), Calendar::always_open()] {
        let all = [Closed, Overnight, PreMarket, Regular, AfterHours];
        let whole = Duration::from_nanos(u64::MAX);
        assert_eq!(calendar.open_time_between(first, last, &all), whole);
        assert_eq!(calendar.next_change(last), None);
        assert_eq!(calendar.next_open(last), None);
    }
    let calendar = Calendar::us_equities();
    assert!(calendar.next_change(first).is_some());
    let far = calendar.with_known_through(9999, 12, 31).unwrap();
    assert_eq!(far.known_until(), None);
}

#[test]
fn sessions_have_names() {
    let names = [Closed, Overnight, PreMarket, Regular, AfterHours].map(|s| s.to_string());
    assert_eq!(
        names,
        [
            "closed",
            "overnight",
            "pre-market",
            "regular",
            "after-hours"
        ]
    );
    #[cfg(feature = "serde")]
    assert_eq!(serde_json::to_string(&PreMarket).unwrap(), "\"pre_market\"");
}

#[test]
fn the_end_of_the_table_is_said_sixty_days_before() {
    let stocks = Calendar::us_equities();
    let end = stocks.known_until();
    for (now, soon) in [
        ("2028-11-02T00:59:00Z", None),
        ("2028-11-02T01:01:00Z", end),
        ("2030-01-01T00:00:00Z", end),
    ] {
        assert_eq!(stocks.ends_soon(at(now)), soon, "{now}");
    }
    let longer = stocks.with_known_through(2040, 12, 31).unwrap();
    assert_eq!(longer.ends_soon(at("2030-01-01T00:00:00Z")), None);
    let crypto = Calendar::always_open();
    assert_eq!(crypto.ends_soon(at("2030-01-01T00:00:00Z")), None);
}
