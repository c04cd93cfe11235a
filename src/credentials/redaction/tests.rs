use proptest::{collection::vec, prelude::*, sample::select};

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

/// How something writes bytes.
type Write = fn(&[u8]) -> String;

fn each(bytes: &[u8], separator: &str, write: impl Fn(u8) -> String) -> String {
    let written: Vec<_> = bytes.iter().map(|byte| write(*byte)).collect();
    written.join(separator)
}

/// Letters and digits as they are, and all else in this way.
fn others(bytes: &[u8], write: impl Fn(u8) -> String) -> String {
    each(bytes, "", |byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => write(byte),
    })
}

fn json(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn html(bytes: &[u8], quote: &str, apostrophe: &str) -> String {
    let text = text(bytes).replace('&', "&amp;").replace('<', "&lt;");
    let text = text.replace('>', "&gt;").replace('"', quote);
    text.replace('\'', apostrophe)
}

fn percent(bytes: &[u8]) -> String {
    others(bytes, |byte| format!("%{byte:02X}"))
}

fn base64(bytes: &[u8], alphabet: &[u8; 2], pad: &str) -> String {
    let mut signs = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let sextet = (bits >> shift & 63) as u8;
            signs.push_str(&match sextet {
                _ if at > group.len() => pad.to_owned(),
                0..26 => char::from(b'A' + sextet).to_string(),
                26..52 => char::from(b'a' + sextet - 26).to_string(),
                52..62 => char::from(b'0' + sextet - 52).to_string(),
                62 => char::from(alphabet[0]).to_string(),
                _ => char::from(alphabet[1]).to_string(),
            });
        }
    }
    signs
}

fn lines(text: &str, width: usize, line_break: &str) -> String {
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(width)
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    lines.join(line_break)
}

