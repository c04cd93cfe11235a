//! A bot: strategies and a risk desk on threads of their own, which share two lines, and one way to end for all of it:
//! `cargo run --example bot`

#![allow(clippy::disallowed_methods, reason = "a program of its own")]
#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::{collections::HashMap, convert::Infallible, panic, thread, time::Duration};

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use trunkline::{
    Credentials, Decimal, Error, Manager, OrderUpdate, Quote, Subscription,
    alpaca::{self, Account, Feed},
    crossbeam_channel::{self as channel, Receiver},
    select,
    sim::{Sim, SimConfig},
};

/// A strategy for each symbol watches quotes, and a risk desk watches fills. Placing orders is left to you.
///
/// Ctrl-C, the end of the time, and a thread that fails or panics end it in the same good order. Exit code: 1 when a
/// thread failed or panicked, or nothing could be opened, and else 0.
#[derive(Parser)]
struct Arguments {
    /// Use Alpaca's paper account, with the keys in APCA_API_KEY_ID and APCA_API_SECRET_KEY. By default a simulator in
    /// this process, whose orders place themselves.
    #[arg(long)]
    paper: bool,
    /// For how long. By default until Ctrl-C.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    seconds: u64,
    /// What each strategy is to do at its tenth quote.
    #[arg(long, value_parser = ["fail", "panic"])]
    trouble: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (interrupt, interrupted) = channel::bounded(1);
    ctrlc::set_handler(move || interrupt.try_send(()).unwrap_or_default())?;
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
    let start = |name, work: Work| {
        let tell = tell.clone();
        thread::spawn(move || {
            let outcome = panic::catch_unwind(panic::AssertUnwindSafe(work));
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("it panicked")));
            tell.send((name, outcome))
        });
    };
    let orders = account.subscribe(alpaca::orders())?;
    let (quotes, until) = (feed.subscribe(alpaca::quotes(SYMBOLS))?, stopped.clone());
    start("risk", Box::new(move || risk(&orders, &quotes, &until)));
    for symbol in SYMBOLS {
        let quotes = feed.subscribe(alpaca::quotes([symbol]).conflate())?;
        let (until, trouble) = (stopped.clone(), arguments.trouble.clone());
        let work = move || strategy(&quotes, &until, &trouble);
        start(symbol, Box::new(work));
    }
    drop(tell);

    let first = select! {
        recv(outcomes) -> first => Some(first?),
        recv(interrupted) -> _ => None,
        recv(time_is_up) -> _ => None,
    };
    drop(stop);
    let mut result = Ok(());
    // Every thread says how it ended, one that panics too. There is nothing more to come when the last has.
    for (name, outcome) in first.into_iter().chain(&outcomes) {
        match &outcome {
            Ok(()) => println!("{name} has ended"),
            Err(error) => println!("{name} has failed: {error}"),
        }
        result = result.and(outcome);
    }
    let ended = manager.shutdown(WAIT);
    ended.iter().for_each(|line| println!("{line}"));
    result
}

const SYMBOLS: [&str; 2] = ["AAPL", "MSFT"];
const WAIT: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() -> Result<()> + Send>;
type Stopped = Receiver<Infallible>;
type Quotes = Subscription<Quote>;

/// Says when the bid is higher than ever before.
fn strategy(quotes: &Quotes, stopped: &Stopped, trouble: &Option<String>) -> Result<()> {
    let (mut highest, mut seen) = (Decimal::ZERO, 0);
    loop {
        select! {
            recv(quotes.ready()) -> _ => for update in quotes.drain() {
                // What is missing is nothing to one that wants the newest quote and no other.
                let Some(quote) = update.event()? else { continue };
                seen += 1;
                ensure!(seen < 10 || trouble.as_deref() != Some("fail"), "told to fail");
                assert!(seen < 10 || trouble.as_deref() != Some("panic"), "told to panic");
                if quote.bid_price > highest {
                    highest = quote.bid_price;
                    println!("higher than ever: {}", quote.data);
                }
            },
            recv(stopped) -> _ => return Ok(()),
        }
    }
}

/// Watches what each fill makes of a position, and what that is worth.
fn risk(orders: &Subscription<OrderUpdate>, quotes: &Quotes, stopped: &Stopped) -> Result<()> {
    // From here on no fill is missed in silence. Ask REST for open orders and positions now, and not before: a fill between
    // the two would be missed. Whoever places orders begins after that.
    orders.wait_confirmed(WAIT)?;
    let mut bids = HashMap::new();
    loop {
        select! {
            recv(orders.ready()) -> _ => for update in orders.drain() {
                let update = match update.strict() {
                    Ok(Some(update)) => update,
                    Ok(None) => continue,
                    // A fill may be missing. Ask REST for open orders and positions here, and go on.
                    Err(error @ Error::Missed { .. }) => {
                        println!("{error}: {}", error.remedy());
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                if let Some(qty) = update.fill().and_then(|fill| fill.position_qty) {
                    let bid = bids.get(&update.order.symbol).copied().unwrap_or_default();
                    println!("{}, worth {}", update.data, qty * bid);
                }
            },
            recv(quotes.ready()) -> _ => for update in quotes.drain() {
                let Some(quote) = update.event()? else { continue };
                bids.insert(quote.symbol.clone(), quote.bid_price);
            },
            recv(stopped) -> _ => return Ok(()),
        }
    }
}
