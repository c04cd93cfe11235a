//! Log records: one per state change, with key-values, and with what matters in the message too, because bridges to
//! other loggers drop key-values.
//!
//! Never called under a lock: a logger is user code.

/// `record!(Level, "event", stream_key, name = value, …; "message")`. The message starts with the stream.
///
/// With `for correlation` behind the stream, an `Option` of the id of whose operation caused it, the record says that
/// too, in both places.
macro_rules! record {
    ($level:ident, $event:literal, $stream:expr, for $correlation:expr $(, $name:ident = $value:expr)*; $($message:tt)+) => {
        match $correlation {
            None => $crate::record!($level, $event, $stream $(, $name = $value)*; $($message)+),
            Some(correlation) => log::log!(
                target: "trunkline::stream",
                log::Level::$level,
                event = $event,
                stream:% = $stream,
                correlation:% = correlation
                $(, $name:% = $value)*;
                "{} (correlation {}): {}", $stream, correlation, format_args!($($message)+)
            ),
        }
    };
    ($level:ident, $event:literal, $stream:expr $(, $name:ident = $value:expr)*; $($message:tt)+) => {
        log::log!(
            target: "trunkline::stream",
            log::Level::$level,
            event = $event,
            stream:% = $stream
            $(, $name:% = $value)*;
            "{}: {}", $stream, format_args!($($message)+)
        )
    };
}
pub(crate) use record;
