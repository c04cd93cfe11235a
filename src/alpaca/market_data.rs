//! The market-data protocol, sans-IO.
//!
//! ```text
//!            welcome                    authenticated
//!  Welcome ───────────▶ Authenticating ───────────────▶ Ready ◀─┐ requests, replies
//!     │ error, garbage      │ error, garbage              │ ────┘
//!     └────────────────────▶└────────▶ down ◀──────────────┘ 401 402 404 406 407 500
//! ```
//!
//! ```text
//! ◀ [{"T":"success","msg":"connected"}]
//! ▶ {"action":"auth","key":"…","secret":"…"}
//! ◀ [{"T":"success","msg":"authenticated"}]
//! ▶ {"action":"subscribe","quotes":["KO"]}
//! ◀ [{"T":"subscription","trades":[],"quotes":["KO"],…}]
//! ◀ [{"T":"q","S":"KO",…},{"T":"q","S":"KO",…}]
//! ```

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{
    Account, Codec, DataFeed,
    wire::{self, Incoming, Scanned, SubscriptionRequest},
};
use crate::{
    calendar::Calendar,
    credentials::Credentials,
    error::{At, Error, Rejection, RejectionKind, Result},
    event::Unparsed,
    key::Endpoint,
    market::{BARS, DAILY_BARS, MarketEvent, QUOTES, TRADES},
    symbol_budget::SymbolBudget,
    topic::Topic,
    venue::{Confirmed, Frame, Output, Piece, Request, SecretMessage, Session, Venue, Verdict},
};

/// Alpaca's market data. Made by [`stocks`](super::stocks), [`crypto`](super::crypto), [`options`](super::options),
/// [`news`](super::news) and [`market_data`](super::market_data()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketData {
    endpoint: Endpoint,
    feed: DataFeed,
    codec: Codec,
    account: Option<Account>,
    calendar: Calendar,
    /// What the user says of the plan, if anything: that it is so much, or that none is to be kept to.
    budget: Option<Option<SymbolBudget>>,
}

impl MarketData {
    pub(super) fn of(feed: DataFeed) -> Self {
        Self {
            endpoint: Endpoint::wss("stream.data.alpaca.markets", feed.path()),
            feed,
            codec: feed.default_codec(),
            account: None,
            calendar: feed.calendar(),
            budget: None,
        }
    }

    /// The same feed on the sandbox's host.
    #[must_use]
    pub fn sandbox(self) -> Self {
        Self {
            endpoint: Endpoint::wss("stream.data.sandbox.alpaca.markets", self.feed.path()),
            ..self
        }
    }

    /// Speaks `codec`. By default JSON; options feeds speak MessagePack, and nothing else.
    ///
    /// All who share a stream speak the same: who opens it with another codec than the first gets
    /// [`Error::SettingsConflict`].
    #[must_use]
    pub fn codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// The same protocol at an endpoint of your own: a proxy, or a simulator. What a plan of Alpaca's grants is not
    /// assumed there, but learned.
    #[must_use]
    pub fn at(self, endpoint: Endpoint) -> Self {
        Self { endpoint, ..self }
    }

    /// What your plan grants to one connection. By default 30 symbols on [`Feed::Iex`](super::Feed), which is what the
    /// free plan grants; elsewhere the venue's refusals teach it. `None` does not keep to any: what the venue refuses
    /// is refused.
    #[must_use]
    pub fn symbol_budget(self, budget: Option<SymbolBudget>) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    /// When the market trades, if not as the built-in calendar says. Data is expected only then.
    #[must_use]
    pub fn calendar(self, calendar: Calendar) -> Self {
        Self { calendar, ..self }
    }

    /// Insists on the keys of one account: keys that plainly belong to the other are refused before connecting.
    /// Market data is the same for both, so by default either will do.
    #[must_use]
    pub fn account(self, account: Account) -> Self {
        Self {
            account: Some(account),
            ..self
        }
    }
}

impl fmt::Display for MarketData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

