//! What a session is given with each call, and where it puts all that it makes of it.

use std::{collections::VecDeque, fmt, time::Instant};

use super::{Events, Message, RequestId, SecretMessage};
use crate::{
    ambient::{Ambient, SplitMix64},
    clock,
    error::Rejection,
    event::{Concerns, OddFields, Unparsed},
    market::Timestamp,
    topic::Topic,
};

/// How a session ends its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The venue refused. Whether the stream ends or tries again follows from the kind of rejection.
    Rejected(Rejection),
    /// The venue did not keep to its protocol. Tried again.
    Protocol(String),
    /// There is nothing more to come. Ends the stream, in good order.
    Done,
}

/// What a [`Session`](super::Session) is given with each call: what time it is, random numbers, and the place for whatever
/// it makes of its input. What it puts there is taken in order, once the call has returned.
///
/// | the session has | it calls |
/// |---|---|
/// | data | [`event`](Self::event), [`odd_event`](Self::odd_event) |
/// | something that it cannot read | [`unparsed`](Self::unparsed) |
/// | numbers or checksums that show a loss | [`lost`](Self::lost), or [`resync`](Self::resync) where the venue can begin anew |
/// | something to say | [`send`](Self::send), [`send_secret`](Self::send_secret) |
/// | a login that the venue accepted | [`up`](Self::up) |
/// | a connection of no more use | [`down`](Self::down) |
/// | an answer | one of the six below |
///
/// # Answers
/// | the venue says | the session calls |
/// |---|---|
/// | all that it sends now | [`state`](Self::state) |
/// | that a request is done, or refused, as a whole | [`confirmed`](Self::confirmed), [`refused`](Self::refused) |
/// | that one topic is sent, is sent no longer, or is refused | [`subscribed`](Self::subscribed), [`unsubscribed`](Self::unsubscribed), [`refused_topic`](Self::refused_topic) |
/// | nothing, ever | [`confirmed`](Self::confirmed), in [`Session::request`](super::Session::request) itself |
///
/// Answers name the request where the venue does. Where it does not, what is said of a topic answers the last request that
/// named the topic, and what is said of a whole request answers the only one that waits. Where several wait, it proves
/// nothing: a venue whose answers name neither is asked for one thing [at a time](super::Rules::requests_at_once).
///
/// **A venue that never answers** confirms nothing, and neither do its first data: most topics are quiet for long, and what is
/// not confirmed in time is taken back, and in the end refused. So its session confirms a request in the call that
/// makes it. That is as much as can be known. What may then be missed in silence is what came between the request and the
/// moment in which the venue heard it, or was on its way for an earlier subscription to the same topic: a session whose
/// venue numbers its events compares them, and says [`lost`](Self::lost) where one is missing.
pub struct Context<'a, E> {
    now: Instant,
    around: Around<'a>,
    output: &'a mut Output<E>,
}

/// Whose clocks and random numbers these are.
enum Around<'a> {
    Driver(&'a mut dyn Ambient),
    Test {
        utc: Option<Timestamp>,
        random: SplitMix64,
    },
}

impl<'a, E> Context<'a, E> {
    pub(crate) fn new(
        now: Instant,
        ambient: &'a mut dyn Ambient,
        output: &'a mut Output<E>,
    ) -> Self {
        Self {
            now,
            around: Around::Driver(ambient),
            output,
        }
    }

    /// The same at this time of the wall clock, for tests of a session.
    #[must_use]
    pub fn with_utc(mut self, at: Timestamp) -> Self {
        if let Around::Test { utc, .. } = &mut self.around {
            *utc = Some(at);
        }
        self
    }

    /// The monotonic time of the input: of a frame, when the read that brought it returned.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The same by this machine's wall clock. That may be wrong, and may have been set since.
    #[must_use]
    pub fn utc(&self) -> Timestamp {
        match &self.around {
            Around::Driver(ambient) => ambient.utc_of(self.now),
            Around::Test { utc: Some(utc), .. } => *utc,
            Around::Test { utc: None, .. } => clock::utc(),
        }
    }

    /// A random number, for a nonce or a jittered pause. Other processes have others; it is not fit to make keys of.
    pub fn random(&mut self) -> u64 {
        match &mut self.around {
            Around::Driver(ambient) => ambient.roll(),
            Around::Test { random, .. } => random.roll(),
        }
    }

