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

use crate::{
    error::{Error, Result},
    market::Timestamp,
};

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
/// use trunkline::{Calendar, Timestamp, TradingSession};
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
    /// Monday to Friday are trading days.
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
    /// [`Error::InvalidConfig`] if there is no such day, or if the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Calendar, Timestamp};
    /// let calendar = Calendar::us_equities().with_holiday(2026, 10, 14)?;
    /// let noon: Timestamp = "2026-10-14T12:00:00-04:00".parse()?;
    /// assert!(!calendar.is_trading_day(noon));
    /// assert!(Calendar::us_equities().with_holiday(2026, 2, 30).is_err());
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_holiday(self, year: i16, month: i8, day: i8) -> Result<Self> {
        let date = civil(year, month, day)?;
        self.with(|hours| hours.set(date, Day::Holiday))
    }

    /// This calendar, in which regular trading ends early on a day, at a time of New York. After-hours trading follows
    /// for four hours. The day becomes a trading day, whatever it was, even on a week-end.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if there is no such day, if the time is not between 09:30 and 16:00 (exclusive), or if
    /// the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Calendar, Timestamp, TradingSession};
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
    ) -> Result<Self> {
        let date = civil(year, month, day)?;
        let close = Time::new(hour, minute, 0, 0)
            .ok()
            .filter(|close| (OPEN..CLOSE).contains(close) && *close != OPEN)
            .ok_or_else(|| Error::InvalidConfig {
                why: format!(
                    "an early close at {hour:02}:{minute:02} is not between 09:30 and 16:00"
                ),
            })?;
        self.with(|hours| hours.set(date, Day::ClosesAt(close)))
    }

    /// This calendar, in which a day is a full trading day, whatever it was, even on a week-end.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if there is no such day, or if the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Calendar, Timestamp, TradingSession};
    /// let calendar = Calendar::us_equities().with_regular_day(2026, 12, 24)?;
    /// let afternoon: Timestamp = "2026-12-24T15:00:00-05:00".parse()?;
    /// assert_eq!(calendar.session_at(afternoon), TradingSession::Regular);
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_regular_day(self, year: i16, month: i8, day: i8) -> Result<Self> {
        let date = civil(year, month, day)?;
        self.with(|hours| hours.set(date, Day::ClosesAt(CLOSE)))
    }

    /// This calendar, known through a day: for those who have added the holidays and half days of further years, so
    /// that [`covers`](Self::covers) says so.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if there is no such day, or if the calendar never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Calendar, Timestamp};
    /// let calendar = Calendar::us_equities()
    ///     .with_holiday(2029, 1, 1)? // and so on
    ///     .with_known_through(2029, 12, 31)?;
    /// assert!(calendar.covers("2029-06-01T12:00:00-04:00".parse()?));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn with_known_through(self, year: i16, month: i8, day: i8) -> Result<Self> {
        let last = civil(year, month, day)?;
        self.with(|hours| hours.known = *hours.known.start()..=last)
    }

    fn with(mut self, change: impl FnOnce(&mut Hours)) -> Result<Self> {
        let hours = self.hours.as_mut().ok_or_else(|| Error::InvalidConfig {
            why: "a calendar that never closes has no days to change".to_owned(),
        })?;
        change(Arc::make_mut(hours));
        Ok(self)
    }

    /// The first instant that the table of holidays says nothing about: 20:00 in New York on its last day. `None` for a
    /// market that never closes.
    ///
    /// # Examples
    /// ```
    /// use trunkline::Calendar;
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
    /// use trunkline::Calendar;
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
    /// use trunkline::{Calendar, TradingSession};
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

