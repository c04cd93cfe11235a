//! Prints a stream as JSON, one update a line, for `jq` and for programs in any language:
//! `cargo run --example tail -- --feed test --symbols FAKEPACA --channel trades,quotes`, or `--orders`

mod common;

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use trunkline::{
    Config, Declared, Dropped, Endpoint, Event, Gap, Manager, MarketEvent, Notice, OrderUpdate,
    Phase, StreamHandle, Subscription, Symbol, Topics, Update,
    alpaca::{self, Account, Codec, CryptoFeed, Feed, MarketData, OptionFeed, OrderUpdates},
    crossbeam_channel::Receiver,
    event::Unparsed,
    select,
    venue::{Payload, Routed, Venue},
};

/// Prints each update of a stream as one JSON object per line, whatever it is: `kind` is event, gap, dropped,
/// unparsed, notice or ended.
///
/// Credentials come from APCA_API_KEY_ID and APCA_API_SECRET_KEY. Reconnects by itself; what cannot be mended that way
/// is told on standard error. RUST_LOG=info logs there, too.
///
/// Exit code: 0 when the time is up, --max was reached, on Ctrl-C, or when nobody reads any more. 2 on an error. 3 when
/// the time is up and the line was never live: why is told on standard error.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The endpoint, such as ws://127.0.0.1:9000/v1beta3/crypto/us. By default Alpaca's own, for the feed.
    #[arg(long)]
    url: Option<Endpoint>,
    /// Of stocks iex, sip, delayed_sip, boats, overnight, test; of crypto us, us-1, eu-1; crypto-perps; of options
    /// indicative, opra; or news. By default what the URL's path says, or else iex.
    #[arg(long, value_parser = feed)]
    feed: Option<MarketData>,
    /// json or msgpack. By default what the feed speaks: msgpack for options, json for all others.
    #[arg(long)]
    codec: Option<Codec>,
    /// What to subscribe to. Can be repeated.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "trades")]
    channel: Vec<Channel>,
    /// For which symbols, such as AAPL, BTC/USD or MSFT260619C00450000; `*` is all of them.
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        required_unless_present = "orders"
    )]
    symbols: Vec<String>,
    /// In place of market data, the order updates of an account. Of feeds, channels and symbols it needs none.
    #[arg(long)]
    orders: bool,
    /// Whose orders: paper, or live.
    #[arg(long, default_value_t = Account::Paper)]
    account: Account,
    /// Stop N seconds after the start. By default at Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many events, at most.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// How often something has to arrive on these topics while the market trades. A line that brings nothing for longer is
    /// probed, and then replaced. By default what each topic's own past lets expect.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    expect_within: Option<u64>,
    /// Certificates to trust besides the usual ones, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Channel {
    Trades,
    Quotes,
    Bars,
    UpdatedBars,
    DailyBars,
    Statuses,
    Lulds,
    Imbalances,
    Orderbooks,
    Pricing,
    News,
}

/// One line of output. The fields are the library's own.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Event(Event<MarketEvent>),
    #[serde(rename = "event")]
    Order {
        r#type: &'static str,
        symbol: Symbol,
        #[serde(flatten)]
        update: Box<Event<OrderUpdate>>,
    },
    Gap(Declared<Gap>),
    Dropped(Declared<Dropped>),
    Unparsed(Unparsed),
    Notice(Declared<Notice>),
    Ended {
        reason: String,
    },
}

fn main() -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
    let error = match run(&Arguments::parse()) {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(error) = error.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS;
    }
    // The library's own errors say in `Debug` what to do about them.
    match error.downcast_ref::<trunkline::Error>() {
        Some(error) => eprintln!("{error:?}"),
        None => eprintln!("{error:#}"),
    }
    ExitCode::from(2)
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (stopped, time_is_up) = (common::ctrl_c()?, common::after(arguments.seconds));

    let mut config = Config::default();
    if let Some(file) = &arguments.ca {
        config.extra_roots =
            fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let manager = Manager::with_config(config)?;
    let credentials = common::of_environment()?;
    let until = (&time_is_up, &stopped, arguments.max);
    if arguments.orders {
        let account = manager.open(&arguments.account(), &credentials)?;
        let end = print(&account.subscribe(alpaca::orders())?, until, order_line)?;
        Ok(code(end, &account))
    } else {
        let feed = manager.open(&arguments.venue(), &credentials)?;
        let topics = match arguments.expect_within {
            Some(seconds) => arguments
                .topics()
                .expect_within(Duration::from_secs(seconds)),
            None => arguments.topics(),
        };
        let end = print(&feed.subscribe(topics)?, until, Line::Event)?;
        Ok(code(end, &feed))
    }
}

/// Why printing came to an end that is no error.
#[derive(PartialEq)]
enum End {
    TimeIsUp,
    Other,
}

