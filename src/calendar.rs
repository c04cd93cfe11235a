//! When a market trades: sessions, holidays and half days, from a dated table that can be corrected.
//!
//! Silence means something only while a market is open, so whoever watches a feed for it asks here. Everything is a
//! pure function of the times it is given: nothing here reads a clock, or knows of a stream.

use std::{
    collections::BTreeMap,
    fmt,
    ops::RangeInclusive,
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time, Weekday, date, time},
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::{clock, invalid::InvalidValue, timestamp::Timestamp};

/// A part of the trading day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum TradingSession {
    /// Nothing trades.
    Closed,
    /// 20:00 to 04:00, in the night before a trading day.
    Overnight,
    /// 04:00 to 09:30.
    PreMarket,
    /// 09:30 to 16:00, or to the early close of a half day.
    Regular,
    /// The four hours after the close: 16:00 to 20:00, and 13:00 to 17:00 on a half day.
    AfterHours,
}

/// When a market trades.
///
/// Cheap to clone. A session begins at its first instant and ends before the first instant of the next one, to the
/// nanosecond: 09:30:00 sharp is regular trading.
///
/// The night before a trading day belongs to it: a *market day* runs from 20:00 to 20:00 in New York. So the overnight
/// session runs from Sunday 20:00 to Friday 04:00, does not run in the night before a holiday, and begins again at
/// 20:00 of the holiday itself.
///
/// # Examples
/// The day before Independence Day is a half day, and nothing trades until the evening of the holiday:
/// ```
/// use trunkline::{Timestamp, calendar::{Calendar, TradingSession}};
///
/// let calendar = Calendar::us_equities();
/// let noon: Timestamp = "2028-07-03T12:00:00-04:00".parse()?;
/// assert_eq!(calendar.session_at(noon), TradingSession::Regular);
/// let close = "2028-07-03T13:00:00-04:00".parse()?;
/// assert_eq!(calendar.next_change(noon), Some(close));
/// assert_eq!(calendar.session_at(close), TradingSession::AfterHours);
///
/// let evening: Timestamp = "2028-07-03T18:00:00-04:00".parse()?;
/// assert!(!calendar.is_open(evening));
/// let opens = "2028-07-04T20:00:00-04:00".parse()?;
/// assert_eq!(calendar.next_open(evening), Some((TradingSession::Overnight, opens)));
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// `None` where nothing ever closes.
    hours: Option<Arc<Hours>>,
}

impl Calendar {
    /// US equities, by the exchanges in New York.
    ///
    /// The table of holidays and half days covers 2024 to 2028, which are the years that NYSE has announced; see
    /// [`covers`](Self::covers). Every day that is not in it, before and after these years too, is an ordinary one:
    /// Monday to Friday are trading days. A stream writes a warning when it becomes live and the table ends in less than
    /// 60 days. After its end, a line on which expected data does not come is probed and not replaced: the day may be a
    /// holiday.
    ///
    /// The hours are those of the market as a whole. A single exchange or feed may have shorter ones, and the overnight
    /// session is that of the alternative trading systems, which only some feeds carry.
    #[must_use]
    pub fn us_equities() -> Self {
        static US_EQUITIES: LazyLock<Calendar> = LazyLock::new(|| Calendar {
            hours: Some(Arc::new(Hours::us_equities())),
        });
        US_EQUITIES.clone()
    }

    /// A market that never closes, such as crypto: always [`TradingSession::Regular`].
    #[must_use]
    pub const fn always_open() -> Self {
        Self { hours: None }
    }

    /// This calendar, in which nothing trades on a day, nor in the night before it.
    ///
    /// What is said about a day replaces what was known about it, here and in the table.
    ///
    /// # Errors
    /// If there is no such day, or if the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Timestamp, calendar::Calendar};
    /// let calendar = Calendar::us_equities().with_holiday(2026, 10, 14)?;
    /// let noon: Timestamp = "2026-10-14T12:00:00-04:00".parse()?;
    /// assert!(!calendar.is_trading_day(noon));
    /// assert!(Calendar::us_equities().with_holiday(2026, 2, 30).is_err());
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_holiday(self, year: i16, month: i8, day: i8) -> Result<Self, InvalidValue> {
        let date = civil(year, month, day)?;
        self.with(|hours| hours.set(date, Day::Holiday))
    }

