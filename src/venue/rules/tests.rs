use super::*;

#[test]
fn what_is_out_of_bounds_is_brought_within_them() {
    let none = Duration::ZERO;
    let rules = Rules::new()
        .message_size(0)
        .request_limit(0)
        .requests_at_once(0)
        .pace(0, none)
        .reaping(Duration::MAX, none)
        .ping_interval(none);
    assert_eq!(rules.message_size, 1 << 10);
    assert_eq!(rules.request_limit, 1);
    assert_eq!(rules.requests_at_once, 1);
    assert_eq!(rules.pace.map(|pace| pace.requests), Some(1));
    assert_eq!(rules.reaping, (Duration::MAX, Duration::MAX));
    assert_eq!(rules.ping_interval, Some(Duration::from_millis(1)));
    let rules = Rules::new()
        .message_size(usize::MAX)
        .requests_at_once(usize::MAX);
    assert_eq!(rules.message_size, 1 << 30);
    assert_eq!(rules.requests_at_once, 1_024);
}
