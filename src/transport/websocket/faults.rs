//! What the WebSocket library says of an end or a failure, in this crate's terms.

use std::time::Duration;

use tungstenite::{
    Error as WsError,
    error::ProtocolError,
    http::header,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::DOES_NOT_READ;
use crate::{
    clock,
    error::Source,
    market::Timestamp,
    transport::{Close, Fault},
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
                .and_then(|value| value.to_str().ok())
                .and_then(|value| retry_after(value, clock::utc())),
        },
        WsError::Io(error) => Fault::Lost {
            why: "the socket failed".to_owned(),
            source: Some(Source::new(error)),
        },
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
        _ => None,
    }
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

/// `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3). Some servers write the date as a Unix time, in
/// seconds or milliseconds. A time that has passed asks for nothing.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let Ok(number) = value.trim().parse::<u64>() else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(value.trim())
            .ok()?;
        return until(now, date.as_nanosecond());
    };
    for nanos_per_unit in [1_000_000_000, 1_000_000] {
        let time = i128::from(number) * nanos_per_unit;
        if (time - i128::from(now.as_nanos())).abs() < YEAR_NANOS {
            return until(now, time);
        }
    }
    Some(Duration::from_secs(number))
}

/// How long it is until a time, in nanoseconds since 1970, that lies ahead.
fn until(now: Timestamp, time: i128) -> Option<Duration> {
    let nanos = time.checked_sub(i128::from(now.as_nanos()))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// A number is a Unix time if it is that near to now: as seconds to wait it would be decades.
const YEAR_NANOS: i128 = 366 * 24 * 3_600 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_shown_without_what_may_be_secret() {
        for (location, shown) in [
            ("wss://h/v2/sip", "wss://h/v2/sip"),
            ("https://me:s3@h:8/login?token=s3#s3", "https://h:8/login"),
            ("//me@h", "//h"),
            ("/v2/sip?token=s3", "/v2/sip"),
            ("?s3", ""),
        ] {
            assert_eq!(target(location), shown);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now: Timestamp = "2026-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            retry_after("Fri, 06 Nov 2026 08:49:37 GMT", now),
            Some(Duration::from_secs(37))
        );
        assert_eq!(retry_after("Fri, 06 Nov 2026 08:40:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
        // The same moments as Unix times.
        let unix = now.as_nanos() / 1_000_000_000;
        for (number, wait) in [
            (unix + 37, Some(37)),
            ((unix + 37) * 1_000, Some(37)),
            (unix - 540, None),
            (unix + 30 * 86_400, Some(30 * 86_400)),
            (86_400, Some(86_400)),
            // No time near now.
            (1_000_000_000, Some(1_000_000_000)),
        ] {
            let wait = wait.map(Duration::from_secs);
            assert_eq!(retry_after(&number.to_string(), now), wait, "{number}");
        }
    }
}
