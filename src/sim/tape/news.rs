//! News: an article now and then, about some of the stocks, or about none; every fifth comes again, brought up to date.

use std::sync::Arc;

use super::{Random, any};
use crate::market::{MarketEvent, News, Symbol, Timestamp};

/// Every so many events of a market, one article.
const EVERY: u64 = 10;
const UPDATED_EVERY: u64 = 5;
const FIRST_ID: i64 = 40_100_000;
const SECOND: i64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Newsroom {
    random: Random,
    turns: u64,
    articles: i64,
    last: Option<News>,
}

impl Newsroom {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            turns: 0,
            articles: 0,
            last: None,
        }
    }

    pub(super) fn next<'a>(
        &mut self,
        listed: impl Iterator<Item = &'a Symbol>,
        utc: Timestamp,
    ) -> Option<MarketEvent> {
        self.turns += 1;
        if !self.turns.is_multiple_of(EVERY) {
            return None;
        }
        // The venue's times are whole seconds.
        let utc = super::floor(utc, SECOND, 0);
        let again = (self.turns / EVERY).is_multiple_of(UPDATED_EVERY);
        let article = match self.last.take() {
            Some(last) if again => News {
                updated_at: Some(Timestamp::from_nanos(utc.as_nanos().saturating_add(SECOND))),
                ..last
            },
            _ => self.article(listed, utc),
        };
        self.last = Some(article.clone());
        Some(MarketEvent::News(Box::new(article)))
    }

    fn article<'a>(&mut self, listed: impl Iterator<Item = &'a Symbol>, utc: Timestamp) -> News {
        let random = &mut self.random;
        let id = FIRST_ID + self.articles;
        self.articles += 1;
        // One in four is general, and the others are about a third of the stocks.
        let is_general = random.below(4) == 0;
        let symbols: Arc<[Symbol]> = listed
            .filter(|_| !is_general && random.below(3) == 0)
            .cloned()
            .collect();
        let verb = any(&["lifts", "cuts", "repeats", "withdraws"], random);
        let subject = symbols.first().map_or("The market", Symbol::as_str);
        let paragraph = format!(
            "<p>{subject} {verb} its outlook, &ldquo;for now&rdquo;. Research &amp; development, as ever \u{2014} caf\u{e9}s excepted.</p>"
        );
        News {
            id: Some(id),
            headline: format!("{subject} {verb} outlook").into(),
            summary: "".into(),
            author: any(&["Desk", "A. Writer", ""], random).into(),
            created_at: utc,
            updated_at: Some(utc),
            url: format!("https://example.com/{id}").into(),
            // Some are long: past what two bytes of MessagePack can count.
            content: paragraph
                .repeat(if random.below(20) == 0 { 800 } else { 2 })
                .into(),
            symbols,
            source: "benzinga".into(),
        }
    }
}
