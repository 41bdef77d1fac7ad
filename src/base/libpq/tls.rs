//! TLS by libpq's words (PostgreSQL manual, 34.19): what `sslmode` asks for is what is checked, never less.
//!
//! Authorities are those of `~/.postgresql/root.crt`, where libpq, and so pg_dump, looks for them too. Certificates of
//! clients are not supported.

use super::address::{Login, SslMode};
use super::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_postgres_rustls_improved::MakeRustlsConnect;

/// What makes TLS connections for `login`.
pub fn connector(login: &Login) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let file = login.home().join(".postgresql/root.crt");
    let known = file.exists();
    let check = match login.sslmode {
        // libpq: with a file of authorities, `require` looks at the certificate too.
        SslMode::Require if known => Check::Authority(authorities(&file, &provider)?),
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => Check::Nothing,
        SslMode::VerifyCa => Check::Authority(authorities(&file, &provider)?),
        SslMode::VerifyFull => Check::Host(authorities(&file, &provider)?),
    };
    let verifier = Arc::new(Verifier { check, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Tls(error.to_string()))?;
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn authorities(file: &PathBuf, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let bad = |why: &dyn std::fmt::Display| Error::Authorities { file: file.clone(), why: why.to_string() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| bad(&e))? {
        roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    builder.build().map_err(|e| bad(&e))
}

/// What of a server's certificate counts.
#[derive(Debug)]
enum Check {
    /// Nothing: whoever it is, nobody else can listen.
    Nothing,
    /// Who signed it.
    Authority(Arc<WebPkiServerVerifier>),
    /// The same, and for which host.
    Host(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let verify = |with: &WebPkiServerVerifier| {
            with.verify_server_cert(certificate, intermediates, name, ocsp, now)
        };
        match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::Host(with) => verify(with),
            // The name is looked at last, when all else is right.
            Check::Authority(with) => match verify(with) {
                Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                    Ok(ServerCertVerified::assertion())
                }
                other => other,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
