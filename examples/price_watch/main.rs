//! The price now, and how old it is: bid, ask, last and spread of a few symbols, in place.
//!
//! `cargo run --example price_watch`, or with your own account `cargo run --example price_watch -- --live`

#[path = "../common/mod.rs"]
mod common;
mod screen;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use trunkline::{
    EndReason, ErrorKind, Manager, Phase, PriceBook, StreamHandle,
    alpaca::MarketData,
    crossbeam_channel as channel,
    price::{Obstacle, Reading},
    select,
};

use self::screen::Row;

/// Shows bid, ask, last, spread and age of a few symbols in a table that refreshes in place; as plain lines where
/// standard output is no terminal.
///
/// Exit code: 0 when the time is up, on `q` and on Ctrl-C; 1 on an error; 2 when the arguments make no sense.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Stop after N seconds. By default at Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many milliseconds old a price may be before it is called stale.
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    max_age: u64,
    #[command(flatten)]
    stocks: common::Stocks,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let symbols = arguments.stocks.symbols();
    let (venue, credentials, _sim) = arguments.stocks.open()?;
    let feed = Manager::new().open(&venue, &credentials)?;
    let watch = Watch {
        book: feed.price_book(&symbols)?,
        feed,
        symbols,
        max_age: Duration::from_millis(arguments.max_age),
    };
    if io::stdout().is_terminal() {
        let ended = watch.in_place(&mut ratatui::try_init()?, arguments.seconds);
        ratatui::try_restore()?;
        ended?;
    } else {
        watch.line_by_line(arguments.seconds)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Watch {
    feed: StreamHandle<MarketData>,
    book: PriceBook,
    symbols: Vec<String>,
    max_age: Duration,
}

impl Watch {
    #[allow(clippy::disallowed_methods, reason = "a program of its own")]
    fn in_place(
        &self,
        terminal: &mut ratatui::DefaultTerminal,
        seconds: Option<u64>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut first = 0_usize;
        while seconds.is_none_or(|seconds| started.elapsed() < Duration::from_secs(seconds)) {
            let (rows, line) = (self.rows()?, self.line());
            terminal.draw(|frame| screen::draw(frame, &rows, first, &line))?;
            if !event::poll(Duration::from_millis(100))? {
                continue;
            }
            let Event::Key(key) = event::read()? else {
                continue;
            };
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => break,
                // A terminal that hands on each key makes no signal of this one.
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => break,
                KeyCode::Up => first = first.saturating_sub(1),
                KeyCode::Down => first = (first + 1).min(self.symbols.len() - 1),
                _ => {}
            }
        }
        Ok(())
    }

    fn line_by_line(&self, seconds: Option<u64>) -> anyhow::Result<()> {
        let (stopped, time_is_up) = (common::ctrl_c()?, common::after(seconds));
        let refresh = channel::tick(Duration::from_millis(500));
        let mut out = io::stdout();
        writeln!(out, "{}", screen::HEADER)?;
        loop {
            select! {
                recv(refresh) -> _ => for row in self.rows()? {
                    writeln!(out, "{}", row.text())?;
                },
                recv(time_is_up) -> _ => return Ok(()),
                recv(stopped) -> _ => return Ok(()),
            }
        }
    }

    fn rows(&self) -> trunkline::Result<Vec<Row>> {
        if let Some(EndReason::Failed(error)) = self.feed.end_reason() {
            return Err(error);
        }
        Ok(self.symbols.iter().map(|symbol| self.row(symbol)).collect())
    }

    fn row(&self, symbol: &str) -> Row {
        let reading = self.book.quote(symbol, self.max_age);
        let state = match &reading {
            Reading::Fresh(_) => "",
            Reading::Stale(_) => "stale",
            Reading::Cut(_) => "cut",
            Reading::Missed(_) => "missed",
            Reading::Never(_) => {
                return Row::Nothing {
                    symbol: symbol.to_owned(),
                    why: self.why(symbol),
                };
            }
        };
        let (quote, trade) = (reading.value(), self.book.trade(symbol, self.max_age));
        Row::Prices {
            symbol: symbol.to_owned(),
            bid: or_dash(quote.and_then(|quote| quote.bid())),
            ask: or_dash(quote.and_then(|quote| quote.ask())),
            last: or_dash(trade.value().map(|trade| trade.price)),
            spread: or_dash(quote.and_then(|quote| quote.spread())),
            age: or_dash(quote.map(|quote| format!("{:.1?}", quote.age))),
            state,
        }
    }

    /// Why there is no quote: what stands in the way of the line, if something does, and else of the symbol.
    fn why(&self, symbol: &str) -> String {
        let error = match self.book.wait_fresh(symbol, self.max_age, Duration::ZERO) {
            Ok(quote) => return quote.to_string(),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::NoPrice {
                obstacle: Obstacle::Line { .. },
                cause,
                ..
            } => match cause {
                Some(cause) => common::brief(cause),
                None => "connecting".to_owned(),
            },
            ErrorKind::NoPrice {
                obstacle: closed @ Obstacle::MarketClosed { .. },
                ..
            } => closed.to_string(),
            ErrorKind::NoPrice { missing, .. } | ErrorKind::NotFresh { missing, .. } => {
                missing.lack.to_string()
            }
            _ => common::brief(&error),
        }
    }

    /// How the line is.
    fn line(&self) -> String {
        let health = self.feed.health();
        match (health.phase, health.cause) {
            (Phase::Live, _) => format!("live, {} events", health.counters.events),
            (phase, None) => phase.to_string(),
            (phase, Some(cause)) => format!("{phase}: {cause}"),
        }
    }
}

fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
