//! What client and server agree upon (RFC 7692, 7.1).

/// What is offered. Nothing that is sent is compressed, so the server need not keep a window for it, and may ask for a
/// smaller one: some take no offer without this. Its own window is left to it, because ours is the largest.
pub(in crate::transport) const OFFER: &str =
    "permessage-deflate; client_no_context_takeover; client_max_window_bits";

/// What a server agreed to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::transport) struct Agreement {
    /// Whether a message may refer to those before it.
    pub(super) keeps_window: bool,
}

/// Reads the server's answers to the offer, one for each header line. None where it declines.
///
/// # Errors
/// It does not answer this offer (RFC 7692, 7.1: the client fails the connection then).
pub(in crate::transport) fn agreement<'a>(
    answers: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Agreement>, &'static str> {
    let mut extensions = answers.flat_map(|answer| answer.split(|byte| *byte == b','));
    let Some(extension) = extensions.next() else {
        return Ok(None);
    };
    if extensions.next().is_some() {
        return Err("it uses more than one extension");
    }
    let mut parts = extension
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii);
    if parts.next() != Some(b"permessage-deflate") {
        return Err("it uses an extension that nobody offered");
    }
    let mut seen = [false; 4];
    for part in parts {
        let which = match part {
            b"server_no_context_takeover" => 0,
            b"client_no_context_takeover" => 1,
            _ if is_window(part, b"server_max_window_bits=") => 2,
            _ if is_window(part, b"client_max_window_bits=") => 3,
            _ => return Err("a parameter is unknown, or has no such value"),
        };
        if std::mem::replace(&mut seen[which], true) {
            return Err("a parameter stands twice");
        }
    }
    Ok(Some(Agreement {
        keeps_window: !seen[0],
    }))
}

/// Whether it says how large a window is: 8 to 15 bits, as a token or a quoted one.
fn is_window(part: &[u8], name: &[u8]) -> bool {
    let Some(value) = part.strip_prefix(name) else {
        return false;
    };
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    matches!(
        unquoted.unwrap_or(value),
        [b'8' | b'9'] | [b'1', b'0'..=b'5']
    )
}

#[cfg(test)]
mod tests;
