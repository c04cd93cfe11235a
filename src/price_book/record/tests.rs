use super::*;

#[test]
fn words_hold_every_price_and_time_exactly() {
    let numbers = ["0", "-0.0001", "150.0100", "79228162514264337593543950335"];
    for number in numbers.map(|text| text.parse::<Decimal>().unwrap()) {
        for nanos in [i64::MIN, -1, 0, i64::MAX] {
            let arrival = Arrival {
                nanos,
                asleep: u64::MAX - 1,
                epoch: u64::MAX,
            };
            let quoted = Quoted {
                bid_price: number,
                bid_size: Decimal::ONE,
                ask_price: number + Decimal::NEGATIVE_ONE,
                ask_size: Decimal::MIN,
                timestamp: Timestamp::from_nanos(nanos),
                arrival,
            };
            let back = Quoted::unpack(quoted.pack());
            assert_eq!(back, quoted);
            assert_eq!(back.bid_price.scale(), number.scale());
            for report in [Report::Stands, Report::Corrected, Report::Canceled] {
                let traded = Traded {
                    price: number,
                    size: Decimal::TEN,
                    timestamp: Timestamp::from_nanos(nanos),
                    arrival,
                    report,
                };
                assert_eq!(Traded::unpack(traded.pack()), traded);
            }
        }
    }
}

#[test]
fn what_came_before_the_book_was_made_keeps_its_age() {
    let earlier = clock::now();
    let origin = earlier + Duration::from_millis(7);
    let arrival = Arrival::new(earlier, Duration::ZERO, origin, 1);
    assert_eq!(arrival.nanos, -7_000_000);
    assert_eq!(arrival.received(origin), earlier);
    let later = origin + Duration::from_nanos(3);
    let arrival = Arrival::new(later, Duration::ZERO, origin, 1);
    assert_eq!(arrival.received(origin), later);
}
