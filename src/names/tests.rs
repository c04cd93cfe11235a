use super::*;

#[test]
fn an_option_symbol_needs_no_allocation_and_hashes_as_str() {
    let symbol = Symbol::from("MSFT260619C00450000");
    assert!(matches!(symbol.0, Text::Short(..)));
    let map = std::collections::HashMap::from([(symbol, 1)]);
    assert_eq!(map.get("MSFT260619C00450000"), Some(&1));
}

#[test]
fn a_code_keeps_its_text_whatever_its_length() {
    for text in [
        "",
        "V",
        " ",
        "fifteen  bytes!",
        "fifteen bytes..",
        "é".repeat(8).as_str(),
    ] {
        let code = Code::from(text);
        assert_eq!(code, text);
        assert_eq!(code.clone(), code);
        assert_eq!(code.cmp(&"V".into()), text.cmp("V"));
        let map = std::collections::HashMap::from([(code, 1)]);
        assert_eq!(map.get(text), Some(&1));
    }
    assert_eq!(size_of::<Code>(), 16);
}

#[test]
fn symbols_are_in_the_order_of_their_texts_however_long_they_are() {
    let long = "A".repeat(40);
    let mut texts = [
        "",
        "*",
        "A",
        "AA",
        "B",
        "a",
        "BTC/USD",
        "Ä",
        "ÄÖ",
        "日本",
        "\u{10ffff}",
        &long,
    ];
    let mut symbols = texts.map(Symbol::from);
    texts.sort_unstable();
    symbols.sort_unstable();
    assert_eq!(
        symbols.map(|symbol| symbol.to_string()),
        texts.map(ToOwned::to_owned)
    );
}

#[test]
fn conditions_keep_order_spaces_and_empty_codes() {
    for codes in [
        &["@", " ", "TI"][..],
        &[],
        &[""],
        &["fifteen  bytes!", "I"],
        &["@", "F", "T", "I", "6", "X", "Y", "Z", "long"],
    ] {
        assert_eq!(
            codes
                .iter()
                .collect::<Conditions>()
                .iter()
                .collect::<Vec<_>>(),
            codes
        );
    }
}