    // ---- data ----

    /// An event for those who subscribed to it.
    #[inline]
    pub fn event(&mut self, event: E) {
        self.output.events.push(event, self.now);
    }

    /// The same, where some of its fields came in a form that could not be read and are absent for that.
    pub fn odd_event(&mut self, event: E, odd_fields: OddFields) {
        self.output.events.push_odd(event, self.now, odd_fields);
    }

    /// Something that could not be read. It is counted, and shown to the subscriptions that it
    /// [concerns](Unparsed::concerns).
    pub fn unparsed(&mut self, item: Unparsed) {
        self.output.push(Item::Unparsed(item));
    }

    /// Events of these topics never came, or cannot be told from others, between what was put out before this and what
    /// follows: the venue's own numbers show it. Those who want them are told by a [`Gap`](crate::Gap) of these topics,
    /// and read on at once. Topics whose events [build on each other](super::Delivery::Changes) begin anew, as after
    /// [`resync`](Self::resync).
    pub fn lost(&mut self, scope: Concerns) {
        self.output.push(Item::Lost(scope));
    }

    /// Topics whose events build on each other, one of which was missed: they are unsubscribed and subscribed to again,
    /// so that the venue begins them anew. Nothing more of them is delivered until they are confirmed again: those who want
    /// them are told by a [`Gap`](crate::Gap) of these topics, and when it is over. Report what could not be read with
    /// [`unparsed`](Self::unparsed) first.
    pub fn resync(&mut self, topics: Vec<Topic>) {
        self.output.push(Item::Resync(topics));
    }

    // ---- the connection ----

    /// A message to send. One that holds the stream's credentials is not sent, and ends the connection: it belongs to
    /// [`send_secret`](Self::send_secret).
    pub fn send(&mut self, message: Message) {
        self.output.push(Item::Send(message));
    }

    /// A message to send that must not be logged or kept. Any number may wait to be sent; they go out in order, with all
    /// other messages.
    pub fn send_secret(&mut self, message: SecretMessage) {
        self.output.push(Item::SendSecret(message));
    }

    /// The connection is authenticated, and requests can be sent.
    pub fn up(&mut self) {
        self.output.push(Item::Up);
    }

    /// The connection is of no more use.
    pub fn down(&mut self, verdict: Verdict) {
        self.output.push(Item::Down(verdict));
    }

    // ---- answers ----

    /// Everything that the venue sends now, asked for or not. It is the truth of its moment: what it lists and nobody wants
    /// is unsubscribed, and what it lists no longer is a loss to those who want it, and is asked for again. If it shows any
    /// of the change that was asked for, what it does not show of that was refused.
    pub fn state(&mut self, topics: Vec<Topic>) {
        self.output.answer(Answer::State(topics));
    }

    /// A request is done, as it was made.
    pub fn confirmed(&mut self, request: impl Into<Option<RequestId>>) {
        self.output.answer(Answer::Request(request.into(), Ok(())));
    }

    /// A request was refused whole, or, at a venue that [answers per topic](super::Rules::answers_per_topic), one topic of
    /// it. A request that is refused whole is halved until the topic that the venue objects to stands alone. A refusal of a
    /// request that does not wait for an answer is shown as an item that could not be read.
    pub fn refused(&mut self, request: impl Into<Option<RequestId>>, rejection: Rejection) {
        self.output
            .answer(Answer::Request(request.into(), Err(rejection)));
    }

    /// One topic is sent from here on: an answer, or news.
    pub fn subscribed(&mut self, topic: Topic, request: impl Into<Option<RequestId>>) {
        let answer = TopicAnswer::Subscribed;
        self.output
            .answer(Answer::Topic(topic, answer, request.into()));
    }

    /// One topic is sent no longer: an answer, or news.
    pub fn unsubscribed(&mut self, topic: Topic, request: impl Into<Option<RequestId>>) {
        let answer = TopicAnswer::Unsubscribed;
        self.output
            .answer(Answer::Topic(topic, answer, request.into()));
    }

