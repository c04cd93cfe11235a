//! Where one stream is in its life: a [`Phase`] under a Mutex, and its Condvar.
//!
//! Only the stream's own thread (and, where that never came to be, its opener) changes it. Who waits here:
//! `wait_live`, for `Live`, `Mute` or the end. The thread's last change is `Ended`, made by a guard also in a panic, so no wait
//! can outlive the thread.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};

use crate::{
    clock,
    error::{At, Doing, Error, ErrorKind, Result},
    event::EndReason,
    key::StreamKey,
    phase::Phase,
    process::Process,
    sync::{Condvar, Mutex},
};

pub(crate) struct Lifecycle {
    key: StreamKey,
    process: Process,
    state: Mutex<LifecycleState>,
    changed: Condvar,
    watchers: Mutex<Vec<Weak<Watcher>>>,
}

/// One reader of phase changes. Both ends are here, so that the oldest change can make room for the newest; the stream
/// holds it weakly, and forgets it with its reader.
struct Watcher {
    sender: Sender<Phase>,
    receiver: Receiver<Phase>,
}

/// The phases that a stream enters, from when this was asked for. Made by
/// [`StreamHandle::phases`](crate::StreamHandle::phases).
///
/// As an iterator it blocks for each, and ends after [`Phase::Ended`]. Of changes that are not read, the newest 64 are
/// kept.
pub struct Phases {
    watcher: Arc<Watcher>,
    process: Process,
    is_over: bool,
}

impl Phases {
    /// The channel that the phases come through, for `select!` and for reading with a time-out. Nothing comes after
    /// [`Phase::Ended`].
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Phase> {
        &self.watcher.receiver
    }
}

impl Iterator for Phases {
    type Item = Phase;

    fn next(&mut self) -> Option<Phase> {
        if self.is_over {
            return None;
        }
        let phase = if self.process.is_parent() {
            Phase::Ended
        } else {
            self.watcher.receiver.recv().ok()?
        };
        self.is_over = phase == Phase::Ended;
        Some(phase)
    }
}

impl fmt::Debug for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phases").finish_non_exhaustive()
    }
}

/// A stream's state, as a value.
#[derive(Clone, Debug)]
pub(crate) struct LifecycleState {
    pub(crate) phase: Phase,
    pub(crate) since: Instant,
    /// The last thing that went wrong, also when the stream has long been live again.
    pub(crate) cause: Option<Error>,
    /// Failed attempts to connect since the stream was last live and stable.
    pub(crate) failures: u32,
    /// When the next attempt is due, while waiting for it.
    pub(crate) retry_at: Option<Instant>,
    /// When the stream ends, if the venue goes on refusing credentials that it accepted before.
    pub(crate) gives_up_at: Option<Instant>,
    /// How many connections became live.
    pub(crate) epoch: u64,
    pub(crate) ended: Option<EndReason>,
}

impl Lifecycle {
    pub(crate) fn new(key: StreamKey) -> Self {
        let state = LifecycleState {
            phase: Phase::Resolving,
            since: clock::now(),
            cause: None,
            failures: 0,
            retry_at: None,
            gives_up_at: None,
            epoch: 0,
            ended: None,
        };
        Self {
            key,
            process: Process::this(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            watchers: Mutex::new(Vec::new()),
        }
    }

    /// The one way to change the state.
    pub(crate) fn change(&self, now: Instant, change: impl FnOnce(&mut LifecycleState)) {
        let entered = {
            let mut state = self.state.lock();
            let before = state.phase;
            change(&mut state);
            if state.phase != before {
                state.since = now;
            }
            (state.phase != before).then_some(state.phase)
        };
        self.changed.notify_all();
        if let Some(phase) = entered {
            self.tell(phase);
        }
    }

    /// From one thread at a time, the stream's, so the order is that of the changes.
    fn tell(&self, phase: Phase) {
        let watchers: Vec<_> = {
            let mut watchers = self.watchers.lock();
            watchers.retain(|watcher| watcher.strong_count() > 0);
            watchers.iter().filter_map(Weak::upgrade).collect()
        };
        for watcher in watchers {
            while watcher.sender.try_send(phase).is_err() {
                // Full: the oldest makes room. Whether this or the reader takes it, there is room then.
                let _ = watcher.receiver.try_recv();
            }
        }
    }

    /// How many receivers of phases it remembers, those that are gone included.
    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.watchers.lock().len()
    }

