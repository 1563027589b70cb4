//! The page at `/`: plain HTML, style and JavaScript, compiled in. It holds nothing of the model, so it needs no token.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// The files of the page: path, type and text.
pub const FILES: [(&str, &str, &str); 1] = [("/", "text/html; charset=utf-8", include_str!("page/index.html"))];

pub fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
