//! What an unread queue keeps, counted in entries: none of what can be declared piles up in it.

use std::{ops::Range, sync::LazyLock, time::Duration};

use super::*;
use crate::{
    Credentials, Phase, StreamKey, clock,
    error::{At, Error, ErrorKind},
    event::{Concerns, Origin, Unparsed},
    market::{QUOTES, Timestamp},
    venue::Events,
};

const MANY: u64 = 100_000;

fn error() -> Error {
    // A key is a hash, which takes its time.
    static AT: LazyLock<At> = LazyLock::new(|| {
        let key = StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none());
        At::new(&key, Phase::Live)
    });
    Error::new(AT.clone(), ErrorKind::Closed)
}

fn topic(number: u64) -> Topic {
    Topic::new(QUOTES, format!("S{number}"))
}

fn gap(epoch: u64) -> Gap {
    Gap {
        since: None,
        last: Some(Timestamp::from_nanos(epoch as i64)),
        cause: error(),
        epoch,
        topics: Box::default(),
        breaks: 1,
    }
}

fn resumed(epoch: u64) -> Notice {
    Notice::Resumed {
        epoch,
        at: Timestamp::from_nanos(0),
    }
}

fn confirmed(topics: impl IntoIterator<Item = Topic>) -> Notice {
    Notice::Confirmed {
        topics: topics.into_iter().collect(),
    }
}

fn not_live(attempt: u32) -> Notice {
    Notice::NotLive {
        attempt,
        cause: error(),
        retry_in: Duration::ZERO,
    }
}

fn unparsed() -> Notice {
    let item = Unparsed::new("x".repeat(1_000).as_bytes(), "odd");
    Notice::Unparsed(item.concerning(Concerns::Topic(topic(1))))
}

/// A queue that nobody reads, of numbers.
struct Unread {
    entries: Entries<u64>,
    scratch: Scratch<u64>,
    room: Room,
}

impl Unread {
    fn new(events: usize, overflow: Overflow) -> Self {
        Self {
            entries: Entries::new(),
            scratch: Scratch::new(),
            room: Room::of::<u64>(QueueLimit::new(events, overflow)),
        }
    }

    fn event(&mut self, number: u64) {
        self.copies(&[(number, 0)]);
    }

    /// Numbers, and what each keeps outside of itself. Of two topics, by turns.
    fn copies(&mut self, numbers: &[(u64, usize)]) -> Inserted {
        self.scratch.clear();
        for (number, heap) in numbers {
            let one = One::new(*number, Origin::plain(clock::now(), 1), *heap);
            self.scratch.heap += heap;
            self.scratch.load.push_back(Entry::One(one));
            let symbol = topic(number % 2).symbol;
            self.scratch.topics.push((QUOTES, symbol));
        }
        self.entries
            .insert(numbers.len(), self.room, &mut self.scratch)
    }

    /// The same as a slice of each second event of a batch.
    fn run(&mut self, numbers: &[(u64, usize)]) -> Inserted {
        self.scratch.clear();
        let mut batch = Batch::new(Events::new(), 1);
        for (number, heap) in numbers {
            batch.events.push(u64::MAX, clock::now());
            batch.events.push(*number, clock::now());
            batch.heap.extend([1 << 40, *heap]);
        }
        let places: Vec<u32> = (0..numbers.len() as u32)
            .map(|number| 2 * number + 1)
            .collect();
        let slice = batch.list(&places);
        self.scratch.heap = batch.heap_of(slice);
        let shared = Entry::Shared(Arc::new(batch), slice);
        self.scratch.load.push_back(shared);
        self.entries
            .insert(numbers.len(), self.room, &mut self.scratch)
    }

    fn events(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.event(number);
        }
    }

    fn len(&self) -> usize {
        self.entries.entries.len()
    }

    /// All that is in it, in short.
    fn words(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(taken) = self.entries.take() {
            words.push(match taken {
                Taken::Event(event, _) => event.to_string(),
                Taken::Declared(Declaration::Gap(gap)) => {
                    format!("gap{}x{}", gap.epoch, gap.breaks)
                }
                Taken::Declared(Declaration::Dropped(hole)) => format!("dropped{}", hole.count),
                Taken::Declared(Declaration::Notice(Notice::Resumed { epoch, .. })) => {
                    format!("resumed{epoch}")
                }
                Taken::Declared(Declaration::Notice(notice)) => notice.to_string(),
                Taken::Declared(Declaration::Ended(_)) => "ended".to_owned(),
            });
        }
        words
    }
}

