//! TLS: rustls with ring, the configured roots, and nothing else.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::{
    config::{Config, Roots},
    error::{Error, Result},
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
