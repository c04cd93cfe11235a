//! A venue that answers each request by its number, so that several may wait: three, and four in a second at the most.

use super::{
    lines::{self, Line, Login},
    personality::{self, Answers, Personality, Speech},
};
use crate::{
    Calendar, Credentials, Endpoint, MarketEvent, Rejection, RejectionCode, RejectionKind,
    venue::{Context, Frame, Request, RequestId, Rules, Session, Venue},
};

pub(super) struct PerRequest;

impl Personality for PerRequest {
    type Venue = PerRequestVenue;

    fn venue(endpoint: Endpoint, rules: Rules) -> PerRequestVenue {
        let rules = lines::hasty(rules).request_limit(3);
        PerRequestVenue { endpoint, rules }
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

#[derive(Clone)]
pub(super) struct PerRequestVenue {
    endpoint: Endpoint,
    rules: Rules,
}

impl Venue for PerRequestVenue {
    type Event = MarketEvent;
    type Session = PerRequestSession;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn calendar(&self) -> Calendar {
        lines::calendar()
    }

    fn session(&self, credentials: Credentials) -> PerRequestSession {
        PerRequestSession {
            login: Login::Welcome(credentials),
        }
    }
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
