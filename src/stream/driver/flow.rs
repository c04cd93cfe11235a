//! What flows between the connection, its session and the hub: messages, events, requests and answers.

use std::time::Instant;

use super::{Driver, Ending, Link, Outcome};
use crate::{
    clock,
    error::{Error, Rejection, RejectionKind},
    event::{Concerns, Notice, Unparsed},
    phase::Phase,
    record,
    stream::hub::Ask,
    transport::{Close, Fault, Incoming, TURN, Transport},
    venue::{Events, Item, Message, Output, Request, Routed as _, Session as _, Venue},
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
                    self.out.stamp(read_at);
                    self.input(now, |session, out| {
                        session.handle_frame(read_at, payload.frame(), out);
                    })?;
                    if self.out.pending() >= EVENTS_PER_BATCH {
                        self.flush();
                    }
                }
                Incoming::Control => self.stream.counters.control_frames.add(1),
                Incoming::Close(close) => {
                    let code = close.code();
                    // The session may know what it means.
                    self.input(now, |session, out| session.handle_close(now, code, out))?;
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
        Ending::Lost(Error::Lost {
            at: self.at(self.stream.lifecycle.phase()),
            why: format!("{}{}", why.trim_end(), self.passed()),
            source: None,
        })
    }

    // ---- the session ----

    /// Gives the session one input, and settles what it put out for it.
    pub(super) fn input(
        &mut self,
        now: Instant,
        give: impl FnOnce(&mut V::Session, &mut Output<V::Event>),
    ) -> Outcome {
        if let Some(session) = self.link.session() {
            give(session, &mut self.out);
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
                // What stands behind the item that ended the connection is of a dead one.
                self.out.clear();
                return Err(ending);
            }
            if !std::mem::take(&mut self.is_changed) {
                return Ok(());
            }
            self.to_look = true;
            self.ask(now);
            self.publish();
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
                Item::Confirmed(confirmed) => {
                    let left_out = self.left_out();
                    if self.hub.confirm(confirmed, || left_out.clone()) {
                        self.answered(now);
                    }
                    self.is_changed = true;
                }
                Item::Resync(topics) => {
                    self.hub.restart(&topics);
                    self.is_changed = true;
                }
                Item::Refused(rejection) if self.hub.has_request() => {
                    self.answered(now);
                    let error = self.refusal(rejection);
                    self.hub.refuse(error, now);
                    self.is_changed = true;
                }
                Item::Refused(rejection) => {
                    let text = rejection.to_string();
                    // No event was in it.
                    let unparsed = Unparsed::new(text.as_bytes(), "answers no request");
                    self.unparsed(&unparsed.concerning(Concerns::Nobody));
                }
                Item::Down(verdict) => return Err(Ending::Verdict(verdict)),
            }
        }
        Ok(())
    }

    // ---- events ----

    pub(super) fn flush(&mut self) {
        let mut events = self.out.take_events();
        self.deliver(&mut events);
        self.out.reuse(events);
    }

    /// Hands events to the hub, which leaves other memory in their place.
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
        let routing = self.hub.dispatch(events, self.epoch, self.asleep);
        self.stream.counters.add_routing(&routing);
        if routing.newest.is_some() {
            self.stream.standing.lock().unmatched = routing.newest;
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
                self.hub.notice(&Notice::behind(by));
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
        self.hub.unparsed(&unparsed);
    }

    // ---- requests and answers ----

    /// Makes the next request, if the connection is live and none is in flight. What the session puts out for it is
    /// settled by the caller.
    fn ask(&mut self, now: Instant) {
        let Some(live) = self.link.live() else {
            return;
        };
        let limit = self.stream.venue.request_limit();
        let Some(ask) = self.hub.next_request(limit, now) else {
            let epoch = self.epoch;
            self.hub.resume(epoch, || self.ambient.utc());
            return;
        };
        live.asked = Some(now);
        self.stream.counters.requests.add(1);
        let request = match &ask {
            Ask::Subscribe(topics) => Request::Subscribe(topics),
            Ask::Unsubscribe(topics) => Request::Unsubscribe(topics),
        };
        live.session.request(now, request, &mut self.out);
    }

    fn answered(&mut self, now: Instant) {
        if let Some(asked) = self.link.live().and_then(|live| live.asked.take()) {
            self.meter.answered(now, asked);
        }
    }

    /// What those get whose topics the venue left out of its reply.
    pub(super) fn left_out(&self) -> Error {
        let why = "the venue left it out of its reply";
        self.refusal(Rejection::new(RejectionKind::BadRequest, None, why))
    }

    pub(super) fn refusal(&self, rejection: Rejection) -> Error {
        Error::Refused {
            at: self.at(Phase::Live),
            rejection: self.shown(rejection),
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

/// How much is read before the wishes are looked at again, so that a flood cannot keep a stop waiting.
const FRAMES_PER_TURN: usize = 4_096;
/// When a batch is handed on even though more is there to be read.
const EVENTS_PER_BATCH: usize = 4_096;
