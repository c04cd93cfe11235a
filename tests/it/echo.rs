//! The whole stack as an RFC 6455 client, judged by a small fuzzing server that speaks the Autobahn client protocol:
//! each case is a connection on which the server sends raw bytes and says what has to come back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its server has threads of its own"
)]

#[allow(dead_code, reason = "not every test uses all of it")]
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::example;
use tungstenite::handshake::derive_accept_key;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUE: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;

/// A frame as it stands on the wire: first byte, payload.
type Frame = (u8, Vec<u8>);

struct Case {
    name: &'static str,
    /// What the server sends, each piece in a write of its own.
    sends: Vec<Vec<u8>>,
    /// What the client has to answer with.
    answers: Vec<Frame>,
    ends: Ends,
}

enum Ends {
    /// The server closes with this code, and the client answers with a close frame.
    ByCloseFrame(Vec<u8>),
    /// The peer broke the rules: the client has to end the connection, and may say why with this code (RFC 6455, 7.4.1).
    ByFailing(u16),
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

fn normal() -> Ends {
    Ends::ByCloseFrame(1000_u16.to_be_bytes().to_vec())
}

fn echoes(name: &'static str, opcode: u8, payload: &[u8]) -> Case {
    Case {
        name,
        sends: vec![frame(FINAL | opcode, payload)],
        answers: vec![(FINAL | opcode, payload.to_vec())],
        ends: normal(),
    }
}

fn fails(name: &'static str, code: u16, bytes: Vec<u8>) -> Case {
    Case {
        name,
        sends: vec![bytes],
        answers: Vec::new(),
        ends: Ends::ByFailing(code),
    }
}

fn cases() -> Vec<Case> {
    let giant = vec![b'*'; 16 << 20];
    let mut cases = vec![
        echoes("an empty text", TEXT, b""),
        echoes("a text of 125 bytes", TEXT, &[b'*'; 125]),
        echoes("a text of 126 bytes", TEXT, &[b'*'; 126]),
        echoes("a text of 65,536 bytes", TEXT, &[b'*'; 65_536]),
        echoes(
            "binary, every byte",
            BINARY,
            &(0..=255).collect::<Vec<u8>>(),
        ),
        echoes(
            "UTF-8 of every length",
            TEXT,
            "\u{7f}\u{7ff}\u{ffff}\u{10ffff}κόσμε".as_bytes(),
        ),
        echoes("16 MiB of text", TEXT, &giant),
        echoes("16 MiB of bytes", BINARY, &giant),
        Case {
            name: "a byte at a time",
            sends: frame(FINAL | TEXT, "drip κ".as_bytes())
                .into_iter()
                .map(|byte| vec![byte])
                .collect(),
            answers: vec![(FINAL | TEXT, "drip κ".into())],
            ends: normal(),
        },
        Case {
            name: "a ping with a payload",
            sends: vec![frame(FINAL | PING, &[7; 125])],
            answers: vec![(FINAL | PONG, vec![7; 125])],
            ends: normal(),
        },
        Case {
            name: "ten pings at once",
            sends: vec![(0..10).flat_map(|n| frame(FINAL | PING, &[n])).collect()],
            answers: (0..10).map(|n| (FINAL | PONG, vec![n])).collect(),
            ends: normal(),
        },
        Case {
            name: "a pong that nobody asked for",
            sends: vec![
                frame(FINAL | PONG, b"unsolicited"),
                frame(FINAL | TEXT, b"after"),
            ],
            answers: vec![(FINAL | TEXT, b"after".to_vec())],
            ends: normal(),
        },
        Case {
            name: "a text in fragments, with a ping in between",
            sends: vec![
                frame(TEXT, b"one "),
                frame(FINAL | PING, b"in between"),
                frame(CONTINUE, b"two "),
                frame(CONTINUE, b""),
                frame(FINAL | CONTINUE, b"three"),
            ],
            answers: vec![
                (FINAL | PONG, b"in between".to_vec()),
                (FINAL | TEXT, b"one two three".to_vec()),
            ],
            ends: normal(),
        },
        Case {
            name: "a fragment that ends in the middle of a character",
            sends: vec![
                frame(TEXT, &"κ".as_bytes()[..1]),
                frame(FINAL | CONTINUE, &"κ".as_bytes()[1..]),
            ],
            answers: vec![(FINAL | TEXT, "κ".into())],
            ends: normal(),
        },
        Case {
            name: "a close without a code",
            sends: Vec::new(),
            answers: Vec::new(),
            ends: Ends::ByCloseFrame(Vec::new()),
        },
        Case {
            name: "a close with a code of the application's and a reason",
            sends: Vec::new(),
            answers: Vec::new(),
            ends: Ends::ByCloseFrame([&4000_u16.to_be_bytes()[..], b"because"].concat()),
        },
        fails("a ping of 126 bytes", 1002, frame(FINAL | PING, &[0; 126])),
        fails("a fragmented ping", 1002, frame(PING, b"x")),
        fails("a reserved bit", 1002, frame(FINAL | 0x40 | TEXT, b"x")),
        fails("a reserved opcode", 1002, frame(FINAL | 3, b"x")),
        fails("a reserved control opcode", 1002, frame(FINAL | 11, b"x")),
        fails(
            "a continuation of nothing",
            1002,
            frame(FINAL | CONTINUE, b"x"),
        ),
        fails(
            "a text within a fragmented text",
            1002,
            [frame(TEXT, b"x"), frame(FINAL | TEXT, b"y")].concat(),
        ),
        fails(
            "text that is not UTF-8",
            1007,
            frame(FINAL | TEXT, b"\xce\xba\xe1\xbd\xb9\xff"),
        ),
        fails("a surrogate", 1007, frame(FINAL | TEXT, b"\xed\xa0\x80")),
        fails(
            "a masked frame",
            1002,
            [&[FINAL | TEXT, 0x81, 1, 2, 3, 4][..], b"x"].concat(),
        ),
        fails(
            "an announced giant",
            1009,
            vec![FINAL | BINARY, 127, 0, 0, 0, 1, 0, 0, 0, 0],
        ),
    ];
    // One connection after another sees that nothing is left over from the broken ones.
    cases.push(echoes("a text at the end", TEXT, b"still here"));
    cases
}

/// Reads the upgrade request and accepts it; the path that was asked for.
fn accept(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let header = |name: &str| {
        request
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    assert_eq!(
        header("Sec-WebSocket-Extensions"),
        None,
        "nothing is offered"
    );
    let key = derive_accept_key(header("Sec-WebSocket-Key").unwrap().as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
    )
    .unwrap();
    request.split(' ').nth(1).unwrap().to_owned()
}

/// The next frame of the client, which has to be masked.
fn read_frame(stream: &mut TcpStream) -> std::io::Result<Frame> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    assert_eq!(head[1] & 0x80, 0x80, "a client's frames are masked");
    let len = match head[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len)?;
            usize::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            stream.read_exact(&mut len)?;
            u64::from_be_bytes(len) as usize
        }
        len => usize::from(len),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
    Ok((head[0], payload))
}