    /// This calendar, in which regular trading ends early on a day, at a time of New York. After-hours trading follows
    /// for four hours. The day becomes a trading day, whatever it was, even on a week-end.
    ///
    /// # Errors
    /// If there is no such day, if the time is not between 09:30 and 16:00 (exclusive), or if
    /// the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Timestamp, calendar::{Calendar, TradingSession}};
    /// let calendar = Calendar::us_equities().with_early_close(2026, 10, 14, 14, 30)?;
    /// let close: Timestamp = "2026-10-14T14:30:00-04:00".parse()?;
    /// assert_eq!(calendar.session_at(close), TradingSession::AfterHours);
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_early_close(
        self,
        year: i16,
        month: i8,
        day: i8,
        hour: i8,
        minute: i8,
    ) -> Result<Self, InvalidValue> {
        let date = civil(year, month, day)?;
        let close = Time::new(hour, minute, 0, 0)
            .ok()
            .filter(|close| (OPEN..CLOSE).contains(close) && *close != OPEN)
            .ok_or_else(|| {
                InvalidValue::new(format!(
                    "an early close at {hour:02}:{minute:02} is not between 09:30 and 16:00"
                ))
            })?;
        self.with(|hours| hours.set(date, Day::ClosesAt(close)))
    }

    /// This calendar, in which a day is a full trading day, whatever it was, even on a week-end.
    ///
    /// # Errors
    /// If there is no such day, or if the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Timestamp, calendar::{Calendar, TradingSession}};
    /// let calendar = Calendar::us_equities().with_regular_day(2026, 12, 24)?;
    /// let afternoon: Timestamp = "2026-12-24T15:00:00-05:00".parse()?;
    /// assert_eq!(calendar.session_at(afternoon), TradingSession::Regular);
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_regular_day(self, year: i16, month: i8, day: i8) -> Result<Self, InvalidValue> {
        let date = civil(year, month, day)?;
        self.with(|hours| hours.set(date, Day::ClosesAt(CLOSE)))
    }