/// What the standard libraries of many languages, servers, proxies and loggers make of a text.
const FAMILIES: &[(&str, Write)] = &[
    ("as it is", text),
    ("a header's name in HTTP/2", |bytes| {
        text(bytes).to_lowercase()
    }),
    ("upper case", |bytes| text(bytes).to_uppercase()),
    ("JSON", |bytes| json(&text(bytes))),
    ("JSON in JSON", |bytes| json(&json(&text(bytes)))),
    ("JSON in JSON in JSON", |bytes| {
        json(&json(&json(&text(bytes))))
    }),
    ("JSON of PHP", |bytes| {
        json(&text(bytes)).replace('/', "\\/")
    }),
    ("JSON of Go", |bytes| {
        let json = json(&text(bytes)).replace('&', "\\u0026");
        json.replace('<', "\\u003c").replace('>', "\\u003e")
    }),
    ("JSON of .NET", |bytes| {
        others(bytes, |byte| format!("\\u00{byte:02X}"))
    }),
    ("JSON in escapes", |bytes| {
        each(bytes, "", |byte| format!("\\u{byte:04x}"))
    }),
    ("JSON in escapes in JSON", |bytes| {
        each(bytes, "", |byte| format!("\\\\u{byte:04x}"))
    }),
    ("escapes of Rust", |bytes| {
        each(bytes, "", |byte| format!("\\u{{{byte:x}}}"))
    }),
    ("escapes of Perl", |bytes| {
        each(bytes, "", |byte| format!("\\x{{{byte:02x}}}"))
    }),
    ("escapes of C", |bytes| {
        each(bytes, "", |byte| format!("\\x{byte:02x}"))
    }),
    ("long escapes", |bytes| {
        each(bytes, "", |byte| format!("\\U{byte:08x}"))
    }),
    ("octal escapes", |bytes| {
        each(bytes, "", |byte| format!("\\{byte:03o}"))
    }),
    ("decimal escapes of DNS", |bytes| {
        others(bytes, |byte| format!("\\{byte:03}"))
    }),
    ("escapes of LDAP", |bytes| {
        others(bytes, |byte| format!("\\{byte:02x}"))
    }),
    ("escapes of CSS", |bytes| {
        others(bytes, |byte| format!("\\{byte:x} "))
    }),
    ("repr of Python's bytes", |bytes| {
        text(bytes).replace('\\', "\\\\").replace('\'', "\\'")
    }),
    ("%q of Go", |bytes| format!("{:?}", text(bytes))),
    ("a shell's quotes", |bytes| {
        text(bytes).replace('\'', "'\\''")
    }),
    ("%x of Go", |bytes| {
        each(bytes, "", |byte| format!("{byte:02x}"))
    }),
    ("% X of Go", |bytes| {
        each(bytes, " ", |byte| format!("{byte:02X}"))
    }),
    ("%#x of Go", |bytes| {
        "0x".to_owned() + &each(bytes, "", |byte| format!("{byte:02x}"))
    }),
    ("% #x of Go", |bytes| {
        each(bytes, " ", |byte| format!("{byte:#04x}"))
    }),
    ("hex with colons", |bytes| {
        each(bytes, ":", |byte| format!("{byte:02x}"))
    }),
    ("hex with hyphens", |bytes| {
        each(bytes, "-", |byte| format!("{byte:02X}"))
    }),
    ("an array in C", |bytes| {
        each(bytes, ", ", |byte| format!("0x{byte:02X}"))
    }),
    ("an array in octal", |bytes| {
        each(bytes, ", ", |byte| format!("0{byte:o}"))
    }),
    ("od", |bytes| each(bytes, " ", |byte| format!("{byte:03o}"))),
    ("xxd", |bytes| {
        let pairs: Vec<_> = bytes
            .chunks(2)
            .map(|pair| each(pair, "", |byte| format!("{byte:02x}")))
            .collect();
        pairs.join(" ")
    }),
    ("a list of numbers", |bytes| {
        each(bytes, ", ", |byte| byte.to_string())
    }),
    ("a list of numbers without spaces", |bytes| {
        each(bytes, ",", |byte| byte.to_string())
    }),
    ("a list of numbers, one a line", |bytes| {
        each(bytes, ",\n        ", |byte| byte.to_string())
    }),
    ("a list of numbers, one a line, in JSON", |bytes| {
        each(bytes, ",\\n        ", |byte| byte.to_string())
    }),
    ("a list of characters", |bytes| {
        each(bytes, "\", \"", |byte| json(&char::from(byte).to_string()))
    }),
    ("a list of characters in JSON", |bytes| {
        each(bytes, "\\\",\\\"", |byte| {
            json(&json(&char::from(byte).to_string()))
        })
    }),
    ("characters with spaces", |bytes| {
        each(bytes, " ", |byte| char::from(byte).to_string())
    }),
    ("UTF-16", |bytes| {
        each(bytes, "\0", |byte| char::from(byte).to_string())
    }),
    ("a URL", percent),
    ("a URL in lower case", |bytes| {
        others(bytes, |byte| format!("%{byte:02x}"))
    }),
    ("a URL all encoded", |bytes| {
        each(bytes, "", |byte| format!("%{byte:02X}"))
    }),
    ("a URL's query", |bytes| {
        let percent = percent(bytes).replace("%2F", "/");
        percent.replace("%3A", ":").replace("%7E", "~")
    }),
    ("a URL in a URL", |bytes| percent(bytes).replace('%', "%25")),
    ("a URL in a URL in a URL", |bytes| {
        percent(bytes).replace('%', "%2525")
    }),
    ("`escape` of JavaScript", |bytes| {
        others(bytes, |byte| format!("%u{byte:04X}"))
    }),
    ("JSON in a URL", |bytes| {
        percent(json(&text(bytes)).as_bytes())
    }),
    ("HTML of Python", |bytes| html(bytes, "&quot;", "&#x27;")),
    ("HTML of Go", |bytes| html(bytes, "&#34;", "&#39;")),
    ("HTML of PHP", |bytes| html(bytes, "&quot;", "&#039;")),
    ("XML", |bytes| html(bytes, "&quot;", "&apos;")),
    ("HTML by names", |bytes| {
        others(bytes, |byte| {
            match NAMES.iter().find(|(of, _)| *of == byte) {
                Some((_, names)) => format!("&{};", names[0]),
                None => char::from(byte).to_string(),
            }
        })
    }),
    ("HTML in decimal", |bytes| {
        each(bytes, "", |byte| format!("&#{byte};"))
    }),
    ("HTML in decimal with zeros", |bytes| {
        each(bytes, "", |byte| format!("&#{byte:07};"))
    }),
    ("HTML in decimal without ends", |bytes| {
        each(bytes, "", |byte| format!("&#{byte}"))
    }),
    ("HTML in hex", |bytes| {
        each(bytes, "", |byte| format!("&#x{byte:X};"))
    }),
    ("HTML in hex with zeros", |bytes| {
        each(bytes, "", |byte| format!("&#x{byte:06x};"))
    }),
    ("HTML in HTML", |bytes| {
        html(html(bytes, "&quot;", "&#39;").as_bytes(), "&quot;", "&#39;")
    }),
    ("HTML in JSON of Go", |bytes| {
        html(bytes, "&#34;", "&#39;").replace('&', "\\u0026")
    }),
    ("HTML in a URL", |bytes| {
        percent(html(bytes, "&#34;", "&#39;").as_bytes())
    }),
    ("JSON in HTML", |bytes| {
        html(json(&text(bytes)).as_bytes(), "&quot;", "&#39;")
    }),
    ("quoted-printable", |bytes| {
        let lines: Vec<_> = bytes
            .chunks(7)
            .map(|line| text(line).replace('=', "=3D"))
            .collect();
        lines.join("=\r\n")
    }),
    ("quoted-printable, all encoded", |bytes| {
        let lines: Vec<_> = bytes
            .chunks(25)
            .map(|line| each(line, "", |byte| format!("={byte:02X}")))
            .collect();
        lines.join("=\n")
    }),
    ("Base64", |bytes| base64(bytes, b"+/", "=")),
    ("Base64 of URLs", |bytes| base64(bytes, b"-_", "")),
    ("Base64 in a URL", |bytes| {
        percent(base64(bytes, b"+/", "").as_bytes())
    }),
    ("Base64 in JSON of PHP", |bytes| {
        base64(bytes, b"+/", "=").replace('/', "\\/")
    }),
    ("Base64 in JSON of .NET", |bytes| {
        base64(bytes, b"+/", "=").replace('+', "\\u002B")
    }),
    ("Base64 in HTML", |bytes| {
        let base64 = base64(bytes, b"+/", "").replace('/', "&#x2F;");
        base64.replace('+', "&#43;")
    }),
    ("Base64 of a mail", |bytes| {
        lines(&base64(bytes, b"+/", "="), 76, "\r\n")
    }),
    ("Base64 of a mail in JSON", |bytes| {
        lines(&base64(bytes, b"+/", "="), 19, "\\r\\n")
    }),
];

