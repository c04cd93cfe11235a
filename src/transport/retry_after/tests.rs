use super::*;

#[test]
fn it_is_seconds_or_a_time() {
    let now: Timestamp = "2026-11-06T08:49:00Z".parse().unwrap();
    assert_eq!(wait(b"120", now), Some(Duration::from_secs(120)));
    assert_eq!(
        wait(b"Fri, 06 Nov 2026 08:49:37 GMT", now),
        Some(Duration::from_secs(37))
    );
    assert_eq!(wait(b"Fri, 06 Nov 2026 08:40:00 GMT", now), None);
    assert_eq!(wait(b"soon", now), None);
    // The same moments as Unix times.
    let unix = now.as_nanos() / 1_000_000_000;
    for (number, seconds) in [
        (unix + 37, Some(37)),
        ((unix + 37) * 1_000, Some(37)),
        (unix - 540, None),
        (unix + 30 * 86_400, Some(30 * 86_400)),
        (86_400, Some(86_400)),
        // No time near now.
        (1_000_000_000, Some(1_000_000_000)),
    ] {
        let seconds = seconds.map(Duration::from_secs);
        assert_eq!(
            wait(number.to_string().as_bytes(), now),
            seconds,
            "{number}"
        );
    }
}
