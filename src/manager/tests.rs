use super::*;
use crate::alpaca;

#[test]
fn managers_that_are_gone_leave_nothing_in_the_claim_table() {
    // Nothing listens there, and a stream that waits is held like any other.
    let endpoint = "ws://127.0.0.1:9/claims".parse().unwrap();
    let venue = alpaca::stocks(alpaca::Feed::Iex).at(endpoint);
    let credentials = Credentials::new("PKSCOPES", "s-e-c-r-e-t").unwrap();
    let first = Manager::new();
    let stream = first.open(&venue, &credentials).unwrap();
    let others: Vec<_> = (0..100)
        .map(|_| {
            let manager = Manager::new();
            drop(manager.open(&venue, &credentials).unwrap());
            manager
        })
        .collect();
    assert_eq!(claims().scopes(stream.key()), 101);
    let clone = others[0].clone();
    drop(others);
    assert_eq!(
        claims().scopes(stream.key()),
        2,
        "its clone is the same scope"
    );
    drop((clone, first));
    assert_eq!(claims().scopes(stream.key()), 0);
    stream.close(Duration::from_secs(20)).unwrap();
}
