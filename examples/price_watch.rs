//! The price now, and how old it is: bid, ask, last and spread of a few symbols, in place.
//!
//! `cargo run --example price_watch`, or with your own account `cargo run --example price_watch -- --live`

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use clap::Parser;
use trunkline::{
    Credentials, EndReason, Manager, PriceBook, Reading, Symbol,
    alpaca::{self, Feed},
    crossbeam_channel as channel, select,
    sim::{Sim, SimConfig},
};

/// Shows bid, ask, last, spread and age of a few symbols in a table that refreshes in place; as plain lines where
/// standard output is no terminal.
///
/// Against an embedded simulator, or with --live and the credentials in APCA_API_KEY_ID and APCA_API_SECRET_KEY.
/// Exit code: 0 when the time is up or on Ctrl-C, 1 on an error.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Which symbols.
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "AAPL,MSFT,NVDA"
    )]
    symbols: Vec<String>,
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// How old a price may be before it is called stale.
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    max_age: u64,
    /// Alpaca in the place of the simulator.
    #[arg(long)]
    live: bool,
    /// iex, sip, delayed_sip, boats, overnight or test.
    #[arg(long, default_value_t = Feed::Iex)]
    feed: Feed,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (stop, stopped) = channel::bounded(1);
    ctrlc::set_handler(move || {
        let _ = stop.try_send(());
    })?;
    let time_is_up = channel::after(Duration::from_secs(arguments.seconds));

    let venue = alpaca::stocks(arguments.feed);
    let (venue, credentials, _sim) = if arguments.live {
        (venue, Credentials::from_env()?, None)
    } else {
        let mut config = SimConfig::default();
        config.symbols = arguments.symbols.iter().map(Symbol::from).collect();
        let sim = Sim::start(config)?;
        let endpoint = sim.endpoint(arguments.feed.path());
        (venue.at(endpoint), sim.credentials(), Some(sim))
    };
    let feed = Manager::new().open(&venue, &credentials)?;
    let book = feed.prices(&arguments.symbols)?;

    let in_place = io::stdout().is_terminal();
    let refresh = channel::tick(Duration::from_millis(if in_place { 100 } else { 500 }));
    let header = "symbol          bid        ask       last   spread       age";
    let mut out = io::stdout().lock();
    writeln!(out, "{header}")?;
    let mut shown = false;
    loop {
        select! {
            recv(refresh) -> _ => {}
            recv(time_is_up) -> _ => return Ok(()),
            recv(stopped) -> _ => return Ok(()),
        }
        if in_place && shown {
            // Back up over the rows, to write each of them anew.
            write!(out, "\x1b[{}A", arguments.symbols.len())?;
        }
        for symbol in &arguments.symbols {
            let row = row(&book, symbol, Duration::from_millis(arguments.max_age));
            // Whatever is left of a longer row goes.
            writeln!(out, "{row}{}", if in_place { "\x1b[K" } else { "" })?;
        }
        out.flush()?;
        shown = true;
        if let Some(EndReason::Failed(error)) = feed.end_reason() {
            return Err(error.into());
        }
    }
}

fn row(book: &PriceBook, symbol: &str, max_age: Duration) -> String {
    let (quote, trade) = (book.quote(symbol, max_age), book.trade(symbol, max_age));
    let state = match &quote {
        Reading::Fresh(_) => String::new(),
        Reading::Stale(_) => "stale".to_owned(),
        Reading::Cut(_) => "the line broke".to_owned(),
        Reading::Missed(_) => "a later one could not be read".to_owned(),
        Reading::Never(why) => why.lack.to_string(),
    };
    let quote = quote.value();
    let bid = or_dash(quote.and_then(|quote| quote.bid()));
    let ask = or_dash(quote.and_then(|quote| quote.ask()));
    let last = or_dash(trade.value().map(|trade| trade.price));
    let spread = or_dash(quote.and_then(|quote| quote.spread()));
    let age = or_dash(quote.map(|quote| format!("{:.1?}", quote.age)));
    format!("{symbol:<8} {bid:>10} {ask:>10} {last:>10} {spread:>8} {age:>9}  {state}")
}

fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
