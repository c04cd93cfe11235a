//! Several subscriptions on one thread: `cargo run --example select`

mod common;

use std::{io, io::Write as _, process::ExitCode};

use clap::Parser;
use trunkline::{Manager, Update, alpaca, select};

/// Prints quotes and trades as they come, from one thread that waits for both.
///
/// Ctrl-C ends it, and prints how many there were. Exit code: 1 on an error, 2 when the arguments make no sense.
#[derive(Parser)]
struct Arguments {
    /// Stop after N seconds. By default at Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    #[command(flatten)]
    stocks: common::Stocks,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (stopped, time_is_up) = (common::ctrl_c()?, common::after(arguments.seconds));
    let (symbols, (venue, credentials, _sim)) =
        (arguments.stocks.symbols(), arguments.stocks.open()?);
    let feed = Manager::new().open(&venue, &credentials)?;
    let quotes = feed.subscribe(alpaca::quotes(&symbols))?;
    let trades = feed.subscribe(alpaca::trades(&symbols))?;
    let (mut quoted, mut traded, mut out) = (0, 0, io::stdout());
    loop {
        select! {
            // What comes through `ready` says that there is something: `drain` takes all of it, and never waits.
            recv(quotes.ready()) -> _ => for update in quotes.drain() {
                match update {
                    Update::Event(quote) => {
                        quoted += 1;
                        writeln!(out, "{:<6} bid {} ask {}", quote.symbol, quote.bid_price, quote.ask_price)?;
                    }
                    Update::Ended(end) => return Ok(end.into_result().map(|()| ExitCode::SUCCESS)?),
                    Update::Notice(notice) => common::progress(&notice),
                    // The newest quote is all that counts here, and it comes. Trades are another matter:
                    Update::Gap(_) | Update::Dropped(_) => {}
                }
            },
            recv(trades.ready()) -> _ => for update in trades.drain() {
                // An error wherever events may be missing.
                match update.strict() {
                    Ok(Some(trade)) => {
                        traded += 1;
                        if let Some(trade) = trade.trade() {
                            writeln!(out, "{:<6} traded {} at {}", trade.symbol, trade.size, trade.price)?;
                        }
                    }
                    Ok(None) => {}
                    Err(loss) => writeln!(out, "{loss}")?,
                }
            },
            recv(stopped) -> _ => break,
            recv(time_is_up) -> _ => break,
        }
    }
    writeln!(out, "{quoted} quotes and {traded} trades")?;
    Ok(ExitCode::SUCCESS)
}
