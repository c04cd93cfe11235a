//! What becomes of orders, and what to do when the line broke: `cargo run --example orders`

mod common;

use std::{io, io::Write as _, process::ExitCode, time::Duration};

use clap::Parser;
use trunkline::sim::{Sim, SimConfig};
use trunkline::{Declared, Manager, Notice, Update, alpaca, alpaca::Account, order::Side, select};

/// A simulator fills an order, cuts the line, and fills another one: what a bot is told, and what it has to do.
///
/// Exit code: 0 when the story is over or at Ctrl-C, 1 on an error, 2 when the arguments make no sense.
#[derive(Parser)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    common::exit(run())
}

fn run() -> anyhow::Result<ExitCode> {
    let (stopped, mut out) = (common::ctrl_c()?, io::stdout());
    let sim = Sim::start(SimConfig::default())?;
    sim.pause_data(); // its own orders, which place themselves
    let account = Manager::new().open(&sim.order_updates(), &sim.credentials())?;
    let orders = account.subscribe(alpaca::orders())?;
    orders.wait_confirmed(Duration::from_secs(10))?;
    // Every fill is seen from here on. So now, and not before: ask REST for open orders and positions, then trade.
    sim.fill("AAPL", Side::Buy, 100.into(), 150.into());

    let (mut fills, mut breaks) = (0, 0);
    while fills < 2 {
        select! {
            recv(orders.ready()) -> _ => for update in orders.drain() {
                match update {
                    Update::Event(update) => {
                        let Some(fill) = update.fill() else { continue };
                        fills += 1;
                        let position = fill.position_qty.unwrap_or_default();
                        writeln!(out, "filled: {} at {}, position {position}", fill.qty, fill.price)?;
                        if breaks == 0 {
                            sim.cut();
                        }
                    }
                    // A fill may come now that nobody tells of: place no order until it is known what was missed.
                    Update::Gap(gap) => {
                        breaks += gap.breaks;
                        writeln!(out, "the line broke: no orders until I know my position")?;
                    }
                    // New fills are seen again, so now REST can be asked: of orders those that are open, and by their ids
                    // those that were. `after=` would not do: it goes by when an order was placed.
                    Update::Notice(Declared { what: Notice::Resumed { .. }, .. }) => {
                        writeln!(out, "it is back: GET {}/v2/orders", Account::Paper.rest_url())?;
                        sim.fill("AAPL", Side::Sell, 40.into(), 151.into());
                    }
                    Update::Notice(notice) => common::progress(&notice),
                    Update::Dropped(_) => {} // never of orders: a reader that is too slow is ended
                    Update::Ended(end) => return Ok(end.into_result().map(|()| ExitCode::SUCCESS)?),
                }
            },
            recv(stopped) -> _ => break,
        }
    }
    writeln!(out, "{fills} fills, {breaks} break of the line")?;
    Ok(ExitCode::SUCCESS)
}
