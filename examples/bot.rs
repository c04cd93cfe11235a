//! A bot: strategies and a risk desk on threads of their own, which share two lines, and one way to end for all of it:
//! `cargo run --example bot`

#![allow(
    clippy::disallowed_methods,
    reason = "an example has threads of its own"
)]

use std::{collections::HashMap, convert::Infallible, panic, thread, time::Duration};

use anyhow::{anyhow, ensure};
use clap::Parser;
use trunkline::{
    Credentials, Decimal, Manager, OrderUpdate, Quote, Subscription, Symbol, Update,
    alpaca::{self, Account, Feed},
    crossbeam_channel::{self as channel, Receiver, Sender},
    select,
    sim::{Sim, SimConfig},
};

/// A strategy for each symbol watches quotes, and a risk desk watches fills. Placing orders is left to you.
///
/// Ctrl-C, the end of the time, and a thread that fails or panics end it in the same good order. Exit code: 1 when a
/// thread failed or panicked, or nothing could be opened, and else 0.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Use Alpaca's paper account, with the keys in APCA_API_KEY_ID and APCA_API_SECRET_KEY. By default a simulator in
    /// this process, whose orders place themselves.
    #[arg(long)]
    paper: bool,
    #[arg(long, value_delimiter = ',', default_value = "AAPL,MSFT")]
    symbols: Vec<Symbol>,
    /// For how long. By default until Ctrl-C.
    #[arg(long, default_value_t = u64::MAX)]
    seconds: u64,
    /// At which of its quotes a strategy is to fail.
    #[arg(long, default_value_t = 0)]
    fail_at: u64,
    /// At which of its quotes a strategy is to panic.
    #[arg(long, default_value_t = 0)]
    panic_at: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (interrupt, interrupted) = channel::bounded(1);
    ctrlc::set_handler(move || drop(interrupt.try_send(())))?;
    let time_is_up = channel::after(Duration::from_secs(arguments.seconds));

    let sim = Sim::start(SimConfig::default())?;
    let (mut stocks, mut orders) = (sim.stocks(), sim.order_updates());
    let mut credentials = sim.credentials();
    if arguments.paper {
        stocks = alpaca::stocks(Feed::Iex).account(Account::Paper);
        orders = alpaca::order_updates(Account::Paper);
        credentials = Credentials::from_env()?;
    }
    let manager = Manager::new();
    // However this function is left, both lines are closed in good order.
    let _guard = manager.shutdown_guard(WAIT);
    let feed = manager.open(&stocks, &credentials)?;
    let account = manager.open(&orders, &credentials)?;

    // Nothing is sent on it: that `stop` is dropped is what the threads see.
    let (stop, stopped) = channel::bounded(0);
    let (tell, outcomes) = channel::unbounded();
    let fills = account.subscribe(alpaca::orders())?;
    let quotes = feed.subscribe(alpaca::quotes(&arguments.symbols).conflate())?;
    let until = stopped.clone();
    start("risk", &tell, move || risk(&fills, &quotes, &until));
    for symbol in &arguments.symbols {
        let quotes = feed.subscribe(alpaca::quotes([symbol]).conflate())?;
        let (until, trouble) = (stopped.clone(), (arguments.fail_at, arguments.panic_at));
        start(symbol, &tell, move || strategy(&quotes, &until, trouble));
    }
    drop(tell);

    let first = select! {
        recv(outcomes) -> first => Some(first?),
        recv(interrupted) -> _ => None,
        recv(time_is_up) -> _ => None,
    };
    drop(stop);
    let mut result = Ok(());
    // Every thread says how it ended, a panicking one too; there are no more when the last has.
    for (name, outcome) in first.into_iter().chain(&outcomes) {
        println!("{name} has ended: {outcome:?}");
        result = result.and(outcome);
    }
    for line in manager.shutdown(WAIT) {
        println!("{line}");
    }
    result
}

const WAIT: Duration = Duration::from_secs(10);

/// Runs `work` on a thread of its own, and tells what came of it.
fn start(
    name: &str,
    tell: &Sender<(String, anyhow::Result<()>)>,
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) {
    let (name, tell) = (name.to_owned(), tell.clone());
    thread::spawn(move || {
        let outcome = panic::catch_unwind(panic::AssertUnwindSafe(work));
        let _ = tell.send((
            name,
            outcome.unwrap_or_else(|_| Err(anyhow!("it panicked"))),
        ));
    });
}

/// Says when the price crosses its moving average.
fn strategy(
    quotes: &Subscription<Quote>,
    stopped: &Receiver<Infallible>,
    (fail_at, panic_at): (u64, u64),
) -> anyhow::Result<()> {
    let (mut average, mut above, mut seen) = (Decimal::ZERO, false, 0);
    loop {
        select! {
            recv(quotes.receiver()) -> delivery => for update in delivery? {
                // A gap is nothing to a strategy that wants the newest quote and no other.
                let Some(quote) = update.event()? else { continue };
                seen += 1;
                ensure!(seen != fail_at, "told to fail");
                assert!(seen != panic_at, "told to panic");
                average += (quote.bid_price - average) / Decimal::from(seen.min(20));
                if above != (quote.bid_price > average) {
                    above = !above;
                    println!("{} {}", if above { "above average:" } else { "below average:" }, quote.data);
                }
            },
            recv(stopped) -> _ => return Ok(()),
        }
    }
}

/// Knows the positions by the account's fills, and what they are worth by the market's quotes.
fn risk(
    orders: &Subscription<OrderUpdate>,
    quotes: &Subscription<Quote>,
    stopped: &Receiver<Infallible>,
) -> anyhow::Result<()> {
    // From here on no fill is missed: whoever places orders begins now.
    orders.wait_confirmed(WAIT)?;
    let (mut positions, mut prices) = (HashMap::new(), HashMap::new());
    loop {
        select! {
            recv(orders.receiver()) -> delivery => for update in delivery? {
                // A gap may have cost a fill, and is an error here: positions would be wrong from then on.
                let Some(update) = update.strict()? else { continue };
                if let Some(position) = update.fill().and_then(|fill| fill.position_qty) {
                    positions.insert(update.order.symbol.clone(), position);
                    let worth = |(symbol, qty)| Some(qty * *prices.get(symbol)?);
                    let worth: Decimal = positions.iter().filter_map(worth).sum();
                    println!("{}; all is worth {worth}", update.data);
                }
            },
            recv(quotes.receiver()) -> delivery => for update in delivery? {
                let Some(quote) = update.event()? else { continue };
                prices.insert(quote.symbol.clone(), quote.bid_price);
            },
            recv(stopped) -> _ => return Ok(()),
        }
    }
}