    pub(crate) fn phases(&self) -> Phases {
        let (sender, receiver) = crossbeam_channel::bounded(64);
        let watcher = Arc::new(Watcher { sender, receiver });
        if self.check_process().is_ok() {
            let mut watchers = self.watchers.lock();
            // A quiet line enters no phase for days, in which those that are gone would lie here.
            watchers.retain(|watcher| watcher.strong_count() > 0);
            watchers.push(Arc::downgrade(&watcher));
        }
        // Registered first: an end that comes in between is told twice rather than never.
        if self.phase() == Phase::Ended {
            let _ = watcher.sender.try_send(Phase::Ended);
        }
        Phases {
            watcher,
            process: self.process,
            is_over: false,
        }
    }

    /// The last change: the thread is about to be gone.
    pub(crate) fn end(&self, now: Instant, reason: &EndReason) {
        self.change(now, |state| {
            state.phase = Phase::Ended;
            state.retry_at = None;
            state.gives_up_at = None;
            state.ended.get_or_insert_with(|| reason.clone());
        });
    }

    /// # Errors
    /// [`ErrorKind::Forked`] in a child of the process that opened the stream.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.process.is_parent() {
            return Err(Error::new(
                At::new(&self.key, Phase::Ended),
                ErrorKind::Forked,
            ));
        }
        Ok(())
    }

    /// Asked before anything is wanted of the stream: whoever was told of the end must not be served afterwards, although
    /// the subscriptions are closed a moment later.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`] in a child of the process that opened the stream, and the error that the stream ended with.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.check_process()?;
        let ended = self.state.lock().ended.clone();
        ended.map_or(Ok(()), |reason| Err(self.ended(reason)))
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.process.is_parent() {
            return Phase::Ended;
        }
        self.state.lock().phase
    }

    pub(crate) fn snapshot(&self) -> LifecycleState {
        if let Err(forked) = self.check_process() {
            return LifecycleState {
                phase: Phase::Ended,
                since: clock::now(),
                cause: Some(forked.clone()),
                failures: 0,
                retry_at: None,
                gives_up_at: None,
                epoch: 0,
                ended: Some(EndReason::Failed(forked)),
            };
        }
        self.state.lock().clone()
    }

    /// Blocks until the stream is live, for a bounded time.
    pub(crate) fn wait_live(&self, deadline: Instant) -> Result<()> {
        self.check_process()?;
        let mut state = self.state.lock();
        while !state.phase.is_live() && state.ended.is_none() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        if state.phase.is_live() {
            return Ok(());
        }
        let ended = state.ended.clone();
        drop(state);
        Err(ended.map_or_else(
            || self.timed_out(Doing::WaitingForLive),
            |reason| self.ended(reason),
        ))
    }

    /// What a call on a stream that ended for `reason` gets.
    pub(crate) fn ended(&self, reason: EndReason) -> Error {
        match reason {
            EndReason::Failed(error) => error,
            EndReason::Closed | EndReason::Done => {
                Error::new(At::new(&self.key, self.phase()), ErrorKind::Closed)
            }
        }
    }

    /// What a call whose deadline passed gets: the phase, the last cause and the next attempt say why.
    pub(crate) fn timed_out(&self, doing: Doing) -> Error {
        let state = self.snapshot();
        Error::new(
            At::new(&self.key, state.phase),
            ErrorKind::TimedOut {
                doing,
                retry_in: state
                    .retry_at
                    .map(|at| at.saturating_duration_since(clock::now()))
                    .filter(|wait| *wait > Duration::ZERO),
                cause: state.cause,
            },
        )
    }
}
