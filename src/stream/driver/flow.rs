//! What flows between the connection, its session, the topic table and the router: messages, events, requests and answers.

use std::time::Instant;

use super::{Driver, Ending, Link, Outcome};
use crate::{
    ErrorKind, clock,
    error::Error,
    event::{Concerns, Gap, Notice, Unparsed},
    phase::Phase,
    record,
    stream::{router::Telling, topics::TopicTable},
    transport::{Close, Fault, Incoming, TURN, Transport},
    venue::{
        Answer, Context, Events, Item, Message, Request, Routed as _, Session as _, TopicAnswer,
        Venue,
    },
};

impl<V: Venue, T: Transport> Driver<V, T> {
    // ---- from the connection ----

    /// Reads until nothing is left or the turn's budget is spent. Events lie in the output until then, so that a burst
    /// becomes few batches, and none waits for a message that is not there yet.
    pub(super) fn read(&mut self, now: Instant) -> Outcome {
        let turn_ends = clock::after(now, TURN);
        for _ in 0..FRAMES_PER_TURN {
            let Some((incoming, read_at)) = self.transport.read()? else {
                break;
            };
            if let Some(live) = self.link.live() {
                live.liveness.heard(read_at);
            }
            match incoming {
                Incoming::Message(payload) => {
                    self.stream.counters.messages.add(1);
                    self.last_message = Some(read_at);
                    self.input_of(now, read_at, |session, cx| {
                        session.handle_frame(payload.frame(), cx);
                    })?;
                    if self.out.pending() >= EVENTS_PER_BATCH {
                        self.flush();
                    }
                }
                Incoming::Control => self.stream.counters.control_frames.add(1),
                Incoming::Close(close) => {
                    let code = close.code();
                    // The session may know what it means.
                    self.input(now, |session, cx| session.handle_close(code, cx))?;
                    return Err(self.closed_by_peer(close));
                }
            }
            // A batch of large messages is a long turn; a stop must not wait for many of them.
            if read_at >= turn_ends {
                break;
            }
        }
        self.flush();
        Ok(())
    }

    fn closed_by_peer(&self, close: Close) -> Ending {
        let why = match close {
            Close::Nothing => "closed by the peer, without a code".to_owned(),
            Close::Code { code, reason } => format!(
                "closed by the peer with code {code} {}",
                self.redact(&reason)
            ),
            Close::Forbidden => {
                "closed by the peer with a code that no close frame may carry".to_owned()
            }
        };
        Ending::Lost(Error::new(
            self.at(self.stream.lifecycle.phase()),
            ErrorKind::Lost {
                why: format!("{}{}", why.trim_end(), self.passed()),
                source: None,
            },
        ))
    }

    // ---- the session ----

