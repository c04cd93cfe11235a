//! The trading stream: what its clients may say, what they are told, and who gets order updates.
//!
//! It has no welcome, and no array around its messages. What the venue tells a second connection of an account is not
//! documented; here it is what old servers said.

use serde_json::Value;

use super::{
    ConnectionId, Exchange, Login, Moment, State,
    refusal::{
        ALREADY_AUTHENTICATED, AUTH_FAILED, CONNECTION_LIMIT, INVALID_SYNTAX, NOT_AUTHENTICATED,
        Refusal,
    },
};
use crate::{
    alpaca::{
        Codec,
        wire::orders::server::{self, ClientMessage},
    },
    order::{OrderUpdate, TRADE_UPDATES},
    sim::{FaultKind, path::Market},
    venue::Message,
};

impl Exchange {
    /// A client of this stream sent a message.
    pub(super) fn hear_trader(&mut self, at: Moment, id: ConnectionId, message: &[u8], live: bool) {
        let Some(said) = ClientMessage::decode(message, self.codec_of(id)) else {
            return self.refuse(id, INVALID_SYNTAX);
        };
        match said {
            ClientMessage::Login { .. } if live => self.refuse(id, ALREADY_AUTHENTICATED),
            ClientMessage::Login { key, secret } => self.log_in(at, id, Login { key, secret }),
            ClientMessage::Listen(_) if !live => self.refuse(id, NOT_AUTHENTICATED),
            ClientMessage::Listen(streams) => self.listen(at, id, &streams),
        }
    }

    /// What is listed takes the place of what was listened to before. What does not exist is left out.
    fn listen(&mut self, at: Moment, id: ConnectionId, streams: &[String]) {
        self.stats.requests += 1;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.subscriptions.clear();
        let known = |stream: &&String| *stream == TRADE_UPDATES.name();
        let listed: Vec<_> = streams.iter().filter(known).take(1).cloned().collect();
        if !listed.is_empty() {
            let all = ["*".into()].into();
            connection.subscriptions.insert(TRADE_UPDATES, all);
        }
        let reply = self.trading_message(id, &server::listening(&listed));
        self.acknowledge(at, id, reply);
    }

    /// Sends an update to those who listen.
    pub(super) fn report_order(&mut self, update: &OrderUpdate) {
        let listens = self.connections.iter().filter(|(id, connection)| {
            connection.path.market == Market::Orders
                && connection.state == State::Live
                && connection.subscriptions.contains_key(&TRADE_UPDATES)
                && !connection.mischief.is_mute_for_data()
                && !self.is_mute(**id)
        });
        let listeners: Vec<_> = listens.map(|(id, _)| *id).collect();
        let text = server::update(update);
        for id in listeners {
            let message = self.trading_message(id, &text);
            self.send_message(id, message);
            self.stats.messages_sent += 1;
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.mischief.sent_data(id, &mut self.effects);
            }
        }
    }

    /// A frame of this stream, in the kind of message that the client gets.
    pub(super) fn trading_message(&self, id: ConnectionId, json: &str) -> Message {
        match self.codec_of(id) {
            Codec::Json if self.config.orders_in_binary => Message::Binary(json.into()),
            Codec::Json => Message::Text(json.to_owned()),
            Codec::MessagePack => {
                let value: Value = serde_json::from_str(json).expect("it was written as JSON");
                Message::Binary(rmp_serde::to_vec(&value).expect("JSON has a MessagePack"))
            }
        }
    }
}

/// What a refusal is called here.
pub(super) fn refusal(refusal: Refusal) -> String {
    match refusal {
        AUTH_FAILED => server::authorization("unauthorized", "authenticate"),
        NOT_AUTHENTICATED => server::authorization("unauthorized", "listen"),
        ALREADY_AUTHENTICATED => server::objection("your connection is already authenticated"),
        CONNECTION_LIMIT => server::objection(
            "your connection is rejected while another connection is open under the same account",
        ),
        (_, text) => server::fault(text),
    }
}

/// What goes wrong with single messages, where it looks different from market data.
pub(super) fn odd(kind: FaultKind) -> Option<&'static str> {
    match kind {
        FaultKind::Unknown => {
            Some(r#"{"stream":"gossip","data":{"heard":"a stream that nobody knows"}}"#)
        }
        FaultKind::Null => Some(r#"{"stream":"trade_updates","data":null}"#),
        _ => None,
    }
}
