//! The venue's words for what is wrong. SDKs know some of them by their number, and some by their text.

use super::{ConnectionId, Effect, Exchange, Market, message, orders};
use crate::{alpaca::wire::server, sim::SimEvent, venue::Message};

impl Exchange {
    pub(super) fn refuse(&mut self, to: ConnectionId, refusal: Refusal) {
        let message = self.report_refusal(to, refusal);
        self.send_message(to, message);
    }

    /// Tells those who watch of a refusal, and gives what tells the client.
    pub(super) fn report_refusal(&mut self, id: ConnectionId, (code, text): Refusal) -> Message {
        self.effects.push_back(Effect::Report(SimEvent::Refused {
            connection: id,
            code,
            message: text,
        }));
        let connection = self.connections.get(&id);
        if connection.is_some_and(|connection| connection.path.market == Market::Orders) {
            return self.trading_message(id, &orders::refusal((code, text)));
        }
        let codec = self.codec_of(id);
        message(server::error(code, text, codec), codec)
    }
}

/// The venue's number for what is wrong, and its words.
pub(super) type Refusal = (u16, &'static str);

pub(super) const INVALID_SYNTAX: Refusal = (400, "invalid syntax");
pub(super) const NOT_AUTHENTICATED: Refusal = (401, "not authenticated");
pub(super) const AUTH_FAILED: Refusal = (402, "auth failed");
pub(super) const ALREADY_AUTHENTICATED: Refusal = (403, "already authenticated");
pub(super) const AUTH_TIMEOUT: Refusal = (404, "auth timeout");
pub(super) const SYMBOL_LIMIT: Refusal = (405, "symbol limit exceeded");
pub(super) const CONNECTION_LIMIT: Refusal = (406, "connection limit exceeded");
pub(super) const SLOW_CLIENT: Refusal = (407, "slow client");
/// Alpaca's Python SDK knows this one by its words.
pub(super) const NOT_IN_PLAN: Refusal = (409, "insufficient subscription");
pub(super) const FOREIGN_CHANNEL: Refusal = (410, "invalid subscribe action for this feed");
pub(super) const MSGPACK_ONLY: Refusal =
    (412, "option messages are only available in MsgPack format");
pub(super) const NO_STAR_QUOTES: Refusal =
    (413, "star subscription is not allowed for option quotes");
