//! What nobody else may notice: user code that panics or blocks on a stream's thread, a server that sends without end what
//! never comes to anything, and settings that are as extreme as they may be.
//!
//! Each such line has a key of its own, so its end is expected. What is promised of it is checked: its key is free again in
//! time, or it is shown as ending for as long as the user code blocks. That nobody else loses anything is checked by all the
//! others.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use trunkline::{
    Config, Credentials, EndReason, Endpoint, ErrorKind, Fingerprint, Manager, MarketEvent,
    Overflow, Phase, Subscription, Update,
    alpaca::{self, Feed, MarketData},
    crossbeam_channel::{self as channel, Receiver, Sender},
    market::TradeEvent,
    sim::{Sim, SimConfig},
    venue::{Context, Frame, Request, Rules, Session, Venue},
};
use tungstenite::Message;

use super::{BOUND, LATE, Worker};

/// What the lines in trouble share.
pub(crate) struct Trouble {
    pub(crate) sim: Sim,
    config: Config,
    hostile: Hostile,
    /// A hostile server takes a processor for itself: one at a time.
    at_hostile: Mutex<()>,
    lines: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) hostile_lines: AtomicU64,
    pub(crate) extreme_lines: AtomicU64,
}

impl Trouble {
    pub(crate) fn new(config: &Config, seed: u64) -> anyhow::Result<Self> {
        let mut config = config.clone();
        config.setup_timeout = PATIENCE;
        let mut of_sim = SimConfig::default();
        of_sim.seed = seed;
        log::set_logger(&LOGGER).map_err(anyhow::Error::msg)?;
        log::set_max_level(log::LevelFilter::Info);
        Ok(Self {
            sim: Sim::start(of_sim)?,
            config,
            hostile: Hostile::start()?,
            at_hostile: Mutex::default(),
            lines: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            hostile_lines: AtomicU64::new(0),
            extreme_lines: AtomicU64::new(0),
        })
    }

    /// A manager for one line alone, so that its health and its shutdown are of that line.
    fn manager(&self) -> trunkline::Result<Manager> {
        Manager::with_config(self.config.clone())
    }

    /// A venue of user code, and a key that nobody else has.
    fn line(&self) -> trunkline::Result<(UserVenue, Credentials)> {
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        let credentials = Credentials::new(format!("PKTROUBLE{number}"), "no-secret-trouble")?;
        let venue = UserVenue {
            venue: self.sim.stocks().with_rules(crate::unspared),
            hook: Hook::default(),
        };
        Ok((venue, credentials))
    }
}

// ---- operations ----

