//! TLS: rustls with ring, the configured roots, and nothing else.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error as TlsError, InvalidMessage,
    RootCertStore,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{
    Fault, Waker,
    certificate::{Refused, Verifier},
    system_roots::SystemRoots,
};
use crate::{
    clock::NOT_SET_BEFORE,
    config::{Config, Roots},
    error::{Error, Result, Source},
};

/// Checks the certificates of a configuration, before anything depends on them.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if `extra_roots` is not PEM.
pub(crate) fn validate(config: &Config) -> Result<()> {
    let mut store = RootCertStore::empty();
    add_extra(&mut store, &config.extra_roots)
}

/// What every connection of a stream is made with, or what that waits for.
pub(super) struct Client {
    state: State,
    refused: Refused,
}

enum State {
    Ready(Arc<ClientConfig>),
    Reading {
        system: SystemRoots,
        extra_roots: Vec<u8>,
    },
}

impl Client {
    /// The roots of the machine are asked for here, and waited for by whoever connects: `waker` is called then.
    pub(super) fn new(config: &Config, waker: &Waker) -> Result<Self> {
        let refused = Refused::default();
        let mut store = RootCertStore::empty();
        if config.roots == Roots::Platform {
            let state = State::Reading {
                system: SystemRoots::read(waker),
                extra_roots: config.extra_roots.clone(),
            };
            return Ok(Self { state, refused });
        }
        if config.roots == Roots::Bundled {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let state = State::Ready(client_config(store, &config.extra_roots, &refused)?);
        Ok(Self { state, refused })
    }

    /// Whether the roots are still being read.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }

    /// The issuer of the certificate that was refused last.
    pub(super) fn take_issuer(&self) -> Option<String> {
        self.refused.take()
    }

    /// The configuration, once it is there.
    pub(super) fn get(&mut self) -> Result<Option<&Arc<ClientConfig>>> {
        if let State::Reading {
            system,
            extra_roots,
        } = &self.state
            && let Some(store) = system.take()
        {
            let store = RootCertStore::clone(&store);
            self.state = State::Ready(client_config(store, extra_roots, &self.refused)?);
        }
        Ok(match &self.state {
            State::Ready(config) => Some(config),
            State::Reading { .. } => None,
        })
    }
}

fn client_config(
    mut store: RootCertStore,
    extra_roots: &[u8],
    refused: &Refused,
) -> Result<Arc<ClientConfig>> {
    add_extra(&mut store, extra_roots)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid_config(format!("TLS: {error}")))?;
    let builder = match Verifier::new(store, provider, refused.clone()) {
        // It verifies as it would without it, and only remembers.
        Some(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(verifier),
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
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

/// What a handshake failed for. `spoke_tls`: the server had answered in TLS. `issuer` is that of the certificate that was
/// refused, if one was.
pub(super) fn fault(error: io::Error, spoke_tls: bool, issuer: Option<String>) -> Fault {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    else {
        return Fault::Lost {
            why: "during the TLS handshake".to_owned(),
            source: Some(Source::new(error)),
        };
    };
    // Small machines without a battery start in 1970 and get the time from the network, often after their programs have
    // started: once the clock is set, the certificate is in date.
    let certificate = match tls {
        TlsError::InvalidCertificate(
            CertificateError::ExpiredContext { time, .. }
            | CertificateError::NotValidYetContext { time, .. },
        ) => !is_unset(*time),
        TlsError::InvalidCertificate(_) => true,
        _ => false,
    };
    let mut why = words(tls, spoke_tls);
    if let (TlsError::InvalidCertificate(_), Some(issuer)) = (tls, issuer) {
        why.push_str(&format!("; it was issued by {issuer}"));
    }
    Fault::Tls { why, certificate }
}

/// Whether the clock that says so was never set.
fn is_unset(clock: UnixTime) -> bool {
    clock.as_secs() < NOT_SET_BEFORE
}

/// What rustls says, in plain words where it is known.
fn words(error: &TlsError, spoke_tls: bool) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is from an authority that is not among the trusted roots"
                .to_owned()
        }
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            format!(
                "the server's certificate expired at {}, and this machine's clock says {}: {}",
                utc(*not_after),
                utc(*time),
                who_is_wrong(*time)
            )
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            format!(
                "the server's certificate is not valid before {}, and this machine's clock says {}: {}",
                utc(*not_before),
                utc(*time),
                who_is_wrong(*time)
            )
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) if !spoke_tls => {
            "the server does not speak TLS on this port: is it `ws://`, or another port?".to_owned()
        }
        other => other.to_string(),
    }
}

fn who_is_wrong(clock: UnixTime) -> &'static str {
    if is_unset(clock) {
        "the clock is wrong, and once it is set the next attempt may succeed"
    } else {
        "one of them is wrong"
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