fn judge(mut stream: TcpStream, case: &Case) {
    let name = case.name;
    for piece in &case.sends {
        // A client that has failed the connection already need not take the rest.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    for (first, payload) in &case.answers {
        let (got, answer) =
            read_frame(&mut stream).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got, *first, "{name}: the first byte of the answer");
        assert!(
            answer == *payload,
            "{name}: the answer's payload ({} bytes)",
            answer.len()
        );
    }
    if let Ends::ByCloseFrame(payload) = &case.ends {
        stream.write_all(&frame(FINAL | CLOSE, payload)).unwrap();
        let (first, answer) =
            read_frame(&mut stream).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(first, FINAL | CLOSE, "{name}: a close is answered");
        assert_eq!(
            answer.get(..2),
            payload.get(..2),
            "{name}: with the code that came"
        );
    }
    // Either way the client ends the connection: nothing but a close frame may come before.
    while let Ok((first, payload)) = read_frame(&mut stream) {
        assert_eq!(first, FINAL | CLOSE, "{name}: something came after the end");
        if let Ends::ByFailing(code) = case.ends {
            assert_eq!(payload, code.to_be_bytes(), "{name}: the code");
        }
    }
}

#[test]
fn the_whole_stack_is_a_correct_client() {
    judge_all(cases);
}

/// A suite of hundreds of cases is run in one go, although most of its connections end in a failure that is wanted.
#[test]
fn hundreds_of_connections_that_fail_as_they_should_are_opened_one_after_the_other() {
    judge_all(|| {
        let bad = |number: u8| {
            fails(
                "a reserved bit",
                1002,
                frame(FINAL | 0x40 | TEXT, &[number]),
            )
        };
        (0..150).map(bad).collect()
    });
}

/// Runs the example against a server that has these cases.
fn judge_all(cases: fn() -> Vec<Case>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let cases = cases();
        let mut seen = 0;
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let path = accept(&mut stream);
            if path == "/getCaseCount" {
                let count = Case {
                    answers: vec![(FINAL | TEXT, cases.len().to_string().into())],
                    ..echoes(
                        "the number of cases",
                        TEXT,
                        cases.len().to_string().as_bytes(),
                    )
                };
                judge(stream, &count);
            } else if path == "/updateReports?agent=trunkline" {
                judge(
                    stream,
                    &Case {
                        sends: Vec::new(),
                        answers: Vec::new(),
                        ..echoes("the report", TEXT, b"")
                    },
                );
                return seen;
            } else {
                let number: usize = path
                    .strip_prefix("/runCase?case=")
                    .and_then(|rest| rest.strip_suffix("&agent=trunkline"))
                    .and_then(|number| number.parse().ok())
                    .unwrap_or_else(|| panic!("the client asked for {path}"));
                judge(stream, &cases[number - 1]);
                seen += 1;
            }
        }
    });
    let mut program = example::example("echo_venue");
    let ran = example::run(program.args([&url, "trunkline"]), Duration::from_secs(60));
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(server.join().unwrap(), cases().len());
}
