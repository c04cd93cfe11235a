//! Messages that hold a secret: built in memory that is wiped, and sent past everything that keeps or logs copies.

use std::fmt;

use zeroize::Zeroizing;

use crate::credentials::json_escape;

/// A message that holds a secret. It is built in memory that is wiped, and sent past everything that keeps or logs
/// copies.
pub struct SecretMessage {
    bytes: Zeroizing<Vec<u8>>,
    text: bool,
}

impl SecretMessage {
    /// Builds a text message from the pieces that `write` hands out.
    ///
    /// `write` is called twice with the same pieces: once to measure, once to fill a buffer of exactly that size.
    ///
    /// # Examples
    /// ```
    /// # use trunkline::{Credentials, venue::{Piece, SecretMessage}};
    /// # let credentials = Credentials::new("PKEXAMPLE", "sEXAMPLE").unwrap();
    /// let login = credentials.expose(|key, secret| {
    ///     SecretMessage::text(|piece| {
    ///         piece(Piece::Plain(r#"{"key":""#));
    ///         piece(Piece::JsonString(key));
    ///         piece(Piece::Plain(r#"","secret":""#));
    ///         piece(Piece::JsonString(secret));
    ///         piece(Piece::Plain(r#""}"#));
    ///     })
    /// });
    /// assert_eq!(format!("{login:?}"), "SecretMessage(***)");
    /// ```
    pub fn text(write: impl Fn(&mut dyn FnMut(Piece<'_>))) -> Self {
        Self::new(write, true)
    }

    /// Builds a binary message from the pieces that `write` hands out, as [`text`](Self::text) does.
    pub fn binary(write: impl Fn(&mut dyn FnMut(Piece<'_>))) -> Self {
        Self::new(write, false)
    }

    fn new(write: impl Fn(&mut dyn FnMut(Piece<'_>)), text: bool) -> Self {
        let mut len = 0;
        write(&mut |piece| piece.each(|bytes| len += bytes.len()));
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::HEADROOM + len));
        bytes.resize(Self::HEADROOM, 0);
        write(&mut |piece| piece.each(|piece| bytes.extend_from_slice(piece)));
        Self { bytes, text }
    }

    /// The buffer, with room for a WebSocket header in front of the payload, and whether it is text.
    pub(crate) fn into_parts(self) -> (Zeroizing<Vec<u8>>, bool) {
        (self.bytes, self.text)
    }

    /// The longest header of a client's frame: two bytes, an eight-byte length, a four-byte mask (RFC 6455, 5.2).
    pub(crate) const HEADROOM: usize = 14;
}

impl fmt::Debug for SecretMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMessage(***)")
    }
}

/// A piece of a [`SecretMessage`].
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    /// Written as it is.
    Plain(&'a str),
    /// Escaped as the inside of a JSON string. Credentials are ASCII, without control characters but the line feeds of PEM.
    JsonString(&'a str),
    /// Written as they are. In a text message they must be UTF-8.
    Bytes(&'a [u8]),
    /// A MessagePack string: its length in front, in as few bytes as can be.
    MessagePackString(&'a str),
}

impl Piece<'_> {
    fn each(self, mut write: impl FnMut(&[u8])) {
        match self {
            Self::Plain(text) => write(text.as_bytes()),
            Self::JsonString(text) => json_escape(text.as_bytes(), write),
            Self::Bytes(bytes) => write(bytes),
            Self::MessagePackString(text) => {
                let len = text.len();
                match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
                    (Ok(len @ ..32), ..) => write(&[0xa0 | len]),
                    (Ok(len), ..) => write(&[0xd9, len]),
                    (_, Ok(len), _) => {
                        write(&[0xda]);
                        write(&len.to_be_bytes());
                    }
                    (.., len) => {
                        write(&[0xdb]);
                        write(&len.unwrap_or(u32::MAX).to_be_bytes());
                    }
                }
                write(text.as_bytes());
            }
        }
    }
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Piece(***)")
    }
}
