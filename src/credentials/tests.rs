use super::*;

/// Computed with Python's `hashlib.sha256` of `b"trunkline/credentials/v1"`, and of each field its length in eight
/// bytes, big end first, and itself.
#[test]
fn the_fingerprint_is_that_of_an_independent_computation() {
    for (key, secret, sha256) in [
        (
            "PKEXAMPLE",
            "sEXAMPLE",
            "8721ee693faf9a24a55b6755b7e61f5f36900a4da7689204a0291979bb9afe7a",
        ),
        (
            "a:b",
            "c",
            "33cda4d2e8199f19a9ebfe05b2b0c5714ab686948b822e0bf7801f6a7482f243",
        ),
        // The same characters, cut elsewhere.
        (
            "a",
            "b:c",
            "c45cfcf8e47c86ce8c349dea7d484313f0f44975e9f05446aaa1d1735a21e60c",
        ),
    ] {
        let fingerprint = Credentials::new(key, secret).unwrap().fingerprint();
        let digits: String = fingerprint
            .0
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(digits, sha256);
        assert_eq!(fingerprint.to_string(), sha256[..8]);
    }
}

#[test]
fn bad_values_are_refused_by_name_and_not_echoed() {
    let long = "x".repeat(MAX_LEN + 1);
    for (key, secret, says) in [
        ("", "s", "key id is empty"),
        ("k", "", "secret is empty"),
        ("k", "se cret", "secret holds"),
        ("k\n", "secret", "key id holds"),
        ("k", "sécret", "secret holds"),
        ("\"PKX\"", "s", "key id stands in quotes"),
        ("k", "'s3cret'", "secret stands in quotes"),
        ("k", "'s3cret", "secret stands in quotes"),
        ("k", "s3cret\"", "secret stands in quotes"),
        ("k", "\u{201c}s3cret\u{201d}", "secret stands in quotes"),
        (long.as_str(), "s", "key id is longer than 4096"),
    ] {
        let error = Credentials::new(key, secret).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        for value in [key, secret] {
            assert!(
                value.len() < 2 || !format!("{error} {error:?}").contains(value),
                "{error:?}"
            );
        }
    }
}

const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\n\
    MHcCAQEEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4foAoGCCqGSM49\n\
    AwEHoUQDQgAEUVw9brnjlrkE0\n\
    -----END EC PRIVATE KEY-----";

#[test]
fn a_key_in_pem_is_one_secret_however_its_lines_were_written() {
    let kept = Credentials::new("k", PEM).unwrap();
    kept.expose(|_, secret| assert_eq!(secret, PEM));
    let in_one_line = PEM.replace('\n', r"\n");
    let with_returns = PEM.replace('\n', "\r\n");
    for text in [
        format!("{PEM}\n"),
        in_one_line.clone(),
        format!("{in_one_line}\\n"),
        with_returns,
    ] {
        let other = Credentials::new("k", &text).unwrap();
        assert_eq!(other.fingerprint(), kept.fingerprint(), "{text:?}");
        let read = Credentials::from_reader(format!(" k \n{text}\n").as_bytes()).unwrap();
        assert_eq!(read.fingerprint(), kept.fingerprint(), "{text:?}");
    }
    let longest = PEM.replacen("MHc", &"A".repeat(MAX_LEN - PEM.len() + 3), 1);
    assert_eq!(longest.len(), MAX_LEN);
    assert!(Credentials::new("k", &longest).is_ok());
    assert!(Credentials::new("k", longest + "\n").is_err());
}

#[test]
fn what_begins_as_pem_and_is_none_is_refused_and_not_echoed() {
    let label = "-----END EC PRIVATE KEY-----";
    for text in [
        PEM.replace(label, ""),
        PEM.replace(label, "-----END RSA PRIVATE KEY-----"),
        PEM.replace("MHc", "MH c"),
        PEM.replace("MHc", "MH\u{0}c"),
        PEM.replace("MHc", "MHé"),
        format!("{PEM}\nMHcCAQEE"),
        "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----".to_owned(),
    ] {
        let error = Credentials::new("k", &text).unwrap_err();
        assert!(error.to_string().contains("PEM"), "{error}");
        assert!(!format!("{error:?}").contains("CAQEE"), "{error:?}");
    }
    // Only a secret has lines.
    assert!(Credentials::new(PEM, "s").is_err());
    assert!(Credentials::new("k", format!("s{PEM}")).is_err());
}

/// In whatever way the lines are put together, and each by itself.
#[test]
fn no_line_of_a_key_in_pem_is_shown() {
    let credentials = Credentials::new("organizations/1/apiKeys/2", PEM).unwrap();
    let mut login = Vec::new();
    json_escape(PEM.as_bytes(), |bytes| login.extend_from_slice(bytes));
    let login = String::from_utf8(login).unwrap();
    assert_eq!(login, PEM.replace('\n', r"\n"));
    let lines: Vec<&str> = PEM.lines().collect();
    let percent: String = PEM.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for text in [
        PEM.to_owned(),
        login,
        percent,
        PEM.replace('\n', "\r\n"),
        PEM.replace('\n', ""),
        PEM.replace('\n', " "),
        lines[1].to_owned(),
        lines[2].to_owned(),
    ] {
        let shown = credentials.redact(&format!("cannot read {text}, sorry"));
        assert!(
            shown.ends_with(", sorry") || shown.ends_with('…'),
            "{shown}"
        );
        for line in [lines[1], lines[2]] {
            for part in line.as_bytes().chunks(8) {
                let part = std::str::from_utf8(part).unwrap();
                assert!(part.len() < 8 || !shown.contains(part), "{shown}");
            }
        }
        assert!(credentials.stand_in(text.as_bytes()), "{text}");
    }
    let half = &lines[1][..40];
    assert_eq!(credentials.beginning(half.as_bytes()), half.len());
}

#[test]
fn a_reader_gives_two_lines() {
    let credentials = Credentials::from_reader(&b"  PKX \r\n s3 \n\n"[..]).unwrap();
    credentials.expose(|key, secret| assert_eq!((key, secret), ("PKX", "s3")));
    assert!(Credentials::from_reader(&b"one"[..]).is_err());
    assert!(Credentials::from_reader(&b"1\n2\n3"[..]).is_err());
    // What stands too far behind is not cut off unseen.
    let padded = format!("{}\nPKX\ns3", " ".repeat(2 * MAX_LEN + 13));
    let error = Credentials::from_reader(padded.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("longer than 8207"), "{error}");
}
