//! A logger that keeps what the library tells, with its key-values.

use std::{
    collections::BTreeMap,
    sync::{Arc, Once},
};

use parking_lot::Mutex;
use trunkline::StreamKey;

use super::eventually;

/// A record, as a structured logger sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) level: log::Level,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) pairs: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn event(&self) -> &str {
        self.pairs.get("event").map_or("", String::as_str)
    }
}

pub(crate) type Hook = Arc<dyn Fn(&Seen) + Send + Sync>;

/// Everything that the library logs in this process, and what to do at a record of a stream.
#[derive(Default)]
pub(crate) struct Logger {
    seen: Mutex<Vec<Seen>>,
    pub(crate) hooks: Mutex<BTreeMap<String, Hook>>,
}

pub(crate) static LOGGER: Logger = Logger {
    seen: Mutex::new(Vec::new()),
    hooks: Mutex::new(BTreeMap::new()),
};

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("trunkline")
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs(BTreeMap<String, String>);
        impl<'kvs> log::kv::VisitSource<'kvs> for Pairs {
            fn visit_pair(
                &mut self,
                key: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                let twice = self.0.insert(key.to_string(), value.to_string());
                assert_eq!(twice, None, "{key} stands twice");
                Ok(())
            }
        }
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut pairs = Pairs(BTreeMap::new());
        record.key_values().visit(&mut pairs).unwrap();
        let seen = Seen {
            level: record.level(),
            target: record.target().to_owned(),
            message: record.args().to_string(),
            pairs: pairs.0,
        };
        let hook = seen
            .pairs
            .get("stream")
            .and_then(|stream| self.hooks.lock().get(stream).cloned());
        self.seen.lock().push(seen.clone());
        if let Some(hook) = hook {
            hook(&seen);
        }
    }

    fn flush(&self) {}
}

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&LOGGER).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// The records of one stream, and those that name none.
pub(crate) fn records(stream: &StreamKey) -> Vec<Seen> {
    let name = stream.to_string();
    let seen = LOGGER.seen.lock();
    seen.iter()
        .filter(|record| {
            record.message.contains(&name)
                || record
                    .pairs
                    .get("stream")
                    .is_none_or(|stream| *stream == name)
        })
        .cloned()
        .collect()
}

pub(crate) fn wait_for(stream: &StreamKey, event: &str, times: usize) {
    eventually(event, || {
        let seen = records(stream);
        seen.iter().filter(|record| record.event() == event).count() >= times
    });
}
