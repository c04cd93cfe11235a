//! Finding key and secret in what a server says, however it may have spelled them, and masking them there.
//!
//! A server repeats what it was sent in its own ways: in JSON, with whatever escapes it likes and perhaps twice over,
//! in a URL, in the name of a header, in a header's Base64, as a list of numbers. Nothing here makes a copy of a secret to compare with: each
//! spelling is compared character by character.

use std::ops::Range;

use zeroize::Zeroizing;

use super::Credentials;

impl Credentials {
    /// A server's text as it may be shown: key and secret masked, control characters escaped, length capped.
    pub(crate) fn redact(&self, text: &str) -> String {
        const SHOWN: usize = 512;
        let masked = Zeroizing::new(self.masked(text));
        let mut shown = String::new();
        for character in masked.chars() {
            if shown.len() >= SHOWN {
                shown.push('…');
                break;
            }
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown
    }

    /// A text that was cut, perhaps in the middle of key or secret, with both masked, and otherwise as it is.
    pub(crate) fn masked_cut(&self, text: &str) -> String {
        let mut text = Zeroizing::new(self.masked(text));
        let tail = self.beginning(text.as_bytes());
        let kept = text.len() - tail;
        text.replace_range(kept.., &"*".repeat(tail));
        std::mem::take(&mut *text)
    }

    /// Overwrites every occurrence of key and secret with asterisks. Lengths stay as they are.
    pub(crate) fn mask(&self, bytes: &mut [u8]) {
        for needle in self.needles() {
            let mut rest = &mut *bytes;
            while let Some(found) = needle.find(rest) {
                rest[found.clone()].fill(b'*');
                rest = &mut rest[found.end..];
            }
        }
    }

    /// Whether key or secret stands in a text.
    pub(crate) fn stand_in(&self, text: &[u8]) -> bool {
        self.needles().any(|needle| needle.find(text).is_some())
    }

    /// How many bytes at the end of `text` may be a beginning, but not the whole, of key or secret.
    pub(crate) fn beginning(&self, text: &[u8]) -> usize {
        self.needles()
            .map(|needle| needle.beginning(text))
            .max()
            .unwrap_or(0)
    }

    /// A text with key and secret masked, and otherwise as it is.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut bytes = Zeroizing::new(text.as_bytes().to_vec());
        self.mask(&mut bytes);
        // Only ASCII was overwritten, with ASCII.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn needles(&self) -> impl Iterator<Item = Needle<'_>> {
        let (key, secret) = self.parts();
        [secret, key]
            .into_iter()
            .filter(|part| part.len() >= SHORTEST_MASKED)
            .map(Needle::new)
    }
}

/// Key or secret, to be looked for.
struct Needle<'a> {
    bytes: &'a [u8],
    /// Which spellings begin with a byte, a bit each. Most of a text is passed over by this alone: a server may send a
    /// lot of it before the line is authenticated.
    begins: [u8; 256],
}

impl<'a> Needle<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let first = bytes[0];
        let mut begins = [0; 256];
        for byte in 0..=u8::MAX {
            let plain = byte.eq_ignore_ascii_case(&first);
            let mut spellings = 0;
            if plain {
                spellings |= LITERALLY;
            }
            // A backslash of its own may have got lost.
            if plain || byte == b'\\' || byte == b'%' || first == b'\\' {
                spellings |= ESCAPED;
            }
            if char::from(byte).to_digit(16) == Some(u32::from(first >> 4)) {
                spellings |= IN_HEX;
            }
            if byte == decimal(first)[0] {
                spellings |= IN_DECIMAL;
            }
            for (skipped, group) in bytes[..3].iter().enumerate() {
                if sextet(byte) == Some(u32::from(group >> 2)) {
                    spellings |= IN_BASE64 << skipped;
                }
            }
            begins[usize::from(byte)] = spellings;
        }
        Self { bytes, begins }
    }

    /// Where it stands first.
    fn find(&self, text: &[u8]) -> Option<Range<usize>> {
        self.read_each(text, 0).find_map(|(from, read)| match read {
            Read::Len(len) => Some(from..from + len),
            Read::TooShort | Read::Other => None,
        })
    }

    /// How many bytes at the end of `text` may be its beginning.
    fn beginning(&self, text: &[u8]) -> usize {
        let longest = text.len().min(LONGEST_SPELLING * self.bytes.len());
        self.read_each(text, text.len() - longest)
            .find(|(_, read)| *read == Read::TooShort)
            .map_or(0, |(from, _)| text.len() - from)
    }

    /// What the text is from each position on that is worth a look.
    fn read_each(&self, text: &[u8], from: usize) -> impl Iterator<Item = (usize, Read)> {
        let bytes = text.iter().enumerate().skip(from);
        bytes.filter_map(move |(at, first)| match self.begins[usize::from(*first)] {
            0 => None,
            spellings => Some((at, self.read(&text[at..], spellings))),
        })
    }

    fn read(&self, text: &[u8], spellings: u8) -> Read {
        let has = |spelling: u8| spellings & spelling != 0;
        let mut found = Read::Other;
        if has(LITERALLY) {
            found = literally(text, self.bytes);
        }
        if has(ESCAPED) && found == Read::Other {
            found = each(text, self.bytes, escaped);
        }
        if has(IN_HEX) && found == Read::Other {
            found = each(text, self.bytes, in_hex);
        }
        if has(IN_DECIMAL) && found == Read::Other {
            found = each(text, self.bytes, in_decimal);
        }
        for skipped in 0..3 {
            if has(IN_BASE64 << skipped) && found == Read::Other {
                found = in_base64(text, &self.bytes[skipped..]);
            }
        }
        found
    }
}