/// The reader learns how much was dropped until the line broke last, how often it broke, and what was dropped since then.
#[test]
fn breaks_and_drops_behind_a_full_queue_are_a_gap_with_a_drop_on_each_side() {
    let mut queue = Unread::new(2, Overflow::DropNewest);
    queue.events(0..2);
    for epoch in 1..=MANY {
        queue.events(0..3);
        queue.entries.gap(gap(epoch));
        queue.entries.notice(not_live(1));
        queue.entries.notice(resumed(epoch + 1));
        assert!(queue.len() <= 7, "{} entries at break {epoch}", queue.len());
    }
    queue.events(0..5);
    let last = MANY + 1;
    assert_eq!(
        queue.words(),
        [
            "0".to_owned(),
            "1".to_owned(),
            format!("dropped{}", 3 * MANY),
            format!("gap{MANY}x{MANY}"),
            not_live(1).to_string(),
            format!("resumed{last}"),
            "dropped5".to_owned(),
        ]
    );
}

/// The first of the breaks comes before anything was dropped: the drop of the second connection stands in front of both.
#[test]
fn a_drop_between_two_breaks_stands_in_front_of_the_gap_that_both_become() {
    let mut queue = Unread::new(1, Overflow::DropNewest);
    queue.event(0);
    queue.entries.notice(confirmed([topic(1)]));
    queue.entries.gap(gap(1));
    queue.entries.notice(resumed(2));
    queue.event(1);
    queue.entries.notice(confirmed([topic(2)]));
    queue.entries.gap(gap(2));
    queue.entries.notice(resumed(3));
    assert_eq!(
        queue.words(),
        [
            "0",
            "confirmed: quotes:S1",
            "dropped1",
            "gap2x2",
            "confirmed: quotes:S2",
            "resumed3"
        ]
    );
}

#[test]
fn breaks_in_a_queue_that_drops_the_oldest_are_no_more_than_its_events() {
    let mut queue = Unread::new(3, Overflow::DropOldest);
    for epoch in 1..=MANY {
        queue.event(epoch);
        queue.entries.gap(gap(epoch));
        queue.entries.notice(resumed(epoch + 1));
        assert!(queue.len() <= 12, "{} entries", queue.len());
    }
    let words = queue.words();
    let before = MANY - 3;
    assert_eq!(
        words[..2],
        [format!("dropped{before}"), format!("gap{before}x{before}")]
    );
}

/// Each of `MANY` notices of topics that no other is of is told, or counted where it was left out.
#[test]
fn notices_of_ever_new_topics_are_a_bounded_number() {
    type Make = fn(u64) -> Notice;
    let kinds: [(&str, Make); 4] = [
        ("confirmed", |number| confirmed([topic(number)])),
        ("refused", |number| Notice::Refused {
            topics: vec![topic(number)],
            error: error(),
        }),
        ("displaced", |number| Notice::Displaced {
            topics: vec![topic(number)],
            error: error(),
        }),
        ("unmatched", |number| Notice::Unmatched {
            topic: topic(number),
        }),
    ];
    let policies = [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Conflate,
        Overflow::DropOldest,
    ];
    for ((kind, make), overflow) in kinds.into_iter().zip(policies) {
        let is_loss = matches!(kind, "refused" | "displaced");
        let mut queue = Unread::new(5, overflow);
        queue.events(0..5);
        for number in 0..MANY {
            queue.entries.notice(make(number));
            if number % 10_000 == 0 {
                queue.event(number);
            }
            let len = queue.len();
            assert!(len < 2 * MAX_NOTICES, "{kind}: {len} entries");
        }
        let (mut told, mut left_out) = (0, 0);
        while let Some(taken) = queue.entries.take() {
            match taken {
                Taken::Declared(Declaration::Notice(Notice::LeftOut { count, error, .. })) => {
                    left_out += count;
                    assert_eq!(error.is_some(), is_loss, "{kind}");
                }
                Taken::Declared(Declaration::Notice(_)) => told += 1,
                _ => {}
            }
        }
        assert_eq!(told + left_out, MANY, "{kind}, {overflow}");
        assert!(told >= MAX_NOTICES as u64 / 2, "{kind}: the newest {told}");
    }
}

