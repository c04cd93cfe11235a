//! What only a server writes and reads.

use serde::Deserialize;

use super::{Field as _, Rest};
use crate::{
    alpaca::wire::control::to_json,
    order::{OrderEvent, OrderUpdate},
};

/// The answer to a login, or to what came before one.
pub(crate) fn authorization(status: &str, action: &str) -> String {
    let data = [("status", to_json(&status)), ("action", to_json(&action))];
    frame("authorization", object(&data))
}

/// Everything that is sent now.
pub(crate) fn listening(streams: &[String]) -> String {
    frame(
        "listening",
        object(&[("streams", to_json(&streams.to_vec()))]),
    )
}

/// What is said before a connection is closed for a fault of the server's.
pub(crate) fn fault() -> String {
    r#"{"action":"error","data":{"error_message":"internal server error"}}"#.to_owned()
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
    let mut data = vec![
        ("event", to_json(&event.name())),
        ("order", Some(order).write()),
    ];
    match &event {
        OrderEvent::Fill(fill) | OrderEvent::PartialFill(fill) => {
            data.push(("price", fill.price.write()));
            data.push(("qty", fill.qty.write()));
            let rest = [
                ("position_qty", fill.position_qty.write()),
                ("position_qtys", fill.position_qtys.write()),
                ("legs", fill.legs.write()),
            ];
            data.extend(rest.into_iter().filter(|(_, json)| json != "null"));
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
#[derive(PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum ClientMessage {
    Auth { key: String, secret: String },
    Authenticate { data: Login },
    Listen { data: Streams },
    Unlisten { data: Streams },
}

/// The older form of a login, by key or by token.
#[derive(PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Login {
    Key { key_id: String, secret_key: String },
    Token { oauth_token: String },
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Streams {
    #[serde(default)]
    pub(crate) streams: Vec<String>,
}

impl ClientMessage {
    /// The key and the secret, if it is a login. A token's key is `oauth`.
    pub(crate) fn login(&self) -> Option<(&str, &str)> {
        match self {
            Self::Auth { key, secret }
            | Self::Authenticate {
                data:
                    Login::Key {
                        key_id: key,
                        secret_key: secret,
                    },
            } => Some((key, secret)),
            Self::Authenticate {
                data: Login::Token { oauth_token },
            } => Some(("oauth", oauth_token)),
            Self::Listen { .. } | Self::Unlisten { .. } => None,
        }
    }
}
