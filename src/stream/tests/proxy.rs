//! What a proxy's failures mean for the stream, and for the others that ask the same host.

use super::*;
use crate::{
    Proxy,
    error::{ProxyAnswer, ProxyFault},
};

const PROXY: &str = "http://me:hunter2@proxy.test:3128";

fn through_a_proxy() -> Config {
    Config {
        proxy: Proxy::At(PROXY.parse().unwrap()),
        ..Config::default()
    }
}

fn answer(status: u16) -> ProxyAnswer {
    let retry_after = None;
    ProxyAnswer::Http {
        status,
        retry_after,
    }
}

fn at_the_proxy(fault: ProxyFault) -> Fault {
    Fault::Proxy {
        proxy: "http://proxy.test:3128".to_owned(),
        fault,
        source: None,
    }
}

#[test]
fn a_login_that_a_proxy_accepted_before_is_tried_for_some_minutes_and_then_given_up() {
    let refused = ProxyFault::LoginRefused(answer(407));
    let takes_another = ProxyFault::LoginWanted {
        answer: answer(407),
        is_configured: true,
        offers: "NTLM".to_owned(),
    };
    for fault in [refused.clone(), takes_another] {
        let mut bench = Bench::on(through_a_proxy(), Peer::new());
        bench.log_in();
        bench.peer.cut();
        bench.step();
        let mut refusals = Vec::new();
        while !bench.is_over() {
            bench.peer.fail_next(at_the_proxy(fault.clone()));
            bench.leap();
            refusals.push(bench.peer.now());
            if !bench.is_over() {
                let health = bench.health();
                assert_eq!(health.phase, Phase::Waiting);
                assert!(health.gives_up_in.is_some(), "{health}");
            }
            assert!(refusals.len() <= 20);
        }
        let patience = Config::default().backoff.credentials_patience;
        assert_eq!(*refusals.last().unwrap() - refusals[0], patience);
        assert_eq!(bench.cause().code(), "proxy");
    }
    // One that was never accepted is given up at once.
    let mut bench = Bench::on(through_a_proxy(), Peer::new());
    bench.peer.fail_next(at_the_proxy(refused));
    bench.step();
    assert!(bench.is_over());
}

/// A login that nobody configured cannot be locked out by trying.
#[test]
fn a_proxy_that_wants_a_login_after_it_let_the_line_through_without_is_asked_again_for_ever() {
    let mut bench = Bench::on(through_a_proxy(), Peer::new());
    bench.log_in();
    bench.peer.cut();
    bench.step();
    for _ in 0..100 {
        bench.peer.fail_next(at_the_proxy(ProxyFault::LoginWanted {
            answer: answer(407),
            is_configured: false,
            offers: String::new(),
        }));
        bench.leap();
        assert!(!bench.is_over());
    }
}

#[test]
fn each_new_cause_is_told_though_all_are_of_one_code() {
    let upgrade = |status| Fault::Upgrade {
        status,
        retry_after: None,
        location: None,
    };
    let forbidden = ProxyFault::Forbidden {
        venue: "venue.test:443".to_owned(),
        answer: answer(403),
    };
    let mut bench = Bench::on(through_a_proxy(), Peer::new());
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.log_in();
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.peer.cut();
    bench.step();
    words(&subscription);
    for (fault, is_new) in [
        (at_the_proxy(ProxyFault::Silent), true),
        (at_the_proxy(ProxyFault::Ended), false),
        (at_the_proxy(forbidden.clone()), true),
        (at_the_proxy(ProxyFault::LoginRefused(answer(407))), true),
        (at_the_proxy(forbidden), false),
        (at_the_proxy(ProxyFault::Silent), false),
        (upgrade(503), true),
        (upgrade(500), false),
        (upgrade(404), true),
        (upgrade(400), false),
    ] {
        let shown = format!("{fault:?}");
        bench.peer.fail_next(fault);
        bench.leap();
        let told = words(&subscription);
        assert_eq!(told.len(), usize::from(is_new), "{shown}: {told:?}");
        assert!(told.iter().all(|word| word.starts_with("not live")));
    }
}

/// Whoever does without the proxy, or uses another one, is not held back for what fails at it. Its login makes no
/// difference, nor is it kept with the count.
#[test]
fn failures_at_a_proxy_are_charged_to_those_who_go_through_it() {
    let attempts = Arc::new(Attempts::new());
    let on = |proxy: Option<&str>, now| {
        let proxy = proxy.map_or(Proxy::Never, |proxy| Proxy::At(proxy.parse().unwrap()));
        let config = Config {
            proxy,
            ..Config::default()
        };
        let (peer, transport) = Peer::with_attempts(Arc::clone(&attempts));
        peer.advance_to(now);
        peer.fix_jitter(0.0);
        Bench::on(config, (peer, transport))
    };
    let mut failing = on(Some(PROXY), clock::now());
    for _ in 0..100 {
        failing.peer.fail_next(at_the_proxy(ProxyFault::Silent));
    }
    failing.step();
    for _ in 0..60 {
        failing.leap();
    }
    for (proxy, is_held) in [
        (Some(PROXY), true),
        (Some("http://other:s3@proxy.test:3128"), true),
        (Some("socks5://proxy.test:3128"), false),
        (None, false),
    ] {
        let mut bench = on(proxy, failing.peer.now());
        bench.step();
        assert_eq!(bench.peer.attempts() == 0, is_held, "{proxy:?}");
        let cause = bench.stream.lifecycle.snapshot().cause;
        assert_eq!(
            cause.is_some_and(|cause| cause.code() == "held_back"),
            is_held
        );
    }
}

impl Bench {
    fn cause(&self) -> Error {
        self.stream.lifecycle.snapshot().cause.unwrap()
    }
}