impl Worker<'_> {
    pub(crate) fn trouble(&mut self, kind: u64) {
        let result = match kind % KINDS_OF_TROUBLE {
            0 => self.hostile_server(),
            1 | 2 => self.user_code_panics(),
            3 | 4 => self.user_code_blocks(),
            5 | 6 => self.extreme_settings(),
            _ => self.display_panics(),
        };
        if let Err(why) = result {
            self.stage.unexpected("trouble", &why);
        }
    }

    /// The stream ends with that, everybody is told, and its key is free before anybody is.
    fn user_code_panics(&mut self) -> Result<(), Broken> {
        let trouble = &self.stage.trouble;
        let (venue, credentials) = trouble.line()?;
        let place = *self.random.pick(&Place::WHERE_A_PANIC_UNWINDS);
        let _armed = venue.hook.arm(place, &credentials, || {
            resume_unwind(Box::new("user code's own bug"));
        });
        let manager = trouble.manager()?;
        let handle = manager.open(&venue, &credentials)?;
        let phases = handle.phases();
        // It may have ended by now.
        let trades = handle.subscribe(alpaca::trades(["*"])).ok();
        if place.is_at_the_end() {
            // A busy machine may have ended a set-up, and with it a session.
            let _ = handle.wait_live(PATIENCE);
            manager.shutdown(PATIENCE);
        }
        let deadline = Instant::now() + PATIENCE;
        while phases.receiver().recv_deadline(deadline)? != Phase::Ended {}
        // Nobody waits for the one that has ended, nor gets it.
        let again = manager.open_timeout(&venue, &credentials, Duration::ZERO)?;
        again.wait_live(PATIENCE)?;
        is_panic(place, handle.end_reason().as_ref())?;
        if let Some(trades) = trades {
            is_panic(place, end_of(&trades, deadline)?.as_ref())?;
        }
        drop(handle);
        again.close(BOUND)?;
        trouble.panics.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The stream is shown as ending, and its key is taken, until the user code goes on. Nobody waits for it longer than he
    /// wants to.
    fn user_code_blocks(&mut self) -> Result<(), Broken> {
        let trouble = &self.stage.trouble;
        let (venue, credentials) = trouble.line()?;
        let place = *self.random.pick(&Place::ALL);
        let (entered, is_in) = channel::bounded(1);
        let (hold, held): (Sender<()>, Receiver<()>) = channel::bounded(0);
        let _armed = venue.hook.arm(place, &credentials, move || {
            let _ = entered.send(());
            let _ = held.recv();
        });
        let manager = trouble.manager()?;
        let handle = manager.open(&venue, &credentials)?;
        let trades = handle.subscribe(alpaca::trades(["*"]))?;
        if place.is_at_the_end() {
            let _ = handle.wait_live(PATIENCE);
        } else {
            is_in.recv_timeout(PATIENCE)?;
        }
        drop(trades);
        let started = Instant::now();
        match handle.close(SHORT) {
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => {}
            other => return Err(Broken(format!("{place:?}: closed: {other:?}"))),
        }
        match manager.open_timeout(&venue, &credentials, SHORT) {
            Err(error) if matches!(error.kind(), ErrorKind::Draining { .. }) => {}
            other => return Err(Broken(format!("{place:?}: opened: {other:?}"))),
        }
        if started.elapsed() > 2 * SHORT + LATE {
            return Err(Broken(format!("{place:?}: {:?}", started.elapsed())));
        }
        let health = manager.health();
        if !matches!(&*health.streams, [stuck] if stuck.draining_for.is_some()) {
            return Err(Broken(format!("{place:?}: shown as {health}")));
        }
        drop(hold);
        let again = manager.open_timeout(&venue, &credentials, PATIENCE)?;
        again.wait_live(PATIENCE)?;
        again.close(BOUND)?;
        trouble.blocks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The panic is the caller's own. The stream, which others share, goes on.
    fn display_panics(&mut self) -> Result<(), Broken> {
        struct Bug;
        impl fmt::Display for Bug {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                resume_unwind(Box::new("user code's own bug"));
            }
        }
        if let Some(at) = self.random.index(&self.handles) {
            let handle = &self.handles[at];
            if catch_unwind(AssertUnwindSafe(|| handle.correlated(Bug))).is_ok() {
                return Err(Broken("the panic of a `Display` is lost".to_owned()));
            }
            let panics = &self.stage.trouble.panics;
            panics.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The line is closed in time, whatever comes.
    fn hostile_server(&mut self) -> Result<(), Broken> {
        let trouble = &self.stage.trouble;
        let Some(_one) = trouble.at_hostile.try_lock() else {
            return Ok(());
        };
        let (_, credentials) = trouble.line()?;
        let venue = alpaca::stocks(Feed::Iex)
            .at(trouble.hostile.endpoint.clone())
            .with_rules(crate::unspared);
        // Such a server answers no close.
        let mut config = trouble.config.clone();
        config.close_timeout = SHORT;
        let handle = Manager::with_config(config)?.open(&venue, &credentials)?;
        let trades = handle.subscribe(alpaca::trades(["AAPL"]))?;
        let _ = handle.wait_live(Duration::from_millis(self.random.below(50)));
        let _ = trades.recv_timeout(Duration::from_millis(self.random.below(50)));
        drop(trades);
        handle.close(BOUND)?;
        trouble.hostile_lines.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Some settings are as long or as short as they may be.
    fn extreme_settings(&mut self) -> Result<(), Broken> {
        let trouble = &self.stage.trouble;
        let mut config = trouble.config.clone();
        for _ in 0..=self.random.below(3) {
            let (least, set) = *self.random.pick(&SETTINGS);
            let time = *self.random.pick(&[least, Duration::MAX]);
            set(&mut config, time);
        }
        let (venue, credentials) = trouble.line()?;
        let manager = Manager::with_config(config)?;
        for _ in 0..2 {
            let handle = manager.open_timeout(&venue.venue, &credentials, BOUND)?;
            let overflow = *self.random.pick(&[
                Overflow::DropOldest,
                Overflow::DropNewest,
                Overflow::Conflate,
                Overflow::End,
            ]);
            let trades = handle.subscribe(alpaca::trades(["*"]).queue(1, overflow))?;
            let _ = handle.wait_live(Duration::from_millis(self.random.below(50)));
            let _ = trades.recv_timeout(Duration::from_millis(self.random.below(20)));
            drop(trades);
            handle.close(BOUND)?;
        }
        trouble.extreme_lines.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What went another way than it should.
struct Broken(String);

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(format!("{error:?}"))
    }
}

fn is_panic(place: Place, reason: Option<&EndReason>) -> Result<(), Broken> {
    match reason {
        Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Panicked { .. }) => {
            Ok(())
        }
        other => Err(Broken(format!("{place:?}: ended with {other:?}"))),
    }
}

/// Reads to the end, and says why it is one.
fn end_of(
    trades: &Subscription<TradeEvent>,
    deadline: Instant,
) -> Result<Option<EndReason>, Broken> {
    loop {
        if let Update::Ended(ended) = trades.recv_deadline(deadline)? {
            return Ok(Some(ended.what.reason));
        }
    }
}

/// How many kinds of trouble there are, the frequent ones twice.
pub(crate) const KINDS_OF_TROUBLE: u64 = 8;

/// How long is waited for what is known to be stuck.
const SHORT: Duration = Duration::from_millis(20);
/// And for what comes in any case, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

type SetTime = fn(&mut Config, Duration);

/// Settings, and what they are at least. How long a close waits is not among them: without a bound it is as long as the
/// peer's.
const SETTINGS: [(Duration, SetTime); 10] = [
    (Duration::ZERO, |config, time| config.open_timeout = time),
    (Duration::ZERO, |config, time| config.release_timeout = time),
    (MILLISECOND, |config, time| config.setup_timeout = time),
    (Duration::ZERO, |config, time| config.request_timeout = time),
    (MILLISECOND, |config, time| config.ping_interval = time),
    (MILLISECOND, |config, time| config.ping_timeout = time),
    (Duration::ZERO, |config, time| config.behind_warning = time),
    (Duration::from_nanos(1), |config, time| {
        config.backoff.initial = time;
        config.backoff.cap = config.backoff.cap.max(time);
    }),
    (Duration::ZERO, |config, time| {
        config.backoff.reset_after = time;
    }),
    (Duration::ZERO, |config, time| {
        config.backoff.credentials_patience = time;
    }),
];

const MILLISECOND: Duration = Duration::from_millis(1);

// ---- user code ----

/// Where user code runs on a stream's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    NewSession,
    HandleOpen,
    HandleFrame,
    Request,
    Logger,
    SessionDrop,
    /// The destructor of what user code keeps in a thread-local.
    LocalDrop,
}

impl Place {
    const ALL: [Self; 7] = [
        Self::NewSession,
        Self::HandleOpen,
        Self::HandleFrame,
        Self::Request,
        Self::Logger,
        Self::SessionDrop,
        Self::LocalDrop,
    ];
    /// A panic of a thread-local's destructor ends the process, whatever the library does.
    const WHERE_A_PANIC_UNWINDS: [Self; 6] = [
        Self::NewSession,
        Self::HandleOpen,
        Self::HandleFrame,
        Self::Request,
        Self::Logger,
        Self::SessionDrop,
    ];

    fn is_at_the_end(self) -> bool {
        matches!(self, Self::SessionDrop | Self::LocalDrop)
    }
}

type Misdeed = Box<dyn FnOnce() + Send>;

/// What is done the first time that a place is reached.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Option<(Place, Misdeed)>>>);

impl Hook {
    fn arm(
        &self,
        place: Place,
        credentials: &Credentials,
        misdeed: impl FnOnce() + Send + 'static,
    ) -> Option<Listed> {
        *self.0.lock() = Some((place, Box::new(misdeed)));
        (place == Place::Logger).then(|| Listed::new(credentials.fingerprint(), self.clone()))
    }

    fn at(&self, place: Place) {
        // None is done under the lock.
        let misdeed = self.0.lock().take_if(|(armed, _)| *armed == place);
        if let Some((_, misdeed)) = misdeed {
            misdeed();
        }
    }
}

#[derive(Clone)]
struct UserVenue {
    venue: MarketData,
    hook: Hook,
}

impl Venue for UserVenue {
    type Event = MarketEvent;
    type Session = UserSession;

    fn endpoint(&self) -> &Endpoint {
        self.venue.endpoint()
    }

    fn rules(&self) -> Rules {
        Venue::rules(&self.venue)
    }

    fn session(&self, credentials: Credentials) -> UserSession {
        self.hook.at(Place::NewSession);
        UserSession {
            session: self.venue.session(credentials),
            hook: self.hook.clone(),
        }
    }
}

struct UserSession {
    session: <MarketData as Venue>::Session,
    hook: Hook,
}

impl Session for UserSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, cx: &mut Context<'_, MarketEvent>) {
        LOCAL.set(Some(Local(self.hook.clone())));
        self.hook.at(Place::HandleOpen);
        self.session.handle_open(cx);
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        self.session.handle_frame(frame, cx);
        self.hook.at(Place::HandleFrame);
    }

    fn handle_close(&mut self, code: Option<u16>, cx: &mut Context<'_, MarketEvent>) {
        self.session.handle_close(code, cx);
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, MarketEvent>) {
        self.session.handle_timeout(cx);
    }

    fn deadline(&self) -> Option<Instant> {
        self.session.deadline()
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        self.hook.at(Place::Request);
        self.session.request(request, cx);
    }
}

