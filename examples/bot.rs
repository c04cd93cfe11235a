//! A bot: strategies and a risk desk on threads of their own, which share two lines, and one way to end for all of it:
//! `cargo run --example bot`

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

mod common;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    panic,
    process::ExitCode,
    sync::{Arc, Once},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use trunkline::{
    Decimal, Declared, ErrorKind, Manager, Notice, OrderUpdate, Quote, Subscription, Symbol,
    Update,
    alpaca::{self, Account, Feed},
    crossbeam_channel as channel, select,
    sim::{Sim, SimConfig},
};

/// A strategy for each symbol watches quotes, and a risk desk watches fills. Placing orders is left to you.
///
/// Ctrl-C, the end of the time, and a thread that fails or panics end it in the same good order. Exit code: 1 when a
/// thread failed or panicked, or nothing could be opened, 2 when the arguments make no sense, and else 0.
#[derive(Parser)]
struct Arguments {
    /// Use Alpaca's paper account, with the keys in APCA_API_KEY_ID and APCA_API_SECRET_KEY. By default a simulator in
    /// this process, whose orders place themselves.
    #[arg(long)]
    paper: bool,
    /// Stop after N seconds. By default at Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// What each strategy is to do at its tenth quote.
    #[arg(long, value_parser = ["fail", "panic"])]
    trouble: Option<String>,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let sim = Sim::start(SimConfig::default())?;
    let (mut stocks, mut orders) = (sim.stocks(), sim.order_updates());
    let mut credentials = sim.credentials();
    if arguments.paper {
        stocks = alpaca::stocks(Feed::Iex).account(Account::Paper);
        orders = alpaca::order_updates(Account::Paper);
        credentials = common::of_environment()?;
    }
    let manager = Manager::new();
    // However this function is left, both lines are closed in good order.
    let _guard = manager.shutdown_guard(WAIT);
    let feed = manager.open(&stocks, &credentials)?;
    let account = manager.open(&orders, &credentials)?;

    // A shutdown is the one way to stop: every subscription ends, and so does every thread that reads one. Whoever comes
    // second waits for the first.
    let (once, stopped) = (Arc::new(Once::new()), manager.clone());
    let stop = move || {
        once.call_once(|| {
            // Where nobody reads any more, it is closed all the same.
            let ended = stopped.shutdown(WAIT);
            let _ = ended.into_iter().try_for_each(say);
        });
    };
    ctrlc::set_handler(stop.clone())?;

    let (tell, outcomes) = channel::unbounded();
    let start = |name: &'static str, work: Work| {
        let tell = tell.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(move || {
            let outcome = panic::catch_unwind(panic::AssertUnwindSafe(work));
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("it panicked")));
            tell.send((name, outcome))
        })
    };
    let orders = account.subscribe(alpaca::orders())?;
    let quotes = feed.subscribe(alpaca::quotes(SYMBOLS))?;
    start("risk", Box::new(move || risk(&orders, &quotes)))?;
    for symbol in SYMBOLS {
        let quotes = feed.subscribe(alpaca::quotes([symbol]).conflate())?;
        let trouble = arguments.trouble.clone();
        start(symbol, Box::new(move || strategy(&quotes, &trouble)))?;
    }
    drop(tell);

    let time_is_up = common::after(arguments.seconds);
    let first = select! {
        recv(outcomes) -> first => Some(first?),
        recv(time_is_up) -> _ => None,
    };
    stop();
    // Every thread says how it ended, one that panics too. There is nothing more to come when the last has.
    let mut result = Ok(ExitCode::SUCCESS);
    for (name, outcome) in first.into_iter().chain(outcomes) {
        match &outcome {
            Ok(()) => say(format_args!("{name} has ended"))?,
            Err(error) => say(format_args!("{name} has failed: {error}"))?,
        }
        result = result.and_then(|code| outcome.map(|()| code));
    }
    result
}

const SYMBOLS: [&str; 2] = ["AAPL", "MSFT"];
const WAIT: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() -> Result<()> + Send>;

/// Says when the bid is higher than ever before.
fn strategy(quotes: &Subscription<Quote>, trouble: &Option<String>) -> Result<()> {
    let (mut highest, mut seen) = (Decimal::ZERO, 0);
    for update in quotes {
        // What is missing is nothing to one that wants the newest quote and no other.
        let Some(quote) = update.event()? else {
            continue;
        };
        seen += 1;
        ensure!(
            seen < 10 || trouble.as_deref() != Some("fail"),
            "told to fail"
        );
        assert!(
            seen < 10 || trouble.as_deref() != Some("panic"),
            "told to panic"
        );
        if quote.bid_price > highest {
            highest = quote.bid_price;
            say(format_args!(
                "{:<6} higher than ever: {highest}",
                quote.symbol
            ))?;
        }
    }
    Ok(())
}

/// Watches what each fill makes of a position, and what that is worth.
fn risk(orders: &Subscription<OrderUpdate>, quotes: &Subscription<Quote>) -> Result<()> {
    let mut bids: HashMap<Symbol, Option<Decimal>> = HashMap::new();
    loop {
        select! {
            recv(orders.ready()) -> _ => for update in orders.drain() {
                match &update {
                    // From here on no fill is missed in silence. Ask REST for open orders and positions now, and not before: a
                    // fill between the two would be missed. Whoever places orders begins after that.
                    Update::Notice(Declared { what: Notice::Confirmed { .. }, .. }) => say("fills are seen from here on")?,
                    Update::Notice(notice) => common::progress(notice),
                    Update::Ended(end) => return Ok(end.clone().into_result()?),
                    _ => {}
                }
                let update = match update.strict() {
                    Ok(Some(update)) => update,
                    Ok(None) => continue,
                    // A fill may be missing. Ask REST for open orders and positions here, and go on.
                    Err(error) if matches!(error.kind(), ErrorKind::Missed { .. }) => {
                        say(error)?;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let Some((fill, position)) = update.fill().and_then(|fill| Some((fill, fill.position_qty?))) else {
                    continue;
                };
                let symbol = &update.order.symbol;
                // The account may hold what nobody here watches. From now on it is watched.
                let bid = *bids.entry(symbol.clone()).or_insert_with(|| {
                    let _ = quotes.add(alpaca::quotes([symbol]));
                    None
                });
                let worth = match bid {
                    Some(bid) => (position * bid).to_string(),
                    None => "unknown".to_owned(),
                };
                say(format_args!("{symbol:<6} {} @ {}, position {position}, worth {worth}", fill.qty, fill.price))?;
            },
            recv(quotes.ready()) -> _ => for update in quotes.drain() {
                if let Update::Notice(notice) = &update { common::progress(notice) }
                let Some(quote) = update.event()? else { continue };
                bids.insert(quote.symbol.clone(), Some(quote.bid_price));
            },
        }
    }
}

fn say(text: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
