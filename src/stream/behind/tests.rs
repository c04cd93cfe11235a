use super::*;

#[test]
fn a_growing_age_warns_once_an_episode_whatever_the_clocks_say() {
    let threshold = Duration::from_secs(5);
    for offset in [-3_600, 0, 900] {
        let mut behind = Behind::default();
        let mut warned = Vec::new();
        for (at, age) in [1, 0, 2, 4, 6, 9, 4, 6, 2, 7].into_iter().enumerate() {
            let arrived = Timestamp::from_nanos((100 + at as i64) * 1_000_000_000);
            let happened =
                Timestamp::from_nanos(arrived.as_nanos() - (age + offset) * 1_000_000_000);
            warned.extend(
                behind
                    .saw(happened, arrived, Duration::from_secs(at as u64), threshold)
                    .map(|by| (at, by.as_secs())),
            );
        }
        assert_eq!(warned, [(4, 6), (9, 7)], "offset {offset}");
        assert_eq!(behind.by(), Duration::from_secs(7));
    }
}

/// An hour forward or back, by a human or at the end of a suspend, whose time the wall clock alone has counted.
#[test]
fn a_wall_clock_that_is_set_makes_no_event_late() {
    let (threshold, second) = (Duration::from_secs(5), 1_000_000_000);
    for step in [3_600, -3_600, 60, -60] {
        let mut behind = Behind::default();
        let mut saw = |at: u64, set: i64, age: i64| {
            let true_time = (1_000_000 + at as i64) * second;
            let arrived = Timestamp::from_nanos(true_time + set * second);
            let happened = Timestamp::from_nanos(true_time - age * second);
            let warning = behind.saw(happened, arrived, Duration::from_secs(at), threshold);
            (warning.map(|by| by.as_secs()), behind.by().as_secs())
        };
        assert_eq!(saw(1, 0, 0), (None, 0));
        assert_eq!(saw(2, step, 0), (None, 0), "{step}");
        assert_eq!(saw(3, step, 2), (None, 2), "{step}");
        assert_eq!(
            saw(4, step, 6),
            (Some(6), 6),
            "{step}: a real delay is seen all the same"
        );
        assert_eq!(saw(5, 0, 0), (None, 0), "{step}: and back");
    }
}
