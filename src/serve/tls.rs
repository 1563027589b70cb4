//! TLS by rustls: certificate and key from PEM files, which a reload reads again.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where certificate (with those that lead to its root) and key are.
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The configuration that new connections get.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Errors: files that cannot be read, or do not belong together.
    pub fn open(files: TlsFiles) -> Result<Self> {
        let current = RwLock::new(files.read()?);
        Ok(Tls { files, current })
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn reload(&self) -> Result<()> {
        let config = self.files.read()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Arc<ServerConfig>> {
        let bad = |flag: &str, path: &Path, why: &dyn std::fmt::Display| {
            Error::usage(format!("{flag} {}: {why}; expected a file in PEM form", path.display()))
        };
        let certificate = |e: &dyn std::fmt::Display| bad("--tls-cert", &self.certificate, e);
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|e| certificate(&e))?;
        if chain.is_empty() {
            return Err(certificate(&"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| bad("--tls-key", &self.key, &e))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::failed)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| Error::usage(format!("--tls-cert and --tls-key do not fit together: {e}")))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
