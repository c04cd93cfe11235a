//! The protocol of order updates, sans-IO.
//!
//! ```text
//!                   authorized
//!  Authenticating ──────────────▶ Ready ◀─┐ requests, replies, updates
//!        │ unauthorized             │ ────┘
//!        └────────▶ Down ◀──────────┘ fault, unauthorized
//! ```
//!
//! Whatever else comes in front of the login's answer is reported and waited past. The driver's deadline bounds that.
//!
//! ```text
//! ▶ {"action":"auth","key":"…","secret":"…"}
//! ◀ {"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}
//! ▶ {"action":"listen","data":{"streams":["trade_updates"]}}
//! ◀ {"stream":"listening","data":{"streams":["trade_updates"]}}
//! ◀ {"stream":"trade_updates","data":{"event":"new","order":{…},…}}
//! ```
//!
//! There is no welcome. An update may come before the reply to `listen`: it shows that the venue listens, so it is the
//! confirmation, and the reply that follows is no news.

use std::{fmt, time::Duration};

use super::{
    Account, Codec, RULES,
    wire::orders::{self, Authorization, Incoming},
};
use crate::{
    credentials::Credentials,
    error::{Error, ErrorKind, Rejection, RejectionKind, Result},
    event::{Concerns, Unparsed},
    key::Endpoint,
    market::Code,
    order::{OrderUpdate, TRADE_UPDATES},
    topic::Topic,
    venue::{
        Context, Delivery, Frame, Piece, Request, Rules, SecretMessage, Session, Venue, Verb,
        Verdict,
    },
};

/// Alpaca's order updates. Made by [`order_updates`](super::order_updates()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderUpdates {
    endpoint: Endpoint,
    account: Account,
    codec: Codec,
    rules: Rules,
}

impl OrderUpdates {
    pub(super) fn new(account: Account) -> Self {
        Self {
            endpoint: Endpoint::wss(account.host(), "/stream"),
            account,
            codec: Codec::Json,
            // A silence says nothing here: minutes pass between orders. So the pings alone tell a dead line.
            rules: RULES.ping_interval(Duration::from_secs(5)),
        }
    }

    /// The same protocol at an endpoint of your own: a proxy, or a simulator.
    #[must_use]
    pub fn at(self, endpoint: Endpoint) -> Self {
        Self { endpoint, ..self }
    }

    /// Speaks `codec`. By default JSON; the venue's documentation has MessagePack here, and shows no example of it.
    #[must_use]
    pub fn codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// With other numbers than Alpaca's: `change` is given those. For an endpoint that grants more, or less.
    #[must_use]
    pub fn with_rules(self, change: impl FnOnce(Rules) -> Rules) -> Self {
        Self {
            rules: change(self.rules),
            ..self
        }
    }
}

impl fmt::Display for OrderUpdates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

impl Venue for OrderUpdates {
    type Event = OrderUpdate;
    type Session = OrderUpdatesSession;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn label(&self, _credentials: &Credentials) -> String {
        format!("alpaca order updates, {} account", self.account)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("account", self.account.to_string()),
            ("codec", self.codec.to_string()),
        ]
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        self.codec.headers()
    }

    /// Neither the other account's key, nor its host.
    fn admit(&self, credentials: &Credentials) -> Result<()> {
        let found = Account::of(credentials).filter(|found| *found != self.account);
        if let Some(found) = found {
            return Err(ErrorKind::WrongAccount {
                wanted: self.account.name(),
                found: found.name(),
            }
            .into());
        }
        let other = match self.account {
            Account::Paper => Account::Live,
            Account::Live => Account::Paper,
        };
        if self.endpoint.host() == other.host() {
            return Err(ErrorKind::InvalidEndpoint {
                why: "this is the other account's host",
            }
            .into());
        }
        Ok(())
    }

    fn validate(&self, topic: &Topic) -> Result<()> {
        let why = if topic.channel != TRADE_UPDATES {
            "this venue has order updates alone"
        } else if !topic.is_wildcard() {
            "the venue sends the updates of all orders, or none: `*`"
        } else {
            return Ok(());
        };
        Err(Error::invalid_topic(topic, why))
    }

    fn delivery(&self, _topic: &Topic) -> Delivery {
        Delivery::Every
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn session(&self, credentials: Credentials) -> OrderUpdatesSession {
        OrderUpdatesSession {
            codec: self.codec,
            state: State::Opening(credentials),
            requests: 0,
            awaiting: false,
        }
    }
}

