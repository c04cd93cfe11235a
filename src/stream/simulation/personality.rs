//! The venues that days are played with: a protocol from both ends, and what is special about each.
//!
//! | personality | it answers | topics | what else |
//! |---|---|---|---|
//! | [`Alpaca`] | with all that it sends | any | the venue itself |
//! | [`PerTopic`](super::per_topic::PerTopic) | topic by topic, some refusals without a name | quotes build on each other | text codes, two spellings, evictions |
//! | [`PerRequest`](super::per_request::PerRequest) | by the number of the request | any | several requests at once, at a pace, negative codes |
//! | [`Silent`](super::silent::Silent) | never | any | it numbers its events, and the session says what is lost |

use super::{Item, Lost, Reply, Said, Set, Tick, bit, bit_of, frame, state_frame};
use crate::{
    Endpoint, MarketEvent,
    alpaca::{
        self, Feed, MarketData,
        wire::server::{ClientMessage, RequestLists, json as server},
    },
    error::RejectionCode,
    venue::{Rules, Venue},
};

/// A venue, as the stream knows it.
pub(super) trait Personality: 'static {
    type Venue: Venue<Event = MarketEvent> + Clone;

    /// With the rules of the day, and its own.
    fn venue(endpoint: Endpoint, rules: Rules) -> Self::Venue;

    /// How many events its sessions have left out.
    fn left_out(venue: &Self::Venue) -> u64 {
        let _ = venue;
        0
    }

    /// Its own end of the protocol.
    const SPEECH: Speech;
}

/// A venue's own end of its protocol.
#[derive(Clone, Copy)]
pub(super) struct Speech {
    pub(super) answers: Answers,
    pub(super) write: fn(&Said) -> Option<String>,
    pub(super) read: fn(&str) -> Heard,
    /// Topics that it does not have.
    pub(super) absent: Set,
    /// Topics whose events build on each other.
    pub(super) builds: Set,
    /// A topic may be written in small letters, too.
    pub(super) has_spellings: bool,
    /// It lets a newcomer take the place of the connection that is there.
    pub(super) evicts: bool,
    /// The code of its refusals.
    pub(super) code: fn() -> RejectionCode,
}

/// How a venue answers requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    State,
    PerTopic,
    PerRequest,
    Never,
}

/// What a client said.
pub(super) enum Heard {
    Login,
    Ask {
        id: u64,
        subscribes: bool,
        topics: Set,
    },
}

pub(super) struct Alpaca;

impl Personality for Alpaca {
    type Venue = MarketData;

    fn venue(endpoint: Endpoint, rules: Rules) -> MarketData {
        // What it refuses is random here; its limit has days of its own.
        let venue = alpaca::stocks(Feed::Iex).symbol_budget(None);
        venue.with_rules(|_| rules).at(endpoint)
    }

    const SPEECH: Speech = Speech {
        answers: Answers::State,
        write: |said| match said {
            Said::Data(items) => Some(frame(items)),
            Said::Welcome => Some(server::success("connected")),
            Said::Authenticated => Some(server::success("authenticated")),
            Said::State(items, state) => {
                let state = state_frame(*state);
                if items.is_empty() {
                    return Some(state);
                }
                let mut text = frame(items);
                text.replace_range(text.len() - 1.., &format!(",{}", &state[1..]));
                Some(text)
            }
            Said::Error(code) => Some(server::error(*code, "no")),
            Said::Answer(..) | Said::Evicted | Said::Pong | Said::End => None,
        },
        read: |text| {
            let (subscribes, RequestLists(lists)) =
                match serde_json::from_str(text).expect("a message") {
                    ClientMessage::Auth { .. } => return Heard::Login,
                    ClientMessage::Subscribe(lists) => (true, lists),
                    ClientMessage::Unsubscribe(lists) => (false, lists),
                };
            let topics = lists.iter().flat_map(|(channel, symbols)| {
                symbols.iter().map(|symbol| bit_of(channel, symbol))
            });
            Heard::Ask {
                id: 0,
                subscribes,
                topics: topics.fold(0, |set, bit| set | bit),
            }
        },
        absent: 0,
        builds: 0,
        has_spellings: false,
        evicts: false,
        code: || RejectionCode::Number(400),
    };
}

// ---- the protocol of the others: a word or two in each line ----

/// A frame of lines.
pub(super) fn lines(said: &Said) -> Option<String> {
    let mut text = Vec::new();
    match said {
        Said::Data(items) => text.extend(items.iter().map(item)),
        Said::Welcome => text.push("welcome".to_owned()),
        Said::Authenticated => text.push("in".to_owned()),
        Said::Error(code) => text.push(format!("error {code}")),
        Said::Evicted => text.push("evicted max_connections".to_owned()),
        Said::Answer(items, replies) => {
            text.extend(items.iter().map(item));
            text.extend(replies.iter().map(reply));
        }
        Said::State(..) | Said::Pong | Said::End => return None,
    }
    Some(text.join("\n"))
}

fn item(item: &Item) -> String {
    match item {
        Item::Tick(Tick {
            channel,
            symbol,
            id,
            whole,
        }) => {
            let topic = name(bit(*channel, *symbol));
            format!("{topic} {id} {}", u8::from(*whole))
        }
        Item::Odd(Lost::Topic) => "odd trades.A".to_owned(),
        Item::Odd(Lost::Channel) => "odd trades".to_owned(),
        Item::Odd(Lost::All) => "odd".to_owned(),
        Item::Odd(Lost::Nothing) => "odd nothing".to_owned(),
        Item::Stray => unreachable!("only the first personality has strays"),
    }
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Subscribed(topic) => format!("on {}", name(*topic)),
        Reply::Unsubscribed(topic) => format!("off {}", name(*topic)),
        Reply::RefusedTopic(topic) => format!("no {}", name(*topic)),
        Reply::RefusedSome => "no".to_owned(),
        Reply::Done(id) => format!("done {id}"),
        Reply::Refused(id) => format!("fail {id}"),
    }
}

fn name(topic: Set) -> String {
    let topic = super::topics(topic).pop().expect("one topic");
    format!("{}.{}", topic.channel.name(), topic.symbol)
}

/// What a client of lines said: `login …`, `sub 7 trades.A quotes.B`, `unsub 8 trades.A`.
pub(super) fn read_lines(text: &str) -> Heard {
    let mut words = text.split(' ');
    let verb = words.next().expect("a word");
    if verb == "login" {
        return Heard::Login;
    }
    let id = words.next().expect("a number").parse().expect("a number");
    let topics = words.map(|word| {
        let (channel, symbol) = word.split_once('.').expect("a topic");
        bit_of(channel, symbol)
    });
    Heard::Ask {
        id,
        subscribes: verb == "sub",
        topics: topics.fold(0, |set, bit| set | bit),
    }
}
