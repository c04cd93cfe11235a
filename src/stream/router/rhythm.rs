//! What can be expected of a topic from its own past: how long it was silent at most, while the market traded.
//!
//! A venue can say of few topics how often something has to arrive. A topic that has delivered says it itself: one that
//! brought something every second, and then nothing for half a minute, may have been forgotten by the venue, although the
//! line answers pings. It is asked for again. Only where the whole line has fallen silent, and stays so after that, is the
//! line given up.
//!
//! Nothing is added to what an event costs: the topics that had events are looked through once a second at most, in turns
//! that happen anyway.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::readers::{Readers, TopicReaders};
use crate::{clock, topic::Topic};

#[derive(Default)]
pub(super) struct Rhythms {
    topics: HashMap<Topic, Rhythm>,
    /// When they were looked through last, and whether the market traded.
    swept: Option<(Instant, bool)>,
}

/// Of one topic. All times are trading time.
#[derive(Clone, Copy, Default)]
struct Rhythm {
    /// Something came on this connection: only then is more expected.
    is_known_here: bool,
    /// How long it has been watched, up to the last event.
    watched: Duration,
    /// How often something came, counted once for each look.
    arrivals: u32,
    /// The longest time between two of these, which fades over days.
    longest: Duration,
    /// How long nothing has come.
    silent: Duration,
    /// It was asked for again after so much of this silence.
    asked_after: Option<Duration>,
}

impl Rhythm {
    /// Something came, so long ago.
    fn arrived(&mut self, ago: Duration) {
        let gap = self.silent.saturating_sub(ago);
        if self.is_known_here {
            let fading = 1.0 - (gap.as_secs_f64() / FADES_IN.as_secs_f64()).min(1.0);
            self.longest = clock::times(self.longest, fading).max(gap);
            self.watched = self.watched.saturating_add(gap);
            self.arrivals = self.arrivals.saturating_add(1);
        }
        self.is_known_here = true;
        self.silent = ago;
        self.asked_after = None;
    }

    /// What is going to come of it is not known any more.
    fn forget_silence(&mut self) {
        self.is_known_here = false;
        self.silent = Duration::ZERO;
        self.asked_after = None;
    }

    /// How long it may be silent, where that can be said. The fewer arrivals there were, the less is known, and nothing is
    /// known of a silence that is longer than all the time before.
    fn allowed(&self) -> Option<Duration> {
        let is_known = self.is_known_here && self.arrivals >= LEAST_ARRIVALS;
        let margin = 10.0 + 100.0 / f64::from(self.arrivals.max(1));
        let allowed = clock::times(self.longest, margin).max(LEAST_SILENCE);
        (is_known && allowed <= self.watched).then_some(allowed)
    }
}

/// What the last look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Topics that have just fallen silent: to be asked for again.
    pub(crate) topics: Vec<Topic>,
    /// Nothing comes on any topic that had events on this connection, and for one of them that is too long.
    pub(crate) is_whole_line: bool,
    /// It was asked for again, and as much time as before has passed since.
    pub(crate) is_over: bool,
}

impl Rhythms {
    /// Looks for topics that have fallen silent, once a second at most. `learns` says whether a topic's past says anything
    /// of its future.
    pub(super) fn look(
        &mut self,
        readers: &Readers,
        now: Instant,
        is_trading: impl FnOnce() -> bool,
        learns: impl Fn(&Topic) -> bool,
    ) -> Option<Silence> {
        let before = self.swept;
        if before.is_some_and(|(at, _)| now.saturating_duration_since(at) < LOOK_EVERY) {
            return None;
        }
        let is_trading = is_trading();
        self.swept = Some((now, is_trading));
        let passed = match before {
            Some((at, true)) if is_trading => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        };
        self.topics.retain(|topic, rhythm| {
            let of = readers.find(topic);
            // While it is asked for again nothing can come of it.
            if of.is_some_and(TopicReaders::is_read) {
                rhythm.silent = rhythm.silent.saturating_add(passed);
            }
            // Who left a topic does not wait for it.
            of.is_some_and(TopicReaders::is_wanted)
        });
        for (channel, symbol, of) in readers.iter() {
            let Some(heard) = of.heard.get().filter(|_| of.is_fresh.replace(false)) else {
                continue;
            };
            let topic = Topic::new(channel, symbol);
            if learns(&topic) {
                let ago = now.saturating_duration_since(heard).min(passed);
                self.topics.entry(topic).or_default().arrived(ago);
            }
        }
        Some(found(&mut self.topics))
    }

    /// A new connection: what it is going to bring is not known yet.
    pub(super) fn forget_silence(&mut self, readers: &Readers) {
        self.swept = None;
        self.topics.values_mut().for_each(Rhythm::forget_silence);
        readers.iter().for_each(|(_, _, of)| of.is_fresh.set(false));
    }

    /// The venue sends no more of the topic, though it is wanted: that it is silent says nothing of the line.
    pub(super) fn refused(&mut self, topic: &Topic, readers: &Readers) {
        if let Some(rhythm) = self.topics.get_mut(topic) {
            rhythm.forget_silence();
        }
        if let Some(of) = readers.find(topic) {
            of.is_fresh.set(false);
        }
    }
}

fn found(rhythms: &mut HashMap<Topic, Rhythm>) -> Silence {
    let mut silence = Silence::default();
    let mut is_too_long = false;
    for (topic, rhythm) in &mut *rhythms {
        let Some(allowed) = rhythm.allowed().filter(|allowed| *allowed <= rhythm.silent) else {
            continue;
        };
        is_too_long = true;
        match rhythm.asked_after {
            None => {
                rhythm.asked_after = Some(rhythm.silent);
                silence.topics.push(topic.clone());
            }
            Some(asked_after) => {
                silence.is_over |= rhythm.silent >= asked_after.saturating_add(allowed)
            }
        }
    }
    let mut known = rhythms.values().filter(|rhythm| rhythm.is_known_here);
    silence.is_whole_line = is_too_long && known.all(|rhythm| rhythm.silent >= LEAST_SILENCE);
    silence.is_over &= silence.is_whole_line;
    silence.topics.sort();
    silence
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Any topic may be silent for so long.
const LEAST_SILENCE: Duration = Duration::from_secs(30);
/// A topic that brought something less often has no rhythm.
const LEAST_ARRIVALS: u32 = 10;
/// The longest gap is forgotten after so much trading time.
const FADES_IN: Duration = Duration::from_secs(7 * 24 * 3_600);