const LITERALLY: u8 = 1;
const ESCAPED: u8 = 2;
const IN_HEX: u8 = 4;
const IN_DECIMAL: u8 = 8;
/// And the next two bits: after no, one and two bytes of another group.
const IN_BASE64: u8 = 16;

/// What the beginning of a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// What was looked for, in so many bytes.
    Len(usize),
    /// What was looked for, as far as the text goes.
    TooShort,
    /// Something else.
    Other,
}

/// As it is, but for the case of letters: HTTP/2 writes the names of headers in lower case.
fn literally(text: &[u8], needle: &[u8]) -> Read {
    let len = text.len().min(needle.len());
    if !text[..len].eq_ignore_ascii_case(&needle[..len]) {
        Read::Other
    } else if len == needle.len() {
        Read::Len(len)
    } else {
        Read::TooShort
    }
}

fn each(text: &[u8], needle: &[u8], spelled: fn(&[u8], u8) -> Read) -> Read {
    let mut len = 0;
    for byte in needle {
        match spelled(&text[len..], *byte) {
            Read::Len(more) => len += more,
            other => return other,
        }
    }
    // A secret that is all backslashes is not in every text.
    if len == 0 {
        Read::Other
    } else {
        Read::Len(len)
    }
}

/// A character in the escapes of JSON, of many languages' texts, or of a URL. Escapes may have been escaped again, so
/// any number of backslashes may stand in front; and one of the secret's own may have got lost among them.
fn escaped(text: &[u8], wanted: u8) -> Read {
    let slashes = text
        .iter()
        .take(MOST_BACKSLASHES)
        .take_while(|byte| **byte == b'\\')
        .count();
    let bare = &text[slashes..];
    let behind = |len: usize, code: &[u8]| match in_hex(code, wanted) {
        Read::Len(digits) => Read::Len(slashes + len + digits),
        other => other,
    };
    let code = match bare {
        [] => Read::TooShort,
        [b'%', code @ ..] => behind(1, code),
        [b'u', code @ ..] if slashes > 0 => match code {
            [b'0', b'0', code @ ..] => behind(3, code),
            [] | [b'0'] => Read::TooShort,
            _ => Read::Other,
        },
        [b'x', code @ ..] if slashes > 0 => behind(1, code),
        _ => Read::Other,
    };
    match bare.first() {
        _ if code != Read::Other => code,
        _ if wanted == b'\\' => Read::Len(0),
        Some(first) if first.eq_ignore_ascii_case(&wanted) => Read::Len(slashes + 1),
        _ => Read::Other,
    }
}

/// A character as two hex digits.
fn in_hex(text: &[u8], wanted: u8) -> Read {
    let digit = |at: usize, wanted: u8| {
        text.get(at)
            .map(|digit| char::from(*digit).to_digit(16) == Some(u32::from(wanted)))
    };
    match (digit(0, wanted >> 4), digit(1, wanted & 15)) {
        (Some(true), Some(true)) => Read::Len(2),
        (None | Some(true), None) => Read::TooShort,
        _ => Read::Other,
    }
}

/// A character as an element of a list of numbers, which is what some encoders make of bytes.
fn in_decimal(text: &[u8], wanted: u8) -> Read {
    let separator = text.iter().take(2).take_while(|byte| b", ".contains(byte));
    let separator = separator.count();
    let number = &text[separator..];
    let digits = decimal(wanted);
    let digits = if wanted < 100 { &digits[..2] } else { &digits };
    if number.starts_with(digits) {
        Read::Len(separator + digits.len())
    } else if digits.starts_with(number) {
        Read::TooShort
    } else {
        Read::Other
    }
}

/// Two digits or three: no character that credentials may hold has fewer.
fn decimal(byte: u8) -> [u8; 3] {
    let digit = |value: u8| b'0' + value % 10;
    if byte < 100 {
        [digit(byte / 10), digit(byte), b' ']
    } else {
        [digit(byte / 100), digit(byte / 10), digit(byte)]
    }
}

/// The groups of three bytes that are the same in Base64 whatever follows them, in either alphabet.
fn in_base64(text: &[u8], needle: &[u8]) -> Read {
    if needle.len() < SHORTEST_BASE64 {
        return Read::Other;
    }
    let mut len = 0;
    for group in needle.chunks_exact(3) {
        let bits = group
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        for shift in [18, 12, 6, 0] {
            match text.get(len) {
                None => return Read::TooShort,
                Some(sign) if sextet(*sign) == Some(bits >> shift & 63) => len += 1,
                Some(_) => return Read::Other,
            }
        }
    }
    Read::Len(len)
}