/// What is written of a secret between other things is masked, but for fewer than eight characters.
fn assert_masked(
    credentials: &Credentials,
    family: &str,
    before: &str,
    written: &str,
    after: &str,
) {
    let text = format!("{before}{written}{after}");
    let masked = credentials.masked(&text);
    assert_eq!(masked.len(), text.len());
    let mut there = masked[before.len()..before.len() + written.len()].to_owned();
    for escaped in [
        "\\u002B", "%2B", "%2F", "\\/", "&#43;", "&#x2F;", "\\r\\n", "\r\n",
    ] {
        there = there.replace(escaped, "+");
    }
    let shown = there.bytes().filter(|byte| *byte != b'*').count();
    // A prefix that stands once; or what groups of Base64 hold with others, on both sides.
    let most = if family.starts_with("Base64") { 15 } else { 7 };
    assert!(shown <= most, "{family}: {text:?} is shown as {masked:?}");
    assert!(credentials.stand_in(text.as_bytes()), "{family}: {text}");
}

#[test]
fn a_secret_is_found_in_every_family_of_spellings() {
    for secret in [
        "cAnArYsEcReT0f5H9k3LmN7pQ2rS4tV6wX8yZ1bD",
        r#"0dd"sE\cR&eT<a>/b+c=d%40?x'y#z:{w}[v]"#,
        r##"a!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~z"##,
        // What reads like an escape is none.
        r"a%25b&amp;c\u0041=3Dd\x41e&#65;%41",
        "53555347414140615355",
        "0x610x620x63",
        "~~~???>>>~~~???",
        r"\\\//\\\x",
        "eighteen",
    ] {
        let credentials = Credentials::new("PKEXAMPLE", secret).unwrap();
        for (family, write) in FAMILIES {
            // Base64 has three places in a group of bytes, and something of its own in front.
            for before in ["", "x", "k:", "PKEXAMPLE:"] {
                let bytes = [before, secret, "/9"].map(str::as_bytes).concat();
                let bytes = if family.starts_with("Base64") {
                    &bytes
                } else {
                    secret.as_bytes()
                };
                assert_masked(&credentials, family, "msg: <", &write(bytes), "> 1.50");
            }
        }
    }
}

