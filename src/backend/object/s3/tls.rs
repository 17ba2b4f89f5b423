//! TLS trust: the certificates of a file, or else the system's.
//!
//! A file may contain a server's own certificate. A self-signed one is usually marked as an
//! authority's (by `openssl req -x509`), which webpki doesn't accept for a server. As in curl and
//! the AWS tools, a server may use it if it is identical to one in the file.

use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

/// Makes the TLS configuration; for connections that are not `secure` it trusts nothing.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the trusted certificates can't be read, or there are none.
pub(super) fn config(secure: bool, ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("cannot set up TLS").because(error))?;
    let builder = match ca_file {
        _ if !secure => builder.with_root_certificates(RootCertStore::empty()),
        Some(path) => {
            let verifier = Arc::new(Named::read(path, provider)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        None => builder.with_native_roots().map_err(|error| {
            unusable("this system has no trusted certificates")
                .because(error)
                .help("install the package ca-certificates, or name a file in AWS_CA_BUNDLE")
        })?,
    };
    Ok(builder.with_no_client_auth())
}

fn unusable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unusable, message.into())
}

/// Trusts the certificates in a file, and those that they sign.
#[derive(Debug)]
struct Named {
    certificates: Vec<CertificateDer<'static>>,
    webpki: Arc<WebPkiServerVerifier>,
}

impl Named {
    fn read(path: &Path, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let name = Escaped(path.as_os_str().as_bytes());
        let read = CertificateDer::pem_file_iter(path);
        let read = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|error| {
            unusable(format!("cannot read certificates from \"{name}\"")).because(error)
        })?;
        let mut roots = RootCertStore::empty();
        // Certificates that can't be parsed, which some bundles contain, are skipped.
        roots.add_parsable_certificates(certificates.iter().cloned());
        if roots.is_empty() {
            return Err(unusable(format!("\"{name}\" holds no certificates")));
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let webpki = webpki.build().map_err(|error| {
            unusable(format!("cannot use the certificates of \"{name}\"")).because(error)
        })?;
        Ok(Self { certificates, webpki })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.webpki.verify_server_cert(server, intermediates, name, ocsp, now) {
            // webpki has checked the dates before; the host name remains to be checked.
            Err(error) if is_of_authority(&error) && self.certificates.contains(server) => {
                verify_server_name(&ParsedCertificate::try_from(server)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, server, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, server, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether a server's certificate was refused for no other reason than being an authority's. rustls
/// has no variant of its own for that, and passes on webpki's.
fn is_of_authority(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
            matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A certificate for localhost that is marked as an authority's, valid from 2026 to 2126, made
    /// for this test: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
    /// -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost`.
    const OWN: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBljCCATugAwIBAgIUJX87A3ZfrFzvigVNnNwpK1+eNu8wCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE0NTEzMFoYDzIxMjYxMDI4\n\
MTQ1MTMwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAASS9BCmyCsEVkrPIaGWLLjZKni0EP7/NR3l4qk6lt06n1k5mOBhX1pH\n\
42vRveD9vvZL8O2s1scrWLm2sB7waJ43o2kwZzAdBgNVHQ4EFgQUmtpuFVeMgoGn\n\
6Q8kjA+xi5PSr4owHwYDVR0jBBgwFoAUmtpuFVeMgoGn6Q8kjA+xi5PSr4owDwYD\n\
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID\n\
SQAwRgIhAM5Svb+YB8nljZ4DdcsokxuVkAuM958sBD9N4fm9OAt+AiEA56sk4Egs\n\
ntCTe/H0Zntr67XMHPSxuv90P58s5RaAkKw=\n\
-----END CERTIFICATE-----\n\
";
    /// A year in seconds.
    const YEAR: u64 = 365 * 24 * 3600;

    fn named(pem: &str) -> Result<Named, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        Named::read(file.path(), Arc::new(rustls::crypto::ring::default_provider()))
    }

    #[test]
    fn a_server_s_own_certificate_is_accepted_for_its_name_and_within_its_dates_alone() {
        let verifier = named(OWN).unwrap();
        let own = CertificateDer::from_pem_slice(OWN.as_bytes()).unwrap();
        let verify = |certificate: &CertificateDer<'_>, name: &'static str, years: u64| {
            let name = ServerName::try_from(name).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(years * YEAR));
            verifier.verify_server_cert(certificate, &[], &name, &[], now).map(drop)
        };
        let refusal = |result| match result {
            Err(rustls::Error::InvalidCertificate(error)) => format!("{error:?}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(verify(&own, "localhost", 58), Ok(()));
        assert!(refusal(verify(&own, "example.com", 58)).starts_with("NotValidForName"));
        assert!(refusal(verify(&own, "localhost", 200)).starts_with("Expired"));
        assert!(refusal(verify(&own, "localhost", 1)).starts_with("NotValidYet"));
        // Another certificate with the same names is not in the file.
        let mut other = own.to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert!(verify(&other.into(), "localhost", 58).is_err());
    }

    #[test]
    fn certificates_are_those_of_a_file_where_one_is_named() {
        let error = config(true, Some(Path::new("/nowhere"))).unwrap_err();
        assert!(error.message.contains("\"/nowhere\""), "{error}");
        let error = named("hunter2").unwrap_err();
        assert!(error.message.contains("holds no certificates"), "{error}");
        assert!(config(false, Some(Path::new("/nowhere"))).is_ok(), "nothing is to be trusted");
    }
}
