use proptest::prelude::*;

use super::*;

#[test]
fn spellings_of_one_endpoint_are_one_key() {
    let canonical: Endpoint = "wss://stream.example.com/v2/iex".parse().unwrap();
    for spelling in [
        "WSS://stream.example.com/v2/iex",
        "wss://STREAM.example.com:443/v2/iex",
        "wss://stream.example.com:443/v2/iex/",
    ] {
        assert_eq!(
            spelling.parse::<Endpoint>().unwrap(),
            canonical,
            "{spelling}"
        );
    }
    for other in [
        "ws://stream.example.com/v2/iex",
        "wss://stream.example.com/v2/IEX",
        "wss://stream.example.com:444/v2/iex",
    ] {
        assert_ne!(other.parse::<Endpoint>().unwrap(), canonical, "{other}");
    }
}

#[test]
fn addresses_and_odd_urls() {
    let six: Endpoint = "ws://[::1]:9000/x".parse().unwrap();
    assert_eq!(
        (six.host(), six.port(), six.to_string()),
        ("::1", 9000, "ws://[::1]:9000/x".to_owned())
    );
    assert_eq!("ws://h".parse::<Endpoint>().unwrap().to_string(), "ws://h/");
    assert_eq!(
        "ws://h/a"
            .parse::<Endpoint>()
            .unwrap()
            .join("b/c")
            .unwrap()
            .to_string(),
        "ws://h/a/b/c"
    );
    for (bad, says) in [
        ("", "`wss://` in front"),
        ("h", "`wss://` in front"),
        ("http://h", "neither `ws` nor `wss`"),
        ("ws://", "host is missing"),
        ("ws://:1", "host is missing"),
        ("ws://h:0", "port is not a number"),
        ("ws://h:x", "port is not a number"),
        ("ws://h:/p", "port is missing"),
        ("ws://[::1]:", "port is missing"),
        ("wss://https://h/p", "second scheme"),
        ("wss://wss://h", "second scheme"),
        ("ws://h//p", "path is empty"),
        ("ws://h/p//", "path is empty"),
        ("ws://u:p@h", "as `Credentials`"),
        ("ws://h/a b", "white space"),
        ("ws://h#x", "fragment"),
        ("ws://[::1", "without `]`"),
        ("ws://[::1]x", "behind `]`"),
        ("ws://h#", "fragment"),
        ("ws://h:+80/p", "port is not a number"),
        ("ws://h:65536", "port is not a number"),
        ("ws://u@h", "as `Credentials`"),
        ("ws://@h", "as `Credentials`"),
        ("ws://.", "host is missing"),
        ("ws://h..", "part of the host is empty"),
        ("ws://.h", "part of the host is empty"),
        ("ws://a..b", "part of the host is empty"),
        ("ws://%68", "without percent-encoding"),
        ("ws://u%40h", "without percent-encoding"),
        ("ws://h!", "no host name has"),
        ("ws://h\\p", "no host name has"),
        ("ws://<h>", "no host name has"),
        ("ws://[::1%25eth0]", "link-local address alone"),
        ("ws://[2001:db8::1%251]", "link-local address alone"),
        ("ws://[fe80::1%2]", "behind `%25`"),
        ("ws://[fe80::1%eth0]", "behind `%25`"),
        ("ws://[fe80::1%25]", "zone id is empty"),
        ("ws://[fe80::1%25%65th0]", "no interface has"),
        ("ws://[fe80::1%25eth0%251]", "no interface has"),
        ("ws://fe80::1%25eth0", "port is not a number"),
        ("ws://[127.0.0.1]", "no IPv6 address"),
        ("ws://[v1.a]", "no IPv6 address"),
        ("ws://[]", "no IPv6 address"),
        ("ws://[1::2::3]", "no IPv6 address"),
        // Numbers that `getaddrinfo` does not take for an address either.
        ("ws://256.0.0.1", "no IPv4 address"),
        ("ws://1.2.3.4.5", "no IPv4 address"),
        ("ws://4294967296", "no IPv4 address"),
        ("ws://1.16777216", "no IPv4 address"),
        ("ws://08.1.1.1", "no IPv4 address"),
        ("ws://0x", "no IPv4 address"),
        ("ws://venue.7", "no IPv4 address"),
        ("ws://0", "unspecified address"),
        ("ws://0.0.0.0:9", "unspecified address"),
        ("ws://[::]", "unspecified address"),
        ("ws://[::ffff:0:0]", "unspecified address"),
        ("ws://h/a%", "two hex digits"),
        ("ws://h/a%4", "two hex digits"),
        ("ws://h/a%4g", "two hex digits"),
        ("ws://h/?%zz", "two hex digits"),
    ] {
        let error = bad.parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
}

#[test]
fn the_canonical_form_is_what_servers_and_certificates_know() {
    for (spelling, host, url) in [
        (
            "WSS://Venue.Test.:00443/%7ea/./b/../c%2fd/?x=%5b%7E",
            "venue.test",
            "wss://venue.test/~a/c%2Fd?x=%5B~",
        ),
        ("ws://0x7F.1:9", "127.0.0.1", "ws://127.0.0.1:9/"),
        (
            "ws://[::FFFF:7f00:1]/a[b]|{\"c\"}",
            "127.0.0.1",
            "ws://127.0.0.1/a%5Bb%5D%7C%7B%22c%22%7D",
        ),
        (
            "wss://[2001:DB8:0::0001]:444?",
            "2001:db8::1",
            "wss://[2001:db8::1]:444/",
        ),
    ] {
        let endpoint: Endpoint = spelling.parse().unwrap();
        assert_eq!(endpoint.host(), host);
        assert_eq!(endpoint.request_url(), url);
    }
}

/// The interface tells two links apart, and is nobody's business at the other end.
#[test]
fn a_link_local_address_keeps_its_interface_and_does_not_send_it() {
    let endpoint: Endpoint = "ws://[FE80:0::1%25Eth0]:9/p".parse().unwrap();
    assert_eq!(endpoint.host(), "fe80::1%Eth0");
    assert_eq!(endpoint.server_name(), "fe80::1");
    assert_eq!(endpoint.to_string(), "ws://[fe80::1%25Eth0]:9/p");
    assert_eq!(endpoint.request_url(), "ws://[fe80::1]:9/p");
    assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
    let joined = endpoint.join("q").unwrap();
    assert_eq!(joined.to_string(), "ws://[fe80::1%25Eth0]:9/p/q");
    let other: Endpoint = "ws://[fe80::1%252]:9/p".parse().unwrap();
    assert_ne!(endpoint, other);
}

proptest! {
    /// Also of texts that look odd: what was once made canonical stays as it is.
    #[test]
    fn a_canonical_endpoint_is_its_own_spelling(
        host in "[0-9a-f.xX:%-]{1,12}|\\[[0-9a-f:.]{2,16}\\]",
        rest in "[ -~]{0,24}",
    ) {
        if let Ok(endpoint) = format!("wss://{host}/{rest}").parse::<Endpoint>() {
            let url = endpoint.request_url();
            prop_assert_eq!(&url.parse::<Endpoint>().unwrap(), &endpoint);
            prop_assert_eq!(url.parse::<Endpoint>().unwrap().request_url(), url);
        }
    }

    /// Characters that mean the same encoded and not, encoded at random.
    #[test]
    fn encoding_what_need_not_be_makes_no_other_endpoint(
        path in "[a-z0-9._~-]{1,12}",
        encoded in any::<u32>(),
        upper in any::<bool>(),
    ) {
        let spelled: String = path
            .bytes()
            .enumerate()
            .map(|(at, byte)| match (encoded >> at & 1, upper) {
                (0, _) => char::from(byte).to_string(),
                (_, true) => format!("%{byte:02X}"),
                (_, false) => format!("%{byte:02x}"),
            })
            .collect();
        let parse = |text: &str| format!("ws://h/{text}?{text}").parse::<Endpoint>().unwrap();
        prop_assert_eq!(parse(&spelled), parse(&path));
    }
}

#[test]
fn a_query_is_sent_but_never_shown() {
    let endpoint: Endpoint = "ws://h/p?token=abc".parse().unwrap();
    assert_eq!(endpoint.request_url(), "ws://h/p?token=abc");
    assert!(!format!("{endpoint} {endpoint:?}").contains("abc"));
}
