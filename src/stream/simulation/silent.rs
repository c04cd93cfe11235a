//! A venue that answers nothing: what it sends is the answer. It numbers its events, so its session knows what is missing.

use std::collections::BTreeMap;

use super::{
    lines::{self, Line, LineVenue, Login},
    personality::{self, Answers, Personality, Speech},
};
use crate::{
    Endpoint, MarketEvent, Topic,
    error::RejectionCode,
    event::Concerns,
    venue::{Context, Frame, Request, Rules, Session},
};

pub(super) struct Silent;

impl Personality for Silent {
    type Venue = LineVenue<SilentSession>;

    fn venue(endpoint: Endpoint, rules: Rules) -> Self::Venue {
        LineVenue::new(endpoint, rules, |login| SilentSession {
            login,
            last: BTreeMap::new(),
        })
    }

    const SPEECH: Speech = Speech {
        answers: Answers::Never,
        write: personality::lines,
        read: personality::read_lines,
        absent: 0,
        builds: 0,
        has_spellings: false,
        evicts: true,
        code: || RejectionCode::Number(0),
    };
}

pub(super) struct SilentSession {
    login: Login,
    /// The newest number of each channel and symbol.
    last: BTreeMap<Topic, i64>,
}

impl Session for SilentSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, _cx: &mut Context<'_, MarketEvent>) {}

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        let text = String::from_utf8_lossy(frame.bytes());
        for line in lines::read(&text) {
            if let Some(Line::Event(topic, id, whole)) = self.login.take(line, cx) {
                let last = self.last.insert(topic.clone(), id);
                if last.is_some_and(|last| last + 1 != id) {
                    cx.lost(Concerns::Topic(topic.clone()));
                }
                cx.event(lines::event(&topic, id, whole));
            }
        }
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        let id = request.id;
        lines::ask(request, cx);
        // Nothing better will ever be known.
        cx.confirmed(id);
    }
}