/// The protocol of one connection.
#[derive(Debug)]
pub struct OrderUpdatesSession {
    codec: Codec,
    state: State,
    /// How many requests were sent.
    requests: u32,
    /// A request for updates has no answer yet.
    awaiting: bool,
}

#[derive(Debug)]
enum State {
    /// The credentials are dropped as soon as they were sent.
    Opening(Credentials),
    Authenticating,
    Ready,
    /// A verdict was given; the driver sends nothing more here.
    Down,
}

impl Session for OrderUpdatesSession {
    type Event = OrderUpdate;

    fn handle_open(&mut self, cx: &mut Context<'_, OrderUpdate>) {
        if let State::Opening(credentials) = &self.state {
            cx.send_secret(login(credentials, self.codec));
            self.state = State::Authenticating;
        }
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, OrderUpdate>) {
        // By codec, not by opcode: paper accounts get JSON in binary frames.
        orders::decode(frame.bytes(), self.codec, |item| self.handle_item(item, cx));
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, OrderUpdate>) {
        // A request names the whole set, of which there is one member.
        let (streams, wanted) = match request.verb {
            Verb::Subscribe => (&[TRADE_UPDATES.name()][..], true),
            Verb::Unsubscribe => (&[][..], false),
        };
        self.requests = self.requests.saturating_add(1);
        self.awaiting = wanted;
        cx.send(orders::listen(streams, self.codec));
    }
}

impl OrderUpdatesSession {
    fn handle_item(&mut self, item: Result<Incoming, Unparsed>, cx: &mut Context<'_, OrderUpdate>) {
        match (&self.state, item) {
            (State::Down, _) | (_, Ok(Incoming::Heartbeat)) => {}
            (_, Ok(Incoming::Fault(message))) => {
                self.reject(RejectionKind::Temporary, message, cx);
            }
            (_, Ok(Incoming::Authorization(authorization))) => {
                self.handle_authorization(authorization, cx);
            }
            (_, Ok(Incoming::Objection(message))) => self.handle_objection(message, cx),
            (State::Ready, Ok(Incoming::Update(update, odd_fields))) => {
                if std::mem::take(&mut self.awaiting) {
                    cx.confirmed(None);
                }
                cx.odd_event(*update, odd_fields);
            }
            (State::Ready, Ok(Incoming::Listening(streams))) => {
                self.handle_listening(&streams, cx);
            }
            (State::Ready, Err(unparsed)) => cx.unparsed(unparsed),
            // It greets unasked, which the other side of this protocol never does.
            (State::Authenticating, Err(unparsed))
                if ["success", "connected"]
                    .iter()
                    .all(|word| unparsed.raw.contains(word)) =>
            {
                let why = "market data is served at this path";
                let advice =
                    "order updates are at `/stream`: end the URL with that, or leave `.at(…)` out";
                let rejection = Rejection::new(RejectionKind::BadRequest, why).with_advice(advice);
                self.go_down(Verdict::Rejected(rejection), cx);
            }
            (State::Opening(_) | State::Authenticating, other) => {
                // Nothing was asked for by then.
                let unparsed = match other {
                    Err(unparsed) => unparsed,
                    Ok(Incoming::Update(update, _)) => early(&update.to_string()),
                    Ok(_) => early("the answer to a request"),
                };
                cx.unparsed(unparsed.concerning(Concerns::Nobody));
            }
        }
    }

    fn handle_authorization(&mut self, said: Authorization, cx: &mut Context<'_, OrderUpdate>) {
        let Authorization {
            status,
            action,
            message,
        } = said;
        let kind = match status.to_ascii_lowercase().as_str() {
            "authorized" => return self.come_up(cx),
            // Of another action than the login, it says that the venue knows of no login: another one may help.
            "unauthorized" if action.eq_ignore_ascii_case("listen") => RejectionKind::Temporary,
            "unauthorized" => RejectionKind::Credentials,
            status if status.contains("connection") => RejectionKind::ConnectionLimit,
            _ => RejectionKind::Temporary,
        };
        let message = if message.is_empty() {
            status
        } else {
            format!("{status}: {message}")
        };
        self.reject(kind, message, cx);
    }

