//! What is looked for: credentials that stand out, and every form in which a text may hold them.

#[derive(Clone, Copy)]
pub(crate) struct Canary {
    pub(crate) key: &'static str,
    pub(crate) secret: &'static str,
}

pub(crate) const PLAIN: Canary = Canary {
    key: "PKCANARY7KEYQ2ZX81",
    secret: "cAnArYsEcReT0f5H9k3LmN7pQ2rS4tV6wX8yZ1bD",
};

/// Everything that some encoding or other treats apart.
pub(crate) const ODD: Canary = Canary {
    key: r#"PKodd"key\id&<7>/Q2"#,
    secret: r#"0dd"sE\cR&eT<a>/b+c=d%40?x'y#z:{w}[v]"#,
};

impl Canary {
    /// As the inside of a JSON string. Cut by hand: a quote at the end would be trimmed off otherwise.
    pub(crate) fn key_json(self) -> String {
        inside(self.key)
    }

    pub(crate) fn secret_json(self) -> String {
        inside(self.secret)
    }

    pub(crate) fn auth(self) -> String {
        format!(
            r#"{{"action":"auth","key":"{}","secret":"{}"}}"#,
            self.key_json(),
            self.secret_json()
        )
    }

    pub(crate) fn error(self, code: u16) -> String {
        format!(
            r#"[{{"T":"error","code":{code},"msg":"not {} with {} today"}}]"#,
            self.key_json(),
            self.secret_json()
        )
    }
}

pub(crate) fn inside(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Every way in which a text may hold a secret, with a name for the report.
pub(crate) fn forms(secret: &str) -> Vec<(&'static str, String)> {
    pub(crate) const FRAGMENT: usize = 8;
    let join = |bytes: &[u8], each: fn(&u8) -> String, separator: &str| {
        bytes.iter().map(each).collect::<Vec<_>>().join(separator)
    };
    let bytes = secret.as_bytes();
    let mut forms = vec![
        ("percent-encoded", join(bytes, |b| format!("%{b:02X}"), "")),
        ("percent-encoded", join(bytes, |b| format!("%{b:02x}"), "")),
        (
            "percent-encoded",
            join(
                bytes,
                |b| {
                    if b.is_ascii_alphanumeric() {
                        char::from(*b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                },
                "",
            ),
        ),
        (
            "unicode escapes",
            join(bytes, |b| format!("\\u{b:04x}"), ""),
        ),
    ];
    for window in bytes.windows(FRAGMENT).step_by(4) {
        let text = String::from_utf8(window.to_vec()).unwrap();
        forms.push(("JSON", inside(&text)));
        forms.push(("escaped twice", inside(&inside(&text))));
        forms.push(("escape_debug", text.escape_debug().to_string()));
        forms.push(("raw", text));
        for separator in ["", " ", ":", "-", ", ", ",", "\\x", ", 0x", " 0x"] {
            forms.push(("hex", join(window, |b| format!("{b:02x}"), separator)));
            forms.push(("HEX", join(window, |b| format!("{b:02X}"), separator)));
        }
        for separator in [", ", ",", " "] {
            forms.push(("decimal", join(window, u8::to_string, separator)));
        }
    }
    for (start, text) in
        (0..3).flat_map(|start| [(start, secret.to_owned()), (start, inside(secret))])
    {
        forms.push(("Base64", base64(&text.as_bytes()[start..], b"+/")));
        forms.push(("Base64", base64(&text.as_bytes()[start..], b"-_")));
    }
    forms
}

/// The groups of Base64 that are the same whatever follows.
pub(crate) fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*last)
        .collect();
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for shift in [18, 12, 6, 0] {
            text.push(char::from(alphabet[(bits >> shift) as usize & 63]));
        }
    }
    text
}

/// Fails when `text` holds key or secret in any form.
#[track_caller]
pub(crate) fn assert_clean(canary: Canary, text: &str) {
    if let Some(leak) = leak(canary, text) {
        panic!("{leak}");
    }
}

/// What `text` holds of key or secret, and in which line.
pub(crate) fn leak(canary: Canary, text: &str) -> Option<String> {
    for (what, value) in [("secret", canary.secret), ("key", canary.key)] {
        for (form, needle) in forms(value) {
            if let Some(at) = text.find(&needle) {
                let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
                let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
                return Some(format!("the {what} leaked ({form}): {}", &text[line..end]));
            }
        }
        for run in text.split(|character: char| !character.is_ascii_hexdigit()) {
            let bytes: Vec<u8> = run
                .as_bytes()
                .chunks_exact(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let masked = bytes
                .windows(value.len())
                .any(|window| is_masked(window, |at| value.as_bytes()[at]));
            if masked {
                return Some(format!("the {what} leaked, masked as in a frame: {run}"));
            }
        }
    }
    None
}

/// Whether `window` is the needle, plain or under a mask of four bytes.
pub(crate) fn is_masked(window: &[u8], needle: impl Fn(usize) -> u8) -> bool {
    (4..window.len()).all(|at| window[at] ^ needle(at) == window[at - 4] ^ needle(at - 4))
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for canary in [PLAIN, ODD] {
        let secret = canary.secret.as_bytes();
        let masked: Vec<u8> = secret
            .iter()
            .zip([1, 2, 3, 4].iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for sample in [
            canary.secret.to_owned(),
            canary.key.to_owned(),
            canary.auth(),
            format!("{:?}", canary.auth()),
            format!("{secret:?}"),
            hex(secret),
            hex(secret).to_uppercase(),
            format!("{secret:02x?}"),
            hex(&masked),
            base64(canary.auth().as_bytes(), b"+/"),
        ] {
            let text = format!("x {sample} y");
            assert!(leak(canary, &text).is_some(), "overlooked: {sample}");
        }
        assert_clean(canary, "nothing to see here, 0123456789abcdef");
    }
}
