use super::*;

const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if payload.len() < 126 {
        frame.push(payload.len() as u8);
    } else {
        frame.push(126);
        frame.extend((payload.len() as u16).to_be_bytes());
    }
    frame.extend(payload);
    frame
}

/// What is handed on when the bytes come in pieces of this length.
fn through(bytes: &[u8], cut: usize) -> io::Result<Vec<u8>> {
    let secrets = Credentials::new("KEYID", "s3cr3t-s3cr3t!").unwrap();
    let mut mask = Mask::new(&secrets);
    let mut out = Vec::new();
    for piece in bytes.chunks(cut) {
        mask.take_in(piece)?;
        let mut buffer = [0; 7];
        while mask.has_clear() {
            let count = mask.hand_on(&mut buffer);
            out.extend_from_slice(&buffer[..count]);
        }
    }
    Ok(out)
}

#[test]
fn a_secret_never_shows_however_its_bytes_are_cut() {
    let text = b"[{\"msg\":\"s3cr3t-s3cr3t! for KEYID, s3cr3t-s3c no, KEYI no\"}]";
    let masked = b"[{\"msg\":\"************** for *****, s3cr3t-s3c no, KEYI no\"}]";
    let long = [&text[..], &[b' '; 200], text].concat();
    let long_masked = [&masked[..], &[b' '; 200], masked].concat();
    let bytes = [
        UPGRADE,
        &frame(0x81, text),
        &frame(0x81, &long),
        &frame(0x89, b""),
    ]
    .concat();
    let expected = [
        UPGRADE,
        &frame(0x81, masked),
        &frame(0x81, &long_masked),
        &frame(0x89, b""),
    ]
    .concat();
    for cut in 1..bytes.len() {
        assert_eq!(through(&bytes, cut).unwrap(), expected, "cut at {cut}");
    }
}

/// In MessagePack a frame ends with the text it says, and that may end as a secret begins.
#[test]
fn a_whole_frame_is_never_held_back() {
    let secrets = Credentials::new("KEYID", "d3d3-s3cr3t").unwrap();
    for end in ["connected", "d", "d3d3-s3cr3", "KEYI"] {
        let mut mask = Mask::new(&secrets);
        let bytes = [UPGRADE, &frame(0x82, end.as_bytes())].concat();
        mask.take_in(&bytes).unwrap();
        let mut buffer = [0; 256];
        assert_eq!(mask.hand_on(&mut buffer), bytes.len(), "{end}");
    }
}

#[test]
fn a_secret_in_fragments_never_shows_however_it_and_its_bytes_are_cut() {
    let text = b"[\"s3cr3t-s3cr3t! for KEYID, s3cr3t-s3c no, KEYI\"]";
    let masked = b"[\"************** for *****, s3cr3t-s3c no, KEYI\"]";
    let fragments = |text: &[u8], first: usize, second: usize| {
        [
            UPGRADE,
            &frame(0x01, &text[..first]),
            // Between two fragments a control frame may stand; and a fragment may be empty.
            &frame(0x89, if text == masked { b"*****" } else { b"KEYID" }),
            &frame(0x00, &text[first..second]),
            &frame(0x00, b""),
            &frame(0x80, &text[second..]),
            &frame(0x81, &text[..first]),
        ]
        .concat()
    };
    // What stands alone in the last frame is masked only where it is whole.
    for first in (0..16).chain((20..text.len()).step_by(3)) {
        for second in [first, first + 1, first + 4, text.len()] {
            let second = second.min(text.len());
            let (bytes, mut expected) = (
                fragments(text, first, second),
                fragments(masked, first, second),
            );
            let last = expected.len() - first;
            let end = &mut expected[last..];
            end.copy_from_slice(&text[..first]);
            Credentials::new("KEYID", "s3cr3t-s3cr3t!")
                .unwrap()
                .mask(end);
            for cut in [1, 5, 64, bytes.len()] {
                assert_eq!(
                    through(&bytes, cut).unwrap(),
                    expected,
                    "fragments at {first} and {second}, cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn what_may_hide_a_secret_between_fragments_is_bounded() {
    let pings = frame(0x89, &[b' '; 100]).repeat(100);
    let bytes = |end: &[u8]| [UPGRADE, &frame(0x01, end), &pings].concat();
    assert!(through(&bytes(b"s3cr3t-"), READ).is_err());
    assert_eq!(through(&bytes(b"none"), READ).unwrap(), bytes(b"none"));
}

#[test]
fn a_masked_frame_is_refused_however_its_bytes_are_cut() {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let payload: Vec<u8> = b"s3cr3t-s3cr3t!"
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let mut reflected = frame(0x82, &[&mask[..], &payload].concat());
    reflected[1] = 0x80 | payload.len() as u8;
    let bytes = [UPGRADE, &reflected].concat();
    for cut in 1..bytes.len() {
        assert!(through(&bytes, cut).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_refused_upgrade_may_have_any_body() {
    let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n\x01\x00 KEYID";
    for cut in 1..refusal.len() {
        let shown = through(refusal, cut).unwrap();
        assert!(shown.ends_with(b"\x01\x00 *****"), "cut at {cut}");
    }
}
