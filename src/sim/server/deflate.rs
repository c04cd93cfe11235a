//! The sending half of permessage-deflate (RFC 7692): each message refers to those before it.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};
use tungstenite::{
    Message,
    http::{HeaderMap, header},
    protocol::frame::{
        Frame, FrameHeader,
        coding::{Data, OpCode},
    },
};

use crate::venue;

pub(super) const ANSWER: &str = "permessage-deflate; client_no_context_takeover";

/// Whether a client offers what [`ANSWER`] takes.
pub(super) fn is_offered(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_EXTENSIONS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|offers| offers.split(','))
        .any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            // It has the largest window, and goes on with it.
            parts.next() == Some("permessage-deflate")
                && parts
                    .all(|part| !part.starts_with("server_") || part == "server_max_window_bits=15")
        })
}

pub(super) struct Deflater(Box<CompressorOxide>);

impl Deflater {
    pub(super) fn new() -> Self {
        let flags = create_comp_flags_from_zip_params(LEVEL, RAW_WINDOW, 0);
        Self(Box::new(CompressorOxide::new(flags)))
    }

    pub(super) fn message(&mut self, message: &venue::Message) -> Message {
        let (kind, bytes) = match message {
            venue::Message::Text(text) => (Data::Text, text.as_bytes()),
            venue::Message::Binary(bytes) => (Data::Binary, bytes.as_slice()),
        };
        let mut payload = Vec::new();
        // It stops only where it is told that there is no room.
        let _ = compress_to_output(&mut self.0, bytes, TDEFLFlush::Sync, |part| {
            payload.extend_from_slice(part);
            true
        });
        // 00 00 ff ff, which is left out (RFC 7692, 7.2.1).
        payload.truncate(payload.len().saturating_sub(4));
        let header = FrameHeader {
            rsv1: true,
            opcode: OpCode::Data(kind),
            ..FrameHeader::default()
        };
        Message::Frame(Frame::from_payload(header, payload.into()))
    }
}

/// As zlib does by default.
const LEVEL: i32 = 6;

/// 32 KiB, without a header and a checksum.
const RAW_WINDOW: i32 = -15;