impl Drop for UserSession {
    fn drop(&mut self) {
        self.hook.at(Place::SessionDrop);
    }
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

struct Local(Hook);

impl Drop for Local {
    fn drop(&mut self) {
        self.0.at(Place::LocalDrop);
    }
}

/// The process has one logger. It does what is listed for the line of a record, on that line's thread.
static LOGGER: Logger = Logger;
static LISTED: Mutex<Option<HashMap<Fingerprint, Hook>>> = Mutex::new(None);
static HOW_MANY: AtomicUsize = AtomicUsize::new(0);

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        HOW_MANY.load(Ordering::Relaxed) > 0
    }

    fn log(&self, record: &log::Record<'_>) {
        let thread = thread::current();
        if !self.enabled(record.metadata()) || !thread.name().is_some_and(is_of_a_line) {
            return;
        }
        let text = record.args().to_string();
        let hook = LISTED.lock().as_ref().and_then(|listed| {
            let mut lines = listed.iter();
            lines
                .find(|(line, _)| text.contains(&format!("[{line}]")))
                .map(|(_, hook)| hook.clone())
        });
        if let Some(hook) = hook {
            hook.at(Place::Logger);
        }
    }

    fn flush(&self) {}
}

fn is_of_a_line(name: &str) -> bool {
    name.starts_with("tl-") && name != "tl-sim"
}

