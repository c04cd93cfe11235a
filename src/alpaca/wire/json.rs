//! Frames in JSON: where their items are.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Incoming, Item, read_item};
use crate::event::Unparsed;

pub(super) fn decode(
    frame: &[u8],
    scanned: usize,
    each: &mut impl FnMut(Result<Incoming, Unparsed>),
) {
    match std::str::from_utf8(frame) {
        Ok(text) => split(text, scanned, |item| {
            each(item.and_then(|item| {
                read_item(Json(item)).map_err(|why| Unparsed::new(item.as_bytes(), why))
            }));
        }),
        // In a binary frame. Only the items that are no text are lost.
        Err(error) => split(&String::from_utf8_lossy(frame), scanned, |item| {
            each(item.and_then(|item| {
                if item.contains(char::REPLACEMENT_CHARACTER) {
                    return Err(Unparsed::new(item.as_bytes(), error));
                }
                read_item(Json(item)).map_err(|why| Unparsed::new(item.as_bytes(), why))
            }));
        }),
    }
}

/// Hands out the items of a frame behind the first `scanned`, and what stands behind a broken place in it.
fn split(text: &str, scanned: usize, mut each: impl FnMut(Result<&str, Unparsed>)) {
    // A bare object is what some mock servers send; the venue itself always sends arrays.
    if text.trim_ascii_start().starts_with('{') {
        return each(Ok(text));
    }
    let mut read_to = 0;
    let mut index = 0;
    let mut items = |item: &str| {
        // A pointer into `text`: the item was borrowed from it.
        read_to = item.as_ptr() as usize - text.as_ptr() as usize + item.len();
        if index >= scanned {
            each(Ok(item));
        }
        index += 1;
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let whole = Items(&mut items)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Err(error) = whole {
        each(Err(Unparsed::new(&text.as_bytes()[read_to..], error)));
    }
}

/// Walks the outer array without keeping its items: they are handed out while the rest is still unread.
struct Items<F>(F);

impl<'de, F: FnMut(&'de str)> DeserializeSeed<'de> for Items<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Items<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            (self.0)(item.get());
        }
        Ok(())
    }
}

/// The text of one item.
#[derive(Clone, Copy)]
pub(super) struct Json<'a>(pub(super) &'a str);

impl Item for Json<'_> {
    type Error = serde_json::Error;

    fn kind(self) -> Result<impl AsRef<str>, Self::Error> {
        // Nearly always in front, but nothing promises it.
        if let Some((kind, _)) = self
            .0
            .strip_prefix(r#"{"T":""#)
            .and_then(|rest| rest.split_once('"'))
            && !kind.contains('\\')
        {
            return Ok(Cow::Borrowed(kind));
        }
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(rename = "T", borrow)]
            kind: Cow<'a, str>,
        }
        serde_json::from_str::<Head<'_>>(self.0).map(|head| head.kind)
    }

    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error> {
        serde_json::from_str(self.0)
    }
}
