//! A venue that answers for each topic by itself, and names the topic of a refusal or not. Its codes are texts. Quotes build on
//! each other: the first behind each request is whole. Symbols may be written in small letters. A newcomer takes the line.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    lines::{self, Line, Login},
    personality::{self, Answers, Personality, Speech},
};
use crate::{
    Credentials, Endpoint, MarketEvent, Topic,
    calendar::Calendar,
    error::{Rejection, RejectionCode, RejectionKind},
    event::Concerns,
    market::QUOTES,
    venue::{Context, Delivery, Frame, Request, Rules, Session, Venue, Verb},
};

pub(super) struct PerTopic;

impl Personality for PerTopic {
    type Venue = PerTopicVenue;

    fn venue(endpoint: Endpoint, rules: Rules) -> PerTopicVenue {
        PerTopicVenue {
            endpoint,
            rules: rules.answers_per_topic(true),
            left_out: Arc::default(),
        }
    }

    fn left_out(venue: &PerTopicVenue) -> u64 {
        venue.left_out.load(Ordering::Relaxed)
    }

    const SPEECH: Speech = Speech {
        answers: Answers::PerTopic,
        write: personality::lines,
        read: personality::read_lines,
        // No quotes of all symbols at once.
        absent: super::bit(1, 0),
        builds: super::bit(1, 1) | super::bit(1, 2) | super::bit(1, 3) | super::bit(1, 4),
        has_spellings: true,
        evicts: true,
        code: || RejectionCode::from(CODE),
    };
}

#[derive(Clone)]
pub(super) struct PerTopicVenue {
    endpoint: Endpoint,
    rules: Rules,
    /// How many changes sessions have left out, because nothing whole was there to be changed.
    left_out: Arc<AtomicU64>,
}

impl Venue for PerTopicVenue {
    type Event = MarketEvent;
    type Session = PerTopicSession;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn canonical(&self, topic: &Topic) -> Topic {
        Topic::new(topic.channel, topic.symbol.to_ascii_uppercase())
    }

    fn delivery(&self, topic: &Topic) -> Delivery {
        if topic.channel == QUOTES {
            Delivery::Changes
        } else {
            Delivery::Latest
        }
    }

    fn calendar(&self) -> Calendar {
        lines::calendar()
    }

    fn session(&self, credentials: Credentials) -> PerTopicSession {
        PerTopicSession {
            login: Login::Welcome(credentials),
            books: BTreeMap::new(),
            left_out: Arc::clone(&self.left_out),
        }
    }
}

pub(super) struct PerTopicSession {
    login: Login,
    /// Quotes that were asked for, and whether something whole has come since.
    books: BTreeMap<Topic, bool>,
    left_out: Arc<AtomicU64>,
}

impl Session for PerTopicSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, _cx: &mut Context<'_, MarketEvent>) {}

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        let text = String::from_utf8_lossy(frame.bytes());
        for line in lines::read(&text) {
            let refused = || Rejection::new(RejectionKind::BadRequest, CODE).with_code(CODE);
            match self.login.take(line, cx) {
                Some(Line::Event(topic, id, whole)) => self.handle_event(&topic, id, whole, cx),
                // Either way all books begin anew. The second is a loss to those who read trades, too.
                Some(Line::Odd(Concerns::Everybody)) if self.books.len().is_multiple_of(2) => {
                    cx.resync(self.books.keys().cloned().collect());
                }
                Some(Line::Odd(Concerns::Everybody)) => cx.lost(Concerns::Everybody),
                Some(Line::Subscribed(topic)) => cx.subscribed(topic, None),
                Some(Line::Unsubscribed(topic)) => cx.unsubscribed(topic, None),
                Some(Line::RefusedTopic(topic)) => cx.refused_topic(topic, None, refused()),
                Some(Line::RefusedSome | Line::Error(_)) => cx.refused(None, refused()),
                _ => {}
            }
        }
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        let books = request.topics.iter();
        for topic in books.filter(|topic| topic.channel == QUOTES) {
            match request.verb {
                Verb::Subscribe => self.books.insert(topic.clone(), false),
                Verb::Unsubscribe => self.books.remove(topic),
            };
        }
        lines::ask(request, cx);
    }
}

impl PerTopicSession {
    /// A change of what nobody has seen is not handed on.
    fn handle_event(
        &mut self,
        topic: &Topic,
        id: i64,
        whole: bool,
        cx: &mut Context<'_, MarketEvent>,
    ) {
        if topic.channel == QUOTES {
            let has_begun = self.books.get_mut(topic).is_some_and(|has_begun| {
                *has_begun |= whole;
                *has_begun
            });
            if !has_begun {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        cx.event(lines::event(topic, id, whole));
    }
}

const CODE: &str = "EQuery:Unknown";
