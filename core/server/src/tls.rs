//! Certificates and keys in files (PEM), for clients and for the relay. They are read again when they change; what was begun
//! under the earlier ones goes on.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::config::{RelayTls, Tls};
use crate::failure::Failure;
use crate::limits::tls::FILE_BYTES_MAX;
use crate::watched_file::WatchedFile;

/// How replicas prove to each other who they are.
#[derive(Clone, Debug)]
pub struct Mutual {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn bounded(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

fn certificates(bytes: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bounded(bytes)?).collect();
    match parsed {
        Ok(parsed) if !parsed.is_empty() => Ok(parsed),
        Ok(_) => Err(format!("expected {what} in PEM, and there is none")),
        Err(error) => Err(format!("expected {what} in PEM: {error}")),
    }
}

fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bounded(bytes)?).map_err(|_| {
        "expected a private key in PEM (PKCS #8, PKCS #1 or SEC1), without a password".to_owned()
    })
}

/// For clients: the file of certificates and that of the key belong together.
pub(crate) fn for_clients(tls: &Tls) -> Result<WatchedFile<Arc<ServerConfig>>, Failure> {
    let parse = |files: &[Vec<u8>]| {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(certificates(&files[0], "certificates, the server's first")?, key(&files[1])?);
        let mut config =
            config.map_err(|error| format!("they do not belong together, or are of no use: {error}"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    };
    WatchedFile::open_all("--tls-cert and --tls-key", &[&tls.certificates, &tls.key], parse)
}

/// For the relay, whose ends both have a certificate that one of the authorities has signed.
pub(crate) fn for_relay(tls: &RelayTls) -> Result<WatchedFile<Mutual>, Failure> {
    let parse = |files: &[Vec<u8>]| mutual(&files[0], &files[1], &files[2]);
    let files: [&Path; 3] = [&tls.certificates, &tls.key, &tls.authorities];
    WatchedFile::open_all("--relay-tls-cert, --relay-tls-key and --relay-tls-ca", &files, parse)
}

fn mutual(certificate: &[u8], private: &[u8], authorities: &[u8]) -> Result<Mutual, String> {
    let useless = |error: tokio_rustls::rustls::Error| {
        format!("they do not belong together, or are of no use: {error}")
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, "certificates of authorities")? {
        roots.add(authority).map_err(|error| format!("an authority's certificate is of no use: {error}"))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(certificate, "certificates, this replica's first")?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(useless)?
        .with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        .with_single_cert(chain.clone(), key(private)?)
        .map_err(useless)?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(useless)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key(private)?)
        .map_err(useless)?;
    Ok(Mutual { server: Arc::new(server), client: Arc::new(client) })
}