    /// Gives the session one input, and settles what it put out for it.
    pub(super) fn input(
        &mut self,
        now: Instant,
        give: impl FnOnce(&mut V::Session, &mut Context<'_, V::Event>),
    ) -> Outcome {
        self.input_of(now, now, give)
    }

    /// The same of an input that came at `at`.
    fn input_of(
        &mut self,
        now: Instant,
        at: Instant,
        give: impl FnOnce(&mut V::Session, &mut Context<'_, V::Event>),
    ) -> Outcome {
        if let Some(session) = self.link.session() {
            let mut cx = Context::new(at, &mut *self.ambient, &mut self.out);
            give(session, &mut cx);
        }
        self.settle(now)
    }

    /// Takes everything the session put out that is not an event, and makes the requests that follow from it.
    ///
    /// The only place that does: a request may be answered in the output of the session that makes it, and whoever
    /// handles an item here only says that something has changed, so the depth of the stack does not grow with what the
    /// peer sends. An answer is of a request that was made before it was read, so what is there is taken first.
    pub(super) fn settle(&mut self, now: Instant) -> Outcome {
        loop {
            if let Err(ending) = self.take_items(now) {
                self.hear(now);
                self.tell_news();
                // What stands behind the item that ended the connection is of a dead one.
                self.out.clear();
                return Err(ending);
            }
            self.hear(now);
            if !std::mem::take(&mut self.is_changed) {
                return Ok(());
            }
            self.ask();
            self.tell_news();
        }
    }

    fn take_items(&mut self, now: Instant) -> Outcome {
        while let Some((mut events, item)) = self.out.next_item() {
            self.deliver(&mut events);
            match item {
                Item::Unparsed(unparsed) => self.unparsed(&unparsed),
                Item::Send(message) if self.shows_secrets(&message) => {
                    let why = "a message with the credentials in it was not meant to be secret";
                    return Err(Fault::Protocol(why.to_owned()).into());
                }
                Item::Send(message) => self.transport.send(message)?,
                Item::SendSecret(message) => self.transport.send_secret(message)?,
                Item::Up => self.up(now),
                Item::Answer(answer) => {
                    let answer = self.shown_answer(answer);
                    self.answers.push(answer);
                }
                Item::Lost(scope) => self.begin_anew(|table| table.lost(&scope)),
                Item::Resync(topics) => self.begin_anew(|table| table.restart(&topics)),
                Item::Down(verdict) => return Err(Ending::Verdict(verdict)),
            }
        }
        Ok(())
    }

    /// Tells of topics that lost something before anything that came behind it is delivered: the gap stands where the loss is.
    fn begin_anew(&mut self, change: impl FnOnce(&mut TopicTable)) {
        self.stream.subscriptions.with_table(change);
        self.tell_news();
        self.is_changed = true;
    }

    /// What the venue says of topics, with its words as they may be shown.
    fn shown_answer(&self, answer: Answer) -> Answer {
        match answer {
            Answer::Topic(topic, TopicAnswer::Refused(rejection), request) => {
                let refused = TopicAnswer::Refused(self.shown(rejection));
                Answer::Topic(topic, refused, request)
            }
            Answer::Request(request, Err(rejection)) => {
                Answer::Request(request, Err(self.shown(rejection)))
            }
            answer => answer,
        }
    }

    // ---- events ----

    pub(super) fn flush(&mut self) {
        let mut events = self.out.take_events();
        self.deliver(&mut events);
        self.out.reuse(events);
    }

    /// Hands events to the router, which leaves other memory in their place.
    fn deliver(&mut self, events: &mut Events<V::Event>) {
        if events.is_empty() {
            return;
        }
        // One look a batch is enough to see a buffer fill.
        let newest = events
            .last()
            .and_then(|newest| Some((newest.event.happened_at()?, newest.received)));
        self.stream.counters.events.add(events.len() as u64);
        self.stream.counters.odd.add(events.odd() as u64);
        let routing = self.router.dispatch(events, self.epoch, self.asleep);
        self.stream.counters.add_routing(&routing);
        if routing.newest.is_some() {
            *self.stream.unmatched.lock() = routing.newest;
        }
        self.end_overflowed();
        let cut = self.router.take_cut();
        if !cut.is_empty() {
            self.stream
                .subscriptions
                .with_table(|table| table.restart_built(&cut));
            self.is_changed = true;
        }
        if let (Some((happened, received)), Some(live)) = (newest, self.link.live()) {
            let arrived = self.ambient.utc_of(received);
            let elapsed = received.saturating_duration_since(live.since);
            let threshold = self.stream.config.behind_warning;
            let warning = live.behind.saw(happened, arrived, elapsed, threshold);
            let behind = u64::try_from(live.behind.by().as_nanos()).unwrap_or(u64::MAX);
            self.stream.counters.behind_nanos.set(behind);
            if let Some(by) = warning {
                record!(Warn, "behind", self.stream.key; "events arrive {by:.1?} late");
                self.router.notice(&Notice::behind(by));
            }
        }
    }

    fn unparsed(&mut self, unparsed: &Unparsed) {
        self.stream.counters.unparsed.add(1 + unparsed.more);
        let Some(credentials) = &self.credentials else {
            return;
        };
        let raw = if unparsed.is_cut() {
            credentials.masked_cut(&unparsed.raw)
        } else {
            credentials.masked(&unparsed.raw)
        };
        let why = credentials.redact(&unparsed.why).into();
        let unparsed = Unparsed {
            raw: raw.into(),
            why,
            at: Some(self.ambient.utc()),
            ..unparsed.clone()
        };
        if let Link::LoggingIn { passed, .. } = &mut self.link {
            let shown: String = unparsed.to_string().chars().take(200).collect();
            *passed = Some(shown);
        }
        self.router.unparsed(&unparsed);
    }

    // ---- requests and answers ----

    /// Hands the table all that was said of topics: of one frame, so that a frame with five errors refuses one request.
    fn hear(&mut self, now: Instant) {
        if self.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        self.is_changed = true;
        let heard = self
            .stream
            .subscriptions
            .with_table(|table| table.hear(answers, now));
        for asked in heard.answered {
            self.meter.answered(now, asked);
        }
        for text in heard.unasked {
            // No event was in it.
            let unparsed = Unparsed::new(text.as_bytes(), "answers no request");
            self.unparsed(&unparsed.concerning(Concerns::Nobody));
        }
    }

    /// Makes the next request, if the connection is live and may have one more. What the session puts out for it is settled by
    /// the caller. It is put off where the socket has not taken what was sent before, where the venue's pace does not allow it
    /// yet, and where this turn made so many that a stop has to be looked for first.
    ///
    /// The time is that of the request, not of the turn, which may have begun long before: by it the pace is kept, and the
    /// answer is late.
    fn ask(&mut self) {
        let Some(live) = self.link.live() else {
            return;
        };
        let now = self.ambient.now();
        let rules = &self.stream.rules;
        live.next_request = None;
        let is_blocked = self.transport.has_unsent();
        if !is_blocked {
            let until = (self.requests_left == 0).then_some(now);
            live.next_request = until.or_else(|| live.sent.wait(rules, now));
        }
        if is_blocked || live.next_request.is_some() {
            // What has rested long enough is due all the same, and would be again in every turn.
            let has_to_ask = self.stream.subscriptions.with_table(|table| {
                table.wake(now);
                table.has_to_ask()
            });
            if is_blocked && has_to_ask {
                let timeout = self.stream.config.request_timeout;
                live.unsent_until
                    .get_or_insert_with(|| clock::after(now, timeout));
            }
            return;
        }
        let Some(request) = self
            .stream
            .subscriptions
            .with_table(|table| table.next(now))
        else {
            return;
        };
        self.is_changed = true;
        self.requests_left -= 1;
        live.sent.add(rules, now);
        self.stream.counters.requests.add(1);
        let request = Request::new(request.id, request.verb, &request.topics);
        let mut cx = Context::new(now, &mut *self.ambient, &mut self.out);
        live.session.request(request, &mut cx);
    }

    /// Does what the table has decided, and tells those whom it concerns.
    pub(super) fn tell_news(&mut self) {
        let news = self.stream.subscriptions.with_table(TopicTable::take_news);
        if news.is_empty() {
            return;
        }
        let venue = &self.stream.venue;
        let telling = Telling {
            gap: Gap {
                since: None,
                last: self.last_message.map(|at| self.ambient.utc_of(at)),
                cause: Error::new(self.at(Phase::Live), ErrorKind::Lost { why: "the venue left out a part of these topics, begins them again, or sends them no longer"
                        .to_owned(), source: None }),
                epoch: self.epoch,
                topics: Box::default(),
                breaks: 0,
            },
            epoch: self.epoch,
            at: self.ambient.now(),
            now: self.ambient.utc(),
            asleep: self.asleep,
            expects: &|topic| venue.expects(topic),
        };
        let claimed = self.router.apply(news, &telling);
        self.stream.counters.claim(claimed);
        self.end_overflowed();
        self.stream.subscriptions.arrived();
        self.to_look = true;
        self.record();
    }

    fn end_overflowed(&mut self) {
        for id in self.router.take_overflowed() {
            self.stream.subscriptions.end_full(id);
        }
    }

    /// What is sent by way of the WebSocket library is logged and kept by it.
    fn shows_secrets(&self, message: &Message) -> bool {
        let payload = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        };
        let credentials = self.credentials.as_ref();
        credentials.is_some_and(|credentials| credentials.stand_in(payload))
    }
}

/// How much is read before what callers want is looked at again, so that a flood cannot keep a stop waiting.
const FRAMES_PER_TURN: usize = 4_096;
/// How many requests are made before the wishes are looked at again: a session that answers for its venue lets the next be made
/// at once.
pub(super) const REQUESTS_PER_TURN: usize = 256;
/// When a batch is handed on even though more is there to be read.
const EVENTS_PER_BATCH: usize = 4_096;
