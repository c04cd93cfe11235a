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
