//! Everything that was logged, and everything that the library gave out as text.

use std::{
    fmt::{self, Write as _},
    sync::OnceLock,
    time::Instant,
};

use parking_lot::Mutex;
use trunkline::{
    Error, Manager, StreamHandle, Subscription, Update, alpaca::MarketData, market::TradeEvent,
};

use crate::support::WAIT;

/// Everything that was logged, and everything that the library gave out as text.
#[derive(Default)]
pub(crate) struct Capture(pub(crate) Mutex<String>);

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs(String);
        impl<'kvs> log::kv::VisitSource<'kvs> for Pairs {
            fn visit_pair(
                &mut self,
                key: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                let _ = write!(self.0, " {key}={value} {value:?}");
                Ok(())
            }
        }
        let mut pairs = Pairs(String::new());
        let _ = record.key_values().visit(&mut pairs);
        self.add(format_args!(
            "{} {}: {}{}",
            record.level(),
            record.target(),
            record.args(),
            pairs.0
        ));
    }

    fn flush(&self) {}
}

impl Capture {
    pub(crate) fn install() -> &'static Self {
        static CAPTURE: OnceLock<Capture> = OnceLock::new();
        let capture = CAPTURE.get_or_init(Self::default);
        log::set_logger(capture).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        capture
    }

    pub(crate) fn add(&self, text: fmt::Arguments<'_>) {
        // A line each, whatever is in it.
        let text = text.to_string().replace('\n', " / ");
        let mut all = self.0.lock();
        all.push_str(&text);
        all.push('\n');
    }

    pub(crate) fn error(&self, error: &Error) {
        self.add(format_args!(
            "{error} {error:?} {error:#?} {} {:?}",
            error.remedy(),
            error.stream()
        ));
    }

    pub(crate) fn update(&self, update: &Update<TradeEvent>) {
        self.add(format_args!("{update:?} {update:#?}"));
        self.add(format_args!("{}", serde_json::to_string(update).unwrap()));
        match update {
            Update::Event(event) => self.add(format_args!("{event}")),
            Update::Gap(gap) => {
                self.add(format_args!("{gap}"));
                self.error(&gap.cause);
            }
            Update::Dropped(dropped) => self.add(format_args!("{dropped}")),
            Update::Notice(notice) => self.add(format_args!("{notice}")),
            Update::Ended(ended) => self.add(format_args!("{ended}")),
        }
    }

    pub(crate) fn stream(&self, feed: &StreamHandle<MarketData>, manager: &Manager) {
        for health in manager.health().streams.into_iter().chain([feed.health()]) {
            self.add(format_args!("{health} {health:?} {health:#?}"));
            self.add(format_args!("{}", serde_json::to_string(&health).unwrap()));
        }
        self.add(format_args!("{feed:?} {:?} {}", feed.key(), feed.key()));
        self.add(format_args!("{manager:?} {:?}", manager.config()));
        self.add(format_args!("{:?}", feed.end_reason()));
    }
}

/// Reads until `wanted` says so, and captures everything on the way.
pub(crate) fn read_until(
    capture: &Capture,
    subscription: &Subscription<TradeEvent>,
    mut wanted: impl FnMut(&Update<TradeEvent>) -> bool,
) -> Update<TradeEvent> {
    let deadline = Instant::now() + WAIT;
    loop {
        let update = subscription
            .recv_deadline(deadline)
            .expect("the update comes in time");
        capture.update(&update);
        if wanted(&update) {
            return update;
        }
    }
}

pub(crate) fn is_trade(update: &Update<TradeEvent>, id: i64) -> bool {
    matches!(update, Update::Event(event) if event.trade().is_some_and(|trade| trade.id == Some(id)))
}
