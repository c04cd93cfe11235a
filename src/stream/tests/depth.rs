//! None of the depth of the stack may follow from how much a peer sends, or how much is asked for. A stack that is exceeded
//! ends the process, and no test of it goes on.

use super::*;
use crate::venue::{Context, Frame, Request, Session};

/// Runs `body` where the stack is an eighth of what a thread has otherwise.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate's own has no small stack"
)]
fn on_a_small_stack(body: impl FnOnce() + Send + 'static) {
    // The first use of a calendar parses a time zone, in a debug build on 200 KiB.
    let _ = alpaca::stocks(Feed::Iex);
    let builder = std::thread::Builder::new().stack_size(256 << 10);
    builder.spawn(body).unwrap().join().unwrap();
}

#[test]
fn thousands_of_answers_in_one_frame_take_no_more_of_the_stack_than_one() {
    on_a_small_stack(|| {
        let mut bench = Bench::live();
        let subscriptions: Vec<_> = (0..2_000)
            .map(|number| bench.subscribe(alpaca::quotes([format!("S{number}")])))
            .collect();
        bench.step();
        let first = bench.sent();
        assert_eq!(first.len(), 1);
        let refusals = vec![r#"{"T":"error","code":400,"msg":"x"}"#; 2_000].join(",");
        bench.say(&format!("[{refusals}]"));
        // The first answers the one request that was made. The rest answers none: the next was made after they came.
        // And what was refused whole is halved: nobody is refused yet.
        let second = bench.sent();
        assert_eq!(second.len(), 1);
        assert_ne!(first, second);
        let told = |subscription| {
            let words = words(subscription).into_iter();
            words
                .filter(|word| !word.starts_with("unparsed"))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&subscriptions[0]), [""; 0]);
        assert_eq!(bench.health().counters.unparsed, 1_999);
        let asked = second[0].replace(r#""action":"subscribe""#, r#""T":"subscription""#);
        let states = vec![asked; 2_000].join(",");
        bench.say(&format!("[{states}]"));
        let confirmed = |subscription| {
            told(subscription)
                .iter()
                .any(|word| word.starts_with("confirmed"))
        };
        assert!(subscriptions.iter().any(confirmed));
    });
}

/// A venue that needs nobody's word: what is asked for is confirmed in the call that asks.
struct Obliging(crate::Endpoint);

impl Venue for Obliging {
    type Event = crate::market::MarketEvent;
    type Session = Self;

    fn endpoint(&self) -> &crate::Endpoint {
        &self.0
    }

    fn session(&self, _: Credentials) -> Self {
        Self(self.0.clone())
    }
}

impl Session for Obliging {
    type Event = crate::market::MarketEvent;

    fn handle_open(&mut self, cx: &mut Context<'_, crate::market::MarketEvent>) {
        cx.up();
    }

    fn handle_frame(&mut self, _: Frame<'_>, _: &mut Context<'_, crate::market::MarketEvent>) {}

    fn request(&mut self, _: Request<'_>, cx: &mut Context<'_, crate::market::MarketEvent>) {
        cx.confirmed(None);
    }
}

#[test]
fn a_thousand_requests_that_are_answered_while_they_are_made_take_no_more_of_the_stack_than_one() {
    on_a_small_stack(|| {
        let venue = Obliging("ws://obliging.invalid/".parse().unwrap());
        let key = crate::StreamKey::new(&venue.0, &Credentials::none());
        let stream = Stream::new(key, 0, venue.rules(), venue, Arc::new(Config::default()));
        let lease = Lease::counted(Arc::clone(&stream) as Arc<dyn SharedStream>, None);
        let handle = StreamHandle::new(Arc::clone(&stream), lease, stream.config.queue);
        let subscriptions: Vec<_> = (0..1_000)
            .map(|number| handle.subscribe(alpaca::quotes([format!("S{number}")])))
            .collect::<Result<_, _>>()
            .unwrap();
        let (peer, transport) = Peer::new();
        let mut driver = drive(&stream, &peer, transport, Credentials::none());
        driver.step(peer.now());
        for subscription in &subscriptions {
            subscription.wait_confirmed(Duration::ZERO).unwrap();
        }
    });
}
