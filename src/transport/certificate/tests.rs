use proptest::prelude::*;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};

use super::*;

fn signed_by(names: &[(DnType, &str)]) -> Vec<u8> {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.distinguished_name = Default::default();
    for (kind, name) in names {
        authority.distinguished_name.push(kind.clone(), *name);
    }
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "the server's own");
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, &authority).unwrap().der().to_vec()
}

#[test]
fn the_issuer_is_named_as_the_certificate_has_it() {
    use DnType::{CommonName, CountryName, OrganizationName};
    let long = "x".repeat(300);
    for (names, shown) in [
        (&[(CommonName, "Proxy CA")][..], Some("`Proxy CA`")),
        (
            &[
                (CountryName, "DE"),
                (OrganizationName, "Ängste GmbH"),
                (CommonName, "Root 1"),
            ],
            Some("`Root 1` of `Ängste GmbH`"),
        ),
        (
            &[(OrganizationName, "mitmproxy"), (CommonName, "mitmproxy")],
            Some("`mitmproxy`"),
        ),
        (&[(OrganizationName, "Only")], Some("`Only`")),
        (&[(CountryName, "DE")], None),
        (&[], None),
        // Nothing that a record could be forged with.
        (
            &[(CommonName, "a`\n\u{1b}[31mb")],
            Some("`a'\u{fffd}\u{fffd}[31mb`"),
        ),
        (
            &[(CommonName, &long)],
            Some(&*format!("`{}`", "x".repeat(64))),
        ),
    ] {
        let certificate = signed_by(names);
        assert_eq!(issuer(&certificate).as_deref(), shown);
        // However it is cut, it is no reason to fail.
        for end in 0..certificate.len() {
            assert!(issuer(&certificate[..end]).is_none());
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_server_sends_in_place_of_a_certificate_does_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0_usize..400,
    ) {
        issuer(&bytes);
        let mut certificate = signed_by(&[(DnType::CommonName, "CA")]);
        for (to, from) in certificate.iter_mut().skip(at).zip(&bytes) {
            *to = *from;
        }
        issuer(&certificate);
    }
}
