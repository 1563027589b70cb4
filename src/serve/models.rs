//! `GET /v1/models`: what is served, and what it can be asked for.

use super::fault::Fault;
use super::model::ServedModel;
use super::server::Server;
use crate::gpt::Layout;
use crate::version::{COMMIT, VERSION};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

pub async fn models(State(server): State<Arc<Server>>) -> Result<Response, Fault> {
    let list = json!({ "object": "list", "data": [describe(&server.settings.model_name, &*server.model()?)] });
    let mut response = format!("{list}\n").into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A model in OpenAI's shape, and what only this server says of it.
fn describe(name: &str, model: &ServedModel) -> Value {
    let ServedModel { records, detector, config, loaded_at, .. } = model;
    let condition = |prefix: &crate::record::Prefix| match prefix.is_date() {
        true => json!({ "name": prefix.name(), "date": true }),
        false => json!({ "name": prefix.name() }),
    };
    let created = loaded_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "logwright",
        "logwright": {
            "version": VERSION,
            "commit": COMMIT,
            "form": records.form,
            "context": config.context,
            "vocab": config.vocab,
            "parameters": Layout::new(config).len,
            "calibrated": detector.threshold.is_some(),
            "threshold": detector.threshold,
            "conditions": records.prefixes.iter().map(condition).collect::<Vec<_>>(),
            "has_learned_schema": records.schema.is_some(),
        }
    })
}
