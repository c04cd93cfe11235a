use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier as _};

use super::*;

/// What a certificate of 2026 to 2030 means on a machine whose clock says so many seconds since 1970.
fn on_a_clock(seconds: u64) -> Fault {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 2, 3);
    params.not_after = rcgen::date_time_ymd(2030, 2, 3);
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let refused = verifier.build().unwrap().verify_server_cert(
        certificate.der(),
        &[],
        &ServerName::try_from("localhost").unwrap(),
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
    );
    fault(io::Error::other(refused.unwrap_err()), true, None)
}

#[test]
fn a_certificate_that_is_not_in_date_is_tried_again_where_the_clock_was_never_set() {
    for (seconds, says, is_final) in [
        (
            0,
            "clock says 1970-01-01T00:00:00Z: the clock is wrong",
            false,
        ),
        (NOT_SET_BEFORE - 1, "the clock is wrong", false),
        (NOT_SET_BEFORE, "one of them is wrong", true),
        (4_000_000_000, "expired at 2030-02-03T00:00:00Z", true),
    ] {
        let Fault::Tls { why, certificate } = on_a_clock(seconds) else {
            panic!("{seconds}: it is a fault of TLS");
        };
        assert!(why.contains(says), "{seconds}: {why}");
        assert_eq!(certificate, is_final, "{seconds}: {why}");
    }
}
