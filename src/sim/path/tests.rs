use super::*;

#[test]
fn every_path_is_known_with_and_without_a_slash_and_no_other() {
    for path in Path::ALL {
        assert_eq!(Path::of(path.name), Some(path));
        assert_eq!(Path::of(&format!("{}/", path.name)), Some(path));
    }
    for path in [
        "/",
        "/v2/boats",
        "/v2/overnight",
        "/v2",
        "/v2/IEX",
        "/v1beta2/crypto",
    ] {
        assert_eq!(Path::of(path), None, "{path}");
    }
}

#[test]
fn a_symbol_says_where_it_is_traded() {
    for (symbol, market) in [
        ("AAPL", Market::Stocks),
        ("BRK.B", Market::Stocks),
        ("BTC/USD", Market::Crypto),
        ("ETH-PERP", Market::Perpetuals),
        ("MSFT260619C00450000", Market::Options),
        ("F260619P00012500", Market::Options),
        ("MSFT260619X00450000", Market::Stocks),
        ("260619C00450000", Market::Stocks),
        ("ÄÖÜ260619C0045000", Market::Stocks),
    ] {
        assert_eq!(Market::of_symbol(symbol), market, "{symbol}");
    }
}
