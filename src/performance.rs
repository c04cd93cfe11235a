//! What sharing costs, how to measure it on your machine, and what each knob trades. No code.
//!
//! # Against clients written by hand
//! `cargo bench --bench throughput` runs a firehose of stock quotes and trades of about 130 bytes in one process and a
//! client in another, in turns, and prints a table of medians. This is five rounds of it on a virtual machine with two
//! cores, over loopback. The messages carry every field that the venue sends. trunkline's events have exact decimals and
//! nanosecond timestamps, and can be kept; each subscriber is a thread of its own and receives everything.
//!
//! - *The floor* is one thread, tungstenite and serde_json, into a struct of binary floats that borrows its texts and
//!   leaves the time as it came. Nothing of it outlives the frame, or could be sent to another thread.
//! - *Naive sharing* is that with an `Arc` of each message, made to last, into a channel for each of four threads.
//!
//! | at full speed, 1 / 10 / 50 messages per frame | thousand messages per second | processor time per message, ns |
//! |---|--:|--:|
//! | tungstenite, not decoded | 8,584 / 15,873 / 15,132 | 115 / 34 / 25 |
//! | the floor: 1 consumer | 2,837 / 3,542 / 3,579 | 352 / 281 / 278 |
//! | naive sharing: 4 consumers | 1,069 / 1,187 / 1,168 | 1,834 / 1,553 / 1,658 |
//! | trunkline, 1 subscriber | 3,100 / 4,345 / 4,373 | 379 / 286 / 276 |
//! | trunkline, 4 subscribers | 2,770 / 3,475 / 4,037 | 529 / 460 / 449 |
//! | trunkline, 16 subscribers | 1,504 / 1,598 / 1,674 | 1,199 / 1,130 / 1,119 |
//! | trunkline, 64 subscribers of one symbol each | 2,164 / 2,516 / 2,590 | 600 / 547 / 537 |
//!
//! The processor time is that of all threads of the client together. Another subscriber of everything costs about 60 ns
//! per message. trunkline allocates at most once in some hundred messages; the process held 7 to 13 MiB at its peak.
//!
//! | at a pace, one message per frame: 10,000 / 50,000 / 200,000 per second | median latency, µs | processor time per message, ns |
//! |---|--:|--:|
//! | the floor | 5 / 7 / 12 | 3,371 / 1,050 / 590 |
//! | naive sharing: 4 consumers | 39 / 45 / 58 | 36,120 / 10,775 / 4,248 |
//! | trunkline, 1 subscriber | 25 / 24 / 37 | 15,096 / 4,128 / 1,507 |
//! | trunkline, 4 subscribers | 32 / 33 / 56 | 32,790 / 8,047 / 2,778 |
//! | trunkline, 4 subscribers, `linger` of 200 µs | 178 / 199 / 205 | 16,718 / 3,887 / 1,404 |
//!
//! The latency is from the server's write to the consumer's handler. At a pace nearly all of the time goes into waking
//! threads that sleep: two switches and one system call for each. That is the price of handing anything to another
//! thread, and what [`Config::linger`](crate::Config::linger) saves.
//!
//! Differences below a third are within what such a machine shows from one hour to the next. Compare rows of one run.
//!
//! # Where it goes
//! The stream's thread reads until the socket is dry, and makes one batch of the events, which all queues share. A batch
//! is handed on when nothing is left to read, when it is full (2,048 events), and before any declaration: so batching
//! never makes an event wait for one that has not arrived. Each subscription notes which events are its own. One that
//! gets less than a quarter of a batch gets copies, so that a slow reader keeps what is its own and not the rest.
//! Readers take one update at a time, out of all that was queued when they last looked.
//!
//! What it costs to find those who want an event does not grow with the number of topics (`cargo bench --bench
//! dispatch`). A thousand subscriptions that get one event in a thousand each cost more per event than one that gets
//! all: each has a queue of its own to touch.
//!
//! An idle stream holds less than 64 KiB on the heap. After a burst, batches are kept for the next one, until the line
//! has been quiet for [`Config::ping_interval`](crate::Config::ping_interval).
//!
//! # The knobs
//! | knob | more of it | less of it |
//! |---|---|---|
//! | [`Config::linger`](crate::Config::linger), default zero | fewer wake-ups: half of the processor time at 10,000 messages per second and four readers | no added latency. A linger adds up to itself and what the system's timers are late, some 50 µs on Linux; an event after a longer pause is not delayed |
//! | [`Topics::queue`](crate::Topics::queue), default 65,536 events | a longer pause of the reader loses nothing | less memory that a stuck reader can hold: some 200 bytes per event, and as many events again that the reader has taken |
//! | [`Overflow`](crate::Overflow) | `DropOldest` and `DropNewest` cost nothing until the queue is full | `Conflate` copies each event and looks its topic up, and lets a slow reader skip what is stale; `End` proves that nothing is missing |
//! | [`Config::read_buffer_size`](crate::Config::read_buffer_size), default 16 KiB | fewer reads where frames are large or come in bursts | less to clear: each read zeroes the free part of the buffer, 600 ns for 128 KiB |
//! | [`Config::max_message_size`](crate::Config::max_message_size), default 4 MiB | larger messages are taken | a broken peer can make it hold less |
//!
//! A reader that wants the newest price, and not every one, needs no queue: [`PriceBook`](crate::PriceBook) is read
//! without a lock. A thread that sleeps between its looks, and takes what has gathered, is woken by nobody, and needs no
//! linger.
