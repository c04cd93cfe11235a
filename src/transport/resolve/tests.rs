use std::time::Duration;

use super::*;
use crate::transport::Wake;

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// Which number an interface has is asked of the system, and no resolver of the user's is troubled with it.
#[test]
fn the_interface_of_a_link_local_address_becomes_its_number() {
    let waker: Waker = Arc::new(Nobody);
    let resolver = Resolver::new(|_, _| panic!("it is no name"));
    for (host, number) in [("fe80::1%lo", 1), ("fe80::1%7", 7)] {
        let lookup = Lookup::start(&resolver, host, 443, &waker);
        let deadline = clock::now() + Duration::from_secs(60);
        let answer = loop {
            if let Some(answer) = lookup.take() {
                break answer.unwrap();
            }
            assert!(clock::now() < deadline);
            std::thread::yield_now();
        };
        for address in answer {
            let SocketAddr::V6(address) = address else {
                panic!("{address}")
            };
            assert_eq!(address.to_string(), format!("[fe80::1%{number}]:443"));
        }
    }
}
