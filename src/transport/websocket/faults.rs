//! What the WebSocket library says of an end or a failure, in this crate's terms.

#[cfg(feature = "compression")]
use std::io;

use tungstenite::{
    Error as WsError,
    error::ProtocolError,
    http::header,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::DOES_NOT_READ;
#[cfg(feature = "compression")]
use crate::transport::inflate::Broken;
use crate::{
    clock,
    error::Source,
    transport::{Close, Fault, retry_after},
};

/// A frame with a code that may not be sent comes as one of tungstenite's own making: 1002, with these words.
pub(super) fn close(frame: Option<CloseFrame>) -> Close {
    match frame {
        None => Close::Nothing,
        Some(CloseFrame {
            code: CloseCode::Protocol,
            reason,
        }) if reason.as_str() == "Protocol violation" => Close::Forbidden,
        Some(frame) => Close::Code {
            code: frame.code.into(),
            reason: frame.reason.to_string(),
        },
    }
}

/// Everything tungstenite can say, without its `Debug`, which may show whole messages.
pub(super) fn fault(error: WsError) -> Fault {
    let lost = |why: &str| Fault::Lost {
        why: why.to_owned(),
        source: None,
    };
    match error {
        WsError::Http(response) => Fault::Upgrade {
            status: response.status().as_u16(),
            location: response
                .headers()
                .get(header::LOCATION)
                .filter(|_| response.status().is_redirection())
                .and_then(|value| value.to_str().ok())
                .map(target),
            retry_after: response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| retry_after::wait(value.as_bytes(), clock::utc())),
        },
        WsError::Io(error) => {
            #[cfg(feature = "compression")]
            if let Some(broken) = broken(&error) {
                return Fault::Protocol(broken.to_string());
            }
            Fault::Lost {
                why: "the socket failed".to_owned(),
                source: Some(Source::new(error)),
            }
        }
        WsError::ConnectionClosed | WsError::AlreadyClosed => lost("closed by the peer"),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            lost("ended by the peer without a close frame")
        }
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            lost("ended by the peer during the upgrade")
        }
        WsError::WriteBufferFull(_) => lost(DOES_NOT_READ),
        WsError::AttackAttempt => Fault::Protocol(
            "the upgrade response is too long or comes in too small pieces".to_owned(),
        ),
        WsError::Protocol(error @ ProtocolError::HttparseError(_)) => {
            Fault::Protocol(format!("what answers there does not speak HTTP: {error}"))
        }
        other => Fault::Protocol(other.to_string()),
    }
}

/// The code that RFC 6455, 7.4.1, has for what the peer did, if it broke the protocol.
pub(super) fn failure(error: &WsError) -> Option<CloseCode> {
    match error {
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Protocol(_) => Some(CloseCode::Protocol),
        WsError::Capacity(_) => Some(CloseCode::Size),
        WsError::Utf8(_) => Some(CloseCode::Invalid),
        #[cfg(feature = "compression")]
        WsError::Io(error) => broken(error).map(|broken| match broken {
            Broken::Data => CloseCode::Invalid,
            Broken::Interleaved => CloseCode::Protocol,
            Broken::TooLarge(_) => CloseCode::Size,
        }),
        _ => None,
    }
}

/// What is wrong with a compressed message, if that is what failed.
#[cfg(feature = "compression")]
fn broken(error: &io::Error) -> Option<Broken> {
    error.get_ref()?.downcast_ref().copied()
}

/// Where a redirect leads, without what may be secret: a query, a fragment, a user's name and password.
fn target(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let shown = &location[..end];
    let Some((scheme, rest)) = shown.split_once("//") else {
        return shown.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}//{host}{path}")
}

#[cfg(test)]
mod tests;
