//! The same through trunkline: any number of threads, each with a subscription of its own.

use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use trunkline::{
    Config, Credentials, Manager, MarketEvent, Overflow, Subscription, Topics, Update,
    alpaca::{self, Feed},
};

use crate::{
    Workload,
    meter::{self, Figures},
    ready,
    workload::{SYMBOLS, sent_at, symbol},
};

const LONG: Duration = Duration::from_secs(20);

/// What each subscriber asks for.
#[derive(Clone, Copy)]
pub enum Each {
    Everything,
    OneSymbol,
}

pub fn shared(
    port: u16,
    workload: &Workload,
    subscribers: usize,
    each: Each,
    linger: Duration,
) -> Result<Figures> {
    let mut config = Config::default();
    config.linger = linger;
    let manager = Manager::with_config(config)?;
    let endpoint = format!("ws://127.0.0.1:{port}/v2/iex").parse()?;
    let venue = alpaca::stocks(Feed::Iex).at(endpoint);
    let feed = manager.open(&venue, &Credentials::new("PKBENCH", "not-a-secret")?)?;
    feed.wait_live(LONG)?;
    let subscriptions = (0..subscribers)
        .map(|number| {
            let symbol = match each {
                Each::Everything => "*".to_owned(),
                Each::OneSymbol => symbol(number % SYMBOLS),
            };
            let topics = Topics::<MarketEvent>::mixed()
                .and(alpaca::quotes([&symbol]))
                .and(alpaca::trades([&symbol]))
                // Whoever falls behind is not let off: every event has to be received.
                .queue(workload.messages, Overflow::End);
            let subscription = feed.subscribe(topics)?;
            subscription.wait_confirmed(LONG)?;
            Ok(subscription)
        })
        .collect::<Result<Vec<_>>>()?;
    let wanted = match each {
        Each::Everything => workload.messages,
        Each::OneSymbol => workload.messages / SYMBOLS,
    };
    // The threads run before anything is measured.
    let started = Arc::new(Barrier::new(subscribers + 1));
    let threads: Vec<_> = subscriptions
        .into_iter()
        .map(|subscription| {
            let (started, workload) = (Arc::clone(&started), *workload);
            thread::spawn(move || {
                let mut latencies = Vec::with_capacity(workload.latencies());
                started.wait();
                let first = receive(&subscription, wanted, &workload, &mut latencies)?;
                // It goes when all is measured.
                Ok::<_, anyhow::Error>((first, latencies, subscription))
            })
        })
        .collect();
    started.wait();
    let meter = ready();
    let received = threads
        .into_iter()
        .map(|thread| thread.join().expect("a consumer does not panic"))
        .collect::<Result<Vec<_>>>()?;
    let first = received.iter().map(|(first, ..)| *first).min();
    let latencies = received
        .iter()
        .flat_map(|(_, latencies, _)| latencies)
        .copied()
        .collect();
    Ok(meter.stop(workload.messages, first.unwrap_or_default(), latencies))
}

/// Receives so many events, all that there are, and says when the first came.
fn receive(
    subscription: &Subscription<MarketEvent>,
    wanted: usize,
    workload: &Workload,
    latencies: &mut Vec<u64>,
) -> Result<u64> {
    let (mut first, mut got) = (0, 0);
    for update in subscription {
        match update {
            Update::Event(event) => {
                if got == 0 {
                    first = meter::now();
                }
                got += 1;
                if let MarketEvent::Trade(trade) = &*event
                    && workload.rate.is_some()
                {
                    latencies
                        .push(meter::now().saturating_sub(sent_at(trade.id.unwrap_or_default())));
                }
                black_box(event);
                if got == wanted {
                    return Ok(first);
                }
            }
            Update::Notice(_) => {}
            loss => bail!("an event was lost: {loss:?}"),
        }
    }
    bail!("ended after {got} events")
}
