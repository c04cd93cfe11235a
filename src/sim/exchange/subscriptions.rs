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
        let changed = changed(path, &connection.subscriptions, lists, change)
            .and_then(|state| self.within_limit(&state, change).map(|()| state));
        let state = match changed {
            Ok(state) => state,
            Err(refusal) => return self.refuse(id, refusal),
        };
        for symbol in state.values().flatten() {
            if symbol.as_str() != "*" {
                self.tape.list(symbol);
            } else if path.is_test() {
                self.tape.list(&FAKEPACA.into());
            }
        }
        let oddity = self.waiting.reply.take();
        let reply = message(full_state(path, codec, &state, oddity), codec);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let before = connection.subscriptions.remove(&ORDERBOOKS);
        connection.subscriptions = state;
        let books = connection.subscriptions.get(&ORDERBOOKS).into_iter();
        let new_books: Vec<_> = books
            .flatten()
            .filter(|symbol| {
                before
                    .as_ref()
                    .is_none_or(|before| !before.contains(*symbol))
            })
            .cloned()
            .collect();
        self.acknowledge(at, id, reply);
        self.send_whole_books(at, id, &new_books);
    }

    fn within_limit(&self, state: &Subscriptions, change: Change) -> Result<(), Refusal> {
        let counted = match self.config.limit_counts {
            LimitCounts::Pairs => state.values().map(BTreeSet::len).sum(),
            LimitCounts::Symbols => state.values().flatten().collect::<BTreeSet<_>>().len(),
        };
        match self.config.symbol_limit {
            Some(limit) if change == Change::Add && counted > limit => Err(SYMBOL_LIMIT),
            _ => Ok(()),
        }
    }
}

/// What a request makes of the subscriptions, or why it is refused.
fn changed(
    path: Path,
    before: &Subscriptions,
    lists: &RequestLists,
    change: Change,
) -> Result<Subscriptions, Refusal> {
    let mut state = before.clone();
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
        let held = state.entry(channel).or_default();
        for symbol in symbols {
            match change {
                Change::Add => held.insert(symbol.clone()),
                Change::Remove => held.remove(symbol),
            };
        }
    }
    state.retain(|_, symbols| !symbols.is_empty());
    Ok(state)
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