#[test]
fn notices_of_many_topics_each_count_for_more() {
    let mut queue = Unread::new(5, Overflow::DropOldest);
    let of_each = 10_000;
    for number in 0..100 {
        let topics = (0..of_each).map(|more| topic(number * of_each + more));
        queue.entries.notice(confirmed(topics));
    }
    let mut topics = 0;
    for entry in &queue.entries.entries {
        if let Entry::Notice(Notice::Confirmed { topics: some, .. }) = entry {
            topics += some.len();
        }
    }
    let room = MAX_NOTICES * TOPICS_PER_NOTICE;
    assert!((1..=room + of_each as usize).contains(&topics), "{topics}");
}

/// What is left out stands where it was: an event before it and one behind it still have it between them.
#[test]
fn what_is_left_out_is_counted_in_its_place() {
    let mut queue = Unread::new(5, Overflow::DropOldest);
    for number in 0..3 {
        queue.event(number);
        for notice in 0..MAX_NOTICES as u64 {
            let topic = topic(number * MAX_NOTICES as u64 + notice);
            queue.entries.notice(confirmed([topic]));
        }
    }
    let words = queue.words();
    let (first, second) = (
        words.iter().position(|word| word == "0").unwrap(),
        words.iter().position(|word| word == "1").unwrap(),
    );
    assert_eq!(second, first + 2, "{words:?}");
    assert_eq!(words[first + 1], format!("{MAX_NOTICES} notices left out"));
}

/// A reader that waits for the end of its gap is told it, whatever else there was to say.
#[test]
fn that_the_line_resumed_is_never_left_out() {
    let mut queue = Unread::new(5, Overflow::DropOldest);
    queue.event(0);
    queue.entries.gap(gap(1));
    queue.entries.notice(resumed(2));
    for number in 0..MANY {
        queue.entries.notice(confirmed([topic(number)]));
    }
    let words = queue.words();
    assert!(words.contains(&"resumed2".to_owned()), "{:?}", &words[..5]);
}

#[test]
fn reasons_why_the_line_is_not_live_do_not_pile_up() {
    let mut queue = Unread::new(5, Overflow::DropOldest);
    for attempt in 1..=MANY as u32 {
        queue.entries.notice(not_live(attempt));
        assert!(queue.len() <= MERGED_NOTICES, "{} entries", queue.len());
    }
    let words = queue.words();
    assert_eq!(words.last(), Some(&not_live(MANY as u32).to_string()));

    // Nor behind a gap: what was before the line broke again is over.
    let mut queue = Unread::new(5, Overflow::DropOldest);
    for epoch in 1..=MANY {
        queue.entries.gap(gap(epoch));
        queue.entries.notice(not_live(1));
        assert_eq!(queue.len(), 2);
    }
}

/// An unparsed item may have been an event: each is declared behind the event that it came behind.
#[test]
fn unparsed_items_are_counted_where_they_were_lost() {
    let mut queue = Unread::new(100, Overflow::DropNewest);
    for number in 0..100 {
        queue.event(number);
        for _ in 0..1_000 {
            queue.entries.notice(unparsed());
        }
    }
    assert!(queue.len() < 100 + 100 + MAX_UNPARSED, "{}", queue.len());
    let raw = queue.entries.entries.iter().map(|entry| match entry {
        Entry::Notice(Notice::Unparsed(unparsed)) => unparsed.raw.len(),
        _ => 0,
    });
    assert!(raw.sum::<usize>() <= MAX_UNPARSED * 1_000 + 100 * 64);
    let mut since_event = None;
    while let Some(taken) = queue.entries.take() {
        match taken {
            Taken::Event(..) => assert!(since_event.replace(0).is_none_or(|lost| lost == 1_000)),
            Taken::Declared(Declaration::Notice(Notice::Unparsed(unparsed))) => {
                *since_event.as_mut().unwrap() += 1 + unparsed.more;
            }
            _ => panic!("nothing else was said"),
        }
    }
    assert_eq!(since_event, Some(1_000));
}

/// The events that a queue must hold, and how many it must have dropped since it was read last, by a model that knows
/// nothing of batches.
struct Model {
    room: Room,
    waits: Vec<(u64, usize)>,
    dropped: usize,
}