    /// Old servers put it in words.
    fn handle_objection(&mut self, message: String, cx: &mut Context<'_, OrderUpdate>) {
        let said = message.to_ascii_lowercase();
        if said.contains("already authenticated") {
            self.come_up(cx);
        } else if said.contains("another connection") {
            self.reject(RejectionKind::ConnectionLimit, message, cx);
        } else if matches!(self.state, State::Ready) {
            self.awaiting = false;
            cx.refused(None, Rejection::new(RejectionKind::BadRequest, message));
        } else {
            self.reject(RejectionKind::Temporary, message, cx);
        }
    }

    fn handle_listening(&mut self, streams: &[Code], cx: &mut Context<'_, OrderUpdate>) {
        if streams
            .iter()
            .any(|stream| stream.eq_ignore_ascii_case(TRADE_UPDATES.name()))
        {
            self.awaiting = false;
            cx.state(vec![Topic::new(TRADE_UPDATES, "*")]);
        } else if self.awaiting && self.requests == 1 {
            // No earlier request could have this for its answer.
            self.awaiting = false;
            let why = "the venue left `trade_updates` out of its reply";
            cx.refused(None, Rejection::new(RejectionKind::BadRequest, why));
        } else {
            cx.state(Vec::new());
        }
    }

    fn come_up(&mut self, cx: &mut Context<'_, OrderUpdate>) {
        // Told again, it is no news.
        if matches!(self.state, State::Authenticating) {
            self.state = State::Ready;
            cx.up();
        }
    }

    fn reject(&mut self, kind: RejectionKind, message: String, cx: &mut Context<'_, OrderUpdate>) {
        let rejection = super::market_data::advised(Rejection::new(kind, message));
        self.go_down(Verdict::Rejected(rejection), cx);
    }

    fn go_down(&mut self, verdict: Verdict, cx: &mut Context<'_, OrderUpdate>) {
        self.state = State::Down;
        cx.down(verdict);
    }
}

fn early(got: &str) -> Unparsed {
    let why = "the answer to the authentication was expected";
    Unparsed::new(got.as_bytes(), why)
}

/// A user's token takes the place of the secret, and the word `oauth` that of the key, as on the market-data streams.
fn login(credentials: &Credentials, codec: Codec) -> SecretMessage {
    credentials.expose(|key, secret| match (codec, key) {
        (Codec::Json, "oauth") => SecretMessage::text(|piece| {
            piece(Piece::Plain(
                r#"{"action":"authenticate","data":{"oauth_token":""#,
            ));
            piece(Piece::JsonString(secret));
            piece(Piece::Plain(r#""}}"#));
        }),
        (Codec::MessagePack, "oauth") => SecretMessage::binary(|piece| {
            packed(&["action", "authenticate", "data"], piece);
            packed(&["oauth_token", secret], piece);
        }),
        (Codec::Json, key) => SecretMessage::text(|piece| {
            piece(Piece::Plain(r#"{"action":"auth","key":""#));
            piece(Piece::JsonString(key));
            piece(Piece::Plain(r#"","secret":""#));
            piece(Piece::JsonString(secret));
            piece(Piece::Plain(r#""}"#));
        }),
        (Codec::MessagePack, key) => SecretMessage::binary(|piece| {
            packed(&["action", "auth", "key", key, "secret", secret], piece);
        }),
    })
}

/// A map of texts in MessagePack: keys and values in turn. The last value may follow.
fn packed(texts: &[&str], piece: &mut dyn FnMut(Piece<'_>)) {
    const MAPS: [&[u8]; 4] = [b"\x80", b"\x81", b"\x82", b"\x83"];
    piece(Piece::Bytes(MAPS[texts.len().div_ceil(2)]));
    for text in texts {
        piece(Piece::MessagePackString(text));
    }
}

#[cfg(test)]
mod tests;
