//! MessagePack as people read it.
//!
//! Like JSON, as far as it goes: `{"T":"t","S":"KO","p":61.275}`. Bytes, extensions and whatever is broken stand as
//! `b"..."`, where printable ASCII stands for itself: a text inside them, such as a secret that is to be masked,
//! reads as that text.

use super::token::{Token, token};

/// The values in `bytes`, one after the other, cut somewhere behind what an [`Unparsed`](crate::event::Unparsed) shows.
pub(in crate::alpaca::wire) fn of(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    // The open arrays and maps: how many values they still claim.
    let mut open: Vec<Open> = Vec::new();
    while !rest.is_empty() && text.len() <= SHOWN {
        let Some((token, after)) = token(rest) else {
            write_bytes(&mut text, rest);
            return text;
        };
        rest = after;
        if open.is_empty() && !text.is_empty() {
            text.push(' ');
        }
        write(&mut text, token);
        match token {
            Token::Array(count) => open.push(Open::new(b']', u64::from(count))),
            Token::Map(count) => open.push(Open::new(b'}', 2 * u64::from(count))),
            _ => finish(&mut text, &mut open),
        }
        while open.last().is_some_and(|open| open.left == 0) {
            let closed = open.pop().map_or(' ', |open| char::from(open.end));
            text.push(closed);
            finish(&mut text, &mut open);
        }
    }
    text
}

/// All of `bytes` as bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    write_bytes(&mut text, bytes);
    text
}

struct Open {
    end: u8,
    left: u64,
}

impl Open {
    fn new(end: u8, left: u64) -> Self {
        Self { end, left }
    }
}

/// Behind a value: what separates it from the next.
fn finish(text: &mut String, open: &mut [Open]) {
    let Some(open) = open.last_mut() else {
        return;
    };
    open.left -= 1;
    if open.left > 0 {
        let is_key = open.end == b'}' && open.left % 2 == 1;
        text.push(if is_key { ':' } else { ',' });
    }
}

fn write(text: &mut String, token: Token<'_>) {
    match token {
        Token::Nil => text.push_str("null"),
        Token::Bool(value) => text.push_str(if value { "true" } else { "false" }),
        Token::Integer(value) => text.push_str(&value.to_string()),
        Token::Single(value) => text.push_str(&format!("{value:?}")),
        Token::Double(value) => text.push_str(&format!("{value:?}")),
        Token::Str(value) => match std::str::from_utf8(cut(value)) {
            Ok(value) => text.push_str(&serde_json::Value::from(value).to_string()),
            Err(_) => write_bytes(text, value),
        },
        Token::Bin(value) => write_bytes(text, value),
        Token::Ext(kind, value) => {
            text.push_str(&format!("ext({kind})"));
            write_bytes(text, value);
        }
        Token::Array(_) => text.push('['),
        Token::Map(_) => text.push('{'),
    }
}

fn write_bytes(text: &mut String, bytes: &[u8]) {
    text.push_str("b\"");
    for byte in cut(bytes) {
        if matches!(byte, b' '..=b'~') {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push('"');
}

/// Far more is not shown.
fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(SHOWN)]
}

/// As much as an [`Unparsed`](crate::event::Unparsed) keeps.
const SHOWN: usize = 4_096;
