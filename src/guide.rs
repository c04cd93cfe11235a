//! Chapters of the guide that are too long for the front page. No code.
//!
//! - [`performance`]: what sharing costs, how to measure it on your machine, and what each setting trades.

pub mod performance;