    /// One topic of a request was refused. Where no request for the topic waits for an answer, or another than the named one,
    /// it is shown as an item that could not be read.
    pub fn refused_topic(
        &mut self,
        topic: Topic,
        request: impl Into<Option<RequestId>>,
        rejection: Rejection,
    ) {
        let answer = TopicAnswer::Refused(rejection);
        self.output
            .answer(Answer::Topic(topic, answer, request.into()));
    }
}

impl<E> fmt::Debug for Context<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("output", self.output)
            .finish_non_exhaustive()
    }
}

/// What a session has put out and nobody has taken yet: the driver's, or that of a test of a session.
///
/// # Examples
/// ```
/// use std::time::Instant;
/// use trunkline::{Credentials, MarketEvent, alpaca::{self, Feed}, venue::{Frame, Output, Session as _, Venue as _}};
/// let mut session = alpaca::stocks(Feed::Iex).session(Credentials::new("PKEXAMPLE", "sEXAMPLE")?);
/// let mut output = Output::<MarketEvent>::default();
/// let welcome = Frame::Text(r#"[{"T":"success","msg":"connected"}]"#);
/// session.handle_frame(welcome, &mut output.context(Instant::now()));
/// assert_eq!(output.events().count(), 0);
/// # Ok::<(), trunkline::Error>(())
/// ```
pub struct Output<E> {
    /// They lie in one vector that becomes the batch that subscribers share; everything else is rare, and remembers how
    /// many events stood before it.
    events: Events<E>,
    rest: VecDeque<(usize, Item)>,
}

/// Something a session put out that is not an event.
pub(crate) enum Item {
    Unparsed(Unparsed),
    Lost(Concerns),
    Resync(Vec<Topic>),
    Send(Message),
    SendSecret(SecretMessage),
    Up,
    Down(Verdict),
    Answer(Answer),
}

/// One thing that a venue says of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All that the venue sends on this connection.
    State(Vec<Topic>),
    /// Of one topic, with the request where the venue names it.
    Topic(Topic, TopicAnswer, Option<RequestId>),
    /// Of a whole request: done as it was made, or refused.
    Request(Option<RequestId>, Result<(), Rejection>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicAnswer {
    Subscribed,
    Unsubscribed,
    Refused(Rejection),
}

impl<E> Output<E> {
    /// What a session is given that is called at this time, for tests of a session. The wall clock is this machine's, unless
    /// [`Context::with_utc`] says otherwise, and its random numbers are the same each time.
    pub fn context(&mut self, now: Instant) -> Context<'_, E> {
        Context {
            now,
            around: Around::Test {
                utc: None,
                random: SplitMix64::new(0),
            },
            output: self,
        }
    }

    /// The events so far.
    pub fn events(&self) -> impl Iterator<Item = &E> {
        self.events.iter().map(|stamped| &stamped.event)
    }

    fn push(&mut self, item: Item) {
        self.rest.push_back((self.events.len(), item));
    }

    fn answer(&mut self, answer: Answer) {
        self.push(Item::Answer(answer));
    }

    /// How many events wait to be taken.
    pub(crate) fn pending(&self) -> usize {
        self.events.len()
    }

    /// The events in front of the next item, and that item; nothing when only events are left.
    pub(crate) fn next_item(&mut self) -> Option<(Events<E>, Item)> {
        let (before, item) = self.rest.pop_front()?;
        let events = self.events.take_first(before);
        for (position, _) in &mut self.rest {
            *position -= before;
        }
        Some((events, item))
    }

    /// The events that are left once every item was taken.
    pub(crate) fn take_events(&mut self) -> Events<E> {
        debug_assert!(self.rest.is_empty());
        std::mem::replace(&mut self.events, Events::new())
    }

    /// Takes memory for the events to come, emptied, from whoever took the last ones.
    pub(crate) fn reuse(&mut self, mut memory: Events<E>) {
        memory.clear();
        if self.events.is_empty() {
            self.events = memory;
        }
    }

    /// Forgets everything: what is left of a dead connection is never delivered.
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.rest.clear();
    }
}

impl<E> Default for Output<E> {
    fn default() -> Self {
        Self {
            events: Events::new(),
            rest: VecDeque::new(),
        }
    }
}

impl<E> fmt::Debug for Output<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("events", &self.events.len())
            .field("rest", &self.rest.len())
            .finish()
    }
}
