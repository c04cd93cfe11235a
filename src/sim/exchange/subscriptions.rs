//! What a request changes, and what it is answered: the whole state, or a refusal that changes nothing.

use std::collections::BTreeSet;

use super::{
    ConnectionId, Exchange, Market, Moment, Path, Subscriptions,
    market::FAKEPACA,
    message,
    refusal::{FOREIGN_CHANNEL, INVALID_SYNTAX, NO_STAR_QUOTES, Refusal, SYMBOL_LIMIT},
};
use crate::{
    alpaca::{
        Codec,
        wire::server::{self, RequestLists},
    },
    market::{ORDERBOOKS, QUOTES, Symbol, TRADES},
    sim::{LimitCounts, path::is_well_formed},
    topic::Channel,
};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Change {
    Add,
    Remove,
}

/// What is odd about a reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Oddity {
    /// Lists without a symbol are nil.
    Nil,
    /// The message ends after two lists, and its header counts all of them.
    Short,
}

impl Exchange {
    /// All of a request or, where anything in it is wrong, nothing.
    pub(super) fn change(
        &mut self,
        at: Moment,
        id: ConnectionId,
        lists: &RequestLists,
        change: Change,
    ) {
        self.stats.requests += 1;
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (path, codec) = (connection.path, connection.codec);
        let held = &connection.subscriptions;
        let refused = check(path, lists, change).and_then(|asked| {
            let fits = change == Change::Remove || self.fits(held, &asked);
            if fits { Ok(asked) } else { Err(SYMBOL_LIMIT) }
        });
        let asked = match refused {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(id, refusal),
        };
        let oddity = self.waiting.reply.take();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // In order, so that the same requests make the same market.
        let mut new = BTreeSet::new();
        for (channel, symbol) in asked {
            let held = connection.subscriptions.entry(channel).or_default();
            match change {
                Change::Remove => drop(held.remove(symbol)),
                Change::Add if held.insert(symbol.clone()) => drop(new.insert((channel, symbol))),
                Change::Add => {}
            }
        }
        for (_, symbol) in &new {
            if symbol.as_str() != "*" {
                self.tape.list(symbol);
            } else if path.is_test() {
                self.tape.list(&FAKEPACA.into());
            }
        }
        let new_books = new.iter().filter(|(channel, _)| *channel == ORDERBOOKS);
        let new_books: Vec<Symbol> = new_books.map(|(_, symbol)| (*symbol).clone()).collect();
        connection
            .subscriptions
            .retain(|_, symbols| !symbols.is_empty());
        let state = full_state(path, codec, &connection.subscriptions, oddity);
        self.acknowledge(at, id, message(state, codec));
        self.send_whole_books(at, id, &new_books);
    }

    /// Whether the limit grants these beside what is held.
    fn fits(&self, held: &Subscriptions, asked: &[(Channel, &Symbol)]) -> bool {
        let Some(limit) = self.config.symbol_limit else {
            return true;
        };
        let held = held
            .iter()
            .flat_map(|(channel, symbols)| symbols.iter().map(move |symbol| (*channel, symbol)));
        let all = held.chain(asked.iter().copied());
        let counted = match self.config.limit_counts {
            LimitCounts::Pairs => all.collect::<BTreeSet<_>>().len(),
            LimitCounts::Symbols => all.map(|(_, symbol)| symbol).collect::<BTreeSet<_>>().len(),
        };
        counted <= limit
    }
}

/// What a request is for, or why it is refused.
fn check(
    path: Path,
    lists: &RequestLists,
    change: Change,
) -> Result<Vec<(Channel, &Symbol)>, Refusal> {
    let mut asked = Vec::new();
    for (name, symbols) in &lists.0 {
        let channels = path.channels().iter();
        let channel = channels
            .copied()
            .find(|channel| channel.name() == name)
            .ok_or(FOREIGN_CHANNEL)?;
        if !symbols.iter().all(is_well_formed) {
            return Err(INVALID_SYNTAX);
        }
        let has_star = symbols.iter().any(|symbol| symbol.as_str() == "*");
        if has_star && path.market == Market::Options && channel == QUOTES && change == Change::Add
        {
            return Err(NO_STAR_QUOTES);
        }
        asked.extend(symbols.iter().map(|symbol| (channel, symbol)));
    }
    Ok(asked)
}

/// A reply: every channel of the feed, and those that come with trades unasked.
fn full_state(path: Path, codec: Codec, state: &Subscriptions, oddity: Option<Oddity>) -> Vec<u8> {
    let of = |channel: Channel| -> Option<Vec<&Symbol>> {
        let list: Vec<_> = state.get(&channel).into_iter().flatten().collect();
        let is_nil = list.is_empty() && matches!(oddity, Some(Oddity::Nil));
        (!is_nil).then_some(list)
    };
    let asked = path.channels().iter();
    let mut lists: Vec<_> = asked
        .map(|channel| (channel.name(), of(*channel)))
        .collect();
    let automatic = path.automatic().iter();
    lists.extend(automatic.map(|name| (*name, of(TRADES))));
    if !matches!(oddity, Some(Oddity::Short)) {
        return server::subscription(&lists, codec);
    }
    let all = lists.len();
    lists.truncate(2);
    let shown = lists.len();
    let mut frame = server::subscription(&lists, codec);
    if codec == Codec::MessagePack {
        // Behind the header of an array of one stands that of a map, whose low bits count its pairs: `T` and the lists.
        frame[1] += u8::try_from(all - shown).unwrap_or(0);
    }
    frame
}
