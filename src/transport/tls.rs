//! TLS: rustls with ring, the configured roots, and nothing else.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error as TlsError, InvalidMessage,
    RootCertStore,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::Fault;
use crate::{
    config::{Config, Roots},
    error::{Error, Result, Source},
};

/// Checks the certificates of a configuration, before anything depends on them.
///
/// # Errors
/// [`Error::InvalidConfig`] if `extra_roots` is not PEM.
pub(crate) fn validate(config: &Config) -> Result<()> {
    let mut store = RootCertStore::empty();
    add_extra(&mut store, &config.extra_roots)
}

/// What every connection of a stream is made with.
pub(super) fn client_config(config: &Config) -> Result<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    match config.roots {
        Roots::Bundled => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::Platform => {
            // Certificates that cannot be read are common on some machines, and only matter if none can.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Roots::ExtraOnly => {}
    }
    add_extra(&mut store, &config.extra_roots)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid_config(format!("TLS: {error}")))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// One connection's TLS, nothing sent yet. The host is a name or an address.
pub(super) fn connection(
    config: &Arc<ClientConfig>,
    host: &str,
) -> Result<ClientConnection, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("`{host}` is no name that a certificate can have"))?;
    ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())
}

/// What a handshake failed for. `spoke_tls`: the server had answered in TLS.
pub(super) fn fault(error: io::Error, spoke_tls: bool) -> Fault {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    else {
        return Fault::Lost {
            why: "during the TLS handshake".to_owned(),
            source: Some(Source::new(error)),
        };
    };
    Fault::Tls {
        why: words(tls, spoke_tls),
        certificate: matches!(tls, TlsError::InvalidCertificate(_)),
    }
}

/// rustls says what is wrong; here it is said what to do, where that is known.
fn words(error: &TlsError, spoke_tls: bool) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is from an authority that is not among the trusted roots. Where a proxy or an authority of your own signs: `Roots::Platform` trusts whom this machine trusts, and `extra_roots` adds single certificates".to_owned()
        }
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            format!(
                "the server's certificate expired at {}, and this machine's clock says {}: one of them is wrong",
                utc(*not_after),
                utc(*time)
            )
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            format!(
                "the server's certificate is not valid before {}, and this machine's clock says {}: one of them is wrong",
                utc(*not_before),
                utc(*time)
            )
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) if !spoke_tls => {
            "the server does not speak TLS on this port: is it `ws://`, or another port?".to_owned()
        }
        other => other.to_string(),
    }
}

/// A date, or the seconds themselves where they are of no year that can be written.
fn utc(time: UnixTime) -> String {
    let seconds = time.as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("{seconds} s after 1970"),
            |time| time.to_string(),
        )
}

fn add_extra(store: &mut RootCertStore, pem: &[u8]) -> Result<()> {
    let invalid = |why: String| Error::invalid_config(format!("`extra_roots`: {why}"));
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| invalid(error.to_string()))?;
        found = true;
    }
    if !pem.is_empty() && !found {
        return Err(invalid("there is no certificate in it".to_owned()));
    }
    Ok(())
}
