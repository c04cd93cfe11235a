//! MessagePack as the JSON that it stands for. Updates are few, so that one reader for both is worth a copy.

use crate::alpaca::wire::{
    msgpack::token::{Token, token},
    time,
};

/// A whole frame; nothing where it is broken, too deep, or holds what JSON has not.
pub(super) fn to_json(frame: &[u8]) -> Option<String> {
    let mut json = String::new();
    let rest = value(frame, DEEPEST, &mut json)?;
    rest.is_empty().then_some(json)
}

/// Appends the first value in `bytes`, and gives what follows it.
fn value<'a>(bytes: &'a [u8], deeper: u8, json: &mut String) -> Option<&'a [u8]> {
    let (token, mut rest) = token(bytes)?;
    match token {
        Token::Nil => json.push_str("null"),
        Token::Bool(value) => json.push_str(if value { "true" } else { "false" }),
        Token::Integer(value) => json.push_str(&value.to_string()),
        Token::Float(value) if value.is_finite() => json.push_str(&format!("{value:?}")),
        Token::Str(text) => {
            let text = std::str::from_utf8(text).ok()?;
            json.push_str(&serde_json::Value::from(text).to_string());
        }
        Token::Ext(TIME, bytes) => match time::maybe_from_ext(bytes)? {
            Some(time) => json.push_str(&format!("\"{time}\"")),
            None => json.push_str("null"),
        },
        Token::Array(count) => {
            let deeper = deeper.checked_sub(1)?;
            json.push('[');
            for index in 0..count {
                if index > 0 {
                    json.push(',');
                }
                rest = value(rest, deeper, json)?;
            }
            json.push(']');
        }
        Token::Map(count) => {
            let deeper = deeper.checked_sub(1)?;
            json.push('{');
            for index in 0..count {
                if index > 0 {
                    json.push(',');
                }
                if !matches!(token_of(rest), Some(Token::Str(_))) {
                    return None;
                }
                rest = value(rest, deeper, json)?;
                json.push(':');
                rest = value(rest, deeper, json)?;
            }
            json.push('}');
        }
        Token::Float(_) | Token::Bin(_) | Token::Ext(..) => return None,
    }
    Some(rest)
}

fn token_of(bytes: &[u8]) -> Option<Token<'_>> {
    token(bytes).map(|(token, _)| token)
}

/// The extension type of times.
const TIME: i8 = -1;

/// How deep values may lie in one another.
const DEEPEST: u8 = 32;
