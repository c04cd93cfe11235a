use super::{
    super::{CryptoFeed, Feed, OptionFeed},
    *,
};

const STOCKS: DataFeed = DataFeed::Stocks(Feed::Iex);
const CRYPTO: DataFeed = DataFeed::Crypto(CryptoFeed::Us);
const OPTIONS: DataFeed = DataFeed::Options(OptionFeed::Indicative);

#[test]
fn symbols_that_no_such_feed_has_are_told_with_what_to_write() {
    for (feed, symbol, says) in [
        (STOCKS, "", "not empty"),
        (STOCKS, "  ", "not empty"),
        // Lists, however long.
        (STOCKS, "AAPL,FB,SPY", r#"["AAPL", "FB", "SPY"]"#),
        (STOCKS, "AAPL, FB", r#"["AAPL", "FB"]"#),
        (STOCKS, "AAPL FB", r#"["AAPL", "FB"]"#),
        (STOCKS, "aapl;fb|spy\nko", r#"["aapl", "fb", "spy", …]"#),
        (STOCKS, r#"["AAPL","FB"]"#, r#"["AAPL", "FB"]"#),
        (
            STOCKS,
            "AAAA,BBBB,CCCC,DDDD,EEEE,FFFF,GGGG,HHHH",
            r#""CCCC", …]"#,
        ),
        (
            OPTIONS,
            "MSFT260619C00450000,MSFT260619P00450000",
            "a list in one text",
        ),
        (CRYPTO, "BTC/USD,ETH/USD", r#"["BTC/USD", "ETH/USD"]"#),
        // White space, quotes, case.
        (STOCKS, " AAPL\n", "no white space: write `AAPL`"),
        (STOCKS, "\"AAPL\"", "quotes or brackets: write `AAPL`"),
        (STOCKS, "A\"B", "quotes or brackets"),
        (STOCKS, "aapl", "upper case: write `AAPL`"),
        (STOCKS, "brk/b", "a point: write `BRK.B`"),
        (STOCKS, "ÄPL", "ASCII"),
        (STOCKS, "AAPL\u{7}", "ASCII"),
        (CRYPTO, "btc/usd", "upper case: write `BTC/USD`"),
        (CRYPTO, "btc-usd", "slash: write `BTC/USD`"),
        // Patterns, prefixes, indices, futures.
        (STOCKS, "A*", "stands alone"),
        (STOCKS, "**", "stands alone"),
        (STOCKS, "NASDAQ:AAPL", "colon: write `AAPL`"),
        (STOCKS, "O:SPY260320C00500000", "`alpaca::options`"),
        (
            OPTIONS,
            "O:SPY260320C00500000",
            "colon: write `SPY260320C00500000`",
        ),
        (CRYPTO, "X:BTCUSD", "slash: write `BTC/USD`"),
        (STOCKS, "AAPL:", "colon"),
        (STOCKS, "^GSPC", "no feed of indices"),
        (STOCKS, "$SPX", "or `SPX` if that is a stock"),
        (STOCKS, "ES=F", "no futures"),
        (STOCKS, "A23456789012345678901234567890123", "32 characters"),
        // Other feeds' symbols.
        (STOCKS, "BRK/B", "a point: write `BRK.B`"),
        (STOCKS, "BTC/USD", "`BTC/USD` on `alpaca::crypto`"),
        (STOCKS, "BTC-USD", "`BTC/USD` on `alpaca::crypto`"),
        (STOCKS, "BTCUSD", "`BTC/USD` on `alpaca::crypto`"),
        (STOCKS, "SPY260320C00500000", "`alpaca::options`"),
        (STOCKS, "SPY   260320C00500000", "`alpaca::options`"),
        (CRYPTO, "BTCUSD", "slash: write `BTC/USD`"),
        (CRYPTO, "AAPL", "a pair, such as `BTC/USD`"),
        (CRYPTO, "SPY260320C00500000", "`alpaca::options`"),
        (OPTIONS, "AAPL", "a contract, such as"),
        (
            OPTIONS,
            "MSFT  260619C00450000",
            "without padding: write `MSFT260619C00450000`",
        ),
        (
            OPTIONS,
            "msft  260619c00450000",
            "upper case: write `MSFT260619C00450000`",
        ),
        (OPTIONS, "MSFT2606191C0045000", "a contract, such as"),
        (OPTIONS, "TOOLONG260619C00450000", "a contract, such as"),
        (DataFeed::Perpetuals, "ETH/USD", "`ETH-PERP`"),
        (DataFeed::News, "SPY260320C00500000", "write `SPY`"),
    ] {
        let problem = problem(feed, symbol).unwrap_or_default();
        assert!(problem.contains(says), "{feed:?} {symbol:?}: {problem:?}");
    }
}

#[test]
fn symbols_that_there_are_or_may_be_pass() {
    for (feed, symbols) in [
        (
            STOCKS,
            &[
                "*",
                "A",
                "AAPL",
                "BRK.B",
                "BAC.PRL",
                "FAKEPACA",
                "BRK-B",
                "FUSD",
                "123456789",
            ][..],
        ),
        (CRYPTO, &["*", "BTC/USD", "SHIB/USDT", "1INCH/USD"]),
        (
            OPTIONS,
            &[
                "*",
                "MSFT260619C00450000",
                "BRKB260619P00450000",
                "ABCDEF260619P00450000",
            ],
        ),
        (DataFeed::Perpetuals, &["*", "ETH-PERP"]),
        (DataFeed::News, &["*", "AAPL", "BTCUSD", "BTC/USD"]),
    ] {
        for symbol in symbols {
            assert_eq!(problem(feed, symbol), None, "{feed:?} {symbol}");
        }
    }
}
