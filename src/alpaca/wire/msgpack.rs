//! Frames in MessagePack: where their items are, and how they are shown to people.
//!
//! A frame says ahead how much it holds. None of that is believed before it is there: the end of each item is found
//! first, without recursion and without memory, and only whole items are read.

pub(super) mod notation;
pub(super) mod token;

use self::token::{Token, skip, token};
use super::{
    Item,
    field::{Fields, ItemReading},
    value::Raw,
};
use crate::event::Unparsed;

pub(super) fn items(
    frame: &[u8],
    scanned: usize,
    each: &mut impl FnMut(Result<Item<'_>, Unparsed>),
) {
    let (count, mut rest) = match token(frame) {
        Some((Token::Array(count), items)) => (count, items),
        // A bare map, as with JSON.
        Some((Token::Map(_), _)) => (1, frame),
        // Another encoding, perhaps: what the bytes would mean in this one helps nobody.
        _ => {
            let raw = notation::of_bytes(frame);
            return each(Err(Unparsed::new(raw.as_bytes(), "no array of messages")));
        }
    };
    for index in 0..count {
        let Some(after) = skip(rest) else {
            // Of the four thousand million items that a frame may claim, this is the first that is not there.
            let why = format_args!("the frame ends in item {} of {count}", index + 1);
            let mended = mended(rest);
            return each(match &mended {
                Some(item) => Ok(one(item)),
                None => Err(unparsed(rest, why)),
            });
        };
        if index as usize >= scanned {
            each(Ok(one(&rest[..rest.len() - after.len()])));
        }
        rest = after;
    }
    if !rest.is_empty() {
        each(Err(unparsed(rest, "behind the end of the frame")));
    }
}

fn one(item: &[u8]) -> Item<'_> {
    Item {
        raw: Raw::MessagePack(item),
        was_mended: false,
    }
}

fn unparsed(raw: &[u8], why: impl std::fmt::Display) -> Unparsed {
    Unparsed::new(notation::of(raw).as_bytes(), why)
}

/// A subscription's state whose map claims more pairs than there are, and ends the frame behind a whole one: what the
/// overnight feed was seen to send. What is there is meant.
fn mended(item: &[u8]) -> Option<Vec<u8>> {
    let Some((Token::Map(_), pairs)) = token(item) else {
        return None;
    };
    let mut rest = pairs;
    let mut count: u16 = 0;
    while !rest.is_empty() {
        rest = skip(rest).and_then(skip)?;
        count = count.checked_add(1)?;
    }
    const MAP16: u8 = 0xde;
    let mut whole = vec![MAP16];
    whole.extend(count.to_be_bytes());
    whole.extend(pairs);
    let fields = Fields::of(Raw::MessagePack(&whole)).ok()?;
    let is_state = fields.word("T", &ItemReading::default()).ok()? == "subscription";
    is_state.then_some(whole)
}