/// As long as it is held, the logger knows the line.
struct Listed(Fingerprint);

impl Listed {
    fn new(line: Fingerprint, hook: Hook) -> Self {
        LISTED.lock().get_or_insert_default().insert(line, hook);
        HOW_MANY.fetch_add(1, Ordering::Relaxed);
        Self(line)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        HOW_MANY.fetch_sub(1, Ordering::Relaxed);
        if let Some(listed) = &mut *LISTED.lock() {
            listed.remove(&self.0);
        }
    }
}

// ---- a server ----

/// A server that sends what never comes to anything, as fast as it can and for as long as its client is there.
struct Hostile {
    endpoint: Endpoint,
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What comes first, and what comes again and again.
type Attack = (&'static [u8], &'static [u8]);

const ATTACKS: [Attack; 3] = [
    // A message of parts without content.
    (&[1, 0], &[0; 4_096]),
    // A message of which the bytes come one at a time.
    (&[0x81, 127, 0, 0, 0, 0, 0, 0x3f, 0, 0], b" "),
    // Pings.
    (&[], &[0x89, 0, 0x89, 0, 0x89, 0, 0x89, 0]),
];

impl Hostile {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let accept = {
            let is_over = Arc::clone(&is_over);
            move || {
                for (number, stream) in listener.incoming().enumerate() {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Ok(stream) = stream {
                        // It ends with its client's connection.
                        let _ = thread::Builder::new()
                            .name("hostile".to_owned())
                            .spawn(move || attack(stream, number));
                    }
                }
            }
        };
        let thread = thread::Builder::new()
            .name("hostile-door".to_owned())
            .spawn(accept)?;
        Ok(Self {
            endpoint: format!("ws://{address}/v2/iex").parse()?,
            address,
            is_over,
            thread: Some(thread),
        })
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // The thread looks at that when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// In place of the welcome, or behind the log-in.
fn attack(stream: TcpStream, number: usize) {
    let _ = stream.set_nodelay(true);
    let Ok(mut venue) = tungstenite::accept(stream) else {
        return;
    };
    if number.is_multiple_of(2) {
        let welcome = r#"[{"T":"success","msg":"connected"}]"#;
        let accepted = r#"[{"T":"success","msg":"authenticated"}]"#;
        let is_there = venue.send(Message::text(welcome)).is_ok()
            && venue.read().is_ok()
            && venue.send(Message::text(accepted)).is_ok();
        if !is_there {
            return;
        }
    }
    let (first, again) = ATTACKS[number / 2 % ATTACKS.len()];
    let stream = venue.get_mut();
    let mut written = stream.write_all(first);
    while written.is_ok() {
        written = stream.write_all(again);
    }
}
