use super::*;

#[test]
fn what_is_counted_survives_text() {
    for counts in [Counts::Symbols, Counts::Topics] {
        assert_eq!(counts.to_string().parse::<Counts>().unwrap(), counts);
    }
    assert!("pairs".parse::<Counts>().is_err());
    assert_eq!(SymbolBudget::default(), SymbolBudget::learned());
}
