//! Postgres over TLS: encrypted, and to nobody but the one that was meant.
//!
//! The server of the tests is given a certificate that is made here. It goes on taking connections without TLS, so that other tests do not
//! notice.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidings::store::{OpenError, Store};

use crate::harness::{Lab, on_postgres, on_sqlite};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Gives the server a certificate for these names, and waits until it shows it.
fn serve_with(lab: &Lab, authority: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, authority)
        .unwrap();
    // By the server itself: its key must be its own, and readable by nobody else.
    for (file, text) in [("tests.crt", certificate.pem()), ("tests.key", key.serialize_pem())] {
        let lines = text
            .lines()
            .map(|line| format!("('{line}')"))
            .collect::<Vec<_>>()
            .join(", ");
        lab.execute(&format!(
            "COPY (SELECT line FROM (VALUES {lines}) AS lines (line)) TO PROGRAM 'umask 077 && cat > {file}'"
        ));
    }
    for setting in ["ssl_cert_file = 'tests.crt'", "ssl_key_file = 'tests.key'", "ssl = on"] {
        lab.execute(&format!("ALTER SYSTEM SET {setting}"));
    }
    lab.execute("SELECT pg_reload_conf()");
    // A new connection is the server's own answer whether it has read them.
    for _ in 0..1_000 {
        if lab.texts("SHOW ssl") == ["on"] {
            return;
        }
    }
    panic!("the server has not taken up its certificate");
}

fn file(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) -> PathBuf {
    let path = folder.join("authority.pem");
    fs::write(&path, authority.pem()).unwrap();
    path
}

async fn open(lab: &Lab, host: &str, mode: &str, authorities: Option<&Path>) -> Result<Store, OpenError> {
    let url = lab.postgres_url().replace("127.0.0.1", host);
    Store::open_trusting(&format!("{url}?sslmode={mode}").into(), authorities).await
}

/// An error with everything that led to it.
fn chain(error: &OpenError) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        chain = format!("{chain}: {error}");
        source = error.source();
    }
    chain
}

#[test]
fn postgres_is_reached_by_tls_if_it_is_who_it_should_be() {
    on_postgres(async |lab| {
        let (ours, other) = (authority(), authority());
        let folder = tempfile::tempdir().unwrap();
        let trusted = file(folder.path(), &ours);
        serve_with(lab, &ours, &["127.0.0.1"]);
        for mode in ["require", "verify-ca", "verify-full"] {
            let store = open(lab, "127.0.0.1", mode, Some(&trusted)).await.unwrap();
            store.write(|tx| tx.ping()).await.unwrap();
            let encrypted = lab.texts(
                "SELECT s.version FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a ON a.pid = s.pid
                 WHERE s.ssl AND a.datname = current_database()",
            );
            assert!(
                encrypted.iter().any(|version| version.starts_with("TLSv1.")),
                "{encrypted:?}"
            );
            // The one that listens for what other nodes tell is among them; the other store that listens here has no TLS.
            let listening = "SELECT s.ssl::text FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a ON a.pid = s.pid
                 WHERE a.datname = current_database() AND a.query LIKE 'LISTEN%'";
            let listens = |_| lab.texts(listening).contains(&"true".to_owned());
            assert!((0..1_000).any(listens), "{mode}: nobody listens by TLS");
            store.close().await;
        }

        // An authority that nobody trusts, and a name that the certificate is not for.
        let refused = open(lab, "127.0.0.1", "verify-full", None).await.unwrap_err();
        assert!(chain(&refused).contains("UnknownIssuer"), "{}", chain(&refused));
        let distrusted = file(folder.path(), &other);
        let refused = open(lab, "127.0.0.1", "verify-full", Some(&distrusted))
            .await
            .unwrap_err();
        assert!(
            chain(&refused).contains("invalid peer certificate"),
            "{}",
            chain(&refused)
        );
        let trusted = file(folder.path(), &ours);
        let refused = open(lab, "localhost", "require", Some(&trusted)).await.unwrap_err();
        assert!(chain(&refused).contains("not valid for name"), "{}", chain(&refused));
    });
}

#[test]
fn authorities_have_to_be_certificates_and_of_use() {
    on_sqlite(async |_| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.pem");
        let open = async |mode: &str| {
            let url = format!("postgres://nobody@127.0.0.1:1/none?sslmode={mode}");
            Store::open_trusting(&url.into(), Some(&path)).await.unwrap_err()
        };
        for text in [None, Some("not a certificate"), Some("-----BEGIN CERTIFICATE-----\nAA")] {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let error = open("verify-full").await;
            assert!(matches!(error, OpenError::Authorities { .. }), "{error:?}");
            assert!(error.to_string().contains("authority.pem"), "{error}");
        }
        fs::write(&path, authority().pem()).unwrap();
        assert!(
            matches!(open("verify-full").await, OpenError::Postgres(_)),
            "nobody listens at port 1"
        );
        let error = open("prefer").await;
        assert!(error.to_string().contains("add `sslmode=verify-full`"), "{error}");
    });
}
