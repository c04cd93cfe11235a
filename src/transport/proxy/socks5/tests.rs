use super::{
    super::tests::{Script, outcome},
    *,
};

const VENUE: &str = "wss://venue.test/v2/iex";
const THROUGH: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0, 80];

fn ask(server: &str, answers: &[&[u8]]) -> Result<bool, ProxyFault> {
    outcome([1, 2, 3, 1_000], server, VENUE, answers)
}

#[test]
fn it_is_asked_as_the_rfc_says() {
    for (venue, asked) in [
        (VENUE, b"\x05\x01\x00\x03\x0avenue.test\x01\xbb".to_vec()),
        ("ws://192.0.2.7:9", vec![5, 1, 0, 1, 192, 0, 2, 7, 0, 9]),
        (
            "ws://[::1]",
            [&[5, 1, 0, 4][..], &[0; 15], &[1, 0, 80]].concat(),
        ),
    ] {
        let mut script = Script::new(3, &[&[5, 0], THROUGH]);
        assert_eq!(script.run("socks5://p", venue), Ok(true));
        assert_eq!(script.heard[..2], [vec![5, 1, 0], asked.clone()]);
        let mut script = Script::new(3, &[&[5, 2], &[1, 0], THROUGH]);
        assert_eq!(script.run("socks5h://me:s3@p", venue), Ok(true));
        let login = b"\x01\x02me\x02s3".to_vec();
        assert_eq!(script.heard[..3], [vec![5, 2, 0, 2], login, asked]);
    }
}

#[test]
fn every_answer_is_taken_for_what_it_is() {
    use ProxyFault::{Failed, Forbidden, LoginRefused, LoginWanted, VenueUnreachable};
    let socks = ProxyAnswer::Socks;
    let venue = || "venue.test:443".to_owned();
    let wanted = |is_configured| LoginWanted {
        answer: socks(0xff),
        is_configured,
        offers: String::new(),
    };
    let name = [&[5, 0, 0, 3, 4][..], b"here", &[0, 80]].concat();
    let six = [&[5, 0, 0, 4][..], &[7; 18]].concat();
    for (answers, outcome) in [
        (&[&[5, 0][..], THROUGH][..], Ok(true)),
        (&[&[5, 0], &name], Ok(true)),
        (&[&[5, 0], &six], Ok(true)),
        (&[&[5, 0], &[5, 0, 0, 3, 0, 0, 80]], Ok(true)),
        (&[&[5, 0], &THROUGH[..9]], Ok(false)),
        (&[&[5, 0]], Ok(false)),
        (&[&[5]], Ok(false)),
        (&[&[5, 0xff]], Err(wanted(true))),
        (
            &[&[5, 1]],
            Err(not_a_proxy("it picks a kind of login that was not offered")),
        ),
        (&[&[5, 2], &[1, 1]], Err(LoginRefused(socks(1)))),
        (&[&[5, 2], &[5, 0], THROUGH], Ok(true)),
        (&[&[5, 0], &[5, 1, 0, 1]], Err(Failed(socks(1)))),
        (
            &[&[5, 0], &[5, 2, 0, 1]],
            Err(Forbidden {
                venue: venue(),
                answer: socks(2),
            }),
        ),
        (
            &[&[5, 0], &[5, 5, 0, 1]],
            Err(VenueUnreachable {
                venue: venue(),
                answer: socks(5),
            }),
        ),
        (
            &[&[5, 0], &[5, 7, 0, 1]],
            Err(not_a_proxy("it does not connect")),
        ),
        (
            &[&[5, 0], &[5, 0, 0, 9]],
            Err(not_a_proxy("the address in its answer is of no known kind")),
        ),
        (
            &[&[5, 0], &[4, 0, 0, 1]],
            Err(not_a_proxy("it speaks SOCKS 4")),
        ),
        (&[&[0, 90]], Err(not_a_proxy("it speaks SOCKS 4"))),
        (
            &[b"HTTP/1.1 400 Bad"],
            Err(not_a_proxy("it answers in HTTP: is it an `http://` proxy?")),
        ),
        (
            &[b"<html>"],
            Err(not_a_proxy("it does not answer in SOCKS 5")),
        ),
    ] {
        assert_eq!(ask("socks5://me:s3@p", answers), outcome, "{answers:?}");
    }
    assert_eq!(ask("socks5://p", &[&[5, 0xff]]), Err(wanted(false)));
    let unasked = not_a_proxy("it picks a kind of login that was not offered");
    assert_eq!(ask("socks5://p", &[&[5, 2]]), Err(unasked));
}

/// What comes behind the answer is the venue's, and is left for whoever reads next.
#[test]
fn not_a_byte_behind_the_answer_is_read() {
    let answer = [THROUGH, b"behind"].concat();
    let mut script = Script::new(1_000, &[&[5, 0], &answer]);
    assert_eq!(script.run("socks5://p", VENUE), Ok(true));
    let mut rest = [0; 16];
    let read = loop {
        match std::io::Read::read(&mut script, &mut rest) {
            Ok(read) => break read,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    };
    assert_eq!(&rest[..read], b"behind");
}

#[test]
fn an_end_in_place_of_an_answer_is_named() {
    for answers in [&[][..], &[&[5][..]], &[&[5, 0], &THROUGH[..9]]] {
        let mut script = Script::new(3, answers).ending();
        assert_eq!(script.run("socks5://p", VENUE), Err(ProxyFault::Ended));
    }
}
