//! Requests -> who answers them. Every request passes a gate: who may ask, what headers the answer has, and a line for the audit.

use super::completions::completions;
use super::fault::Fault;
use super::metrics::CONTENT_TYPE;
use super::models::models;
use super::score::score;
use super::server::Server;
use super::{guard, otlp, page};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;

pub fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new();
    for (path, kind, text) in page::FILES {
        router = router.route(path, get(move || async move { page::file(kind, text) }));
    }
    router
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/score", post(score))
        .route("/v1/logs", post(otlp::logs))
        .route("/anomalies", get(otlp::anomalies))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/-/reload", post(reload))
        .fallback(|| async { Fault::new(StatusCode::NOT_FOUND, "there is nothing at this address; see docs/serve.md") })
        .method_not_allowed_fallback(|| async {
            Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this address takes another method; see docs/serve.md")
        })
        .layer(from_fn_with_state(server.clone(), guard::guard))
        .with_state(server)
}

/// Whether it is worth keeping: nothing but a new start helps after the thread that computes has ended.
async fn healthy(State(server): State<Arc<Server>>) -> Result<&'static str, Fault> {
    match server.model() {
        Ok(model) if !model.is_running() => {
            Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the thread that computes has ended; see the messages"))
        }
        _ => Ok("ok\n"),
    }
}

/// Whether it can answer: a model is loaded, and no end is near.
async fn ready(State(server): State<Arc<Server>>) -> Result<&'static str, Fault> {
    if *server.stopping.borrow() {
        return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"));
    }
    server.model().map(|_| "ready\n")
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let mut response = server.metrics_text().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

async fn reload(State(server): State<Arc<Server>>) -> Result<&'static str, Fault> {
    let loaded = server.load().await;
    loaded.map_err(|error| {
        let message = format!("the model before stays: {error}");
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    tracing::info!("model reloaded");
    Ok("reloaded\n")
}
