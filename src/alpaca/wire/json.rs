//! Frames in JSON: where their items are.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Item, value::Raw};
use crate::event::Unparsed;

pub(super) fn items(
    frame: &[u8],
    scanned: usize,
    each: &mut impl FnMut(Result<Item<'_>, Unparsed>),
) {
    let text = String::from_utf8_lossy(frame);
    // In a binary frame. Only the fields that are no text are lost.
    let was_mended = matches!(text, Cow::Owned(_));
    split(&text, scanned, |item| {
        each(item.map(|item| Item {
            raw: Raw::Json(item),
            was_mended,
        }));
    });
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
pub(super) struct Items<F>(pub(super) F);

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