#[test]
fn what_a_venue_says_is_not_taken_for_a_secret() {
    let credentials = Credentials::new(
        "PKCANARY7KEYQ2ZX81",
        "cAnArYsEcReT0f5H9k3LmN7pQ2rS4tV6wX8yZ1bD",
    )
    .unwrap();
    for text in [
        r#"[{"T":"success","msg":"connected"}]"#,
        r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#,
        r#"[{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}]"#,
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"50-4b-43\"\r\n\r\n<p>&quot;PKCANARY&quot;</p>",
        "PKCANARY7KEYQ2ZX8 and cAnArYsEcReT0f5H9k3LmN7pQ2rS4tV6wX8yZ1b",
    ] {
        assert_eq!(credentials.masked(text), text);
    }
}

/// Graphic ASCII, as credentials have it: not in quotes.
fn secrets() -> impl Strategy<Value = String> {
    // In a list of characters in JSON in JSON, many backslashes in a row are farther apart than is looked.
    let is_in_reach = |secret: &String| !secret.contains(r"\\\");
    let any = prop_oneof![
        "[a-zA-Z0-9]{20,40}",
        "[a-zA-Z0-9][!-~]{6,62}[a-zA-Z0-9]",
        // Every second character may be part of an escape.
        "[a-z0-9]([%&#=\\\\;x0-9A-F]{7,30})[a-z0-9]",
    ];
    any.prop_filter("out of reach", is_in_reach)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_of_a_secret_is_left_readable(
        secret in secrets(),
        (family, write) in select(FAMILIES),
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
        group in vec(any::<u8>(), 0..3),
    ) {
        let credentials = Credentials::new("unrelated-key-id", &secret).unwrap();
        let bytes = if family.starts_with("Base64") {
            [&group, secret.as_bytes(), b"xy"].concat()
        } else {
            secret.into_bytes()
        };
        assert_masked(&credentials, family, &before, &write(&bytes), &after);
    }

    /// However a text is cut, its end is kept back for as long as it may be the beginning of a secret.
    #[test]
    fn no_beginning_of_a_secret_is_handed_on(
        secret in "[a-zA-Z0-9]{20,40}",
        (family, write) in select(FAMILIES),
        cut in any::<prop::sample::Index>(),
    ) {
        // A group of Base64 may have begun before the secret, and that much of it cannot be told from anything else.
        if family.starts_with("Base64") {
            return Ok(());
        }
        let credentials = Credentials::new("unrelated-key-id", &secret).unwrap();
        let written = write(secret.as_bytes());
        let cut = 8 + cut.index(written.len() - 7);
        let shown = credentials.masked_cut(&written[..cut]);
        prop_assert!(shown.bytes().filter(|byte| *byte != b'*').count() <= 8, "{family}: {shown:?} of {written:?}");
    }
}
