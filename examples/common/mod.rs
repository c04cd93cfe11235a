//! What several examples need around their one idea: where the data comes from, how they end, and what they say while
//! nothing comes.

#![allow(dead_code, reason = "each example uses a part of it")]

use std::{error::Error as _, fs, io, process::ExitCode, time::Duration, time::Instant};

use anyhow::Context as _;
use trunkline::{
    Credentials, Endpoint, Error, ErrorKind, Notice, Symbol,
    alpaca::{self, Feed, MarketData},
    crossbeam_channel::{self as channel, Receiver},
    error::Remedy,
    sim::{Sim, SimConfig},
};

/// Which stocks, and where they come from.
#[derive(clap::Args)]
pub(crate) struct Stocks {
    /// Which symbols, in capitals. By default AAPL, MSFT and NVDA, or FAKEPACA on the test feed.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    symbols: Vec<String>,
    #[command(flatten)]
    source: Source,
}

impl Stocks {
    pub(crate) fn symbols(&self) -> Vec<String> {
        match (self.symbols.is_empty(), self.source.feed) {
            (false, _) => self.symbols.clone(),
            (true, Feed::Test) => vec!["FAKEPACA".to_owned()],
            (true, _) => ["AAPL", "MSFT", "NVDA"].map(str::to_owned).into(),
        }
    }

    /// What to open, with which credentials, and the simulator, which lives as long as it is held.
    pub(crate) fn open(&self) -> trunkline::Result<(MarketData, Credentials, Option<Sim>)> {
        self.source.open(&self.symbols())
    }
}

/// Where stocks come from.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// Use Alpaca, with the credentials in APCA_API_KEY_ID and APCA_API_SECRET_KEY. By default a simulator in this
    /// process.
    #[arg(long)]
    live: bool,
    /// Of Alpaca's feeds: iex, sip, delayed_sip, boats, overnight or test, which is a made-up stock around the clock.
    #[arg(long, default_value_t = Feed::Iex)]
    feed: Feed,
    /// Another server that speaks Alpaca's protocol, such as the example `simulator`, with the same credentials.
    #[arg(long, conflicts_with = "live")]
    url: Option<Endpoint>,
}

impl Source {
    /// As that of [`Stocks`], for symbols that stand elsewhere.
    pub(crate) fn open(
        &self,
        symbols: &[impl AsRef<str>],
    ) -> trunkline::Result<(MarketData, Credentials, Option<Sim>)> {
        let venue = alpaca::stocks(self.feed);
        if let Some(url) = &self.url {
            return Ok((venue.at(url.clone()), of_environment()?, None));
        }
        if self.live {
            return Ok((venue, of_environment()?, None));
        }
        let mut config = SimConfig::default();
        config.rate = 1_000;
        config.symbols = symbols
            .iter()
            .map(|name| Symbol::from(name.as_ref()))
            .collect();
        let sim = Sim::start(config)?;
        Ok((sim.venue(venue), sim.credentials(), Some(sim)))
    }
}

/// What is wrong with them is told as every other error of the library is.
pub(crate) fn of_environment() -> trunkline::Result<Credentials> {
    Ok(Credentials::from_env()?)
}

/// Makes an exit code of how it went, and says on standard error what went wrong and what to do about it. 2 is for what was
/// asked wrongly, as it is for arguments. That nobody reads any more, as in `| head -2`, is a good end.
pub(crate) fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(error) = error.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref::<Error>() {
        Some(error) => {
            // In `Debug` it says what to do.
            eprintln!("{error:?}");
            if let ErrorKind::InvalidCredentials { .. } = error.kind() {
                eprintln!("  or leave --live, --paper and --url out: the simulator needs no keys");
            }
            ExitCode::from(1 + u8::from(error.remedy() == Remedy::FixRequest))
        }
        None => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A channel that something comes through at Ctrl-C.
pub(crate) fn ctrl_c() -> anyhow::Result<Receiver<()>> {
    let (stop, stopped) = channel::bounded(1);
    // The second Ctrl-C finds the channel full, and changes nothing.
    ctrlc::set_handler(move || stop.try_send(()).unwrap_or_default())
        .context("cannot wait for Ctrl-C")?;
    Ok(stopped)
}

/// A channel that something comes through after so many seconds, or never.
pub(crate) fn after(seconds: Option<u64>) -> Receiver<Instant> {
    seconds.map_or_else(channel::never, |seconds| {
        channel::after(Duration::from_secs(seconds))
    })
}

/// Says on standard error why nothing comes.
pub(crate) fn progress(notice: &Notice) {
    if let Notice::NotLive { attempt, cause, .. } = notice {
        eprintln!("connecting, attempt {attempt}: {}", brief(cause));
    }
}

/// What an error says, and its causes, without the stream in front.
pub(crate) fn brief(error: &Error) -> String {
    let mut text = error.to_string();
    if let Some(stream) = error.stream()
        && let Some(rest) = text.strip_prefix(&format!("{stream}: "))
    {
        text = rest.to_owned();
    }
    let mut cause = error.source();
    while let Some(why) = cause {
        text += &format!(": {why}");
        cause = why.source();
    }
    text
}

/// How many threads of this process serve lines; nothing where that cannot be seen.
pub(crate) fn line_threads() -> Option<usize> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let lines = names.filter(|name| name.starts_with("tl-") && name.trim_end() != "tl-sim");
    Some(lines.count())
}

/// Counts until there is none, `within` so much time. The system takes a thread that was joined off its list a moment later, and the
/// simulator a connection.
pub(crate) fn settled(within: Duration, count: impl Fn() -> Option<usize>) -> Option<usize> {
    let look_again = channel::tick(Duration::from_millis(1));
    let enough = channel::after(within);
    while enough.is_empty() && count().is_some_and(|count| count > 0) {
        let _ = look_again.recv();
    }
    count()
}