    /// This calendar, known through a day: for those who have added the holidays and half days of further years, so
    /// that [`covers`](Self::covers) says so.
    ///
    /// # Errors
    /// If there is no such day, or if the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Timestamp, calendar::Calendar};
    /// let calendar = Calendar::us_equities()
    ///     .with_holiday(2029, 1, 1)? // and so on
    ///     .with_known_through(2029, 12, 31)?;
    /// assert!(calendar.covers("2029-06-01T12:00:00-04:00".parse()?));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_known_through(self, year: i16, month: i8, day: i8) -> Result<Self, InvalidValue> {
        let last = civil(year, month, day)?;
        self.with(|hours| hours.known = *hours.known.start()..=last)
    }

    fn with(mut self, change: impl FnOnce(&mut Hours)) -> Result<Self, InvalidValue> {
        let hours = self.hours.as_mut().ok_or_else(|| {
            InvalidValue::new("a calendar that never closes has no days to change")
        })?;
        change(Arc::make_mut(hours));
        Ok(self)
    }

    /// The first instant that the table of holidays says nothing about: 20:00 in New York on its last day. `None` for a
    /// market that never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::calendar::Calendar;
    /// let until = Calendar::us_equities().known_until();
    /// assert_eq!(until, Some("2028-12-31T20:00:00-05:00".parse()?));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    #[must_use]
    pub fn known_until(&self) -> Option<Timestamp> {
        let hours = self.hours.as_ref()?;
        timestamp(hours.instant(hours.known.end().to_datetime(NIGHT))?)
    }

    /// Whether the table of holidays covers `time`. Where it does not, every Monday to Friday counts as an ordinary
    /// trading day.
    #[must_use]
    pub fn covers(&self, time: Timestamp) -> bool {
        self.hours
            .as_ref()
            .is_none_or(|hours| hours.known.contains(&market_day(hours.local(time))))
    }

    /// When the table of holidays ends, if that is less than 60 days after `now`, or before it.
    pub(crate) fn ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        const NOTICE: Duration = Duration::from_secs(60 * 24 * 3_600);
        self.known_until()
            .filter(|end| clock::earlier(*end, NOTICE) < now)
    }

    /// Whether both times are on one market day, from 20:00 to 20:00 in New York. A market that never closes has none.
    pub(crate) fn is_same_day(&self, one: Timestamp, other: Timestamp) -> bool {
        self.hours
            .as_ref()
            .is_some_and(|hours| market_day(hours.local(one)) == market_day(hours.local(other)))
    }

    /// The session that `time` is in.
    #[must_use]
    pub fn session_at(&self, time: Timestamp) -> TradingSession {
        self.hours
            .as_ref()
            .map_or(TradingSession::Regular, |hours| hours.session_at(time))
    }

    /// Whether anything trades at `time`: any session but [`TradingSession::Closed`], the overnight session included.
    ///
    /// Most feeds are quiet outside regular hours, open or not; ask [`session_at`](Self::session_at) if that matters.
    #[must_use]
    pub fn is_open(&self, time: Timestamp) -> bool {
        self.session_at(time) != TradingSession::Closed
    }

    /// Whether the exchanges open on the date that `time` falls on in New York, at whatever hour.
    ///
    /// Sunday 21:00 is not on a trading day, although the overnight session before Monday has begun. Friday 21:00 is.
    ///
    /// # Examples
    /// ```
    /// use trunkline::calendar::Calendar;
    /// let calendar = Calendar::us_equities();
    /// assert!(!calendar.is_trading_day("2025-01-09T12:00:00-05:00".parse()?)); // a day of mourning
    /// assert!(calendar.is_trading_day("2025-01-10T21:00:00-05:00".parse()?));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    #[must_use]
    pub fn is_trading_day(&self, time: Timestamp) -> bool {
        self.hours
            .as_ref()
            .is_none_or(|hours| hours.day(hours.local(time).date()) != Day::Holiday)
    }

    /// When the session next changes: the first instant after `time` that is in another session than `time`.
    ///
    /// `None` for a market that never closes, and where the change lies beyond what a [`Timestamp`] can hold.
    #[must_use]
    pub fn next_change(&self, time: Timestamp) -> Option<Timestamp> {
        let mut spans = self.hours.as_ref()?.spans(time);
        let now = spans.next()?.session;
        timestamp(spans.find(|span| span.session != now)?.start)
    }

    /// When the market next opens, and with which session: the first instant after `time` at which it was closed just
    /// before and is no longer. While the market is open, that is the opening after its next close.
    ///
    /// `None` for a market that never closes, and where the opening lies beyond what a [`Timestamp`] can hold.
    #[must_use]
    pub fn next_open(&self, time: Timestamp) -> Option<(TradingSession, Timestamp)> {
        let open = self
            .hours
            .as_ref()?
            .spans(time)
            .skip_while(|span| span.session != TradingSession::Closed)
            .find(|span| span.session != TradingSession::Closed)?;
        Some((open.session, timestamp(open.start)?))
    }

    /// How much of the time from `from` to `to` lay inside any of `sessions`: a clock that stands still while the
    /// market is closed. Zero if `to` is not after `from`.
    ///
    /// It is the time that passed, not the difference of two wall clocks, so a change to or from daylight saving time
    /// neither adds nor loses an hour. Takes time in proportion to the days between the two.
    ///
    /// # Examples
    /// From Friday 15:59 to Monday 09:31, two minutes of regular trading went by:
    /// ```
    /// use std::time::Duration;
    /// use trunkline::{calendar::{Calendar, TradingSession}};
    ///
    /// let friday = "2026-03-06T15:59:00-05:00".parse()?;
    /// let monday = "2026-03-09T09:31:00-04:00".parse()?;
    /// let open = Calendar::us_equities().open_time_between(friday, monday, &[TradingSession::Regular]);
    /// assert_eq!(open, Duration::from_secs(120));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    #[must_use]
    pub fn open_time_between(
        &self,
        from: Timestamp,
        to: Timestamp,
        sessions: &[TradingSession],
    ) -> Duration {
        let (start, end) = (i128::from(from.as_nanos()), i128::from(to.as_nanos()));
        let Some(hours) = &self.hours else {
            let counts = sessions.contains(&TradingSession::Regular);
            return between(start, if counts { end } else { start });
        };
        hours
            .spans(from)
            .take_while(|span| span.start < end)
            .filter(|span| sessions.contains(&span.session))
            .map(|span| between(span.start.max(start), span.end.min(end)))
            .sum()
    }
}

