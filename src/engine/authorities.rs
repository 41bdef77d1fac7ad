//! Whom this system believes, for whatever kbpack asks by HTTPS.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// Where systems keep the authorities that they believe: Debian's place, and Red Hat's.
const FILES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// TLS that believes the authorities that this system believes, or those of the file that `SSL_CERT_FILE` names.
pub(super) fn believed() -> TlsConfig {
    let file = std::env::var("SSL_CERT_FILE").ok();
    let files = file.as_deref().into_iter().chain(FILES);
    let certificates: Vec<Certificate<'static>> = files
        .filter(|file| Path::new(file).exists())
        .take(1)
        .filter_map(|file| CertificateDer::pem_file_iter(file).ok())
        .flatten()
        .filter_map(|certificate| certificate.ok())
        .map(|certificate| Certificate::from_der(&certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::from(certificates))
        .build()
}
