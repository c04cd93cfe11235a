use super::*;

#[test]
fn no_sum_and_no_product_of_a_span_panics() {
    let now = now();
    let far = after(now, Duration::MAX);
    let century = far.saturating_duration_since(now);
    assert!(century > Duration::from_secs(99 * 365 * 24 * 3_600));
    assert!(
        after(far, Duration::MAX) >= far,
        "a bound on top of a bound"
    );
    let minute = Duration::from_secs(60);
    assert_eq!(after(now, minute).saturating_duration_since(now), minute);
    for factor in [1.0 - f64::EPSILON, 1.0, 1.2] {
        assert!(times(Duration::MAX, factor) > Duration::MAX / 2);
    }
    assert_eq!(times(minute, 0.5), Duration::from_secs(30));
}

/// What is stamped must not look younger than it is, nor a pause between two looks like sleep for good.
#[test]
fn nothing_was_slept_between_two_looks_and_the_bounds_hold() {
    let before = asleep();
    let present = moment();
    let after = moment();
    assert!(before <= present.asleep, "{before:?} {present:?}");
    assert!(present.now <= after.now);
    // The least of many looks, for a machine that holds threads up between two clocks.
    let least = (0..1_000)
        .map(|_| moment().asleep)
        .min()
        .unwrap_or_default();
    assert!(
        least.saturating_sub(before) < SUSPEND,
        "{least:?} {before:?}"
    );
}