impl Venue for MarketData {
    type Event = MarketEvent;
    type Session = MarketDataSession;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn label(&self, credentials: &Credentials) -> String {
        let account = self.account.or_else(|| Account::of(credentials));
        format!(
            "alpaca market data, {} account",
            account.map_or("unnamed", Account::name)
        )
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let budget = Venue::symbol_budget(self);
        let budget = budget.map_or_else(|| "none".to_owned(), |budget| budget.to_string());
        vec![("codec", self.codec.to_string()), ("symbol budget", budget)]
    }

    /// The codec is agreed on here. JSON is what the venue speaks unasked.
    fn headers(&self) -> Vec<(&'static str, String)> {
        self.codec.headers()
    }

    fn admit(&self, credentials: &Credentials) -> Result<()> {
        if !self.feed.speaks(self.codec) {
            return Err(Error::invalid_config(format!(
                "options feeds do not speak {}, only msgpack",
                self.codec
            )));
        }
        match (self.account, Account::of(credentials)) {
            (Some(wanted), Some(found)) if wanted != found => Err(Error::WrongAccount {
                at: At::default(),
                wanted: wanted.name(),
                found: found.name(),
            }),
            _ => Ok(()),
        }
    }

    fn validate(&self, topic: &Topic) -> Result<()> {
        let symbol = topic.symbol.as_str();
        let why = if !self.feed.channels().contains(&topic.channel) {
            "this feed has no such channel"
        } else if symbol.is_empty()
            || symbol.len() > 32
            || !symbol.bytes().all(|byte| byte.is_ascii_graphic())
        {
            "a symbol is 1 to 32 ASCII characters without white space"
        } else if symbol.bytes().any(|byte| byte.is_ascii_lowercase()) {
            "this venue's symbols are upper case"
        } else if symbol.len() > 1 && symbol.contains('*') {
            "`*` stands alone: patterns are not supported"
        } else if topic.is_wildcard() {
            if self.feed.has_wildcard(topic.channel) {
                return Ok(());
            }
            "this feed does not send this channel for all symbols at once"
        } else if let Some(fault) = self.feed.fault(symbol) {
            fault
        } else {
            return Ok(());
        };
        Err(Error::invalid_topic(topic, why))
    }

    fn calendar(&self) -> Calendar {
        self.calendar.clone()
    }

    /// Of all symbols together something comes every few seconds while the market trades, or, of bars, every minute.
    /// Of single symbols nothing can be said, and updated bars come only when a trade was late.
    fn expects(&self, topic: &Topic) -> Option<Duration> {
        if !topic.is_wildcard() || !self.feed.is_busy() {
            return None;
        }
        match topic.channel {
            TRADES | QUOTES => Some(Duration::from_secs(60)),
            BARS | DAILY_BARS => Some(Duration::from_secs(150)),
            _ => None,
        }
    }

    fn symbol_budget(&self) -> Option<SymbolBudget> {
        self.budget.unwrap_or_else(|| {
            let is_own = self.endpoint == Self::of(self.feed).endpoint;
            Some(if is_own {
                self.feed.symbol_budget()
            } else {
                SymbolBudget::learned()
            })
        })
    }

    fn session(&self, credentials: Credentials) -> MarketDataSession {
        MarketDataSession {
            codec: self.codec,
            state: State::Welcome(credentials),
        }
    }
}

/// The protocol of one connection.
#[derive(Debug)]
pub struct MarketDataSession {
    codec: Codec,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The server speaks first. The credentials are dropped as soon as they were sent.
    Welcome(Credentials),
    Authenticating,
    Ready,
    /// A verdict was given; the driver sends nothing more here.
    Down,
}

impl Session for MarketDataSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, _now: Instant, _out: &mut Output<MarketEvent>) {}

    fn handle_frame(&mut self, _now: Instant, frame: Frame<'_>, out: &mut Output<MarketEvent>) {
        // By codec, not by opcode: JSON may come in binary frames.
        let (frame, codec) = (frame.bytes(), self.codec);
        let scanned = match self.state {
            State::Ready => wire::scan(frame, codec, |event| out.event(event)),
            _ => Scanned::Items(0),
        };
        if let Scanned::Items(scanned) = scanned {
            wire::decode_behind(scanned, frame, codec, |item| self.handle_item(item, out));
        }
    }

    fn request(&mut self, _now: Instant, request: Request<'_>, out: &mut Output<MarketEvent>) {
        let (action, topics) = match request {
            Request::Subscribe(topics) => ("subscribe", topics),
            Request::Unsubscribe(topics) => ("unsubscribe", topics),
        };
        out.send(SubscriptionRequest { action, topics }.encode(self.codec));
    }
}

