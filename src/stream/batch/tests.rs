use super::*;

#[test]
fn what_is_read_is_filled_again_and_what_is_held_is_left_alone() {
    let now = crate::clock::now();
    let mut pool = Pool::new(2);
    let mut fill = |number: u32| {
        pool.fill(|batch| {
            batch.events.push(number, now);
        })
    };
    let held = fill(1);
    let read = Arc::as_ptr(&fill(2));
    let third = fill(3);
    assert_eq!(Arc::as_ptr(&third), read, "the second was let go of");
    let fourth = fill(4);
    let number = |batch: &Batch<u32>| {
        assert_eq!(batch.events.len(), 1);
        batch.events[0].event
    };
    assert_eq!((number(&held), number(&third), number(&fourth)), (1, 3, 4));
}
