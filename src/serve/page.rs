//! The page at `/`: plain HTML, style and JavaScript, compiled in. It holds nothing of the model, so it needs no token.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, type and text.
pub const FILES: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/generate.js", SCRIPT, include_str!("page/generate.js")),
    ("/live.js", SCRIPT, include_str!("page/live.js")),
    ("/metrics.js", SCRIPT, include_str!("page/metrics.js")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/pieces.js", SCRIPT, include_str!("page/pieces.js")),
    ("/records.js", SCRIPT, include_str!("page/records.js")),
    ("/score.js", SCRIPT, include_str!("page/score.js")),
];

pub fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
