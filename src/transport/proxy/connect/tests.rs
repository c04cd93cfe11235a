use super::{
    super::tests::{Script, outcome},
    *,
};

const VENUE: &str = "wss://venue.test/v2/iex";

fn ask(server: &str, answer: &[u8]) -> Result<bool, ProxyFault> {
    outcome([1, 2, 7, 100_000], server, VENUE, &[answer])
}

#[test]
fn the_request_names_the_venue_and_logs_in() {
    for (server, venue, request) in [
        (
            "http://p",
            VENUE,
            "CONNECT venue.test:443 HTTP/1.1\r\nHost: venue.test:443\r\n\r\n",
        ),
        (
            "http://p",
            "ws://[2001:db8::1]/",
            "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
        ),
        // RFC 7617, section 2.
        (
            "http://Aladdin:open%20sesame@p",
            "ws://h:9",
            "CONNECT h:9 HTTP/1.1\r\nHost: h:9\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
        ),
    ] {
        let mut script = Script::new(5, &[b"HTTP/1.1 200 OK\r\n\r\n"]);
        assert_eq!(script.run(server, venue), Ok(true));
        assert_eq!(String::from_utf8_lossy(&script.heard[0]), request);
    }
}

#[test]
fn every_answer_is_taken_for_what_it_is() {
    use ProxyFault::{Failed, Forbidden, LoginRefused, LoginWanted, VenueUnreachable};
    let venue = || "venue.test:443".to_owned();
    let http = |status| ProxyAnswer::Http {
        status,
        retry_after: None,
    };
    let later = |status| ProxyAnswer::Http {
        status,
        retry_after: Some(std::time::Duration::from_secs(120)),
    };
    for (server, answer, outcome) in [
        (
            "http://p",
            "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
            Ok(true),
        ),
        ("http://p", "HTTP/1.1 204\r\n\r\n", Ok(true)),
        // What a successful answer says of its content is to be ignored.
        (
            "http://p",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            Ok(true),
        ),
        (
            "http://p",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Ok(true),
        ),
        ("http://p", "HTTP/1.1 200 OK\r\nVia: ", Ok(false)),
        ("http://p", "", Ok(false)),
        (
            "http://p",
            "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
            Err(LoginWanted {
                answer: http(407),
                is_configured: false,
                offers: "Basic".to_owned(),
            }),
        ),
        (
            "http://me:x@p",
            "HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\nProxy-Authenticate: Negotiate, me:x\r\n\r\n",
            Err(LoginWanted {
                answer: http(407),
                is_configured: true,
                offers: "NTLM, Negotiate".to_owned(),
            }),
        ),
        (
            "http://me:x@p",
            "HTTP/1.1 407 me:x\r\nProxy-Authenticate: Basic realm=\"me:x\"\r\n\r\n",
            Err(LoginRefused(http(407))),
        ),
        (
            "http://me:x@p",
            "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
            Err(LoginRefused(http(401))),
        ),
        (
            "http://me:x@p",
            "HTTP/1.1 407 No\r\n\r\n",
            Err(LoginRefused(http(407))),
        ),
        (
            "http://p",
            "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
            Err(Forbidden {
                venue: venue(),
                answer: http(403),
            }),
        ),
        (
            "http://p",
            "HTTP/1.1 503 No\r\n\r\n",
            Err(VenueUnreachable {
                venue: venue(),
                answer: http(503),
            }),
        ),
        (
            "http://p",
            "HTTP/1.1 500 No\r\n\r\n",
            Err(VenueUnreachable {
                venue: venue(),
                answer: http(500),
            }),
        ),
        (
            "http://p",
            "HTTP/1.1 429 No\r\n\r\n",
            Err(Failed(http(429))),
        ),
        // What fails for a while is not for a human to mend.
        (
            "http://p",
            "HTTP/1.1 404 No such domain\r\n\r\n",
            Err(VenueUnreachable {
                venue: venue(),
                answer: http(404),
            }),
        ),
        (
            "http://p",
            "HTTP/1.1 404 Not found\r\n\r\n",
            Err(not_a_proxy("HTTP 404 to `CONNECT`")),
        ),
        (
            "http://p",
            "HTTP/1.1 506 No\r\n\r\n",
            Err(Failed(http(506))),
        ),
        (
            "http://p",
            "HTTP/1.1 599 No\r\n\r\n",
            Err(Failed(http(599))),
        ),
        (
            "http://p",
            "HTTP/1.1 501 No\r\n\r\n",
            Err(not_a_proxy("HTTP 501 to `CONNECT`")),
        ),
        (
            "http://p",
            "HTTP/1.1 505 No\r\n\r\n",
            Err(not_a_proxy("HTTP 505 to `CONNECT`")),
        ),
        (
            "http://p",
            "HTTP/1.1 600 No\r\n\r\n",
            Err(not_a_proxy("HTTP 600 to `CONNECT`")),
        ),
        // When it wants to be asked again.
        (
            "http://p",
            "HTTP/1.1 503 No\r\nretry-after: 120\r\n\r\n",
            Err(VenueUnreachable {
                venue: venue(),
                answer: later(503),
            }),
        ),
        (
            "http://p",
            "HTTP/1.1 429 No\r\nRetry-After: soon\r\nRetry-After: 120\r\n\r\n",
            Err(Failed(later(429))),
        ),
        // Lines that end in LF alone.
        ("http://p", "HTTP/1.0 200 OK\n\n", Ok(true)),
        ("http://p", "HTTP/1.0 200 OK\nVia: x\n\n", Ok(true)),
        ("http://p", "HTTP/1.0 200 OK\r\nVia: x\n\r\n", Ok(true)),
        ("http://p", "HTTP/1.0 200 OK\n\r\n", Ok(true)),
        ("http://p", "HTTP/1.0 200 OK\nVia: x\r\n\n", Ok(true)),
        (
            "http://p",
            "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n\n",
            Ok(true),
        ),
        ("http://p", "HTTP/1.0 200 OK\n", Ok(false)),
        (
            "http://p",
            "HTTP/1.1 302 There\r\nLocation: x\r\n\r\n",
            Err(not_a_proxy("HTTP 302 to `CONNECT`")),
        ),
        (
            "http://p",
            "HTTP/1.1 405 No\r\n\r\n<html>",
            Err(not_a_proxy("HTTP 405 to `CONNECT`")),
        ),
        (
            "http://p",
            "HTTP/1.1 101 Switching\r\n\r\n",
            Err(not_a_proxy("HTTP 101 to `CONNECT`")),
        ),
        (
            "http://p",
            "<html>hello</html>",
            Err(not_a_proxy("it does not answer in HTTP")),
        ),
        (
            "http://p",
            "SSH-2.0-x\r\n",
            Err(not_a_proxy("it does not answer in HTTP")),
        ),
        ("http://p", "H", Ok(false)),
        (
            "http://p",
            "HTTP/1.1 two hundred\r\n\r\n",
            Err(not_a_proxy("the head of its answer is not HTTP's")),
        ),
    ] {
        let outcome_text = format!("{outcome:?}");
        assert_eq!(ask(server, answer.as_bytes()), outcome, "{answer}");
        assert!(!outcome_text.contains("me:x"));
    }
}

