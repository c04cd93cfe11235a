//! What the sessions of lines have in common. With `per_topic`, `per_request` and `silent` it names nothing of the library but
//! what every user can.

use std::time::Duration;

use crate::{
    Channel, Credentials, Decimal, Endpoint, MarketEvent, Quote, Timestamp, Topic, Trade,
    calendar::Calendar,
    error::{Rejection, RejectionKind},
    event::{Concerns, Unparsed},
    market::{Code, Conditions, QUOTES, TRADES},
    venue::{
        Context, Message, Piece, Request, Rules, SecretMessage, Session, Venue, Verb, Verdict,
    },
};

/// A venue that differs from others of its kind by its session alone.
pub(super) struct LineVenue<S> {
    endpoint: Endpoint,
    rules: Rules,
    /// Makes a session that is to log in.
    session: fn(Login) -> S,
}

impl<S> LineVenue<S> {
    pub(super) fn new(endpoint: Endpoint, rules: Rules, session: fn(Login) -> S) -> Self {
        Self {
            endpoint,
            rules,
            session,
        }
    }
}

impl<S> Clone for LineVenue<S> {
    fn clone(&self) -> Self {
        Self::new(self.endpoint.clone(), self.rules.clone(), self.session)
    }
}

impl<S: Session<Event = MarketEvent> + 'static> Venue for LineVenue<S> {
    type Event = MarketEvent;
    type Session = S;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn calendar(&self) -> Calendar {
        calendar()
    }

    fn session(&self, credentials: Credentials) -> S {
        (self.session)(Login::Welcome(credentials))
    }
}

/// A line of a venue's.
pub(super) enum Line<'a> {
    Welcome,
    LoggedIn,
    /// The event, and whether it is whole.
    Event(Topic, i64, bool),
    Odd(Concerns),
    Error(u16),
    Evicted,
    Subscribed(Topic),
    Unsubscribed(Topic),
    RefusedTopic(Topic),
    RefusedSome,
    Done(u64),
    Refused(u64),
    Unknown(&'a str),
}

pub(super) fn read(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["welcome"] => Line::Welcome,
            ["in"] => Line::LoggedIn,
            ["evicted", _] => Line::Evicted,
            ["error", code] => Line::Error(code.parse().unwrap_or(0)),
            ["odd"] => Line::Odd(Concerns::Everybody),
            ["odd", "nothing"] => Line::Odd(Concerns::Nobody),
            ["odd", place] => Line::Odd(match place.split_once('.') {
                Some(_) => Concerns::Topic(topic(place)),
                None => Concerns::Channel(channel(place)),
            }),
            ["on", name] => Line::Subscribed(topic(name)),
            ["off", name] => Line::Unsubscribed(topic(name)),
            ["no", name] => Line::RefusedTopic(topic(name)),
            ["no"] => Line::RefusedSome,
            ["done", id] => Line::Done(id.parse().unwrap_or(0)),
            ["fail", id] => Line::Refused(id.parse().unwrap_or(0)),
            [name, id, whole] => Line::Event(topic(name), id.parse().unwrap_or(0), whole == "1"),
            _ => Line::Unknown(line),
        }
    })
}

fn channel(name: &str) -> Channel {
    if name == TRADES.name() {
        TRADES
    } else {
        QUOTES
    }
}

fn topic(name: &str) -> Topic {
    let (of, symbol) = name.split_once('.').unwrap_or((name, "*"));
    Topic::new(channel(of), symbol)
}

