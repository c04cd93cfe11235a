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
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the environment names one that cannot be understood: it is
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
mod tests;
