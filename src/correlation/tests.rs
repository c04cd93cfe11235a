use super::*;

fn cleaned(text: &str) -> Option<String> {
    CorrelationId::of(text).map(|id| id.to_string())
}

#[test]
fn an_id_is_one_short_line_whatever_it_is_made_of() {
    for (given, id) in [
        ("order-7", Some("order-7")),
        ("  order 7\r\n", Some("order 7")),
        ("a\r\n[ERROR] forged", Some("a__[ERROR] forged")),
        ("\u{1b}[31mred\u{85}\u{7f}", Some("_[31mred__")),
        ("a\u{2028}b\u{202e}c\u{feff}", Some("a_b_c_")),
        ("Größe-東京", Some("Größe-東京")),
        ("", None),
        (" \t\r\n ", None),
    ] {
        assert_eq!(cleaned(given).as_deref(), id, "{given:?}");
    }
    assert_eq!(cleaned(&"é".repeat(64)), Some("é".repeat(64)));
    assert_eq!(cleaned(&"é".repeat(65)), Some("é".repeat(64)));
}

#[test]
fn a_display_that_never_ends_or_fails_gives_an_id_all_the_same() {
    struct Endless(&'static str);
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str(self.0)?;
            }
        }
    }
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    assert_eq!(
        CorrelationId::of(Endless("again ")).unwrap().as_str(),
        "again ".repeat(11)[..64].trim_end()
    );
    for nothing in [" ", "", "\n\t"] {
        assert_eq!(CorrelationId::of(Endless(nothing)), None);
    }
    assert_eq!(CorrelationId::of(Broken).unwrap().as_str(), "half");
}