/// A web server does not wait for the client to speak. In the same piece, or there would be nothing to see.
#[test]
fn content_behind_a_success_is_no_tunnel() {
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>";
    let without_cr: &[u8] = b"HTTP/1.1 200 OK\n\n<html>\r\n\r\n";
    for answer in [answer, without_cr] {
        let mut script = Script::new(1_000, &[answer]);
        let says = "it goes on with content, as a web server does";
        assert_eq!(script.run("http://p", VENUE), Err(not_a_proxy(says)));
    }
}

#[test]
fn no_answer_is_read_without_end() {
    let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 2 * MAX_HEAD]].concat();
    let too_long = not_a_proxy("the head of its answer is longer than 16 KiB");
    assert_eq!(ask("http://p", &endless), Err(too_long.clone()));
    // Nor are interim answers.
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000);
    assert_eq!(ask("http://p", &interim), Err(too_long));
    let fields = "X: y\r\n".repeat(100);
    let crowded = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let odd = not_a_proxy("the head of its answer is not HTTP's");
    assert_eq!(ask("http://p", crowded.as_bytes()), Err(odd));
}

#[test]
fn an_end_in_place_of_an_answer_is_named() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
        let mut script = Script::new(3, &[answer]).ending();
        assert_eq!(script.run("http://p", VENUE), Err(ProxyFault::Ended));
    }
}
