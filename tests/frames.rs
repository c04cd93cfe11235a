//! Whatever bytes a venue sends: nothing panics, nothing hangs, and memory stays in proportion to the frame.
//!
//! `PROPTEST_CASES` sets how many inputs each property sees.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and read the clock"
)]

use std::time::Instant;

use peak_alloc::PeakAlloc;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use trunkline::{
    Credentials, MarketEvent,
    alpaca::{self, Codec, Feed, MarketDataSession},
    venue::{Frame, Output, Session as _, Venue as _},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// One that is authenticated.
fn session(codec: Codec) -> MarketDataSession {
    let credentials = Credentials::new("PKFRAMES", "not-a-secret").unwrap();
    let mut session = alpaca::stocks(Feed::Iex).codec(codec).session(credentials);
    for message in ["connected", "authenticated"] {
        let welcome = json!([{"T": "success", "msg": message}]);
        read(&mut session, &encode(&welcome, codec));
    }
    session
}

fn read(session: &mut MarketDataSession, frame: &[u8]) -> Output<MarketEvent> {
    let now = Instant::now();
    let mut out = Output::default();
    session.handle_frame(Frame::Binary(frame), &mut out.context(now));
    out
}

fn encode(value: &Value, codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Json => value.to_string().into_bytes(),
        Codec::MessagePack => rmp_serde::to_vec(value).unwrap(),
    }
}

/// An item takes more memory than its bytes in the frame, but not much more: a trade of thirty bytes becomes an event
/// of two hundred, and vectors double.
fn bounded(codec: Codec, frame: &[u8]) -> usize {
    let mut session = session(codec);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let out = read(&mut session, frame);
    let used = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(
        used <= FIXED + PER_BYTE * frame.len(),
        "{used} bytes for {} of {codec}",
        frame.len()
    );
    out.events().count()
}

/// Room for a hundred unparsed items that are shown.
const FIXED: usize = 2 << 20;
const PER_BYTE: usize = 32;

/// A frame with one item of every kind.
fn whole(codec: Codec) -> Vec<u8> {
    let items = KINDS.iter().map(|item| serde_json::from_str(item).unwrap());
    encode(&Value::Array(items.collect()), codec)
}

const KINDS: [&str; 11] = [
    TRADE,
    r#"{"T":"q","S":"PEP","bx":"V","bp":152.1,"bs":2,"ax":"Q","ap":152.14,"as":1,"c":["R"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}"#,
    r#"{"T":"b","S":"KO","o":61.2,"h":61.3,"l":61.19,"c":61.28,"v":8120,"n":97,"vw":61.2431,"t":"2026-03-17T14:30:00Z"}"#,
    r#"{"T":"c","S":"KO","x":"P","oi":71204,"op":61.275,"os":40,"oc":["@","I"],"ci":71388,"cp":61.27,"cs":41,"cc":["@"],"z":"A","t":"2026-03-17T14:33:02.000001Z"}"#,
    r#"{"T":"x","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"a":"E","z":"A","t":"2026-03-17T14:32:40.9Z"}"#,
    r#"{"T":"s","S":"PEP","sc":"H","sm":"Trading Halt","rc":"T1","rm":"Halt News Pending","z":"C","t":"2026-03-17T14:35:00.5Z"}"#,
    r#"{"T":"l","S":"PEP","u":159.71,"d":144.5,"i":"B","z":"C","t":"2026-03-17T14:31:00.25Z"}"#,
    r#"{"T":"i","S":"PEP","p":151.02,"z":"C","t":"2026-03-17T14:33:12.081Z"}"#,
    r#"{"T":"o","S":"ETH/USD","t":"2026-03-17T14:30:05.3Z","b":[{"p":2310.1,"s":4.2}],"a":[{"p":2310.9,"s":7.03125}],"r":true}"#,
    r#"{"T":"n","id":40100123,"headline":"Bottler","created_at":"2026-03-17T14:30:00Z","updated_at":"2026-03-17T14:30:01Z","content":"<p>A</p>","symbols":["KO","PEP"]}"#,
    r#"{"T":"subscription","trades":["KO"],"quotes":null,"bars":["*"]}"#,
];

const TRADE: &str = r#"{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"],"z":"A","t":"2026-03-17T14:30:05.12Z"}"#;

/// A change of a frame: at a place, over a length, to bytes.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

impl Change {
    fn apply(&self, frame: &mut Vec<u8>) {
        let span = |at: &Index, len: usize| {
            let start = at.index(frame.len() + 1);
            start..(start + len).min(frame.len())
        };
        match self {
            Self::Replace(at, bytes) => {
                let span = span(at, bytes.len());
                let len = span.len();
                frame[span].copy_from_slice(&bytes[..len]);
            }
            Self::Insert(at, bytes) => {
                let start = span(at, 0).start;
                frame.splice(start..start, bytes.iter().copied());
            }
            Self::Remove(at, len) => {
                let span = span(at, *len);
                frame.drain(span);
            }
            Self::Repeat(at, len) => {
                let span = span(at, *len);
                let (start, copy) = (span.start, frame[span].to_vec());
                frame.splice(start..start, copy);
            }
            Self::Cut(at) => {
                let start = span(at, 0).start;
                frame.truncate(start);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    // Bytes that mean something to either codec come often.
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"[]{}\",:0-.eE\\u".to_vec()),
        prop::sample::select(vec![
            0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcf,
            0xd3, 0xd6, 0xd7, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xff,
        ]),
    ];
    let bytes = vec(byte, 1..9);
    prop_oneof![
        4 => (any::<Index>(), bytes.clone()).prop_map(|(at, bytes)| Change::Replace(at, bytes)),
        3 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (any::<Index>(), 1..200_usize).prop_map(|(at, len)| Change::Remove(at, len)),
        2 => (any::<Index>(), 1..200_usize).prop_map(|(at, len)| Change::Repeat(at, len)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// Any value, a dozen deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(12, 64, 6, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "T", "S", "t", "p", "s", "c", "i", "trades", "msg", "code"
            ])
            .prop_map(str::to_owned),
            ".{0,8}",
        ];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((key, inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(frame in vec(any::<u8>(), 0..2_000)) {
        for codec in CODECS {
            bounded(codec, &frame);
        }
    }

    #[test]
    fn a_whole_frame_with_changes(changes in vec(change(), 1..6)) {
        for codec in CODECS {
            let mut frame = whole(codec);
            for change in &changes {
                change.apply(&mut frame);
            }
            bounded(codec, &frame);
        }
    }

    #[test]
    fn any_value_costs_nothing_but_itself(mut value in value()) {
        // What reads as a message of the server's may end the session, and is no odd value.
        if let Some(map) = value.as_object_mut() {
            map.remove("T");
        }
        let good: Value = serde_json::from_str(TRADE).unwrap();
        for codec in CODECS {
            let frame = encode(&json!([good.clone(), value.clone(), good.clone()]), codec);
            prop_assert_eq!(bounded(codec, &frame), 2);
        }
    }
}
