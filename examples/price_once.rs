//! One price, for a script: `price=$(cargo run -q --example price_once -- AAPL) || exit`

mod common;

use std::{io, io::Write as _, process::ExitCode, time::Duration, time::Instant};

use clap::Parser;
use trunkline::{ErrorKind, Manager};

/// Prints the price of one symbol, and nothing else, and ends.
///
/// It is the middle of bid and ask, or else the last trade. Exit code: 0 with a price; 1 on an error; 2 when the arguments make
/// no sense; 3 when there was no price in time. Why stands on standard error.
#[derive(Parser)]
struct Arguments {
    /// The symbol, in capitals.
    symbol: String,
    /// How many seconds to wait for it.
    #[arg(long, value_name = "N", default_value_t = 10)]
    within: u64,
    /// How many milliseconds old it may be.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    max_age: u64,
    #[command(flatten)]
    source: common::Source,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

#[allow(clippy::disallowed_methods, reason = "a program of its own")]
fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let symbol = &arguments.symbol;
    let (venue, credentials, _sim) = arguments.source.open(&[symbol])?;
    let feed = Manager::new().open(&venue, &credentials)?;
    let book = feed.price_book([symbol])?;

    let max_age = Duration::from_millis(arguments.max_age);
    let (started, within) = (Instant::now(), Duration::from_secs(arguments.within));
    loop {
        // In pieces, so that it can say in between why it takes so long.
        let left = within.saturating_sub(started.elapsed());
        match book.wait_price(symbol, max_age, left.min(PIECE)) {
            Ok(price) => {
                writeln!(io::stdout(), "{}", price.price)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => match error.kind() {
                ErrorKind::NoPrice {
                    cause: Some(cause), ..
                } if left > PIECE => eprintln!("connecting: {}", common::brief(cause)),
                ErrorKind::NoPrice {
                    missing, obstacle, ..
                } if left > PIECE => eprintln!("{missing}; {obstacle}"),
                ErrorKind::NoPrice { .. } => {
                    eprintln!("{error:?}");
                    return Ok(ExitCode::from(3));
                }
                _ => return Err(error.into()),
            },
        }
    }
}

const PIECE: Duration = Duration::from_secs(1);
