//! Secrets that are private keys in PEM (RFC 7468): a first and a last line that anybody may know, and Base64 in between.

use zeroize::Zeroizing;

/// Whether a secret begins as PEM does.
pub(super) fn is_meant(value: &[u8]) -> bool {
    value.trim_ascii_start().starts_with(BEGIN)
}

/// PEM in the one spelling that is kept, whoever wrote it: lines that end with one line feed, and none behind the last. Some write
/// `\n` for a line break, because a setting has to stand in one line. Nothing if it is not whole.
pub(super) fn spelled(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // It does not grow, and leaves no copy behind.
    let mut kept = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.trim_ascii();
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (byte, after) => (*byte, after),
        };
        let ends_line = byte == b'\n' && kept.last() != Some(&b'\n');
        if ends_line || !matches!(byte, b'\n' | b'\r') {
            kept.push(byte);
        }
        rest = after;
    }
    if kept.last() == Some(&b'\n') {
        kept.pop();
    }
    is_whole(&kept).then_some(kept)
}

fn is_whole(text: &[u8]) -> bool {
    let label = |line: &[u8], begins: &[u8]| {
        let label = line.strip_prefix(begins)?.strip_suffix(DASHES)?;
        let is_sign = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ');
        label.iter().all(is_sign).then(|| label.to_vec())
    };
    let is_base64 = |line: &&[u8]| {
        let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        line.iter().all(is_sign)
    };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    match &lines[..] {
        [first, body @ .., last] if !body.is_empty() => {
            let begun = label(first, BEGIN);
            begun.is_some() && begun == label(last, END) && body.iter().all(is_base64)
        }
        _ => false,
    }
}

/// What of a secret must not be shown: all of it, or, of PEM, each line of its inside. A server that repeats a key may repeat
/// it line by line.
pub(super) fn pieces(secret: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_pem = secret.starts_with(BEGIN);
    secret
        .split(move |byte| is_pem && *byte == b'\n')
        .filter(move |line| !is_pem || !line.starts_with(DASHES))
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
