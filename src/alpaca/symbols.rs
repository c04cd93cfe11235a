//! Symbols that a feed cannot have, and what to write instead.
//!
//! The venue takes most of them without a word, and then nothing ever comes. What is not known to be wrong is let
//! through: the venue may have symbols of a kind that nobody has thought of yet.

use super::DataFeed;

/// What is wrong with a symbol.
struct Problem {
    why: String,
    /// What to write instead. It is looked up, too: it may have another problem, which then is the one to be told.
    write: Option<String>,
}

/// What is wrong with `symbol` on `feed`, and what to write instead.
pub(super) fn problem(feed: DataFeed, symbol: &str) -> Option<String> {
    let found = RULES.iter().find_map(|rule| rule(feed, symbol))?;
    let Some(write) = found.write else {
        return Some(found.why);
    };
    // Each of these is shorter or has fewer characters that are wrong, so this comes to an end.
    let deeper = problem(feed, &write);
    Some(deeper.unwrap_or_else(|| format!("{}: write `{write}`", found.why)))
}

/// The first that applies is told. A padded contract holds spaces, as lists do, and a list may be longer than a symbol
/// can be: the order counts.
const RULES: &[fn(DataFeed, &str) -> Option<Problem>] = &[
    empty,
    padded,
    list,
    quoted,
    unprintable,
    lower_case,
    pattern,
    prefixed,
    too_long,
    index,
    future,
    class,
    elsewhere,
];

fn empty(_: DataFeed, symbol: &str) -> Option<Problem> {
    says(symbol.trim().is_empty(), "a symbol is not empty")
}

/// Options as the OCC pads them: `MSFT  260619C00450000`.
fn padded(_: DataFeed, symbol: &str) -> Option<Problem> {
    let dense: String = symbol.split_whitespace().collect();
    let is_padded = dense.len() < symbol.len() && is_option(&dense.to_ascii_uppercase());
    let is_around = symbol.trim() != symbol;
    let (why, write) = if is_padded {
        ("this venue writes options without padding", dense)
    } else {
        ("a symbol holds no white space", symbol.trim().to_owned())
    };
    rewritten(is_padded || is_around, why, write)
}

fn list(_: DataFeed, symbol: &str) -> Option<Problem> {
    const SHOWN: usize = 3;
    let parts: Vec<&str> = symbol
        .split(|sign: char| matches!(sign, ',' | ';' | '|') || sign.is_whitespace())
        .map(|part| part.trim_matches(QUOTES))
        .filter(|part| !part.is_empty())
        .collect();
    let is_list = symbol.contains([',', ';', '|']) || symbol.contains(char::is_whitespace);
    let shown: Vec<String> = parts
        .iter()
        .take(SHOWN)
        .map(|part| format!("\"{}\"", part.get(..LONGEST).unwrap_or(part).escape_debug()))
        .collect();
    let more = if parts.len() > SHOWN { ", …" } else { "" };
    says(
        is_list,
        format!(
            "this is a list in one text, and each symbol is a text of its own: [{}{more}]",
            shown.join(", ")
        ),
    )
}

fn quoted(_: DataFeed, symbol: &str) -> Option<Problem> {
    let bare = symbol.trim_matches(QUOTES);
    let why = "a symbol holds no quotes or brackets";
    if bare.is_empty() || bare.contains(QUOTES) {
        return says(symbol.contains(QUOTES), why);
    }
    rewritten(bare != symbol, why, bare.to_owned())
}

fn unprintable(_: DataFeed, symbol: &str) -> Option<Problem> {
    let is_graphic = symbol.bytes().all(|byte| byte.is_ascii_graphic());
    says(
        !is_graphic,
        "a symbol is of ASCII characters, without white space",
    )
}

fn lower_case(_: DataFeed, symbol: &str) -> Option<Problem> {
    let upper = symbol.to_ascii_uppercase();
    rewritten(
        upper != symbol,
        "this venue's symbols are upper case",
        upper,
    )
}

fn pattern(_: DataFeed, symbol: &str) -> Option<Problem> {
    says(
        symbol.len() > 1 && symbol.contains(['*', '?', '%']),
        "`*` stands alone, for all symbols: patterns are not supported",
    )
}

/// As other vendors write them: `O:SPY260320C00500000`, `NASDAQ:AAPL`, `X:BTCUSD`.
fn prefixed(_: DataFeed, symbol: &str) -> Option<Problem> {
    let bare = symbol.rsplit(':').next().unwrap_or_default();
    let why = "this venue's symbols have no prefix with a colon";
    if bare.is_empty() {
        return says(symbol.contains(':'), why);
    }
    rewritten(bare != symbol, why, bare.to_owned())
}

fn too_long(_: DataFeed, symbol: &str) -> Option<Problem> {
    says(
        symbol.len() > LONGEST,
        format!("a symbol is {LONGEST} characters at most"),
    )
}

