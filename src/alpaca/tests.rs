use super::*;

#[test]
fn feeds_and_accounts_survive_text() {
    for feed in Feed::ALL {
        assert_eq!(feed.to_string().parse::<Feed>().unwrap(), *feed);
    }
    assert!("IEX".parse::<Feed>().is_err());
    assert_eq!("live".parse::<Account>().unwrap(), Account::Live);
    assert_eq!(Account::default(), Account::Paper);
}

#[test]
fn overnight_feeds_live_under_their_own_version() {
    assert_eq!(
        stocks(Feed::Boats).to_string(),
        "wss://stream.data.alpaca.markets/v1beta1/boats"
    );
    assert_eq!(
        stocks(Feed::Iex).to_string(),
        "wss://stream.data.alpaca.markets/v2/iex"
    );
}
