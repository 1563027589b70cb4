//! Who may ask, and what nobody gets.

use super::{Served, answered, head};
use crate::common::run;
use crate::score::own;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn only_holders_of_a_token_are_answered() {
    let home = own();
    fs::write(home.path().join("tokens"), format!("siem {TOKEN}\nfedcba9876543210fedcba9876543210\n")).unwrap();
    let served = Served::start(home.path(), "--token-file tokens");
    let bearer = format!("Bearer {TOKEN}");
    served.ask("POST", "/score", &[("authorization", &bearer)], b"").has(200, &[]);
    for path in ["/score", "/v1/completions", "/v1/logs", "/-/reload", "/nothing"] {
        let refused = served.ask("POST", path, &[("authorization", "Bearer 0123456789abcdef")], b"");
        assert_eq!(refused.has(401, &["authentication_error"]).headers["www-authenticate"], "Bearer");
    }
    for path in ["/metrics", "/v1/models"] {
        served.get(path).has(401, &["Authorization"]);
    }
    for (path, part) in [("/", "<!doctype html>"), ("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = served.get(path);
        assert!(answer.has(200, &[]).text.to_lowercase().contains(part), "{path}");
        assert!(answer.headers["content-security-policy"].contains("script-src 'self'"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    served.says("holder=\"siem\"");
    assert!(!served.messages().contains(TOKEN), "{}", served.messages());
}

#[test]
fn pages_of_other_sites_and_paths_of_files_are_refused() {
    let home = own();
    let served = Served::start(home.path(), "");
    served.ask("GET", "/metrics", &[("host", "evil.example")], b"").has(403, &["--token-file"]);
    served.ask("POST", "/score", &[("origin", "http://evil.example")], b"").has(403, &["Origin"]);
    let own_origin = format!("http://{}", served.address);
    served.ask("POST", "/score", &[("origin", &own_origin)], b"").has(200, &[]);
    for path in ["/../Cargo.toml", "/..%2f..%2fetc/passwd", "//etc/passwd", "/page/index.html", "/run/best/config.json"]
    {
        served.get(path).has(404, &["nothing at this address"]);
    }
    served.get("/score").has(405, &["another method"]);
    served.ask("TRACE", "/", &[], b"").has(405, &[]);
}

#[test]
fn a_server_is_not_open_to_others_by_accident() {
    let home = own();
    fs::write(home.path().join("tokens"), format!("{TOKEN}\n")).unwrap();
    let serve = "serve --model run --listen 0.0.0.0:0";
    run(home.path(), serve).has(2, &["--token-file, --tls-cert and --tls-key", "--insecure"]);
    run(home.path(), &format!("{serve} --token-file tokens")).has(2, &["give --tls-cert and --tls-key"]);
    let served = Served::start(home.path(), "--listen 0.0.0.0:0 --insecure");
    served.get("/healthz").has(200, &["ok"]);
    let port = served.address.rsplit(':').next().unwrap();
    run(home.path(), &format!("serve --model run --listen 127.0.0.1:{port}"))
        .has(1, &["--listen", "in use", "another port"]);
    fs::write(home.path().join("short"), "abc\n").unwrap();
    run(home.path(), "serve --model run --token-file short").has(2, &["short:1", "openssl rand -hex 32"]);
    run(home.path(), "serve --model none --listen 127.0.0.1:0").has(1, &["none", "does not exist"]);
    run(home.path(), "serve --model run --tls-cert tokens --tls-key tokens").has(2, &["--tls-cert", "no certificate"]);
}

/// Asks over TLS, as a client that trusts this certificate.
fn ask_over_tls(served: &Served, certificate: &Path, request: &str) -> super::Answered {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(&served.address).unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    answered(&mut stream)
}

#[test]
fn tls_protects_and_its_certificate_is_reloaded() {
    let home = own();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    for name in ["certificate.pem", "key.pem"] {
        fs::copy(from.join(name), home.path().join(name)).unwrap();
    }
    let served = Served::start(home.path(), "--tls-cert certificate.pem --tls-key key.pem");
    let certificate = from.join("certificate.pem");
    let request = head("GET", "/healthz", "localhost", &[]);
    ask_over_tls(&served, &certificate, &request).has(200, &["ok"]);
    // Without TLS there is no answer, and half a handshake holds nobody up.
    let mut plain = TcpStream::connect(&served.address).unwrap();
    plain.write_all(request.as_bytes()).unwrap();
    ask_over_tls(&served, &certificate, &request).has(200, &["ok"]);
    // A key that does not fit changes nothing.
    fs::write(home.path().join("key.pem"), "no key").unwrap();
    let reload = head("POST", "/-/reload", "localhost", &[]);
    ask_over_tls(&served, &certificate, &reload).has(500, &["--tls-key", "the model before stays"]);
    ask_over_tls(&served, &certificate, &request).has(200, &["ok"]);
}
