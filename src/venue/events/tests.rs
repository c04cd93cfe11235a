use super::*;

/// Odd fields stay with their event when the events in front of it are taken away.
#[test]
fn odd_fields_stay_with_their_event() {
    let now = crate::clock::now();
    let odd = |name: &str| [name].into_iter().collect::<OddFields>();
    let mut events = Events::new();
    events.push(0, now);
    events.push_odd(1, now, odd("one"));
    events.push_odd(2, now, OddFields::default());
    events.push_odd(3, now, odd("three"));
    let names = |events: &Events<i32>| {
        let places = 0..events.len();
        let name = |place| events.origin(place, 7).odd_fields().to_string();
        places.map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&events), ["", "one", "", "three"]);
    let first = events.take_first(2);
    assert_eq!(
        (names(&first), first.odd()),
        (vec![String::new(), "one".to_owned()], 1)
    );
    assert_eq!(
        (names(&events), events.odd()),
        (vec![String::new(), "three".to_owned()], 1)
    );
    assert_eq!(events[1].event, 3);
    events.clear();
    assert_eq!((events.len(), events.odd()), (0, 0));
}
