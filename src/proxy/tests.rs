use super::*;

#[test]
fn urls_are_read_as_everybody_reads_them() {
    for (url, kind, host, port, login) in [
        ("http://proxy:3128", ProxyKind::Http, "proxy", 3128, None),
        ("proxy:3128", ProxyKind::Http, "proxy", 3128, None),
        ("proxy", ProxyKind::Http, "proxy", 80, None),
        (
            "HTTP://Proxy.Example.COM/",
            ProxyKind::Http,
            "proxy.example.com",
            80,
            None,
        ),
        (" http://127.1:1 ", ProxyKind::Http, "127.0.0.1", 1, None),
        ("socks5://[::1]", ProxyKind::Socks5, "::1", 1080, None),
        (
            "socks5h://[fe80::1%25eth0]:9",
            ProxyKind::Socks5,
            "fe80::1%eth0",
            9,
            None,
        ),
        (
            "http://me:s3@h",
            ProxyKind::Http,
            "h",
            80,
            Some(("me", "s3")),
        ),
        ("me:s3@h:8", ProxyKind::Http, "h", 8, Some(("me", "s3"))),
        ("http://me@h", ProxyKind::Http, "h", 80, Some(("me", ""))),
        (
            "http://d%5Cme:a%40b%3a%2F:c@d@h",
            ProxyKind::Http,
            "h",
            80,
            Some(("d\\me", "a@b:/:c@d")),
        ),
        (
            "socks5://a%3Ab:%c3%a9@h",
            ProxyKind::Socks5,
            "h",
            1080,
            Some(("a:b", "é")),
        ),
    ] {
        let server: ProxyServer = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(
            (server.kind, server.host(), server.port),
            (kind, host, port),
            "{url}"
        );
        let wanted = login.map(|(user, password)| (user.as_bytes(), password.as_bytes()));
        assert_eq!(server.parts(), wanted, "{url}");
        // What is shown of it is the same proxy, without its login.
        let shown: ProxyServer = server.to_string().parse().unwrap();
        assert_eq!(
            (shown.kind, shown.host(), shown.port),
            (kind, host, port),
            "{url}"
        );
        assert_eq!(shown.parts(), None);
    }
}

#[test]
fn bad_urls_are_named_and_not_echoed() {
    let socks = format!("socks5://me:{}@h", "x".repeat(256));
    let http = format!("http://me:{}@h", "x".repeat(4_097));
    for (url, says) in [
        ("", "host is missing"),
        ("http://", "host is missing"),
        ("https://hunter2@h", "reached by TLS"),
        ("socks4://hunter2@h", "scheme is none of"),
        ("hunter2://h", "scheme is none of"),
        ("http://h:0", "port is not a number"),
        ("http://h:hunter2", "port is not a number"),
        ("http://h/hunter2", "stands more"),
        ("http://me:hunter2/x@h", "write `/`"),
        ("http://me:hunter2#@h", "`%23`"),
        ("http://:hunter2@h", "user is empty"),
        ("http://me:hunter2%@h", "two hex digits"),
        ("http://me:hunter2%0a@h", "control character"),
        ("http://m%3ae:hunter2@h", "holds a colon"),
        ("socks5://hunter2@h", "password is empty"),
        ("http://me:x@hunter2!", "no host name has"),
        (&socks, "longer than 255 bytes, which SOCKS"),
        (&http, "longer than 4,096"),
    ] {
        let error = url.parse::<ProxyServer>().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(says), "{url}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("xxx"), "{text}");
        let error = ProxyServer::of_variable("ALL_PROXY", url.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("variable ALL_PROXY"), "{error}");
    }
}

/// A byte counts them in SOCKS. For an HTTP proxy they may be tokens.
#[test]
fn the_longest_logins_are_kept() {
    for (scheme, longest) in [("socks5", 255), ("http", 4_096)] {
        let password = "x".repeat(longest);
        let server: ProxyServer = format!("{scheme}://me:{password}@h").parse().unwrap();
        assert_eq!(server.parts(), Some((&b"me"[..], password.as_bytes())));
    }
}

#[test]
fn proxies_differ_by_their_logins_and_show_none() {
    let parse = |url: &str| url.parse::<ProxyServer>().unwrap();
    let one = parse("http://me:hunter2@h");
    assert_eq!(one, parse("http://h").login("me", "hunter2").unwrap());
    for other in [
        "http://me:hunter3@h",
        "http://h",
        "http://me:hunter2@h:81",
        "socks5://me:hunter2@h:80",
    ] {
        assert_ne!(one, parse(other), "{other}");
    }
    let named = ProxyServer::of_variable("HTTPS_PROXY", b"http://me:hunter2@h").unwrap();
    assert_eq!(named, one);
    assert_eq!(named.to_string(), "http://h:80 (of HTTPS_PROXY)");
    let debug = format!("{:?} {:?}", named, Proxy::At(one));
    assert!(
        debug.contains("***") && !debug.contains("hunter2") && !debug.contains("me"),
        "{debug}"
    );
}
