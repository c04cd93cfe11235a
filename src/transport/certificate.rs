//! Whose name stands on a certificate that was not trusted: the TLS library says what is wrong with it, and not who issued
//! it. Where a proxy opens connections and signs in the venue's place, that name is what tells.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use rustls::{
    DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Verifies as the TLS library does, and remembers the issuer of what was refused. A stream has one connection at a time.
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    refused: Refused,
}

/// The issuer of the newest certificate that was refused.
#[derive(Clone, Default)]
pub(super) struct Refused(Arc<Mutex<Option<String>>>);

impl Refused {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }
}

impl Verifier {
    /// Nothing where there is no root: no certificate is trusted then.
    pub(super) fn new(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
        refused: Refused,
    ) -> Option<Arc<Self>> {
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let inner = inner.build().ok()?;
        Some(Arc::new(Self { inner, refused }))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified = self
            .inner
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        let issuer = verified.is_err().then(|| issuer(certificate)).flatten();
        *self.refused.0.lock() = issuer;
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The issuer's common name and organization, as the certificate has them (RFC 5280, 4.1).
fn issuer(certificate: &[u8]) -> Option<String> {
    let mut certificate = Der(Der(certificate).value(SEQUENCE)?);
    let mut fields = Der(certificate.value(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.value(VERSION)?;
    }
    fields.value(INTEGER)?;
    fields.value(SEQUENCE)?;
    let mut name = Der(fields.value(SEQUENCE)?);
    let (mut common, mut organization) = (None, None);
    while let Some(set) = name.value(SET) {
        let mut set = Der(set);
        while let Some(pair) = set.value(SEQUENCE) {
            let mut pair = Der(pair);
            let kind = pair.value(OBJECT_ID)?;
            let (_, text) = pair.next()?;
            match kind {
                COMMON_NAME => common = Some(shown(text)),
                ORGANIZATION => organization = Some(shown(text)),
                _ => {}
            }
        }
    }
    match (common, organization) {
        (Some(common), Some(organization)) if common != organization => {
            Some(format!("`{common}` of `{organization}`"))
        }
        (Some(name), _) | (None, Some(name)) => Some(format!("`{name}`")),
        (None, None) => None,
    }
}

/// A stranger's text, as far as anybody reads it.
fn shown(text: &[u8]) -> String {
    const SHOWN: usize = 64;
    String::from_utf8_lossy(text)
        .chars()
        .take(SHOWN)
        .map(|character| match character {
            '`' => '\'',
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect()
}

/// Elements of DER (X.690), one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // No certificate is longer than four bytes can say.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next element's value, if it has that tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = self.next()?;
        (found == tag).then_some(value)
    }
}

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
