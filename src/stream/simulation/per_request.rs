//! A venue that answers each request by its number, so that several may wait: three, and four in a second at the most.

use super::{
    lines::{self, Line, LineVenue, Login},
    personality::{self, Answers, Personality, Speech},
};
use crate::{
    Endpoint, MarketEvent,
    error::{Rejection, RejectionCode, RejectionKind},
    venue::{Context, Frame, Request, RequestId, Rules, Session},
};

pub(super) struct PerRequest;

impl Personality for PerRequest {
    type Venue = LineVenue<PerRequestSession>;

    fn venue(endpoint: Endpoint, rules: Rules) -> Self::Venue {
        let rules = lines::hasty(rules).request_limit(3);
        LineVenue::new(endpoint, rules, |login| PerRequestSession { login })
    }

    const SPEECH: Speech = Speech {
        answers: Answers::PerRequest,
        write: personality::lines,
        read: personality::read_lines,
        absent: 0,
        builds: 0,
        has_spellings: false,
        evicts: false,
        code: || RejectionCode::from(CODE),
    };
}

pub(super) struct PerRequestSession {
    login: Login,
}

impl Session for PerRequestSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, _cx: &mut Context<'_, MarketEvent>) {}

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        let text = String::from_utf8_lossy(frame.bytes());
        for line in lines::read(&text) {
            let refused = || Rejection::new(RejectionKind::BadRequest, "no").with_code(CODE);
            match self.login.take(line, cx) {
                Some(Line::Event(topic, id, whole)) => cx.event(lines::event(&topic, id, whole)),
                Some(Line::Done(id)) => cx.confirmed(RequestId::new(id)),
                Some(Line::Refused(id)) => cx.refused(RequestId::new(id), refused()),
                Some(Line::Error(_)) => cx.refused(None, refused()),
                _ => {}
            }
        }
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        lines::ask(request, cx);
    }
}

const CODE: i64 = -1_121;
