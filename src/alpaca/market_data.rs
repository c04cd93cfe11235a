//! The market-data protocol, sans-IO.
//!
//! ```text
//!            welcome                    authenticated
//!  Welcome ───────────▶ Authenticating ───────────────▶ Ready ◀─┐ requests, replies
//!     │ error               │ error                       │ ────┘
//!     └────────────────────▶└────────▶ down ◀──────────────┘ 401 402 404 406 407 500
//! ```
//!
//! Whatever else comes in front of the welcome or the login's answer is reported and waited past. The driver's deadline
//! bounds that.
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
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use super::{
    Account, Codec, DataFeed, RULES, symbols,
    wire::{self, Incoming, LastDay, Scanned, SubscriptionRequest},
};
use crate::{
    calendar::Calendar,
    clock,
    credentials::Credentials,
    error::{Error, ErrorKind, Rejection, RejectionKind, Result},
    event::{Concerns, Unparsed},
    key::Endpoint,
    market::{BARS, DAILY_BARS, MarketEvent, ORDERBOOKS, PRICING, QUOTES, Symbol, TRADES},
    symbol_budget::SymbolBudget,
    topic::Topic,
    venue::{
        Context, Delivery, Frame, Piece, Request, Rules, SecretMessage, Session, Venue, Verb,
        Verdict,
    },
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
    rules: Rules,
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
            // "WebSocket compression" in the venue's documentation of its market data. Of order updates it says nothing.
            rules: RULES.compresses(true),
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
    /// [`ErrorKind::SettingsConflict`].
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

    /// With other numbers than Alpaca's: `change` is given those. For an endpoint that grants more, or less.
    ///
    /// # Examples
    /// ```
    /// use trunkline::alpaca;
    /// let proxy = "wss://proxy.example/v2/iex".parse()?;
    /// let stocks = alpaca::stocks(alpaca::Feed::Iex).at(proxy).with_rules(|rules| rules.message_size(64 << 20));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    #[must_use]
    pub fn with_rules(self, change: impl FnOnce(Rules) -> Rules) -> Self {
        Self {
            rules: change(self.rules),
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
                "options feeds do not speak {}, only msgpack: leave `.codec(…)` out",
                self.codec
            )));
        }
        match (self.account, Account::of(credentials)) {
            (Some(wanted), Some(found)) if wanted != found => Err(ErrorKind::WrongAccount {
                wanted: wanted.name(),
                found: found.name(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn validate(&self, topic: &Topic) -> Result<()> {
        let why = if !self.feed.channels().contains(&topic.channel) {
            let channels = self.feed.channels().iter().map(|channel| channel.name());
            let channels: Vec<_> = channels.collect();
            format!(
                "this feed has no such channel, only {}",
                channels.join(", ")
            )
        } else if topic.is_wildcard() && !self.feed.has_wildcard(topic.channel) {
            "this feed does not send this channel for all symbols at once: name them".to_owned()
        } else if let Some(problem) = symbols::problem(self.feed, &topic.symbol) {
            problem
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

    /// What comes at set times, or when something is up, has none.
    fn has_rhythm(&self, topic: &Topic) -> bool {
        matches!(topic.channel, TRADES | QUOTES | ORDERBOOKS | PRICING)
    }

    /// An order book comes whole once, and then in changes.
    fn delivery(&self, topic: &Topic) -> Delivery {
        if topic.channel == ORDERBOOKS {
            Delivery::Changes
        } else {
            Delivery::Latest
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
            books: Books::default(),
            day: LastDay::default(),
        }
    }
}

/// The protocol of one connection.
#[derive(Debug)]
pub struct MarketDataSession {
    codec: Codec,
    state: State,
    books: Books,
    /// Remembered from one frame to the next.
    day: LastDay,
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

    fn handle_open(&mut self, _cx: &mut Context<'_, MarketEvent>) {}

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        // By codec, not by opcode: JSON may come in binary frames.
        let (frame, codec) = (frame.bytes(), self.codec);
        let scanned = match self.state {
            State::Ready => wire::scan(frame, codec, &mut self.day, |event| cx.event(event)),
            _ => Scanned::Items(0),
        };
        if let Scanned::Items(scanned) = scanned {
            wire::decode_behind(scanned, frame, codec, |item| self.handle_item(item, cx));
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, MarketEvent>) {
        self.books.begin_anew(cx);
    }

    fn deadline(&self) -> Option<Instant> {
        self.books.deadline()
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        let action = match request.verb {
            Verb::Subscribe => "subscribe",
            Verb::Unsubscribe => "unsubscribe",
        };
        self.books.asked(request);
        let topics = request.topics;
        cx.send(SubscriptionRequest { action, topics }.encode(self.codec));
    }
}

impl MarketDataSession {
    fn handle_item(&mut self, item: Result<Incoming, Unparsed>, cx: &mut Context<'_, MarketEvent>) {
        match (&self.state, item) {
            (State::Down, _) => {}
            (State::Ready, Ok(Incoming::Event(event, odd_fields))) => {
                cx.odd_event(event, odd_fields);
            }
            (State::Ready, Err(unparsed)) => {
                let concerns = unparsed.concerns.clone();
                cx.unparsed(unparsed);
                self.books.missed(&concerns);
                self.books.begin_anew(cx);
            }
            (State::Ready, Ok(Incoming::Subscription(state))) => {
                cx.state(state);
            }
            (State::Ready, Ok(Incoming::Error { code, message })) => {
                let meaning = meaning(code, &message);
                let rejection = rejection(kind(meaning), code, message);
                match after_ready(meaning) {
                    Scope::Connection => self.go_down(Verdict::Rejected(rejection), cx),
                    Scope::Request => cx.refused(None, rejection),
                    Scope::Nothing => {}
                }
            }
            (State::Ready, Ok(Incoming::Success(_))) => {}

            (State::Welcome(credentials), Ok(Incoming::Success(message)))
                if message.eq_ignore_ascii_case("connected") =>
            {
                cx.send_secret(login(credentials, self.codec));
                self.state = State::Authenticating;
            }
            (State::Authenticating, Ok(Incoming::Success(message)))
                if message.eq_ignore_ascii_case("authenticated") =>
            {
                self.state = State::Ready;
                cx.up();
            }
            (
                state @ (State::Welcome(_) | State::Authenticating),
                Ok(Incoming::Error { code, message }),
            ) => {
                let meaning = meaning(code, &message);
                if matches!(state, State::Authenticating) && meaning == Some(ALREADY_AUTHENTICATED)
                {
                    // Somebody in between did it for us.
                    self.state = State::Ready;
                    return cx.up();
                }
                let rejection = rejection(kind(meaning), code, message);
                self.go_down(Verdict::Rejected(rejection), cx);
            }
            (State::Welcome(_), other) => cx.unparsed(stranger("a welcome", other)),
            (State::Authenticating, other) => {
                cx.unparsed(stranger("the answer to the authentication", other));
            }
        }
    }

    fn go_down(&mut self, verdict: Verdict, cx: &mut Context<'_, MarketEvent>) {
        self.state = State::Down;
        cx.down(verdict);
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

/// Something that came before its time. No topic was asked for by then.
fn stranger(wanted: &str, got: Result<Incoming, Unparsed>) -> Unparsed {
    let got = match got {
        Err(unparsed) => return unparsed.concerning(Concerns::Nobody),
        Ok(Incoming::Success(message)) => format!("`{message}`"),
        Ok(Incoming::Error { message, .. }) => format!("error `{message}`"),
        Ok(Incoming::Subscription(_)) => "a subscription".to_owned(),
        Ok(Incoming::Event(event, _)) => event.to_string(),
    };
    let why = format!("{wanted} was expected");
    Unparsed::new(got.as_bytes(), why).concerning(Concerns::Nobody)
}

/// Books are built from changes. One that lost a change has to begin anew.
#[derive(Debug, Default)]
struct Books {
    /// Those that were asked for.
    asked: BTreeSet<Symbol>,
    /// Those that lost a change.
    broken: BTreeSet<Symbol>,
    /// When the next may begin anew. A book that never can be read must not be asked for all the time.
    not_before: Option<Instant>,
}

impl Books {
    const PAUSE: Duration = Duration::from_secs(5);

    fn asked(&mut self, request: Request<'_>) {
        let books = request.topics.iter();
        let books = books.filter(|topic| topic.channel == ORDERBOOKS);
        for topic in books {
            match request.verb {
                Verb::Subscribe => self.asked.insert(topic.symbol.clone()),
                Verb::Unsubscribe => self.asked.remove(&topic.symbol),
            };
        }
    }

    /// Something could not be read that may have been a change of a book.
    fn missed(&mut self, concerns: &Concerns) {
        match concerns {
            Concerns::Topic(topic) if topic.channel == ORDERBOOKS => {
                self.broken.insert(topic.symbol.clone());
            }
            Concerns::Channel(channel) if *channel == ORDERBOOKS => {
                self.broken.extend(self.asked.iter().cloned());
            }
            Concerns::Everybody => self.broken.extend(self.asked.iter().cloned()),
            Concerns::Topic(_) | Concerns::Channel(_) | Concerns::Nobody => {}
        }
    }

    fn begin_anew(&mut self, cx: &mut Context<'_, MarketEvent>) {
        let now = cx.now();
        if self.broken.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = Some(clock::after(now, Self::PAUSE));
        let broken = std::mem::take(&mut self.broken).into_iter();
        cx.resync(
            broken
                .map(|symbol| Topic::new(ORDERBOOKS, symbol))
                .collect(),
        );
    }

    fn deadline(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.broken.is_empty())
    }
}

/// The venue's errors by code, with their texts: from Alpaca's "WebSocket Stream" page; 411 is known from its Go SDK only.
const ERRORS: [(u16, &str, RejectionKind); 15] = [
    (400, "invalid syntax", RejectionKind::BadRequest),
    (401, "not authenticated", RejectionKind::Temporary),
    (402, "auth failed", RejectionKind::Credentials),
    (
        ALREADY_AUTHENTICATED,
        "already authenticated",
        RejectionKind::Temporary,
    ),
    (404, "auth timeout", RejectionKind::Temporary),
    (405, "symbol limit exceeded", RejectionKind::SymbolLimit),
    (
        406,
        "connection limit exceeded",
        RejectionKind::ConnectionLimit,
    ),
    (407, "slow client", RejectionKind::SlowClient),
    (408, "v2 not enabled", RejectionKind::Entitlement),
    (409, "insufficient subscription", RejectionKind::Entitlement),
    (410, "invalid subscribe action", RejectionKind::BadRequest),
    (411, "insufficient scope", RejectionKind::Entitlement),
    (412, "only available in msgpack", RejectionKind::BadRequest),
    (
        413,
        "star subscription is not allowed",
        RejectionKind::BadRequest,
    ),
    (500, "internal error", RejectionKind::Temporary),
];

const ALREADY_AUTHENTICATED: u16 = 403;

/// The code of an error that is known by its code or, where it has another one or none, by its text.
fn meaning(code: Option<u16>, message: &str) -> Option<u16> {
    let known = |code: &u16| ERRORS.iter().any(|(known, ..)| known == code);
    code.filter(known).or_else(|| {
        let message = message.to_ascii_lowercase();
        let said = ERRORS.iter().find(|(_, text, _)| message.contains(text));
        said.map(|(code, ..)| *code).or(code)
    })
}

fn rejection(kind: RejectionKind, code: Option<u16>, message: String) -> Rejection {
    let rejection = advised(Rejection::new(kind, message));
    match code {
        Some(code) => rejection.with_code(i64::from(code)),
        None => rejection,
    }
}

/// The same, with what to do about it at Alpaca, where there is something to type or to click.
pub(super) fn advised(rejection: Rejection) -> Rejection {
    let advice = match rejection.kind {
        RejectionKind::Credentials => {
            "use both halves of one pair: paper and live have pairs of their own, and a new pair ends the old one; app.alpaca.markets, `API Keys`, makes one"
        }
        RejectionKind::Entitlement => {
            "open a feed that every plan includes (`Feed::Iex`, `OptionFeed::Indicative`), or change the plan: app.alpaca.markets, `Plans & Features`"
        }
        RejectionKind::ConnectionLimit => {
            "close the other program that uses this key; Alpaca counts a connection that died for about 90 s, and the stream tries again by itself"
        }
        _ => return rejection,
    };
    rejection.with_advice(advice)
}

fn kind(code: Option<u16>) -> RejectionKind {
    let known = ERRORS.iter().find(|(known, ..)| Some(*known) == code);
    known.map_or(RejectionKind::Temporary, |(.., kind)| *kind)
}

/// What an error is about once the connection is authenticated.
enum Scope {
    Connection,
    Request,
    Nothing,
}

fn after_ready(code: Option<u16>) -> Scope {
    match code {
        Some(ALREADY_AUTHENTICATED) => Scope::Nothing,
        Some(401 | 402 | 404 | 406 | 407 | 500) => Scope::Connection,
        _ => Scope::Request,
    }
}

#[cfg(test)]
pub(super) mod tests;
