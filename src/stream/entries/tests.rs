//! What an unread queue keeps, counted in entries: none of what can be declared piles up in it.

use std::{ops::Range, sync::LazyLock, time::Duration};

use super::*;
use crate::{
    Credentials, Phase, QUOTES, StreamKey, clock,
    error::{At, Error},
    event::{Concerns, Origin, Unparsed},
    market::Timestamp,
};

const MANY: u64 = 100_000;

fn error() -> Error {
    // A key is a hash, which takes its time.
    static AT: LazyLock<At> = LazyLock::new(|| {
        let key = StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none());
        At::new(&key, Phase::Live)
    });
    Error::Closed { at: AT.clone() }
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
        breaks: 1,
        correlation: None,
    }
}

fn resumed(epoch: u64) -> Notice {
    Notice::Resumed {
        epoch,
        at: Timestamp::from_nanos(0),
        correlation: None,
    }
}

fn confirmed(topics: impl IntoIterator<Item = Topic>) -> Notice {
    Notice::Confirmed {
        topics: topics.into_iter().collect(),
        correlation: None,
    }
}

fn not_live(attempt: u32) -> Notice {
    Notice::NotLive {
        attempt,
        cause: error(),
        retry_in: Duration::ZERO,
        correlation: None,
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
    limit: QueueLimit,
}

impl Unread {
    fn new(events: usize, overflow: Overflow) -> Self {
        Self {
            entries: Entries::new(),
            scratch: Scratch::new(),
            limit: QueueLimit::new(events, overflow),
        }
    }

    /// Of two topics, by turns.
    fn event(&mut self, number: u64) -> Inserted {
        self.scratch.clear();
        let one = One::new(number, Origin::plain(clock::now(), 1));
        self.scratch.load.push_back(Entry::One(one));
        let symbol = topic(number % 2).symbol;
        self.scratch.topics.push((QUOTES, symbol));
        self.entries.insert(1, self.limit, &mut self.scratch)
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
                Taken::Declared(Declared::Gap(gap)) => format!("gap{}x{}", gap.epoch, gap.breaks),
                Taken::Declared(Declared::Dropped(hole)) => format!("dropped{}", hole.count),
                Taken::Declared(Declared::Notice(Notice::Resumed { epoch, .. })) => {
                    format!("resumed{epoch}")
                }
                Taken::Declared(Declared::Notice(notice)) => notice.to_string(),
                Taken::Declared(Declared::Ended(_)) => "ended".to_owned(),
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
            correlation: None,
        }),
        ("displaced", |number| Notice::Displaced {
            topics: vec![topic(number)],
            error: error(),
            correlation: None,
        }),
        ("unmatched", |number| Notice::Unmatched {
            topic: topic(number),
            correlation: None,
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
                Taken::Declared(Declared::Notice(Notice::LeftOut { count, error, .. })) => {
                    left_out += count;
                    assert_eq!(error.is_some(), is_loss, "{kind}");
                }
                Taken::Declared(Declared::Notice(_)) => told += 1,
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
            Taken::Declared(Declared::Notice(Notice::Unparsed(unparsed))) => {
                *since_event.as_mut().unwrap() += 1 + unparsed.more;
            }
            _ => panic!("nothing else was said"),
        }
    }
    assert_eq!(since_event, Some(1_000));
}
