//! Frames in MessagePack: where their items are, and how they are shown to people.
//!
//! A frame says ahead how much it holds. None of that is believed before it is there: the end of each item is found
//! first, without recursion and without memory, and only whole items are read.

pub(super) mod notation;
pub(super) mod token;

use serde::de::{DeserializeOwned, Error as _};

use self::token::{Token, skip, token};
use super::{Incoming, Item, read_item};
use crate::event::Unparsed;

pub(super) fn decode(
    frame: &[u8],
    scanned: usize,
    each: &mut impl FnMut(Result<Incoming, Unparsed>),
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
            return each(match mended(rest) {
                Some(item) => one(&item),
                None => Err(unparsed(rest, why)),
            });
        };
        if index as usize >= scanned {
            each(one(&rest[..rest.len() - after.len()]));
        }
        rest = after;
    }
    if !rest.is_empty() {
        each(Err(unparsed(rest, "behind the end of the frame")));
    }
}

fn one(item: &[u8]) -> Result<Incoming, Unparsed> {
    read_item(MessagePack(item)).map_err(|why| unparsed(item, why))
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
    (MessagePack(&whole).kind().ok()? == "subscription").then_some(whole)
}

/// The bytes of one whole item.
#[derive(Clone, Copy)]
struct MessagePack<'a>(&'a [u8]);

impl<'a> MessagePack<'a> {
    fn kind(self) -> Result<&'a str, rmp_serde::decode::Error> {
        let missing = || rmp_serde::decode::Error::missing_field("T");
        let Some((Token::Map(pairs), mut rest)) = token(self.0) else {
            return Err(rmp_serde::decode::Error::custom("not a map"));
        };
        // Nearly always in front, but nothing promises it.
        for _ in 0..pairs {
            let (key, value) = token(rest).ok_or_else(missing)?;
            if let (Token::Str(b"T"), Some((Token::Str(kind), _))) = (key, token(value)) {
                return std::str::from_utf8(kind).map_err(rmp_serde::decode::Error::custom);
            }
            rest = skip(rest).and_then(skip).ok_or_else(missing)?;
        }
        Err(missing())
    }
}

impl Item for MessagePack<'_> {
    type Error = rmp_serde::decode::Error;

    fn kind(self) -> Result<impl AsRef<str>, Self::Error> {
        self.kind()
    }

    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(self.0);
        deserializer.set_max_depth(DEPTH);
        T::deserialize(&mut deserializer)
    }
}

/// How deep an item may be nested. What the venue sends is three deep.
const DEPTH: usize = 32;
