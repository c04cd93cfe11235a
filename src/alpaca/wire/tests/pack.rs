//! MessagePack from JSON, byte by byte, and without a line in common with the codec under test.

use serde_json::Value;

/// How a server may write what leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Style {
    /// As short as can be: the SDKs for Python and JavaScript.
    Short,
    /// Integers in eight bytes, lengths in four, lists and maps in their longest form: within what a reader must take.
    Wide,
    /// Integers as floats, times as texts: JavaScript's own mock server.
    Loose,
    /// Times as seconds and nanoseconds, floats as texts.
    Old,
}

impl Style {
    pub(crate) const ALL: [Self; 4] = [Self::Short, Self::Wide, Self::Loose, Self::Old];
}

/// The frame as MessagePack, its keys in the same order.
pub(crate) fn pack(json: &str, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    value(&mut out, &Ordered::of(json), "", style);
    out
}

/// JSON whose keys keep their order, which `Value` does not.
enum Ordered {
    Map(Vec<(String, Self)>),
    List(Vec<Self>),
    Leaf(Value),
}

impl Ordered {
    fn of(json: &str) -> Self {
        use serde_json::value::RawValue;
        struct Pairs(Vec<(String, Box<RawValue>)>);
        impl<'de> serde::Deserialize<'de> for Pairs {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Map;
                impl<'de> serde::de::Visitor<'de> for Map {
                    type Value = Pairs;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a map")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Pairs, A::Error> {
                        let mut pairs = Vec::new();
                        while let Some(pair) = map.next_entry()? {
                            pairs.push(pair);
                        }
                        Ok(Pairs(pairs))
                    }
                }
                deserializer.deserialize_map(Map)
            }
        }
        match json.trim_start().as_bytes()[0] {
            b'{' => {
                let Pairs(pairs) = serde_json::from_str(json).unwrap();
                let pairs = pairs.into_iter();
                Self::Map(
                    pairs
                        .map(|(key, value)| (key, Self::of(value.get())))
                        .collect(),
                )
            }
            b'[' => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(json).unwrap();
                Self::List(items.iter().map(|item| Self::of(item.get())).collect())
            }
            _ => Self::Leaf(serde_json::from_str(json).unwrap()),
        }
    }
}

fn value(out: &mut Vec<u8>, json: &Ordered, key: &str, style: Style) {
    match json {
        Ordered::Map(pairs) => {
            length(out, pairs.len(), [0x80, 0xde, 0xdf], 16, style);
            for (key, of) in pairs {
                string(out, key, style);
                value(out, of, key, style);
            }
        }
        Ordered::List(items) => {
            length(out, items.len(), [0x90, 0xdc, 0xdd], 16, style);
            for item in items {
                value(out, item, "", style);
            }
        }
        Ordered::Leaf(Value::Null) => out.push(0xc0),
        Ordered::Leaf(Value::Bool(flag)) => out.push(if *flag { 0xc3 } else { 0xc2 }),
        Ordered::Leaf(Value::String(text))
            if !text.is_empty()
                && matches!(key, "t" | "ft" | "created_at" | "updated_at" | "r") =>
        {
            time(out, text, style);
        }
        Ordered::Leaf(Value::String(text)) => string(out, text, style),
        Ordered::Leaf(Value::Number(number)) => match number.as_i64() {
            // An id and an error's code are integers everywhere.
            Some(whole)
                if style == Style::Loose && !matches!(key, "i" | "id" | "oi" | "ci" | "code") =>
            {
                float(out, whole as f64);
            }
            Some(whole) => integer(out, whole, style),
            None if style == Style::Old => string(out, &number.to_string(), style),
            None => float(out, number.as_f64().unwrap()),
        },
        Ordered::Leaf(other) => panic!("{other}"),
    }
}

fn float(out: &mut Vec<u8>, float: f64) {
    out.push(0xcb);
    out.extend(float.to_be_bytes());
}

fn integer(out: &mut Vec<u8>, whole: i64, style: Style) {
    match whole {
        _ if style == Style::Wide => {
            out.push(0xd3);
            out.extend(whole.to_be_bytes());
        }
        0..128 => out.push(whole as u8),
        128..256 => out.extend([0xcc, whole as u8]),
        256..65_536 => {
            out.push(0xcd);
            out.extend((whole as u16).to_be_bytes());
        }
        65_536..=0xffff_ffff => {
            out.push(0xce);
            out.extend((whole as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend((whole as u64).to_be_bytes());
        }
        ..0 => {
            out.push(0xd3);
            out.extend(whole.to_be_bytes());
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str, style: Style) {
    if text.len() >= 32 && text.len() < 256 && style != Style::Wide {
        out.extend([0xd9, text.len() as u8]);
    } else {
        length(out, text.len(), [0xa0, 0xda, 0xdb], 32, style);
    }
    out.extend(text.as_bytes());
}

/// In the first byte, in two more or in four more.
fn length(out: &mut Vec<u8>, len: usize, [fix, two, four]: [u8; 3], fits: usize, style: Style) {
    if style == Style::Wide {
        out.push(four);
        out.extend((len as u32).to_be_bytes());
    } else if len < fits {
        out.push(fix | len as u8);
    } else {
        out.push(two);
        out.extend(u16::try_from(len).unwrap().to_be_bytes());
    }
}

fn time(out: &mut Vec<u8>, text: &str, style: Style) {
    let time: jiff::Timestamp = text.parse().unwrap();
    let nanos = time.as_nanosecond();
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap();
    let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap();
    match style {
        Style::Loose => string(out, text, style),
        Style::Old => {
            out.push(0x92);
            integer(out, seconds, Style::Short);
            integer(out, nanos.into(), Style::Short);
        }
        Style::Short if nanos == 0 && u32::try_from(seconds).is_ok() => {
            out.extend([0xd6, 0xff]);
            out.extend((seconds as u32).to_be_bytes());
        }
        Style::Short if (0..1 << 34).contains(&seconds) => {
            out.extend([0xd7, 0xff]);
            out.extend((u64::from(nanos) << 34 | seconds as u64).to_be_bytes());
        }
        Style::Short | Style::Wide => {
            out.extend([0xc7, 12, 0xff]);
            out.extend(nanos.to_be_bytes());
            out.extend(seconds.to_be_bytes());
        }
    }
}