/// The `id`th event of a topic. The size of what is asked says whether it is whole.
pub(super) fn event(topic: &Topic, id: i64, whole: bool) -> MarketEvent {
    let timestamp = Timestamp::from_nanos(1_773_757_805_000_000_000);
    if topic.channel == TRADES {
        return MarketEvent::Trade(Trade {
            symbol: topic.symbol.clone(),
            id: Some(id),
            exchange: Code::default(),
            price: Decimal::ONE,
            size: Decimal::ONE,
            taker_side: Code::default(),
            conditions: Conditions::default(),
            tape: Code::default(),
            update: Code::default(),
            timestamp,
        });
    }
    MarketEvent::Quote(Quote {
        symbol: topic.symbol.clone(),
        bid_exchange: Code::default(),
        bid_price: Decimal::ONE,
        bid_size: Decimal::from(id),
        ask_exchange: Code::default(),
        ask_price: Decimal::ONE,
        ask_size: Decimal::from(u8::from(whole)),
        exchange: Code::default(),
        conditions: Conditions::default(),
        tape: Code::default(),
        timestamp,
    })
}

/// Where a login stands.
pub(super) enum Login {
    /// The credentials are dropped once they were sent.
    Welcome(Credentials),
    Sent,
    In,
}

impl Login {
    /// Takes what belongs to the login, and what no login waits for. Gives back the rest.
    pub(super) fn take<'a>(
        &mut self,
        line: Line<'a>,
        cx: &mut Context<'_, MarketEvent>,
    ) -> Option<Line<'a>> {
        match (&*self, line) {
            (Self::Welcome(credentials), Line::Welcome) => {
                cx.send_secret(credentials.expose(|key, secret| {
                    SecretMessage::text(|piece| {
                        for part in ["login ", key, " ", secret] {
                            piece(Piece::Plain(part));
                        }
                    })
                }));
                *self = Self::Sent;
            }
            (Self::Sent, Line::LoggedIn) => {
                *self = Self::In;
                cx.up();
            }
            (_, Line::Evicted) => {
                let rejection = Rejection::new(RejectionKind::Evicted, "max_connections");
                cx.down(Verdict::Rejected(rejection.with_code("max_connections")));
            }
            // Whatever it is about, once the line is up: that is for each to say.
            (Self::In, line @ Line::Error(400 | 405)) => return Some(line),
            (Self::In, Line::Error(403)) => {}
            (_, Line::Error(code)) => {
                let kind = match code {
                    400 | 405 => RejectionKind::BadRequest,
                    402 => RejectionKind::Credentials,
                    406 => RejectionKind::ConnectionLimit,
                    407 => RejectionKind::SlowClient,
                    409 => RejectionKind::Entitlement,
                    _ => RejectionKind::Temporary,
                };
                let rejection = Rejection::new(kind, "no").with_code(i64::from(code));
                cx.down(Verdict::Rejected(rejection));
            }
            (Self::In, Line::Welcome | Line::LoggedIn) => {}
            (Self::In, Line::Odd(concerns)) => {
                cx.unparsed(Unparsed::new(b"odd", "it is odd").concerning(concerns.clone()));
                return Some(Line::Odd(concerns));
            }
            (Self::In, Line::Unknown(line)) => cx.unparsed(Unparsed::new(line.as_bytes(), "what?")),
            (Self::In, line) => return Some(line),
            (Self::Welcome(_) | Self::Sent, _) => {
                let early = Unparsed::new(b"early", "a login was expected");
                cx.unparsed(early.concerning(Concerns::Nobody));
            }
        }
        None
    }
}

/// `sub 7 trades.A quotes.B`
pub(super) fn ask(request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
    let verb = match request.verb {
        Verb::Subscribe => "sub",
        Verb::Unsubscribe => "unsub",
    };
    let mut text = format!("{verb} {}", request.id);
    for topic in request.topics {
        text.push_str(&format!(" {}.{}", topic.channel.name(), topic.symbol));
    }
    cx.send(Message::Text(text));
}

/// Of all venues of lines: they never close, and nothing is expected of them.
pub(super) fn calendar() -> Calendar {
    Calendar::always_open()
}

/// So many requests in so much time.
pub(super) const PACE: (usize, Duration) = (4, Duration::from_secs(1));
pub(super) const AT_ONCE: usize = 3;

pub(super) fn hasty(rules: Rules) -> Rules {
    rules.requests_at_once(AT_ONCE).pace(PACE.0, PACE.1)
}