impl fmt::Display for TradingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Closed => "closed",
            Self::Overnight => "overnight",
            Self::PreMarket => "pre-market",
            Self::Regular => "regular",
            Self::AfterHours => "after-hours",
        })
    }
}

/// The hours of a market that closes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hours {
    zone: TimeZone,
    /// The days that are not what their weekday makes them.
    exceptions: BTreeMap<Date, Day>,
    /// The market days for which the exceptions are complete.
    known: RangeInclusive<Date>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// Nothing trades: a week-end too.
    Holiday,
    /// A trading day, with the end of regular trading.
    ClosesAt(Time),
}

/// A session's extent, in nanoseconds since 1970. Wider than a [`Timestamp`], so that the session that its last
/// instant is in has an end too.
struct Span {
    session: TradingSession,
    start: i128,
    end: i128,
}

impl Hours {
    fn us_equities() -> Self {
        let zone = TimeZoneDatabase::bundled()
            .get("America/New_York")
            .expect("the bundled time-zone database has New York");
        let early = Day::ClosesAt(EARLY_CLOSE);
        let exceptions = NYSE
            .iter()
            .flat_map(|(year, holidays, half_days)| {
                let on = |&(month, day): &(i8, i8)| date(*year, month, day);
                let holidays = holidays.iter().map(move |day| (on(day), Day::Holiday));
                holidays.chain(half_days.iter().map(move |day| (on(day), early)))
            })
            .collect();
        Self {
            zone,
            exceptions,
            known: date(2024, 1, 1)..=date(2028, 12, 31),
        }
    }

    /// Keeps exceptions only, so that calendars that say the same are equal.
    fn set(&mut self, date: Date, day: Day) {
        if day == ordinary(date) {
            self.exceptions.remove(&date);
        } else {
            self.exceptions.insert(date, day);
        }
    }

    fn day(&self, date: Date) -> Day {
        self.exceptions
            .get(&date)
            .copied()
            .unwrap_or_else(|| ordinary(date))
    }

    fn session_at(&self, time: Timestamp) -> TradingSession {
        let local = self.local(time);
        self.sessions(market_day(local))
            .into_iter()
            .find(|(_, _, end)| local < *end)
            .map(|(session, ..)| session)
            .expect("a market day ends after every time in it")
    }

    /// What a market day consists of: sessions, with their start and end in New York. They adjoin; the closed rest of a
    /// full day is empty, and a holiday is closed five times.
    fn sessions(&self, date: Date) -> [(TradingSession, DateTime, DateTime); 5] {
        let (names, close) = match self.day(date) {
            Day::ClosesAt(close) => (TRADING_DAY, close),
            Day::Holiday => ([TradingSession::Closed; 5], CLOSE),
        };
        let eve = date.saturating_sub(1.day()).to_datetime(NIGHT);
        let [early, open, close, late, night] = [
            EARLY,
            OPEN,
            close,
            close.saturating_add(AFTER.hours()),
            NIGHT,
        ]
        .map(|time| date.to_datetime(time));
        let [overnight, pre_market, regular, after_hours, closed] = names;
        [
            (overnight, eve, early),
            (pre_market, early, open),
            (regular, open, close),
            (after_hours, close, late),
            (closed, late, night),
        ]
    }

    /// The sessions from the one that `from` is in, without end. They adjoin, and none is empty; successive ones may
    /// both be closed.
    fn spans(&self, from: Timestamp) -> impl Iterator<Item = Span> {
        let local = self.local(from);
        std::iter::successors(Some(market_day(local)), |day| day.tomorrow().ok())
            .flat_map(|day| self.sessions(day))
            .filter(|(_, start, end)| start < end)
            .skip_while(move |(_, _, end)| *end <= local)
            .map_while(|(session, start, end)| {
                Some(Span {
                    session,
                    start: self.instant(start)?,
                    end: self.instant(end)?,
                })
            })
    }