fn index(_: DataFeed, symbol: &str) -> Option<Problem> {
    let bare = symbol.trim_start_matches(['^', '$']);
    let why = "this venue has no feed of indices, and no symbol of it begins with `^` or `$`: write the symbol of a fund that follows the index, such as `SPY`";
    let cash = if bare.is_empty() {
        String::new()
    } else {
        format!(", or `{bare}` if that is a stock")
    };
    says(bare != symbol, format!("{why}{cash}"))
}

/// As Yahoo writes futures and currencies: `ES=F`, `EURUSD=X`.
fn future(_: DataFeed, symbol: &str) -> Option<Problem> {
    says(
        symbol.contains('='),
        "this venue has no futures or currencies, and no symbol of it holds `=`",
    )
}

/// As others write classes of shares.
fn class(feed: DataFeed, symbol: &str) -> Option<Problem> {
    let (root, class) = symbol.split_once('/')?;
    let is_class = matches!(feed, DataFeed::Stocks(_))
        && class.len() == 1
        && [root, class].iter().all(|part| is_letters(part));
    let why = "a class of shares has a point";
    rewritten(is_class, why, format!("{root}.{class}"))
}

/// What another feed of this venue has.
fn elsewhere(feed: DataFeed, symbol: &str) -> Option<Problem> {
    if symbol == "*" {
        return None;
    }
    let dashed = pair(symbol);
    match feed {
        DataFeed::Stocks(_) if symbol.contains('/') || dashed.is_some() => says(
            true,
            format!(
                "a pair of crypto is not on a feed of stocks: subscribe to `{}` on `alpaca::crypto`",
                dashed.unwrap_or_else(|| symbol.to_owned())
            ),
        ),
        DataFeed::Stocks(_) | DataFeed::Crypto(_) | DataFeed::Perpetuals if is_option(symbol) => {
            says(
                true,
                "an option is not on this feed: subscribe to it on `alpaca::options`",
            )
        }
        DataFeed::News if is_option(symbol) => says(
            true,
            format!(
                "news is not about single options: write `{}`",
                root(symbol).unwrap_or_default()
            ),
        ),
        DataFeed::Crypto(_) if !symbol.contains('/') => dashed.map_or_else(
            || says(true, "a crypto symbol is a pair, such as `BTC/USD`"),
            |pair| rewritten(true, "a crypto symbol is a pair with a slash", pair),
        ),
        DataFeed::Perpetuals if symbol.contains('/') => says(
            true,
            "a pair of crypto is not on the feed of perpetual futures, whose symbols are such as `ETH-PERP`: subscribe to it on `alpaca::crypto`",
        ),
        DataFeed::Options(_) if !is_option(symbol) => says(
            true,
            "an option's symbol is a contract, such as `MSFT260619C00450000`",
        ),
        _ => None,
    }
}

fn says(applies: bool, why: impl Into<String>) -> Option<Problem> {
    applies.then(|| Problem {
        why: why.into(),
        write: None,
    })
}

fn rewritten(applies: bool, why: &str, write: String) -> Option<Problem> {
    applies.then(|| Problem {
        why: why.to_owned(),
        write: Some(write),
    })
}

fn is_letters(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// `BTC-USD` and `BTCUSDT` with the slash of this venue. No stock ends with a dash and a currency; without a dash there
/// may be one that looks so, but it has five letters at most.
fn pair(symbol: &str) -> Option<String> {
    let (base, currency) = CURRENCIES
        .iter()
        .find_map(|currency| Some((symbol.strip_suffix(currency)?, currency)))?;
    let dense = base.trim_end_matches(['-', '_']);
    let is_pair = is_letters(dense) && (dense.len() < base.len() || symbol.len() > 5);
    is_pair.then(|| format!("{dense}/{currency}"))
}

/// Root, date, call or put, and eight digits of the strike price, without padding (OCC).
fn is_option(symbol: &str) -> bool {
    root(symbol).is_some()
}

/// What an option is of.
fn root(symbol: &str) -> Option<&str> {
    let (root, contract) = symbol.split_at_checked(symbol.len().checked_sub(CONTRACT)?)?;
    let is_option = (1..=6).contains(&root.len())
        && root.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && contract.bytes().enumerate().all(|(at, byte)| match at {
            SIDE => matches!(byte, b'C' | b'P'),
            _ => byte.is_ascii_digit(),
        });
    is_option.then_some(root)
}

/// How long a contract's symbol is behind its root, and where in that it says call or put.
const CONTRACT: usize = 15;
const SIDE: usize = 6;
/// Longer than any symbol of this venue.
const LONGEST: usize = 32;
const QUOTES: &[char] = &['"', '\'', '`', '[', ']', '(', ')', '{', '}'];
const CURRENCIES: &[&str] = &["USDT", "USDC", "USD", "BTC", "EUR"];

#[cfg(test)]
mod tests;
