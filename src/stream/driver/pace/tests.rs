use super::*;

/// Whenever it is asked, no second has more than three.
#[test]
fn no_stretch_of_time_has_more_requests_than_the_venue_takes() {
    let second = Duration::from_secs(1);
    let rules = Rules::new().pace(3, second);
    let (mut sent, mut made) = (Sent::default(), Vec::new());
    let started = clock::now();
    let mut now = started;
    for step in 0..400_u64 {
        now += Duration::from_millis(step * 7 % 90);
        match sent.wait(&rules, now) {
            None => {
                sent.add(&rules, now);
                made.push(now);
            }
            Some(until) => assert!(until > now && until <= now + second),
        }
    }
    assert!(made.windows(4).all(|four| four[3] - four[0] >= second));
    let most = (now - started).as_millis() * 3 / 1_000;
    assert!(made.len() as u128 > most * 9 / 10, "it uses what it may");
    assert_eq!(Sent::default().wait(&Rules::new(), now), None);
}