impl Model {
    fn bytes(&self) -> usize {
        let heap: usize = self.waits.iter().map(|(_, heap)| heap).sum();
        self.waits.len() * Entries::<u64>::SIZE + heap
    }

    fn is_over(&self) -> bool {
        let is_over = self.waits.len() > self.room.events || self.bytes() > self.room.bytes;
        is_over && self.waits.len() > 1
    }

    /// Says whether it ends.
    fn insert(&mut self, event: (u64, usize)) -> bool {
        if self.room.overflow == Overflow::DropNewest && self.dropped > 0 {
            self.dropped += 1;
            return false;
        }
        self.waits.push(event);
        let mut ends = false;
        while self.is_over() {
            self.dropped += 1;
            match self.room.overflow {
                Overflow::DropOldest => drop(self.waits.remove(0)),
                Overflow::DropNewest => drop(self.waits.pop()),
                Overflow::End => {
                    self.waits.pop();
                    ends = true;
                }
                Overflow::Conflate => panic!("it has a test of its own"),
            }
        }
        ends
    }
}

/// Whatever their sizes are, and however they come: by event, exactly, with one hole where they are missing.
#[test]
fn a_queue_holds_what_fits_in_bytes_and_in_events() {
    let mut dice = crate::transport::memory::Dice::new(5);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::End] {
        for _ in 0..400 {
            let mut below = |bound: u64| dice.roll() % bound;
            let size = Entries::<u64>::SIZE;
            let room = Room {
                events: 1 + below(20) as usize,
                bytes: size * (1 + below(20) as usize) + below(2_000) as usize,
                overflow,
            };
            let mut queue = Unread::new(1, overflow);
            queue.room = room;
            let mut model = Model {
                room,
                waits: Vec::new(),
                dropped: 0,
            };
            let mut number = 0;
            'reads: for _ in 0..3 {
                for _ in 0..below(6) {
                    let load: Vec<_> = (0..1 + below(8))
                        .map(|_| {
                            number += 1;
                            let heap = if below(3) == 0 { below(1_500) } else { 0 };
                            (number, heap as usize)
                        })
                        .collect();
                    // What comes behind the end is not looked at.
                    let ends = load.iter().any(|event| model.insert(*event));
                    let inserted = if below(2) == 0 {
                        queue.copies(&load)
                    } else {
                        queue.run(&load)
                    };
                    assert_eq!(inserted.overflowed, ends, "{room:?}");
                    assert_eq!(queue.entries.bytes(), model.bytes(), "{room:?}");
                    if ends {
                        break 'reads;
                    }
                }
                let mut expected: Vec<_> = model.waits.iter().map(|(n, _)| n.to_string()).collect();
                if model.dropped > 0 {
                    let at = match overflow {
                        Overflow::DropOldest => 0,
                        _ => expected.len(),
                    };
                    expected.insert(at, format!("dropped{}", model.dropped));
                }
                assert_eq!(queue.words(), expected, "{room:?}");
                queue.entries.clear();
                model.waits.clear();
                model.dropped = 0;
            }
        }
    }
}

/// A replacement may be larger than what it replaces: then the oldest go, with what stands in front of it.
#[test]
fn a_queue_that_conflates_holds_what_fits_in_bytes() {
    let size = Entries::<u64>::SIZE;
    let mut queue = Unread::new(10, Overflow::Conflate);
    queue.room.bytes = 2 * size + 100;
    queue.copies(&[(1, 40), (2, 60)]);
    assert_eq!(queue.entries.bytes(), 2 * size + 100);
    let inserted = queue.copies(&[(3, 10), (5, 40)]);
    assert_eq!((inserted.conflated, inserted.dropped), (2, 0));
    let inserted = queue.copies(&[(4, 70)]);
    assert_eq!((inserted.conflated, inserted.dropped), (1, 1));
    assert_eq!(queue.entries.bytes(), size + 70);
    // One may wait, however large it is.
    let inserted = queue.copies(&[(7, 5_000)]);
    assert_eq!((inserted.conflated, inserted.dropped), (0, 1));
    assert_eq!(queue.entries.bytes(), size + 5_000);
    assert_eq!(queue.words(), ["dropped2", "7"]);
}
