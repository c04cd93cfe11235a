//! What an upgrade request asks for, and what it is answered.
//!
//! A client may offer to compress (`Sec-WebSocket-Extensions: permessage-deflate`). Where the simulator does not, its answer
//! does not name the extension, and the client goes on without (RFC 7692, section 5).

use std::sync::{Arc, OnceLock};

use data_encoding::BASE64;
use tungstenite::{
    handshake::server::{Callback, ErrorResponse, Request, Response},
    http::{HeaderMap, StatusCode, header},
};

use crate::{
    alpaca::Codec,
    sim::{
        exchange::{Arrival, Login},
        path::Path,
    },
};
#[cfg(feature = "compression")]
use tungstenite::http::HeaderValue;

/// Finds out from the upgrade request what the client wants, or answers 404; or answers what the fault script says.
pub(super) struct Route {
    pub(super) arrival: Arc<OnceLock<Arrival>>,
    pub(super) answer: Option<(u16, Option<u32>)>,
    /// Where it may compress: set once the client has offered it.
    #[cfg(feature = "compression")]
    pub(super) offer: Option<Arc<OnceLock<()>>>,
}

impl Callback for Route {
    fn on_request(
        self,
        request: &Request,
        #[cfg_attr(
            not(feature = "compression"),
            expect(unused_mut, reason = "only compression changes it")
        )]
        mut response: Response,
    ) -> Result<Response, ErrorResponse> {
        if let Some((status, retry_after)) = self.answer {
            return Err(refusal(status, retry_after));
        }
        let Some(path) = Path::of(request.uri().path()) else {
            return Err(refusal(404, None));
        };
        let headers = request.headers();
        self.arrival.get_or_init(|| Arrival {
            path,
            codec: codec(headers),
            login: login(headers),
        });
        #[cfg(feature = "compression")]
        if let Some(offer) = self.offer
            && super::deflate::is_offered(headers)
        {
            offer.get_or_init(|| ());
            let answer = HeaderValue::from_static(super::deflate::ANSWER);
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
        }
        Ok(response)
    }
}

fn codec(headers: &HeaderMap) -> Codec {
    match text(headers, header::CONTENT_TYPE.as_str()) {
        Some(kind) if kind.eq_ignore_ascii_case("application/msgpack") => Codec::MessagePack,
        _ => Codec::Json,
    }
}

/// Credentials in the headers that Alpaca's REST interface takes, or in those of its Broker API.
fn login(headers: &HeaderMap) -> Option<Login> {
    if let Some(key) = text(headers, "APCA-API-KEY-ID") {
        return Some(Login {
            key: key.to_owned(),
            secret: text(headers, "APCA-API-SECRET-KEY")
                .unwrap_or_default()
                .to_owned(),
        });
    }
    let encoded = text(headers, header::AUTHORIZATION.as_str())?.strip_prefix("Basic ")?;
    let decoded = BASE64.decode(encoded.as_bytes()).ok()?;
    let (key, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Login {
        key: key.to_owned(),
        secret: secret.to_owned(),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn refusal(status: u16, retry_after: Option<u32>) -> ErrorResponse {
    let mut refusal = ErrorResponse::new(None);
    // A script holds only statuses that there are.
    *refusal.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    if let Some(seconds) = retry_after {
        refusal.headers_mut().insert("Retry-After", seconds.into());
    }
    refusal
}
