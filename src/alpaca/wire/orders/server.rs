//! What only a server writes and reads.

use serde::Deserialize;

use super::{Rest, form::Form as _};
use crate::{
    alpaca::{Codec, wire::control::to_json},
    order::{OrderEvent, OrderUpdate},
};

/// The answer to a login, or to what came before one.
pub(crate) fn authorization(status: &str, action: &str) -> String {
    let data = [("status", to_json(&status)), ("action", to_json(&action))];
    frame("authorization", object(&data))
}

/// Everything that is sent now.
pub(crate) fn listening(streams: &[String]) -> String {
    frame("listening", object(&[("streams", to_json(&streams))]))
}

/// What old servers say in place of an authorization or a list.
pub(crate) fn objection(error: &str) -> String {
    frame("listening", object(&[("error", to_json(&error))]))
}

/// What is wrong with a connection, which belongs to no stream.
pub(crate) fn fault(message: &str) -> String {
    let data = object(&[("error_message", to_json(&message))]);
    object(&[("action", to_json(&"error")), ("data", data)])
}

/// An order update.
pub(crate) fn update(update: &OrderUpdate) -> String {
    frame("trade_updates", update_data(update))
}

fn update_data(update: &OrderUpdate) -> String {
    let OrderUpdate {
        event,
        order,
        execution_id,
        timestamp,
        at,
        event_id,
        reason,
        account_id,
        commission,
    } = update.clone();
    let mut data = vec![("event", to_json(&event.name())), ("order", order.write())];
    match &event {
        OrderEvent::Fill(fill) | OrderEvent::PartialFill(fill) => {
            data.extend(fill.entries());
        }
        OrderEvent::TradeBust(amendment) | OrderEvent::TradeCorrect(amendment) => {
            data.extend(amendment.entries());
        }
        _ => {}
    }
    let rest = Rest {
        execution_id,
        timestamp,
        at,
        event_id,
        reason,
        account_id,
        commission,
    };
    data.extend(rest.entries());
    object(&data)
}

fn frame(stream: &str, data: String) -> String {
    object(&[("stream", to_json(&stream)), ("data", data)])
}

/// An object of values that are JSON already.
pub(super) fn object<K: AsRef<str>>(entries: &[(K, String)]) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, json)| format!("{}:{json}", to_json(&name.as_ref())))
        .collect();
    format!("{{{}}}", entries.join(","))
}

/// What a client sends.
#[derive(PartialEq)]
pub(crate) enum ClientMessage {
    /// A token is the secret of the key `oauth`.
    Login { key: String, secret: String },
    /// All that it wants to be sent.
    Listen(Vec<String>),
}

impl ClientMessage {
    /// Reads a message by the connection's codec, whatever kind of frame it came in. Nothing where it is none.
    pub(crate) fn decode(message: &[u8], codec: Codec) -> Option<Self> {
        let action = match codec {
            Codec::Json => serde_json::from_slice(message).ok(),
            Codec::MessagePack => rmp_serde::from_slice(message).ok(),
        };
        Some(match action? {
            Action::Auth { key, secret }
            | Action::Authenticate {
                data:
                    OldLogin::Key {
                        key_id: key,
                        secret_key: secret,
                    },
            } => Self::Login { key, secret },
            Action::Authenticate {
                data: OldLogin::Token { oauth_token },
            } => Self::Login {
                key: "oauth".to_owned(),
                secret: oauth_token,
            },
            Action::Listen { data } => Self::Listen(data.streams),
        })
    }
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Action {
    Auth { key: String, secret: String },
    Authenticate { data: OldLogin },
    Listen { data: Streams },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OldLogin {
    Key { key_id: String, secret_key: String },
    Token { oauth_token: String },
}

#[derive(Deserialize)]
struct Streams {
    #[serde(default)]
    streams: Vec<String>,
}
