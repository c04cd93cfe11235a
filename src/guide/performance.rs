//! What sharing costs, how to measure it on your machine, and what each knob trades. No code.
//!
//! # Against clients written by hand
//! `cargo bench --bench throughput` runs a firehose of stock quotes and trades of about 130 bytes in one process and a
//! client in another, in turns, and prints a table of medians. This is seven rounds of it on a virtual machine with two
//! cores, over loopback. The messages carry every field that the venue sends. trunkline's events have exact decimals and
//! nanosecond timestamps, and can be kept; each subscriber is a thread of its own and receives everything.
//!
//! - *The floor* is one thread, tungstenite and serde_json, into a struct of binary floats and texts of its own, which
//!   can be kept and handed on. The time stays a text.
//! - *Borrowing*, the same leaves the texts in the frame, which takes care: nothing outlives it, or could go to another
//!   thread.
//! - *Naive sharing* is that with an `Arc` of each message, made to last, into a channel for each of four threads.
//!
//! | at full speed, 1 / 10 / 50 messages per frame | thousand messages per second | times the floor | processor time per message, ns |
//! |---|--:|--:|--:|
//! | tungstenite, not decoded | 9,015 / 15,243 / 14,568 | | 111 / 29 / 24 |
//! | the floor: 1 consumer | 1,700 / 1,815 / 1,733 | 1 | 588 / 548 / 577 |
//! | the floor, borrowing | 2,679 / 3,411 / 3,503 | 1.6 / 1.9 / 2.0 | 373 / 292 / 285 |
//! | naive sharing: 4 consumers | 1,018 / 1,101 / 1,109 | 0.6 / 0.6 / 0.6 | 1,902 / 1,750 / 1,761 |
//! | trunkline, 1 subscriber | 3,536 / 5,287 / 5,696 | 2.1 / 2.9 / 3.3 | 319 / 225 / 209 |
//! | trunkline, 4 subscribers | 3,386 / 4,320 / 5,014 | 2.0 / 2.4 / 2.9 | 432 / 339 / 325 |
//! | trunkline, 16 subscribers | 1,863 / 2,130 / 2,258 | 1.1 / 1.2 / 1.3 | 909 / 823 / 806 |
//! | trunkline, 64 subscribers of one symbol each | 2,740 / 3,578 / 3,872 | 1.6 / 2.0 / 2.2 | 457 / 368 / 356 |
//!
//! So four threads that each receive everything, with exact prices, cost less processor time than one thread with
//! floats by hand, and get more. The processor time is that of all threads of the client together. Another subscriber of
//! everything costs some 40 ns per message. trunkline allocates at most once in a thousand messages, the floor nine times
//! for each; the process held 8 to 15 MiB at its peak.
//!
//! | at a pace, one message per frame: 10,000 / 50,000 / 200,000 per second | median latency, µs | processor time per message, ns |
//! |---|--:|--:|
//! | the floor | 5 / 8 / 19 | 3,845 / 1,376 / 849 |
//! | naive sharing: 4 consumers | 42 / 42 / 61 | 34,583 / 10,871 / 4,267 |
//! | trunkline, 1 subscriber | 27 / 27 / 52 | 15,810 / 4,352 / 1,838 |
//! | trunkline, 4 subscribers | 34 / 36 / 58 | 33,287 / 8,115 / 2,699 |
//! | trunkline, 4 subscribers, `linger` of 200 µs | 177 / 200 / 206 | 17,383 / 4,073 / 1,332 |
//!
//! The latency is from the server's write to the consumer's handler. At a pace nearly all of the time goes into waking
//! threads that sleep: two switches and one system call for each. That is the price of handing anything to another
//! thread, and what [`Config::linger`](crate::Config::linger) saves.
//!
//! Differences below a third are within what such a machine shows from one hour to the next. Compare rows of one run.
//!
//! # Where it goes
//! The stream's thread reads until the socket is dry, and makes one batch of the events, which all queues share. A batch
//! is handed on when nothing is left to read, when it is full (4,096 events), and before any declaration: so batching
//! never makes an event wait for one that has not arrived. Each subscription notes which events are its own. One that
//! gets less than a quarter of a batch gets copies, so that a slow reader keeps what is its own and not the rest; so does
//! one that conflates. Readers take one update at a time, out of all that was queued when they last looked.
//!
//! What it costs to find those who want an event does not grow with the number of topics (`cargo bench --bench
//! dispatch`). A thousand subscriptions that get one event in a thousand each cost a fifth more per event than one that
//! gets all: each has a queue of its own to touch, and they do not all stay in the nearest cache.
//!
//! An event that matches nobody costs the look-up by its symbol, and no more. What it costs to subscribe to a topic hardly grows with
//! their number (`cargo bench --bench topics`); what does is the venue's answers, where each lists all that is subscribed to.
//!
//! An idle stream holds less than 64 KiB on the heap. After a burst, batches are kept for the next one, until the line
//! has been quiet for [`Config::ping_interval`](crate::Config::ping_interval).
//!
//! # The knobs
//! | knob | more of it | less of it |
//! |---|---|---|
//! | [`Config::linger`](crate::Config::linger), default zero | fewer wake-ups: half of the processor time at 10,000 messages per second and four readers | no added latency. A linger adds up to itself and what the system's timers are late, some 50 µs on Linux; an event after a longer pause is not delayed |
//! | [`Topics::queue`](crate::Topics::queue), default 65,536 events | a longer pause of the reader loses nothing | less memory that a stuck reader can hold: some 200 to 400 bytes per event, and as many events again that the reader has taken |
//! | [`Overflow`](crate::Overflow) | `DropOldest` and `DropNewest` cost nothing until the queue is full | `Conflate` copies each event and looks its topic up, and lets a slow reader skip what is stale; `End` proves that nothing is missing |
//! | [`Config::read_buffer_size`](crate::Config::read_buffer_size), default 16 KiB | fewer reads where frames are large or come in bursts | less to clear: each read zeroes the free part of the buffer, 600 ns for 128 KiB |
//! | [`Rules::message_size`](crate::venue::Rules::message_size) of the venue, default 4 MiB | larger messages are taken | a broken peer can make it hold less |
//!
//! A reader that wants the newest price, and not every one, needs no queue: [`PriceBook`](crate::PriceBook) is read
//! without a lock. A thread that sleeps between its looks, and takes what has gathered, is woken by nobody, and needs no
//! linger.
