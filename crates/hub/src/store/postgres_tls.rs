//! TLS towards Postgres: whether `DATABASE_URL` asks for it, and whom it trusts.
//!
//! Where it is asked for, the server has to show a certificate of its name that the system's authorities, or those of `DATABASE_CA_CERT_PATH`,
//! vouch for: `require`, `verify-ca` and `verify-full` are the same to us, since an encrypted connection to anybody protects from nobody.
//! `prefer`, which is the default, and `disable` are connections without TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::OpenError;

/// What libpq understands and the driver does not, and what it says to the driver.
const MODES: [(&str, &str); 2] = [
    ("sslmode=verify-full", "sslmode=require"),
    ("sslmode=verify-ca", "sslmode=require"),
];

/// The settings of a connection, and how it is encrypted if it is.
pub(super) fn settings_of(
    url: &str,
    authorities: Option<&Path>,
) -> Result<(Config, Option<MakeRustlsConnect>), OpenError> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let query = query
        .split('&')
        .map(|part| {
            MODES
                .iter()
                .find(|(mode, _)| *mode == part)
                .map_or(part, |(_, known)| *known)
        })
        .collect::<Vec<_>>()
        .join("&");
    let config: Config = format!("{address}?{query}").parse().map_err(OpenError::PostgresUrl)?;
    if config.get_ssl_mode() == SslMode::Require {
        return Ok((config, Some(encrypted(authorities)?)));
    }
    match authorities {
        Some(_) => Err(OpenError::AuthoritiesWithoutTls),
        None => Ok((config, None)),
    }
}

fn encrypted(authorities: Option<&Path>) -> Result<MakeRustlsConnect, OpenError> {
    let mut trusted: Vec<CertificateDer<'static>> = Vec::new();
    if let Some(path) = authorities {
        let unreadable = |reason: String| OpenError::Authorities {
            path: path.to_owned(),
            reason,
        };
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        trusted = read.map_err(|error| unreadable(error.to_string()))?;
        if trusted.is_empty() {
            return Err(unreadable("it holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(trusted, Arc::clone(&provider)).map_err(OpenError::Tls)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OpenError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
