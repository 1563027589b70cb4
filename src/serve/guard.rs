//! The gate that every request passes, on its way in and out: who may ask, headers of the answer, metrics, and the audit line,
//! which says who asked for what and holds nothing of any record.

use super::fault::Fault;
use super::metrics::RequestCounts;
use super::server::Server;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame, SizeHint};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

/// The other end of a connection.
#[derive(Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Addresses that are counted by name, and whether they need a token.
const ENDPOINTS: [(&str, bool); 10] = [
    ("/", false),
    ("/healthz", false),
    ("/readyz", false),
    ("/metrics", true),
    ("/score", true),
    ("/v1/completions", true),
    ("/v1/models", true),
    ("/v1/logs", true),
    ("/anomalies", true),
    ("/-/reload", true),
];

/// Headers of every answer: nothing of it is a page of somebody else's, and a page may load from here alone.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// What is counted where a client left before its answer began, as others do.
const LEFT: u16 = 499;

pub async fn guard(
    State(server): State<Arc<Server>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let path = request.uri().path();
    let known = ENDPOINTS.iter().find(|(known, _)| *known == path);
    let is_page = super::page::FILES.iter().any(|(file, ..)| *file == path);
    let endpoint = if is_page { "page" } else { known.map_or("other", |(path, _)| path) };
    let needs_token = !is_page && known.is_none_or(|(_, needs_token)| *needs_token);
    let method = request.method().clone();
    let (holder, refused) = match admit(&server, request.headers(), needs_token) {
        Ok(holder) => (holder, None),
        Err(fault) => (None, Some(fault)),
    };
    // Made before the answer, which a client that leaves does not wait for.
    let mut ended = Answered { server, begun, peer, holder, method, endpoint, status: LEFT, counts: None, bytes: 0 };
    let mut response = match refused {
        Some(fault) => fault.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    ended.counts = response.extensions_mut().remove::<Arc<RequestCounts>>();
    ended.status = response.status().as_u16();
    response.map(|body| Body::new(Watched { body, ended }))
}

/// Who asks, by the name of their token; None where no token is needed.
///
/// Errors: no token, or a wrong one; a request that a page of another site makes.
fn admit(server: &Server, headers: &HeaderMap, needs_token: bool) -> Result<Option<String>, Fault> {
    check_site(headers, server.settings.tokens.is_some(), &server.settings.hosts)?;
    let Some(tokens) = server.settings.tokens.as_ref().filter(|_| needs_token) else { return Ok(None) };
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        let needed = "a token is needed: send the header Authorization: Bearer TOKEN with one of --token-file";
        return Err(Fault::new(StatusCode::UNAUTHORIZED, needed));
    };
    match tokens.holder(given.as_bytes()) {
        Some(holder) => Ok(Some(holder.to_string())),
        None => Err(Fault::new(
            StatusCode::UNAUTHORIZED,
            "the Authorization header holds none of the tokens of --token-file; expected Bearer TOKEN",
        )),
    }
}

/// A browser sends what pages of other sites ask for: it names the site, and where the server has no tokens, a site may have
/// pointed its own name here (DNS rebinding), so the name must be one of this machine. `hosts` are other names of this server, as
/// those that a proxy has.
fn check_site(headers: &HeaderMap, has_tokens: bool, hosts: &[String]) -> Result<(), Fault> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?").to_ascii_lowercase());
    let host = text(header::HOST).unwrap_or_default();
    let is_named = |site: &str| hosts.iter().any(|name| name_of(site) == name.as_str());
    let refused = |what: String| Err(Fault::new(StatusCode::FORBIDDEN, what));
    if let Some(origin) = text(header::ORIGIN) {
        let site = origin.split_once("://").map(|(scheme, site)| site.trim_end_matches(default_port(scheme)));
        let is_ours = |site: &str| site == host || site == host.trim_end_matches(":443").trim_end_matches(":80");
        if !site.is_some_and(|site| is_ours(site) || is_named(site)) {
            return refused(format!(
                "Origin: expected a page of this server ({host:?}), found {origin:?}; behind a proxy, let it keep the Host header, or name \
                 the site with --host"
            ));
        }
    }
    match has_tokens || host.is_empty() || is_address(&host) || is_named(&host) {
        true => Ok(()),
        false => refused(format!(
            "Host: without --token-file expected an address or localhost, found {host:?}, which may be another site's name; if it is \
             this server's, name it with --host"
        )),
    }
}

fn default_port(scheme: &str) -> &'static str {
    if scheme == "https" { ":443" } else { ":80" }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a host, with its port, is an address or localhost.
fn is_address(host: &str) -> bool {
    let name = name_of(host).trim_start_matches('[').trim_end_matches([']', '.']);
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

/// An answer that is over, or that its client has left.
struct Answered {
    server: Arc<Server>,
    begun: Instant,
    peer: SocketAddr,
    holder: Option<String>,
    method: Method,
    endpoint: &'static str,
    status: u16,
    counts: Option<Arc<RequestCounts>>,
    bytes: u64,
}

impl Drop for Answered {
    fn drop(&mut self) {
        let Answered { server, begun, peer, holder, method, endpoint, status, counts, bytes } = self;
        let seconds = begun.elapsed().as_secs_f64();
        server.metrics.requests.with_label_values(&[*endpoint, &status.to_string()]).inc();
        server.metrics.request_seconds.with_label_values(&[*endpoint]).observe(seconds);
        // Probes and scrapes come every few seconds, files of the page by the dozen, and say nothing.
        if matches!(*endpoint, "/healthz" | "/readyz" | "/metrics" | "page") && *status < 400 {
            return;
        }
        let count =
            |of: fn(&RequestCounts) -> &AtomicU64| counts.as_ref().map(|counts| of(counts).load(Ordering::Relaxed));
        let (records, anomalies) = (count(|counts| &counts.records), count(|counts| &counts.anomalies));
        let holder = holder.as_deref().unwrap_or("-");
        tracing::info!(
            target: "audit", %peer, holder, %method, endpoint, status, records, anomalies, bytes, seconds, "request"
        );
    }
}

/// A body that knows when it is over.
struct Watched {
    body: Body,
    ended: Answered,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.ended.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        let check = |host: &'static str, origin: Option<&'static str>, has_tokens| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_static(origin)));
            check_site(&headers, has_tokens, &["proxy.example".to_string()]).is_ok()
        };
        for host in [
            "LOCALHOST:8080",
            "localhost.",
            "localhost:8080",
            "proxy.example",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.0.0.1",
        ] {
            assert!(check(host, None, false), "{host}");
        }
        assert!(!check("evil.example:8080", None, false));
        assert!(check("logs.corp.example", None, true));
        assert!(check("localhost:8080", Some("http://localhost:8080"), false));
        assert!(!check("localhost:8080", Some("http://evil.example"), false));
        assert!(!check("logs.corp.example", Some("https://evil.example"), true));
        assert!(!check("localhost:8080", Some("null"), false));
        assert!(check("logs.corp.example:443", Some("https://logs.corp.example"), true));
        assert!(check("127.0.0.1:8080", Some("https://proxy.example"), false), "a proxy that rewrites the host");
    }
}
