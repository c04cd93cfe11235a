use super::*;

/// Both ways to find the shortest decimal agree, and what they find reads back.
#[test]
fn a_float_is_the_shortest_decimal_that_reads_back_as_it() {
    let mut seed: u64 = 7;
    let mut next = || {
        // Knuth's multiplier: any spread of bits will do.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 11
    };
    for round in 0..20_000 {
        let float = match round % 4 {
            0 => (next() % 10_000_000) as f64 / 100.0,
            1 => (next() % 1_000_000_000_000) as f64 / 1e8,
            2 => f64::from_bits(0x3ff0_0000_0000_0000 | next() >> 1),
            _ => -((next() % 1_000_000) as f64) / 3.0,
        };
        let found = shortest(float).unwrap();
        assert_eq!(found, parse(&format!("{float:e}")).unwrap(), "{float:e}");
        assert_eq!(found.to_string().parse::<f64>().unwrap(), float);
    }
}