    fn local(&self, time: Timestamp) -> DateTime {
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos()))
            .expect("every i64 of nanoseconds is inside jiff's range of years");
        self.zone.to_datetime(time)
    }

    /// `None` only at the end of jiff's range of years. No session starts or ends in an hour that is skipped or
    /// repeated: the clocks change at 02:00.
    fn instant(&self, local: DateTime) -> Option<i128> {
        let time = self.zone.to_timestamp(local).ok()?;
        Some(time.as_nanosecond())
    }
}

/// The day whose sessions a time in New York falls in: from 20:00, tomorrow's.
fn market_day(local: DateTime) -> Date {
    if local.time() < NIGHT {
        local.date()
    } else {
        local.date().saturating_add(1.day())
    }
}

fn ordinary(date: Date) -> Day {
    match date.weekday() {
        Weekday::Saturday | Weekday::Sunday => Day::Holiday,
        _ => Day::ClosesAt(CLOSE),
    }
}

fn civil(year: i16, month: i8, day: i8) -> Result<Date, InvalidValue> {
    Date::new(year, month, day)
        .map_err(|_| InvalidValue::new(format!("there is no day {year:04}-{month:02}-{day:02}")))
}

fn timestamp(nanos: i128) -> Option<Timestamp> {
    i64::try_from(nanos).ok().map(Timestamp::from_nanos)
}

/// Zero if `end` is not after `start`.
fn between(start: i128, end: i128) -> Duration {
    // Two ends that are each inside an i64 are less than an u64 apart.
    Duration::from_nanos(u64::try_from(end - start).unwrap_or_default())
}

const TRADING_DAY: [TradingSession; 5] = [
    TradingSession::Overnight,
    TradingSession::PreMarket,
    TradingSession::Regular,
    TradingSession::AfterHours,
    TradingSession::Closed,
];

const EARLY: Time = time(4, 0, 0, 0);
const OPEN: Time = time(9, 30, 0, 0);
const EARLY_CLOSE: Time = time(13, 0, 0, 0);
const CLOSE: Time = time(16, 0, 0, 0);
const NIGHT: Time = time(20, 0, 0, 0);
/// Hours of trading after the close.
const AFTER: i64 = 4;

/// A year, its holidays, and the days on which the market closes at 13:00: month and day.
type Year = (i16, &'static [(i8, i8)], &'static [(i8, i8)]);

/// NYSE's holidays and early closes, as NYSE Group announces them each year ("Holiday and Early Closings Calendar",
/// nyse.com/markets/hours-calendars; for 2026 to 2028 that of 2025-12-23), and its special closure of 2025-01-09, the
/// day of mourning for President Carter. In order: New Year, Martin Luther King, Washington, Good Friday, Memorial Day,
/// Juneteenth, Independence Day, Labor Day, Thanksgiving, Christmas. A Saturday's is observed on Friday and a Sunday's
/// on Monday, except that New Year 2028, a Saturday, is not observed at all.
#[rustfmt::skip]
const NYSE: [Year; 5] = [
    (2024, &[(1, 1), (1, 15), (2, 19), (3, 29), (5, 27), (6, 19), (7, 4), (9, 2), (11, 28), (12, 25)],
           &[(7, 3), (11, 29), (12, 24)]),
    (2025, &[(1, 1), (1, 9), (1, 20), (2, 17), (4, 18), (5, 26), (6, 19), (7, 4), (9, 1), (11, 27), (12, 25)],
           &[(7, 3), (11, 28), (12, 24)]),
    (2026, &[(1, 1), (1, 19), (2, 16), (4, 3), (5, 25), (6, 19), (7, 3), (9, 7), (11, 26), (12, 25)],
           &[(11, 27), (12, 24)]),
    (2027, &[(1, 1), (1, 18), (2, 15), (3, 26), (5, 31), (6, 18), (7, 5), (9, 6), (11, 25), (12, 24)],
           &[(11, 26)]),
    (2028, &[(1, 17), (2, 21), (4, 14), (5, 29), (6, 19), (7, 4), (9, 4), (11, 23), (12, 25)],
           &[(7, 3), (11, 24)]),
];

#[cfg(test)]
mod tests;
