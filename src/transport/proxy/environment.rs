//! Which proxy the environment names for an endpoint. The rules are those of curl and of Go, where these agree.

use std::net::IpAddr;

use zeroize::Zeroizing;

use crate::{
    error::Result,
    key::{self, Endpoint},
    proxy::{Proxy, ProxyServer},
};

/// The proxy of the connections to `venue`, if they go through one.
///
/// # Errors
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if the environment names one that cannot be understood: it is
/// not passed by without a word.
pub(crate) fn proxy_for(setting: &Proxy, venue: &Endpoint) -> Result<Option<ProxyServer>> {
    match setting {
        Proxy::Never => Ok(None),
        Proxy::At(server) => Ok(Some(server.clone())),
        Proxy::FromEnv => named_by(venue, |name| {
            let value = std::env::var_os(name)?.into_encoded_bytes();
            // It may hold a password.
            Some(Zeroizing::new(value))
        }),
    }
}

/// A variable's value, if it is set.
type Value = Option<Zeroizing<Vec<u8>>>;

fn named_by(
    venue: &Endpoint,
    variable: impl Fn(&'static str) -> Value,
) -> Result<Option<ProxyServer>> {
    if is_here(venue.host()) {
        return Ok(None);
    }
    let set =
        |name: &'static str| Some((name, variable(name)?)).filter(|(_, value)| !value.is_empty());
    let Some((name, value)) = PROXY.into_iter().find_map(set) else {
        return Ok(None);
    };
    let exceptions = NO_PROXY.into_iter().find_map(set);
    if exceptions.is_some_and(|(_, list)| is_excepted(venue, &String::from_utf8_lossy(&list))) {
        return Ok(None);
    }
    ProxyServer::of_variable(name, &value).map(Some)
}

const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Whether a host is this machine, or on a link of it: no proxy is nearer to it, or knows it by that address.
fn is_here(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local(),
        Err(_) => host == "localhost" || host.ends_with(".localhost") || host.contains('%'),
    }
}

/// Whether one entry of the list is about the venue.
fn is_excepted(venue: &Endpoint, list: &str) -> bool {
    let address = venue.host().parse::<IpAddr>().ok();
    list.split(|sign: char| sign == ',' || sign.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            let Exception { host, bits, port } = Exception::read(entry);
            if port.is_some_and(|port| port != venue.port().to_string()) {
                return false;
            }
            match (address, bits) {
                (Some(address), Some(bits)) => is_within(address, host, bits),
                // In whatever notation.
                (Some(address), None) => canonical(host) == Some(address.to_string()),
                (None, Some(_)) => false,
                (None, None) => is_domain_of(venue.host(), host),
            }
        })
}

/// An entry of the list: `host:port`, `[address]:port`, `network/bits:port`, each without the port, or an address with
/// colons of its own. The brackets stand around a network, or around its address alone.
struct Exception<'a> {
    host: &'a str,
    /// Of a network.
    bits: Option<&'a str>,
    port: Option<&'a str>,
}

