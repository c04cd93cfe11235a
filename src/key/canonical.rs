//! One spelling for each host, path and query, so that two spellings of one endpoint compare equal.
//!
//! RFC 3986, section 6.2, says what is the same. A host in numbers is read as `getaddrinfo` reads it, because the
//! operating system would connect there. Names are not looked up: two names of one server are two hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is wrong with an endpoint.
type Why = &'static str;

/// A host that stands without brackets: a name, or an IPv4 address in any of its notations.
pub(super) fn host(written: &str) -> Result<String, Why> {
    if written.contains('%') {
        return Err("a host is written without percent-encoding");
    }
    // The dot at the end says that the name is complete. It is not part of the name that a certificate holds, nor of
    // the one that a server knows itself by.
    let name = written.strip_suffix('.').unwrap_or(written);
    if name.is_empty() {
        return Err("the host is missing");
    }
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.bytes().all(is_of_names) {
        return Err("the host holds a character that no host name has");
    }
    if name.split('.').any(str::is_empty) {
        return Err("a part of the host is empty: two dots, or one in front");
    }
    let name = name.to_ascii_lowercase();
    if !name.rsplit('.').next().is_some_and(is_number) {
        return Ok(name);
    }
    let address = ipv4(&name).ok_or("the host ends in a number, but is no IPv4 address")?;
    self::address(address.into())
}

/// A host that stands in brackets. A zone id stands behind `%25` there, and behind `%` in what comes of it: that is how
/// `getaddrinfo` reads it. Only a link-local address means something else with it than without.
pub(super) fn host_in_brackets(written: &str) -> Result<String, Why> {
    let (written, zone) = written
        .split_once('%')
        .map_or((written, None), |(address, zone)| (address, Some(zone)));
    let address: Ipv6Addr = written
        .parse()
        .map_err(|_| "what stands in `[` and `]` is no IPv6 address")?;
    let Some(zone) = zone else {
        return self::address(address.into());
    };
    let zone = zone
        .strip_prefix("25")
        .ok_or("a zone id stands behind `%25`: `[fe80::1%25eth0]`")?;
    if !address.is_unicast_link_local() {
        return Err("a zone id means something with a link-local address alone: `fe80::…`");
    }
    let is_of_zones = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if zone.is_empty() || !zone.bytes().all(is_of_zones) {
        return Err("the zone id is empty, or holds a character that no interface has");
    }
    Ok(format!("{address}%{zone}"))
}

/// An IPv4 address that is mapped into IPv6 is that IPv4 address: the operating system connects to it by IPv4, and
/// certificates and servers know it by that name.
fn address(address: IpAddr) -> Result<String, Why> {
    let address = address.to_canonical();
    if address.is_unspecified() {
        // Some systems connect to themselves there, and others nowhere.
        return Err(
            "the unspecified address is where a server listens: name the one to connect to",
        );
    }
    Ok(address.to_string())
}

/// Whether a name that ends so is an address to `getaddrinfo`. No top-level domain is a number.
fn is_number(label: &str) -> bool {
    let is_decimal = label.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = label
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_decimal || is_hex
}

/// One to four numbers, each decimal, octal (behind `0`) or hexadecimal (behind `0x`), as `inet_aton` reads them: the last
/// one stands for all the bytes that are left.
fn ipv4(name: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u64> = name.split('.').map(number).collect::<Option<_>>()?;
    let (last, bytes) = numbers.split_last()?;
    if bytes.len() > 3 || *last >> (32 - 8 * bytes.len()) > 0 {
        return None;
    }
    let mut address = u32::try_from(*last).ok()?;
    for (at, byte) in bytes.iter().enumerate() {
        address |= u32::from(u8::try_from(*byte).ok()?) << (24 - 8 * at);
    }
    Some(address.into())
}

fn number(part: &str) -> Option<u64> {
    let (digits, radix) = match part.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

/// A path without dot segments and without a slash at its end.
pub(super) fn path(written: &str) -> Result<String, Why> {
    if written.contains("//") {
        return Err("a part of the path is empty: `//`");
    }
    // First decoded: `%2E` is a dot.
    let decoded = percent(written, b"/")?;
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    Ok(segments
        .iter()
        .fold(String::new(), |path, segment| path + "/" + segment))
}

/// A query, or none where it is empty: RFC 6455, section 3, makes the same request of both.
pub(super) fn query(written: &str) -> Result<Option<String>, Why> {
    if written.is_empty() {
        return Ok(None);
    }
    percent(written, b"/?").map(Some)
}

/// Percent-encoding as RFC 3986 wants it: hex digits in upper case, nothing encoded that need not be, and everything that
/// has to be. What separates parts means something else once it is encoded, and stays as it is written.
fn percent(written: &str, separators: &[u8]) -> Result<String, Why> {
    let mut canonical = String::with_capacity(written.len());
    let mut bytes = written.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, is_encoded) = if byte == b'%' {
            let code = byte_of_hex(&mut bytes);
            (code.ok_or("`%` without two hex digits behind it")?, true)
        } else {
            (byte, false)
        };
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let may_stand = b"!$&'()*+,;=:@".contains(&byte) || separators.contains(&byte);
        if is_unreserved || (may_stand && !is_encoded) {
            canonical.push(char::from(byte));
        } else {
            canonical.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(canonical)
}

/// What stands behind `%`: two hex digits.
pub(crate) fn byte_of_hex(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high << 4 | low).ok()
}
