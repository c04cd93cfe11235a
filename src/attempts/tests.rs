use super::*;
use crate::clock;

impl Attempts {
    fn fail(&self, host: &str, now: Instant, limit: &AttemptBudget) {
        self.failed(host, now, limit, &Error::invalid_config("no matter what"));
    }

    pub(crate) fn wait(&self, host: &str, now: Instant, limit: &AttemptBudget) -> Duration {
        let hold = self.hold(host, now, limit);
        hold.map_or(Duration::ZERO, |hold| hold.wait)
    }
}

#[test]
fn a_burst_is_free_and_what_follows_comes_one_by_one() {
    let limit = AttemptBudget {
        burst: 3,
        interval: Duration::from_secs(2),
    };
    let attempts = Attempts::new();
    let now = clock::now();
    for _ in 0..3 {
        assert_eq!(attempts.wait("a", now, &limit), Duration::ZERO);
        attempts.fail("a", now, &limit);
    }
    assert_eq!(attempts.wait("a", now, &limit), Duration::ZERO);
    attempts.fail("a", now, &limit);
    assert_eq!(attempts.wait("a", now, &limit), Duration::from_secs(2));
    assert_eq!(
        attempts.wait("b", now, &limit),
        Duration::ZERO,
        "each host has its own"
    );
    let later = now + Duration::from_secs(2);
    assert_eq!(attempts.wait("a", later, &limit), Duration::ZERO);
    attempts.fail("a", later, &limit);
    assert_eq!(attempts.wait("a", later, &limit), Duration::from_secs(2));
    assert_eq!(
        attempts.wait("a", now + Duration::from_secs(60), &limit),
        Duration::ZERO
    );
}

#[test]
fn an_interval_without_a_bound_leaves_the_burst_and_nothing_more() {
    let limit = AttemptBudget {
        burst: 3,
        interval: Duration::MAX,
    };
    let attempts = Attempts::new();
    let now = clock::now();
    for _ in 0..3 {
        attempts.fail("a", now, &limit);
    }
    assert_eq!(attempts.wait("a", now, &limit), Duration::ZERO);
    attempts.fail("a", now, &limit);
    assert_eq!(attempts.wait("a", now, &limit), CENTURY);
}

#[test]
fn streams_share_the_count_of_failures_and_each_waits_by_its_own_bound() {
    let limit = |burst, seconds| AttemptBudget {
        burst,
        interval: Duration::from_secs(seconds),
    };
    let (patient, brisk) = (limit(3, 3_600), limit(3, 1));
    let attempts = Attempts::new();
    let now = clock::now();
    for _ in 0..5 {
        attempts.fail("a", now, &patient);
    }
    assert_eq!(
        attempts.wait("a", now, &patient),
        Duration::from_secs(7_200)
    );
    assert_eq!(attempts.wait("a", now, &brisk), Duration::from_secs(2));
    attempts.fail("a", now, &brisk);
    assert_eq!(attempts.wait("a", now, &brisk), Duration::from_secs(3));
    assert_eq!(
        attempts.wait("a", now, &patient),
        Duration::from_secs(10_800)
    );
    // What is forgiven under one bound is not under the other.
    let later = now + Duration::from_secs(60);
    assert_eq!(attempts.wait("a", later, &brisk), Duration::ZERO);
    assert_eq!(
        attempts.wait("a", later, &patient),
        Duration::from_secs(10_740)
    );
}