impl<'a> Exception<'a> {
    fn read(entry: &'a str) -> Self {
        let (entry, port) = match entry.rsplit_once(':') {
            Some((host, port))
                if host.ends_with(']') || host.contains('/') || !host.contains(':') =>
            {
                (host, Some(port))
            }
            _ => (entry, None),
        };
        let (host, bits) = match entry.split_once('/') {
            Some((network, bits)) => (network, Some(bits.trim_end_matches(']'))),
            None => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self { host, bits, port }
    }
}

fn canonical(host: &str) -> Option<String> {
    let host = if host.contains(':') {
        key::host_and_port(&format!("[{host}]"))
    } else {
        key::host_and_port(host)
    };
    host.ok().map(|(host, _)| host)
}

/// Whether `host` is `domain`, which may have `.` or `*.` in front, or belongs to it.
fn is_domain_of(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let domain = domain
        .strip_suffix('.')
        .unwrap_or(domain)
        .to_ascii_lowercase();
    match host.strip_suffix(&*domain) {
        Some("") => true,
        Some(front) => front.ends_with('.') && !domain.is_empty(),
        None => false,
    }
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let differ = u32::from(address) ^ u32::from(network);
            differ.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let differ = u128::from(address) ^ u128::from(network);
            differ.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(venue: &str, variables: &[(&str, &str)]) -> Result<Option<String>> {
        let value = |name: &'static str| -> Value {
            let (_, value) = variables.iter().find(|(other, _)| *other == name)?;
            Some(Zeroizing::new(value.as_bytes().to_vec()))
        };
        let server = named_by(&venue.parse().unwrap(), value)?;
        Ok(server.map(|server| server.to_string()))
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_proxy() {
        const VENUE: &str = "wss://venue.test";
        let all = [
            ("HTTPS_PROXY", "http://a"),
            ("https_proxy", "http://b"),
            ("ALL_PROXY", "socks5://c"),
            ("all_proxy", "socks5h://d"),
        ];
        let shown = [
            "http://a:80 (of HTTPS_PROXY)",
            "http://b:80 (of https_proxy)",
            "socks5://c:1080 (of ALL_PROXY)",
            "socks5://d:1080 (of all_proxy)",
        ];
        for (at, shown) in shown.into_iter().enumerate() {
            for venue in [VENUE, "ws://venue.test:81"] {
                assert_eq!(named(venue, &all[at..]).unwrap().unwrap(), shown);
            }
            // An empty one is not set.
            let mut with_empty = all;
            with_empty[..at]
                .iter_mut()
                .for_each(|(_, value)| *value = "");
            assert_eq!(named(VENUE, &with_empty).unwrap().unwrap(), shown);
        }
        assert_eq!(named(VENUE, &[]).unwrap(), None);
        // That one is for `http://` alone, and any CGI program's caller can set it.
        assert_eq!(
            named(
                "ws://venue.test",
                &[("HTTP_PROXY", "http://a"), ("http_proxy", "http://a")]
            )
            .unwrap(),
            None
        );
        let odd = [
            ("HTTPS_PROXY", "quic://hunter2@a"),
            ("ALL_PROXY", "http://b"),
        ];
        let error = named(VENUE, &odd).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY: the proxy's scheme"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        // Where it is not needed, it does not matter.
        let excepted = [odd[0], ("no_proxy", "venue.test")];
        assert_eq!(named(VENUE, &excepted).unwrap(), None);
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        for (venue, is_direct) in [
            ("ws://localhost", true),
            ("ws://sim.localhost:9", true),
            ("ws://127.1.2.3", true),
            ("ws://0x7f.1", true),
            ("ws://[::1]", true),
            ("ws://[::ffff:127.0.0.1]", true),
            ("ws://[fe80::1%25eth0]", true),
            ("ws://[fe80::1]", true),
            ("ws://[febf::1]", true),
            ("ws://169.254.169.254", true),
            ("ws://169.253.1.1", false),
            ("ws://[fec0::1]", false),
            ("ws://localhost.test", false),
            ("ws://192.0.2.1", false),
            ("ws://[2001:db8::1]", false),
        ] {
            let named = named(venue, &[("ALL_PROXY", "p")]).unwrap();
            assert_eq!(named.is_none(), is_direct, "{venue}");
        }
    }

    #[test]
    fn exceptions_are_hosts_domains_addresses_and_networks() {
        for (list, venue, is_excepted) in [
            ("*", "wss://venue.test", true),
            ("venue.test", "wss://venue.test", true),
            ("venue.test", "wss://stream.venue.test", true),
            ("venue.test", "wss://myvenue.test", false),
            (".venue.test", "wss://venue.test", true),
            (".venue.test", "wss://stream.venue.test", true),
            ("*.venue.test", "wss://stream.venue.test", true),
            ("Venue.TEST.", "wss://venue.test", true),
            ("stream.venue.test", "wss://venue.test", false),
            (" a.test , venue.test,b.test", "wss://venue.test", true),
            ("a.test venue.test", "wss://venue.test", true),
            ("venue.test:443", "wss://venue.test", true),
            ("venue.test:443", "wss://venue.test:444", false),
            ("venue.test:443", "ws://venue.test", false),
            (",, ,", "wss://venue.test", false),
            (".", "wss://venue.test", false),
            ("", "wss://venue.test", false),
            ("test", "wss://venue.test", true),
            ("192.0.2.7", "wss://192.0.2.7", true),
            ("192.0.2.7", "wss://192.0.2.77", false),
            ("2.7", "wss://192.0.2.7", false),
            ("192.0.2.7:80", "ws://192.0.2.7", true),
            ("192.0.2.0/24", "wss://192.0.2.7", true),
            ("192.0.2.0/24", "wss://192.0.3.7", false),
            ("192.0.2.0/24", "wss://venue.test", false),
            ("0.0.0.0/0", "wss://192.0.2.7", true),
            ("192.0.2.0/33", "wss://192.0.2.0", false),
            ("192.0.2.7/32", "wss://192.0.2.7", true),
            ("2001:db8::1", "wss://[2001:db8:0::1]", true),
            ("[2001:db8::1]", "wss://[2001:db8::1]", true),
            ("[2001:db8::1]:443", "wss://[2001:db8::1]", true),
            ("[2001:db8::1]:80", "wss://[2001:db8::1]", false),
            ("2001:db8::/32", "wss://[2001:db8::1]", true),
            ("2001:db9::/32", "wss://[2001:db8::1]", false),
            ("192.0.2.0/24:443", "wss://192.0.2.7", true),
            ("192.0.2.0/24:80", "wss://192.0.2.7", false),
            ("192.0.2.0/24:", "wss://192.0.2.7", false),
            ("192.0.3.0/24:443", "wss://192.0.2.7", false),
            ("2001:db8::/32:443", "wss://[2001:db8::1]", true),
            ("2001:db8::/32:80", "wss://[2001:db8::1]", false),
            ("[2001:db8::]/32:443", "wss://[2001:db8::1]", true),
            ("[2001:db8::/32]:443", "wss://[2001:db8::1]", true),
            ("[2001:db8::/32]:80", "wss://[2001:db8::1]", false),
            ("[2001:db8::/32]", "wss://[2001:db8::1]", true),
            ("venue.test/24", "wss://venue.test", false),
            ("::/0", "wss://[2001:db8::1]", true),
            ("::/0", "wss://192.0.2.7", false),
        ] {
            let found = named(venue, &[("ALL_PROXY", "p"), ("NO_PROXY", list)]).unwrap();
            assert_eq!(found.is_none(), is_excepted, "{list:?} and {venue}");
        }
    }
}
