use super::*;

#[test]
fn an_event_is_not_larger_than_a_quote() {
    assert!(size_of::<Trade>() <= size_of::<Quote>());
    assert!(size_of::<Bar>() <= size_of::<Quote>());
    assert_eq!(size_of::<Quote>(), 176);
    assert_eq!(size_of::<MarketEvent>(), 176);
}