fn civil(year: i16, month: i8, day: i8) -> Result<Date> {
    Date::new(year, month, day).map_err(|_| Error::InvalidConfig {
        why: format!("there is no day {year:04}-{month:02}-{day:02}"),
    })
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
mod tests {
    use super::{
        TradingSession::{AfterHours, Closed, Overnight, PreMarket, Regular},
        *,
    };

    /// In nanoseconds.
    const HOUR: i64 = 3_600_000_000_000;
    const ALL_OPEN: [TradingSession; 4] = [Overnight, PreMarket, Regular, AfterHours];

    /// An RFC 3339 time with its offset, so that no test relies on the time zone that it tests.
    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(hours: f64) -> Duration {
        Duration::from_secs_f64(hours * 3600.0)
    }

    /// Each session begins at its instant, to the nanosecond, and lasts until the next one's.
    fn assert_changes(calendar: &Calendar, changes: &[(&str, TradingSession)]) {
        for pair in changes.windows(2) {
            let [(start, session), (end, next)] = pair else {
                unreachable!()
            };
            let (start, end) = (at(start), at(end));
            let last = Timestamp::from_nanos(end.as_nanos() - 1);
            assert_eq!(calendar.session_at(start), *session, "{start}");
            assert_eq!(calendar.session_at(last), *session, "{last}");
            assert_eq!(calendar.session_at(end), *next, "{end}");
            assert_eq!(calendar.next_change(start), Some(end), "{start}");
            assert_eq!(calendar.next_change(last), Some(end), "{last}");
            assert_eq!(calendar.is_open(start), *session != Closed);
        }
    }

    #[test]
    fn an_ordinary_week_has_every_boundary() {
        let mut changes = vec![
            ("2026-01-09T16:00:00-05:00".to_owned(), AfterHours),
            ("2026-01-09T20:00:00-05:00".to_owned(), Closed), // Friday
            ("2026-01-11T20:00:00-05:00".to_owned(), Overnight), // Sunday
        ];
        for day in 12..=16 {
            for (clock, session) in [
                ("04:00", PreMarket),
                ("09:30", Regular),
                ("16:00", AfterHours),
                ("20:00", if day == 16 { Closed } else { Overnight }),
            ] {
                changes.push((format!("2026-01-{day}T{clock}:00-05:00"), session));
            }
        }
        let changes: Vec<_> = changes.iter().map(|(at, s)| (at.as_str(), *s)).collect();
        let calendar = Calendar::us_equities();
        assert_changes(&calendar, &changes);
        // The night before Martin Luther King stays closed.
        assert_eq!(calendar.session_at(at("2026-01-18T20:00:00-05:00")), Closed);
    }

    #[test]
    fn the_clocks_change_in_a_closed_market() {
        let calendar = Calendar::us_equities();
        assert_changes(
            &calendar,
            &[
                ("2026-03-06T20:00:00-05:00", Closed),
                ("2026-03-08T20:00:00-04:00", Overnight),
                ("2026-03-09T04:00:00-04:00", PreMarket),
                ("2026-03-09T09:30:00-04:00", Regular),
                ("2026-03-09T16:00:00-04:00", AfterHours),
                ("2026-03-09T20:00:00-04:00", Overnight),
            ],
        );
        assert_changes(
            &calendar,
            &[
                ("2026-10-30T20:00:00-04:00", Closed),
                ("2026-11-01T20:00:00-05:00", Overnight),
                ("2026-11-02T04:00:00-05:00", PreMarket),
                ("2026-11-02T09:30:00-05:00", Regular),
            ],
        );
        // The closed week-end is an hour shorter in spring, and longer in autumn.
        for (friday, monday, closed) in [
            (
                "2026-03-06T20:00:00-05:00",
                "2026-03-08T20:00:00-04:00",
                47.0,
            ),
            (
                "2026-10-30T20:00:00-04:00",
                "2026-11-01T20:00:00-05:00",
                49.0,
            ),
        ] {
            let (friday, monday) = (at(friday), at(monday));
            assert_eq!(
                calendar.open_time_between(friday, monday, &[Closed]),
                hours(closed)
            );
            assert_eq!(
                calendar.open_time_between(friday, monday, &ALL_OPEN),
                Duration::ZERO
            );
        }
        // A session over the change itself: a Sunday that somebody made a trading day.
        let spring = calendar.clone().with_regular_day(2026, 3, 8).unwrap();
        let autumn = calendar.with_regular_day(2026, 11, 1).unwrap();
        for (calendar, from, to, overnight) in [
            (
                spring,
                "2026-03-07T20:00:00-05:00",
                "2026-03-08T04:00:00-04:00",
                7.0,
            ),
            (
                autumn,
                "2026-10-31T20:00:00-04:00",
                "2026-11-01T04:00:00-05:00",
                9.0,
            ),
        ] {
            assert_changes(&calendar, &[(from, Overnight), (to, PreMarket)]);
            let open = calendar.open_time_between(at(from), at(to), &[Overnight]);
            assert_eq!(open, hours(overnight));
        }
    }

    #[test]
    fn a_holiday_is_closed_from_the_evening_before_to_its_own() {
        assert_changes(
            &Calendar::us_equities(),
            &[
                // Juneteenth 2024, a Wednesday.
                ("2024-06-18T16:00:00-04:00", AfterHours),
                ("2024-06-18T20:00:00-04:00", Closed),
                ("2024-06-19T20:00:00-04:00", Overnight),
                ("2024-06-20T04:00:00-04:00", PreMarket),
            ],
        );
        assert_changes(
            &Calendar::us_equities(),
            &[
                // Good Friday 2026.
                ("2026-04-02T20:00:00-04:00", Closed),
                ("2026-04-05T20:00:00-04:00", Overnight),
            ],
        );
        assert_changes(
            &Calendar::us_equities(),
            &[
                // The day of mourning, a Thursday.
                ("2025-01-08T20:00:00-05:00", Closed),
                ("2025-01-09T20:00:00-05:00", Overnight),
            ],
        );
    }

    #[test]
    fn a_half_day_ends_at_17() {
        assert_changes(
            &Calendar::us_equities(),
            &[
                // Thanksgiving 2026, and the day after.
                ("2026-11-25T20:00:00-05:00", Closed),
                ("2026-11-26T20:00:00-05:00", Overnight),
                ("2026-11-27T04:00:00-05:00", PreMarket),
                ("2026-11-27T09:30:00-05:00", Regular),
                ("2026-11-27T13:00:00-05:00", AfterHours),
                ("2026-11-27T17:00:00-05:00", Closed),
                ("2026-11-29T20:00:00-05:00", Overnight),
            ],
        );
        // Before a day that trades, the night follows three closed hours.
        let calendar = Calendar::us_equities().with_early_close(2026, 1, 13, 13, 0);
        assert_changes(
            &calendar.unwrap(),
            &[
                ("2026-01-13T13:00:00-05:00", AfterHours),
                ("2026-01-13T17:00:00-05:00", Closed),
                ("2026-01-13T20:00:00-05:00", Overnight),
            ],
        );
    }

    #[test]
    fn the_year_changes() {
        assert_changes(
            &Calendar::us_equities(),
            &[
                ("2025-12-31T16:00:00-05:00", AfterHours), // a full day
                ("2025-12-31T20:00:00-05:00", Closed),
                ("2026-01-01T20:00:00-05:00", Overnight),
                ("2026-01-02T04:00:00-05:00", PreMarket),
            ],
        );
        // New Year 2028 is a Saturday, and the Friday before it an ordinary day.
        assert_changes(
            &Calendar::us_equities(),
            &[
                ("2027-12-30T20:00:00-05:00", Overnight),
                ("2027-12-31T04:00:00-05:00", PreMarket),
                ("2027-12-31T09:30:00-05:00", Regular),
                ("2027-12-31T16:00:00-05:00", AfterHours),
                ("2027-12-31T20:00:00-05:00", Closed),
                ("2028-01-02T20:00:00-05:00", Overnight),
            ],
        );
    }

    /// The table against NYSE's Rule 7.2, year by year.
    #[test]
    fn the_table_is_what_the_rules_say() {
        for (year, holidays, half_days) in NYSE {
            let on = |month, day| date(year, month, day);
            let nth =
                |month, nth, weekday| on(month, 1).nth_weekday_of_month(nth, weekday).unwrap();
            let observed = |date: Date| match date.weekday() {
                Weekday::Saturday => date.yesterday().unwrap(),
                Weekday::Sunday => date.tomorrow().unwrap(),
                _ => date,
            };
            let thanksgiving = nth(11, 4, Weekday::Thursday);
            let mut expected = vec![
                nth(1, 3, Weekday::Monday),
                nth(2, 3, Weekday::Monday),
                easter(year).saturating_sub(2.days()),
                nth(5, -1, Weekday::Monday),
                observed(on(6, 19)),
                observed(on(7, 4)),
                nth(9, 1, Weekday::Monday),
                thanksgiving,
                observed(on(12, 25)),
            ];
            // Not observed in the old year.
            expected.extend(Some(observed(on(1, 1))).filter(|day| day.year() == year));
            expected.extend((year == 2025).then(|| on(1, 9)));
            expected.sort();
            let table: Vec<_> = holidays.iter().map(|&(m, d)| on(m, d)).collect();
            assert_eq!(table, expected);

            let half: Vec<_> = [on(7, 3), thanksgiving.tomorrow().unwrap(), on(12, 24)]
                .into_iter()
                .filter(|day| ordinary(*day) != Day::Holiday && !expected.contains(day))
                .collect();
            let table: Vec<_> = half_days.iter().map(|&(m, d)| on(m, d)).collect();
            assert_eq!(table, half);
        }
    }

    /// Western Easter, by the anonymous Gregorian computus.
    fn easter(year: i16) -> Date {
        let y = i32::from(year);
        let (a, b, c) = (y % 19, y / 100, y % 100);
        let g = (8 * b + 13) / 25;
        let h = (19 * a + b - b / 4 - g + 15) % 30;
        let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
        let m = (a + 11 * h + 22 * l) / 451;
        let days = h + l - 7 * m + 114;
        date(
            year,
            i8::try_from(days / 31).unwrap(),
            i8::try_from(days % 31 + 1).unwrap(),
        )
    }

    #[test]
    fn a_trading_day_is_a_date_in_new_york() {
        let calendar = Calendar::us_equities();
        for (time, expected) in [
            ("2026-01-11T21:00:00-05:00", false), // Sunday, and the night has begun
            ("2026-01-11T23:59:59.999999999-05:00", false),
            ("2026-01-12T00:00:00-05:00", true),
            ("2026-01-16T21:00:00-05:00", true), // Friday, and the market is closed
            ("2026-01-17T00:00:00-05:00", false),
            ("2026-01-19T12:00:00-05:00", false), // Martin Luther King
            ("2026-11-27T18:00:00-05:00", true),  // a half day
            ("2026-07-02T03:00:00Z", true),       // July 1 in New York
            ("2026-07-04T03:00:00Z", false),      // July 3 in New York
        ] {
            assert_eq!(calendar.is_trading_day(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn the_next_opening_follows_a_close() {
        let calendar = Calendar::us_equities();
        for (time, opens) in [
            ("2026-01-09T20:00:00-05:00", "2026-01-11T20:00:00-05:00"), // Friday night
            (
                "2026-01-11T19:59:59.999999999-05:00",
                "2026-01-11T20:00:00-05:00",
            ),
            ("2026-01-11T20:00:00-05:00", "2026-01-19T20:00:00-05:00"), // open, through a week and a holiday
            ("2026-01-15T12:00:00-05:00", "2026-01-19T20:00:00-05:00"),
            ("2026-07-03T12:00:00-04:00", "2026-07-05T20:00:00-04:00"), // a holiday
        ] {
            assert_eq!(
                calendar.next_open(at(time)),
                Some((Overnight, at(opens))),
                "{time}"
            );
        }
    }

    #[test]
    fn open_time_over_a_week_with_a_holiday_and_a_half_day() {
        // Thanksgiving week 2026: three full days, none, and a half day.
        let (from, to) = (
            at("2026-11-22T00:00:00-05:00"),
            at("2026-11-29T00:00:00-05:00"),
        );
        let calendar = Calendar::us_equities();
        let open = |sessions: &[_]| calendar.open_time_between(from, to, sessions);
        assert_eq!(open(&[Regular]), hours(3.0 * 6.5 + 3.5));
        assert_eq!(open(&[PreMarket]), hours(4.0 * 5.5));
        assert_eq!(open(&[AfterHours]), hours(4.0 * 4.0));
        assert_eq!(open(&[Overnight]), hours(4.0 * 8.0));
        assert_eq!(open(&ALL_OPEN), hours(23.0 + 22.0 + 16.0 + 32.0));
        assert_eq!(open(&[Closed]), hours(168.0 - 93.0));
        assert_eq!(open(&[Regular, Regular]), open(&[Regular]));
        assert_eq!(open(&[]), Duration::ZERO);
        assert_eq!(
            calendar.open_time_between(to, from, &[Regular]),
            Duration::ZERO
        );
        // Both ends inside one session, to the nanosecond, over a boundary, and an empty interval.
        for (from, to, nanos) in [
            (
                "2026-11-23T10:00:00.000000001-05:00",
                "2026-11-23T10:00:00.000000004-05:00",
                3,
            ),
            (
                "2026-11-23T09:29:59.999999999-05:00",
                "2026-11-23T09:30:00.000000002-05:00",
                2,
            ),
            (
                "2026-11-23T15:59:59.999999999-05:00",
                "2026-11-23T16:00:00.000000002-05:00",
                1,
            ),
            ("2026-11-23T10:00:00-05:00", "2026-11-23T10:00:00-05:00", 0),
        ] {
            let open = calendar.open_time_between(at(from), at(to), &[Regular]);
            assert_eq!(open, Duration::from_nanos(nanos), "{from}");
        }
    }

    #[test]
    fn every_hour_of_the_table_agrees_with_the_next_change() {
        let calendar = Calendar::us_equities();
        let (first, end) = (at("2024-01-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
        let mut open = Duration::ZERO;
        for hour in 0..261 * 7 * 24 {
            let nanos = first.as_nanos() + hour * HOUR;
            let after = |nanos: i64, more: i64| Timestamp::from_nanos(nanos + more);
            let now = after(nanos, 0);
            let session = calendar.session_at(now);
            let change = calendar.next_change(now).unwrap();
            assert!(change > now, "{now}");
            assert_ne!(calendar.session_at(change), session, "{now}");
            // Nothing has changed before.
            let length = change.as_nanos() - nanos;
            for inside in [length / 2, length - 1] {
                let inside = after(nanos, inside);
                assert_eq!(calendar.session_at(inside), session, "{inside}");
                assert_eq!(calendar.next_change(inside), Some(change), "{inside}");
            }
            if session == Closed {
                let opening = (calendar.session_at(change), change);
                assert_eq!(calendar.next_open(now), Some(opening), "{now}");
            }
            let next = after(nanos, HOUR);
            open += calendar.open_time_between(now, next, &ALL_OPEN);
        }
        // 261 weeks with 50 holidays, and 11 half days that end three hours early.
        assert_eq!(open, hours(24.0 * (261.0 * 5.0 - 50.0) - 3.0 * 11.0));
        assert_eq!(open, calendar.open_time_between(first, end, &ALL_OPEN));
    }

    #[test]
    fn open_time_is_what_a_walk_from_change_to_change_adds_up() {
        let calendar = Calendar::us_equities();
        let (first, end) = (at("2024-01-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
        for session in [Closed, Overnight, PreMarket, Regular, AfterHours] {
            let mut sum = Duration::ZERO;
            let mut now = first;
            while now < end {
                let next = calendar.next_change(now).unwrap().min(end);
                if calendar.session_at(now) == session {
                    sum += between(now.as_nanos().into(), next.as_nanos().into());
                }
                now = next;
            }
            let open = calendar.open_time_between(first, end, &[session]);
            assert_eq!(open, sum, "{session}");
        }
    }

    #[test]
    fn overrides_replace_what_the_table_says() {
        let table = Calendar::us_equities();
        let closed = table.clone().with_holiday(2026, 1, 14).unwrap();
        assert_changes(
            &closed,
            &[
                ("2026-01-13T20:00:00-05:00", Closed),
                ("2026-01-14T20:00:00-05:00", Overnight),
            ],
        );
        assert_ne!(closed, table);
        assert_eq!(closed.with_regular_day(2026, 1, 14).unwrap(), table);

        let christmas = table.clone().with_regular_day(2026, 12, 25).unwrap();
        assert_changes(
            &christmas,
            &[
                ("2026-12-24T17:00:00-05:00", Closed),
                ("2026-12-24T20:00:00-05:00", Overnight),
                ("2026-12-25T04:00:00-05:00", PreMarket),
                ("2026-12-25T09:30:00-05:00", Regular),
                ("2026-12-25T16:00:00-05:00", AfterHours),
                ("2026-12-25T20:00:00-05:00", Closed),
            ],
        );
        let saturday = table.clone().with_early_close(2026, 1, 17, 15, 59).unwrap();
        assert_changes(
            &saturday,
            &[
                ("2026-01-16T20:00:00-05:00", Overnight),
                ("2026-01-17T04:00:00-05:00", PreMarket),
                ("2026-01-17T09:30:00-05:00", Regular),
                ("2026-01-17T15:59:00-05:00", AfterHours),
                ("2026-01-17T19:59:00-05:00", Closed),
            ],
        );
        assert_eq!(table.clone().with_holiday(2026, 1, 17).unwrap(), table); // a Saturday anyway
    }

    #[test]
    fn impossible_days_and_times_are_refused() {
        let calendar = Calendar::us_equities();
        let refused = |result: Result<Calendar>| {
            assert!(
                matches!(result, Err(Error::InvalidConfig { .. })),
                "{result:?}"
            );
        };
        for (year, month, day) in [
            (2026, 2, 29),
            (2026, 13, 1),
            (2026, 0, 1),
            (2026, 4, 31),
            (12_026, 1, 1),
        ] {
            refused(calendar.clone().with_holiday(year, month, day));
            refused(calendar.clone().with_regular_day(year, month, day));
            refused(calendar.clone().with_known_through(year, month, day));
            refused(calendar.clone().with_early_close(year, month, day, 13, 0));
        }
        for (hour, minute) in [(9, 30), (9, 0), (16, 0), (24, 0), (13, 60), (-1, 0)] {
            refused(calendar.clone().with_early_close(2026, 1, 14, hour, minute));
        }
        assert!(calendar.clone().with_holiday(2028, 2, 29).is_ok());
        assert!(calendar.with_early_close(2026, 1, 14, 9, 31).is_ok());
        refused(Calendar::always_open().with_holiday(2026, 1, 14));
    }

    #[test]
    fn the_table_knows_its_ends() {
        let calendar = Calendar::us_equities();
        let until = calendar.known_until().unwrap();
        assert_eq!(until, at("2028-12-31T20:00:00-05:00"));
        assert!(!calendar.covers(until));
        assert!(calendar.covers(Timestamp::from_nanos(until.as_nanos() - 1)));
        assert!(calendar.covers(at("2023-12-31T20:00:00-05:00")));
        assert!(!calendar.covers(at("2023-12-31T19:59:59.999999999-05:00")));
        // Beyond it every weekday trades, New Year's Day too.
        assert_eq!(
            calendar.session_at(at("2029-01-01T12:00:00-05:00")),
            Regular
        );
        let longer = calendar.with_known_through(2029, 12, 31).unwrap();
        assert!(longer.covers(until));
        assert_eq!(longer.known_until(), Some(at("2029-12-31T20:00:00-05:00")));
    }

    #[test]
    fn some_markets_never_close() {
        let calendar = Calendar::always_open();
        let (from, to) = (at("2026-12-24T23:00:00Z"), at("2026-12-26T00:00:00Z"));
        assert_eq!(calendar.session_at(from), Regular);
        assert!(calendar.is_open(from) && calendar.is_trading_day(from) && calendar.covers(from));
        assert_eq!(calendar.next_change(from), None);
        assert_eq!(calendar.next_open(from), None);
        assert_eq!(calendar.known_until(), None);
        assert_eq!(calendar.open_time_between(from, to, &ALL_OPEN), hours(25.0));
        assert_eq!(
            calendar.open_time_between(to, from, &ALL_OPEN),
            Duration::ZERO
        );
        assert_eq!(
            calendar.open_time_between(from, to, &[Closed]),
            Duration::ZERO
        );
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let (first, last) = (
            Timestamp::from_nanos(i64::MIN),
            Timestamp::from_nanos(i64::MAX),
        );
        for calendar in [Calendar::us_equities(), Calendar::always_open()] {
            let all = [Closed, Overnight, PreMarket, Regular, AfterHours];
            let whole = Duration::from_nanos(u64::MAX);
            assert_eq!(calendar.open_time_between(first, last, &all), whole);
            assert_eq!(calendar.next_change(last), None);
            assert_eq!(calendar.next_open(last), None);
        }
        let calendar = Calendar::us_equities();
        assert!(calendar.next_change(first).is_some());
        let far = calendar.with_known_through(9999, 12, 31).unwrap();
        assert_eq!(far.known_until(), None);
    }

    #[test]
    fn sessions_have_names() {
        let names = [Closed, Overnight, PreMarket, Regular, AfterHours].map(|s| s.to_string());
        assert_eq!(
            names,
            [
                "closed",
                "overnight",
                "pre-market",
                "regular",
                "after-hours"
            ]
        );
        #[cfg(feature = "serde")]
        assert_eq!(serde_json::to_string(&PreMarket).unwrap(), "\"pre_market\"");
    }
}
