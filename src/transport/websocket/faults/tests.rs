use super::*;

#[test]
fn a_redirect_is_shown_without_what_may_be_secret() {
    for (location, shown) in [
        ("wss://h/v2/sip", "wss://h/v2/sip"),
        ("https://me:s3@h:8/login?token=s3#s3", "https://h:8/login"),
        ("//me@h", "//h"),
        ("/v2/sip?token=s3", "/v2/sip"),
        ("?s3", ""),
    ] {
        assert_eq!(target(location), shown);
    }
}