/// Prints updates until the time is up, it is interrupted, or there were enough events.
fn print<T: Payload<Source: Routed>>(
    subscription: &Subscription<T>,
    (time_is_up, stopped, max): (&Receiver<Instant>, &Receiver<()>, Option<u64>),
    line_of: impl Fn(Event<T>) -> Line,
) -> anyhow::Result<End> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut events = 0;
    loop {
        select! {
            recv(subscription.ready()) -> _ => for update in subscription.drain() {
                let (line, end) = match update {
                    Update::Event(event) => {
                        events += 1;
                        (line_of(event), None)
                    }
                    Update::Gap(gap) => (Line::Gap(gap), None),
                    Update::Dropped(dropped) => (Line::Dropped(dropped), None),
                    Update::Notice(Declared { what: Notice::Unparsed(unparsed), .. }) => (Line::Unparsed(unparsed), None),
                    Update::Notice(notice) => {
                        if let Notice::NotLive { .. } = notice.what {
                            eprintln!("{notice}");
                        }
                        (Line::Notice(notice), None)
                    }
                    Update::Ended(ended) => {
                        let reason = ended.reason.to_string();
                        (Line::Ended { reason }, Some(ended))
                    }
                };
                serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                if let Some(ended) = end {
                    out.flush()?;
                    ended.into_result()?;
                    return Ok(End::Other);
                }
                if max == Some(events) {
                    out.flush()?;
                    return Ok(End::Other);
                }
            },
            recv(time_is_up) -> _ => return Ok(End::TimeIsUp),
            recv(stopped) -> _ => return Ok(End::Other),
        }
        out.flush()?;
    }
}

fn order_line(update: Event<OrderUpdate>) -> Line {
    Line::Order {
        r#type: "order_update",
        symbol: update.order.symbol.clone(),
        update: Box::new(update),
    }
}

/// The exit code. Says so where the line is not live.
fn code<V: Venue>(end: End, stream: &StreamHandle<V>) -> ExitCode {
    let health = stream.health();
    if health.phase != Phase::Live {
        let text = health.to_string();
        let line = text.lines().next().unwrap_or_default();
        eprintln!("not connected at the end: {line}");
    }
    // Connections are counted when they become live.
    if end == End::Other || health.epoch > 0 {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = stream.wait_live(Duration::ZERO) {
        eprintln!("{error:?}");
    }
    ExitCode::from(3)
}

fn feed(name: &str) -> Result<MarketData, String> {
    let stocks = name.parse().map(|feed: Feed| alpaca::stocks(feed));
    let crypto = || name.parse().map(|feed: CryptoFeed| alpaca::crypto(feed));
    let options = || name.parse().map(|feed: OptionFeed| alpaca::options(feed));
    match name {
        "crypto-perps" => Ok(alpaca::perpetuals()),
        "news" => Ok(alpaca::news()),
        _ => stocks
            .or_else(|_| crypto())
            .or_else(|_| options())
            .map_err(|_| "no such feed".to_owned()),
    }
}

impl Arguments {
    fn account(&self) -> OrderUpdates {
        let venue = alpaca::order_updates(self.account).codec(self.codec.unwrap_or_default());
        match &self.url {
            Some(url) => venue.at(url.clone()),
            None => venue,
        }
    }

    fn venue(&self) -> MarketData {
        let venue = match (&self.feed, &self.url) {
            (Some(feed), Some(url)) => feed.clone().at(url.clone()),
            (Some(feed), None) => feed.clone(),
            (None, Some(url)) => alpaca::market_data(url.clone())
                .unwrap_or_else(|_| alpaca::stocks(Feed::Iex).at(url.clone())),
            (None, None) => alpaca::stocks(Feed::Iex),
        };
        match self.codec {
            Some(codec) => venue.codec(codec),
            None => venue,
        }
    }

    fn topics(&self) -> Topics<MarketEvent> {
        let symbols = &self.symbols;
        self.channel
            .iter()
            .fold(Topics::mixed(), |topics, channel| match channel {
                Channel::Trades => topics.and(alpaca::trades(symbols)),
                Channel::Quotes => topics.and(alpaca::quotes(symbols)),
                Channel::Bars => topics.and(alpaca::bars(symbols)),
                Channel::UpdatedBars => topics.and(alpaca::updated_bars(symbols)),
                Channel::DailyBars => topics.and(alpaca::daily_bars(symbols)),
                Channel::Statuses => topics.and(alpaca::statuses(symbols)),
                Channel::Lulds => topics.and(alpaca::lulds(symbols)),
                Channel::Imbalances => topics.and(alpaca::imbalances(symbols)),
                Channel::Orderbooks => topics.and(alpaca::orderbooks(symbols)),
                Channel::Pricing => topics.and(alpaca::pricing(symbols)),
                Channel::News => topics.and(alpaca::news_about(symbols)),
            })
    }
}
