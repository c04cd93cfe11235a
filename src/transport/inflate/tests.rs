use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};
use proptest::prelude::*;
use tungstenite::{
    Error as WsError, Message as WsMessage, WebSocket, error::ProtocolError, protocol::Role,
};

use super::*;

const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
const LIMIT: usize = 1 << 20;

/// A server's bytes, as they come.
struct Script<'a> {
    rest: &'a [u8],
    piece: usize,
    /// What this turn may still inflate.
    budget: usize,
}

impl Input for Script<'_> {
    fn fetch(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(buffer.len()).min(self.rest.len());
        let (now, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.rest = rest;
        Ok(count)
    }

    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        self.budget = self.budget.saturating_sub(bytes);
        match self.budget {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

fn agreed(keeps_window: bool) -> Inflater {
    let mut inflater = Inflater::new(LIMIT);
    inflater.begin(Some(Agreement { keeps_window }));
    inflater
}

/// What comes out, read by pieces; what goes in comes by pieces, too.
fn pass(inflater: &mut Inflater, bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let mut source = Script {
        rest: bytes,
        piece,
        budget: usize::MAX,
    };
    let (mut passed, mut buffer) = (Vec::new(), vec![0; piece.min(1 << 14)]);
    loop {
        match inflater.read(&mut buffer, &mut source)? {
            0 => return Ok(passed),
            read => passed.extend_from_slice(&buffer[..read]),
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const TEXT: u8 = 0x81;
const COMPRESSED: u8 = TEXT | RSV1;

struct Deflater(Box<CompressorOxide>);

impl Deflater {
    fn new(level: i32) -> Self {
        let flags = create_comp_flags_from_zip_params(level, -15, 0);
        Self(Box::new(CompressorOxide::new(flags)))
    }

    fn payload(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        let (status, read) = compress_to_output(&mut self.0, message, TDEFLFlush::Sync, |part| {
            payload.extend_from_slice(part);
            true
        });
        assert_eq!((status, read), (TDEFLStatus::Okay, message.len()));
        assert_eq!(payload.split_off(payload.len() - 4), TAIL[..4]);
        payload
    }
}

#[test]
fn the_examples_of_the_rfc_are_read_however_they_come() {
    let hello = frame(TEXT, b"Hello");
    for (name, keeps, stream) in [
        // RFC 7692, 7.2.3.1 to 7.2.3.6.
        (
            "one block",
            true,
            vec![(0xc1, &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..])],
        ),
        (
            "two fragments",
            true,
            vec![(0x41, b"\xf2\x48\xcd"), (0x80, b"\xc9\xc9\x07\x00")],
        ),
        (
            "stored",
            true,
            vec![(0xc1, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")],
        ),
        (
            "final",
            true,
            vec![(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")],
        ),
        (
            "two blocks",
            true,
            vec![(
                0xc1,
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            )],
        ),
        (
            "empty fragments",
            true,
            vec![
                (0x41, b""),
                (0x00, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
                (0x80, b""),
            ],
        ),
        (
            "no window",
            false,
            vec![(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00")],
        ),
        ("not compressed", true, vec![(0x81, b"Hello")]),
    ] {
        let once: Vec<u8> = stream
            .iter()
            .flat_map(|(first, payload)| frame(*first, payload))
            .collect();
        for piece in [1, 2, 3, 5, 7, 100] {
            let mut inflater = agreed(keeps);
            for _ in 0..3 {
                assert_eq!(
                    pass(&mut inflater, &once, piece).unwrap(),
                    hello,
                    "{name} by {piece}"
                );
            }
        }
    }
    let window = [
        frame(COMPRESSED, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        // It says: the five bytes before.
        frame(COMPRESSED, b"\xf2\x00\x11\x00\x00"),
    ]
    .concat();
    assert_eq!(
        pass(&mut agreed(true), &window, 100).unwrap(),
        hello.repeat(2)
    );
    let forgotten = pass(&mut agreed(false), &window, 100).unwrap();
    assert_eq!(
        forgotten[..7],
        hello,
        "and the rest is none of what stood before"
    );
    assert!(!forgotten[7..].windows(4).any(|four| four == b"ello"));
    // Of nothing, in the one byte that RFC 7692, 7.2.3.6 has for it.
    assert_eq!(
        pass(&mut agreed(true), &frame(COMPRESSED, &[0]), 1).unwrap(),
        [TEXT, 0]
    );
}

#[test]
fn control_frames_pass_at_once_between_the_fragments_of_a_message() {
    let [ping, pong] = [frame(0x89, b"?"), frame(0x8a, b"")];
    let stream = [
        frame(0x41, b"\xf2\x48"),
        ping.clone(),
        frame(0x00, b"\xcd\xc9"),
        pong.clone(),
        frame(0x80, b"\xc9\x07\x00"),
    ]
    .concat();
    for piece in [1, 100] {
        let passed = pass(&mut agreed(true), &stream, piece).unwrap();
        assert_eq!(passed, [&ping[..], &pong, &frame(TEXT, b"Hello")].concat());
    }
    // Before the message is whole.
    let passed = pass(&mut agreed(true), &stream[..7], 1).unwrap();
    assert_eq!(passed, ping);
}

#[test]
fn nothing_behind_the_upgrade_is_handed_on_before_it_is_known_what_was_agreed_upon() {
    let stream = [HEAD, &frame(COMPRESSED, b"\xf2\x48\xcd\xc9\xc9\x07\x00")].concat();
    let mut source = Script {
        rest: &stream,
        piece: usize::MAX,
        budget: usize::MAX,
    };
    let mut inflater = Inflater::new(LIMIT);
    let mut buffer = [0; 4_096];
    let read = inflater.read(&mut buffer, &mut source).unwrap();
    assert_eq!(&buffer[..read], HEAD);
    assert!(source.rest.is_empty(), "the frame was read with it");
    inflater.begin(Some(Agreement { keeps_window: true }));
    let read = inflater.read(&mut buffer, &mut source).unwrap();
    assert_eq!(buffer[..read], frame(TEXT, b"Hello"));

    // Declined: what was read with the head comes as it is, and then there is nothing left to do.
    let plain = [HEAD, &frame(COMPRESSED, b"?")].concat();
    for piece in [1, 100] {
        let mut inflater = Inflater::new(LIMIT);
        assert_eq!(
            pass(&mut inflater, &plain[..HEAD.len()], piece).unwrap(),
            HEAD
        );
        inflater.begin(None);
        assert!(inflater.is_done());
        assert_eq!(pass(&mut inflater, &plain, piece).unwrap(), plain);
    }
}

fn broken(result: io::Result<Vec<u8>>) -> Broken {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    *error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn what_cannot_be_inflated_is_an_error() {
    for (name, payload) in [
        (
            "an empty payload, which is not what stands for an empty message",
            &b""[..],
        ),
        ("a block of no kind", b"\x07"),
        (
            "a length that is not repeated",
            b"\x00\x05\x00\xff\xff\x48\x65\x6c\x6c\x6f\x00",
        ),
        (
            "broken off in a stored block",
            b"\x00\x05\x00\xfa\xff\x48\x65",
        ),
        (
            "broken off where the tail passes for content",
            b"\x00\x64\x00\x9b\xff\x48",
        ),
        ("broken off in a code", b"\xf2\x48\xcd"),
        ("a distance beyond the window", b"\x0b\x03\xff\xff\xff"),
        ("text", b"[{\"T\":\"success\"}]"),
    ] {
        for piece in [1, 100] {
            let result = pass(&mut agreed(true), &frame(COMPRESSED, payload), piece);
            assert_eq!(broken(result), Broken::Data, "{name}");
        }
    }
    let interleaved = [frame(0x41, b"\xf2\x48"), frame(TEXT, b"another")].concat();
    let result = pass(&mut agreed(true), &interleaved, 100);
    assert_eq!(broken(result), Broken::Interleaved);
}

#[test]
fn inflated_bytes_count_for_the_largest_message() {
    let mut deflater = Deflater::new(6);
    let most = frame(COMPRESSED, &deflater.payload(&vec![b' '; LIMIT]));
    assert!(most.len() < 2_000);
    let mut inflater = agreed(true);
    assert_eq!(
        pass(&mut inflater, &most, 100).unwrap(),
        frame(TEXT, &vec![b' '; LIMIT])
    );
    assert!(inflater.ready.capacity() + inflater.inflated.capacity() <= 3 * LIMIT);
    let more = frame(COMPRESSED, &deflater.payload(&vec![b' '; LIMIT + 1]));
    let result = pass(&mut inflater, &more, 100);
    assert_eq!(broken(result), Broken::TooLarge(LIMIT));

    // A bomb of 100 MiB costs no more memory than the largest message.
    let bomb = frame(COMPRESSED, &Deflater::new(6).payload(&vec![0; 100 << 20]));
    let mut inflater = agreed(true);
    let result = pass(&mut inflater, &bomb, 1 << 14);
    assert_eq!(broken(result), Broken::TooLarge(LIMIT));
    assert!(inflater.inflated.capacity() <= 2 * LIMIT);

    // What is announced is refused at once, and so is what never ends though it comes to nothing.
    let giant = [&[COMPRESSED, 127][..], &(1_u64 << 40).to_be_bytes()].concat();
    assert_eq!(
        broken(pass(&mut agreed(true), &giant, 1)),
        Broken::TooLarge(LIMIT)
    );
    let empty_blocks = &TAIL[..4];
    let mut endless = frame(0x41, &[]);
    for _ in 0..LIMIT / 1_000 {
        endless.extend(frame(0x00, &[&[0][..], empty_blocks].concat().repeat(210)));
    }
    assert_eq!(
        broken(pass(&mut agreed(true), &endless, 1 << 14)),
        Broken::TooLarge(LIMIT)
    );

    // What compression makes larger has room.
    let noise: Vec<u8> = (0..LIMIT as u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
        .collect();
    let stored = frame(0xc2, &Deflater::new(0).payload(&noise));
    assert!(stored.len() > LIMIT);
    assert_eq!(
        pass(&mut agreed(true), &stored, 1 << 14).unwrap(),
        frame(0x82, &noise)
    );
}

#[test]
fn a_turn_inflates_no_more_than_it_may_and_the_next_goes_on() {
    let mut deflater = Deflater::new(6);
    let message = vec![b'x'; 500_000];
    let stream: Vec<u8> = (0..4)
        .flat_map(|_| frame(COMPRESSED, &deflater.payload(&message)))
        .collect();
    assert!(stream.len() < 5_000, "all of them come with one read");
    let mut source = Script {
        rest: &stream,
        piece: usize::MAX,
        budget: 0,
    };
    let (mut passed, mut turns) = (Vec::new(), 0);
    let (mut inflater, mut buffer) = (agreed(true), vec![0; 1 << 20]);
    loop {
        match inflater.read(&mut buffer, &mut source) {
            Ok(0) => break,
            Ok(read) => passed.extend_from_slice(&buffer[..read]),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                source.budget = 100_000;
                turns += 1;
            }
        }
    }
    assert_eq!(passed, frame(TEXT, &message).repeat(4));
    assert!((15..=40).contains(&turns), "{turns}");
}

/// Reads the stream as a client does.
fn read(bytes: Vec<u8>) -> Result<WsMessage, WsError> {
    struct Through(Inflater, io::Cursor<Vec<u8>>);
    impl io::Read for Through {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            struct Bytes<'a>(&'a mut io::Cursor<Vec<u8>>);
            impl Input for Bytes<'_> {
                fn fetch(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                    io::Read::read(self.0, buffer)
                }
                fn spend(&mut self, _: usize) -> io::Result<()> {
                    Ok(())
                }
            }
            self.0.read(buffer, &mut Bytes(&mut self.1))
        }
    }
    impl io::Write for Through {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let stream = Through(agreed(true), io::Cursor::new(bytes));
    WebSocket::from_raw_socket(stream, Role::Client, None).read()
}

#[test]
fn what_breaks_the_rules_of_frames_is_refused_as_before() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let begun = frame(0x41, b"\xf2\x48");
    for (name, bytes) in [
        ("a compressed ping", frame(0xc9, b"\xf2")),
        ("a compressed close", frame(0xc8, b"\x03\xe8")),
        ("another reserved bit", frame(0xa1, b"?")),
        ("two reserved bits", frame(0xe1, hello)),
        (
            "a compressed continuation",
            [begun.clone(), frame(0xc0, &hello[2..])].concat(),
        ),
        (
            "one of a plain message",
            [frame(0x01, b"?"), frame(0xc0, hello)].concat(),
        ),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(
            matches!(error, WsError::Protocol(ProtocolError::NonZeroReservedBits)),
            "{name}: {error:?}"
        );
    }
    for (name, bytes) in [
        ("a masked frame", vec![COMPRESSED, 0x81, 1, 2, 3, 4, 5]),
        ("an unknown opcode", frame(0x83, b"?")),
        (
            "an unknown opcode in between",
            [begun, frame(0x84, b"?")].concat(),
        ),
        ("a continuation of nothing", frame(0x80, b"?")),
        (
            "a compressed one within a plain one",
            [frame(0x01, b"?"), frame(COMPRESSED, hello)].concat(),
        ),
        ("a long ping", frame(0x89, &[b'?'; 126])),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, WsError::Protocol(_)), "{name}: {error:?}");
    }
    // Text is text also where it was compressed.
    let bad = frame(COMPRESSED, &Deflater::new(6).payload(b"\xff\xfe"));
    assert!(matches!(read(bad), Err(WsError::Utf8(_))));
    let good = frame(0xc2, &Deflater::new(6).payload(b"\xff\xfe"));
    assert_eq!(read(good).unwrap(), WsMessage::binary(&b"\xff\xfe"[..]));
}

proptest! {
    #[test]
    fn whatever_is_compressed_and_cut_however_is_whole_again(
        messages in prop::collection::vec(
            (prop::collection::vec(0_u8..4, 0..3_000), 0..10_i32, 1..700_usize, any::<bool>(), any::<bool>()),
            1..8,
        ),
        level in 0..10_i32,
        piece in prop::sample::select(vec![1, 2, 3, 13, 1_000, 100_000]),
        keeps_window: bool,
    ) {
        let mut deflater = Deflater::new(level);
        let (mut sent, mut wanted) = (Vec::new(), Vec::new());
        for (message, other, cut, is_compressed, pings) in &messages {
            let mut fresh;
            let deflater = if keeps_window { &mut deflater } else {
                fresh = Deflater::new(*other);
                &mut fresh
            };
            if !is_compressed {
                sent.extend(frame(0x82, message));
                wanted.extend(frame(0x82, message));
                continue;
            }
            let payload = deflater.payload(message);
            let count = payload.len().div_ceil(*cut);
            for (number, fragment) in payload.chunks(*cut).enumerate() {
                let opcode = if number == 0 { 0x42 } else { 0 };
                let fin = if number + 1 == count { FIN } else { 0 };
                if *pings {
                    sent.extend(frame(0x89, fragment.get(..2).unwrap_or_default()));
                    wanted.extend(frame(0x89, fragment.get(..2).unwrap_or_default()));
                }
                sent.extend(frame(fin | opcode, fragment));
            }
            wanted.extend(frame(0x82, message));
        }
        prop_assert_eq!(pass(&mut agreed(keeps_window), &sent, piece).unwrap(), wanted);
    }
}