fn sextet(sign: u8) -> Option<u32> {
    let value = match sign {
        b'A'..=b'Z' => sign - b'A',
        b'a'..=b'z' => sign - b'a' + 26,
        b'0'..=b'9' => sign - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Shorter parts are not looked for in what a server says: a key `con` would be found in every `connection`, and in the
/// words of the protocol itself. Real ones are some twenty and forty characters long.
const SHORTEST_MASKED: usize = 5;
/// Three whole groups. Fewer characters would be found in any text.
const SHORTEST_BASE64: usize = 9;
/// In front of one character: of JSON in JSON in JSON.
const MOST_BACKSLASHES: usize = 7;
/// In bytes per character: `\u0041`, with another backslash or two.
const LONGEST_SPELLING: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_text_is_shown_without_secrets_and_on_one_line() {
        let credentials = Credentials::new("PKEXAMPLE", "s\"quoted").unwrap();
        let shown = credentials.redact("no\r\nPKEXAMPLE s\"quoted s\\\"quoted");
        assert_eq!(shown, "no\\r\\n********* ******** *********");
    }

    #[test]
    fn a_secret_is_found_however_a_server_spells_it() {
        let credentials = Credentials::new("PKEXAMPLE", r#"a/b+C"d\e%f0123456"#).unwrap();
        for (spelled, shown) in [
            // As it is, in any case.
            (r#"a/b+C"d\e%f0123456"#, "******************"),
            (r#"A/B+c"D\E%F0123456"#, "******************"),
            // JSON, as most servers write it and as some do; and JSON in JSON.
            (r#"a/b+C\"d\\e%f0123456"#, "********************"),
            (r#"a\/b+C\"d\\e%f0123456"#, "*********************"),
            (
                r#"a\/b\u002bC\u0022d\u005ce%f012345\u0036"#,
                "***************************************",
            ),
            (r#"a/b+C\\\"d\\\\e%f0123456"#, "************************"),
            // A URL.
            (
                "a%2Fb%2bC%22d%5Ce%25f0123456",
                "****************************",
            ),
            // Hex, in either case, and as the escapes of a byte string.
            (
                "612f622b4322645c65256630313233343536",
                "************************************",
            ),
            (
                "612F622B4322645C65256630313233343536",
                "************************************",
            ),
            (r"a/b+C\x22d\x5ce%f0123456", "************************"),
            // What some encoders make of bytes.
            (
                "97, 47, 98, 43, 67, 34, 100, 92, 101, 37, 102, 48, 49, 50, 51, 52, 53, 54",
                "*************************************************************************",
            ),
            (
                "97,47,98,43,67,34,100,92,101,37,102,48,49,50,51,52,53,54",
                "********************************************************",
            ),
        ] {
            let text = format!("<{spelled}> PKEXAMPL");
            assert_eq!(
                credentials.redact(&text),
                format!("<{shown}> PKEXAMPL"),
                "{spelled}"
            );
            assert!(credentials.stand_in(text.as_bytes()));
            // However it is cut, no more than what cannot be told from anything else is left of it.
            for cut in 2..=spelled.len() {
                let text = format!("<{}", &spelled[..cut]);
                assert_eq!(
                    credentials.masked_cut(&text),
                    format!("<{}", "*".repeat(cut)),
                    "{text}"
                );
            }
        }
        assert!(!credentials.stand_in(b"a/b+C\"d is another PKEXAMPL"));
    }

    /// Key, colon and secret as Python's `base64` encodes them, at every alignment and in either alphabet.
    #[test]
    fn basic_authorization_is_masked() {
        let credentials = Credentials::new("PKEXAMPLE7KEY", "~~~???>>>~~~???").unwrap();
        for (standard, url, shown) in [
            (
                "UEtFWEFNUExFN0tFWTp+fn4/Pz8+Pj5+fn4/Pz8=",
                "UEtFWEFNUExFN0tFWTp-fn4_Pz8-Pj5-fn4_Pz8=",
                "****************WTp+****************Pz8=",
            ),
            (
                "eFBLRVhBTVBMRTdLRVk6fn5+Pz8/Pj4+fn5+Pz8/",
                "eFBLRVhBTVBMRTdLRVk6fn5-Pz8_Pj4-fn5-Pz8_",
                "eFBL************RVk6********************",
            ),
            (
                "eHlQS0VYQU1QTEU3S0VZOn5+fj8/Pz4+Pn5+fj8/Pw==",
                "eHlQS0VYQU1QTEU3S0VZOn5-fj8_Pz4-Pn5-fj8_Pw==",
                "eHlQ****************On5+****************Pw==",
            ),
        ] {
            assert_eq!(credentials.redact(standard), shown);
            // What is left differs in the alphabet alone.
            assert_eq!(
                credentials.redact(url).replace('-', "+").replace('_', "/"),
                shown
            );
        }
    }
}