impl MarketDataSession {
    fn handle_item(&mut self, item: Result<Incoming, Unparsed>, out: &mut Output<MarketEvent>) {
        match (&self.state, item) {
            (State::Down, _) => {}
            (State::Ready, Ok(Incoming::Event(event))) => out.event(event),
            (State::Ready, Err(unparsed)) => out.unparsed(unparsed),
            (State::Ready, Ok(Incoming::Subscription(state))) => {
                out.confirmed(Confirmed::State(state));
            }
            (State::Ready, Ok(Incoming::Error { code, message })) => {
                let rejection = Rejection::new(kind(code), Some(code), message);
                match after_ready(code) {
                    Scope::Connection => self.go_down(Verdict::Rejected(rejection), out),
                    Scope::Request => out.refused(rejection),
                    Scope::Nothing => {}
                }
            }
            (State::Ready, Ok(Incoming::Success(_))) => {}

            (State::Welcome(credentials), Ok(Incoming::Success(message)))
                if message == "connected" =>
            {
                out.send_secret(login(credentials, self.codec));
                self.state = State::Authenticating;
            }
            (State::Authenticating, Ok(Incoming::Success(message)))
                if message == "authenticated" =>
            {
                self.state = State::Ready;
                out.up();
            }
            // "already authenticated": somebody in between did it for us.
            (State::Authenticating, Ok(Incoming::Error { code: 403, .. })) => {
                self.state = State::Ready;
                out.up();
            }
            (State::Welcome(_) | State::Authenticating, Ok(Incoming::Error { code, message })) => {
                self.go_down(
                    Verdict::Rejected(Rejection::new(kind(code), Some(code), message)),
                    out,
                );
            }
            (State::Welcome(_), other) => self.go_down(unexpected("a welcome", &other), out),
            (State::Authenticating, other) => {
                self.go_down(unexpected("the answer to the authentication", &other), out)
            }
        }
    }

    fn go_down(&mut self, verdict: Verdict, out: &mut Output<MarketEvent>) {
        self.state = State::Down;
        out.down(verdict);
    }
}

