//! A frame of data that is being filled.

use std::{mem, sync::Arc};

use super::{Market, message};
use crate::{
    alpaca::{Codec, wire::server},
    market::{Code, MarketEvent, Symbol, Timestamp, Trade},
    venue::Message,
};

#[derive(Debug)]
pub(super) struct Frame {
    codec: Codec,
    items: Vec<Arc<[u8]>>,
    good: usize,
    /// Faulty items that wait for good neighbors.
    odd: Vec<Arc<[u8]>>,
}

impl Frame {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            items: Vec::new(),
            good: 0,
            odd: Vec::new(),
        }
    }

    /// How many good items it has.
    pub(super) fn len(&self) -> usize {
        self.good
    }

    pub(super) fn push(&mut self, item: Arc<[u8]>) {
        self.items.push(item);
        self.good += 1;
        if self.good == 1 {
            // Odd items go behind the first good one.
            self.items.append(&mut self.odd);
        }
    }

    pub(super) fn push_odd(&mut self, item: Vec<u8>) {
        self.odd.push(item.into());
    }

    pub(super) fn finish(&mut self) -> Message {
        self.items.append(&mut self.odd);
        self.good = 0;
        let items = mem::take(&mut self.items);
        message(server::frame(&items, self.codec), self.codec)
    }
}

/// A trade without a price: what a venue's bug looks like.
pub(super) fn priceless(symbol: Symbol, utc: Timestamp, codec: Codec) -> Vec<u8> {
    let trade = MarketEvent::Trade(Trade {
        symbol,
        id: Some(0),
        exchange: "V".into(),
        price: 0.into(),
        size: 1.into(),
        taker_side: Code::default(),
        conditions: ["@"].into_iter().collect(),
        tape: "C".into(),
        update: Code::default(),
        timestamp: utc,
    });
    let item = server::event(&trade, Market::Stocks.feed(), codec);
    match codec {
        Codec::Json => replace(item, br#""p":0"#, br#""p":null"#),
        // A text of one letter, then a float of eight bytes; nil in its place.
        Codec::MessagePack => replace(item, b"\xa1p\xcb\0\0\0\0\0\0\0\0", b"\xa1p\xc0"),
    }
}

/// An item of a type that nobody knows.
pub(super) fn unknown(codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Json => br#"{"T":"zz","S":"AAPL","note":"a type that nobody knows"}"#.to_vec(),
        Codec::MessagePack => b"\x82\xa1T\xa2zz\xa1S\xa4AAPL".to_vec(),
    }
}

/// What is no message in any codec.
pub(super) fn garbage(codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Json => b"this is not JSON".to_vec(),
        // The one byte that MessagePack never uses.
        Codec::MessagePack => vec![0xc1],
    }
}

/// A frame of one trade without a price that stops in its middle.
pub(super) fn truncated(utc: Timestamp, codec: Codec) -> Vec<u8> {
    let item = priceless("AAPL".into(), utc, codec);
    let mut frame = server::frame(&[item], codec);
    frame.truncate(frame.len() / 2);
    frame
}

fn replace(bytes: Vec<u8>, what: &[u8], with: &[u8]) -> Vec<u8> {
    match bytes.windows(what.len()).position(|here| here == what) {
        Some(at) => [&bytes[..at], with, &bytes[at + what.len()..]].concat(),
        None => bytes,
    }
}
