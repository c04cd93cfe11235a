use super::*;

#[test]
fn what_is_counted_survives_text() {
    for counts in [Counts::Symbols, Counts::Topics] {
        assert_eq!(counts.to_string().parse::<Counts>().unwrap(), counts);
    }
    assert!("pairs".parse::<Counts>().is_err());
    assert_eq!(SymbolBudget::default(), SymbolBudget::learned());
}

#[test]
fn one_is_one_and_all_else_is_many() {
    assert_eq!(
        [0, 1, 2].map(|number| Counts::Symbols.number(number)),
        ["0 symbols", "1 symbol", "2 symbols"]
    );
    assert_eq!(Counts::Topics.number(1), "1 topic");
}
