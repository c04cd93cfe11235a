use super::*;

#[test]
fn the_last_ids_are_known_and_older_ones_are_forgotten() {
    let mut recent = Recent::default();
    let id = |number: usize| Arc::from(number.to_string());
    assert!((0..LIMIT).all(|number| recent.insert(&id(number))));
    assert!((0..LIMIT).all(|number| !recent.insert(&id(number))));
    assert!(recent.insert(&id(LIMIT)));
    assert!(!recent.insert(&id(1)), "the second oldest is still there");
    assert!(recent.insert(&id(0)), "the oldest is not");
    assert_eq!(
        (recent.known.len(), recent.oldest_first.len()),
        (LIMIT, LIMIT)
    );
}
