use super::*;
use crate::clock;

#[test]
fn timestamps_keep_nanoseconds_and_cut_zeros() {
    for text in [
        "2026-03-17T14:30:05Z",
        "2026-03-17T14:30:05.12Z",
        "2026-03-17T14:30:05.123456789Z",
        "1969-12-31T23:59:59.999999999Z",
    ] {
        let time: Timestamp = text.parse().unwrap();
        assert_eq!(time.to_string(), text);
        assert_eq!(Timestamp::try_from(SystemTime::from(time)).unwrap(), time);
    }
    let offset: Timestamp = "2026-03-17T10:30:05.2-04:00".parse().unwrap();
    assert_eq!(offset.to_string(), "2026-03-17T14:30:05.2Z");
    assert!("0001-01-01T00:00:00Z".parse::<Timestamp>().is_err());
    assert!("yesterday".parse::<Timestamp>().is_err());
}

#[test]
fn differences_are_exact_and_never_negative_and_sums_end_where_time_does() {
    let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let all = Duration::from_nanos(u64::MAX);
    assert_eq!(last.since(first), all);
    assert_eq!(first.since(last), Duration::ZERO);
    assert_eq!(first.since(first), Duration::ZERO);
    assert_eq!(first.checked_add(all), Some(last));
    assert_eq!(last.checked_sub(all), Some(first));
    let nanosecond = Duration::from_nanos(1);
    assert_eq!(last.checked_add(nanosecond), None);
    assert_eq!(first.checked_sub(nanosecond), None);
    for time in [first, last, Timestamp::default()] {
        assert_eq!(time.checked_add(Duration::ZERO), Some(time));
        assert_eq!(time.checked_add(Duration::MAX), None);
        assert_eq!(time.checked_sub(Duration::MAX), None);
    }
}

#[test]
fn now_is_what_the_systems_clock_says() {
    let before = Timestamp::now();
    let system = Timestamp::try_from(SystemTime::from(clock::utc())).unwrap();
    assert!(system.since(before) < Duration::from_secs(60));
    assert!(before > "2026-01-01T00:00:00Z".parse().unwrap());
}