/// A map of three pairs: `action`, `key`, `secret`.
fn login(credentials: &Credentials, codec: Codec) -> SecretMessage {
    credentials.expose(|key, secret| match codec {
        Codec::Json => SecretMessage::text(|piece| {
            piece(Piece::Plain(r#"{"action":"auth","key":""#));
            piece(Piece::JsonString(key));
            piece(Piece::Plain(r#"","secret":""#));
            piece(Piece::JsonString(secret));
            piece(Piece::Plain(r#""}"#));
        }),
        Codec::MessagePack => SecretMessage::binary(|piece| {
            const MAP_OF_THREE: &[u8] = b"\x83";
            piece(Piece::Bytes(MAP_OF_THREE));
            for text in ["action", "auth", "key", key, "secret", secret] {
                piece(Piece::MessagePackString(text));
            }
        }),
    })
}

fn unexpected(wanted: &str, got: &Result<Incoming, Unparsed>) -> Verdict {
    let got = match got {
        Ok(Incoming::Success(message)) => format!("`{message}`"),
        Ok(Incoming::Error { code, message }) => format!("error {code} `{message}`"),
        Ok(Incoming::Subscription(_)) => "a subscription".to_owned(),
        Ok(Incoming::Event(_)) => "market data".to_owned(),
        Err(unparsed) => unparsed.to_string(),
    };
    Verdict::Protocol(format!("expected {wanted}, got {got}"))
}

/// What each error code means. The numbers and texts are in Alpaca's "WebSocket Stream" page; 411 is known from its Go
/// SDK only.
fn kind(code: u16) -> RejectionKind {
    match code {
        402 => RejectionKind::Credentials,
        405 => RejectionKind::SymbolLimit,
        406 => RejectionKind::ConnectionLimit,
        407 => RejectionKind::SlowClient,
        408 | 409 | 411 => RejectionKind::Entitlement,
        400 | 410 | 412 | 413 => RejectionKind::BadRequest,
        // 401 not authenticated, 403 already authenticated, 404 auth timeout, 500 internal error, and the unknown.
        _ => RejectionKind::Temporary,
    }
}

/// What an error is about once the connection is authenticated.
enum Scope {
    Connection,
    Request,
    Nothing,
}

fn after_ready(code: u16) -> Scope {
    match code {
        403 => Scope::Nothing,
        401 | 402 | 404 | 406 | 407 | 500 => Scope::Connection,
        _ => Scope::Request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alpaca::Feed, venue::Item};

    /// What a session makes of an error: ends the connection, refuses the request in flight, or neither.
    #[derive(Debug, PartialEq)]
    enum Does {
        Down(RejectionKind),
        Refuse(RejectionKind),
        Up,
        Nothing,
    }

    fn does(out: &mut Output<MarketEvent>) -> Does {
        match out.next_item().map(|(_, item)| item) {
            Some(Item::Down(Verdict::Rejected(rejection))) => Does::Down(rejection.kind),
            Some(Item::Refused(rejection)) => Does::Refuse(rejection.kind),
            Some(Item::Up) => Does::Up,
            None => Does::Nothing,
            Some(_) => panic!("something else"),
        }
    }

    fn error(code: u16) -> String {
        format!(r#"[{{"T":"error","code":{code},"msg":"so it says"}}]"#)
    }

    /// A session that was told these frames, and what the last of them did.
    fn told(frames: &[&str], request: bool, last: &str) -> Does {
        let now = crate::clock::now();
        let credentials = Credentials::new("PKTEST", "not-a-secret").unwrap();
        let mut session = super::super::stocks(Feed::Iex).session(credentials);
        let mut out = Output::new(now);
        for frame in frames {
            session.handle_frame(now, Frame::Text(frame), &mut out);
        }
        if request {
            let topics = [Topic::new(QUOTES, "KO")];
            session.request(now, Request::Subscribe(&topics), &mut out);
        }
        out.clear();
        session.handle_frame(now, Frame::Text(last), &mut out);
        does(&mut out)
    }

    #[test]
    fn what_a_plan_grants_is_assumed_at_the_venue_and_whatever_the_user_says_holds_anywhere() {
        let iex = || super::super::stocks(Feed::Iex);
        let proxy: Endpoint = "ws://localhost/v2/iex".parse().unwrap();
        let budget = |venue: MarketData| Venue::symbol_budget(&venue);
        assert_eq!(budget(iex()), Some(SymbolBudget::of(30)));
        assert_eq!(
            budget(iex().at(proxy.clone())),
            Some(SymbolBudget::learned())
        );
        for given in [None, Some(SymbolBudget::of(200))] {
            assert_eq!(budget(iex().symbol_budget(given)), given);
            // In either order.
            assert_eq!(budget(iex().symbol_budget(given).at(proxy.clone())), given);
            assert_eq!(budget(iex().at(proxy.clone()).symbol_budget(given)), given);
        }
    }

    #[test]
    fn a_login_is_written_in_the_codec_of_the_connection() {
        let written = |key: &str, secret: &str, codec: Codec| {
            let credentials = Credentials::new(key, secret).unwrap();
            let (bytes, text) = login(&credentials, codec).into_parts();
            assert_eq!(text, codec == Codec::Json);
            bytes[SecretMessage::HEADROOM..].to_vec()
        };
        assert_eq!(
            written("PK1", "s3", Codec::Json),
            br#"{"action":"auth","key":"PK1","secret":"s3"}"#
        );
        let literal = "83a6616374696f6ea461757468a36b6579a3504b31a6736563726574a27333";
        assert_eq!(
            written("PK1", "s3", Codec::MessagePack),
            wire::tests::bytes(literal)
        );
        // A text's length is written in one, two or three bytes. The longest credential has 512.
        for len in [1, 31, 32, 255, 256, 512] {
            let (key, secret) = ("k".repeat(len), "\"\\s".repeat(len).split_off(2 * len));
            for codec in [Codec::Json, Codec::MessagePack] {
                let message = written(&key, &secret, codec);
                let read = wire::server::ClientMessage::decode(&message, codec);
                let (key, secret) = (key.clone(), secret.clone());
                let auth = wire::server::ClientMessage::Auth { key, secret };
                assert_eq!(read, Some(auth), "{len} {codec}");
            }
        }
    }

    #[test]
    fn topics_of_a_wrong_feed_fail_before_the_wire() {
        use crate::alpaca::{CryptoFeed, OptionFeed, crypto, news, options, stocks};
        for (venue, good, bad) in [
            (
                stocks(Feed::Iex),
                &["trades:BRK.B", "lulds:*", "statuses:KO", "imbalances:KO"][..],
                &[
                    "orderbooks:KO",
                    "news:KO",
                    "trades:ko",
                    "trades:",
                    "trades:K*",
                    "corrections:KO",
                ][..],
            ),
            (
                stocks(Feed::Test),
                &["trades:FAKEPACA", "bars:*"],
                &["statuses:FAKEPACA", "dailyBars:FAKEPACA"],
            ),
            (
                crypto(CryptoFeed::Eu1),
                &["orderbooks:BTC/USD", "orderbooks:*", "updatedBars:ETH/USD"],
                &["trades:AAPL", "statuses:BTC/USD", "news:BTC/USD"],
            ),
            (
                options(OptionFeed::Opra),
                &[
                    "trades:*",
                    "quotes:A260619P00000500",
                    "trades:GOOGL1260619C00450000",
                ],
                &[
                    "quotes:*",
                    "bars:MSFT260619C00450000",
                    "trades:MSFT",
                    "trades:260619C00450000",
                    "trades:MSFT260619X00450000",
                    "trades:MSFT260619C0045000A",
                    "trades:TOOLONG260619C00450000",
                ],
            ),
            (news(), &["news:*", "news:BTCUSD"], &["trades:KO", "news:"]),
        ] {
            let topic = |text: &'static str| {
                let (channel, symbol) = text.split_once(':').unwrap();
                Topic::new(crate::topic::Channel::new(channel), symbol)
            };
            for text in good {
                venue.validate(&topic(text)).expect(text);
            }
            for text in bad {
                venue.validate(&topic(text)).expect_err(text);
            }
        }
    }

    #[test]
    fn every_code_has_its_meaning_in_every_state() {
        use RejectionKind::{
            BadRequest, ConnectionLimit, Credentials, Entitlement, SlowClient, SymbolLimit,
            Temporary,
        };
        const CONNECTED: &str = r#"[{"T":"success","msg":"connected"}]"#;
        const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;
        for (code, kind, live) in [
            (400, BadRequest, Does::Refuse(BadRequest)),
            (401, Temporary, Does::Down(Temporary)),
            (402, Credentials, Does::Down(Credentials)),
            (404, Temporary, Does::Down(Temporary)),
            (405, SymbolLimit, Does::Refuse(SymbolLimit)),
            (406, ConnectionLimit, Does::Down(ConnectionLimit)),
            (407, SlowClient, Does::Down(SlowClient)),
            (408, Entitlement, Does::Refuse(Entitlement)),
            (409, Entitlement, Does::Refuse(Entitlement)),
            (410, BadRequest, Does::Refuse(BadRequest)),
            (411, Entitlement, Does::Refuse(Entitlement)),
            (412, BadRequest, Does::Refuse(BadRequest)),
            (413, BadRequest, Does::Refuse(BadRequest)),
            (500, Temporary, Does::Down(Temporary)),
            (599, Temporary, Does::Refuse(Temporary)),
        ] {
            let error = error(code);
            assert_eq!(
                told(&[], false, &error),
                Does::Down(kind),
                "{code} for a welcome"
            );
            assert_eq!(
                told(&[CONNECTED], false, &error),
                Does::Down(kind),
                "{code} at the login"
            );
            let ready = [CONNECTED, AUTHENTICATED];
            assert_eq!(told(&ready, true, &error), live, "{code} to a request");
        }
        // "already authenticated" is what a login wants to hear.
        assert_eq!(told(&[CONNECTED], false, &error(403)), Does::Up);
        assert_eq!(
            told(&[CONNECTED, AUTHENTICATED], true, &error(403)),
            Does::Nothing
        );
    }
}
